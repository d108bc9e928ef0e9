/** The POP3 side of the store: what is bound to unique-ids, what an item may be, and the bindings written in one statement. */
import type { AccountId, EndpointId, MailboxId, MessageId, PlacementId } from "../model/ids.ts";
import type { ListedItem } from "../model/maildrop.ts";
import type { Claimable, Standing } from "../reconciler/identify.ts";
import type { GoneItem } from "../reconciler/maildrop-vanish.ts";
import type { PlacementView, Scope } from "../reconciler/state.ts";
import type { AccountTx } from "./account-tx.ts";
import type { Queryable } from "./database.ts";

export interface BoundItem extends ListedItem {
  readonly placementId: PlacementId;
}

export interface Maildrop {
  readonly epoch: number;
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
    read_once: boolean;
    inbox: MailboxId | null;
    uid_validity: bigint | null;
  }>({
    name: "maildrop_state",
    text: `select e.maildrop_epoch as epoch, (e.backfill_started_at is not null and e.progress_done >= e.progress_total) as read_once,
             i.id as inbox, u.uid_validity
           from endpoints e
           left join mailboxes i on i.account_id = e.account_id and i.role = 'inbox' and i.lifecycle = 'live'
           left join upstream_mailboxes u on u.account_id = e.account_id and u.mailbox_id = i.id and u.endpoint_id <> e.id
           where e.account_id = $1 and e.id = $2`,
    values: [accountId, endpointId],
  });
  const { epoch = 0, read_once: readOnce = false, inbox = null, uid_validity: uidValidity = null } = rows[0] ?? {};
  const bound = await db.query<{ uidl: string; occurrence: number; listed_size: bigint | null; placement_id: PlacementId }>({
    name: "maildrop_bound",
    text: `select uidl, occurrence, listed_size, placement_id from bindings where account_id = $1 and endpoint_id = $2 and active`,
    values: [accountId, endpointId],
  });
  return {
    epoch,
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

interface ClaimableRow {
  readonly id: PlacementId;
  readonly message_id: MessageId;
  readonly mailbox_id: MailboxId;
  readonly keywords: string[];
  readonly lifecycle: "live" | "removed";
  readonly kept: boolean;
  readonly absent_since: Date | null;
  readonly received_at: Date;
  readonly sha256: Buffer | null;
  readonly h_full: Buffer | null;
  readonly h_head: Buffer | null;
  readonly normal_size: bigint | null;
  readonly size: bigint;
  readonly durability: "stub" | "durable";
  readonly uid: bigint | null;
}

const standingOf = (row: ClaimableRow): Standing => {
  if (row.lifecycle === "removed") return "removed";
  if (row.kept) return "kept";
  if (row.uid !== null) return "imap";
  return row.absent_since === null ? "unbound" : "absent";
};

const hexOf = (hash: Buffer | null): string | null => hash?.toString("hex") ?? null;

const toClaimable = (row: ClaimableRow): Claimable => ({
  id: row.id,
  messageId: row.message_id,
  standing: standingOf(row),
  uid: row.uid === null ? null : Number(row.uid),
  objectId: null,
  sha256: hexOf(row.sha256),
  hFull: hexOf(row.h_full),
  hHead: hexOf(row.h_head),
  hSem: null,
  octets: row.durability === "durable" ? Number(row.size) : null,
  size: row.normal_size === null ? null : Number(row.normal_size),
});

const toView = (row: ClaimableRow): PlacementView => ({
  id: row.id,
  messageId: row.message_id,
  mailboxId: row.mailbox_id,
  keywords: row.keywords,
  lifecycle: row.lifecycle,
  kept: row.kept,
  absent: row.absent_since !== null,
  receivedAt: row.received_at.getTime(),
  binding: null,
});

export interface Claims {
  readonly claimable: readonly Claimable[];
  readonly views: ReadonlyMap<PlacementId, PlacementView>;
}

/** A placement that is bound at the endpoint, with what tells its item. */
export interface BoundFacts {
  /** Hex, of the header block as it was stored; null: not known. */
  readonly hHead: string | null;
  /** Of its IMAP binding in INBOX; null: none. */
  readonly uid: number | null;
  /** No other placement of INBOX has this header block. */
  readonly alone: boolean;
}

export const loadBoundFacts = async (
  db: Queryable,
  accountId: AccountId,
  { endpointId, inbox, ids }: { endpointId: EndpointId; inbox: MailboxId; ids: readonly PlacementId[] },
): Promise<ReadonlyMap<PlacementId, BoundFacts>> => {
  const { rows } = await db.query<{ id: PlacementId; h_head: Buffer | null; uid: bigint | null; alone: boolean }>({
    name: "maildrop_bound_facts",
    text: `select p.id, m.h_head,
             (select b.uid from bindings b where b.account_id = p.account_id and b.placement_id = p.id and b.endpoint_id <> $2
                and b.active and b.mailbox_id = $3 limit 1) as uid,
             (select count(*) = 1 from messages n join placements q on q.account_id = n.account_id and q.message_id = n.id
              where n.account_id = p.account_id and n.h_head = m.h_head and q.mailbox_id = $3 and q.lifecycle = 'live') as alone
           from placements p join messages m on m.account_id = p.account_id and m.id = p.message_id
           where p.account_id = $1 and p.id = any($4::uuid[])`,
    values: [accountId, endpointId, inbox, ids],
  });
  return new Map(
    rows.map(({ id, h_head: hHead, uid, alone }) => [id, { hHead: hexOf(hHead), uid: uid === null ? null : Number(uid), alone }]),
  );
};

/**
 * Placements that an item of the maildrop may be: not bound there, and in INBOX where IMAP shows them; of removed ones those
 * that can still be brought back. `messages`: only of these; null: of all.
 */
export const loadClaims = async (
  db: Queryable,
  accountId: AccountId,
  { endpointId, inbox, messages }: { endpointId: EndpointId; inbox: MailboxId; messages: readonly MessageId[] | null },
): Promise<Claims> => {
  if (messages?.length === 0) return { claimable: [], views: new Map() };
  const { rows } = await db.query<ClaimableRow>({
    name: messages === null ? "claims_all" : "claims_of",
    text: `select p.id, p.message_id, p.mailbox_id, p.keywords, p.lifecycle, p.kept, p.absent_since, p.received_at,
             m.sha256, m.size, m.durability, m.h_full, m.h_head, m.normal_size, i.uid
           from placements p join messages m on m.account_id = p.account_id and m.id = p.message_id
           left join lateral (select b.uid, b.mailbox_id from bindings b where b.account_id = p.account_id and b.placement_id = p.id
                              and b.endpoint_id <> $2 and b.active order by b.uid limit 1) i on true
           where p.account_id = $1 and (p.lifecycle = 'live' or (p.lifecycle = 'removed' and p.recoverable_until > now()))
             and (i.mailbox_id is null or i.mailbox_id = $3)
             and not exists (select from bindings b where b.account_id = p.account_id and b.placement_id = p.id and b.endpoint_id = $2 and b.active)
             ${messages === null ? "" : "and p.message_id = any($4::uuid[])"}`,
    values: [accountId, endpointId, inbox, ...(messages === null ? [] : [messages])],
  });
  return { claimable: rows.map(toClaimable), views: new Map(rows.map((row) => [row.id, toView(row)])) };
};

/** Messages by their octets and by their normal form, in hex. */
export const loadAlike = async (account: AccountTx, hashes: readonly Buffer[]): Promise<Map<string, MessageId>> => {
  const { rows } = await account.tx.query<{ id: MessageId; sha256: Buffer | null; h_full: Buffer | null }>({
    name: "messages_alike",
    text: `select id, sha256, h_full from messages where account_id = $1 and sha256 = any($2::bytea[])
           union select id, sha256, h_full from messages where account_id = $1 and h_full = any($2::bytea[])`,
    values: [account.accountId, hashes],
  });
  const known = new Map<string, MessageId>();
  for (const { id, sha256, h_full: full } of rows)
    for (const hash of [sha256, full]) if (hash !== null) known.set(hash.toString("hex"), id);
  return known;
};

/** Placements with what IMAP knows of them. */
export const loadGone = async (
  account: AccountTx,
  endpointId: EndpointId,
  ids: readonly PlacementId[],
): Promise<ReadonlyMap<PlacementId, GoneItem>> => {
  const { rows } = await account.tx.query<ClaimableRow>({
    name: "maildrop_gone",
    text: `select p.id, p.message_id, p.mailbox_id, p.keywords, p.lifecycle, p.kept, p.absent_since, p.received_at,
             (select b.uid from bindings b where b.account_id = p.account_id and b.placement_id = p.id and b.endpoint_id <> $2 and b.active limit 1) as uid
           from placements p where p.account_id = $1 and p.id = any($3::uuid[])`,
    values: [account.accountId, endpointId, ids],
  });
  return new Map(
    rows.map((row) => {
      const undecided = row.absent_since === null ? "none" : "absent";
      return [row.id, { placement: toView(row), imap: row.uid === null ? undecided : "present" } as const];
    }),
  );
};

/** Binds items; one that was bound before in this epoch is bound anew. */
export const bindItems = async (account: AccountTx, scope: Scope, items: readonly BoundItem[]): Promise<void> => {
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
  account: AccountTx,
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
export const openMaildropEpoch = async (account: AccountTx, endpointId: EndpointId): Promise<number> => {
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

export interface Unhashed {
  readonly id: MessageId;
  readonly sha256: Buffer;
  readonly size: number;
}

/** Messages of INBOX whose octets are stored but not hashed as other views of the account need them: the next 200 by id. */
export const listUnhashed = async (
  db: Queryable,
  accountId: AccountId,
  inbox: MailboxId,
  after: MessageId | null,
): Promise<Unhashed[]> => {
  const { rows } = await db.query<{ id: MessageId; sha256: Buffer; size: bigint }>({
    name: "messages_unhashed",
    text: `select id, sha256, size from messages m where account_id = $1 and h_head is null and durability = 'durable'
             and exists (select from placements p where p.account_id = m.account_id and p.message_id = m.id and p.mailbox_id = $2 and p.lifecycle = 'live')
             and id > coalesce($3, '00000000-0000-0000-0000-000000000000'::uuid)
           order by id limit 200`,
    values: [accountId, inbox, after],
  });
  return rows.map(({ id, sha256, size }) => ({ id, sha256, size: Number(size) }));
};

export const storeHashes = async (
  account: AccountTx,
  hashed: readonly { readonly id: MessageId; readonly hFull: Buffer; readonly hHead: Buffer; readonly size: number }[],
): Promise<void> => {
  await account.tx.query({
    name: "messages_hash",
    text: `update messages m set h_full = w.h_full, h_head = w.h_head, normal_size = w.size
           from unnest($2::uuid[], $3::bytea[], $4::bytea[], $5::bigint[]) as w(id, h_full, h_head, size) where m.account_id = $1 and m.id = w.id`,
    values: [
      account.accountId,
      hashed.map(({ id }) => id),
      hashed.map(({ hFull }) => hFull),
      hashed.map(({ hHead }) => hHead),
      hashed.map(({ size }) => size),
    ],
  });
};
