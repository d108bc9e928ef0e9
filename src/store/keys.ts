/**
 * API keys. The secret is 32 random octets, so one SHA-256 of it is enough at rest; it is found by the id it carries and
 * compared in constant time, and shown once.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { uuidv7 } from "uuidv7";
import { allScopes, type Scope } from "../model/access.ts";
import type { AccountId, KeyId, TenantId } from "../model/ids.ts";
import type { Queryable, Tx } from "./database.ts";

export interface ApiKey {
  readonly id: KeyId;
  readonly tenantId: TenantId;
  readonly name: string;
  readonly scopes: readonly Scope[];
  /** The only accounts this key may see; null: all of its tenant. */
  readonly accountIds: readonly AccountId[] | null;
  readonly expiresAt: Date | null;
  readonly lastUsedAt: Date | null;
  readonly createdAt: Date;
}

interface KeyRow {
  readonly id: KeyId;
  readonly tenant_id: TenantId;
  readonly name: string;
  readonly secret_sha256: Buffer;
  readonly scopes: string[];
  readonly account_ids: AccountId[] | null;
  readonly expires_at: Date | null;
  readonly last_used_at: Date | null;
  readonly created_at: Date;
}

const columns = "id, tenant_id, name, secret_sha256, scopes, account_ids, expires_at, last_used_at, created_at";

const toKey = (row: KeyRow): ApiKey => ({
  id: row.id,
  tenantId: row.tenant_id,
  name: row.name,
  scopes: allScopes.filter((scope) => row.scopes.includes(scope)),
  accountIds: row.account_ids,
  expiresAt: row.expires_at,
  lastUsedAt: row.last_used_at,
  createdAt: row.created_at,
});

const sha256 = (text: string): Buffer => createHash("sha256").update(text).digest();

/** Are these the same secret? Takes the same time wherever they differ. */
export const isSameSecret = (left: string, right: string): boolean => timingSafeEqual(sha256(left), sha256(right));

const keyPattern = /^sbx_([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})_[\w-]{43}$/;

const writeSecret = (id: string): string => `sbx_${id.replaceAll("-", "")}_${randomBytes(32).toString("base64url")}`;

/** The key behind a secret; null when there is none, it was deleted or has run out. */
export const authenticate = async (db: Queryable, secret: string): Promise<ApiKey | null> => {
  const match = keyPattern.exec(secret);
  if (match === null) return null;
  const { rows } = await db.query<KeyRow>({
    name: "key_by_id",
    text: `select ${columns} from api_keys where id = $1 and (expires_at is null or expires_at > now())`,
    values: [match.slice(1).join("-")],
  });
  const row = rows[0];
  return row !== undefined && timingSafeEqual(sha256(secret), row.secret_sha256) ? toKey(row) : null;
};

const useIsWrittenEveryMs = 60_000;

/** Notes that the key was used; writes at most once a minute. */
export const noteKeyUse = async (db: Queryable, key: ApiKey, now: Date): Promise<void> => {
  if (key.lastUsedAt !== null && now.getTime() - key.lastUsedAt.getTime() < useIsWrittenEveryMs) return;
  await db.query({
    name: "key_used",
    text: `update api_keys set last_used_at = now() where id = $1 and (last_used_at is null or last_used_at < now() - interval '1 minute')`,
    values: [key.id],
  });
};

export interface NewKey {
  readonly tenantId: TenantId;
  readonly name: string;
  readonly scopes: readonly Scope[];
  readonly accountIds: readonly AccountId[] | null;
  readonly expiresAt: Date | null;
}

/** The secret is answered here and never again. */
export const createKey = async (db: Queryable, request: NewKey): Promise<{ key: ApiKey; secret: string }> => {
  const id = uuidv7();
  const secret = writeSecret(id);
  const { rows } = await db.query<KeyRow>({
    name: "key_create",
    text: `insert into api_keys (id, tenant_id, name, secret_sha256, scopes, account_ids, expires_at) values ($1, $2, $3, $4, $5, $6, $7)
           returning ${columns}`,
    values: [id, request.tenantId, request.name, sha256(secret), request.scopes, request.accountIds, request.expiresAt],
  });
  const row = rows[0];
  if (row === undefined) throw new Error("insert returned nothing");
  return { key: toKey(row), secret };
};

/** Which keys: of a tenant, and only those limited to accounts among these (null: all keys). */
export interface KeyOwner {
  readonly tenantId: TenantId;
  readonly among: readonly AccountId[] | null;
}

/** Newest first, after the key `after`. */
export const listKeys = async (
  db: Queryable,
  owner: KeyOwner,
  page: { readonly after: KeyId | null; readonly limit: number },
): Promise<ApiKey[]> => {
  const { rows } = await db.query<KeyRow>({
    name: "keys_of_tenant",
    text: `select ${columns} from api_keys where tenant_id = $1 and ($2::uuid[] is null or account_ids <@ $2) and ($3::uuid is null or id < $3)
           order by id desc limit $4`,
    values: [owner.tenantId, owner.among, page.after, page.limit],
  });
  return rows.map(toKey);
};

/** False when the owner has no such key. */
export const deleteKey = async (tx: Tx, owner: KeyOwner, id: KeyId): Promise<boolean> => {
  const { rowCount } = await tx.query({
    name: "key_delete",
    text: `delete from api_keys where tenant_id = $1 and ($2::uuid[] is null or account_ids <@ $2) and id = $3`,
    values: [owner.tenantId, owner.among, id],
  });
  return rowCount === 1;
};
