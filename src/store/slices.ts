/**
 * Reads for the reconciler: the slice of an account that one input touches. Inside the account's transaction, where it is to be
 * decided on; in an order of their own, so that a replay decides on the same.
 */
import type { AccountId, EndpointId, MailboxId, MessageId, PlacementId } from "../model/ids.ts";
import type { MailboxFence, MailboxVerb } from "../model/mailbox-command.ts";
import type { Role, RoleSource } from "../model/mail.ts";
import type { Agreed } from "../reconciler/flag-news.ts";
import type { KnownMessage } from "../reconciler/items.ts";
import type { MailboxView, PlacementView, Scope } from "../reconciler/state.ts";
import type { AccountTx } from "./account-tx.ts";
import type { Queryable } from "./database.ts";

export interface PlacementRow {
  readonly id: PlacementId;
  readonly message_id: MessageId;
  readonly mailbox_id: MailboxId;
  readonly keywords: string[];
  readonly lifecycle: "live" | "removed";
  readonly kept: boolean;
  readonly absent_since: Date | null;
  readonly received_at: Date;
  readonly left_marked: boolean;
  readonly b_mailbox_id: MailboxId | null;
  readonly b_epoch: number | null;
  readonly b_uid: bigint | null;
  readonly b_active: boolean | null;
  readonly b_closed_reason: string | null;
  readonly b_shadow_flags: string[] | null;
}

/** The reason of placements that are what a move by copying left behind, marked by whoever made it (ID-5a2). */
export const leftMarked = "left_marked";
/** Of what a move of ours by COPY has left, which is to be removed there. */
export const leftByMove = "superseded_copy_delete";

export const placementColumns = `p.id, p.message_id, p.mailbox_id, p.keywords, p.lifecycle, p.kept, p.absent_since, p.received_at, p.reason = '${leftMarked}' as left_marked`;
export const bindingColumns =
  "b.mailbox_id as b_mailbox_id, b.epoch as b_epoch, b.uid as b_uid, b.active as b_active, b.closed_reason as b_closed_reason, b.shadow_flags as b_shadow_flags";

/**
 * Of each placement of the account $1, at the endpoint $2. Here and elsewhere every table is told the account itself: told only that it is
 * that of another table, the planner makes plans for all partitions, which takes longer than the reading.
 */
export const lastBinding = `left join lateral (select * from bindings x where x.account_id = $1 and x.placement_id = p.id and x.endpoint_id = $2
                              order by x.active desc, x.synced_seq desc limit 1) b on true`;

/**
 * Placements by ids in `$3`, or by those of their messages, each once, as `p`. One by one: before a table's statistics are made the
 * planner takes `= any` for a filter over all the account has.
 */
const placementsBy = (column: "id" | "message_id"): string =>
  `(select distinct unnest($3::uuid[]) as id) as w
   cross join lateral (select * from placements where account_id = $1 and ${column} = w.id offset 0) as p`;

export const placementsById = placementsBy("id");
export const placementsOfMessages = placementsBy("message_id");

export const toView = (row: PlacementRow): PlacementView => ({
  id: row.id,
  messageId: row.message_id,
  mailboxId: row.mailbox_id,
  keywords: row.keywords,
  lifecycle: row.lifecycle,
  kept: row.kept,
  absent: row.absent_since !== null,
  receivedAt: row.received_at.getTime(),
  ...(row.left_marked && { leftMarked: true }),
  binding:
    row.b_mailbox_id === null
      ? null
      : {
          mailboxId: row.b_mailbox_id,
          epoch: row.b_epoch ?? 0,
          uid: Number(row.b_uid),
          active: row.b_active ?? false,
          closedReason: row.b_closed_reason,
          shadowFlags: row.b_shadow_flags ?? [],
        },
});

export interface BoundItems {
  /** Placements actively bound, by UID. */
  readonly bound: Map<number, PlacementView>;
  /** UIDs that had a binding here once; it is closed. */
  readonly closed: Set<number>;
}

const boundInScope = `bindings b join placements p on p.account_id = b.account_id and p.id = b.placement_id
  and b.account_id = $1 and b.endpoint_id = $2 and b.mailbox_id = $3 and b.epoch = $4`;
