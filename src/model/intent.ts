/**
 * What a caller of the API wants of an account's mail. An intent is durable, with its result, before it is answered; upstream
 * follows (semantics 3.7).
 */
import type { AccountId, MailboxId, MessageId, TenantId } from "./ids.ts";

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

export interface WriteRequest {
  readonly tenantId: TenantId;
  readonly accountId: AccountId;
  readonly deviceId: string;
  /** The last change the caller had seen; null: it did not say, so that its intents come after all there is (1.4). */
  readonly base: bigint | null;
  /** In this order; what is rejected stops nothing (Q2). */
  readonly intents: readonly MailIntent[];
}

export interface Written {
  /** One for each intent, in their order. */
  readonly results: readonly IntentResult[];
  /** The account's state afterwards. */
  readonly state: { readonly epoch: number; readonly seq: bigint };
}

/** Where intents are decided. `Tx`: the transaction that the caller commits, and its answer with it. */
export interface Writes<Tx> {
  /** null: the tenant has no such account. */
  write(tx: Tx, request: WriteRequest): Promise<Written | null>;
}
