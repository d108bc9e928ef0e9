/**
 * POP3 devices that delete where it matters how: while mail is read, and on servers that do more than remove it from INBOX. Mail
 * changes while nobody looks, so that one look sees all of it.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { changesOf, messagesOf, type SeenChange } from "../support/account-view.ts";
import { type Daemon, dovecotAccount, liveAccount, startDaemon, waitLive } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { commandsOf } from "../support/owed-writes.ts";
import { drain, mailOf, staysQuiet } from "../support/pop3-account.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";
import { startScripted } from "../support/scripted-server.ts";

let server: Dovecot;
let fresh: FreshDatabase;

const mail = (subject: string): Buffer =>
  Buffer.from(`Subject: ${subject}\r\nMessage-ID: <${subject}@elsewhere.test>\r\n\r\nbody of ${subject}\r\n`);

beforeAll(async () => {
  server = await startDovecot({ users: 2 });
  fresh = await freshDatabase();
});

afterAll(async () => {
  await fresh.drop();
  await server.stop();
});

const run = (): Promise<Daemon> =>
  startDaemon({ env: { DATABASE_URL: fresh.url, SAMEBOX_POLL_SECONDS: "1", SAMEBOX_LEASE_SECONDS: "2" } });

const deliver = (n: number, mailbox: string, ...subjects: readonly string[]): Promise<number> =>
  server.deliver({ user: server.account(n).user, mailbox, messages: subjects.map(mail) });

/** Removes all of a mailbox at once, without marking anything as deleted. */
const clear = (n: number, mailbox: string): Promise<unknown> =>
  server.doveadm("expunge", "-u", server.account(n).user, "mailbox", mailbox, "all");

const declared = (n: number) => ({ ...dovecotAccount(server, n), policy: { pop3Devices: "declared" } });

const logged = (daemon: Daemon, accountId: string, kind: string, count: number): Promise<readonly SeenChange[]> =>
  eventually(
    `${count} × ${kind}`,
    async () => {
      const found = (await changesOf(daemon, accountId)).filter((change) => change.kind === kind);
      return found.length >= count && found;
    },
    { timeoutMs: 40_000 },
  );

it("S26: what goes from every mailbox at once with INBOX was not deleted by its owner (V16)", { timeout: 360_000 }, async () => {
  await deliver(1, "INBOX", "everywhere");
  await deliver(1, "Work", "everywhere", "beside");
  let accountId = "";
  {
    await using daemon = await run();
    accountId = await liveAccount(daemon, declared(1));
  }
  await drain(server, 1, 1);
  await clear(1, "Work");
  await using daemon = await run();
  await waitLive(daemon, accountId);
  const kept = await logged(daemon, accountId, "message.kept", 2);
  expect(kept.map(({ reason }) => reason)).toEqual(["pop3_drain", "pop3_drain"]);
  expect(kept.map(({ rule, confidence }) => `${rule} ${confidence}`)).toContain("V16 0.8");
  const [beside] = await logged(daemon, accountId, "message.removed", 1);
  expect(beside).toMatchObject({ reason: "user_expunge", rule: "V17" });
  const mine = (await messagesOf(daemon, accountId)).get("everywhere");
  expect(mine?.in).toEqual(["INBOX", "Work"]);
});

it(
  "S09 S10: what goes to Trash as if it were read is followed there, and kept when Trash is emptied",
  { timeout: 360_000 },
  async () => {
    await deliver(2, "INBOX", "drained", "stays");
    await deliver(2, "Trash", "thrown away");
    let accountId = "";
    {
      await using daemon = await run();
      accountId = await liveAccount(daemon, declared(2));
    }
    {
      await using device = await server.device(2);
      await device.appendAll("Trash", [{ raw: mail("drained"), flags: ["\\Seen"] }]);
    }
    await drain(server, 2, 1);
    await using daemon = await run();
    await waitLive(daemon, accountId);
    const [moved] = await logged(daemon, accountId, "message.moved", 1);
    expect(moved).toMatchObject({ reason: "pop3_drain_via_trash", rule: "ID-5a", confidence: 0.6 });
    await eventually(
      "it is unread again",
      async () => {
        expect(await commandsOf(fresh.url, accountId)).toMatchObject([{ reason: "pop3_drain_via_trash", status: "confirmed" }]);
        return true;
      },
      { timeoutMs: 40_000 },
    );
    expect((await messagesOf(daemon, accountId)).get("drained")).toMatchObject({ in: ["Trash"], keywords: [] });
    expect(await staysQuiet(daemon, accountId, fresh.url)).toBe(0n);
    await clear(2, "Trash");
    const [kept] = await logged(daemon, accountId, "message.kept", 1);
    expect(kept).toMatchObject({ reason: "retention", rule: "V10", messageId: moved?.messageId });
    expect(kept?.evidence).toMatchObject([{ seen: { drainSuspect: true } }]);
    expect(await logged(daemon, accountId, "message.removed", 1)).toMatchObject([{ reason: "user_expunge", rule: "V11" }]);
    const left = (await mailOf(daemon, accountId)).map(({ subject, placements }) => `${subject} ${placements[0]?.state}`);
    expect(left.toSorted()).toEqual(["drained kept", "stays live"]);
  },
);

it(
  "S06: what goes while its octets are read is never stored empty, and is said to be lost (G7)",
  { timeout: 360_000 },
  async () => {
    const whole = (at: number, uid: number): string =>
      `* ${at} FETCH (UID ${uid} FLAGS () INTERNALDATE "04-Jun-2024 08:10:00 +0000" BODY[]<0> {4}\r\nok\r\n)\r\n`;
    const nil = `* 3 FETCH (UID 103 FLAGS () INTERNALDATE "04-Jun-2024 08:10:00 +0000" BODY[]<0> NIL)\r\n`;
    await using scripted = await startScripted({
      rules: [
        {
          on: /^UID FETCH \S*10[1-3]\b.* \(.*BODY/i,
          reply: [whole(1, 101), whole(2, 102).replace("ok", "OK"), nil, "{tag} OK [EXPUNGEISSUED] some are gone\r\n"],
        },
      ],
    });
    let accountId = "";
    {
      await using daemon = await run();
      const account = dovecotAccount(server, 1, { port: scripted.port });
      accountId = await liveAccount(daemon, { ...account, policy: { pop3Devices: "declared" } });
      const [stub] = (await mailOf(daemon, accountId)).filter(({ placements }) => placements[0]?.bindings[0]?.uid === 103);
      const raw = await daemon.call("GET", `/v1/accounts/${accountId}/messages/${stub?.id}/raw`);
      expect(raw).toMatchObject({ status: 409, body: { code: "body_not_available" } });
    }
    scripted.become({ state: { uids: [101, 102], uidnext: 104 }, rules: [] });
    await using daemon = await run();
    await waitLive(daemon, accountId);
    expect(await logged(daemon, accountId, "message.removed", 1)).toMatchObject([{ reason: "lost_before_durable" }]);
    expect((await mailOf(daemon, accountId)).filter(({ placements }) => placements[0]?.state === "live")).toHaveLength(2);
    const { body } = await daemon.call<{ text: string }>("GET", "/metrics");
    expect(body.text).toContain("samebox_lost_before_durable_total 1\n");
  },
);
