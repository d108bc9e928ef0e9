/** Servers whose answers are in order, and not what they seem to be. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { changesOf, statusOf } from "../support/account-view.ts";
import { type Daemon, liveAccount, startDaemon } from "../support/daemon.ts";
import { eventually } from "../support/eventually.ts";
import { mailOf, rawOf, staysQuiet, sweep } from "../support/pop3-account.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";
import type { ScriptRule } from "../support/script.ts";
import { type ScriptedServer, startScripted } from "../support/scripted-server.ts";

let fresh: FreshDatabase;
let daemon: Daemon;

beforeAll(async () => {
  fresh = await freshDatabase();
  daemon = await startDaemon({ env: { DATABASE_URL: fresh.url, SAMEBOX_POLL_SECONDS: "1" } });
});

afterAll(async () => {
  await daemon.stop();
  await fresh.drop();
});

const mail = (subject: string): Buffer => Buffer.from(`Subject: ${subject}\r\n\r\nbody of ${subject}\r\n`);

let logins = 0;

const accountAt = ({ host, port }: ScriptedServer, protocol: "imap" | "pop3") => {
  logins += 1;
  const auth = { type: "password", user: `odd${logins}`, password: "secret" };
  return { email: `odd${logins}@example.test`, endpoints: [{ protocol, host, port, security: "none", auth }] };
};

/** The daemon comes back with a session of its own, to which the server is another one. */
const meetAgain = async (id: string, server: ScriptedServer, change: Parameters<ScriptedServer["become"]>[0]): Promise<void> => {
  const { sessions } = server;
  server.become(change);
  server.hangUp();
  const isBack = async (): Promise<boolean> => {
    await daemon.call("POST", `/v1/accounts/${id}/sync`);
    return server.sessions > sessions;
  };
  await eventually("it is back", isBack, { timeoutMs: 30_000, everyMs: 250 });
  await sweep(daemon, id);
};

const toldOf = async (id: string): Promise<readonly string[]> =>
  (await changesOf(daemon, id)).map(({ kind, reason }) => `${kind} ${reason}`).filter((one) => !/^(account|mailbox)\./.test(one));

/** Lines of the log with these words, about that account. */
const toldTo = (id: string, words: string) =>
  daemon.lines.filter(
    ({ msg, account }) => msg === words && `acc_${String(account).replaceAll("-", "")}` === id.replaceAll("-", ""),
  );

