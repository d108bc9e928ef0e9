/** Mailboxes as decided by the reconciler, and the cursors of their upstream side. */
import type { EndpointId, MailboxId } from "../model/ids.ts";
import type { Role } from "../model/mail.ts";
import type { MailboxDecision } from "../reconciler/mailboxes.ts";
import type { Scope } from "../reconciler/state.ts";
import { appendChanges, type InputTx } from "./account-tx.ts";
import { allowWholeMailbox, markUnbound } from "./candidates.ts";
import type { Queryable } from "./database.ts";
import { closeHold, loadHolds } from "./holds.ts";

/** Where the reading of one upstream mailbox stands. */
export interface UpstreamMailbox {
  readonly mailboxId: MailboxId;
  readonly path: string;
  readonly selectable: boolean;
  readonly role: Role | null;
  readonly epoch: number;
  readonly uidValidity: number | null;
  readonly uidNext: number | null;
  readonly highestModseq: bigint | null;
  /** Everything from here up has been read; 1 when the first reading is complete, null before it began. */
  readonly backfillLow: number | null;
  readonly auditedAt: Date | null;
  readonly failures: number;
  readonly parkedUntil: Date | null;
  /** Placements that wait because nobody knows whether it is the mailbox they were in (B4); 0: it is not held. */
  readonly held: number;
  /** Flags that much of it lost at once are held (B3). */
  readonly flagsHeld: boolean;
}

const createOrder = (decision: Pick<MailboxDecision, "mailboxes">) => decision.mailboxes.filter((mailbox) => mailbox.created);

/** Writes the tree and its log. */
export const writeMailboxes = async (
  account: InputTx,
  decision: Pick<MailboxDecision, "changes" | "mailboxes">,
): Promise<void> => {
  const base = await appendChanges(account, decision.changes);
  const seqOf = (change: number | null): string | null => (change === null ? null : String(base + BigInt(change) + 1n));
  const updated = decision.mailboxes.filter((mailbox) => !mailbox.created);
  const rows = (mailboxes: typeof updated) =>
    JSON.stringify(
      mailboxes.map((mailbox) => ({
        ...mailbox,
        parent_id: mailbox.parentId,
        role_source: mailbox.roleSource,
        seq: seqOf(mailbox.change),
      })),
    );
  const shape =
    "w(id uuid, name text, parent_id uuid, role text, role_source text, subscribed boolean, lifecycle text, seq bigint)";
  if (updated.length > 0) {
    // Names and roles may change hands inside one decision: free them all first, so that no unique index sees a clash.
    await account.tx.query({
      text: `update mailboxes m set name = m.id::text, role = null, role_source = null where m.account_id = $1 and m.id = any($2::uuid[])`,
      values: [account.accountId, updated.map((mailbox) => mailbox.id)],
    });
    await account.tx.query({
      text: `update mailboxes m set name = w.name, parent_id = w.parent_id, role = w.role, role_source = w.role_source, subscribed = w.subscribed,
               lifecycle = w.lifecycle, changed_seq = coalesce(w.seq, m.changed_seq)
             from jsonb_to_recordset($2::jsonb) as ${shape} where m.account_id = $1 and m.id = w.id`,
      values: [account.accountId, rows(updated)],
    });
  }
  if (createOrder(decision).length > 0)
    await account.tx.query({
      text: `insert into mailboxes (account_id, id, tenant_id, name, parent_id, role, role_source, subscribed, lifecycle, created_seq, changed_seq)
             select $1, w.id, $3, w.name, w.parent_id, w.role, w.role_source, w.subscribed, w.lifecycle, w.seq, w.seq
             from jsonb_to_recordset($2::jsonb) as ${shape}`,
      values: [account.accountId, rows(createOrder(decision)), account.tenantId],
    });
};

/** Writes the tree, its log and the upstream addresses. */
export const applyMailboxDecision = async (
  account: InputTx,
  endpointId: EndpointId,
  decision: MailboxDecision,
): Promise<void> => {
  await writeMailboxes(account, decision);
  // First, for another mailbox may have the path of one that is gone.
  await dropGone(account, endpointId, decision.gone);
  await writeUpstream(account, endpointId, decision);
};

