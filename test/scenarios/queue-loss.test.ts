/** The queue may lose everything and daemons may die or sleep: it costs time and nothing else. */
import { Redis as RedisClient } from "ioredis";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { messagesOf } from "../support/account-view.ts";
import { type CanonicalDump, dumpCanonical } from "../support/canonical-dump.ts";
import { type Daemon, dovecotAccount, liveAccount, startDaemon, waitLive } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { startFaultProxy } from "../support/fault-proxy.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";
import { startRedis } from "../support/redis.ts";

const count = 3000;
let server: Dovecot;
let golden: CanonicalDump;

const mail = (subject: string): Buffer =>
  Buffer.from(`Subject: ${subject}\r\nMessage-ID: <${subject}@loss.test>\r\n\r\nbody of ${subject}\r\n`);

const run = (fresh: FreshDatabase, env: Record<string, string> = {}): Promise<Daemon> =>
  startDaemon({ env: { DATABASE_URL: fresh.url, SAMEBOX_POLL_SECONDS: "1", SAMEBOX_LEASE_SECONDS: "3", ...env } });

beforeAll(async () => {
  server = await startDovecot({ users: 20 });
  await server.deliver({
    user: "user1",
    mailbox: "INBOX",
    messages: Array.from({ length: count }, (_, at) => mail(`m${at}`)),
  });
  await using fresh = await freshDatabase();
  await using daemon = await run(fresh);
  await liveAccount(daemon, dovecotAccount(server, 1));
  golden = await dumpCanonical(fresh.url);
  expect(golden.placements).toHaveLength(count);
});

afterAll(() => server.stop());

/** A first reading over a slow line, disturbed when part of it is stored. */
const disturbed = async (fresh: FreshDatabase, daemon: Daemon, disturb: (accountId: string) => Promise<void>): Promise<void> => {
  await using proxy = await startFaultProxy({
    port: server.imapPort,
    faults: { toClient: { drip: { bytes: 6000, everyMs: 50 } } },
  });
  const created = await daemon.call<{ id: string }>("POST", "/v1/accounts", dovecotAccount(server, 1, { port: proxy.port }));
  const { id } = created.body;
  await eventually("a part is stored", async () => (await dumpCanonical(fresh.url)).placements.length > 0);
  expect((await dumpCanonical(fresh.url)).placements.length).toBeLessThan(count);
  await disturb(id);
  proxy.change({});
  await waitLive(daemon, id, 90_000);
  expect(await dumpCanonical(fresh.url)).toEqual(golden);
};

const terminate = async (fresh: FreshDatabase): Promise<number> => {
  const client = new pg.Client({ connectionString: fresh.url });
  await client.connect();
  const { rowCount } = await client.query(
    "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
  );
  await client.end();
  return rowCount ?? 0;
};

describe("a first reading", () => {
  it("outlives a Redis that forgets everything", { timeout: 360_000 }, async () => {
    await using redis = await startRedis();
    await using fresh = await freshDatabase();
    await using daemon = await run(fresh, { REDIS_URL: redis.url });
    await disturbed(fresh, daemon, async () => {
      const client = new RedisClient(redis.url);
      expect(await client.dbsize()).toBeGreaterThan(0);
      await client.flushall();
      await client.quit();
    });
  });

  it("outlives a Redis that is away for a while", { timeout: 360_000 }, async () => {
    await using redis = await startRedis();
    await using fresh = await freshDatabase();
    await using daemon = await run(fresh, { REDIS_URL: redis.url });
    await disturbed(fresh, daemon, async () => {
      await redis.restart();
    });
  });

  it("outlives a database that ends every connection, its queue's too", { timeout: 360_000 }, async () => {
    await using fresh = await freshDatabase();
    await using daemon = await run(fresh);
    await disturbed(fresh, daemon, async () => {
      expect(await terminate(fresh)).toBeGreaterThan(0);
    });
    expect(daemon.running).toBe(true);
  });
});

/** How many shards each daemon owns. */
const owners = async (daemon: Daemon): Promise<Map<string | null, number>> => {
  const { body } = await daemon.call<{ shards: { owner: string | null }[] }>("GET", "/v1/status");
  const counts = new Map<string | null, number>();
  for (const { owner } of body.shards) counts.set(owner, (counts.get(owner) ?? 0) + 1);
  return counts;
};

