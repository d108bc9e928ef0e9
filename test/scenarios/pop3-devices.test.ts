/** Real POP3 programs take mail away while the daemon dies again and again: what was durable stays, once, byte for byte. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { forever, openDovecot } from "../endpoints/pop3/connection-fixture.ts";
import { changesOf } from "../support/account-view.ts";
import { type Daemon, dovecotAccount, liveAccount, startDaemon, waitLive } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { type ListedMail, mailOf, pop3Account, pop3Endpoint, rawOf } from "../support/pop3-account.ts";
import { fetchmailDevice, getmailDevice, type Pop3Device } from "../support/pop3-devices.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";

let server: Dovecot;
let fresh: FreshDatabase;

/** Dots at line starts, an odd octet, and a size of its own for each. */
const mail = (subject: string): Buffer =>
  Buffer.from(
    `Subject: ${subject}\r\nMessage-ID: <${subject}@drained.test>\r\n\r\n.${subject}\r\n..\r\n\xe9${"x".repeat(subject.length * 97)}\r\n`,
    "latin1",
  );

/** Below what breaker B1 doubts: 30 % of a mailbox. */
const stock = 100;
const rounds = 5;
const perRound = 4;

const start = (env: Record<string, string> = {}): Promise<Daemon> =>
  startDaemon({ env: { DATABASE_URL: fresh.url, SAMEBOX_POLL_SECONDS: "1", SAMEBOX_LEASE_SECONDS: "2", ...env } });

beforeAll(async () => {
  server = await startDovecot({ users: 2 });
  fresh = await freshDatabase();
});

afterAll(async () => {
  await fresh.drop();
  await server.stop();
});

const stateOf = ({ placements }: ListedMail): string => placements.map(({ state, reason }) => `${state} ${reason}`).join();

/** Mail that comes while nobody looks, and is taken by a device that leaves all older mail. */
const comeAndGo = async (round: number): Promise<void> => {
  for (const n of [1, 2]) {
    await server.deliver({ user: server.account(n).user, mailbox: "INBOX", messages: [mail(`unseen ${round}`)] });
    const connection = await openDovecot(server, n);
    const { count } = await connection.stat(forever);
    await connection.dele(count ?? 0, forever);
    expect(await connection.quit(forever)).toBe(true);
  }
};

interface Drained {
  readonly accountId: string;
  readonly device: Pop3Device;
}

describe("mail that getmail and fetchmail take away while the daemon is killed", () => {
  it("stays, once, byte for byte, and says why", { timeout: 540_000 }, async () => {
    const subjects = Array.from({ length: stock }, (_, at) => `m${at}`);
    const messages = subjects.map(mail);
    for (const n of [1, 2]) await server.deliver({ user: server.account(n).user, mailbox: "INBOX", messages });
    const both = dovecotAccount(server, 1);
    const endpoints = [...both.endpoints, pop3Endpoint(server, 1)];
    await using getmail = await getmailDevice(server, 1);
    await using fetchmail = await fetchmailDevice(server, 2);
    const accounts: Drained[] = [];
    {
      await using daemon = await start();
      const policy = { pop3Devices: "declared" };
      accounts.push(
        { accountId: await liveAccount(daemon, { ...both, endpoints, policy }), device: getmail },
        { accountId: await liveAccount(daemon, pop3Account(server, 2)), device: fetchmail },
      );
      daemon.kill("SIGKILL");
      await daemon.exited;
    }
    for (let round = 0; round < rounds; round += 1) {
      // It may die before it listens.
      const victim = await start({ SAMEBOX_FAILPOINT: String(1 + 3 * round) }).catch(() => null);
      await Promise.all(accounts.map(({ device }) => device.take(perRound)));
      // It dies at the step it was told, or is killed with some of its decisions made.
      if (victim !== null) {
        await Promise.race([victim.exited, ...accounts.map((account) => someAreKept(victim, account, round * perRound + 1))]);
        victim.kill("SIGKILL");
        await victim.exited;
      }
      await comeAndGo(round);
    }
    await using survivor = await start();
    for (const { accountId, device } of accounts) {
      const taken = device.taken.toSorted();
      expect(taken).toHaveLength(rounds * perRound);
      await waitLive(survivor, accountId);
      const found = await eventually(
        "all that was taken is kept",
        async () => {
          const all = await mailOf(survivor, accountId);
          expect(
            all
              .filter((message) => stateOf(message).startsWith("kept"))
              .map(({ subject }) => subject)
              .toSorted(),
          ).toEqual(taken);
          return all;
        },
        { timeoutMs: 60_000 },
      );
      expect(found.map(({ subject }) => subject).toSorted()).toEqual(subjects.toSorted());
      for (const message of found) {
        const { subject } = message;
        expect(stateOf(message)).toBe(taken.includes(subject ?? "") ? "kept pop3_drain" : "live backfilled");
        expect(await rawOf(survivor, accountId, message.id)).toEqual(mail(subject ?? ""));
      }
      const log = await changesOf(survivor, accountId);
      const gaps = log.filter(({ kind }) => kind === "coverage.gap");
      // A maildrop counts nothing up, so that it cannot tell what came and went (V20).
      expect(gaps.reduce((sum, { after }) => sum + Number(after?.["count"]), 0)).toBe(device === getmail ? rounds : 0);
      const kinds = log.map(({ kind }) => kind).filter((kind) => kind.startsWith("message."));
      expect(kinds.filter((kind) => kind === "message.created")).toHaveLength(stock);
      expect(kinds.filter((kind) => kind === "message.kept")).toHaveLength(rounds * perRound);
      expect(kinds).toHaveLength(stock + rounds * perRound);
    }
  });
});

/** Settles when at least `count` are kept; never where the daemon dies first. */
const someAreKept = (daemon: Daemon, { accountId }: Drained, count: number): Promise<unknown> =>
  eventually(
    "some are kept",
    async () => (await mailOf(daemon, accountId)).filter((message) => stateOf(message).startsWith("kept")).length >= count,
    {
      timeoutMs: 30_000,
      everyMs: 100,
    },
  ).catch(() => new Promise(() => undefined));