const boundByUid = `unnest($5::bigint[]) as w(uid)
  cross join lateral (select * from bindings where account_id = $1 and endpoint_id = $2 and mailbox_id = $3 and epoch = $4 and uid = w.uid offset 0) as b
  cross join lateral (select * from placements where account_id = $1 and id = b.placement_id offset 0) as p`;

/** Placements bound to the given UIDs of a scope; all of the scope when `uids` is null. */
export const loadBound = async (
  account: Pick<AccountTx, "tx" | "accountId">,
  scope: Scope,
  uids: readonly number[] | null,
): Promise<BoundItems> => {
  if (uids?.length === 0) return { bound: new Map(), closed: new Set() };
  const { rows } = await account.tx.query<PlacementRow>({
    name: uids === null ? "bound_all" : "bound_uids",
    text: `select ${placementColumns}, ${bindingColumns} from ${uids === null ? boundInScope : boundByUid} order by b.uid`,
    values: [account.accountId, scope.endpointId, scope.mailboxId, scope.epoch, ...(uids === null ? [] : [uids])],
  });
  const bound = new Map<number, PlacementView>();
  const closed = new Set<number>();
  for (const row of rows) {
    if (row.b_active === true) bound.set(Number(row.b_uid), toView(row));
    else closed.add(Number(row.b_uid));
  }
  return { bound, closed };
};

/** What was agreed last on the flags of items of a scope, by UID; of those that are bound. */
export const readAgreed = async (
  db: Queryable,
  accountId: AccountId,
  scope: Scope,
  uids: readonly number[],
): Promise<ReadonlyMap<number, Agreed>> => {
  if (uids.length === 0) return new Map();
  const { rows } = await db.query<{ uid: bigint; flags: string[]; said: boolean }>({
    name: "bindings_agreed",
    text: `with said as materialized (
             select distinct placement_id from commands where account_id = $1 and endpoint_id = $2 and status in ('sent', 'unknown') and verb = 'store')
           select b.uid, b.shadow_flags as flags, b.placement_id in (select placement_id from said) as said
           from unnest($5::bigint[]) as w(uid)
           cross join lateral (select uid, shadow_flags, placement_id from bindings
                               where account_id = $1 and endpoint_id = $2 and mailbox_id = $3 and epoch = $4 and uid = w.uid and active offset 0) as b`,
    values: [accountId, scope.endpointId, scope.mailboxId, scope.epoch, uids],
  });
  return new Map(rows.map(({ uid, flags, said }) => [Number(uid), { flags, said }]));
};

/** UIDs actively bound in a scope, ascending. */
export const loadBoundUids = async (account: AccountTx, scope: Scope): Promise<number[]> => {
  const bindings = await loadBindingsBelow(account, scope, Number.MAX_SAFE_INTEGER);
  return bindings.flatMap(({ uid, active }) => (active ? [uid] : []));
};

/** Items of a scope that were without `\Seen` when they were last seen. */
export const countUnseen = async (db: Queryable, accountId: AccountId, scope: Scope): Promise<number> => {
  const { rows } = await db.query<{ n: bigint }>({
    name: "bindings_unseen",
    text: `select count(*) as n from bindings where account_id = $1 and endpoint_id = $2 and mailbox_id = $3 and epoch = $4 and active
             and not exists (select from unnest(shadow_flags) f where lower(f) = '\\seen')`,
    values: [accountId, scope.endpointId, scope.mailboxId, scope.epoch],
  });
  return Number(rows[0]?.n ?? 0);
};

/** UIDs below a limit that were ever bound in a scope, ascending. */
export const loadBindingsBelow = async (
  account: AccountTx,
  scope: Scope,
  limit: number,
): Promise<{ uid: number; active: boolean }[]> => {
  const { rows } = await account.tx.query<{ uid: bigint; active: boolean }>({
    name: "bindings_below",
    text: `select uid, active from bindings
           where account_id = $1 and endpoint_id = $2 and mailbox_id = $3 and epoch = $4 and uid < $5 order by uid`,
    values: [account.accountId, scope.endpointId, scope.mailboxId, scope.epoch, limit],
  });
  return rows.map((row) => ({ uid: Number(row.uid), active: row.active }));
};

