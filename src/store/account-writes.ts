/** What an account's owner changes: each a transaction that holds the account's row, with the state change in its log. */
import { uuidv7 } from "uuidv7";
import type { Policy, SyncState } from "../model/account.ts";
import type { Credentials, EndpointSettings } from "../model/endpoint.ts";
import type { AccountId, EndpointId, TenantId } from "../model/ids.ts";
import { appendChanges, type InputTx } from "./account-tx.ts";
import { accountColumns, type AccountRow, type EndpointRow, listEndpoints } from "./accounts.ts";
import type { Tx } from "./database.ts";
import { defineInput, ingestOwned } from "./inputs.ts";
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

/** An endpoint without its secret, which is nothing that anybody may replay. */
interface EndpointFacts {
  readonly id: EndpointId;
  readonly settings: EndpointSettings;
  readonly authType: Credentials["type"];
  readonly authUser: string;
}

const factsOf = ({ settings, credentials: { type, user } }: NewEndpoint): EndpointFacts => ({
  id: uuidv7() as EndpointId,
  settings,
  authType: type,
  authUser: user,
});

const writeEndpoint = async (account: InputTx, { id, settings, authType, authUser }: EndpointFacts): Promise<void> => {
  await account.tx.query({
    name: "endpoint_create",
    text: `insert into endpoints (account_id, id, tenant_id, protocol, host, port, security, tls_ca_pem, tls_reject_unauthorized, auth_type, auth_user, credentials)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, '')`,
    values: [
      account.accountId,
      id,
      account.tenantId,
      settings.protocol,
      settings.host,
      settings.port,
      settings.security,
      settings.tls.caPem,
      settings.tls.rejectUnauthorized,
      authType,
      authUser,
    ],
  });
};

type Owner = Pick<AccountRef, "tenantId" | "accountId">;

const writeSecret = async (
  tx: Tx,
  sealer: Sealer,
  { tenantId, accountId }: Owner,
  { id: endpointId, credentials }: { readonly id: EndpointId; readonly credentials: Credentials },
): Promise<void> => {
  await tx.query({
    name: "endpoint_secret",
    text: `update endpoints set auth_type = $4, auth_user = $5, credentials = $6,
             credentials_version = credentials_version + case when credentials = '' then 0 else 1 end
           where account_id = $1 and id = $2 and tenant_id = $3`,
    values: [
      accountId,
      endpointId,
      tenantId,
      credentials.type,
      credentials.user,
      await sealer.sealCredentials(tx, { tenantId, accountId, endpointId }, credentials),
    ],
  });
};

const toRow = (accountId: AccountId, { id, settings, authType, authUser }: EndpointFacts): EndpointRow => ({
  id,
  accountId,
  settings,
  authType,
  authUser,
  syncState: "connecting",
  lastError: null,
  resyncAskedAt: null,
  profile: {},
  nextAttemptAt: null,
  lastSuccessAt: null,
  progress: { done: 0, total: 0, startedAt: null },
});

/** Writes endpoints as an input does, and then their secrets, which are none of it. */
const addEndpoints = async (
  tx: Tx,
  sealer: Sealer,
  owner: Owner,
  endpoints: readonly NewEndpoint[],
  write: (facts: readonly EndpointFacts[]) => Promise<unknown>,
): Promise<readonly EndpointFacts[]> => {
  const facts = endpoints.map(factsOf);
  await write(facts);
  for (const [at, { credentials }] of endpoints.entries()) {
    const id = facts[at]?.id;
    if (id !== undefined) await writeSecret(tx, sealer, owner, { id, credentials });
  }
  return facts;
};

export interface NewAccountFacts {
  readonly name: string;
  readonly email: string;
  readonly policy: Policy;
  readonly endpoints: readonly EndpointFacts[];
}

/** The row of the account is there already, as it is made: whoever replays makes it of the rest. */
export const accountMade = defineInput("intent", "account.made", async (account, { endpoints }: NewAccountFacts) => {
  for (const endpoint of endpoints) await writeEndpoint(account, endpoint);
});

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
  const { tenantId, name, email, policy } = request;
  const endpoints = await addEndpoints(tx, sealer, { tenantId, accountId }, request.endpoints, (facts) =>
    ingestOwned(tx, { tenantId, accountId }, accountMade, { name, email, policy, endpoints: facts }),
  );
  return { account, endpoints: endpoints.map((facts) => toRow(accountId, facts)) };
};

const lockAccount = async (tx: Tx, ref: AccountRef): Promise<AccountRow | null> => {
  const { rows } = await tx.query<AccountRow>({
    name: "account_lock_by_owner",
    text: `select ${accountColumns} from accounts where id = $1 and tenant_id = $2 and deleted_at is null for update`,
    values: [ref.accountId, ref.tenantId],
  });
  return rows[0] ?? null;
};

const readSyncState = async ({ tx, accountId }: InputTx): Promise<SyncState | null> => {
  const { rows } = await tx.query<{ sync_state: SyncState }>({
    name: "account_sync_state_read",
    text: `select case when paused then 'paused' else sync_state end as sync_state from accounts where id = $1`,
    values: [accountId],
  });
  return rows[0]?.sync_state ?? null;
};

