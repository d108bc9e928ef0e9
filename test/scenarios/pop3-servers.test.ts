/** Maildrops of servers that nobody can install: what they list wrongly or not at all never costs a mail. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { changesOf, statusOf } from "../support/account-view.ts";
import { type Daemon, liveAccount, startDaemon } from "../support/daemon.ts";
import { eventually } from "../support/eventually.ts";
import { type ListedMail, mailOf, rawOf, staysQuiet, sweep } from "../support/pop3-account.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";
import type { Script } from "../support/script.ts";
import { type ScriptedServer, startScripted } from "../support/scripted-server.ts";

let fresh: FreshDatabase;
let daemon: Daemon;

const mail = (subject: string): Buffer =>
  Buffer.from(`Subject: ${subject}\r\nMessage-ID: <${subject}@odd.test>\r\n\r\nbody of ${subject}\r\n`);

const many = (count: number): Buffer[] => Array.from({ length: count }, (_, at) => mail(`m${at}`));

beforeAll(async () => {
  fresh = await freshDatabase();
  daemon = await startDaemon({ env: { DATABASE_URL: fresh.url, SAMEBOX_POLL_SECONDS: "1" } });
});

afterAll(async () => {
  await daemon.stop();
  await fresh.drop();
});

const startMaildrop = (script: Omit<Script, "protocol">): Promise<ScriptedServer> =>
  startScripted({ ...script, protocol: "pop3" });

let logins = 0;

/** A login of its own for each account: the daemon counts connections by host and login. */
const accountAt = ({ host, port }: ScriptedServer, policy: Record<string, unknown> = {}) => {
  logins += 1;
  const auth = { type: "password", user: `odd${logins}`, password: "secret" };
  return { email: `odd${logins}@example.test`, policy, endpoints: [{ protocol: "pop3", host, port, security: "none", auth }] };
};

const bySubject = async (id: string): Promise<Map<string, ListedMail>> =>
  new Map((await mailOf(daemon, id)).map((message) => [message.subject ?? "", message]));

const kindsOf = async (id: string): Promise<string[]> => (await changesOf(daemon, id)).map(({ kind }) => kind);

/** What every message of the account looks like in its mailbox, and how many of each. */
const states = async (id: string): Promise<Record<string, number>> => {
  const counts: Record<string, number> = {};
  for (const { placements } of await mailOf(daemon, id))
    for (const { state, reason, bindings } of placements) {
      const name = `${state} ${reason} ${bindings.length}`;
      counts[name] = (counts[name] ?? 0) + 1;
    }
  return counts;
};

describe("unique-ids as servers really make them", () => {
  it("with blanks, of any length, and twice the same, are told apart and stay what they are", { timeout: 180_000 }, async () => {
    const list = [`1   two  words `, `2  dup`, `3 dup`, `4 ${"x".repeat(300)}`, `5 ${"y".repeat(600)}`, `6 \xe4\xff`];
    const uidl = { on: /^UIDL$/, reply: [`+OK\r\n${list.map((line) => `${line}\r\n`).join("")}.\r\n`] };
    await using server = await startMaildrop({ messages: many(6), rules: [uidl] });
    const id = await liveAccount(daemon, accountAt(server));
    const found = await bySubject(id);
    expect(found.size).toBe(6);
    for (const [subject, message] of found) expect(await rawOf(daemon, id, message.id)).toEqual(mail(subject));
    const ids = [...found.values()].map(({ placements }) => placements[0]?.bindings[0]?.uidl);
    expect(ids).toEqual(expect.arrayContaining(["two  words", "dup", "x".repeat(300), "\xe4\xff"]));
    expect(await staysQuiet(daemon, id, fresh.url)).toBe(0n);
  });
});

describe("a listing that is not whole", () => {
  /** What the account holds and has logged, to be compared with later. */
  const held = async (id: string): Promise<unknown> => ({
    mail: (await mailOf(daemon, id)).map(({ subject, placements }) => ({ subject, placements })),
    log: (await kindsOf(id)).filter((kind) => kind !== "account.state"),
  });

  it(
    "S13: a UIDL that ends before its dot is not believed, and the server is left alone for a while",
    { timeout: 180_000 },
    async () => {
      await using server = await startMaildrop({ messages: many(40) });
      const id = await liveAccount(daemon, accountAt(server));
      const before = await held(id);
      server.become({ rules: [{ on: /^UIDL$/, reply: ["+OK\r\n1 uid-101\r\n"], ending: "close" }] });
      const { endpoint } = await eventually(
        "it is told",
        async () => {
          const status = await statusOf(daemon, id);
          return status.endpoint.lastError?.code === "endpoint_closed" ? status : false;
        },
        { timeoutMs: 30_000 },
      );
      expect(Date.parse(endpoint.nextAttemptAt ?? "")).toBeGreaterThan(Date.now());
      const sessions = server.sessions;
      await daemon.call("POST", `/v1/accounts/${id}/sync`);
      await eventually("it was asked again", () => server.sessions > sessions);
      expect(await held(id)).toEqual(before);
      server.become({ rules: [] });
      server.arrive(mail("after"));
      await daemon.call("POST", `/v1/accounts/${id}/sync`);
      await eventually("it goes on", async () => (await bySubject(id)).has("after"), { timeoutMs: 30_000 });
      expect(await kindsOf(id)).not.toContain("message.kept");
    },
  );

  it("S14: fewer unique-ids than STAT and LIST count is no absence", { timeout: 180_000 }, async () => {
    await using server = await startMaildrop({ messages: many(40) });
    const id = await liveAccount(daemon, accountAt(server));
    const before = await held(id);
    server.become({ rules: [{ on: /^UIDL$/, reply: ["+OK\r\n{seq:%d uid-10%d\r\n:1:9}.\r\n"] }] });
    for (let times = 0; times < 3; times += 1) await sweep(daemon, id);
    expect(await held(id)).toEqual(before);
    server.become({ rules: [] });
    expect(await staysQuiet(daemon, id, fresh.url)).toBe(0n);
  });

  it("a server without unique-ids is refused in plain words, and asked no more", { timeout: 180_000 }, async () => {
    await using server = await startMaildrop({
      messages: many(3),
      rules: [{ on: /^UIDL/, reply: ["-ERR unknown command\r\n"] }],
    });
    const { body } = await daemon.call<{ id: string }>("POST", "/v1/accounts", accountAt(server));
    const { endpoint } = await eventually("it is told", async () => {
      const status = await statusOf(daemon, body.id);
      return status.syncState === "needs_attention" ? status : false;
    });
    expect(endpoint.lastError).toMatchObject({
      code: "endpoint_refused",
      message: expect.stringContaining("unique-ids") as string,
    });
    expect(Date.parse(endpoint.nextAttemptAt ?? "") - Date.now()).toBeGreaterThan(3_600_000);
    expect(await mailOf(daemon, body.id)).toEqual([]);
  });
});

