/** What IMAP lacks and POP3 still shows (V4): the two views of an account are two servers here, that can be made to disagree. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { forever, openDovecot } from "../endpoints/pop3/connection-fixture.ts";
import { changesOf, type SeenChange, statusOf } from "../support/account-view.ts";
import { type Daemon, dovecotAccount, liveAccount, startDaemon } from "../support/daemon.ts";
import { queryOnce } from "../support/database-server.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { type FaultProxy, startFaultProxy } from "../support/fault-proxy.ts";
import { drain, mailOf, pop3Endpoint, staysQuiet, sweep } from "../support/pop3-account.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";

let imap: Dovecot;
let pop3: Dovecot;
let proxy: FaultProxy;
let fresh: FreshDatabase;
/** Looks by itself so seldom that what happens soon was asked for. */
let daemon: Daemon;

const mail = (subject: string): Buffer =>
  Buffer.from(`Subject: ${subject}\r\nMessage-ID: <${subject}@views.test>\r\n\r\nbody of ${subject}\r\n`);
const many = (count: number): Buffer[] => Array.from({ length: count }, (_, at) => mail(`m${at}`));

const run = (env: Readonly<Record<string, string>> = {}): Promise<Daemon> =>
  startDaemon({ env: { DATABASE_URL: fresh.url, SAMEBOX_POLL_SECONDS: "600", SAMEBOX_LEASE_SECONDS: "2", ...env } });

beforeAll(async () => {
  imap = await startDovecot({ users: 8 });
  pop3 = await startDovecot({ users: 8 });
  proxy = await startFaultProxy({ port: pop3.pop3Port });
  fresh = await freshDatabase();
  daemon = await run();
});

afterAll(async () => {
  await daemon.stop();
  await fresh.drop();
  await proxy.stop();
  await pop3.stop();
  await imap.stop();
});

beforeEach(() => proxy.change({}));

const ring = (accountId: string) => daemon.call("POST", `/v1/accounts/${accountId}/sync`);

/** The account with `count` messages in both views. */
const bothViews = async (count: number, body: unknown): Promise<string> => {
  const accountId = await liveAccount(daemon, body);
  await eventually(
    `${count} are bound in both views`,
    async () => {
      await ring(accountId);
      const bound = (await mailOf(daemon, accountId)).flatMap(({ placements }) =>
        placements.map(({ bindings }) => bindings.length),
      );
      return bound.filter((views) => views === 2).length === count;
    },
    { timeoutMs: 60_000, everyMs: 500 },
  );
  return accountId;
};

/** IMAP of one server, POP3 of another that has the same mail, where mail that is gone goes from everywhere. */
const split = async (n: number, count: number): Promise<string> => {
  const { user } = imap.account(n);
  for (const server of [imap, pop3]) await server.deliver({ user, mailbox: "INBOX", messages: many(count) });
  const { endpoints, ...rest } = dovecotAccount(imap, n);
  const policy = { serverCopy: "delete_on_purge", onPop3Drain: "mirror", onUserExpunge: "mirror", onUnknownVanish: "mirror" };
  return bothViews(count, {
    ...rest,
    endpoints: [...endpoints, pop3Endpoint(pop3, n, { port: proxy.port })],
    policy,
  });
};

/** One server, both protocols. */
const whole = async (n: number, count: number, policy: Record<string, unknown> = {}): Promise<string> => {
  await imap.deliver({ user: imap.account(n).user, mailbox: "INBOX", messages: many(count) });
  const { endpoints, ...rest } = dovecotAccount(imap, n);
  return bothViews(count, { ...rest, endpoints: [...endpoints, pop3Endpoint(imap, n)], policy });
};

/** An IMAP client deletes the first `count` messages. */
const expunge = async (n: number, count: number): Promise<void> => {
  await using device = await imap.device(n);
  await device.select("INBOX");
  const uids = (await device.uids()).slice(0, count).join(",");
  await device.store(uids, "+", ["\\Deleted"]);
  await device.expunge(uids);
};

const decisions = async (accountId: string): Promise<SeenChange[]> =>
  (await changesOf(daemon, accountId)).filter(({ kind }) => kind === "message.kept" || kind === "message.removed");

const decided = (accountId: string, count: number, timeoutMs = 60_000): Promise<readonly SeenChange[]> =>
  eventually(
    `${count} are decided`,
    async () => {
      const log = await decisions(accountId);
      return log.length >= count && log;
    },
    { timeoutMs },
  );

const holdsOf = async (accountId: string) =>
  (await statusOf(daemon, accountId)).holds.map(({ reason, count }) => `${reason} ${count}`);

