/**
 * The second wall between tenants: even a statement that forgot its "where tenant_id" sees and writes nothing of others. Asked
 * of the database itself, table by table as its catalogue names them, so that no new table is missed.
 */
import { randomUUID } from "node:crypto";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { formatId, parseId, type TenantId } from "../../src/model/ids.ts";
import { type Database, openDatabase, type Transactor } from "../../src/store/database.ts";
import { migrate } from "../../src/store/migrate.ts";
import { ofTenant } from "../../src/store/tenant-role.ts";
import { createLogger } from "../../src/telemetry/log.ts";
import { accountInput, openTestApi, type TestApi } from "../support/api.ts";
import { queryOnce, withDatabase } from "../support/database-server.ts";
import { freshDatabase } from "../support/postgres.ts";
import { WrittenMail } from "../support/written-mail.ts";

let api: TestApi;
let box: WrittenMail;
let owner: TenantId;
let stranger: TenantId;
let guarded: string[];

beforeAll(async () => {
  api = await openTestApi();
  box = await WrittenMail.account(api);
  const inbox = await box.rows.mailbox("INBOX", { role: "inbox" });
  const imported = await api.request(`${box.account}/messages?mailboxId=${formatId("mbx", inbox)}`, {
    raw: new TextEncoder().encode("Message-ID: <one@example.test>\r\nSubject: one\r\n\r\nx\r\n"),
    headers: { "content-type": "message/rfc822", "idempotency-key": "once" },
  });
  expect(imported.status).toBe(201);
  await api.request("/v1/accounts", { json: accountInput() });
  await api.request("/v1/keys", { json: { name: "k", scopes: ["mail:read"] } });
  const { rows } = await api.db.query<{ id: TenantId }>({ text: `select id from tenants where name = 'default'` });
  owner = rows[0]?.id ?? ("" as TenantId);
  const other = await api.request("/v1/tenants", { json: { name: "the others" } });
  stranger = parseId<TenantId>("ten", other.body.id) ?? ("" as TenantId);
  const tables = await api.db.query<{ name: string }>({
    text: `select c.relname as name from pg_class c join pg_attribute a on a.attrelid = c.oid and not a.attisdropped
           where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
             and a.attname = case c.relname when 'tenants' then 'id' else 'tenant_id' end order by 1`,
  });
  guarded = tables.rows.map(({ name }) => name);
});
afterAll(() => api.close());

const countOf = async (db: Pick<Transactor, "query">, table: string): Promise<number> =>
  Number((await db.query<{ n: bigint }>({ text: `select count(*) as n from ${table}` })).rows[0]?.n);

/** What runs as the API's role, with no tenant set. */
const asNobody = <T>(work: (db: Pick<Transactor, "query">) => Promise<T>): Promise<T> =>
  api.db.transaction(async (tx) => {
    await tx.query({ text: "set local role samebox_api" });
    return work(tx);
  });

describe("every table that has a tenant", () => {
  test("has a policy, and the role of the API may bypass none", async () => {
    const { rows } = await api.db.query<{ name: string }>({
      text: `select c.relname as name from pg_class c join pg_policy p on p.polrelid = c.oid
             where c.relrowsecurity and p.polcmd = '*' and p.polpermissive order by 1`,
    });
    expect(rows.map(({ name }) => name)).toEqual(guarded);
    expect(guarded).toEqual(expect.arrayContaining(["accounts", "api_keys", "blobs", "changes", "messages", "tenants"]));
    const [role] = (
      await api.db.query({
        text: `select rolsuper, rolbypassrls, rolcanlogin, rolinherit from pg_roles where rolname = 'samebox_api'`,
      })
    ).rows;
    expect(role).toMatchObject({ rolsuper: false, rolbypassrls: false, rolcanlogin: false });
  });

  test("shows nothing without a tenant and nothing to another one, and all that it has to its own", async () => {
    const filled = [];
    for (const table of guarded) {
      const all = await countOf(api.db, `${table} where ${table === "tenants" ? "id" : "tenant_id"} = '${owner}'`);
      if (all > 0) filled.push(table);
      expect([table, await asNobody((db) => countOf(db, table))]).toEqual([table, 0]);
      expect([table, await countOf(ofTenant(api.db, owner), table)]).toEqual([table, all]);
      const foreign = `${table} where ${table === "tenants" ? "id" : "tenant_id"} = '${owner}'`;
      expect([table, await countOf(ofTenant(api.db, stranger), foreign)]).toEqual([table, 0]);
    }
    for (const table of [
      "accounts",
      "api_keys",
      "blobs",
      "changes",
      "data_keys",
      "endpoints",
      "idempotency_keys",
      "messages",
      "placements",
    ])
      expect(filled).toContain(table);
  });

  test("cannot be reached around its policy: by a partition, or as what belongs to nobody", async () => {
    const { rows } = await api.db.query<{ name: string }>({
      text: `select c.relname as name from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
             and not c.relrowsecurity and has_table_privilege('samebox_api', c.oid, 'select, insert, update, delete, truncate') order by 1`,
    });
    expect(rows).toEqual([{ name: "installation" }]);
  });
});

