/** One entry of an account's append-only log, as every reader of the feed sees it. */
import type { AccountId, EndpointId, MailboxId, MessageId, PlacementId } from "./ids.ts";

export const changeKinds = [
  "message.created",
  "message.keywords",
  "message.moved",
  "message.kept",
  "message.removed",
  "message.restored",
  "message.merged",
  "message.purged",
  /** Octets came for a message that was listed only. */
  "message.completed",
  "mailbox.created",
  "mailbox.renamed",
  "mailbox.removed",
  "account.state",
  "coverage.gap",
  /** A whole listing showed changes that the server had not told of. */
  "audit.repaired",
  "epoch.changed",
  "hold.opened",
  "hold.closed",
  "conflict.resolved",
  "write.applied",
  /** It waits for something that somebody else has to do. */
  "write.held",
  "write.failed",
] as const;
export type ChangeKind = (typeof changeKinds)[number];

export type ChangeSource = "imap" | "pop3" | "api" | "rule" | "daemon";

/** A change before it has its number: what the reconciler decides. JSON values only in `before`, `after`, `evidence`. */
export interface DecidedChange {
  readonly kind: ChangeKind;
  readonly messageId: MessageId | null;
  readonly mailboxId: MailboxId | null;
  readonly placementId: PlacementId | null;
  readonly before: Readonly<Record<string, unknown>> | null;
  readonly after: Readonly<Record<string, unknown>> | null;
  readonly source: ChangeSource;
  readonly endpointId: EndpointId | null;
  readonly deviceId: string | null;
  /** Stable reason code, e.g. `delivered`, `upstream_flags`, `user_expunge`. */
  readonly reason: string;
  /** Rule of semantics.md that decided, e.g. `F1`, `ID-7`, `V17`; null for plain bookkeeping. */
  readonly rule: string | null;
  readonly confidence: number | null;
  readonly evidence: readonly unknown[];
}

export interface Change extends DecidedChange {
  readonly accountId: AccountId;
  readonly seq: bigint;
  readonly stateEpoch: number;
  readonly at: Date;
  /** Of this entry and all before it, in hex: store/change-chain.ts. */
  readonly hash: string;
}

/** The account's state string, `"<epoch>.<seq>"` (api.md). */
export const formatState = (epoch: number, seq: bigint): string => `${epoch}.${seq}`;

/** Reads a state string; null when it is not one. */
export const parseState = (text: string): { epoch: number; seq: bigint } | null => {
  const match = /^(\d{1,9})\.(\d{1,18})$/.exec(text);
  return match === null ? null : { epoch: Number(match[1]), seq: BigInt(match[2] as string) };
};
