/**
 * Row-level security. What is asked for a tenant runs as the role `samebox_api`, which owns nothing and may bypass nothing,
 * with the tenant's id set for the transaction: PostgreSQL shows it no other tenant's rows, and none at all when no tenant
 * is set. The policies stand in the migrations; the role belongs to the server and not to the database, so it is made at start.
 */
import type pg from "pg";
import type { TenantId } from "../model/ids.ts";
import type { Logger } from "../telemetry/log.ts";
import type { Database, Queryable, Transactor, Tx } from "./database.ts";

const role = "samebox_api";

/** May this connection act as the role? From PostgreSQL 16 on, being a member is not enough. */
const mayActAs = `select coalesce(bool_or(pg_has_role(current_user, oid,
    case when current_setting('server_version_num')::int >= 160000 then 'SET' else 'MEMBER' end)), false) as may
  from pg_roles where rolname = '${role}'`;

/** On tables, not on their partitions: what names a partition goes around the policy. */
const grants = `do $$
declare
  guarded record;
begin
  revoke update, delete, truncate on audit_log from ${role};
  execute format('grant usage on schema %I to ${role}', current_schema());
  for guarded in select oid::regclass as name, relname from pg_class
    where relnamespace = current_schema()::regnamespace and relkind in ('r', 'p') and not relispartition and relrowsecurity
  loop
    execute format('grant %s on %s to ${role}',
      case guarded.relname when 'audit_log' then 'select, insert' else 'select, insert, update, delete' end, guarded.name);
  end loop;
  grant select on installation to ${role};
end
$$`;

/** A role that was there may be anything. @throws Error in plain words when row-level security does not hold for it. */
const checkRole = async (client: pg.Client, log: Logger): Promise<void> => {
  const { rows } = await client.query<{ bypasses: boolean; logs_in: boolean }>(
    `select rolsuper or rolbypassrls as bypasses, rolcanlogin as logs_in from pg_roles where rolname = '${role}'`,
  );
  if (rows[0]?.bypasses === true)
    throw new Error(
      `The PostgreSQL role ${role} goes around row-level security. Let an administrator run: alter role ${role} nosuperuser nobypassrls nologin`,
    );
  if (rows[0]?.logs_in === true)
    log.error(
      { role },
      "the role may log in and then read every tenant: let an administrator run `alter role samebox_api nologin`",
    );
};

/** Codes of what another owner's server may refuse (insufficient_privilege), and of a race with another database's start. */
const refused = "42501";
const madeMeanwhile = new Set(["42710", "23505"]);

const codeOf = (error: unknown): unknown => (error instanceof Error && "code" in error ? error.code : undefined);

/**
 * Makes the role where this owner may, and gives it what it needs in this database. An owner that may not make roles works
 * without it: every statement names its tenant all the same, but nothing stands behind them then, and the log says so.
 * @throws Error in plain words when the role was made otherwise and may go around the policies.
 */
export const ensureTenantRole = async (client: pg.Client, log: Logger): Promise<void> => {
  const may = async (): Promise<boolean> => (await client.query<{ may: boolean }>(mayActAs)).rows[0]?.may === true;
  if (!(await may()))
    try {
      await client.query(`create role ${role} nologin nobypassrls`).catch((error: unknown) => {
        if (!madeMeanwhile.has(String(codeOf(error)))) throw error;
      });
      if (!(await may())) await client.query(`grant ${role} to current_user`);
    } catch (error) {
      if (codeOf(error) !== refused) throw error;
      log.warn(
        { role },
        "row-level security is off: this database user may not make the role; let an administrator create it (nologin) and grant it to this user",
      );
      return;
    }
  await checkRole(client, log);
  await client.query(grants);
};

/** One statement, so that it costs one round trip. @throws Error for what is no id: it could be anything. */
const beginAsTenant = (tenantId: TenantId, asRole: boolean): string => {
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(tenantId)) throw new Error("not the id of a tenant");
  return `begin; ${asRole ? `set local role ${role}; ` : ""}set local samebox.tenant = '${tenantId}'`;
};

const copyPattern = /^copy (\w+) \(([^)]+)\)\s+from stdin \(format binary\)$/;

/**
 * A transaction under row-level security. PostgreSQL checks no copied rows (COPY FROM is refused where a policy holds), so
 * they go through a table of the connection's own. Plans depend on the role: the prepared statements have names of their own.
 */
const guardTx = (tx: Tx): Tx => {
  const query: Queryable["query"] = ({ name, ...statement }) =>
    tx.query({ ...statement, ...(name !== undefined && { name: `tenant_${name}` }) });
  const copy: Tx["copy"] = async (text, chunks) => {
    const [, table, columns] = copyPattern.exec(text) ?? [];
    if (table === undefined || columns === undefined) throw new Error(`cannot be copied for a tenant: ${text}`);
    const staging = `copied_${table}`;
    // Asked for together, so that nothing of this transaction comes in between.
    const steps = [
      tx.query({ text: `create temp table if not exists ${staging} (like ${table} including defaults) on commit delete rows` }),
      tx.copy(`copy ${staging} (${columns}) from stdin (format binary)`, chunks),
      tx.query({
        text: `with copied as (delete from ${staging} returning ${columns}) insert into ${table} (${columns}) select ${columns} from copied`,
      }),
    ];
    await Promise.all(steps);
  };
  return { query, copy } as Tx;
};

/** Whether the owner of these connections has the role, asked once. */
const answers = new WeakMap<Database, Promise<boolean>>();

const hasRole = (db: Database): Promise<boolean> => {
  const known = answers.get(db);
  if (known !== undefined) return known;
  const asked = db.query<{ may: boolean }>({ text: mayActAs }).then(({ rows }) => rows[0]?.may === true);
  answers.set(db, asked);
  asked.catch(() => answers.delete(db));
  return asked;
};

/** The database as one tenant sees it, whatever it is asked. */
export const ofTenant = (db: Database, tenantId: TenantId): Transactor => {
  const transaction: Transactor["transaction"] = async (work) =>
    db.transactionFrom(beginAsTenant(tenantId, await hasRole(db)), (tx) => work(guardTx(tx)));
  return { transaction, query: (statement) => transaction((tx) => tx.query(statement)) };
};
