/** Accounts as their owners see them. Every reading names the tenant: an account of another one does not exist. */
import type { Policy, SyncState } from "../model/account.ts";
import type { AccountId, TenantId } from "../model/ids.ts";
import type { Queryable } from "./database.ts";

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
