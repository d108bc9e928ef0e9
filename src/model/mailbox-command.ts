/** What is owed to a mail server about mailboxes. Like every command it says what wants looking at, never what to send. */
import type { MailboxId } from "./ids.ts";

/** `place`: it shall be where the canonical tree has it. `remove`: it shall be gone, when it is empty. */
export type MailboxVerb = "place" | "remove";

export interface MailboxPlan {
  readonly mailboxId: MailboxId;
  readonly verb: MailboxVerb;
  /** Of a removal: where goes what is in it, and what comes before it is gone; absent: it is to stay when something comes (D7). */
  readonly moveTo?: MailboxId;
}

/** Committed before anything is sent: how to tell afterwards whether it was done (C3). */
export interface MailboxFence {
  readonly step: "create" | "rename" | "remove";
  /** Where it will be; of a removal, where it was. */
  readonly path: string;
  /** Of a rename: where it was. */
  readonly from: string | null;
  /** What the server called the mailbox's life when it was last listed; null: it told nothing. */
  readonly uidValidity: number | null;
  /** The server said that it has one of that name. */
  readonly exists?: true;
}
