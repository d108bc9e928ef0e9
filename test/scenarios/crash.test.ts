/** The daemon is killed at every step of reading; what it leaves is finished by another, and is what an uninterrupted one leaves. */
import { afterEach, describe, expect, it } from "vitest";
import { type CanonicalDump, dumpCanonical } from "../support/canonical-dump.ts";
import { dovecotAccount, waitLive } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { killAtEachStep, setPaused, startHasty } from "../support/killed-daemon.ts";
import { staysQuiet } from "../support/pop3-account.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";

/** Accounts to be killed for, all with the same mail; there are fewer steps. */
const most = 40;

let fresh: FreshDatabase;
let server: Dovecot;

const mail = (from: number, count: number): Buffer[] =>
  Array.from({ length: count }, (_, at) =>
    Buffer.from(`Subject: ${from + at}\r\nMessage-ID: <${from + at}@crash.test>\r\n\r\nbody of ${from + at}\r\n`),
  );

const begin = async (inbox: number): Promise<void> => {
  fresh = await freshDatabase();
  server = await startDovecot({ users: most + 1 });
  const { user } = server.account(1);
  await server.deliver({ user, mailbox: "INBOX", messages: mail(0, inbox) });
  await server.deliver({ user, mailbox: "Work", messages: mail(1000, 30) });
  await server.deliver({ user, mailbox: "Archive", messages: [...mail(0, 3), ...mail(2000, 10)] });
  {
    await using first = await server.device(1);
    for (const mailbox of ["Drafts", "Junk", "Sent", "Trash"]) await first.select(mailbox);
  }
  // Not one Maildir for all: of two sessions that open it one may be told an older UIDNEXT (observed: Dovecot 2.3.19).
  await server.copyMail(most + 1);
};

afterEach(async () => {
  await fresh.drop();
  await server.stop();
});

/** Accounts that nobody reads for yet, and one that is read for without a crash. */
const makeAccounts = async (): Promise<{ readonly calm: string; readonly accounts: readonly string[] }> => {
  await using api = await startHasty(fresh.url, { roles: "api" });
  const made: string[] = [];
  for (let n = 1; n <= most + 1; n += 1) {
    const { body } = await api.call<{ id: string }>("POST", "/v1/accounts", dovecotAccount(server, n));
    await api.call("POST", `/v1/accounts/${body.id}/pause`);
    made.push(body.id);
  }
  const [calm = "", ...accounts] = made;
  return { calm, accounts };
};

const pauseAll = async (accounts: readonly string[], paused: boolean): Promise<void> => {
  for (const accountId of accounts) await setPaused(fresh.url, accountId, paused);
};

/** Kills for each account at another step, and lets another daemon finish. @returns how many steps there are. */
const killAndFinish = async (accounts: readonly string[], golden: CanonicalDump): Promise<number> => {
  const isLikeGolden = async (accountId: string): Promise<true> => {
    expect(await dumpCanonical(fresh.url, accountId)).toEqual(golden);
    return true;
  };
  const names = await killAtEachStep({ url: fresh.url, accounts, isThrough: isLikeGolden });
  const worked = accounts.slice(0, names.length + 1);
  await pauseAll(worked, false);
  await using survivor = await startHasty(fresh.url);
  for (const [at, accountId] of worked.entries())
    await eventually(
      `killed at step ${at + 1}, ${names[at]}, the account is as after the uninterrupted run`,
      () => isLikeGolden(accountId),
      { timeoutMs: 120_000, everyMs: 200 },
    );
  for (const accountId of worked) await waitLive(survivor, accountId);
  expect(await staysQuiet(survivor, worked, fresh.url)).toBe(0n);
  return names.length;
};

/** What the account holds once nothing changes any more. */
const calmly = async (accountId: string, isReady: (dump: CanonicalDump) => boolean): Promise<CanonicalDump> => {
  await setPaused(fresh.url, accountId, false);
  await using daemon = await startHasty(fresh.url);
  await eventually("the account is as it shall be", async () => isReady(await dumpCanonical(fresh.url, accountId)), {
    timeoutMs: 60_000,
  });
  await waitLive(daemon, accountId);
  expect(await staysQuiet(daemon, accountId, fresh.url)).toBe(0n);
  return await dumpCanonical(fresh.url, accountId);
};

describe("a daemon killed at any step", () => {
  it("of a first reading leaves what an uninterrupted one leaves", { timeout: 600_000 }, async () => {
    await begin(700);
    const { calm, accounts } = await makeAccounts();
    const golden = await calmly(calm, ({ placements }) => placements.length === 743);
    await setPaused(fresh.url, calm, true);
    expect(await killAndFinish(accounts, golden)).toBeGreaterThan(10);
  });

  it("S106: of catching up leaves what an uninterrupted one leaves", { timeout: 600_000 }, async () => {
    await begin(100);
    const { calm, accounts } = await makeAccounts();
    await pauseAll([calm, ...accounts], false);
    {
      await using daemon = await startHasty(fresh.url);
      for (const accountId of [calm, ...accounts]) await waitLive(daemon, accountId, 120_000);
      expect(await staysQuiet(daemon, accounts, fresh.url)).toBe(0n);
    }
    await pauseAll([calm, ...accounts], true);
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
    await server.copyMail(most + 1);
    const golden = await calmly(
      calm,
      ({ placements }) =>
        placements.length === 143 + 4 + 1 &&
        placements.some((line) => line.includes(" removed ")) &&
        !placements.some((line) => / t( |$)/.test(line)),
    );
    await setPaused(fresh.url, calm, true);
    expect(await killAndFinish(accounts, golden)).toBeGreaterThan(5);
  });
});