const writeUpstream = async (account: InputTx, endpointId: EndpointId, decision: MailboxDecision): Promise<void> => {
  if (decision.upstream.length === 0) return;
  const rows = decision.upstream.map((row) => ({
    mailbox_id: row.mailboxId,
    path: row.path,
    delimiter: row.delimiter,
    selectable: row.selectable,
    object_id: row.objectId,
    shows_all: row.showsAll ?? false,
    absent_since: row.absentSince === null ? null : new Date(row.absentSince).toISOString(),
  }));
  // A renamed mailbox may take a path another one still holds in this table: free the paths first.
  await account.tx.query({
    text: `update upstream_mailboxes set path = mailbox_id::text || ' ' || path
           where account_id = $1 and endpoint_id = $2 and mailbox_id = any($3::uuid[])`,
    values: [account.accountId, endpointId, rows.map((row) => row.mailbox_id)],
  });
  await account.tx.query({
    text: `insert into upstream_mailboxes (account_id, endpoint_id, mailbox_id, tenant_id, path, delimiter, selectable, object_id, shows_all, absent_since)
           select $1, $2, w.mailbox_id, $4, w.path, w.delimiter, w.selectable, w.object_id, w.shows_all, w.absent_since
           from jsonb_to_recordset($3::jsonb) as w(mailbox_id uuid, path text, delimiter text, selectable boolean, object_id text, shows_all boolean,
             absent_since timestamptz)
           on conflict (account_id, endpoint_id, mailbox_id) do update set path = excluded.path, delimiter = coalesce(excluded.delimiter, upstream_mailboxes.delimiter),
             selectable = excluded.selectable, object_id = excluded.object_id, shows_all = excluded.shows_all,
             absent_since = excluded.absent_since`,
    values: [account.accountId, endpointId, JSON.stringify(rows), account.tenantId],
  });
};

/** What is asked of a mailbox as a whole, by reason and rule; of one that is gone nobody looks for the answer any more. */
const askedOfMailbox = [
  ["epoch", "B4"],
  ["mass_flag_loss", "B3"],
] as const;

const releaseGone = async (account: InputTx, endpointId: EndpointId, gone: readonly MailboxId[]): Promise<void> => {
  for (const [reason, rule] of askedOfMailbox) {
    const open = await loadHolds(account, reason);
    for (const mailboxId of gone) {
      const hold = open.get(mailboxId);
      if (hold !== undefined) await closeHold(account, endpointId, hold, { reason, rule, outcome: "released" });
    }
  }
};

/** Mailboxes gone for good: no binding stays active in them, and what they held waits for a decision. */
const dropGone = async (account: InputTx, endpointId: EndpointId, gone: readonly MailboxId[]): Promise<void> => {
  const { at } = account.input;
  if (gone.length === 0) return;
  await allowWholeMailbox(account);
  await account.tx.query({
    text: `with closed as (
             update bindings set active = false, closed_reason = 'absent'
             where account_id = $1 and endpoint_id = $2 and mailbox_id = any($3::uuid[]) and active returning placement_id)
           update placements p set absent_since = coalesce(p.absent_since, $4) from closed
           where p.account_id = $1 and p.id = closed.placement_id and p.lifecycle = 'live'`,
    values: [account.accountId, endpointId, gone, at],
  });
  for (const mailboxId of gone) await markUnbound(account, endpointId, mailboxId);
  await releaseGone(account, endpointId, gone);
  await account.tx.query({
    text: `delete from upstream_mailboxes where account_id = $1 and endpoint_id = $2 and mailbox_id = any($3::uuid[])`,
    values: [account.accountId, endpointId, gone],
  });
};

/** By what the endpoint knew the mailbox when it was last agreed which one it is; null: it never told. */
export const readObjectId = async (
  account: InputTx,
  { endpointId, mailboxId }: Pick<Scope, "endpointId" | "mailboxId">,
): Promise<string | null> => {
  const { rows } = await account.tx.query<{ object_id: string | null }>({
    name: "upstream_object_id",
    text: `select object_id from upstream_mailboxes where account_id = $1 and endpoint_id = $2 and mailbox_id = $3`,
    values: [account.accountId, endpointId, mailboxId],
  });
  return rows[0]?.object_id ?? null;
};

export const writeObjectId = async (
  account: InputTx,
  { endpointId, mailboxId }: Pick<Scope, "endpointId" | "mailboxId">,
  objectId: string,
): Promise<void> => {
  await account.tx.query({
    name: "upstream_object_id_write",
    text: `update upstream_mailboxes set object_id = $4 where account_id = $1 and endpoint_id = $2 and mailbox_id = $3`,
    values: [account.accountId, endpointId, mailboxId, objectId],
  });
};

export interface CursorWrite {
  readonly mailboxId: MailboxId;
  readonly epoch: number;
  readonly uidValidity: number;
  readonly uidNext: number;
  readonly highestModseq: bigint | null;
  readonly backfillLow: number;
  readonly audited: boolean;
  readonly permanentFlags: readonly string[] | null;
}

/**
 * Moves a mailbox's cursor, in the transaction that wrote what it stands for. One that stands where it stood writes nothing, and
 * when all of a mailbox was looked at is noted once an hour: an audit a day needs no more.
 */
