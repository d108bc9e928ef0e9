/** Commands whose daemon dies, sleeps or is overtaken while they are on their way: what was done is found, what was not is said again. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { changesOf, mailboxesOf, messagesOf } from "../support/account-view.ts";
import { itemsIn, moveTo, phone, settledCommands, write } from "../support/api-writes.ts";
import { type Daemon, dovecotAccount, liveAccount, startDaemon, testAdminKey } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { type FaultProxy, startFaultProxy } from "../support/fault-proxy.ts";
import { mailOf } from "../support/pop3-account.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";
import { eventsOf } from "../support/wire-events.ts";

let server: Dovecot;
let proxy: FaultProxy;
let fresh: FreshDatabase;
let daemon: Daemon;

const run = (): Promise<Daemon> =>
  startDaemon({ env: { DATABASE_URL: fresh.url, SAMEBOX_POLL_SECONDS: "1", SAMEBOX_LEASE_SECONDS: "2" } });

beforeAll(async () => {
  server = await startDovecot({ users: 9 });
  proxy = await startFaultProxy({ port: server.imapPort });
  fresh = await freshDatabase();
  daemon = await run();
});

afterEach(() => proxy.change({}));

afterAll(async () => {
  await daemon.stop();
  await fresh.drop();
  await proxy.stop();
  await server.stop();
});

const raw = (subject: string): Buffer =>
  Buffer.from(`Subject: ${subject}\r\nMessage-ID: <${subject}@crash.test>\r\n\r\nbody of ${subject}\r\n`);

const deliver = (n: number, mailbox: string, subjects: readonly string[]): Promise<number> =>
  server.deliver({ user: server.account(n).user, mailbox, messages: subjects.map(raw) });

const account = async (n: number): Promise<string> => {
  await deliver(n, "INBOX", ["one", "two"]);
  await deliver(n, "Work", ["there"]);
  return await liveAccount(daemon, dovecotAccount(server, n, { port: proxy.port }));
};

const crash = async (): Promise<void> => {
  daemon.kill("SIGKILL");
  await daemon.exited;
};

/** Ends as commands do whose answer nobody heard: those that were done, or (the line is cut first) were not. */
const crashing = (verb: string, when: "heard" | "unheard") => {
  const events = eventsOf(verb, {
    saying: async (nth) => {
      if (when === "heard" || nth > 1) return;
      await crash();
      proxy.resetAll();
    },
    done: (nth) => (when === "heard" && nth === 1 ? crash() : undefined),
  });
  proxy.change(events.faults);
  return events;
};

/** @returns verb, end and tries of each command. */
const endsAfterRestart = async (accountId: string): Promise<readonly unknown[]> => {
  await daemon.exited;
  daemon = await run();
  const commands = await settledCommands(fresh.url, accountId);
  return commands.map(({ verb, status, attempts }) => [verb, status, attempts]);
};

const logOf = async (accountId: string): Promise<readonly string[]> =>
  (await changesOf(daemon, accountId))
    .filter(({ reason }) => reason !== "backfilled" && reason !== "upstream_mailbox")
    .map(({ kind, rule }) => `${kind} ${String(rule)}`);

const bringTo = async (accountId: string, path: string, subject: string): Promise<void> => {
  const { id } = (await mailboxesOf(daemon, accountId)).get(path) ?? {};
  const response = await fetch(`${daemon.url}/v1/accounts/${accountId}/messages?mailboxId=${id}&keywords=$flagged`, {
    method: "POST",
    headers: { authorization: `Bearer ${testAdminKey}`, "content-type": "message/rfc822", ...phone },
    body: raw(subject),
  });
  expect(response.status).toBe(201);
};

