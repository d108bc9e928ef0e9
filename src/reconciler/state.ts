/**
 * What the reconciler sees and what it answers. It sees the slice of an account that one input touches, never the whole
 * account; it answers with changes (the log) and writes (the new state), which the store applies in one transaction.
 * Instants are milliseconds since 1970, given by the caller: there is no clock in here.
 */
import type { DecidedChange } from "../model/change.ts";
import type { CommandPlan } from "../model/command.ts";
import type { EndpointId, MailboxId, MessageId, PlacementId } from "../model/ids.ts";
import type { MailboxFence, MailboxVerb } from "../model/mailbox-command.ts";
import type { AbsenceTrace } from "./vanish-evidence.ts";
import type { Role, RoleSource } from "../model/mail.ts";

/** The last binding of a placement at the endpoint that speaks. */
export interface BindingView {
  readonly mailboxId: MailboxId;
  readonly epoch: number;
  readonly uid: number;
  readonly active: boolean;
  /** Why it was closed; null while active. */
  readonly closedReason: string | null;
  readonly shadowFlags: readonly string[];
}

export interface PlacementView {
  readonly id: PlacementId;
  readonly messageId: MessageId;
  readonly mailboxId: MailboxId;
  readonly keywords: readonly string[];
  readonly lifecycle: "live" | "removed" | "purged";
  readonly kept: boolean;
  /** Its item was missing in an admitted read and nothing is decided yet (semantics 4.1, phase 1). */
  readonly absent: boolean;
  readonly receivedAt: number;
  readonly binding: BindingView | null;
  /**
   * It was never more than what a move left behind that somebody else made by copying: purged here, marked as deleted there. It
   * becomes a place of its message when that mark goes. Absent: it was.
   */
  readonly leftMarked?: true;
}

/** Where facts come from: one mailbox of one endpoint, in one epoch. */
export interface Scope {
  readonly endpointId: EndpointId;
  readonly mailboxId: MailboxId;
  readonly epoch: number;
}

export interface NewMessage {
  readonly id: MessageId;
  /** Index of the item that carries its octets. */
  readonly item: number;
  /** Index into `changes` of the entry that created it. */
  readonly change: number;
}

export interface NewPlacement {
  readonly id: PlacementId;
  readonly messageId: MessageId;
  readonly mailboxId: MailboxId;
  readonly keywords: readonly string[];
  readonly reason: string;
  readonly receivedAt: number;
  readonly change: number;
}

/** The whole new value of what can change on a placement; `change` null when only bookkeeping changed. */
export interface PlacementWrite {
  readonly id: PlacementId;
  readonly mailboxId: MailboxId;
  readonly keywords: readonly string[];
  readonly lifecycle: "live" | "removed" | "purged";
  readonly kept: boolean;
  readonly absent: boolean;
  /** Only of what is absent from this decision on. */
  readonly absence?: AbsenceTrace;
  readonly reason: string | null;
  /** Days a removed placement can be brought back; null while live. */
  readonly recoverableDays: number | null;
  readonly change: number | null;
}

/** Upstream flags of one item, as observed. */
export interface ItemFlags {
  readonly uid: number;
  readonly flags: readonly string[];
  readonly modseq: bigint | null;
  /** By which the server knows the content (L1); absent or null: this look did not tell. */
  readonly objectId?: string | null;
  /** When the server has it from; absent, null or 0: this look did not tell. */
  readonly receivedAt?: number | null;
  /** In octets, as the server lists it; absent or null: this look did not tell. */
  readonly size?: number | null;
}

/** A binding made or its shadow moved to what was observed (I15). */
export interface BindingWrite extends ItemFlags {
  readonly placementId: PlacementId;
}

export interface Decision {
  readonly changes: readonly DecidedChange[];
  readonly newMessages: readonly NewMessage[];
  readonly newPlacements: readonly NewPlacement[];
  readonly placements: readonly PlacementWrite[];
  readonly bindings: readonly BindingWrite[];
  /** Bindings of this scope to close, by UID. */
  readonly closed: readonly { readonly uid: number; readonly reason: string }[];
  /** Bindings of another scope of the endpoint that the items of this one leave. */
  readonly vacated: readonly Vacated[];
  /** What is owed to the IMAP server; each is done once for its placement and reason. */
  readonly commands: readonly CommandPlan[];
}

/**
 * A binding that a placement has no more, because its item was moved. Where it was copied the old item is there still: it becomes
 * a placement of its own that is purged here and is to be removed there, by the operation or, where there is none, by whoever
 * marked it as deleted.
 */
export interface Vacated {
  readonly from: Pick<BindingView, "mailboxId" | "epoch" | "uid">;
  /** null: there is nothing any more. */
  readonly leftBehind: { readonly id: PlacementId; readonly messageId: MessageId; readonly opId: string | null } | null;
}

/** A mailbox as the canonical store knows it, with its address at the endpoint that speaks (null: not there). */
export interface MailboxView {
  readonly id: MailboxId;
  readonly name: string;
  readonly parentId: MailboxId | null;
  readonly role: Role | null;
  /** `api` without a role: its owner wants it to have none. */
  readonly roleSource: RoleSource | null;
  readonly subscribed: boolean;
  /** The last change of it. */
  readonly changedSeq: bigint;
  /** What somebody wants of it at the endpoint and is not settled. */
  readonly pending: PendingMailbox | null;
  readonly upstream: MailboxAddress | null;
}

/** The shadow of a mailbox: where the endpoint was last seen to have it. */
export interface MailboxAddress {
  readonly path: string;
  readonly delimiter: string | null;
  readonly selectable: boolean;
  readonly objectId: string | null;
  /** A view of all mail; absent: no. */
  readonly showsAll?: boolean;
  readonly uidValidity: number | null;
  readonly uidNext: number | null;
  /** First complete survey that lacked it; null while present. */
  readonly absentSince: number | null;
}

export interface PendingMailbox {
  readonly verb: MailboxVerb;
  /** When it was last asked for. */
  readonly at: number;
  readonly deviceId: string | null;
  /** Null: nothing was sent. */
  readonly fence: MailboxFence | null;
}

/** Everything a decision consists of while it is being made. Local to one call; never leaves the room half made. */
export interface Draft {
  readonly changes: DecidedChange[];
  readonly newMessages: NewMessage[];
  readonly newPlacements: NewPlacement[];
  readonly placements: PlacementWrite[];
  readonly bindings: BindingWrite[];
  readonly closed: { uid: number; reason: string }[];
  readonly vacated: Vacated[];
  readonly commands: CommandPlan[];
}

export const emptyDraft = (): Draft => ({
  changes: [],
  newMessages: [],
  newPlacements: [],
  placements: [],
  bindings: [],
  closed: [],
  vacated: [],
  commands: [],
});

/** Appends a change and answers its index. */
export const record = (draft: Draft, change: DecidedChange): number => draft.changes.push(change) - 1;

/** A change that the endpoint of `scope` showed, of a placement in the mailbox of it. */
export const imapChange = (
  scope: Scope,
  placement: { id: PlacementId; messageId: MessageId },
  rest: Partial<DecidedChange> & Pick<DecidedChange, "kind" | "reason" | "rule">,
): DecidedChange => ({
  messageId: placement.messageId,
  mailboxId: scope.mailboxId,
  placementId: placement.id,
  before: null,
  after: null,
  source: "imap",
  endpointId: scope.endpointId,
  deviceId: null,
  confidence: null,
  evidence: [],
  ...rest,
});
