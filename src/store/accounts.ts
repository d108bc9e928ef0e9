/** Accounts as their owners see them. Every reading names the tenant: an account of another one does not exist. */
import type { Policy, SyncState } from "../model/account.ts";
import type { EndpointProfile, EndpointSettings, Protocol, Security } from "../model/endpoint.ts";
import type { AccountId, EndpointId, TenantId } from "../model/ids.ts";
import type { Pop3Evidence } from "../model/pop3-devices.ts";
import type { ShownError } from "./account-state.ts";
import type { Queryable } from "./database.ts";

export interface AccountRow {
  readonly id: AccountId;
  readonly tenantId: TenantId;
  readonly name: string;
  readonly email: string;
  readonly virtualShard: number;
  readonly policy: Policy;
  readonly pop3Evidence: Pop3Evidence;
  readonly paused: boolean;
  /** What the account's owner is told: `paused` while paused, whatever the endpoints say; `held` while a hold waits for a decision. */
  readonly syncState: SyncState;
  readonly stateEpoch: number;
  readonly headSeq: bigint;
  readonly createdAt: Date;
}

/** As `writeHealth` ranks them: what somebody has to mend stands before what somebody has to decide. What is damaged holds back nothing. */
const shownState = `case when paused then 'paused'
  when sync_state in ('connecting', 'backfilling', 'live')
    and exists (select from holds h where h.account_id = accounts.id and h.closed_at is null and h.reason <> 'octets_damaged') then 'held'
  else sync_state end`;

export const accountColumns = `id, tenant_id as "tenantId", name, email, virtual_shard as "virtualShard", policy, pop3_evidence as "pop3Evidence", paused,
  ${shownState} as "syncState", state_epoch as "stateEpoch", head_seq as "headSeq", created_at as "createdAt"`;

/** The tenant's account; null when it has none of that id, or deleted it. */
export const findAccount = async (db: Queryable, tenantId: TenantId, id: AccountId): Promise<AccountRow | null> => {
  const { rows } = await db.query<AccountRow>({
    name: "account_find",
    text: `select ${accountColumns} from accounts where id = $1 and tenant_id = $2 and deleted_at is null`,
    values: [id, tenantId],
  });
  return rows[0] ?? null;
};

export interface AccountPage {
  readonly tenantId: TenantId;
  /** Only these; null: all. */
  readonly among: readonly AccountId[] | null;
  readonly after: AccountId | null;
  readonly limit: number;
}

/** The tenant's accounts in the order they were made. */
export const listAccounts = async (db: Queryable, page: AccountPage): Promise<AccountRow[]> => {
  const { rows } = await db.query<AccountRow>({
    name: "accounts_of_tenant",
    text: `select ${accountColumns} from accounts
           where tenant_id = $1 and deleted_at is null and ($2::uuid[] is null or id = any($2)) and ($3::uuid is null or id > $3)
           order by id limit $4`,
    values: [page.tenantId, page.among, page.after, page.limit],
  });
  return rows;
};

/** An endpoint without its secret. */
export interface EndpointRow {
  readonly id: EndpointId;
  readonly accountId: AccountId;
  readonly settings: EndpointSettings;
  readonly authType: "password" | "oauth2";
  readonly authUser: string;
  readonly syncState: SyncState;
  readonly lastError: ShownError | null;
  readonly profile: EndpointProfile;
  readonly nextAttemptAt: Date | null;
  readonly lastSuccessAt: Date | null;
  /** Everything is to be read anew since then; null: nobody asks for that. */
  readonly resyncAskedAt: Date | null;
  readonly progress: { readonly done: number; readonly total: number; readonly startedAt: Date | null };
}

/** As PostgreSQL answers it; the columns are listed one by one, so that a sealed secret is not even read. */
interface EndpointColumns {
  readonly id: EndpointId;
  readonly account_id: AccountId;
  readonly protocol: Protocol;
  readonly host: string;
  readonly port: number;
  readonly security: Security;
  readonly tls_ca_pem: string | null;
  readonly tls_reject_unauthorized: boolean;
  readonly auth_type: EndpointRow["authType"];
  readonly auth_user: string;
  readonly sync_state: SyncState;
  readonly last_error: ShownError | null;
  readonly profile: EndpointProfile;
  readonly next_attempt_at: Date | null;
  readonly last_success_at: Date | null;
  readonly resync_asked_at: Date | null;
  readonly progress_done: bigint;
  readonly progress_total: bigint;
  readonly backfill_started_at: Date | null;
}

const toEndpoint = (row: EndpointColumns): EndpointRow => ({
  id: row.id,
  accountId: row.account_id,
  settings: {
    protocol: row.protocol,
    host: row.host,
    port: row.port,
    security: row.security,
    tls: { caPem: row.tls_ca_pem, rejectUnauthorized: row.tls_reject_unauthorized },
  },
  authType: row.auth_type,
  authUser: row.auth_user,
  syncState: row.sync_state,
  lastError: row.last_error,
  profile: row.profile,
  nextAttemptAt: row.next_attempt_at,
  lastSuccessAt: row.last_success_at,
  resyncAskedAt: row.resync_asked_at,
  progress: { done: Number(row.progress_done), total: Number(row.progress_total), startedAt: row.backfill_started_at },
});

/** The endpoints of these accounts, in the order they were made. In a transaction, as it will leave them. */
export const listEndpoints = async (db: Queryable, accountIds: readonly AccountId[]): Promise<EndpointRow[]> => {
  const { rows } = await db.query<EndpointColumns>({
    name: "endpoints_of_accounts",
    text: `select id, account_id, protocol, host, port, security, tls_ca_pem, tls_reject_unauthorized, auth_type, auth_user, sync_state,
             last_error, profile, next_attempt_at, last_success_at, resync_asked_at, progress_done, progress_total, backfill_started_at
           from endpoints where account_id = any($1) order by created_at, id`,
    values: [accountIds],
  });
  return rows.map(toEndpoint);
};
