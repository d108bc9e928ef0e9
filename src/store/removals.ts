/**
 * What is to be removed from a maildrop and what became of it (semantics K4): commands of the verb `dele`, which name an item
 * by its unique-id and size, durable as `sent` before the first of them is said.
 */
import type { Policy } from "../model/account.ts";
import type { DecidedChange } from "../model/change.ts";
import type { AccountId, EndpointId, MailboxId, MessageId, PlacementId } from "../model/ids.ts";
import type { Scope } from "../reconciler/state.ts";
import { appendChanges, type InputTx } from "./account-tx.ts";
import type { BlobRef } from "./blob-reads.ts";
import { closeHold, keepHold, loadHolds } from "./holds.ts";
import type { Queryable } from "./database.ts";
import { type BoundItem, endItems } from "./maildrops.ts";

export type RemovalReason = Exclude<Policy["serverCopy"], "leave">;

/** An item that the account's policy no longer wants on the server. */
export interface DueRemoval extends BoundItem {
  readonly mailboxId: MailboxId;
  /** What has to be there, octet by octet, before the server's copy may go; null: the owner had it destroyed here, too. */
  readonly stored: (BlobRef & { readonly hFull: Buffer }) | null;
  /** What is stored of it was found to be damaged before. */
  readonly wasDamaged: boolean;
}

/** Breaker B5: so many in ten minutes, or this part of the maildrop where that is more. */
const burst = 50;
const burstPart = 0.05;

/** `$4`: days. By age, what is durable; else what was removed for good, or destroyed. */
const conditions: Readonly<Record<RemovalReason, string>> = {
  delete_after_days: `m.durability = 'durable' and p.lifecycle <> 'purged' and b.bound_at <= now() - make_interval(days => $4)`,
  delete_on_purge: `($4::int is null or true) and m.durability <> 'stub'
     and (p.lifecycle = 'purged' or m.durability = 'purged' or (p.lifecycle = 'removed' and p.recoverable_until <= now()))`,
};

/**
 * What is due, the oldest first, as many as breaker B5 lets through; nothing while the end of an earlier removal is not known.
 * Items that share a unique-id come together or not at all (S97): what can never go must not stand before what can.
 */
export const listDueRemovals = async (
  db: Queryable,
  accountId: AccountId,
  endpointId: EndpointId,
  policy: Policy,
): Promise<readonly DueRemoval[]> => {
  const { serverCopy: reason } = policy;
  if (reason === "leave") return [];
  const { rows } = await db.query<{
    uidl: string;
    occurrence: number;
    listed_size: bigint;
    placement_id: PlacementId;
    mailbox_id: MailboxId;
    purged: boolean;
    sha256: Buffer;
    size: bigint;
    h_full: Buffer;
    damaged: boolean;
  }>({
    name: `removals_${reason}`,
    text: `with shown as (
             select *, count(*) over (partition by uidl) as alike, greatest($5::bigint, floor($6::float8 * count(*) over ())::bigint) as most
             from bindings where account_id = $1 and endpoint_id = $2 and active),
           due as (
             select b.uidl, b.occurrence, b.listed_size, b.placement_id, b.mailbox_id, b.alike, b.most, m.sha256, m.size, m.h_full,
               (p.lifecycle = 'purged' or m.durability = 'purged') as purged, coalesce(c.outcome = 'octets_damaged', false) as damaged,
               count(*) over same as due_alike, min(b.bound_at) over same as since
             from shown b
             join placements p on p.account_id = b.account_id and p.id = b.placement_id
             join messages m on m.account_id = p.account_id and m.id = p.message_id
             left join commands c on c.account_id = b.account_id and c.placement_id = b.placement_id and c.reason = $3 and c.op_id is null
             where b.uidl <> '' and b.listed_size > 0 and ${conditions[reason]}
               and (m.h_full is not null or p.lifecycle = 'purged' or m.durability = 'purged')
               and (c.due_at is null or c.due_at <= now())
               and not exists (select from commands o where o.account_id = $1 and o.endpoint_id = $2 and o.verb = 'dele' and o.status in ('sent', 'unknown'))
             window same as (partition by b.uidl)),
           queued as (select *, count(*) over (order by since, uidl) as up_to from due where due_alike = alike and alike <= most)
           select * from queued
           where up_to <= most - (select count(*) from commands where account_id = $1 and endpoint_id = $2 and verb = 'dele' and sent_at > now() - interval '10 minutes')
           order by since, uidl, occurrence`,
    values: [accountId, endpointId, reason, policy.serverCopyDays, burst, burstPart],
  });
  return rows.map((row) => ({
    uidl: row.uidl,
    occurrence: row.occurrence,
    size: Number(row.listed_size),
    placementId: row.placement_id,
    mailboxId: row.mailbox_id,
    stored: row.purged ? null : { sha256: row.sha256, size: Number(row.size), hFull: row.h_full },
    wasDamaged: row.damaged,
  }));
};

