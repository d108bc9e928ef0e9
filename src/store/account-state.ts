/** What the workers read and write of accounts and endpoints: settings, sealed credentials, health and progress. */
import type { Policy, SyncState } from "../model/account.ts";
import type { EndpointProfile, EndpointSettings, Protocol, Security } from "../model/endpoint.ts";
import type { FailureCode } from "../model/failure.ts";
import type { AccountId, EndpointId, TenantId } from "../model/ids.ts";
import { type AccountTx, appendChanges, type InputTx } from "./account-tx.ts";
import type { Database, Queryable } from "./database.ts";

export interface EndpointState {
  readonly id: EndpointId;
  readonly settings: EndpointSettings;
  readonly sealedCredentials: string;
  readonly credentialsVersion: number;
  readonly profile: EndpointProfile;
  readonly syncState: SyncState;
  readonly attempts: number;
  readonly nextAttemptAt: Date | null;
  readonly lastError: ShownError | null;
  /** Everything is to be read anew since then; null: nobody asks for that. */
  readonly resyncAskedAt: Date | null;
}

/** Whether both are asked for the same way: what is known of the one holds for the other. */
export const isSameAccess = (one: EndpointState, other: EndpointState): boolean =>
  one.credentialsVersion === other.credentialsVersion && JSON.stringify(one.settings) === JSON.stringify(other.settings);

export interface AccountState {
  readonly id: AccountId;
  readonly tenantId: TenantId;
  readonly virtualShard: number;
  readonly policy: Policy;
  readonly paused: boolean;
  readonly deleted: boolean;
  readonly syncState: SyncState;
  readonly endpoints: readonly EndpointState[];
}

interface EndpointRow {
  readonly id: EndpointId;
  readonly protocol: Protocol;
  readonly host: string;
  readonly port: number;
  readonly security: Security;
  readonly tls_ca_pem: string | null;
  readonly tls_reject_unauthorized: boolean;
  readonly credentials: string;
  readonly credentials_version: number;
  readonly profile: EndpointProfile;
  readonly sync_state: SyncState;
  readonly attempts: number;
  readonly next_attempt_at: Date | null;
  readonly last_error: ShownError | null;
  readonly resync_asked_at: Date | null;
}

const toEndpoint = (row: EndpointRow): EndpointState => ({
  id: row.id,
  settings: {
    protocol: row.protocol,
    host: row.host,
    port: row.port,
    security: row.security,
    tls: { caPem: row.tls_ca_pem, rejectUnauthorized: row.tls_reject_unauthorized },
  },
  sealedCredentials: row.credentials,
  credentialsVersion: row.credentials_version,
  profile: row.profile,
  syncState: row.sync_state,
  attempts: row.attempts,
  nextAttemptAt: row.next_attempt_at,
  lastError: row.last_error,
  resyncAskedAt: row.resync_asked_at,
});

/** One account with its endpoints; null when there is no such row any more. */
export const readAccountState = async (db: Queryable, id: AccountId): Promise<AccountState | null> => {
  const { rows } = await db.query<{
    tenant_id: TenantId;
    virtual_shard: number;
    policy: Policy;
    paused: boolean;
    deleted_at: Date | null;
    sync_state: SyncState;
  }>({
    name: "account_state",
    text: `select tenant_id, virtual_shard, policy, paused, deleted_at, sync_state from accounts where id = $1`,
    values: [id],
  });
  const row = rows[0];
  if (row === undefined) return null;
  const endpoints = await db.query<EndpointRow>({
    name: "account_endpoints",
    text: `select id, protocol, host, port, security, tls_ca_pem, tls_reject_unauthorized, credentials, credentials_version, profile, sync_state, attempts, next_attempt_at, last_error, resync_asked_at
           from endpoints where account_id = $1 order by created_at, id`,
    values: [id],
  });
  return {
    id,
    tenantId: row.tenant_id,
    virtualShard: row.virtual_shard,
    policy: row.policy,
    paused: row.paused,
    deleted: row.deleted_at !== null,
    syncState: row.sync_state,
    endpoints: endpoints.rows.map(toEndpoint),
  };
};

/** Accounts of one shard that somebody has to look after: not deleted. Newest first, so that new customers see life soon. */
export const listShardAccounts = async (db: Queryable, shard: number, shards: number): Promise<AccountId[]> => {
  const { rows } = await db.query<{ id: AccountId }>({
    name: "shard_accounts",
    text: `select id from accounts where virtual_shard % $2 = $1 and deleted_at is null order by created_at desc`,
    values: [shard, shards],
  });
  return rows.map((row) => row.id);
};

