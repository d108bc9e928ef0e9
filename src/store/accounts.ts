/** Accounts as their owners see them. Every reading names the tenant: an account of another one does not exist. */
import type { Policy, SyncState } from "../model/account.ts";
import type { EndpointProfile, EndpointSettings, Protocol, Security } from "../model/endpoint.ts";
import type { AccountId, EndpointId, TenantId } from "../model/ids.ts";
import type { ShownError } from "./account-state.ts";
import type { Database, Queryable } from "./database.ts";

export interface AccountRow {
  readonly id: AccountId;
  readonly tenantId: TenantId;
  readonly name: string;
  readonly email: string;
  readonly virtualShard: number;
  readonly policy: Policy;
  readonly paused: boolean;
  /** What the account's owner is told: `paused` while paused, whatever the endpoints say. */
  readonly syncState: SyncState;
  readonly stateEpoch: number;
  readonly headSeq: bigint;
  readonly createdAt: Date;
}

export const accountColumns = `id, tenant_id as "tenantId", name, email, virtual_shard as "virtualShard", policy, paused,
  case when paused then 'paused' else sync_state end as "syncState", state_epoch as "stateEpoch", head_seq as "headSeq", created_at as "createdAt"`;

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
  readonly progress: { readonly done: number; readonly total: number; readonly startedAt: Date | null };
}

/** Listed one by one, so that a sealed secret is not even read. */
const endpointColumns = {
  id: true,
  accountId: true,
  protocol: true,
  host: true,
  port: true,
  security: true,
  tlsCaPem: true,
  tlsRejectUnauthorized: true,
  authType: true,
  authUser: true,
  syncState: true,
  lastError: true,
  profile: true,
  nextAttemptAt: true,
  lastSuccessAt: true,
  progressDone: true,
  progressTotal: true,
  backfillStartedAt: true,
} as const;

/** The endpoints of these accounts, in the order they were made. */
export const listEndpoints = async (db: Database, accountIds: readonly AccountId[]): Promise<EndpointRow[]> => {
  const rows = await db.prisma.endpoint.findMany({
    where: { accountId: { in: [...accountIds] } },
    select: endpointColumns,
    orderBy: [{ createdAt: "asc" }, { id: "asc" }],
  });
  return rows.map((row) => ({
    id: row.id as EndpointId,
    accountId: row.accountId as AccountId,
    settings: {
      protocol: row.protocol as Protocol,
      host: row.host,
      port: row.port,
      security: row.security as Security,
      tls: { caPem: row.tlsCaPem, rejectUnauthorized: row.tlsRejectUnauthorized },
    },
    authType: row.authType as EndpointRow["authType"],
    authUser: row.authUser,
    syncState: row.syncState as SyncState,
    lastError: row.lastError as ShownError | null,
    profile: row.profile as EndpointProfile,
    nextAttemptAt: row.nextAttemptAt,
    lastSuccessAt: row.lastSuccessAt,
    progress: { done: Number(row.progressDone), total: Number(row.progressTotal), startedAt: row.backfillStartedAt },
  }));
};