describe("Courier on a bad day", () => {
  it("an item that cannot be read keeps no other back", { timeout: 180_000 }, async () => {
    const rules = [{ on: /^(RETR|TOP) 3\b/, reply: ["-ERR ENOMEM\r\n"] }];
    await using server = await startMaildrop({
      messages: many(6),
      state: { uidls: ["a", "b", "ENOMEM-1", "d", "e", "f"] },
      rules,
    });
    const id = await liveAccount(daemon, accountAt(server));
    const found = await bySubject(id);
    expect([...found.keys()].toSorted()).toEqual(["m0", "m1", "m3", "m4", "m5"]);
    server.arrive(mail("later"));
    await eventually("the next comes", async () => (await bySubject(id)).has("later"));
  });

  it("S15: a full disk that leaves one such item holds everything back", { timeout: 270_000 }, async () => {
    await using server = await startMaildrop({ messages: many(80) });
    const id = await liveAccount(daemon, accountAt(server));
    const before = await states(id);
    const enomem = { on: /^UIDL$/, reply: ["+OK\r\n1 ENOMEM-1\r\n.\r\n"] };
    server.become({ state: { window: 1 }, rules: [enomem, { on: /^(RETR|TOP)/, reply: ["-ERR ENOMEM\r\n"] }] });
    const [hold] = await eventually("they are held", async () => {
      const { holds } = await statusOf(daemon, id);
      return holds.length > 0 ? holds : false;
    });
    expect(hold?.count).toBe(80);
    expect(await states(id)).toEqual(before);
    server.become({ state: {}, rules: [] });
    server.arrive(mail("after"));
    await eventually("the disk has room again", async () => (await bySubject(id)).has("after"), { timeoutMs: 30_000 });
    expect(await states(id)).toEqual({ ...before, "live delivered 1": 1 });
    await eventually("nothing is held any more", async () => (await statusOf(daemon, id)).holds.length === 0);
    const seen = (await kindsOf(id)).filter((kind) => kind.startsWith("message."));
    expect(new Set(seen)).toEqual(new Set(["message.created"]));
  });
});

describe("servers that show a part of the maildrop", () => {
  it("V6: what slides out of WildDuck's 250 newest is neither lost nor removed", { timeout: 180_000 }, async () => {
    await using server = await startMaildrop({ messages: many(300), state: { newest: 250 } });
    const id = await liveAccount(daemon, accountAt(server, { onPop3Drain: "mirror" }));
    expect(await states(id)).toEqual({ "live backfilled 1": 250 });
    for (let at = 0; at < 4; at += 1) server.arrive(mail(`new${at}`));
    await eventually("they come and others slide out", async () =>
      expect(await states(id)).toEqual({ "live backfilled 1": 246, "live backfilled 0": 4, "live delivered 1": 4 }),
    );
    await eventually("the window is known", async () =>
      expect((await statusOf(daemon, id)).endpoint.profile).toMatchObject({ listingWindow: { kind: "newest", count: 250 } }),
    );
    expect(await staysQuiet(daemon, id, fresh.url)).toBe(0n);
    // Wide enough for all that there is: what slid out comes back as what it was, and the rest is read.
    server.become({ state: {} });
    await eventually("all are seen", async () =>
      expect(await states(id)).toEqual({ "live backfilled 1": 250, "live delivered 1": 54 }),
    );
    expect(new Set((await kindsOf(id)).filter((kind) => kind.startsWith("message.")))).toEqual(new Set(["message.created"]));
  });

  it("what Gmail hides once it was retrieved is not taken for drained", { timeout: 180_000 }, async () => {
    const rules = [{ on: /^TOP/, reply: ["-ERR not here\r\n"] }];
    await using server = await startMaildrop({ messages: many(30), state: { popped: true, window: 12 }, rules });
    const id = await liveAccount(daemon, accountAt(server, { onPop3Drain: "mirror" }));
    await eventually("all are read, a dozen at a time", async () =>
      expect(await states(id)).toEqual({ "live delivered 0": 18, "live backfilled 0": 12 }),
    );
  });
});