/** Does it, with the change of the shown state in the log. */
const logState = async (account: InputTx, deviceId: string, reason: string, work: () => Promise<void>): Promise<void> => {
  const before = await readSyncState(account);
  await work();
  const after = await readSyncState(account);
  if (after === before) return;
  const change = {
    kind: "account.state",
    messageId: null,
    mailboxId: null,
    placementId: null,
    before: { syncState: before },
    after: { syncState: after },
    source: "api",
    endpointId: null,
    deviceId,
    reason,
    rule: null,
    confidence: null,
    evidence: [],
  } as const;
  await appendChanges(account, [change]);
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
const patchEndpoint = async (
  account: InputTx,
  { id, settings }: { readonly id: EndpointId; readonly settings: EndpointSettings },
): Promise<void> => {
  await account.tx.query({
    name: "endpoint_patch",
    text: `update endpoints set profile = case when (host, port) = ($4, $5) then profile else '{}' end, host = $4, port = $5, security = $6,
             tls_ca_pem = $7, tls_reject_unauthorized = $8, attempts = 0, next_attempt_at = null, sync_state = 'connecting', last_error = null
           where account_id = $1 and id = $2 and tenant_id = $3`,
    values: [
      account.accountId,
      id,
      account.tenantId,
      settings.host,
      settings.port,
      settings.security,
      settings.tls.caPem,
      settings.tls.rejectUnauthorized,
    ],
  });
};

interface SettingsFacts {
  readonly deviceId: string;
  readonly name: string | null;
  readonly email: string | null;
  readonly policy: Partial<Policy> | null;
  readonly endpoints: readonly { readonly id: EndpointId; readonly settings: EndpointSettings }[];
  readonly newEndpoints: readonly EndpointFacts[];
}

const settingsChanged = defineInput("intent", "account.settings", (account, facts: SettingsFacts) =>
  logState(account, facts.deviceId, "settings_changed", async () => {
    const { name, email, policy, endpoints, newEndpoints } = facts;
    await account.tx.query({
      name: "account_patch",
      text: `update accounts set name = coalesce($2, name), email = coalesce($3, email), policy = policy || coalesce($4::jsonb, '{}'),
               policy_version = policy_version + case when $4::jsonb is null then 0 else 1 end,
               sync_state = case when $5 then 'connecting' else sync_state end, updated_at = now() where id = $1`,
      values: [
        account.accountId,
        name,
        email,
        policy === null ? null : JSON.stringify(policy),
        endpoints.length + newEndpoints.length > 0,
      ],
    });
    for (const endpoint of endpoints) await patchEndpoint(account, endpoint);
    for (const endpoint of newEndpoints) await writeEndpoint(account, endpoint);
  }),
);

/** As they are and stay until the transaction ends: who changes one by what it was does so after this. */
export const lockEndpoints = async (tx: Tx, ref: AccountRef): Promise<readonly EndpointRow[]> =>
  (await lockAccount(tx, ref)) === null ? [] : listEndpoints(tx, [ref.accountId]);

/** null when there is no such account. Endpoints named in the patch must exist. */
export const patchAccount = async (
  tx: Tx,
  sealer: Sealer,
  ref: AccountRef,
  patch: AccountPatch,
): Promise<{ readonly before: AccountRow; readonly after: AccountRow } | null> => {
  const before = await lockAccount(tx, ref);
  if (before === null) return null;
  const { name = null, email = null, policy = null, endpoints } = patch;
  const changed = endpoints.map(({ id, settings }) => ({ id, settings }));
  await addEndpoints(tx, sealer, ref, patch.newEndpoints, (newEndpoints) => {
    const facts = { deviceId: ref.deviceId, name, email, policy, endpoints: changed, newEndpoints };
    return ingestOwned(tx, ref, settingsChanged, facts);
  });
  for (const { id, credentials } of endpoints)
    if (credentials !== undefined) await writeSecret(tx, sealer, ref, { id, credentials });
  const after = await lockAccount(tx, ref);
  return after === null ? null : { before, after };
};

const accountPaused = defineInput(
  "intent",
  "account.paused",
  (account, { deviceId, paused }: { readonly deviceId: string; readonly paused: boolean }) =>
    logState(account, deviceId, paused ? "paused" : "resumed", async () => {
      await account.tx.query({
        name: "account_paused",
        text: `update accounts set paused = $2, updated_at = now() where id = $1`,
        values: [account.accountId, paused],
      });
    }),
);

/** Stops or resumes all work on the account; null when there is no such account. */
export const setPaused = async (tx: Tx, ref: AccountRef, paused: boolean): Promise<AccountRow | null> => {
  const before = await lockAccount(tx, ref);
  if (before === null || before.paused === paused) return before;
  await ingestOwned(tx, ref, accountPaused, { deviceId: ref.deviceId, paused });
  return lockAccount(tx, ref);
};

/** Cuts a backoff short, and what commands wait for that somebody made room for. A parked login stays parked: it would only be refused again. */
export const requestSync = async (tx: Tx, accountId: AccountId): Promise<void> => {
  await tx.query({
    name: "account_due_now",
    text: `update endpoints set next_attempt_at = now() where account_id = $1 and next_attempt_at > now()`,
    values: [accountId],
  });
  // Whatever else a server says no with, and what is unknown, has its own time: every try and every look counts.
  await tx.query({
    name: "account_commands_due_now",
    text: `update commands set due_at = null where account_id = $1 and status = 'planned' and outcome = 'over_quota' and due_at > now()`,
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
