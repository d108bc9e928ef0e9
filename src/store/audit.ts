/**
 * What was done over the API, and by whom: one row for each write, in the transaction of its effect, and one for each that was
 * refused. Rows are only ever added; the role of the API may do nothing else (tenant-role.ts). They hold ids, never contents.
 */
import { uuidv7 } from "uuidv7";
import type { AccountId, KeyId, TenantId } from "../model/ids.ts";
import type { Database, Queryable } from "./database.ts";

export interface AuditEntry {
  readonly tenantId: TenantId;
  /** null: the operator's key. */
  readonly keyId: KeyId | null;
  readonly method: string;
  /** The route's pattern. */
  readonly route: string;
  readonly accountId: AccountId | null;
  /** Ids in the path, by the names of the pattern. */
  readonly objects: Readonly<Record<string, string>>;
  /** What the request set, each with a digest of its value; null where it holds a secret. */
  readonly fields: Readonly<Record<string, string | null>>;
  readonly status: number;
  readonly address: string;
  readonly requestId: string;
}

export interface AuditRow extends AuditEntry {
  readonly id: string;
  readonly at: Date;
}

export const noteAction = async (db: Queryable, entry: AuditEntry): Promise<void> => {
  await db.query({
    name: "audit_note",
    text: `insert into audit_log (id, tenant_id, key_id, method, route, account_id, objects, fields, status, address, request_id)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
    values: [
      uuidv7(),
      entry.tenantId,
      entry.keyId,
      entry.method,
      entry.route,
      entry.accountId,
      JSON.stringify(entry.objects),
      JSON.stringify(entry.fields),
      entry.status,
      entry.address,
      entry.requestId,
    ],
  });
};

/** Newest first, before the entry `after`; `among`: only about these accounts, null: about everything of the tenant. */
export const listActions = async (
  db: Queryable,
  part: { readonly tenantId: TenantId; readonly among: readonly AccountId[] | null },
  page: { readonly after: string | null; readonly limit: number },
): Promise<AuditRow[]> => {
  const { rows } = await db.query<AuditRow>({
    name: "audit_page",
    text: `select id, at, tenant_id as "tenantId", key_id as "keyId", method, route, account_id as "accountId", objects, fields, status, address,
             request_id as "requestId"
           from audit_log where tenant_id = $1 and ($2::uuid[] is null or account_id = any($2)) and ($3::uuid is null or id < $3)
           order by id desc limit $4`,
    values: [part.tenantId, part.among, page.after, page.limit],
  });
  return rows;
};

/** Forgets what is older than `days`; at most 10,000 rows a call. */
export const forgetActions = async (db: Database, days: number): Promise<void> => {
  await db.query({
    name: "audit_forget",
    text: `delete from audit_log where id in (select id from audit_log where at < now() - make_interval(days => $1) order by at limit 10000)`,
    values: [days],
  });
};