/** UIDs from `from` up to, and without, `to` that were ever bound in a scope, ascending. */
export const loadBindingsBetween = async (
  account: AccountTx,
  scope: Scope,
  { from, to }: { readonly from: number; readonly to: number },
): Promise<number[]> => {
  const { rows } = await account.tx.query<{ uid: bigint }>({
    name: "bindings_between",
    text: `select uid from bindings where account_id = $1 and endpoint_id = $2 and mailbox_id = $3 and epoch = $4 and uid >= $5 and uid < $6 order by uid`,
    values: [account.accountId, scope.endpointId, scope.mailboxId, scope.epoch, from, to],
  });
  return rows.map((row) => Number(row.uid));
};

const formsAlike = `union all select m.id, null, m.h_full from unnest($3::bytea[]) as w(hash), lateral
             (select id, h_full from messages where account_id = $1 and h_full = w.hash offset 0) as m`;

/**
 * Messages that have exactly these octets, or one of these normal forms, with all their placements and each one's last binding
 * at the endpoint. By hex hash; messages of one normal form stand under it together.
 */
export const loadKnown = async (
  account: AccountTx,
  endpointId: EndpointId,
  hashes: readonly Buffer[],
  forms: readonly Buffer[] = [],
): Promise<Map<string, KnownMessage>> => {
  const known = new Map<string, KnownMessage>();
  if (hashes.length + forms.length === 0) return known;
  const messages = await account.tx.query<{ id: MessageId; sha256: Buffer | null; h_full: Buffer | null }>({
    name: forms.length === 0 ? "messages_by_octets" : "messages_by_octets_or_form",
    // One by one: before a table's statistics are made the planner takes `= any` for a filter over all the account has.
    text: `select m.id, m.sha256, null as h_full from unnest($2::bytea[]) as w(hash), lateral
             (select id, sha256 from messages where account_id = $1 and sha256 = w.hash offset 0) as m
           ${forms.length === 0 ? "" : formsAlike} order by id`,
    values: [account.accountId, hashes, ...(forms.length === 0 ? [] : [forms])],
  });
  if (messages.rows.length === 0) return known;
  const { rows } = await account.tx.query<PlacementRow>({
    name: "placements_of_messages",
    text: `select ${placementColumns}, ${bindingColumns}
           from ${placementsOfMessages} ${lastBinding} where p.lifecycle <> 'purged' or p.reason in ('${leftMarked}', '${leftByMove}') order by p.id`,
    values: [account.accountId, endpointId, messages.rows.map((row) => row.id)],
  });
  const byMessage = Map.groupBy(rows.map(toView), (view) => view.messageId);
  for (const { id, sha256, h_full: form } of messages.rows) {
    const hash = (sha256 ?? form)?.toString("hex") ?? "";
    const before = known.get(hash);
    known.set(hash, { id: before?.id ?? id, placements: [...(before?.placements ?? []), ...(byMessage.get(id) ?? [])] });
  }
  return known;
};

/** Placements as they are now, each with its last binding at the endpoint. */
export const loadPlacements = async (
  account: Pick<AccountTx, "tx" | "accountId">,
  endpointId: EndpointId,
  ids: readonly PlacementId[],
): Promise<ReadonlyMap<PlacementId, PlacementView>> => {
  const { rows } = await account.tx.query<PlacementRow>({
    name: "placements_now",
    text: `select ${placementColumns}, ${bindingColumns} from ${placementsById} ${lastBinding} order by p.id`,
    values: [account.accountId, endpointId, ids],
  });
  return new Map(rows.map((row) => [row.id, toView(row)]));
};

