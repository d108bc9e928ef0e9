/** What a caller of the API wants of an account's mailboxes; durable, with its result, before it is answered (semantics 3.5, 3.7). */
import type { AccountId, MailboxId, TenantId } from "./ids.ts";
import type { IntentStatus } from "./intent.ts";
import type { Role } from "./mail.ts";

/** What is not given stays; a parent of null is none, a role of null is none. */
export interface MailboxPatch {
  readonly name?: string;
  readonly parentId?: MailboxId | null;
  readonly role?: Role | null;
}

export type MailboxOp =
  | ({ readonly op: "mailbox.create"; readonly name: string } & MailboxPatch)
  | ({ readonly op: "mailbox.update"; readonly mailboxId: MailboxId } & MailboxPatch)
  /** Its messages go to another mailbox; null: it must have none. */
  | { readonly op: "mailbox.remove"; readonly mailboxId: MailboxId; readonly moveMessagesTo: MailboxId | null };

/** Why a mailbox is not changed; each is a code of the API. */
export type MailboxRejection =
  | "not_found"
  | "parent_not_found"
  | "target_not_found"
  | "inbox_fixed"
  | "mailbox_exists"
  | "mailbox_cycle"
  | "mailbox_has_children"
  | "mailbox_not_empty"
  | "name_has_delimiter"
  | "state_mismatch"
  | "op_id_reused";

export interface MailboxResult {
  readonly status: IntentStatus;
  readonly reason: MailboxRejection | "created" | "updated" | "unchanged" | "removed" | "awaits_upstream";
  /** null: none was made. */
  readonly mailboxId: MailboxId | null;
}

export interface MailboxWriteRequest {
  readonly tenantId: TenantId;
  readonly accountId: AccountId;
  readonly deviceId: string;
  /** The last change the caller had seen; null: it did not say, so that its intent comes after all there is (1.4). */
  readonly base: bigint | null;
  /** Unique per account: an intent that comes again has its first result and no effect. */
  readonly opId: string;
  readonly op: MailboxOp;
}

export interface MailboxWritten {
  readonly result: MailboxResult;
  /** The account's state afterwards. */
  readonly state: { readonly epoch: number; readonly seq: bigint };
}

/** Where intents about mailboxes are decided. `Tx`: the transaction that the caller commits, and its answer with it. */
export interface MailboxWrites<Tx> {
  /** null: the tenant has no such account. */
  write(tx: Tx, request: MailboxWriteRequest): Promise<MailboxWritten | null>;
}

interface LoggedMailboxChange {
  readonly kind: string;
  readonly mailboxId: MailboxId | null;
  readonly before: Readonly<Record<string, unknown>> | null;
  readonly after: Readonly<Record<string, unknown>> | null;
}

/** The inverse of one change of a mailbox, as an ordinary operation (Q6); null: there is no way back. One that was removed comes back empty. */
export const inverseOfMailbox = ({ kind, mailboxId, before, after }: LoggedMailboxChange): MailboxOp | null => {
  // As the log has it (`describeMailbox`).
  const was = before as Required<MailboxPatch> | null;
  if (kind === "mailbox.removed" && was !== null) return { op: "mailbox.create", ...was };
  if (mailboxId === null) return null;
  if (kind === "mailbox.created") return { op: "mailbox.remove", mailboxId, moveMessagesTo: null };
  if (kind !== "mailbox.renamed" || was === null) return null;
  const { name, parentId, role } = was;
  return {
    op: "mailbox.update",
    mailboxId,
    ...(name !== after?.["name"] && { name }),
    ...(parentId !== after?.["parentId"] && { parentId }),
    ...(role !== after?.["role"] && { role }),
  };
};