interface Journal {
  readonly reason: RemovalReason;
  readonly epoch: number;
  readonly status: "sent" | "failed";
  readonly outcome: string | null;
  /** Not to be tried again before; null: as soon as it is due. */
  readonly dueAt: Date | null;
}

const journal = async (
  account: InputTx,
  endpointId: EndpointId,
  items: readonly DueRemoval[],
  { reason, epoch, status, outcome, dueAt }: Journal,
): Promise<void> => {
  const { at } = account.input;
  if (items.length === 0) return;
  const rows = items.map(({ uidl, occurrence, size, placementId, mailboxId }) => ({
    id: account.input.freshId(),
    placement_id: placementId,
    mailbox_id: mailboxId,
    args: { uidl, occurrence, size, epoch },
  }));
  await account.tx.query({
    name: "removals_journal",
    text: `insert into commands (account_id, id, tenant_id, endpoint_id, placement_id, mailbox_id, verb, args, reason, status, outcome, attempts, planned_at, sent_at, ended_at, due_at)
           select $1, w.id, $2, $3, w.placement_id, w.mailbox_id, 'dele', w.args, $5, $6, $7, 1, $8,
             case when $6 = 'sent' then $8::timestamptz end, case when $6 = 'failed' then $8::timestamptz end, $9
           from jsonb_to_recordset($4::jsonb) as w(id uuid, placement_id uuid, mailbox_id uuid, args jsonb)
           on conflict (account_id, placement_id, reason) where op_id is null do update
             set endpoint_id = excluded.endpoint_id, mailbox_id = excluded.mailbox_id, args = excluded.args, status = excluded.status, outcome = excluded.outcome,
                 attempts = case when commands.status = 'confirmed' then 1 else commands.attempts + 1 end,
                 planned_at = excluded.planned_at, sent_at = excluded.sent_at, ended_at = excluded.ended_at, due_at = excluded.due_at`,
    values: [account.accountId, account.tenantId, endpointId, JSON.stringify(rows), reason, status, outcome, at, dueAt],
  });
};

/** From here on the items may be gone because of us, whatever becomes of us (V1). */
export const journalSent = (
  account: InputTx,
  { endpointId, epoch }: Scope,
  items: readonly DueRemoval[],
  reason: RemovalReason,
): Promise<void> => journal(account, endpointId, items, { reason, epoch, status: "sent", outcome: null, dueAt: null });

/** The end of the session was not answered (C9). */
export const journalUnknown = async (account: InputTx, endpointId: EndpointId): Promise<void> => {
  await account.tx.query({
    name: "removals_unknown",
    text: `update commands set status = 'unknown' where account_id = $1 and endpoint_id = $2 and verb = 'dele' and status = 'sent'`,
    values: [account.accountId, endpointId],
  });
};

const damagedMs = 3_600_000;

/** Notes items whose stored octets are not what was read, and those where they are again; a hold tells the owner. */
export const journalDamage = async (
  account: InputTx,
  { endpointId, epoch, mailboxId }: Scope,
  found: { readonly damaged: readonly DueRemoval[]; readonly sound: readonly DueRemoval[]; readonly reason: RemovalReason },
): Promise<void> => {
  const { at } = account.input;
  const { damaged, sound, reason } = found;
  const dueAt = new Date(at.getTime() + damagedMs);
  await journal(account, endpointId, damaged, { reason, epoch, status: "failed", outcome: "octets_damaged", dueAt });
  const { rows } = await account.tx.query<{ n: bigint }>({
    name: "removals_sound",
    text: `with sound as (update commands set outcome = 'octets_sound' where account_id = $1 and placement_id = any($3::uuid[]) and verb = 'dele' returning id)
           select count(*) as n from commands c where c.account_id = $1 and c.endpoint_id = $2 and c.verb = 'dele' and c.outcome = 'octets_damaged'
             and not c.id = any(select id from sound)`,
    values: [account.accountId, endpointId, sound.map(({ placementId }) => placementId)],
  });
  const count = Number(rows[0]?.n ?? 0);
  const open = (await loadHolds(account, "octets_damaged")).get(mailboxId) ?? null;
  const hold = { reason: "octets_damaged", rule: "K4" };
  if (count > 0) await keepHold(account, endpointId, open, { ...hold, mailboxId, count, history: null });
  else if (open !== null) await closeHold(account, endpointId, open, { ...hold, outcome: "octets_sound" });
};

