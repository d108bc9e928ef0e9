/** What a mailbox that is numbered anew is known by: placements that stand without an item, and the header blocks of their octets. */
import type { AccountId, EndpointId, MailboxId, MessageId, PlacementId } from "../model/ids.ts";
import type { Remembered } from "../reconciler/contradiction.ts";
import type { PlacementView, Scope } from "../reconciler/state.ts";
import type { InputTx } from "./account-tx.ts";
import type { Queryable } from "./database.ts";
import { lastBinding } from "./slices.ts";

/** A new epoch: every binding of the old one is closed; the placements stay live and wait to be rebound (ID-8). */
export const closeEpoch = async (account: InputTx, endpointId: EndpointId, mailboxId: MailboxId): Promise<number> => {
  const { rowCount } = await account.tx.query({
    name: "epoch_close",
    text: `update bindings set active = false, closed_reason = 'epoch' where account_id = $1 and endpoint_id = $2 and mailbox_id = $3 and active`,
    values: [account.accountId, endpointId, mailboxId],
  });
  return rowCount;
};

/** A placement of the mailbox that has no item at the endpoint now. */
export interface UnboundRow {
  readonly id: PlacementId;
  readonly messageId: MessageId;
  readonly receivedAt: Date;
  /** Of its octets; null: nobody has them. */
  readonly sha256: Buffer | null;
  readonly size: number;
  readonly purged: boolean;
  /** It is gone here. */
  readonly doomed: boolean;
  /** Of its last item there; null: it never had one. */
  readonly last: {
    readonly uid: number;
    readonly flags: readonly string[];
    readonly closedReason: string | null;
    readonly objectId: string | null;
  } | null;
}

interface Unbound {
  readonly id: PlacementId;
  readonly message_id: MessageId;
  readonly received_at: Date;
  readonly sha256: Buffer | null;
  readonly size: bigint;
  readonly uid: bigint | null;
  readonly flags: string[] | null;
  readonly closed_reason: string | null;
  readonly object_id: string | null;
  readonly purged: boolean;
  readonly doomed: boolean;
}

const unboundColumns = `p.id, p.message_id, p.received_at, m.sha256, m.size, b.uid, b.shadow_flags as flags, b.closed_reason, b.object_id,
  m.durability = 'purged' as purged, p.lifecycle <> 'live' as doomed`;

const toUnbound = (row: Unbound): UnboundRow => ({
  id: row.id,
  messageId: row.message_id,
  receivedAt: row.received_at,
  sha256: row.sha256,
  size: Number(row.size),
  purged: row.purged,
  doomed: row.doomed,
  last:
    row.uid === null
      ? null
      : { uid: Number(row.uid), flags: row.flags ?? [], closedReason: row.closed_reason, objectId: row.object_id },
});

/** Where the reading of them stands. */
export type UnboundPage = Pick<UnboundRow, "id" | "receivedAt">;

/** The next `limit` of them, newest first. What is kept has its reason to be without an item, and is not among them. */
export const listUnbound = async (
  db: Queryable,
  accountId: AccountId,
  { endpointId, mailboxId }: Pick<Scope, "endpointId" | "mailboxId">,
  { after, limit }: { readonly after: UnboundPage | null; readonly limit: number },
): Promise<UnboundRow[]> => {
  const { rows } = await db.query<Unbound>({
    name: after === null ? "unbound_first" : "unbound_next",
    text: `select ${unboundColumns}
           from placements p join messages m on m.account_id = p.account_id and m.id = p.message_id ${lastBinding}
           where p.account_id = $1 and p.mailbox_id = $3 and p.lifecycle = 'live' and not p.kept and b.active is not true
             ${after === null ? "" : "and (p.received_at, p.id) < ($5, $6)"}
           order by p.received_at desc, p.id desc limit $4`,
    values: [accountId, endpointId, mailboxId, limit, ...(after === null ? [] : [after.receivedAt, after.id])],
  });
  return rows.map(toUnbound);
};

/**
 * What had an item in the mailbox when that was numbered anew, and is not there here: it is gone, whether its item is to be removed
 * still or cannot be, or an operation wants it elsewhere.
 */
