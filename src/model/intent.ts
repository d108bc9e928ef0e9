/**
 * What a caller of the API wants of an account's mail. An intent is durable, with its result, before it is answered; upstream
 * follows (semantics 3.7).
 */
import type { MailboxId, MessageId } from "./ids.ts";

/** By keyword: true sets it, false takes it away. */
export type KeywordPatch = Readonly<Record<string, boolean>>;

export interface PatchOp {
  readonly op: "patch";
  readonly messageId: MessageId;
  readonly keywords: KeywordPatch;
  /** True: in this mailbox, too; false: no longer. One taken away for one given is a move. */
  readonly mailboxIds: Readonly<Record<MailboxId, boolean>>;
}

/** To Trash. */
export interface DeleteOp {
  readonly op: "delete";
  readonly messageId: MessageId;
}

/** For good. */
export interface PurgeOp {
  readonly op: "purge";
  readonly messageId: MessageId;
}

/** Back from Trash, or from having been removed. */
export interface RestoreOp {
  readonly op: "restore";
  readonly messageId: MessageId;
  /** null: where it came from. */
  readonly mailboxId: MailboxId | null;
}

/** The inverse of one change of the log. */
export interface UndoOp {
  readonly op: "undo";
  readonly messageId: MessageId;
  readonly seq: number;
}

export type MailOp = PatchOp | DeleteOp | PurgeOp | RestoreOp | UndoOp;

/** Mail that is brought: a place for octets, whether they are here already or not. */
export interface ImportOp {
  /** The version of a draft that it takes the place of, which goes with the same word (P12). */
  readonly replaces: MessageId | null;
  /** null: that of what it replaces, else INBOX. */
  readonly mailboxId: MailboxId | null;
  /** None: those of what it replaces. */
  readonly keywords: readonly string[];
  /** In ms since 1970. */
  readonly receivedAt: number;
}

export interface MailIntent {
  /** Unique per account: an intent that comes again has its first result and no effect. */
  readonly opId: string;
  readonly op: MailOp;
}

export type IntentStatus = "applied" | "superseded" | "rejected" | "pending";

export interface IntentResult {
  readonly status: IntentStatus;
  /** Stable reason code. */
  readonly reason: string;
  readonly messageId: MessageId | null;
  /** What the caller should know of what was done, e.g. `pop3_visible`. */
  readonly warnings: readonly string[];
}