/** A problem as the account's status shows it. */
export interface ShownError {
  readonly code: FailureCode;
  readonly message: string;
  readonly action: string;
  readonly at: string;
}

export interface EndpointHealth {
  readonly syncState: SyncState;
  readonly lastError: ShownError | null;
  readonly attempts: number;
  readonly nextAttemptAt: Date | null;
  readonly lastSuccessAt: Date | null;
  readonly profile: EndpointProfile;
}

/** Writes an endpoint's health; the account is as well as the worst of its endpoints, and a change of that goes into the log. */
export const writeHealth = async (account: InputTx, endpointId: EndpointId, health: EndpointHealth): Promise<void> => {
  await account.tx.query({
    name: "endpoint_health",
    text: `update endpoints set sync_state = $3, last_error = $4, attempts = $5, next_attempt_at = $6,
             last_success_at = coalesce($7, last_success_at), profile = $8 where account_id = $1 and id = $2`,
    values: [
      account.accountId,
      endpointId,
      health.syncState,
      health.lastError === null ? null : JSON.stringify(health.lastError),
      health.attempts,
      health.nextAttemptAt,
      health.lastSuccessAt,
      JSON.stringify(health.profile),
    ],
  });
  const { rows } = await account.tx.query<{ before: SyncState; after: SyncState }>({
    name: "account_sync_state",
    text: `with worst as (
             select sync_state from endpoints where account_id = $1
             order by array_position(array['needs_reauth', 'needs_attention', 'held', 'connecting', 'backfilling', 'live'], sync_state) limit 1)
           update accounts a set sync_state = w.sync_state, updated_at = now()
           from (select sync_state as before from accounts where id = $1) old, worst w
           where a.id = $1 and a.sync_state <> w.sync_state returning old.before, a.sync_state as after`,
    values: [account.accountId],
  });
  const row = rows[0];
  if (row === undefined) return;
  const { before, after } = row;
  await appendChanges(account, [
    {
      kind: "account.state",
      messageId: null,
      mailboxId: null,
      placementId: null,
      before: { syncState: before },
      after: { syncState: after, ...(health.lastError !== null && { error: health.lastError.code }) },
      source: "daemon",
      endpointId,
      deviceId: null,
      reason: health.lastError?.code ?? "progress",
      rule: null,
      confidence: null,
      evidence: [],
    },
  ]);
};

/** How far the first reading is. `startedAt` null leaves the noted start alone. */
export const writeProgress = async (
  account: AccountTx,
  endpointId: EndpointId,
  progress: { readonly done: number; readonly total: number; readonly startedAt: Date | null },
): Promise<void> => {
  await account.tx.query({
    name: "endpoint_progress",
    text: `update endpoints set progress_done = $3, progress_total = $4, backfill_started_at = coalesce(backfill_started_at, $5) where account_id = $1 and id = $2`,
    values: [account.accountId, endpointId, progress.done, progress.total, progress.startedAt],
  });
};

/** Notes that quiet looks went well, for many endpoints at once and seldom: a quiet sweep itself writes nothing. */
export const noteSuccesses = async (
  db: Database,
  successes: readonly { accountId: AccountId; endpointId: EndpointId; at: Date }[],
): Promise<void> => {
  if (successes.length === 0) return;
  await db.query({
    name: "endpoints_succeeded",
    text: `update endpoints e set last_success_at = greatest(e.last_success_at, w.at)
           from unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) as w(account_id, id, at) where e.account_id = w.account_id and e.id = w.id`,
    values: [successes.map((s) => s.accountId), successes.map((s) => s.endpointId), successes.map((s) => s.at)],
  });
};

/** Counts active bindings per mailbox of an endpoint. */
export const countBound = async (db: Queryable, accountId: AccountId, endpointId: EndpointId): Promise<Map<string, number>> => {
  const { rows } = await db.query<{ mailbox_id: string; n: bigint }>({
    name: "bound_counts",
    text: `select mailbox_id, count(*) as n from bindings where account_id = $1 and endpoint_id = $2 and active group by mailbox_id`,
    values: [accountId, endpointId],
  });
  return new Map(rows.map((row) => [row.mailbox_id, Number(row.n)]));
};