describe("a daemon that dies behind a command", () => {
  describe("S107: a STORE", () => {
    it.each([
      ["heard", 1, 1],
      ["unheard", 2, 2],
    ] as const)("that was %s, by account %i, is sent %i times in all", { timeout: 270_000 }, async (when, n, times) => {
      const accountId = await account(n);
      const events = crashing("UID STORE", when);
      await write(daemon, accountId, "one", { body: { keywords: { $flagged: true, blue: true } } });
      expect(await endsAfterRestart(accountId)).toEqual([["store", "confirmed", times]]);
      expect(events.sent).toBe(times);
      expect(await itemsIn(server, n, "INBOX")).toEqual(["one \\Flagged blue", "two"]);
      expect((await logOf(accountId)).slice(-2)).toEqual(["message.keywords F2", "write.applied C1"]);
    });
  });

  describe("S111: a MOVE", () => {
    it.each([
      ["heard", 3, 1],
      ["unheard", 4, 2],
    ] as const)("that was %s, by account %i, is sent %i times in all", { timeout: 270_000 }, async (when, n, times) => {
      const accountId = await account(n);
      const before = (await messagesOf(daemon, accountId)).get("one");
      const events = crashing("UID MOVE", when);
      await moveTo(daemon, accountId, "one", "Work");
      expect(await endsAfterRestart(accountId)).toEqual([["move", "confirmed", times]]);
      expect(events.sent).toBe(times);
      expect(await itemsIn(server, n, "INBOX")).toEqual(["two"]);
      expect(await itemsIn(server, n, "Work")).toEqual(["one", "there"]);
      expect((await messagesOf(daemon, accountId)).get("one")).toEqual({ ...before, in: ["Work"] });
      expect((await logOf(accountId)).slice(-2)).toEqual(["message.moved P1", "write.applied C2"]);
    });
  });

  it(
    "S110: an APPEND beside which a twin arrived is the lower of the two, and the other one is another place",
    { timeout: 270_000 },
    async () => {
      const accountId = await account(5);
      const events = crashing("APPEND", "heard");
      await bringTo(accountId, "Work", "twin");
      await daemon.exited;
      await deliver(5, "Work", ["twin"]);
      expect(await endsAfterRestart(accountId)).toEqual([["append", "confirmed", 1]]);
      expect(events.sent).toBe(1);
      const [twin] = await eventually("both are there", async () => {
        const found = (await mailOf(daemon, accountId)).filter(({ subject }) => subject === "twin");
        return found[0]?.placements.length === 2 && found;
      });
      const places = twin?.placements.map(({ keywords, state, sync, bindings }) => [
        bindings[0]?.uid,
        Object.keys(keywords),
        state,
        sync,
      ]);
      expect(places?.toSorted()).toEqual([
        [2, ["$flagged"], "live", "synced"],
        [3, [], "live", "synced"],
      ]);
      expect(await itemsIn(server, 5, "Work")).toEqual(["there", "twin", "twin \\Flagged"]);
    },
  );
});

describe("two daemons, of which one slept past its lease", () => {
  it("S115: what both have in hand is done once, and the late one writes nothing", { timeout: 360_000 }, async () => {
    const accountId = await account(6);
    const sleeper = daemon;
    const events = eventsOf("APPEND", { done: (nth) => (nth === 1 ? sleeper.kill("SIGSTOP") : undefined) });
    proxy.change(events.faults);
    await bringTo(accountId, "Work", "brought");
    await eventually("it was said", async () => events.sent === 1 && (await itemsIn(server, 6, "Work")).length === 2);
    daemon = await run();
    expect(
      (await settledCommands(fresh.url, accountId, 60_000)).map(({ verb, status, attempts }) => [verb, status, attempts]),
    ).toEqual([["append", "confirmed", 1]]);
    const log = await logOf(accountId);
    sleeper.kill("SIGCONT");
    await eventually("the late one is done with it", async () => {
      const { body } = await sleeper.call<{ text: string }>("GET", "/metrics");
      return /^samebox_connections_open\{proto="imap",kind="writer"\} 0$/m.test(body.text);
    });
    await sleeper.stop();
    expect(events.sent).toBe(1);
    expect(await itemsIn(server, 6, "Work")).toEqual(["brought \\Flagged", "there"]);
    expect(await logOf(accountId)).toEqual(log);
    expect(log.slice(-2)).toEqual(["message.created ID-7", "write.applied C3"]);
  });
});
