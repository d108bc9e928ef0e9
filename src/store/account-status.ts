/** How an account is doing, and how the whole fleet is. */
import type { AccountId, TenantId } from "../model/ids.ts";
import { accountColumns, type AccountRow, type EndpointRow, listEndpoints } from "./accounts.ts";
import type { Queryable } from "./database.ts";
import type { Hold } from "./hold-reads.ts";

export interface Suspicion {
  readonly mailboxId: string;
  readonly count: number;
  readonly lastAt: Date;
}

export interface AccountStanding {
  readonly account: AccountRow;
  /** Open ones, oldest first, at most 500. */
  readonly holds: readonly Hold[];
  /** Mailboxes where mail counts as read that a POP3 device may only have retrieved. */
  readonly suspicions: readonly Suspicion[];
  /** In the order they were made. */
  readonly endpoints: readonly EndpointRow[];
}

/** In JSON a time is a number of ms since 1970. */
type Timed<T, Key extends keyof T> = Omit<T, Key> & Readonly<Record<Key, number>>;

/** The tenant's account with what is asked for again and again while somebody waits for it: at most two statements, side by side. */
export const findStanding = async (db: Queryable, tenantId: TenantId, id: AccountId): Promise<AccountStanding | null> => {
  const [{ rows }, endpoints] = await Promise.all([
    db.query<AccountRow & { holds: readonly Timed<Hold, "since">[]; suspicions: readonly Timed<Suspicion, "lastAt">[] }>({
      name: "account_standing",
      text: `select ${accountColumns},
               (select coalesce(jsonb_agg(h order by h.id), '[]') from (
                  select h.id, h.mailbox_id as "mailboxId", h.reason, h.count, extract(epoch from h.since) * 1000 as since, h.decision
                  from holds h where h.account_id = $1 and h.closed_at is null order by h.id limit 500) as h) as holds,
               (select coalesce(jsonb_agg(jsonb_build_object('mailboxId', u.mailbox_id, 'count', u.pop3_seen->'suspected', 'lastAt', u.pop3_seen->'suspectedAt')), '[]')
                from upstream_mailboxes u where u.account_id = $1 and (u.pop3_seen->'suspected')::int > 0) as suspicions
             from accounts where id = $1 and tenant_id = $2 and deleted_at is null`,
      values: [id, tenantId],
    }),
    // Of another tenant's account nothing is told, for the other statement finds none.
    listEndpoints(db, [id]),
  ]);
  const [row] = rows;
  if (row === undefined) return null;
  const { holds, suspicions, ...account } = row;
  return {
    account,
    holds: holds.map((hold) => ({ ...hold, since: new Date(hold.since) })),
    suspicions: suspicions.map((suspicion) => ({ ...suspicion, lastAt: new Date(suspicion.lastAt) })),
    endpoints,
  };
};

export interface FleetAccounts {
  readonly byState: Readonly<Record<string, number>>;
  /** Seconds since an endpoint that should be live was last seen well. */
  readonly lagSeconds: { readonly p50: number | null; readonly p95: number | null; readonly p99: number | null };
  /** How long the longest waiting endpoint has been due, in seconds; 0: nobody waits. */
  readonly overdueSeconds: number;
}

export interface FleetPart {
  /** null: of all tenants. */
  readonly tenantId: TenantId | null;
  /** Only these; null: all. */
  readonly among: readonly AccountId[] | null;
}

export const readFleetAccounts = async (db: Queryable, { tenantId, among }: FleetPart): Promise<FleetAccounts> => {
  const states = await db.query<{ state: string; n: bigint }>({
    name: "fleet_states",
    text: `select case when paused then 'paused' else sync_state end as state, count(*) as n from accounts
           where deleted_at is null and ($1::uuid is null or tenant_id = $1) and ($2::uuid[] is null or id = any($2)) group by 1`,
    values: [tenantId, among],
  });
  const lags = await db.query<{ p: number[] | null; overdue: number | null }>({
    name: "fleet_lags",
    text: `select percentile_cont(array[0.5, 0.95, 0.99]) within group (order by extract(epoch from now() - e.last_success_at)::float8)
                    filter (where e.last_success_at is not null) as p,
                  extract(epoch from max(now() - e.next_attempt_at) filter (where e.next_attempt_at < now()))::float8 as overdue
           from endpoints e join accounts a on a.id = e.account_id
           where a.deleted_at is null and not a.paused and e.sync_state in ('connecting', 'backfilling', 'live')
             and ($1::uuid is null or a.tenant_id = $1) and ($2::uuid[] is null or a.id = any($2))`,
    values: [tenantId, among],
  });
  const [p50 = null, p95 = null, p99 = null] = lags.rows[0]?.p ?? [];
  return {
    byState: Object.fromEntries(states.rows.map((row) => [row.state, Number(row.n)])),
    lagSeconds: { p50, p95, p99 },
    overdueSeconds: Math.max(0, lags.rows[0]?.overdue ?? 0),
  };
};

export interface FleetShard {
  readonly id: number;
  readonly epoch: bigint;
  readonly owner: string | null;
  readonly host: string | null;
  /** When the owner's heartbeat runs out; past: the shard waits for a new owner. */
  readonly expiresAt: Date | null;
}

export const listShards = async (db: Queryable): Promise<FleetShard[]> => {
  const { rows } = await db.query<FleetShard>({
    name: "fleet_shards",
    text: `select s.id, s.epoch, s.owner, p.host, p.expires_at as "expiresAt" from shards s left join processes p on p.id = s.owner order by s.id`,
  });
  return rows;
};