/** How long what was said to a server may still be done, where it was still listed when last looked for (V1). */
export const lateRemoval = "1 day";

/** A removal that was said to the server and not seen to be done: open, or given up not long ago. */
export interface OpenRemoval extends BoundItem {
  readonly id: string;
  /** null: it was destroyed since. */
  readonly messageId: MessageId | null;
  readonly reason: string;
  readonly epoch: number;
  readonly attempts: number;
  /** In ms since 1970. */
  readonly sentAt: number;
  /** It was still listed when its end was looked for. */
  readonly givenUp: boolean;
}

export const listOpenRemovals = async (
  db: Queryable,
  accountId: AccountId,
  endpointId: EndpointId,
): Promise<readonly OpenRemoval[]> => {
  const { rows } = await db.query<{
    id: string;
    placement_id: PlacementId;
    message_id: MessageId | null;
    reason: string;
    args: { uidl: string; occurrence: number; size: number; epoch: number };
    attempts: number;
    sent_at: Date;
    given_up: boolean;
  }>({
    name: "removals_open",
    text: `select c.id, c.placement_id, p.message_id, c.reason, c.args, c.attempts, c.sent_at, c.status = 'failed' as given_up
           from commands c left join placements p on p.account_id = c.account_id and p.id = c.placement_id
           where c.account_id = $1 and c.endpoint_id = $2 and c.verb = 'dele'
             and (c.status in ('sent', 'unknown') or (c.status = 'failed' and c.sent_at > now() - interval '${lateRemoval}'))
           order by c.id`,
    values: [accountId, endpointId],
  });
  return rows.map(({ placement_id: placementId, message_id: messageId, sent_at: sentAt, given_up: givenUp, args, ...rest }) => ({
    ...rest,
    givenUp,
    ...args,
    placementId,
    messageId,
    sentAt: sentAt.getTime(),
  }));
};

/** After the second attempt it is not tried all day long. In ms, by attempts. */
const patience = [0, 0, 3_600_000];
const lastPatience = 24 * 3_600_000;

/** Ends removals by what a complete listing showed: their items are gone, and then so are the bindings; or they are not. */
export const endRemovals = async (
  account: InputTx,
  scope: Scope,
  { gone, left }: { readonly gone: readonly OpenRemoval[]; readonly left: readonly OpenRemoval[] },
): Promise<void> => {
  const { at } = account.input;
  const ended = [
    ...gone.map((removal) => ({ id: removal.id, status: "confirmed", outcome: null, due_at: null })),
    ...left.map((removal) => ({
      id: removal.id,
      status: "failed",
      outcome: "still_listed",
      due_at: new Date(at.getTime() + (patience[removal.attempts] ?? lastPatience)),
    })),
  ];
  await account.tx.query({
    name: "removals_end",
    text: `update commands c set status = w.status, outcome = w.outcome, due_at = w.due_at, ended_at = $3
           from jsonb_to_recordset($2::jsonb) as w(id uuid, status text, outcome text, due_at timestamptz) where c.account_id = $1 and c.id = w.id`,
    values: [account.accountId, JSON.stringify(ended), at],
  });
  await endItems(
    account,
    scope,
    gone.map((removal) => ({ ...removal, reason: "self" })),
  );
  const told = (kind: "write.applied" | "write.failed", removal: OpenRemoval): DecidedChange => ({
    kind,
    messageId: removal.messageId,
    mailboxId: scope.mailboxId,
    placementId: removal.placementId,
    before: { uidl: removal.uidl, size: removal.size },
    after: kind === "write.applied" ? null : { uidl: removal.uidl, size: removal.size },
    source: "rule",
    endpointId: scope.endpointId,
    deviceId: null,
    reason: removal.reason,
    rule: "K4",
    confidence: null,
    evidence: [],
  });
  // The first time it may be that nothing was said at all: a crash before the end of the session (K7).
  const failed = left.filter(({ attempts }) => attempts > 1);
  const changes = [...gone.map((one) => told("write.applied", one)), ...failed.map((one) => told("write.failed", one))];
  await appendChanges(account, changes);
};
