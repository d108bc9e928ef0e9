/**
 * Which placements an item may be that one view of the account shows and another does not: what is asked for is what tells the
 * item, so that a look costs what is new in it, however much mail the account has.
 */
import type { AccountId, EndpointId, MailboxId, MessageId, PlacementId } from "../model/ids.ts";
import { type Claimable, type Standing, sizeTolerance } from "../reconciler/identify.ts";
import type { GoneItem } from "../reconciler/maildrop-vanish.ts";
import type { PlacementView } from "../reconciler/state.ts";
import type { AccountTx, InputTx } from "./account-tx.ts";
import { fillsPlace } from "./commands.ts";
import type { Queryable } from "./database.ts";
import {
  bindingColumns,
  lastBinding,
  placementColumns,
  type PlacementRow,
  placementsById,
  toView as toBoundView,
} from "./slices.ts";

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
  readonly header_id: string | null;
}

const standingOf = (row: ClaimableRow): Standing => {
  if (row.lifecycle === "removed") return "removed";
  if (row.kept) return "kept";
  if (row.uid !== null) return "imap";
  return row.absent_since === null ? "unbound" : "absent";
};

const bytesOf = (hex: string): Buffer => Buffer.from(hex, "hex");

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
  /** Message-IDs in their headers. */
  readonly messageIds: ReadonlySet<string>;
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
                and b.active and b.mailbox_id = $3 order by b.uid limit 1) as uid,
             (select count(*) = 1 from (select n.id from messages n where n.account_id = $1 and n.h_head = m.h_head offset 0) n
              cross join lateral (select from placements q where q.account_id = $1 and q.message_id = n.id and q.mailbox_id = $3
                                  and q.lifecycle = 'live' offset 0) q) as alone
           from unnest($4::uuid[]) a(id)
           cross join lateral (select * from placements p where p.account_id = $1 and p.id = a.id offset 0) p
           cross join lateral (select * from messages m where m.account_id = $1 and m.id = p.message_id offset 0) m`,
    values: [accountId, endpointId, inbox, ids],
  });
  return new Map(
    rows.map(({ id, h_head: hHead, uid, alone }) => [id, { hHead: hexOf(hHead), uid: uid === null ? null : Number(uid), alone }]),
  );
};

/** What tells the items: messages that are known to be theirs, their Message-IDs, or their UIDs in INBOX and their header blocks (hex). */
export type ClaimKeys =
  | { readonly messages: readonly MessageId[] }
  | { readonly messageIds: readonly string[] }
  | { readonly uids: readonly number[]; readonly heads: readonly string[] };

export interface ClaimsRequest {
  readonly endpointId: EndpointId;
  readonly inbox: MailboxId;
  readonly keys: ClaimKeys;
  /** Bound there, and not in the listing any more. */
  readonly lacked?: readonly PlacementId[];
}

/** Keys in one statement. */
const keysAtOnce = 2_000;

const slicesOf = <T>(keys: readonly T[]): readonly (readonly T[])[] =>
  Array.from({ length: Math.ceil(keys.length / keysAtOnce) }, (_, at) => keys.slice(at * keysAtOnce, (at + 1) * keysAtOnce));

/**
 * By the name of its statement: ids of the placements that a key may stand for. Here and below each key is looked up by itself
 * (`offset 0` keeps it so): a planner that knows neither the keys nor the account joins sets, and reads the account for one key.
 */
const asked = {
  claims_of_messages: `unnest($4::uuid[]) k(key) cross join lateral (
             select p.id from placements p where p.account_id = $1 and p.message_id = k.key offset 0) a`,
  claims_of_heads: `unnest($4::bytea[]) k(key)
           cross join lateral (select m.id from messages m where m.account_id = $1 and m.h_head = k.key offset 0) w
           cross join lateral (select p.id from placements p where p.account_id = $1 and p.message_id = w.id offset 0) a`,
  claims_of_message_ids: `unnest($4::text[]) k(key)
           cross join lateral (select m.id from messages m where m.account_id = $1 and left(m.message_id, 128) = left(k.key, 128)
                                 and m.message_id = k.key offset 0) w
           cross join lateral (select p.id from placements p where p.account_id = $1 and p.message_id = w.id offset 0) a`,
  claims_of_uids: `unnest($4::bigint[]) k(key) cross join lateral (
             select b.placement_id as id from upstream_mailboxes u join bindings b on b.account_id = $1
               and b.endpoint_id = u.endpoint_id and b.mailbox_id = $3 and b.epoch = u.epoch and b.uid = k.key and b.active
             where u.account_id = $1 and u.mailbox_id = $3 and u.endpoint_id <> $2 offset 0) a`,
} as const;

const askClaims = async (
  db: Queryable,
  name: keyof typeof asked,
  values: readonly [AccountId, EndpointId, MailboxId, readonly unknown[], readonly PlacementId[]],
): Promise<ClaimableRow[]> => {
  const { rows } = await db.query<ClaimableRow>({
    name,
    text: `select p.id, p.message_id, p.mailbox_id, p.keywords, p.lifecycle, p.kept, p.absent_since, p.received_at,
             m.sha256, m.size, m.durability, m.h_full, m.h_head, m.normal_size, m.message_id as header_id, i.uid
           from ${asked[name]}
           cross join lateral (select * from placements p where p.account_id = $1 and p.id = a.id
                               and (p.lifecycle = 'live' or (p.lifecycle = 'removed' and p.recoverable_until > now())) offset 0) p
           cross join lateral (select * from messages m where m.account_id = $1 and m.id = p.message_id offset 0) m
           left join lateral (select true as here from bindings b where b.account_id = $1 and b.placement_id = p.id
                              and b.endpoint_id = $2 and b.active limit 1) h on true
           left join lateral (select b.uid, b.mailbox_id from bindings b where b.account_id = $1 and b.placement_id = p.id
                              and b.endpoint_id <> $2 and b.active order by b.uid limit 1) i on true
           where (h.here is null or p.id = any($5)) and (i.mailbox_id is null or i.mailbox_id = $3) order by p.id`,
    values,
  });
  return rows;
};

const headerIdsOf = (rows: readonly Pick<ClaimableRow, "header_id">[]): ReadonlySet<string> =>
  new Set(rows.flatMap(({ header_id: id }) => id ?? []));

/**
 * Placements that an item of the maildrop may be: not bound there or lacking, and in INBOX where IMAP shows them; of removed ones those
 * that can still be brought back.
 */
export const loadClaims = async (
  db: Queryable,
  accountId: AccountId,
  { endpointId, inbox, keys, lacked = [] }: ClaimsRequest,
): Promise<Claims> => {
  const found = new Map<PlacementId, ClaimableRow>();
  const take = async (name: keyof typeof asked, wanted: readonly unknown[]): Promise<void> => {
    for (const slice of slicesOf(wanted))
      for (const row of await askClaims(db, name, [accountId, endpointId, inbox, slice, lacked])) found.set(row.id, row);
  };
  if ("messages" in keys) await take("claims_of_messages", keys.messages);
  else if ("messageIds" in keys) await take("claims_of_message_ids", keys.messageIds);
  else {
    await take("claims_of_uids", keys.uids);
    await take("claims_of_heads", keys.heads.map(bytesOf));
  }
  const rows = [...found.values()];
  const views = new Map(rows.map((row) => [row.id, toView(row)]));
  return { claimable: rows.map(toClaimable), messageIds: headerIdsOf(rows), views };
};

/** Is there a live placement that stands without an item, so that a new item may be it? Asked of what is set aside alone. */
export const hasSetAside = async (db: Queryable, accountId: AccountId, mailboxId: MailboxId): Promise<boolean> => {
  const { rows } = await db.query<{ some: boolean }>({
    name: "placements_set_aside",
    text: `select exists (select from placements where account_id = $1 and mailbox_id = $2 and kept)
             or exists (select from placements where account_id = $1 and mailbox_id = $2 and absent_since is not null) as some`,
    values: [accountId, mailboxId],
  });
  return rows[0]?.some === true;
};

interface MailboxOf {
  readonly accountId: AccountId;
  readonly endpointId: EndpointId;
  readonly mailboxId: MailboxId;
}

/** How many placements of a mailbox the endpoint does not show: the whole mailbox is read for it. */
export const countUnshown = async (db: Queryable, { accountId, endpointId, mailboxId }: MailboxOf): Promise<number> => {
  const { rows } = await db.query<{ count: bigint }>({
    name: "unshown_count",
    text: `select count(*) from placements p join messages m on m.account_id = p.account_id and m.id = p.message_id ${lastBinding}
           where p.account_id = $1 and p.mailbox_id = $3 and p.lifecycle = 'live' and b.active is not true and m.h_head is not null`,
    values: [accountId, endpointId, mailboxId],
  });
  return Number(rows[0]?.count ?? 0);
};

/** By header block (hex), by the Message-ID in it, or by id. */
export type UnshownKeys =
  | { readonly heads: readonly string[] }
  | { readonly messageIds: readonly string[] }
  | { readonly ids: readonly PlacementId[] };

const askedUnshown = (
  keys: UnshownKeys,
): { readonly name: string; readonly from: string; readonly values: readonly unknown[] } => {
  if ("heads" in keys) return { name: "unshown_of_heads", from: asked.claims_of_heads, values: keys.heads.map(bytesOf) };
  if ("ids" in keys) return { name: "unshown_of_ids", from: "unnest($4::uuid[]) a(id)", values: keys.ids };
  return { name: "unshown_of_message_ids", from: asked.claims_of_message_ids, values: keys.messageIds };
};

/** Placements of a mailbox that the endpoint does not show, with what tells their items. */
export const loadUnshown = async (
  db: Queryable,
  { accountId, endpointId, mailboxId }: MailboxOf,
  keys: UnshownKeys,
): Promise<Claims> => {
  const { name, from, values } = askedUnshown(keys);
  const rows: (PlacementRow & Pick<ClaimableRow, "h_head" | "h_full" | "normal_size" | "size" | "sha256" | "header_id">)[] = [];
  for (const slice of slicesOf(values)) {
    const some = await db.query<(typeof rows)[number]>({
      name,
      text: `select ${placementColumns}, ${bindingColumns}, m.h_head, m.h_full, m.normal_size, m.size, m.sha256, m.message_id as header_id
             from ${from}
             cross join lateral (select * from placements p where p.account_id = $1 and p.id = a.id offset 0) p
             cross join lateral (select * from messages m where m.account_id = $1 and m.id = p.message_id offset 0) m ${lastBinding}
             where p.mailbox_id = $3 and p.lifecycle = 'live' and b.active is not true and m.h_head is not null order by p.id`,
      values: [accountId, endpointId, mailboxId, slice],
    });
    rows.push(...some.rows);
  }
  const claimable = rows.map((row): Claimable => ({
    id: row.id,
    messageId: row.message_id,
    standing: row.kept ? "kept" : row.absent_since === null ? "unbound" : "absent",
    uid: null,
    objectId: null,
    sha256: hexOf(row.sha256),
    hFull: hexOf(row.h_full),
    hHead: hexOf(row.h_head),
    hSem: null,
    octets: Number(row.size),
    size: row.normal_size === null ? null : Number(row.normal_size),
  }));
  const views = new Map(rows.map((row) => [row.id, toBoundView(row)]));
  return { claimable, messageIds: headerIdsOf(rows), views };
};

/** Items that are enough to know by. */
const shownEnough = 200;

/**
 * Does the server word its mail anew for each view (byte_fidelity, semantics 1.7)? Learned from what both views show: mostly of the
 * same size, as listed over POP3 and as read over IMAP, it is the same octets. `unknown`: both show nothing yet.
 */
export const learnFidelity = async (
  db: Queryable,
  accountId: AccountId,
  inbox: MailboxId,
): Promise<"unknown" | "exact" | "regenerated"> => {
  const { rows } = await db.query<{ both: bigint; alike: bigint }>({
    name: "fidelity_learn",
    text: `select count(*) as both, count(*) filter (where abs(s.listed_size - s.size) <= $4) as alike
           from (select b.listed_size, m.size from bindings b
                 cross join lateral (select from bindings i where i.account_id = $1 and i.placement_id = b.placement_id
                                     and i.endpoint_id <> b.endpoint_id and i.active and i.uid > 0 limit 1) i
                 cross join lateral (select message_id from placements where account_id = $1 and id = b.placement_id offset 0) p
                 cross join lateral (select * from messages m where m.account_id = $1 and m.id = p.message_id offset 0) m
                 where b.account_id = $1 and b.mailbox_id = $2 and b.active and b.uid = 0 and b.listed_size is not null
                   and m.durability = 'durable' and m.renderings = '{}' limit $3) s`,
    values: [accountId, inbox, shownEnough, sizeTolerance],
  });
  const { both = 0n, alike = 0n } = rows[0] ?? {};
  return both === 0n ? "unknown" : 2n * alike > both ? "exact" : "regenerated";
};

/** Placements with what IMAP knows of them. */
export const loadGone = async (
  account: AccountTx,
  endpointId: EndpointId,
  ids: readonly PlacementId[],
): Promise<ReadonlyMap<PlacementId, GoneItem>> => {
  const { rows } = await account.tx.query<ClaimableRow & { readonly restorable: boolean }>({
    name: "maildrop_gone",
    // Each is asked for one placement: of `exists` the planner would make a join with all that the account has.
    text: `select p.id, p.message_id, p.mailbox_id, p.keywords, p.lifecycle, p.kept, p.absent_since, p.received_at,
             (select b.uid from bindings b where b.account_id = p.account_id and b.placement_id = p.id and b.endpoint_id <> $2 and b.active
                order by b.uid limit 1) as uid,
             m.durability = 'durable' and (select 1 from commands c where c.account_id = $1 and c.placement_id = p.id and ${fillsPlace} limit 1) is null
               and (select 1 from (select id from placements where account_id = $1 and message_id = p.message_id and lifecycle = 'live' offset 0) as q
                    cross join lateral (select from bindings where account_id = $1 and placement_id = q.id and active and endpoint_id <> $2 offset 0) as b
                    limit 1) is null as restorable
           from ${placementsById}
           cross join lateral (select durability from messages where account_id = $1 and id = p.message_id offset 0) as m`,
    values: [account.accountId, endpointId, ids],
  });
  return new Map(
    rows.map((row) => {
      const undecided = row.absent_since === null ? "none" : "absent";
      const imap = row.uid === null ? undecided : "present";
      return [row.id, { placement: toView(row), imap, restorable: row.restorable } as const];
    }),
  );
};

export interface Unhashed {
  readonly id: MessageId;
  readonly sha256: Buffer;
  readonly size: number;
}

/**
 * Messages of INBOX whose octets are stored but not hashed as other views of the account need them: the next 200 by id.
 * `since`: only those that something happened to behind this entry of the log; null: all.
 */
export const listUnhashed = async (
  db: Queryable,
  accountId: AccountId,
  inbox: MailboxId,
  { after, since }: { readonly after: MessageId | null; readonly since: bigint | null },
): Promise<Unhashed[]> => {
  const { rows } = await db.query<{ id: MessageId; sha256: Buffer; size: bigint }>({
    name: since === null ? "messages_unhashed" : "messages_unhashed_since",
    text: `select m.id, m.sha256, m.size from ${
      since === null
        ? "messages m"
        : `(select distinct c.message_id as id from changes c where c.account_id = $1 and c.seq > $4) c
             cross join lateral (select * from messages m where m.account_id = $1 and m.id = c.id offset 0) m`
    }
           where m.account_id = $1 and m.h_head is null and m.durability = 'durable'
             and exists (select from placements p where p.account_id = m.account_id and p.message_id = m.id and p.mailbox_id = $2 and p.lifecycle = 'live')
             and m.id > coalesce($3, '00000000-0000-0000-0000-000000000000'::uuid)
           order by m.id limit 200`,
    values: [accountId, inbox, after, ...(since === null ? [] : [since])],
  });
  return rows.map(({ id, sha256, size }) => ({ id, sha256, size: Number(size) }));
};

export const storeHashes = async (
  account: InputTx,
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
