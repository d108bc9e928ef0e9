/** What an account's owner changes: each a transaction that holds the account's row, with the state change in its log. */
import { uuidv7 } from "uuidv7";
import type { Policy, SyncState } from "../model/account.ts";
import type { Credentials, EndpointSettings } from "../model/endpoint.ts";
import type { AccountId, EndpointId, TenantId } from "../model/ids.ts";
import { appendChanges } from "./account-tx.ts";
import { accountColumns, type AccountRow, type EndpointRow } from "./accounts.ts";
import type { Tx } from "./database.ts";
import { virtualShardOf } from "./leases.ts";
import type { Sealer } from "./sealing.ts";

export interface NewEndpoint {
  readonly settings: EndpointSettings;
  readonly credentials: Credentials;
}

export interface NewAccount {
  readonly tenantId: TenantId;
  readonly name: string;
  readonly email: string;
  readonly policy: Policy;
  readonly endpoints: readonly NewEndpoint[];
}

/** Which account, and who asks for the change. */
export interface AccountRef {
  readonly tenantId: TenantId;
  readonly accountId: AccountId;
  readonly deviceId: string;
}

const insertEndpoint = async (
  tx: Tx,
  sealer: Sealer,
  owner: { readonly tenantId: TenantId; readonly accountId: AccountId },
  endpoint: NewEndpoint,
): Promise<EndpointRow> => {
  const endpointId = uuidv7() as EndpointId;
  const { settings, credentials } = endpoint;
  await tx.query({
    name: "endpoint_create",
    text: `insert into endpoints (account_id, id, tenant_id, protocol, host, port, security, tls_ca_pem, tls_reject_unauthorized, auth_type, auth_user, credentials)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
    values: [
      owner.accountId,
      endpointId,
      owner.tenantId,
      settings.protocol,
      settings.host,
      settings.port,
      settings.security,
      settings.tls.caPem,
      settings.tls.rejectUnauthorized,
      credentials.type,
      credentials.user,
      await sealer.sealCredentials(tx, { tenantId: owner.tenantId, accountId: owner.accountId, endpointId }, credentials),
    ],
  });
  return {
    id: endpointId,
    accountId: owner.accountId,
    settings,
    authType: credentials.type,
    authUser: credentials.user,
    syncState: "connecting",
    lastError: null,
    profile: {},
    nextAttemptAt: null,
    lastSuccessAt: null,
    progress: { done: 0, total: 0, startedAt: null },
  };
};

/** The account, its data key and its endpoints. */
export const createAccount = async (
  tx: Tx,
  sealer: Sealer,
  request: NewAccount,
): Promise<{ account: AccountRow; endpoints: EndpointRow[] }> => {
  const accountId = uuidv7() as AccountId;
  const { rows } = await tx.query<AccountRow>({
    name: "account_create",
    text: `insert into accounts (id, tenant_id, name, email, virtual_shard, policy) values ($1, $2, $3, $4, $5, $6) returning ${accountColumns}`,
    values: [accountId, request.tenantId, request.name, request.email, virtualShardOf(accountId), JSON.stringify(request.policy)],
  });
  const account = rows[0];
  if (account === undefined) throw new Error("insert returned nothing");
  const endpoints: EndpointRow[] = [];
  for (const endpoint of request.endpoints)
    endpoints.push(await insertEndpoint(tx, sealer, { tenantId: request.tenantId, accountId }, endpoint));
  return { account, endpoints };
};

const lockAccount = async (tx: Tx, ref: AccountRef): Promise<AccountRow | null> => {
  const { rows } = await tx.query<AccountRow>({
    name: "account_lock_by_owner",
    text: `select ${accountColumns} from accounts where id = $1 and tenant_id = $2 and deleted_at is null for update`,
    values: [ref.accountId, ref.tenantId],
  });
  return rows[0] ?? null;
};

/** Writes what moved between the two; a change of the shown state goes into the log. Answers the account as it is now. */
const logState = async (tx: Tx, ref: AccountRef, before: AccountRow, reason: string): Promise<AccountRow | null> => {
  const after = await lockAccount(tx, ref);
  if (after === null || after.syncState === before.syncState) return after;
  const { stateEpoch, headSeq } = after;
  const state = (syncState: SyncState): Record<string, unknown> => ({ syncState });
  const change = {
    kind: "account.state",
    messageId: null,
    mailboxId: null,
    placementId: null,
    before: state(before.syncState),
    after: state(after.syncState),
    source: "api",
    endpointId: null,
    deviceId: ref.deviceId,
    reason,
    rule: null,
    confidence: null,
    evidence: [],
  } as const;
  await appendChanges({ tx, accountId: ref.accountId, tenantId: ref.tenantId, stateEpoch, headSeq }, [change], new Date(), null);
  return { ...after, headSeq: headSeq + 1n };
};

export interface EndpointPatch {
  readonly id: EndpointId;
  /** The whole settings as they shall be. */
  readonly settings: EndpointSettings;
  readonly credentials?: Credentials;
}

export interface AccountPatch {
  readonly name?: string;
  readonly email?: string;
  readonly policy?: Partial<Policy>;
  readonly endpoints: readonly EndpointPatch[];
  readonly newEndpoints: readonly NewEndpoint[];
}

/** New settings deserve a new try at once: what was learned of another server, the failures and the parking are forgotten. */
const patchEndpoint = async (tx: Tx, sealer: Sealer, ref: AccountRef, patch: EndpointPatch): Promise<void> => {
  const { settings, credentials } = patch;
  await tx.query({
    name: "endpoint_patch",
    text: `update endpoints set profile = case when (host, port) = ($4, $5) then profile else '{}' end, host = $4, port = $5, security = $6,
             tls_ca_pem = $7, tls_reject_unauthorized = $8, attempts = 0, next_attempt_at = null, sync_state = 'connecting', last_error = null
           where account_id = $1 and id = $2 and tenant_id = $3`,
    values: [
      ref.accountId,
      patch.id,
      ref.tenantId,
      settings.host,
      settings.port,
      settings.security,
      settings.tls.caPem,
      settings.tls.rejectUnauthorized,
    ],
  });
  if (credentials === undefined) return;
  await tx.query({
    name: "endpoint_credentials",
    text: `update endpoints set auth_type = $4, auth_user = $5, credentials = $6, credentials_version = credentials_version + 1
           where account_id = $1 and id = $2 and tenant_id = $3`,
    values: [
      ref.accountId,
      patch.id,
      ref.tenantId,
      credentials.type,
      credentials.user,
      await sealer.sealCredentials(tx, { tenantId: ref.tenantId, accountId: ref.accountId, endpointId: patch.id }, credentials),
    ],
  });
};

/** null when there is no such account. Endpoints named in the patch must exist. */
export const patchAccount = async (tx: Tx, sealer: Sealer, ref: AccountRef, patch: AccountPatch): Promise<AccountRow | null> => {
  const before = await lockAccount(tx, ref);
  if (before === null) return null;
  const reconnects = patch.endpoints.length + patch.newEndpoints.length > 0;
  await tx.query({
    name: "account_patch",
    text: `update accounts set name = coalesce($2, name), email = coalesce($3, email), policy = policy || coalesce($4::jsonb, '{}'),
             policy_version = policy_version + case when $4::jsonb is null then 0 else 1 end,
             sync_state = case when $5 then 'connecting' else sync_state end, updated_at = now() where id = $1`,
    values: [
      ref.accountId,
      patch.name ?? null,
      patch.email ?? null,
      patch.policy === undefined ? null : JSON.stringify(patch.policy),
      reconnects,
    ],
  });
  for (const endpoint of patch.endpoints) await patchEndpoint(tx, sealer, ref, endpoint);
  for (const endpoint of patch.newEndpoints) await insertEndpoint(tx, sealer, ref, endpoint);
  return logState(tx, ref, before, "settings_changed");
};

/** Stops or resumes all work on the account; null when there is no such account. */
export const setPaused = async (tx: Tx, ref: AccountRef, paused: boolean): Promise<AccountRow | null> => {
  const before = await lockAccount(tx, ref);
  if (before === null || before.paused === paused) return before;
  await tx.query({
    name: "account_paused",
    text: `update accounts set paused = $2, updated_at = now() where id = $1`,
    values: [ref.accountId, paused],
  });
  return logState(tx, ref, before, paused ? "paused" : "resumed");
};

/** Cuts a backoff short. A parked login stays parked: it would only be refused again. */
export const requestSync = async (tx: Tx, accountId: AccountId): Promise<void> => {
  await tx.query({
    name: "account_due_now",
    text: `update endpoints set next_attempt_at = now() where account_id = $1 and next_attempt_at > now()`,
    values: [accountId],
  });
};

/**
 * Takes the account away from its owner at once and destroys the key of its credentials; the stored mail goes later, in
 * batches. False when there is no such account. Followers of its log are woken, so that they see it gone.
 */
export const deleteAccount = async (tx: Tx, ref: AccountRef): Promise<boolean> => {
  if ((await lockAccount(tx, ref)) === null) return false;
  await tx.query({
    name: "account_delete",
    text: `update accounts set deleted_at = now(), updated_at = now() where id = $1`,
    values: [ref.accountId],
  });
  await tx.query({ name: "data_keys_destroy", text: `delete from data_keys where account_id = $1`, values: [ref.accountId] });
  await tx.query({ name: "account_deleted_notify", text: `select pg_notify('samebox_changes', $1)`, values: [ref.accountId] });
  return true;
};