export const writeCursor = async (account: InputTx, endpointId: EndpointId, cursor: CursorWrite): Promise<void> => {
  const { at } = account.input;
  await account.tx.query({
    name: "cursor_write",
    text: `update upstream_mailboxes set epoch = $4, uid_validity = $5, uid_next = $6, highest_modseq = $7, backfill_low = $8,
             audited_at = case when $9 then $10::timestamptz else audited_at end, permanent_flags = coalesce($11, permanent_flags),
             failures = 0, parked_until = null, park_reason = null
           where account_id = $1 and endpoint_id = $2 and mailbox_id = $3
             and ((epoch, uid_validity, uid_next, highest_modseq, backfill_low, permanent_flags, failures, parked_until, park_reason)
                    is distinct from ($4, $5, $6, $7, $8, coalesce($11, permanent_flags), 0, null::timestamptz, null)
                  or ($9 and coalesce(audited_at < $10::timestamptz - interval '1 hour', true)))`,
    values: [
      account.accountId,
      endpointId,
      cursor.mailboxId,
      cursor.epoch,
      cursor.uidValidity,
      cursor.uidNext,
      cursor.highestModseq,
      cursor.backfillLow,
      cursor.audited,
      at,
      cursor.permanentFlags,
    ],
  });
};

/**
 * What a mailbox keeps of the flags that are written to it; null: whatever there is.
 * @returns whether that is other than when it was last written to, before any restart too.
 */
export const noteStoredFlags = async (
  account: InputTx,
  { endpointId, mailboxId }: Pick<Scope, "endpointId" | "mailboxId">,
  kept: readonly string[] | null,
): Promise<boolean> => {
  const { rowCount } = await account.tx.query({
    name: "mailbox_stored_flags",
    text: `update upstream_mailboxes set stored_flags = $4 where account_id = $1 and endpoint_id = $2 and mailbox_id = $3 and stored_flags <> $4`,
    values: [account.accountId, endpointId, mailboxId, kept ?? ["any"]],
  });
  return rowCount > 0;
};

/** Puts a mailbox aside after repeated failures of its own; the account goes on without it. */
export const parkMailbox = async (
  account: InputTx,
  endpointId: EndpointId,
  mailboxId: MailboxId,
  park: { until: Date | null; reason: string },
): Promise<void> => {
  await account.tx.query({
    name: "mailbox_park",
    text: `update upstream_mailboxes set failures = failures + 1, parked_until = $4, park_reason = $5 where account_id = $1 and endpoint_id = $2 and mailbox_id = $3`,
    values: [account.accountId, endpointId, mailboxId, park.until, park.reason],
  });
};

/** The upstream side of every live mailbox of an endpoint that is listed now. */
export const readUpstream = async (db: Queryable, accountId: string, endpointId: EndpointId): Promise<UpstreamMailbox[]> => {
  const { rows } = await db.query<{
    mailbox_id: MailboxId;
    path: string;
    selectable: boolean;
    role: Role | null;
    epoch: number;
    uid_validity: bigint | null;
    uid_next: bigint | null;
    highest_modseq: bigint | null;
    backfill_low: bigint | null;
    audited_at: Date | null;
    failures: number;
    parked_until: Date | null;
    held: number;
    flags_held: boolean;
  }>({
    name: "upstream_read",
    text: `select u.mailbox_id, u.path, u.selectable, m.role, u.epoch, u.uid_validity, u.uid_next, u.highest_modseq, u.backfill_low, u.audited_at,
             u.failures, u.parked_until,
             coalesce((select h.count from holds h where h.account_id = u.account_id and h.mailbox_id = u.mailbox_id and h.reason = 'epoch' and h.closed_at is null
                       and (h.evidence->0->>'epoch')::int = u.epoch), 0) as held,
             exists (select from holds h where h.account_id = u.account_id and h.mailbox_id = u.mailbox_id and h.reason = 'mass_flag_loss' and h.closed_at is null) as flags_held
           from upstream_mailboxes u join mailboxes m on m.account_id = u.account_id and m.id = u.mailbox_id
           where u.account_id = $1 and u.endpoint_id = $2 and m.lifecycle = 'live' and u.absent_since is null`,
    values: [accountId, endpointId],
  });
  const number = (value: bigint | null): number | null => (value === null ? null : Number(value));
  return rows.map((row) => ({
    mailboxId: row.mailbox_id,
    path: row.path,
    selectable: row.selectable,
    role: row.role,
    epoch: row.epoch,
    uidValidity: number(row.uid_validity),
    uidNext: number(row.uid_next),
    highestModseq: row.highest_modseq,
    backfillLow: number(row.backfill_low),
    auditedAt: row.audited_at,
    failures: row.failures,
    parkedUntil: row.parked_until,
    held: row.held,
    flagsHeld: row.flags_held,
  }));
};
