import { afterAll, beforeAll, expect, test } from "vitest";
import { openChangeListener } from "../../src/store/change-listener.ts";
import { type Database, openDatabase } from "../../src/store/database.ts";
import { createLogger } from "../../src/telemetry/log.ts";
import { eventually } from "../support/eventually.ts";
import { MailRows } from "../support/mail-rows.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";

const log = createLogger({ level: "silent" });
let fresh: FreshDatabase;
let db: Database;

beforeAll(async () => {
  fresh = await freshDatabase();
  db = openDatabase({ url: fresh.url, log });
});

afterAll(async () => {
  await db.close();
  await fresh.drop();
});

/** A subscriber that can be waited for. */
const counter = () => {
  let count = 0;
  return {
    wake: (): void => void (count += 1),
    reached: (n: number) => eventually(`woken ${n} times`, () => count >= n, { everyMs: 1 }),
    get count() {
      return count;
    },
  };
};

const cutConnections = () =>
  db.query({
    text: `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'samebox changes'`,
  });

test("a commit wakes the followers of its account, and nobody else", async () => {
  const [mine, other] = [await MailRows.account(db), await MailRows.account(db)];
  const listener = openChangeListener({ url: fresh.url, log });
  await listener.listening;
  const [a, b, c] = [counter(), counter(), counter()];
  const leave = listener.subscribe(mine.accountId, a.wake);
  listener.subscribe(mine.accountId, b.wake);
  listener.subscribe(other.accountId, c.wake);
  await mine.change();
  await Promise.all([a.reached(1), b.reached(1)]);
  leave();
  leave();
  await mine.change();
  await b.reached(2);
  expect([a.count, b.count, c.count]).toEqual([1, 2, 0]);
  await listener.close();
});

test("after a lost connection everybody is woken, and later commits are heard again", async () => {
  const rows = await MailRows.account(db);
  const listener = openChangeListener({ url: fresh.url, log });
  await listener.listening;
  const follower = counter();
  listener.subscribe(rows.accountId, follower.wake);
  // What commits while nobody listens is never notified.
  await cutConnections();
  await rows.change();
  await follower.reached(1);
  const before = follower.count;
  await rows.change();
  await follower.reached(before + 1);
  await listener.close();
});

test("a database that is away at first is waited for", async () => {
  const away = new URL(fresh.url);
  away.pathname = "/not_there_yet";
  const listener = openChangeListener({ url: away.href, log });
  let listening = false;
  void listener.listening.then(() => (listening = true));
  await db.query({ text: `create database not_there_yet` });
  await eventually("it listens", () => listening);
  await listener.close();
  await db.query({ text: `drop database not_there_yet` });
});

test("closing is harmless twice, before it listened, and ends the waiting", async () => {
  const nowhere = openChangeListener({ url: "postgresql://127.0.0.1:1/nowhere", log });
  await Promise.all([nowhere.close(), nowhere.close()]);
  await expect(nowhere.listening).rejects.toThrow("closed");
  const listener = openChangeListener({ url: fresh.url, log });
  await listener.listening;
  await listener.close();
  await listener.close();
});
