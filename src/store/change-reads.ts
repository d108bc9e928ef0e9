/** The change log as its readers see it: in order, without gaps, or a plain word that it cannot be given. */
import type { Change, ChangeKind, ChangeSource } from "../model/change.ts";
import type { AccountId, EndpointId, MailboxId, MessageId, PlacementId } from "../model/ids.ts";
import type { Queryable } from "./database.ts";

/** A point in an account's log. */
export interface LogState {
  readonly epoch: number;
  readonly seq: bigint;
}

export type ChangePage =
  | { readonly outcome: "changes"; readonly head: LogState; readonly changes: readonly Change[]; readonly hasMore: boolean }
  /** `since` is of another epoch, ahead of the log, or older than what is kept. The reader must read the lists again. */
  | { readonly outcome: "cannot_calculate"; readonly head: LogState }
  | { readonly outcome: "account_gone" };

interface ChangeRow {
  readonly seq: bigint;
  readonly state_epoch: number;
  readonly at: Date;
  readonly kind: ChangeKind;
  readonly message_id: MessageId | null;
  readonly mailbox_id: MailboxId | null;
  readonly placement_id: PlacementId | null;
  readonly before: Record<string, unknown> | null;
  readonly after: Record<string, unknown> | null;
  readonly source: ChangeSource;
  readonly endpoint_id: EndpointId | null;
  readonly device_id: string | null;
  readonly reason: string;
  readonly rule: string | null;
  readonly confidence: number | null;
  readonly evidence: unknown[];
  readonly hash: Buffer;
}

const columns =
  "c.seq, c.state_epoch, c.at, c.kind, c.message_id, c.mailbox_id, c.placement_id, c.before, c.after, c.source, c.endpoint_id, c.device_id, c.reason, c.rule, c.confidence, c.evidence, c.hash";

const toChange = (accountId: AccountId, row: ChangeRow): Change => ({
  accountId,
  seq: row.seq,
  stateEpoch: row.state_epoch,
  at: row.at,
  kind: row.kind,
  messageId: row.message_id,
  mailboxId: row.mailbox_id,
  placementId: row.placement_id,
  before: row.before,
  after: row.after,
  source: row.source,
  endpointId: row.endpoint_id,
  deviceId: row.device_id,
  reason: row.reason,
  rule: row.rule,
  confidence: row.confidence,
  evidence: row.evidence,
  hash: row.hash.toString("hex"),
});

/** At most `limit` changes after `since`, and the end of the log, as of one instant. */
export const readChanges = async (db: Queryable, accountId: AccountId, since: LogState, limit: number): Promise<ChangePage> => {
  // One statement is one snapshot: head and entries agree. The outer join keeps the head when there is nothing new.
  const { rows } = await db.query<Partial<ChangeRow> & { head_epoch: number; head_seq: bigint; seq: bigint | null }>({
    name: "changes_since",
    text: `select a.state_epoch as head_epoch, a.head_seq, ${columns}
           from accounts a
           left join lateral (select * from changes c where c.account_id = a.id and c.seq > $2 order by c.seq limit $3) c on true
           where a.id = $1 and a.deleted_at is null order by c.seq`,
    values: [accountId, since.seq, limit + 1],
  });
  const first = rows[0];
  if (first === undefined) return { outcome: "account_gone" };
  const head = { epoch: first.head_epoch, seq: first.head_seq };
  // Numbers have no gaps, so the entry after `since` is missing only when it was dropped, or has not happened yet.
  const follows = first.seq === null ? since.seq === head.seq : first.seq === since.seq + 1n;
  if (since.epoch !== head.epoch || !follows) return { outcome: "cannot_calculate", head };
  const found = rows.filter((row): row is ChangeRow & typeof row => row.seq !== null);
  return {
    outcome: "changes",
    head,
    changes: found.slice(0, limit).map((row) => toChange(accountId, row)),
    hasMore: found.length > limit,
  };
};

/** Every change of one mailbox itself, not of what is in it, after `after`, in order, at most `limit`. */
export const readMailboxChanges = async (
  db: Queryable,
  accountId: AccountId,
  mailboxId: MailboxId,
  page: { readonly after: bigint; readonly limit: number },
): Promise<Change[]> => {
  const { rows } = await db.query<ChangeRow>({
    name: "changes_of_mailbox",
    text: `select ${columns} from changes c where c.account_id = $1 and c.mailbox_id = $2 and c.message_id is null and c.seq > $3
           order by c.seq limit $4`,
    values: [accountId, mailboxId, page.after, page.limit],
  });
  return rows.map((row) => toChange(accountId, row));
};

/** Every change of one message after `after`, in order, at most `limit`. */
export const readMessageChanges = async (
  db: Queryable,
  accountId: AccountId,
  messageId: MessageId,
  page: { readonly after: bigint; readonly limit: number },
): Promise<Change[]> => {
  const { rows } = await db.query<ChangeRow>({
    name: "changes_of_message",
    text: `select ${columns} from changes c where c.account_id = $1 and c.message_id = $2 and c.seq > $3 order by c.seq limit $4`,
    values: [accountId, messageId, page.after, page.limit],
  });
  return rows.map((row) => toChange(accountId, row));
};

/** One change; null when the account has none of that number. */
export const readChange = async (db: Queryable, accountId: AccountId, seq: number): Promise<Change | null> => {
  const { rows } = await db.query<ChangeRow>({
    name: "change_read",
    text: `select ${columns} from changes c where c.account_id = $1 and c.seq = $2`,
    values: [accountId, seq],
  });
  const row = rows[0];
  return row === undefined ? null : toChange(accountId, row);
};