/** Every live mailbox with its address at the endpoint. */
export const loadMailboxes = async (account: AccountTx, endpointId: EndpointId | null): Promise<MailboxView[]> => {
  const { rows } = await account.tx.query<{
    id: MailboxId;
    name: string;
    parent_id: MailboxId | null;
    role: Role | null;
    role_source: RoleSource | null;
    subscribed: boolean;
    changed_seq: bigint;
    path: string | null;
    delimiter: string | null;
    selectable: boolean;
    object_id: string | null;
    shows_all: boolean;
    uid_validity: bigint | null;
    uid_next: bigint | null;
    absent_since: Date | null;
    verb: MailboxVerb | null;
    planned_at: Date;
    device_id: string | null;
    fence: MailboxFence | null;
  }>({
    name: "mailbox_views",
    text: `select m.id, m.name, m.parent_id, m.role, m.role_source, m.subscribed, m.changed_seq, u.path, u.delimiter, u.selectable, u.object_id, u.shows_all,
             u.uid_validity, u.uid_next, u.absent_since, c.verb, c.planned_at, i.device_id, c.fence
           from mailboxes m
           left join upstream_mailboxes u on u.account_id = $1 and u.mailbox_id = m.id and u.endpoint_id = $2
           left join commands c on c.account_id = $1 and c.mailbox_id = m.id and c.endpoint_id = $2 and c.ended_at is null
           left join intents i on i.account_id = $1 and i.op_id = c.op_id
           where m.account_id = $1 and m.lifecycle = 'live' order by m.id`,
    values: [account.accountId, endpointId],
  });
  const number = (value: bigint | null): number | null => (value === null ? null : Number(value));
  return rows.map((row) => ({
    id: row.id,
    name: row.name,
    parentId: row.parent_id,
    role: row.role,
    roleSource: row.role_source,
    subscribed: row.subscribed,
    changedSeq: row.changed_seq,
    pending:
      row.verb === null ? null : { verb: row.verb, at: row.planned_at.getTime(), deviceId: row.device_id, fence: row.fence },
    upstream:
      row.path === null
        ? null
        : {
            path: row.path,
            delimiter: row.delimiter,
            selectable: row.selectable,
            objectId: row.object_id,
            showsAll: row.shows_all,
            uidValidity: number(row.uid_validity),
            uidNext: number(row.uid_next),
            absentSince: row.absent_since?.getTime() ?? null,
          },
  }));
};

/** Of a mailbox at once: as large as it may be, no more are in memory. */
const pageSize = 500;

/** All that is in a mailbox, oldest first and page by page, with the last binding of each at the endpoint; what leaves it meanwhile may. */
export async function* livePlacements(
  account: AccountTx,
  endpointId: EndpointId | null,
  mailboxId: MailboxId,
): AsyncGenerator<readonly PlacementView[]> {
  // As text: a number of milliseconds is less than the store knows.
  for (let last = { came: "-infinity", id: "00000000-0000-0000-0000-000000000000" }; ;) {
    const { rows } = await account.tx.query<PlacementRow & { readonly came: string }>({
      name: "mailbox_placements",
      text: `select ${placementColumns}, ${bindingColumns}, p.received_at::text as came from placements p ${lastBinding}
             where p.account_id = $1 and p.mailbox_id = $3 and p.lifecycle = 'live' and (p.received_at, p.id) > ($4::timestamptz, $5::uuid)
             order by p.received_at, p.id limit ${pageSize}`,
      values: [account.accountId, endpointId, mailboxId, last.came, last.id],
    });
    if (rows.length > 0) yield rows.map(toView);
    last = rows.at(-1) ?? last;
    if (rows.length < pageSize) return;
  }
}

/** What a mailbox still shows: its highest UID below `below` (0: none), and how many lie between two UIDs. */
export const loadPresent = async (
  account: AccountTx,
  endpointId: EndpointId,
  mailboxId: MailboxId,
  { lowest, highest, below }: { readonly lowest: number; readonly highest: number; readonly below: number },
): Promise<{ readonly highestPresent: number; readonly leftBetween: number }> => {
  const { rows } = await account.tx.query<{ top: bigint | null; between: bigint }>({
    name: "bindings_present",
    text: `select max(uid) filter (where uid < $6) as top, count(*) filter (where uid > $4 and uid < $5) as between
           from bindings where account_id = $1 and endpoint_id = $2 and mailbox_id = $3 and active`,
    values: [account.accountId, endpointId, mailboxId, lowest, highest, below],
  });
  return { highestPresent: Number(rows[0]?.top ?? 0), leftBetween: Number(rows[0]?.between ?? 0) };
};
