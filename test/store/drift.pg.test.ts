/**
 * The migrations are the truth, and prisma/schema.prisma is a copy that a generator reads; here the two are compared, by
 * Prisma's own engine. What its language cannot say is out of its sight: partitions and storage are asked for by SQL; of
 * checks, partial and expression indexes it is the names that are compared, not what stands in them.
 */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { migrationsDir } from "../../src/store/migrate.ts";
import { queryOnce } from "../support/database-server.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";
import { compareWithSchema } from "../support/schema-engine.ts";

const schemaFile = fileURLToPath(new URL("../../prisma/schema.prisma", import.meta.url));

let fresh: FreshDatabase;
beforeAll(async () => {
  fresh = await freshDatabase();
});
afterAll(() => fresh.drop());

const run = <Row extends Readonly<Record<string, unknown>>>(sql: string): Promise<Row[]> => queryOnce<Row>(fresh.url, sql);

describe("the migrated database and the Prisma schema", () => {
  test("are the same", async () => {
    expect(await compareWithSchema(fresh.url, schemaFile)).toMatchObject({ isEmpty: true });
  });

  test.each([
    [
      "a column too many",
      "alter table placements add column planted text",
      "planted",
      "alter table placements drop column planted",
    ],
    [
      "a column that may be null",
      "alter table messages alter column size drop not null",
      '"size" SET NOT NULL',
      "alter table messages alter column size set not null",
    ],
    [
      "another type",
      "alter table processes alter column host type varchar(9)",
      '"host" SET DATA TYPE TEXT',
      "alter table processes alter column host type text",
    ],
    [
      "an index missing",
      "drop index placements_of_message",
      "placements_of_message",
      "create index placements_of_message on placements (account_id, message_id)",
    ],
    ["a table too many", "create table planted (id int primary key)", 'DROP TABLE "planted"', "drop table planted"],
  ])("are seen to differ by %s", async (_name, plant, sign, remove) => {
    await run(plant);
    try {
      const { isEmpty, sql } = await compareWithSchema(fresh.url, schemaFile);
      expect(isEmpty).toBe(false);
      expect(sql).toContain(sign);
    } finally {
      await run(remove);
    }
  });

  test("are the same again when all that is mended", async () => {
    expect(await compareWithSchema(fresh.url, schemaFile)).toMatchObject({ isEmpty: true });
  });
});

/** Names that a migration gives to rules and indexes, in the order of the migrations; a name dropped again is out. */
const namesInMigrations = async (): Promise<string[]> => {
  const names = new Set<string>();
  const folders = (await readdir(migrationsDir, { withFileTypes: true })).filter((entry) => entry.isDirectory());
  for (const { name } of folders.toSorted((one, other) => (one.name < other.name ? -1 : 1))) {
    const sql = (await readFile(join(migrationsDir, name, "migration.sql"), "utf8")).replaceAll(/--.*$/gm, "");
    const words =
      /\b(?:(drop)\s+(?:constraint|index)(?:\s+if\s+exists)?|constraint|create\s+(?:unique\s+)?index(?:\s+if\s+not\s+exists)?)\s+(\w+)/gi;
    for (const [, dropped, rule = ""] of sql.matchAll(words))
      if (dropped === undefined) names.add(rule);
      else names.delete(rule);
  }
  return [...names].toSorted();
};

/** Rules and indexes of our tables, without those of single partitions and without NOT NULL, which columns say. */
const namesInDatabase = async (): Promise<string[]> => {
  const rows = await run<{ name: string }>(
    `select c.conname as name from pg_constraint c join pg_class t on t.oid = c.conrelid
      where t.relnamespace = 'public'::regnamespace and not t.relispartition and c.contype <> 'n'
     union
     select i.relname from pg_index x join pg_class i on i.oid = x.indexrelid join pg_class t on t.oid = x.indrelid
      where t.relnamespace = 'public'::regnamespace and not t.relispartition`,
  );
  return rows.map(({ name }) => name).toSorted();
};

describe("what Prisma's language cannot say", () => {
  /** Keys of one column, which PostgreSQL names by itself. */
  const unnamed = [
    "_prisma_migrations_pkey",
    "api_keys_pkey",
    "installation_pkey",
    "processes_pkey",
    "shards_pkey",
    "tenants_pkey",
  ];

  test("is in the database under the names that the migrations give, and nothing else is", async () => {
    expect(await namesInDatabase()).toEqual([...(await namesInMigrations()), ...unnamed].toSorted());
  });

  test("every table of accounts has all its 16 partitions, and octets are stored as they are", async () => {
    const partitions = await run<{ name: string; count: number; strategy: string }>(
      `select t.relname as name, p.partstrat as strategy, (select count(*)::int from pg_inherits where inhparent = t.oid) as count
         from pg_partitioned_table p join pg_class t on t.oid = p.partrelid order by 1`,
    );
    expect(partitions.map(({ name }) => name)).toEqual(
      expect.arrayContaining(["accounts", "bindings", "blobs", "changes", "endpoints", "messages", "placements"]),
    );
    for (const one of partitions) expect(one).toEqual({ name: one.name, count: 16, strategy: "h" });
    const [storage] = await run<{ kinds: string }>(
      `select string_agg(distinct a.attstorage::text, ',') as kinds from pg_attribute a join pg_class t on t.oid = a.attrelid
        where t.relname ~ '^blobs(_p[0-9]+)?$' and a.attname = 'data'`,
    );
    expect(storage?.kinds).toBe("e");
  });
});