export const listUnwanted = async (
  db: Queryable,
  accountId: AccountId,
  { endpointId, mailboxId }: Pick<Scope, "endpointId" | "mailboxId">,
): Promise<UnboundRow[]> => {
  const { rows } = await db.query<Unbound>({
    name: "unbound_unwanted",
    text: `select ${unboundColumns}
           from (select placement_id from commands
                 where account_id = $1 and endpoint_id = $2 and verb in ('expunge', 'move') and status in ('planned', 'sent', 'unknown')
                 union select placement_id from commands
                 where account_id = $1 and endpoint_id = $2 and verb in ('expunge', 'move') and status in ('masked', 'failed')) w
             cross join lateral (select * from placements where account_id = $1 and id = w.placement_id offset 0) as p
             join messages m on m.account_id = p.account_id and m.id = p.message_id ${lastBinding}
           where b.mailbox_id = $3 and b.closed_reason = 'epoch' and (p.lifecycle <> 'live' or (p.mailbox_id <> $3 and not p.kept))
           order by p.received_at desc, p.id desc`,
    values: [accountId, endpointId, mailboxId],
  });
  return rows.map(toUnbound);
};

/** Those of the placements that a new epoch unbound and whose items are to be removed there still, or cannot be. */
export const loadDoomed = async (
  account: InputTx,
  endpointId: EndpointId,
  placements: readonly PlacementView[],
): Promise<ReadonlySet<PlacementId>> => {
  const lost = placements.filter(({ lifecycle, binding }) => lifecycle !== "live" && binding?.closedReason === "epoch");
  const left = lost.flatMap(({ id, leftMarked }) => (leftMarked === true ? [id] : []));
  if (lost.length === left.length) return new Set(left);
  const { rows } = await account.tx.query<{ id: PlacementId }>({
    name: "placements_doomed",
    text: `select placement_id as id from commands
           where account_id = $1 and endpoint_id = $2 and placement_id = any($3::uuid[]) and verb = 'expunge'
             and status in ('planned', 'sent', 'unknown')
           union select w.id from unnest($3::uuid[]) as w(id), lateral
             (select from commands where account_id = $1 and placement_id = w.id and status in ('masked', 'failed')
                and endpoint_id = $2 and verb = 'expunge' limit 1) as refused`,
    values: [account.accountId, endpointId, lost.map(({ id }) => id)],
  });
  return new Set([...left, ...rows.map(({ id }) => id)]);
};

/** Most header blocks are shorter: less is read for them. */
const usualHead = 4 * 1024;
/** What is longer tells nothing here. */
const longestHead = 64 * 1024;

/** Up to and with the first empty line; null where there is none so early. */
const headWithin = (limit: number): string =>
  `substring(data from 1 for least(nullif(position('\\x0a0d0a'::bytea in substring(data from 1 for ${limit})), 0) + 2,
                                   nullif(position('\\x0a0a'::bytea in substring(data from 1 for ${limit})), 0) + 1))`;

/** Header blocks of stored octets, by hex hash. One that does not end in the first 64 KiB is not there. */
export const readStoredHeads = async (
  db: Queryable,
  accountId: AccountId,
  hashes: readonly Buffer[],
): Promise<Map<string, Buffer>> => {
  const heads = new Map<string, Buffer>();
  let wanted = hashes;
  for (const limit of [usualHead, longestHead]) {
    if (wanted.length === 0) break;
    const { rows } = await db.query<{ sha256: Buffer; head: Buffer | null }>({
      name: `blob_heads_${limit}`,
      text: `select sha256, ${headWithin(limit)} as head from blobs where account_id = $1 and sha256 = any($2::bytea[]) and part = 0`,
      values: [accountId, wanted],
    });
    for (const { sha256, head } of rows) if (head !== null) heads.set(sha256.toString("hex"), head);
    wanted = wanted.filter((sha256) => !heads.has(sha256.toString("hex")));
  }
  return heads;
};

