import { afterAll, beforeAll, expect, it } from "vitest";
import { CopyRows } from "../../src/store/copy-binary.ts";
import { type Database, openDatabase } from "../../src/store/database.ts";
import { createLogger } from "../../src/telemetry/log.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";

let fresh: FreshDatabase;
let db: Database;

beforeAll(async () => {
  fresh = await freshDatabase();
  db = openDatabase({ url: fresh.url, max: 1, log: createLogger({ level: "silent" }) });
  await db.query({ text: "create table one (n bigint primary key, data bytea)" });
  await db.query({ text: "create table two (n bigint primary key, data bytea)" });
});

afterAll(async () => {
  await db.close();
  await fresh.drop();
});

const into = (table: string): string => `copy ${table} (n, data) from stdin (format binary)`;

const rows = (numbers: readonly number[], bytes = 3): Buffer[] => {
  const made = new CopyRows();
  for (const n of numbers) made.row(2).int8(n).bytes(Buffer.alloc(bytes, n));
  return made.chunks();
};

const held = async (): Promise<string[]> => {
  const { rows: found } = await db.query<{ line: string }>({
    text: "select concat('one ', n, ' ', length(data)) as line from one union all select concat('two ', n, ' ', length(data)) from two order by 1",
  });
  return found.map(({ line }) => line);
};

it("copies asked for one behind the other all arrive, in their order among other statements", async () => {
  const counted = await db.transaction(async (tx) => {
    const first = tx.copy(into("one"), rows([1, 2]));
    const second = tx.copy(into("two"), rows([3]));
    const between = tx.query<{ n: string }>({ text: "select (select count(*) from one) + (select count(*) from two) as n" });
    const third = tx.copy(into("two"), rows([4]));
    await Promise.all([first, second, third]);
    return (await between).rows[0]?.n;
  });
  expect(Number(counted)).toBe(3);
  expect(await held()).toEqual(["one 1 3", "one 2 3", "two 3 3", "two 4 3"]);
});

it("one that is refused takes the whole transaction with it, and the connection goes on", async () => {
  const before = await held();
  const refused = db.transaction(async (tx) => {
    await Promise.all([tx.copy(into("one"), rows([10])), tx.copy(into("two"), rows([3])), tx.copy(into("one"), rows([11]))]);
  });
  await expect(refused).rejects.toMatchObject({ code: "23505" });
  expect(await held()).toEqual(before);
  await db.transaction((tx) => tx.copy(into("one"), rows([10])));
  expect(await held()).toContain("one 10 3");
});

it("rows larger than any socket's buffer arrive whole", async () => {
  await db.transaction(async (tx) => {
    await Promise.all([tx.copy(into("one"), rows([20, 21, 22], 8_000_000)), tx.copy(into("two"), rows([20], 8_000_000))]);
  });
  expect((await held()).filter((line) => line.endsWith(" 8000000"))).toEqual([
    "one 20 8000000",
    "one 21 8000000",
    "one 22 8000000",
    "two 20 8000000",
  ]);
});
