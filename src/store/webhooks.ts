/** Webhooks as their owner knows them: made, changed, set back. What is sent, and when: webhook-lanes.ts. */
import { randomBytes } from "node:crypto";
import { uuidv7 } from "uuidv7";
import type { AccountId, TenantId, WebhookId } from "../model/ids.ts";
import type { Delivery, Webhook } from "../model/webhook.ts";
import type { Queryable, Tx } from "./database.ts";
import type { Sealer } from "./sealing.ts";

/** Columns of `webhooks w` as the model names them. */
export const webhookColumns = `w.id, w.tenant_id as "tenantId", w.url, w.account_ids as "accountIds", w.kinds, case when w.old_secret_until > now() then w.old_secret_until end as "oldSecretUntil",
  w.disabled_because as "disabledBecause", w.failures, w.failing_since as "failingSince", w.open_until as "openUntil",
  w.last_success_at as "lastSuccessAt", w.created_at as "createdAt"`;

/** What a sealed secret is bound to. */
export const secretContext = (tenantId: TenantId, id: WebhookId): string[] => ["webhook_secret", tenantId, id];

/** Standard Webhooks: `whsec_` and 24 to 64 octets in base64. */
const makeSecret = (): string => `whsec_${randomBytes(32).toString("base64")}`;

/** Whose webhooks: of a tenant, and only those limited to accounts among these (null: all). */
export interface WebhookOwner {
  readonly tenantId: TenantId;
  readonly among: readonly AccountId[] | null;
}

const owned = "w.tenant_id = $1 and ($2::uuid[] is null or w.account_ids <@ $2)";

/**
 * Accounts that are there now and were not meant `before` (null: all were) begin now, and those to come at their beginning;
 * who is no longer meant is forgotten.
 */
const placeLanes = async (
  tx: Tx,
  { tenantId, id, accountIds }: Pick<Webhook, "tenantId" | "id" | "accountIds">,
  before: readonly AccountId[] | null,
): Promise<void> => {
  await tx.query({
    name: "webhook_lanes_leave",
    text: `delete from webhook_lanes where webhook_id = $1 and $2::uuid[] is not null and account_id <> all($2)`,
    values: [id, accountIds],
  });
  if (before === null) return;
  await tx.query({
    name: "webhook_lanes_place",
    text: `insert into webhook_lanes as l (account_id, webhook_id, tenant_id, seq)
           select a.id, $2, $1, a.head_seq from accounts a
           where a.tenant_id = $1 and a.deleted_at is null and ($3::uuid[] is null or a.id = any($3)) and a.id <> all($4::uuid[])
           on conflict (account_id, webhook_id) do update set seq = excluded.seq, generation = l.generation + 1, attempts = 0, due_at = null`,
    values: [tenantId, id, accountIds, before],
  });
};

export interface NewWebhook {
  readonly tenantId: TenantId;
  readonly url: string;
  readonly accountIds: readonly AccountId[] | null;
  readonly kinds: readonly string[] | null;
}

/** Of the tenant. */
export const countWebhooks = async (db: Queryable, tenantId: TenantId): Promise<number> => {
  const { rows } = await db.query<{ count: number }>({
    name: "webhooks_count",
    text: `select count(*)::int as count from webhooks where tenant_id = $1`,
    values: [tenantId],
  });
  return rows[0]?.count ?? 0;
};

/** The secret is answered here and never again. */
export const createWebhook = async (
  tx: Tx,
  sealer: Sealer,
  request: NewWebhook,
): Promise<{ readonly webhook: Webhook; readonly secret: string }> => {
  const id = uuidv7() as WebhookId;
  const secret = makeSecret();
  const { tenantId, url, accountIds, kinds } = request;
  const { rows } = await tx.query<Webhook>({
    name: "webhook_create",
    text: `insert into webhooks as w (id, tenant_id, url, account_ids, kinds, secret) values ($1, $2, $3, $4, $5, $6)
           returning ${webhookColumns}`,
    values: [id, tenantId, url, accountIds, kinds, sealer.sealText(secretContext(tenantId, id), secret)],
  });
  const webhook = rows[0];
  if (webhook === undefined) throw new Error("insert returned nothing");
  await placeLanes(tx, webhook, []);
  return { webhook, secret };
};

/** Newest first, after `after`. */
export const listWebhooks = async (
  db: Queryable,
  owner: WebhookOwner,
  page: { readonly after: WebhookId | null; readonly limit: number },
): Promise<Webhook[]> => {
  const { rows } = await db.query<Webhook>({
    name: "webhooks_of_tenant",
    text: `select ${webhookColumns} from webhooks w where ${owned} and ($3::uuid is null or w.id < $3) order by w.id desc limit $4`,
    values: [owner.tenantId, owner.among, page.after, page.limit],
  });
  return rows;
};

/** null when the owner has none of that id. `lock` keeps it as it is until the transaction ends. */
export const findWebhook = async (
  db: Queryable,
  owner: WebhookOwner,
  id: WebhookId,
  lock: "lock" | null = null,
): Promise<Webhook | null> => {
  const { rows } = await db.query<Webhook>({
    name: lock === null ? "webhook_by_id" : "webhook_lock",
    text: `select ${webhookColumns} from webhooks w where ${owned} and w.id = $3 ${lock === null ? "" : "for update"}`,
    values: [owner.tenantId, owner.among, id],
  });
  return rows[0] ?? null;
};