/** Accounts that a daemon keeps live, by its own word. */
const lanesOf = async (daemon: Daemon, state = "live"): Promise<number> => {
  const { body } = await daemon.call<{ text: string }>("GET", "/metrics");
  return Number(new RegExp(`^samebox_accounts\\{state="${state}"\\} (\\d+)$`, "m").exec(body.text)?.[1] ?? 0);
};

describe("two daemons on one database", () => {
  const accounts = 8;
  interface Mail {
    readonly ids: readonly string[];
    readonly users: readonly number[];
  }
  const begin = async (fresh: FreshDatabase, from: number) => {
    const first = await run(fresh, { SAMEBOX_SHARDS: "8" });
    const second = await run(fresh);
    const ids: string[] = [];
    const users = Array.from({ length: accounts }, (_, at) => from + at);
    for (const n of users) ids.push(await liveAccount(first, dovecotAccount(server, n)));
    await eventually("each owns one half", async () => {
      const shares = [...(await owners(first)).values()];
      return shares.length === 2 && shares.every((share) => share === 4);
    });
    return { first, second, mail: { ids, users } };
  };

  const delivered = async (daemon: Daemon, { ids, users }: Mail, subject: string, timeoutMs: number): Promise<void> => {
    for (const n of users) {
      await using device = await server.device(n);
      await device.append("INBOX", mail(subject));
    }
    for (const id of ids)
      await eventually(`${subject} in ${id}`, async () => (await messagesOf(daemon, id)).has(subject), { timeoutMs });
  };

  it("look after each account once, and one takes over when the other is killed", { timeout: 360_000 }, async () => {
    await using fresh = await freshDatabase();
    const { first, second, mail: all } = await begin(fresh, 2);
    await using survivor = second;
    await delivered(survivor, all, "both alive", 10_000);
    await eventually("each account is in one lane", async () => (await lanesOf(first)) + (await lanesOf(survivor)) === accounts);
    first.kill("SIGKILL");
    await first.exited;
    await delivered(survivor, all, "one killed", 12_000);
    expect([...(await owners(survivor)).values()]).toEqual([8]);
    await dumpCanonical(fresh.url);
  });

  it("S115: do not both write when one sleeps past its lease", { timeout: 360_000 }, async () => {
    await using fresh = await freshDatabase();
    const { first, second, mail: all } = await begin(fresh, 10);
    await using sleeper = first;
    await using awake = second;
    sleeper.kill("SIGSTOP");
    await delivered(awake, all, "one asleep", 15_000);
    sleeper.kill("SIGCONT");
    await delivered(awake, all, "awake again", 15_000);
    await eventually(
      "each owns one half again",
      async () => {
        expect([...(await owners(awake)).values()]).toEqual([4, 4]);
        return true;
      },
      { timeoutMs: 20_000 },
    );
    await delivered(awake, all, "shared again", 15_000);
    const dump = await dumpCanonical(fresh.url);
    const created = dump.changes.filter((line) => line.startsWith("message.created"));
    expect(created).toHaveLength(3 * accounts);
    expect(dump.placements).toHaveLength(3 * accounts);
  });

  it("do not store twice when one sleeps past its lease in the middle of a first reading", { timeout: 360_000 }, async () => {
    await using fresh = await freshDatabase();
    await using first = await run(fresh, { SAMEBOX_SHARDS: "8" });
    await using second = await run(fresh);
    await disturbed(fresh, second, async () => {
      const sleeper = await eventually("one of them reads", async () => {
        for (const daemon of [first, second])
          if ((await lanesOf(daemon, "backfilling")) + (await lanesOf(daemon, "connecting")) > 0) return daemon;
        return undefined;
      });
      sleeper.kill("SIGSTOP");
      const awake = sleeper === first ? second : first;
      await eventually("the other one took over", async () => [...(await owners(awake)).values()].join() === "8", {
        timeoutMs: 15_000,
      });
      sleeper.kill("SIGCONT");
    });
    expect(await dumpCanonical(fresh.url)).toEqual(golden);
  });
});
