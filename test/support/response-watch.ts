import type { ImapResponse } from "./imap-wire.ts";

/** Untagged responses as they come while the device idles (RFC 2177). */
export interface IdleWatch {
  readonly seen: readonly ImapResponse[];
  /** The first response that matches, seen already or still to come. */
  next(pattern: RegExp, timeoutMs?: number): Promise<ImapResponse>;
  /** Ends the IDLE; the device takes commands again. */
  done(): Promise<void>;
}

/** Responses so far, and a way to wait for one. */
export class ResponseWatch {
  readonly seen: ImapResponse[] = [];
  readonly #looking = new Set<() => void>();

  add(response: ImapResponse): void {
    this.seen.push(response);
    for (const look of this.#looking) look();
  }

  /** The first that matches, past or to come. @throws Error after `timeoutMs`. */
  next(pattern: RegExp, timeoutMs = 10_000): Promise<ImapResponse> {
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        clearTimeout(timer);
        this.#looking.delete(look);
      };
      const look = (): void => {
        const match = this.seen.find((response) => pattern.test(response.line));
        if (match === undefined) return;
        settle();
        resolve(match);
      };
      const timer = setTimeout(() => {
        settle();
        reject(new Error(`no ${String(pattern)} within ${timeoutMs} ms of IDLE`));
      }, timeoutMs);
      this.#looking.add(look);
      look();
    });
  }
}