export interface WebhookPatch {
  readonly url?: string;
  readonly accountIds?: readonly AccountId[] | null;
  readonly kinds?: readonly string[] | null;
  /** Enabled again, it goes on where it stood. */
  readonly enabled?: boolean;
}

/** Tells whoever is sending to it, once this transaction commits: what it sends as the webhook was before is broken off. */
const tellSenders = async (tx: Tx, id: WebhookId): Promise<void> => {
  await tx.query({ name: "webhook_tell", text: `select pg_notify('samebox_webhooks', $1)`, values: [id] });
};

/** `webhook` as it was locked. Whatever is changed deserves a new try at once; what is being sent as it was before has no effect any more. */
export const patchWebhook = async (tx: Tx, webhook: Webhook, patch: WebhookPatch): Promise<Webhook> => {
  const { url = webhook.url, accountIds = webhook.accountIds, kinds = webhook.kinds } = patch;
  const disabled = patch.enabled === undefined ? webhook.disabledBecause : patch.enabled ? null : "asked";
  const { rows } = await tx.query<Webhook>({
    name: "webhook_patch",
    text: `update webhooks w set url = $2, account_ids = $3, kinds = $4, disabled_because = $5, failures = 0, failing_since = null, open_until = null,
             version = version + 1
           where w.id = $1 returning ${webhookColumns}`,
    values: [webhook.id, url, accountIds, kinds, disabled],
  });
  const patched = rows[0];
  if (patched === undefined) throw new Error("the webhook was locked and is gone");
  if (patch.accountIds !== undefined) await placeLanes(tx, patched, webhook.accountIds);
  await tx.query({
    name: "webhook_lanes_due",
    text: `update webhook_lanes set due_at = null where webhook_id = $1 and due_at is not null`,
    values: [webhook.id],
  });
  await tellSenders(tx, webhook.id);
  return patched;
};

/** False when the owner has none of that id. */
export const deleteWebhook = async (tx: Tx, owner: WebhookOwner, id: WebhookId): Promise<boolean> => {
  const { rowCount } = await tx.query({
    name: "webhook_delete",
    text: `delete from webhooks w where ${owned} and w.id = $3`,
    values: [owner.tenantId, owner.among, id],
  });
  if (rowCount === 0) return false;
  await tx.query({ name: "webhook_lanes_delete", text: `delete from webhook_lanes where webhook_id = $1`, values: [id] });
  await tx.query({
    name: "webhook_deliveries_delete",
    text: `delete from webhook_deliveries where webhook_id = $1`,
    values: [id],
  });
  await tellSenders(tx, id);
  return true;
};

/** Both secrets sign for `overlapHours`; one from before the last rotation does no more. */
export const rotateSecret = async (
  tx: Tx,
  sealer: Sealer,
  { id, tenantId }: Webhook,
  overlapHours: number,
): Promise<{ readonly webhook: Webhook; readonly secret: string }> => {
  const secret = makeSecret();
  const { rows } = await tx.query<Webhook>({
    name: "webhook_rotate",
    text: `update webhooks w set old_secret = secret, old_secret_until = now() + make_interval(hours => $3), secret = $2,
             version = version + 1
           where w.id = $1 returning ${webhookColumns}`,
    values: [id, sealer.sealText(secretContext(tenantId, id), secret), overlapHours],
  });
  const webhook = rows[0];
  if (webhook === undefined) throw new Error("the webhook was locked and is gone");
  await tellSenders(tx, id);
  return { webhook, secret };
};

/** Asks for a test event. @returns the id of its delivery, which is listed once it was tried. */
export const askForTest = async (tx: Tx, webhook: Webhook): Promise<string> => {
  const testId = uuidv7();
  await tx.query({
    name: "webhook_ask_test",
    text: `with asked as (update webhooks set test_id = $2 where id = $1) select pg_notify('samebox_changes', '')`,
    values: [webhook.id, testId],
  });
  return testId;
};

/** Sets the webhook anywhere in the account's log; what is being sent from where it stood has no effect any more. */
export const replayFrom = async (
  tx: Tx,
  webhook: Webhook,
  from: { readonly accountId: AccountId; readonly seq: bigint },
): Promise<void> => {
  await tx.query({
    name: "webhook_replay",
    text: `with placed as (
             insert into webhook_lanes as l (account_id, webhook_id, tenant_id, seq, generation) values ($1, $2, $3, $4, 1)
             on conflict (account_id, webhook_id) do update set seq = excluded.seq, generation = l.generation + 1, attempts = 0, due_at = null)
           select pg_notify('samebox_changes', $5)`,
    values: [from.accountId, webhook.id, webhook.tenantId, from.seq, from.accountId],
  });
};

/** Newest first, after `after`. */
export const listDeliveries = async (
  db: Queryable,
  webhook: Webhook,
  page: { readonly after: string | null; readonly limit: number },
): Promise<Delivery[]> => {
  const { rows } = await db.query<Delivery>({
    name: "webhook_deliveries_list",
    text: `select id, account_id as "accountId", seq, kind, attempt, at, result, status, duration_ms as "durationMs"
           from webhook_deliveries where webhook_id = $1 and ($2::uuid is null or id < $2) order by id desc limit $3`,
    values: [webhook.id, page.after, page.limit],
  });
  return rows;
};