const disputed = (accountId: string, count: number): Promise<unknown> =>
  eventually(
    `${count} are disputed`,
    async () => {
      expect(await holdsOf(accountId)).toEqual([`inconsistent_views ${count}`]);
      return true;
    },
    { timeoutMs: 60_000 },
  );

describe("mail that IMAP lacks and POP3 shows", () => {
  it("S135: is held, however little it is, and is as it was where it comes again (V4)", { timeout: 540_000 }, async () => {
    const accountId = await split(1, 16);
    const before = (await mailOf(daemon, accountId)).map(({ id }) => id).toSorted();
    await expunge(1, 6);
    await disputed(accountId, 6);
    expect(await staysQuiet(daemon, accountId, fresh.url, 2)).toBe(0n);
    expect(await decisions(accountId)).toEqual([]);
    expect((await mailOf(daemon, accountId)).map(({ placements }) => placements[0]?.state)).toEqual(Array(16).fill("live"));
    await imap.deliver({ user: imap.account(1).user, mailbox: "INBOX", messages: many(6) });
    await eventually("the hold is over", async () => {
      await ring(accountId);
      return (await holdsOf(accountId)).length === 0;
    });
    expect(await decisions(accountId)).toEqual([]);
    const end = (await changesOf(daemon, accountId)).find(({ kind }) => kind === "hold.closed");
    expect(end).toMatchObject({ rule: "V4", after: { reason: "inconsistent_views", outcome: "reappeared" } });
    expect((await mailOf(daemon, accountId)).map(({ id }) => id).toSorted()).toEqual(before);
    const connection = await openDovecot(pop3, 1);
    expect((await connection.stat(forever)).count).toBe(16);
    await connection.quit(forever);
  });

  it("S135: what POP3 alone lists is fetched, once IMAP has looked and does not show it", { timeout: 540_000 }, async () => {
    const accountId = await split(8, 4);
    await pop3.deliver({ user: pop3.account(8).user, mailbox: "INBOX", messages: [mail("alone1"), mail("alone2")] });
    // Of this one the account has another copy already, which the maildrop does not show as one of INBOX.
    const elsewhere = mail("elsewhere");
    await imap.deliver({ user: imap.account(8).user, mailbox: "Work", messages: [elsewhere] });
    await pop3.deliver({ user: pop3.account(8).user, mailbox: "INBOX", messages: [elsewhere] });
    await daemon.stop();
    daemon = await run({ SAMEBOX_POLL_SECONDS: "1" });
    const alone = await eventually(
      "two more are here",
      async () => {
        const found = (await mailOf(daemon, accountId)).filter(({ placements }) =>
          placements.every(({ bindings }) => bindings.every(({ protocol }) => protocol === "pop3")),
        );
        return found.length === 2 && found;
      },
      { timeoutMs: 60_000 },
    );
    expect(alone.map(({ placements }) => placements.map(({ state }) => state))).toEqual([["live"], ["live"]]);
    expect(await mailOf(daemon, accountId)).toHaveLength(7);
    await staysQuiet(daemon, accountId, fresh.url, 2);
    expect(await mailOf(daemon, accountId)).toHaveLength(7);
    expect(await decisions(accountId)).toEqual([]);
    // They were read without a mark.
    await using device = await pop3.device(8);
    await device.select("INBOX");
    expect([...(await device.flags()).values()].filter((flags) => flags.includes("\\Seen"))).toEqual([]);
    // When IMAP shows one of them after all it is the same message.
    await imap.deliver({ user: imap.account(8).user, mailbox: "INBOX", messages: [mail("alone1")] });
    await eventually(
      "it is one",
      async () => {
        const mails = await mailOf(daemon, accountId);
        const protocols = mails.map(({ placements }) =>
          placements.flatMap(({ bindings }) => bindings.map((one) => one.protocol)),
        );
        return mails.length === 7 && protocols.filter((some) => some.length === 1 && some[0] === "pop3").length === 1;
      },
      { timeoutMs: 60_000 },
    );
    await daemon.stop();
    daemon = await run();
  });

  it("is held by a new process, too, and decided when POP3 lacks it as well", { timeout: 540_000 }, async () => {
    const accountId = await split(2, 16);
    await expunge(2, 3);
    await disputed(accountId, 3);
    await daemon.stop();
    daemon = await run();
    await sweep(daemon, accountId, 2);
    expect(await holdsOf(accountId)).toEqual(["inconsistent_views 3"]);
    expect(await decisions(accountId)).toEqual([]);
    await drain(pop3, 2, 2);
    await ring(accountId);
    const log = await decided(accountId, 2);
    expect(log.map(({ kind, evidence }) => `${kind} ${String(evidence[0]?.["maildrop"])}`)).toEqual(
      Array(2).fill("message.removed lacking"),
    );
    await disputed(accountId, 1);
  });

  it("B2: makes half a mass of what else is gone", { timeout: 540_000 }, async () => {
    const { user } = imap.account(3);
    // POP3 knows nothing of it; and too few of it will be gone for the breaker otherwise.
    const work = Array.from({ length: 30 }, (_, at) => mail(`w${at}`));
    await imap.deliver({ user, mailbox: "Work", messages: work });
    const accountId = await split(3, 40);
    await expunge(3, 2);
    await disputed(accountId, 2);
    await using device = await imap.device(3);
    await device.select("Work");
    const uids = (await device.uids()).slice(0, 12).join(",");
    // At once, so that nobody sees a mark.
    await imap.doveadm("expunge", "-u", user, "mailbox", "Work", "uid", uids);
    await eventually(
      "it is held",
      async () => {
        await ring(accountId);
        expect((await holdsOf(accountId)).toSorted()).toEqual(["inconsistent_views 2", "mass_vanish 12"]);
        return true;
      },
      { timeoutMs: 60_000, everyMs: 1000 },
    );
  });
});