describe("what is asked for a tenant", () => {
  const denied = { code: "42501" };

  test("changes no row of another, and makes none: by insert, update or copy", async () => {
    const strangers = ofTenant(api.db, stranger);
    const insert = `insert into api_keys (id, tenant_id, name, secret_sha256, scopes) values ('${randomUUID()}', '${owner}', 'x', '\\x00', '{ops}')`;
    await expect(strangers.query({ text: insert })).rejects.toMatchObject(denied);
    for (const text of ["update accounts set name = 'mine'", "delete from api_keys", "delete from messages"])
      expect(await strangers.query({ text })).toMatchObject({ rowCount: 0 });
    const away = `update accounts set tenant_id = '${stranger}'`;
    await expect(ofTenant(api.db, owner).query({ text: away })).rejects.toMatchObject(denied);
    const octets = Buffer.from("copied");
    const copied = strangers.transaction(async (tx) => {
      const { CopyRows } = await import("../../src/store/copy-binary.ts");
      const rows = new CopyRows();
      rows.row(5).uuid(box.rows.accountId).bytes(Buffer.alloc(32)).int4(0).uuid(owner).bytes(octets);
      await tx.copy("copy blobs (account_id, sha256, part, tenant_id, data) from stdin (format binary)", rows.chunks());
    });
    await expect(copied).rejects.toMatchObject(denied);
  });

  test("leaves nothing of itself on the connection: the next one is the owner again", async () => {
    await Promise.all(Array.from({ length: 20 }, () => countOf(ofTenant(api.db, stranger), "accounts")));
    const seen = await Promise.all(
      Array.from({ length: 20 }, () =>
        api.db.query({
          text: `select current_user <> 'samebox_api' as owner, coalesce(current_setting('samebox.tenant', true), '') as tenant`,
        }),
      ),
    );
    for (const { rows } of seen) expect(rows).toEqual([{ owner: true, tenant: "" }]);
  });

  test("finds words and Message-IDs by their index, and none of another tenant's", async () => {
    await api.db.query({
      text: `insert into message_contents (account_id, message_id, tenant_id, status, search)
             select account_id, id, tenant_id, 'parsed', to_tsvector('simple', 'secret') from messages`,
    });
    const words = `select samebox_messages_with_words('${box.rows.accountId}', 'secret'::tsquery) as id`;
    const named = `select samebox_messages_named('${box.rows.accountId}', '<one@example.test>') as id`;
    for (const text of [words, named]) {
      expect((await ofTenant(api.db, owner).query({ text })).rows).toHaveLength(1);
      expect((await ofTenant(api.db, stranger).query({ text })).rows).toEqual([]);
      expect((await asNobody((db) => db.query({ text }))).rows).toEqual([]);
      expect((await api.db.query({ text })).rows).toHaveLength(1);
    }
  });

  test("is refused for what is no tenant's id, before it reaches the database", async () => {
    await expect(ofTenant(api.db, "x'; reset role; --" as TenantId).query({ text: "select 1" })).rejects.toThrow(
      "not the id of a tenant",
    );
  });
});

test("a database owner that may not make roles works without them and says so; with one that is granted it is guarded", async () => {
  await using fresh = await freshDatabase({ empty: true });
  const name = new URL(fresh.url).pathname.slice(1);
  const plain = `plain_${name}`;
  const admin = (text: string): Promise<unknown> => queryOnce(withDatabase(fresh.url, "postgres"), text);
  await admin(`create role ${plain} login nosuperuser nocreaterole nocreatedb`);
  await admin(`alter database ${name} owner to ${plain}`);
  const url = new URL(fresh.url);
  url.username = plain;
  const log: string[] = [];
  const logger = createLogger({ level: "warn", destination: { write: (line) => void log.push(line) } });
  const seesAs = async (tenant: TenantId): Promise<number> => {
    const db: Database = openDatabase({ url: url.href, max: 1, log: logger });
    try {
      return await countOf(ofTenant(db, tenant), "tenants");
    } finally {
      await db.close();
    }
  };
  try {
    await migrate(url.href, logger);
    expect(log.join("")).toContain("row-level security is off");
    expect(await seesAs(randomUUID() as TenantId)).toBe(1);
    await admin(`grant samebox_api to ${plain}`);
    log.length = 0;
    await migrate(url.href, logger);
    expect(log).toEqual([]);
    expect(await seesAs(randomUUID() as TenantId)).toBe(0);
  } finally {
    const client = new pg.Client({ connectionString: fresh.url });
    await client.connect();
    await client.query(`drop owned by ${plain} cascade`);
    await client.end();
    await admin(`alter database ${name} owner to samebox`);
    await admin(`drop role ${plain}`);
  }
});
