import { afterAll, beforeAll, expect, test } from "vitest";
import { type Database, openDatabase } from "../../src/store/database.ts";
import { registry } from "../../src/telemetry/metrics.ts";
import { freePorts } from "../support/ports.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";
import { quietLog } from "../support/shard-owner.ts";

let fresh: FreshDatabase;
let db: Database;

beforeAll(async () => {
  fresh = await freshDatabase();
  db = openDatabase({ url: fresh.url, log: quietLog });
});
afterAll(async () => {
  await db.close();
  await fresh.drop();
});

const counted = async (): Promise<Record<string, number>> => {
  const { values = [] } = (await registry.getSingleMetric("samebox_db_errors_total")?.get()) ?? {};
  return Object.fromEntries(values.map(({ labels, value }) => [String(labels["class"]), value]));
};

test("what PostgreSQL refuses is counted by its class, in a transaction and out of one", async () => {
  const before = (await counted())["42"] ?? 0;
  await expect(db.query({ text: "select no_such_column" })).rejects.toThrow(/no_such_column/);
  await expect(db.transaction((tx) => tx.query({ text: "select no_such_column" }))).rejects.toThrow(/no_such_column/);
  expect((await counted())["42"]).toBe(before + 2);
});

test("what the caller throws within a transaction is no error of the database, whatever code it has", async () => {
  const before = await counted();
  const thrown = [
    new Error("no"),
    Object.assign(new Error("no"), { code: "conflict" }),
    Object.assign(new Error("no"), { code: "23505" }),
  ];
  for (const error of thrown) await expect(db.transaction(() => Promise.reject(error))).rejects.toBe(error);
  expect(await counted()).toEqual(before);
});

test("a server that is out of reach is counted as a connection", async () => {
  const [port = 0] = await freePorts(1);
  const nowhere = openDatabase({ url: `postgresql://nobody@127.0.0.1:${port}/nowhere`, log: quietLog });
  const before = (await counted())["connection"] ?? 0;
  await expect(nowhere.query({ text: "select 1" })).rejects.toThrow();
  await expect(nowhere.transaction((tx) => tx.query({ text: "select 1" }))).rejects.toThrow();
  expect((await counted())["connection"]).toBe(before + 2);
  await nowhere.close();
});
