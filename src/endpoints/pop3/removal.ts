/** Takes mail from a maildrop: listed, marked and ended by QUIT in one session (semantics K4, K7). */
import { SyncError } from "../../model/failure.ts";
import type { MaildropItem, MaildropListing, MaildropRemoval } from "../endpoint.ts";
import type { RemovingConnection } from "./connection.ts";
import { listItems } from "./session.ts";

export class Pop3Removal implements MaildropRemoval {
  readonly #connection: RemovingConnection;

  constructor(connection: RemovingConnection) {
    this.#connection = connection;
  }

  list(signal: AbortSignal): Promise<MaildropListing> {
    return listItems(this.#connection, signal);
  }

  async mark(items: readonly MaildropItem[], signal: AbortSignal): Promise<void> {
    await Promise.all(items.map(({ number }) => this.#connection.dele(number, signal).catch(unlessRefused)));
  }

  commit(signal: AbortSignal): Promise<boolean> {
    return this.#connection.quit(signal);
  }

  abandon(): void {
    this.#connection.close();
  }
}

const unlessRefused = (error: unknown): void => {
  if (!(error instanceof SyncError) || error.scope !== "message") throw error;
};
