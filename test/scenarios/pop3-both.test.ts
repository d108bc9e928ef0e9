/** One account read over IMAP and POP3: one mail is one mail, IMAP decides, and nothing is read twice. */
import { describe, expect, it } from "vitest";
import { forever, openDovecot } from "../endpoints/pop3/connection-fixture.ts";
import { changesOf } from "../support/account-view.ts";
import { type Daemon, dovecotAccount, liveAccount, waitLive } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { useGround } from "../support/ground.ts";
import {
  drain,
  type ListedMail,
  mailOf,
  pop3Account,
  pop3Endpoint,
  rawOf,
  staysQuiet,
  upstreamOf,
} from "../support/pop3-account.ts";
import type { FreshDatabase } from "../support/postgres.ts";

let server: Dovecot;
let fresh: FreshDatabase;
let daemon: Daemon;

const mail = (subject: string, body = `body of ${subject}\r\n`): Buffer =>
  Buffer.from(`Subject: ${subject}\r\nMessage-ID: <${subject}@both.test>\r\n\r\n${body}`);

const many = (count: number): Buffer[] =>
  Array.from({ length: count }, (_, at) => mail(`m${at}`, "x".repeat(20_000) + `\r\n${at}\r\n`));

useGround({ users: 6, pop3: { deletedFlag: "$POP3Deleted" } }, (ground) => {
  ({ server, fresh, daemon } = ground);
});

const deliver = (n: number, messages: readonly Buffer[], mailbox = "INBOX"): Promise<number> =>
  server.deliver({ user: server.account(n).user, mailbox, messages });

const bothAccount = (from: Dovecot, n: number, policy: Record<string, unknown> = {}) => {
  const { endpoints, ...rest } = dovecotAccount(from, n);
  return { ...rest, endpoints: [...endpoints, pop3Endpoint(from, n)], policy };
};

const protocolsOf = ({ placements }: ListedMail): string[][] =>
  placements.map(({ bindings }) => bindings.map(({ protocol }) => protocol).toSorted());

/** Waits until `count` placements are bound to both views. */
const bothViews = (accountId: string, count: number): Promise<readonly ListedMail[]> =>
  eventually(
    "all are bound to both views",
    async () => {
      const found = await mailOf(daemon, accountId);
      const both = found.flatMap(protocolsOf).filter((protocols) => protocols.includes("pop3"));
      expect(both).toEqual(Array.from({ length: count }, () => ["imap", "pop3"]));
      return found;
    },
    { timeoutMs: 30_000 },
  );

