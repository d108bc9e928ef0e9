/** The POP3 side of the store: what is bound to unique-ids, and the bindings written in one statement. */
import type { AccountId, EndpointId, MailboxId, MessageId, PlacementId } from "../model/ids.ts";
import type { ListedItem } from "../model/maildrop.ts";
import type { Scope } from "../reconciler/state.ts";
import type { AccountTx, InputTx } from "./account-tx.ts";
import type { Queryable } from "./database.ts";

export interface BoundItem extends ListedItem {
  readonly placementId: PlacementId;
}

export interface Maildrop {
  readonly epoch: number;
  /** The last entry of the account's log. */
  readonly headSeq: bigint;
  /** The canonical INBOX; null: the account has none yet. */
  readonly inbox: MailboxId | null;
  /** UIDVALIDITY of INBOX as IMAP last showed it; null where it did not. */
  readonly uidValidity: number | null;
  /** Active bindings of this epoch. */
  readonly bound: readonly BoundItem[];
  /** Has the first reading come to its end? */
  readonly readOnce: boolean;
}

export const loadMaildrop = async (db: Queryable, accountId: AccountId, endpointId: EndpointId): Promise<Maildrop> => {
  const { rows } = await db.query<{
    epoch: number;
    head_seq: bigint;
    read_once: boolean;
    inbox: MailboxId | null;
    uid_validity: bigint | null;
  }>({
    name: "maildrop_state",
    text: `select e.maildrop_epoch as epoch, a.head_seq, (e.backfill_started_at is not null and e.progress_done >= e.progress_total) as read_once,
             i.id as inbox, u.uid_validity
           from endpoints e join accounts a on a.id = e.account_id
           left join mailboxes i on i.account_id = e.account_id and i.role = 'inbox' and i.lifecycle = 'live'
           left join upstream_mailboxes u on u.account_id = e.account_id and u.mailbox_id = i.id and u.endpoint_id <> e.id
           where e.account_id = $1 and e.id = $2`,
    values: [accountId, endpointId],
  });
  const {
    epoch = 0,
    head_seq: headSeq = 0n,
    read_once: readOnce = false,
    inbox = null,
    uid_validity: uidValidity = null,
  } = rows[0] ?? {};
  const bound = await db.query<{ uidl: string; occurrence: number; listed_size: bigint | null; placement_id: PlacementId }>({
    name: "maildrop_bound",
    text: `select uidl, occurrence, listed_size, placement_id from bindings where account_id = $1 and endpoint_id = $2 and active`,
    values: [accountId, endpointId],
  });
  return {
    epoch,
    headSeq,
    inbox,
    readOnce,
    uidValidity: uidValidity === null ? null : Number(uidValidity),
    bound: bound.rows.map((row) => ({
      uidl: row.uidl,
      occurrence: row.occurrence,
      size: Number(row.listed_size ?? 0),
      placementId: row.placement_id,
    })),
  };
};

/** Messages by their octets and by their normal form, in hex. */
export const loadAlike = async (account: AccountTx, hashes: readonly Buffer[]): Promise<Map<string, MessageId>> => {
  const { rows } = await account.tx.query<{ id: MessageId; sha256: Buffer | null; h_full: Buffer | null }>({
    name: "messages_alike",
    // One by one: before a table's statistics are made the planner takes `= any` for a filter over all the account has.
    text: `select m.id, m.sha256, m.h_full from unnest($2::bytea[]) as w(hash), lateral
             (select id, sha256, h_full from messages where account_id = $1 and sha256 = w.hash offset 0) as m
           union select m.id, m.sha256, m.h_full from unnest($2::bytea[]) as w(hash), lateral
             (select id, sha256, h_full from messages where account_id = $1 and h_full = w.hash offset 0) as m
           order by id`,
    values: [account.accountId, hashes],
  });
  const known = new Map<string, MessageId>();
  for (const { id, sha256, h_full: full } of rows)
    for (const hash of [sha256, full]) if (hash !== null) known.set(hash.toString("hex"), id);
  return known;
};

