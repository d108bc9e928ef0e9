/** How an account is doing, and how the whole fleet is. */
import type { AccountId, TenantId } from "../model/ids.ts";
import type { Queryable } from "./database.ts";

export interface Suspicion {
  readonly mailboxId: string;
  readonly count: number;
  readonly lastAt: Date;
}

/** Mailboxes where mail counts as read that a POP3 device may only have retrieved. */
export const listSuspicions = async (db: Queryable, accountId: AccountId): Promise<Suspicion[]> => {
  const { rows } = await db.query<{ mailbox_id: string; count: number; at: number }>({
    name: "seen_suspicions",
    text: `select mailbox_id, (pop3_seen->'suspected')::int as count, (pop3_seen->'suspectedAt')::float8 as at from upstream_mailboxes
           where account_id = $1 and (pop3_seen->'suspected')::int > 0`,
    values: [accountId],
  });
  return rows.map(({ mailbox_id: mailboxId, count, at }) => ({ mailboxId, count, lastAt: new Date(at) }));
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
