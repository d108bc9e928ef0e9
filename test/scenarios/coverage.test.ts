/** What can be said of mail that nobody saw, and how long the rest took until it was durable. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { forever, openDovecot } from "../endpoints/pop3/connection-fixture.ts";
import { changesOf } from "../support/account-view.ts";
import { dumpCanonical } from "../support/canonical-dump.ts";
import { type Daemon, dovecotAccount, liveAccount, startDaemon } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { mailOf, pop3Account } from "../support/pop3-account.ts";
import { freshDatabase } from "../support/postgres.ts";

let server: Dovecot;

const mail = (subject: string): Buffer =>
  Buffer.from(`Subject: ${subject}\r\nMessage-ID: <${subject}@coverage.test>\r\n\r\nbody of ${subject}\r\n`);

beforeAll(async () => {
  server = await startDovecot({ users: 4 });
});

afterAll(async () => {
  await server.stop();
});

const run = (url: string, env: Record<string, string> = {}, dying = false): Promise<Daemon> =>
  startDaemon({ dying, env: { DATABASE_URL: url, SAMEBOX_LEASE_SECONDS: "2", SAMEBOX_POLL_SECONDS: "1", ...env } });

const deliver = (n: number, ...subjects: readonly string[]): Promise<number> =>
  server.deliver({ user: server.account(n).user, mailbox: "INBOX", messages: subjects.map(mail) });

/** A POP3 device takes the messages with these numbers. */
const take = async (n: number, ...numbers: readonly number[]): Promise<void> => {
  const connection = await openDovecot(server, n);
  for (const number of numbers) await connection.dele(number, forever);
  expect(await connection.quit(forever)).toBe(true);
};

/** One placement went and two came. */
const settled = (url: string): Promise<unknown> =>
  eventually(
    "all is read, and what was removed is missed",
    async () => {
      const { placements } = await dumpCanonical(url);
      expect(placements.filter((line) => line.includes(" live f f "))).toHaveLength(4);
      expect(placements.filter((line) => line.endsWith(" removed f f"))).toHaveLength(1);
      return true;
    },
    { timeoutMs: 40_000 },
  );

const metric = async (daemon: Daemon, pattern: RegExp): Promise<number> => {
  const { body } = await daemon.call<{ text: string }>("GET", "/metrics");
  return Number(pattern.exec(body.text)?.[1] ?? 0);
};

describe("mail that came and went between two looks", () => {
  it("S05: is counted once, whenever the daemon is killed (V20)", { timeout: 900_000 }, async () => {
    await using fresh = await freshDatabase();
    await deliver(1, "old 1", "old 2");
    let accountId = "";
    {
      await using daemon = await run(fresh.url);
      accountId = await liveAccount(daemon, dovecotAccount(server, 1));
      await deliver(1, "seen");
      await eventually("it is there", async () => (await mailOf(daemon, accountId)).length === 3);
    }
    await deliver(1, "gone 1", "stays 1", "gone 2", "stays 2", "gone 3");
    await take(1, 1, 4, 6, 8);
    let step = 1;
    for (let over = false; !over; step += 1) {
      await using victim = await run(fresh.url, { SAMEBOX_FAILPOINT: String(step) }, true);
      const through = settled(fresh.url).then(
        () => true,
        () => false,
      );
      over = await Promise.race([victim.exited.then(() => false), through]);
    }
    await using daemon = await run(fresh.url);
    const gaps = (await changesOf(daemon, accountId)).filter(({ kind }) => kind === "coverage.gap");
    expect(gaps.map(({ rule }) => rule)).toEqual(gaps.map(() => "V20"));
    expect(gaps.reduce((sum, { after }) => sum + Number(after?.["count"]), 0)).toBe(3);
    expect(step).toBeGreaterThan(3);
  });

  it("is not made up where all of it was seen, or removed after it was", { timeout: 180_000 }, async () => {
    await using fresh = await freshDatabase();
    await using daemon = await run(fresh.url);
    await deliver(2, "a", "b");
    const accountId = await liveAccount(daemon, dovecotAccount(server, 2));
    await deliver(2, "c", "d");
    await eventually("all are there", async () => (await mailOf(daemon, accountId)).length === 4);
    await take(2, 4);
    await eventually("one is gone", async () => (await mailOf(daemon, accountId)).length === 3);
    await deliver(2, "e");
    await eventually("the last is there", async () => (await mailOf(daemon, accountId)).length === 4);
    expect((await changesOf(daemon, accountId)).map(({ kind }) => kind)).not.toContain("coverage.gap");
  });
});

describe("the time until mail is durable", () => {
  it("is measured for what is news, over both protocols, and not for a first reading", { timeout: 270_000 }, async () => {
    await using fresh = await freshDatabase();
    await using daemon = await run(fresh.url);
    const measured = (proto: string, what: string): Promise<number> =>
      metric(daemon, new RegExp(`^samebox_time_to_durable_seconds_${what}\\{proto="${proto}"\\} ([\\d.e-]+)$`, "m"));
    await deliver(3, "before");
    await deliver(4, "before");
    const overImap = await liveAccount(daemon, dovecotAccount(server, 3));
    const overPop3 = await liveAccount(daemon, pop3Account(server, 4));
    expect([await measured("imap", "count"), await measured("pop3", "count")]).toEqual([0, 0]);
    const began = Date.now();
    await deliver(3, "news 1", "news 2");
    await deliver(4, "news 1");
    // Put there with a date of long ago: it came now.
    await using device = await server.device(3);
    await device.append("INBOX", { raw: mail("dated"), internalDate: new Date("2001-01-01T00:00:00Z") });
    await eventually(
      "all are there",
      async () => {
        expect([(await mailOf(daemon, overImap)).length, (await mailOf(daemon, overPop3)).length]).toEqual([4, 2]);
        return true;
      },
      { timeoutMs: 30_000 },
    );
    const most = (Date.now() - began) / 1000 + 1;
    expect([await measured("imap", "count"), await measured("pop3", "count")]).toEqual([3, 1]);
    expect(await measured("imap", "sum")).toBeGreaterThan(0);
    expect(await measured("imap", "sum")).toBeLessThan(3 * most);
    expect(await measured("pop3", "sum")).toBeLessThan(most);
  });
});