describe("mail that is gone from both views", () => {
  it("is decided at once, whoever took it", { timeout: 540_000 }, async () => {
    for (const [n, pop3Devices, take, end] of [
      [4, "unknown", () => expunge(4, 3), "message.removed user_expunge"],
      [7, "declared", () => drain(imap, 7, 3), "message.kept pop3_drain"],
    ] as const) {
      const accountId = await whole(n, 8, { pop3Devices });
      await take();
      const log = await decided(accountId, 3, 30_000);
      expect(log.map(({ kind, reason, evidence }) => `${kind} ${reason} ${String(evidence[0]?.["maildrop"])}`)).toEqual(
        Array(3).fill(`${end} lacking`),
      );
      expect(await holdsOf(accountId)).toEqual([]);
    }
  });
});

describe("a maildrop that does not answer", () => {
  it("is waited for while it may come back", { timeout: 540_000 }, async () => {
    const accountId = await split(5, 8);
    proxy.change({ onConnect: "reset" });
    const missing = "select 1 from placements where absent_since is not null and lifecycle = 'live'";
    const others = (await queryOnce(fresh.url, missing)).length;
    await expunge(5, 1);
    await eventually("it is missed", async () => (await queryOnce(fresh.url, missing)).length > others);
    for (let times = 0; times < 3; times += 1) await sweep(daemon, accountId, 2);
    expect(await decisions(accountId)).toEqual([]);
    proxy.change({});
    await ring(accountId);
    await disputed(accountId, 1);
  });

  it("is not waited for where its login is not tried any more", { timeout: 540_000 }, async () => {
    const accountId = await split(6, 8);
    const { endpoints } = (
      await daemon.call<{ endpoints: { id: string; protocol: string }[] }>("GET", `/v1/accounts/${accountId}`)
    ).body;
    const maildrop = endpoints.find(({ protocol }) => protocol === "pop3");
    const secure = async (security: string): Promise<void> => {
      const change = { endpoints: [{ id: maildrop?.id, security }] };
      expect((await daemon.call("PATCH", `/v1/accounts/${accountId}`, change)).status).toBe(200);
    };
    await secure("tls");
    await eventually(
      "it needs attention",
      async () => {
        const { body } = await daemon.call<{ endpoints: { syncState: string }[] }>("GET", `/v1/accounts/${accountId}/status`);
        if (body.endpoints.some(({ syncState }) => syncState === "needs_attention")) return true;
        throw new Error(JSON.stringify(body));
      },
      { timeoutMs: 30_000 },
    );
    await expunge(6, 1);
    expect(await decided(accountId, 1)).toMatchObject([{ kind: "message.removed", evidence: [{ maildrop: "unheard" }] }]);
    // What POP3 still shows when it is back was never seen to be gone: however long ago it was removed here, it stays there (K4).
    await queryOnce(
      fresh.url,
      "update placements set recoverable_until = now() - interval '1 day' where lifecycle = 'removed' and recoverable_until is not null",
    );
    await secure("none");
    for (let times = 0; times < 3; times += 1) await sweep(daemon, accountId, 2);
    const connection = await openDovecot(pop3, 6);
    expect((await connection.stat(forever)).count).toBe(8);
    await connection.quit(forever);
  });
});