/** Placements that lost their item to a new epoch and have one again in this one. */
export const countRebound = async (db: Queryable, accountId: AccountId, scope: Scope): Promise<number> => {
  const { rows } = await db.query<{ n: bigint }>({
    name: "epoch_rebound",
    text: `select count(*) as n from bindings b
           where b.account_id = $1 and b.endpoint_id = $2 and b.mailbox_id = $3 and b.epoch = $4 and b.active
             and exists (select from bindings o where o.account_id = b.account_id and o.placement_id = b.placement_id
                           and o.endpoint_id = b.endpoint_id and o.mailbox_id = b.mailbox_id and o.closed_reason = 'epoch')`,
    values: [accountId, scope.endpointId, scope.mailboxId, scope.epoch],
  });
  return Number(rows[0]?.n ?? 0);
};

/** Old numbers of what has a new one tell nothing more. */
export const forgetEpochs = async (account: InputTx, scope: Scope): Promise<void> => {
  await account.tx.query({
    name: "epochs_forget",
    text: `delete from bindings o where o.account_id = $1 and o.endpoint_id = $2 and o.mailbox_id = $3 and o.epoch < $4 and o.closed_reason = 'epoch'
             and o.placement_id in (select b.placement_id from bindings b where b.account_id = $1 and b.endpoint_id = $2 and b.active)`,
    values: [account.accountId, scope.endpointId, scope.mailboxId, scope.epoch],
  });
};

/** An item that is bound, and the octets that it has. */
export interface BoundSample {
  readonly uid: number;
  readonly sha256: Buffer;
  readonly size: number;
}

/** The newest items of a mailbox of which the octets are stored. */
export const sampleBound = async (
  db: Queryable,
  accountId: AccountId,
  { endpointId, mailboxId }: Pick<Scope, "endpointId" | "mailboxId">,
  limit: number,
): Promise<BoundSample[]> => {
  const { rows } = await db.query<{ uid: bigint; sha256: Buffer; size: bigint }>({
    name: "bound_sample",
    text: `select b.uid, m.sha256, m.size
           from bindings b join placements p on p.account_id = b.account_id and p.id = b.placement_id
           join messages m on m.account_id = p.account_id and m.id = p.message_id and m.durability = 'durable'
           where b.account_id = $1 and b.endpoint_id = $2 and b.mailbox_id = $3 and b.active and b.uidl = ''
           order by b.uid desc limit $4`,
    values: [accountId, endpointId, mailboxId, limit],
  });
  return rows.map(({ uid, sha256, size }) => ({ uid: Number(uid), sha256, size: Number(size) }));
};

/** What the server said of some bound items: the newest, and the first from each of these numbers on. Ascending by UID. */
export const rememberItems = async (
  db: Queryable,
  accountId: AccountId,
  { endpointId, mailboxId, epoch }: Scope,
  { newest, from }: { readonly newest: number; readonly from: readonly number[] },
): Promise<(Remembered & { readonly uid: number })[]> => {
  const { rows } = await db.query<{
    uid: bigint;
    object_id: string | null;
    received_at: Date | null;
    listed_size: bigint | null;
    octets: bigint | null;
  }>({
    name: "items_remembered",
    text: `with chosen as (
             (select uid from bindings where account_id = $1 and endpoint_id = $2 and mailbox_id = $3 and epoch = $4 and active
              order by uid desc limit $5)
             union
             select n.uid from unnest($6::bigint[]) as f(uid) cross join lateral (
               select b.uid from bindings b
               where b.account_id = $1 and b.endpoint_id = $2 and b.mailbox_id = $3 and b.epoch = $4 and b.active and b.uid >= f.uid
               order by b.uid limit 1) n)
           select b.uid, b.object_id, b.received_at, b.listed_size, m.size as octets
           from chosen join bindings b on b.account_id = $1 and b.endpoint_id = $2 and b.mailbox_id = $3 and b.epoch = $4 and b.uid = chosen.uid
             left join placements p on p.account_id = b.account_id and p.id = b.placement_id
             left join messages m on m.account_id = p.account_id and m.id = p.message_id and m.durability = 'durable'
           order by b.uid`,
    values: [accountId, endpointId, mailboxId, epoch, newest, from],
  });
  return rows.map((row) => ({
    uid: Number(row.uid),
    objectId: row.object_id,
    receivedAt: row.received_at?.getTime() ?? null,
    size: row.listed_size === null ? null : Number(row.listed_size),
    octets: row.octets === null ? null : Number(row.octets),
  }));
};
