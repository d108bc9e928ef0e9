import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type CanonicalDump, copyDatabase, dumpCanonical, markWrites, rowsWrittenSince } from "../support/canonical-dump.ts";
import { type Daemon, dovecotAccount, liveAccount, startDaemon, waitLive } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";

/** Steps a run may have at most before the test gives up looking for its end. */
const mostSteps = 200;

let server: Dovecot;

const mail = (from: number, count: number): Buffer[] =>
  Array.from({ length: count }, (_, at) =>
    Buffer.from(`Subject: ${from + at}\r\nMessage-ID: <${from + at}@crash.test>\r\n\r\nbody of ${from + at}\r\n`),
  );

beforeAll(async () => {
  server = await startDovecot({ users: 1 });
  const { user } = server.account(1);
  await server.deliver({ user, mailbox: "INBOX", messages: mail(0, 700) });
  await server.deliver({ user, mailbox: "Work", messages: mail(1000, 30) });
  await server.deliver({ user, mailbox: "Archive", messages: [...mail(0, 3), ...mail(2000, 10)] });
});

afterAll(() => server.stop());

const run = (url: string, env: Record<string, string> = {}, dying = false): Promise<Daemon> =>
  startDaemon({
    dying,
    env: { DATABASE_URL: url, SAMEBOX_LEASE_SECONDS: "2", SAMEBOX_POLL_SECONDS: "1", ...env },
  });

/** After a whole pass that was asked for, nothing more was written. */
const expectQuiet = async (daemon: Daemon, accountId: string, url: string): Promise<void> => {
  const passes = async (): Promise<number> => {
    const { body } = await daemon.call<{ text: string }>("GET", "/metrics");
    return Number(/^samebox_sync_runs_total\{trigger="api",result="ok"\} (\d+)$/m.exec(body.text)?.[1] ?? 0);
  };
  const sweep = async (): Promise<void> => {
    const before = await passes();
    // Of several rings during a pass the queue keeps the last, which may be a sweep's: asked again until it was heard.
    await eventually(
      "a pass",
      async () => {
        if ((await passes()) > before) return true;
        await daemon.call("POST", `/v1/accounts/${accountId}/sync`);
        return false;
      },
      { everyMs: 250, timeoutMs: 60_000 },
    );
  };
  await sweep();
  const dump = await dumpCanonical(url);
  const mark = await markWrites(url);
  await sweep();
  await sweep();
  expect(await dumpCanonical(url)).toEqual(dump);
  expect(await rowsWrittenSince(url, mark)).toBe(0n);
};

/** Waits until the account holds what the golden run held. */
const settled = (url: string, golden: CanonicalDump): Promise<unknown> =>
  eventually(
    "the account is as after the uninterrupted run",
    async () => {
      const dump = await dumpCanonical(url);
      expect(dump).toEqual(golden);
      return true;
    },
    { timeoutMs: 30_000, everyMs: 100 },
  );

/** Kills a run of `start` at step 1, 2, 3 … until one gets through, and lets another daemon finish after each kill. */
const killAtEveryStep = async (
  make: () => Promise<FreshDatabase | { url: string; drop(): Promise<void> }>,
  prepare: (url: string) => Promise<string | null>,
  golden: CanonicalDump,
): Promise<number> => {
  for (let stepNumber = 1; stepNumber <= mostSteps; stepNumber += 1) {
    const database = await make();
    try {
      let accountId = await prepare(database.url);
      const victim = await run(database.url, { SAMEBOX_FAILPOINT: String(stepNumber) }, accountId !== null);
      if (accountId === null) {
        const created = await victim.call<{ id: string }>("POST", "/v1/accounts", dovecotAccount(server, 1));
        accountId = created.body.id;
      }
      const done = settled(database.url, golden).then(
        () => "through" as const,
        () => "never" as const,
      );
      const outcome = await Promise.race([victim.exited, done]);
      if (outcome === "through") {
        await victim.stop();
        return stepNumber - 1;
      }
      expect(outcome).toBe("SIGKILL");
      await using survivor = await run(database.url);
      await settled(database.url, golden);
      await waitLive(survivor, accountId);
      await expectQuiet(survivor, accountId, database.url);
    } finally {
      await database.drop();
    }
  }
  throw new Error("the run never ended");
};

describe("a daemon killed at any step", () => {
  it("of a first reading leaves what an uninterrupted one leaves", { timeout: 600_000 }, async () => {
    await using calm = await freshDatabase();
    let golden: CanonicalDump;
    {
      await using daemon = await run(calm.url);
      const accountId = await liveAccount(daemon, dovecotAccount(server, 1));
      await expectQuiet(daemon, accountId, calm.url);
      golden = await dumpCanonical(calm.url);
    }
    expect(golden.placements).toHaveLength(743);
    const steps = await killAtEveryStep(
      () => freshDatabase(),
      () => Promise.resolve(null),
      golden,
    );
    expect(steps).toBeGreaterThan(10);
  });

  it("S106: of catching up leaves what an uninterrupted one leaves", { timeout: 600_000 }, async () => {
    await using before = await freshDatabase();
    let accountId: string;
    {
      await using daemon = await run(before.url);
      accountId = await liveAccount(daemon, dovecotAccount(server, 1));
      await expectQuiet(daemon, accountId, before.url);
    }
    {
      await using device = await server.device(1);
      await device.select("INBOX");
      await device.store("1:5", "+", ["\\Seen"]);
      await device.move("6:8", "Work");
      await device.store("9", "+", ["\\Deleted"]);
      await device.expunge("9");
      await device.copy("10", "Archive");
      await device.create("New");
      await server.deliver({ user: server.account(1).user, mailbox: "INBOX", messages: mail(3000, 4) });
    }
    let copies = 0;
    const makeCopy = () => copyDatabase(before.url, `${new URL(before.url).pathname.slice(1)}_c${(copies += 1)}`);
    let golden: CanonicalDump;
    {
      const calm = await makeCopy();
      await using daemon = await run(calm.url);
      await eventually(
        "the changes are there",
        async () => {
          const dump = await dumpCanonical(calm.url);
          return (
            dump.placements.length === 743 + 4 + 1 &&
            dump.placements.some((line) => line.includes(" removed ")) &&
            !dump.placements.some((line) => / t( |$)/.test(line))
          );
        },
        { timeoutMs: 30_000 },
      );
      await expectQuiet(daemon, accountId, calm.url);
      golden = await dumpCanonical(calm.url);
      await daemon.stop();
      await calm.drop();
    }
    const steps = await killAtEveryStep(makeCopy, () => Promise.resolve(accountId), golden);
    expect(steps).toBeGreaterThan(5);
  });
});