describe("over IMAP", () => {
  it("a mailbox that cannot be read the first time waits, and the others do not", { timeout: 180_000 }, async () => {
    const listed = ["INBOX", "Other"].map((name) => `* LIST () "/" ${name}\r\n`);
    await using server = await startScripted({
      messages: [mail("one")],
      rules: [
        { on: /^LIST .*\*/, reply: [...listed, "{tag} OK done\r\n"] },
        { on: /^UID FETCH .*BODY\.PEEK\[\]/, nth: 1, reply: ["{tag} NO [SERVERBUG] not now\r\n"] },
        { on: /^UID FETCH .*RFC822\.SIZE\)/, nth: 1, reply: ["{tag} NO [SERVERBUG] not now\r\n"] },
      ],
    });
    const id = await liveAccount(daemon, accountAt(server, "imap"));
    const [only, ...more] = await mailOf(daemon, id);
    expect([only?.subject, more]).toEqual(["one", []]);
    const { endpoint } = await statusOf(daemon, id);
    expect(endpoint.lastError).toBeNull();
    expect(toldTo(id, "mailbox put aside")).toHaveLength(1);
    expect(await staysQuiet(daemon, id, fresh.url)).toBe(0n);
  });

  it("a server that hangs up again and again is left alone for longer each time", { timeout: 180_000 }, async () => {
    await using server = await startScripted({ messages: [mail("one")] });
    const id = await liveAccount(daemon, accountAt(server, "imap"));
    const waits = (): number[] => toldTo(id, "connection lost").map(({ waitMs }) => Number(waitMs));
    // A connection that goes in the middle of a look is told by what failed.
    const told = (): number => waits().length + toldTo(id, "pass failed").length;
    while (waits().length < 5) {
      await sweep(daemon, id);
      const before = told();
      server.hangUp();
      await eventually("the loss is told", () => told() > before, { timeoutMs: 20_000 });
    }
    for (const [before, waitMs] of waits().entries()) {
      expect(waitMs).toBeGreaterThanOrEqual(500 * 2 ** before);
      expect(waitMs).toBeLessThanOrEqual(5_000 * 2 ** before);
    }
  });

  it(
    "S21: a listing that is given in parts is put together, and only what is in none of them is gone",
    { timeout: 180_000 },
    async () => {
      const all = Array.from({ length: 60 }, (_, at) => at + 1);
      /** Of each listing the newest 25, down to a UID that is told. */
      const inParts = (uids: readonly number[]): ScriptRule[] =>
        ["\\*", "35", "10"].map((last) => {
          const shown = uids.filter((uid) => last === "\\*" || uid <= Number(last)).slice(-25);
          const lines = shown.map((uid) => `* ${uids.indexOf(uid) + 1} FETCH (UID ${uid} FLAGS ())\r\n`);
          const code = shown.length === 25 ? `[MESSAGELIMIT 25 ${shown[0]}] ` : "";
          return { on: new RegExp(`^UID FETCH 1:${last} \\(UID FLAGS\\)$`), reply: [...lines, `{tag} OK ${code}done\r\n`] };
        });
      await using server = await startScripted({
        messages: all.map((uid) => mail(`m${uid}`)),
        state: { uids: all, uidnext: 61 },
        rules: inParts(all),
      });
      const id = await liveAccount(daemon, accountAt(server, "imap"));
      await sweep(daemon, id);
      const partsAsked = server.received.filter(({ line }) => line.includes("UID FETCH 1:35 (UID FLAGS)"));
      expect(partsAsked.length).toBeGreaterThan(0);
      const before = await mailOf(daemon, id);
      expect([before.length, await toldOf(id)]).toEqual([60, Array.from({ length: 60 }, () => "message.created backfilled")]);
      const left = all.filter((uid) => uid !== 20);
      await meetAgain(id, server, { state: { uids: left, uidnext: 61 }, rules: inParts(left) });
      await eventually("what is gone is decided", async () => (await toldOf(id)).length > 60, { timeoutMs: 30_000 });
      expect((await toldOf(id)).slice(60)).toEqual(["message.removed user_expunge"]);
      const after = (await mailOf(daemon, id)).map((one) => one.subject);
      expect(after.toSorted()).toEqual(left.map((uid) => `m${uid}`).toSorted());
    },
  );

  it("S22: mail that is listed and not given is no loss, and is whole once it is given", { timeout: 180_000 }, async () => {
    const raws = ["one", "two", "three"].map(mail);
    const state = { uids: [101, 102, 103] };
    const left = { on: /^UID FETCH (1:103|10[0-2]:\d+|\S*\b102\b).*BODY/, reply: ["{tag} OK done\r\n"] };
    await using server = await startScripted({ messages: raws, state, rules: [left] });
    const id = await liveAccount(daemon, accountAt(server, "imap"));
    const before = await mailOf(daemon, id);
    expect(before.map(({ subject }) => subject ?? "-").toSorted()).toEqual(["-", "one", "three"]);
    const stub = before.find(({ subject }) => subject === null);
    expect(stub?.placements).toMatchObject([{ state: "live", bindings: [{ uid: 102 }] }]);
    const raw = await daemon.call("GET", `/v1/accounts/${id}/messages/${stub?.id}/raw`);
    expect(raw).toMatchObject({ status: 409, body: { code: "body_not_available" } });
    for (let times = 0; times < 2; times += 1) await sweep(daemon, id);
    expect(await toldOf(id)).toEqual(Array.from({ length: 3 }, () => "message.created backfilled"));
    await meetAgain(id, server, { rules: [] });
    await eventually("it is whole", async () => (await toldOf(id)).includes("message.completed octets_came"), {
      timeoutMs: 30_000,
    });
    const whole = (await mailOf(daemon, id)).find((one) => one.id === stub?.id);
    expect(whole).toMatchObject({ subject: "two", receivedAt: "2024-06-04T08:10:00.000Z" });
    expect(await rawOf(daemon, id, whole?.id ?? "")).toEqual(raws[1]);
    expect((await toldOf(id)).length).toBe(4);
    expect(await staysQuiet(daemon, id, fresh.url)).toBe(0n);
  });
});

describe("over POP3", () => {
  it(
    "S98: twins whose unique-ids are numbered anew when one goes are one that is gone, and no new mail",
    { timeout: 180_000 },
    async () => {
      const messages = [mail("other"), mail("twin"), mail("twin"), mail("twin")];
      await using server = await startScripted({ protocol: "pop3", messages, state: { uidls: ["z", "abc", "abc-2", "abc-3"] } });
      const id = await liveAccount(daemon, accountAt(server, "pop3"));
      const created = await toldOf(id);
      expect(created.length).toBe(4);
      const retrieved = (): number => server.received.filter(({ line }) => /^(RETR|TOP)/.test(line)).length;
      const before = retrieved();
      const kept = async (count: number): Promise<void> => {
        await sweep(daemon, id);
        const isDecided = async (): Promise<boolean> => (await toldOf(id)).length >= 4 + count;
        await eventually("it is decided", isDecided, { timeoutMs: 30_000 });
        expect((await toldOf(id)).slice(4)).toEqual(Array.from({ length: count }, () => "message.kept pop3_drain"));
      };
      // One goes, and the others are numbered anew only later.
      server.become({ state: { uids: [101, 102, 103], uidls: ["z", "abc", "abc-3"] } });
      await kept(1);
      server.become({ state: { uids: [101, 102, 103], uidls: ["z", "abc", "abc-2"] } });
      for (let times = 0; times < 2; times += 1) await kept(1);
      server.become({ state: { uids: [101, 102], uidls: ["z", "abc"] } });
      await kept(2);
      const twins = (await mailOf(daemon, id))
        .filter(({ subject }) => subject === "twin")
        .flatMap(({ placements }) => placements);
      expect(twins.map(({ state, bindings }) => [state, bindings.map(({ uidl }) => uidl)]).toSorted()).toEqual([
        ["kept", []],
        ["kept", []],
        ["live", ["abc"]],
      ]);
      expect(await staysQuiet(daemon, id, fresh.url)).toBe(0n);
      expect(retrieved()).toBe(before);
    },
  );
});