describe("an account with IMAP and POP3", () => {
  it(
    "K9 K10: is bound in both views by a few header blocks and ids alone, and no device can tell",
    { timeout: 180_000 },
    async () => {
      const odd = [mail("open", "no end"), mail("bare", "a\nb\r\n"), mail("same"), mail("same"), mail("empty", "")];
      await deliver(1, [...many(300), ...odd]);
      await deliver(1, [mail("same"), mail("work")], "Work");
      const before = await upstreamOf(server, 1);
      const accountId = await liveAccount(daemon, bothAccount(server, 1));
      await bothViews(accountId, 305);
      expect(await upstreamOf(server, 1)).toEqual(before);
      const log = await changesOf(daemon, accountId);
      expect(log.filter(({ kind }) => kind === "message.created")).toHaveLength(307);
      // A few TOPs tell how ids are made, and the ids tell the rest: the bodies alone have six million octets.
      const sessions = [...(await server.log()).matchAll(/top=(\d+)\/(\d+), retr=(\d+)\/\d+/g)];
      expect(sessions.reduce((sum, [, tops]) => sum + Number(tops), 0)).toBeLessThan(20);
      expect(sessions.reduce((sum, [, , octets]) => sum + Number(octets), 0)).toBeLessThan(20_000);
      expect(sessions.reduce((sum, [, , , retrs]) => sum + Number(retrs), 0)).toBe(0);
      expect(await staysQuiet(daemon, accountId, fresh.url, 2)).toBe(0n);
    },
  );

  it("S133: mail that comes between the looks is there once", { timeout: 180_000 }, async () => {
    await deliver(2, many(3));
    const accountId = await liveAccount(daemon, bothAccount(server, 2));
    await bothViews(accountId, 3);
    await deliver(2, [mail("new"), mail("newer")]);
    await bothViews(accountId, 5);
    expect((await changesOf(daemon, accountId)).filter(({ kind }) => kind === "message.created")).toHaveLength(5);
  });

  it("S11: what POP3 hides and IMAP shows stays as it is", { timeout: 180_000 }, async () => {
    await deliver(3, many(4));
    const accountId = await liveAccount(daemon, bothAccount(server, 3, { pop3Devices: "declared" }));
    await bothViews(accountId, 4);
    await drain(server, 3, 1);
    const hidden = await eventually("its POP3 binding ends", async () =>
      (await mailOf(daemon, accountId)).find((message) => protocolsOf(message).flat().join() === "imap"),
    );
    expect(hidden.placements[0]?.state).toBe("live");
    const kinds = new Set((await changesOf(daemon, accountId)).map(({ kind }) => kind));
    expect(kinds).not.toContain("message.kept");
    expect(kinds).not.toContain("message.removed");
  });

  it("an IMAP endpoint that is added later makes nothing twice (K12)", { timeout: 180_000 }, async () => {
    await deliver(4, [...many(5), mail("same"), mail("same")]);
    const accountId = await liveAccount(daemon, pop3Account(server, 4));
    const before = (await mailOf(daemon, accountId)).map(({ id }) => id);
    const { endpoints } = dovecotAccount(server, 4);
    expect((await daemon.call("PATCH", `/v1/accounts/${accountId}`, { endpoints })).status).toBe(200);
    await waitLive(daemon, accountId);
    const after = await bothViews(accountId, 7);
    expect(after.map(({ id }) => id).toSorted()).toEqual(before.toSorted());
    expect(await staysQuiet(daemon, accountId, fresh.url, 2)).toBe(0n);
  });

  it("a POP3 endpoint that is added later binds to what IMAP brought", { timeout: 180_000 }, async () => {
    await deliver(5, many(5));
    const accountId = await liveAccount(daemon, dovecotAccount(server, 5));
    const endpoints = [pop3Endpoint(server, 5)];
    expect((await daemon.call("PATCH", `/v1/accounts/${accountId}`, { endpoints })).status).toBe(200);
    await bothViews(accountId, 5);
    expect((await changesOf(daemon, accountId)).filter(({ kind }) => kind === "message.created")).toHaveLength(5);
  });
});

describe("a POP3 device that drains INBOX under the eyes of both", () => {
  it("S01 S03: what it takes is kept, or removed where the owner wants that", { timeout: 270_000 }, async () => {
    // Logins of their own: the daemon counts connections by host and login.
    await using draining = await startDovecot({ users: 8 });
    for (const [n, policy, kind] of [
      [7, "keep", "message.kept"],
      [8, "mirror", "message.removed"],
    ] as const) {
      await draining.deliver({ user: draining.account(n).user, mailbox: "INBOX", messages: many(5) });
      const accountId = await liveAccount(daemon, bothAccount(draining, n, { pop3Devices: "declared", onPop3Drain: policy }));
      await bothViews(accountId, 5);
      await drain(draining, n, 3);
      const log = await eventually(
        "three are decided",
        async () => {
          const found = (await changesOf(daemon, accountId)).filter((change) => change.kind === kind);
          return found.length === 3 ? found : false;
        },
        { timeoutMs: 30_000 },
      );
      for (const { messageId, reason } of log) {
        expect(reason).toBe("pop3_drain");
        expect((await rawOf(daemon, accountId, messageId ?? "")).length).toBeGreaterThan(20_000);
      }
      const connection = await openDovecot(draining, n);
      expect((await connection.stat(forever)).count).toBe(2);
      await connection.quit(forever);
    }
  });
});