/** Binds items; one that was bound before in this epoch is bound anew. */
export const bindItems = async (account: InputTx, scope: Scope, items: readonly BoundItem[]): Promise<void> => {
  if (items.length === 0) return;
  await account.tx.query({
    name: "maildrop_bind",
    text: `insert into bindings (account_id, endpoint_id, mailbox_id, epoch, uidl, occurrence, listed_size, bound_at, tenant_id, placement_id, shadow_flags, synced_seq)
           select $1, $2, $3, $4, w.uidl, w.occurrence, w.size, now(), $5, w.placement_id, '{}', $6
           from unnest($7::text[], $8::smallint[], $9::bigint[], $10::uuid[]) as w(uidl, occurrence, size, placement_id)
           on conflict (account_id, endpoint_id, mailbox_id, epoch, uid, uidl, occurrence) do update
             set active = true, closed_reason = null, placement_id = excluded.placement_id, listed_size = excluded.listed_size, bound_at = excluded.bound_at, synced_seq = excluded.synced_seq`,
    values: [
      account.accountId,
      scope.endpointId,
      scope.mailboxId,
      scope.epoch,
      account.tenantId,
      account.headSeq,
      items.map(({ uidl }) => uidl),
      items.map(({ occurrence }) => occurrence),
      items.map(({ size }) => size),
      items.map(({ placementId }) => placementId),
    ],
  });
};

/** Ends bindings of present items. */
export const endItems = async (
  account: InputTx,
  scope: Scope,
  items: readonly (Pick<ListedItem, "uidl" | "occurrence"> & { readonly reason: string })[],
): Promise<void> => {
  if (items.length === 0) return;
  await account.tx.query({
    name: "maildrop_end",
    text: `update bindings b set active = false, closed_reason = w.reason
           from unnest($4::text[], $5::smallint[], $6::text[]) as w(uidl, occurrence, reason)
           where b.account_id = $1 and b.endpoint_id = $2 and b.epoch = $3 and b.uidl = w.uidl and b.occurrence = w.occurrence and b.active`,
    values: [
      account.accountId,
      scope.endpointId,
      scope.epoch,
      items.map(({ uidl }) => uidl),
      items.map(({ occurrence }) => occurrence),
      items.map(({ reason }) => reason),
    ],
  });
};

/** The ids of the last epoch mean nothing any more: every binding ends, every placement stays (ID-9). @returns the new epoch. */
export const openMaildropEpoch = async (account: InputTx, endpointId: EndpointId): Promise<number> => {
  const { accountId } = account;
  await account.tx.query({
    text: `update bindings set active = false, closed_reason = 'epoch' where account_id = $1 and endpoint_id = $2 and active`,
    values: [accountId, endpointId],
  });
  const { rows } = await account.tx.query<{ epoch: number }>({
    text: `update endpoints set maildrop_epoch = maildrop_epoch + 1 where account_id = $1 and id = $2 returning maildrop_epoch as epoch`,
    values: [accountId, endpointId],
  });
  return rows[0]?.epoch ?? 0;
};

/**
 * Placements that were bound in an epoch before and are bound nowhere now, not because of us: live, not kept, with the id they had. What is
 * listed and not read yet may still be one of them.
 */
export const listLeftOver = async (db: Queryable, accountId: AccountId, endpointId: EndpointId): Promise<BoundItem[]> => {
  const { rows } = await db.query<{ uidl: string; occurrence: number; placement_id: PlacementId }>({
    name: "maildrop_left_over",
    text: `select distinct on (b.placement_id) b.uidl, b.occurrence, b.placement_id
           from bindings b join placements p on p.account_id = b.account_id and p.id = b.placement_id
           where b.account_id = $1 and b.endpoint_id = $2 and b.closed_reason = 'epoch' and p.lifecycle = 'live' and not p.kept
             and not exists (select from bindings x where x.account_id = p.account_id and x.placement_id = p.id and (x.active or x.closed_reason = 'self'))
           order by b.placement_id, b.epoch desc`,
    values: [accountId, endpointId],
  });
  return rows.map(({ uidl, occurrence, placement_id: placementId }) => ({ uidl, occurrence, size: 0, placementId }));
};
