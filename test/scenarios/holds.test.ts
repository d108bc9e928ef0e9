/** What breakers hold back: seen in the status and in the log, and decided by who owns the mail. */
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { changesOf, messagesOf, type SeenChange, statusOf } from "../support/account-view.ts";
import { type Daemon, dovecotAccount, liveAccount, startDaemon, testAdminKey } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";

let fresh: FreshDatabase;
let daemon: Daemon;
let server: Dovecot;

beforeAll(async () => {
  [fresh, server] = await Promise.all([freshDatabase(), startDovecot({ users: 8 })]);
  daemon = await startDaemon({ env: { DATABASE_URL: fresh.url, SAMEBOX_POLL_SECONDS: "1" } });
});

afterAll(async () => {
  await daemon.stop();
  await server.stop();
  await fresh.drop();
});

const patience = { timeoutMs: 60_000 };
const mail = (subject: string): Buffer =>
  Buffer.from(`Subject: ${subject}\r\nMessage-ID: <${subject}@holds.test>\r\n\r\nbody of ${subject}\r\n`);
const mails = (name: string, count: number): Buffer[] => Array.from({ length: count }, (_, at) => mail(`${name}${at}`));

const begin = async (n: number, subjects: readonly Buffer[], on = server): Promise<string> => {
  await on.deliver({ user: on.account(n).user, mailbox: "INBOX", messages: subjects });
  return liveAccount(daemon, dovecotAccount(on, n));
};

interface ShownHold {
  readonly id: string;
  readonly reason: string;
  readonly count: number;
  readonly decision: string | null;
}

const holdsOf = async (accountId: string): Promise<readonly ShownHold[]> =>
  (await daemon.call<{ items: ShownHold[] }>("GET", `/v1/accounts/${accountId}/holds`)).body.items;

const listedState = async (accountId: string): Promise<string | undefined> => {
  const { body } = await daemon.call<{ items: { id: string; syncState: string }[] }>("GET", "/v1/accounts");
  return body.items.find(({ id }) => id === accountId)?.syncState;
};

const held = (accountId: string, reason: string, count: number): Promise<ShownHold> =>
  eventually(
    `${reason} is held`,
    async () => {
      const holds = await holdsOf(accountId);
      expect(holds).toMatchObject([{ reason, count, decision: null }]);
      expect(await statusOf(daemon, accountId)).toMatchObject({ syncState: "held", holds });
      expect(await listedState(accountId)).toBe("held");
      return holds[0] as ShownHold;
    },
    patience,
  );

const say = (accountId: string, { id }: ShownHold, what: string) =>
  daemon.call<ShownHold & { code: string }>("POST", `/v1/accounts/${accountId}/holds/${id}/${what}`);

const over = (accountId: string): Promise<true> =>
  eventually(
    "nothing is held",
    async () => {
      expect(await holdsOf(accountId)).toEqual([]);
      return (await statusOf(daemon, accountId)).syncState === "live" && (await listedState(accountId)) === "live";
    },
    patience,
  );

const logOf = async (accountId: string): Promise<readonly SeenChange[]> =>
  (await changesOf(daemon, accountId)).filter(({ kind }) => kind !== "account.state");

const storyOf = (log: readonly SeenChange[]): Record<string, number> => {
  const story: Record<string, number> = {};
  for (const { kind, reason, rule } of log) story[`${kind} ${reason} ${rule}`] = (story[`${kind} ${reason} ${rule}`] ?? 0) + 1;
  return story;
};

const counted = async (name: string): Promise<number> => {
  const text = await (await fetch(`${daemon.url}/metrics`, { headers: { authorization: `Bearer ${testAdminKey}` } })).text();
  return Number(new RegExp(`^${name.replaceAll(/[{}"]/g, String.raw`\$&`)} (\\d+)`, "m").exec(text)?.[1] ?? 0);
};

describe("a mass of mail that is gone (B1)", () => {
  const takeAll = async (n: number): Promise<void> => {
    await server.doveadm("expunge", "-u", server.account(n).user, "mailbox", "INBOX", "all");
  };

  it.each([
    ["approve", 1, "message.removed user_expunge V17", "approved"],
    ["reject", 2, "message.kept mass_vanish_rejected B1", "rejected"],
  ] as const)("S18: %s", { timeout: 360_000 }, async (verb, n, story, outcome) => {
    const accountId = await begin(n, mails("m", 24));
    const before = await logOf(accountId);
    await takeAll(n);
    const hold = await held(accountId, "mass_vanish", 24);
    const messages = await messagesOf(daemon, accountId);
    expect(messages.size).toBe(24);
    const told = await daemon.call<{ holds: { id: string; otherwise: string }[] }>(
      "GET",
      `/v1/accounts/${accountId}/messages/${messages.get("m3")?.id}/explain`,
    );
    expect(told.body.holds.map(({ id, otherwise }) => [id, otherwise.includes(`${id}/${verb}`)])).toEqual([[hold.id, true]]);
    const answer = await say(accountId, hold, verb);
    expect([answer.status, answer.body.decision]).toEqual([202, outcome]);
    await over(accountId);
    const log = (await logOf(accountId)).slice(before.length);
    expect(storyOf(log)).toEqual({ "hold.opened mass_vanish B1": 1, [story]: 24, "hold.closed mass_vanish B1": 1 });
    expect(log.at(-1)?.after).toMatchObject({ outcome, count: 24, holdId: hold.id });
    expect((await messagesOf(daemon, accountId)).size).toBe(verb === "approve" ? 0 : 24);
    expect((await say(accountId, hold, verb)).status).toBe(404);
    expect(await counted('samebox_holds_total{reason="mass_vanish",event="closed"}')).toBeGreaterThan(0);
  });

  it("is decided once, and of one account", { timeout: 360_000 }, async () => {
    const accountId = await begin(3, mails("m", 24));
    await takeAll(3);
    const hold = await held(accountId, "mass_vanish", 24);
    await daemon.call("POST", `/v1/accounts/${accountId}/pause`);
    expect((await say(accountId, hold, "reject")).status).toBe(202);
    expect((await say(accountId, hold, "reject")).status).toBe(202);
    expect(await say(accountId, hold, "approve")).toMatchObject({ status: 409, body: { code: "conflict" } });
    expect(await holdsOf(accountId)).toMatchObject([{ decision: "rejected" }]);
    expect((await say(`acc_${"0".repeat(32)}`, hold, "reject")).status).toBe(404);
    await daemon.call("POST", `/v1/accounts/${accountId}/resume`);
    await over(accountId);
    expect((await messagesOf(daemon, accountId)).size).toBe(24);
  });
});

describe("a mass of flags that is gone (B3)", () => {
  const read = (messages: ReadonlyMap<string, { readonly keywords: readonly string[] }>): number =>
    [...messages.values()].filter(({ keywords }) => keywords.includes("$seen")).length;

  /** Of 100 mails that are read 60 become unread in one step. */
  const lose = async (n: number): Promise<{ accountId: string; log: readonly SeenChange[]; hold: ShownHold }> => {
    const messages = mails("m", 100).map((raw) => ({ raw, flags: ["\\Seen"] }));
    await server.deliver({ user: server.account(n).user, mailbox: "INBOX", messages });
    const accountId = await liveAccount(daemon, dovecotAccount(server, n));
    const log = await logOf(accountId);
    await using device = await server.device(n);
    await device.select("INBOX");
    await device.store("1:60", "-", ["\\Seen"]);
    const hold = await held(accountId, "mass_flag_loss", 60);
    await device.store("70", "+", ["\\Flagged"]);
    await eventually("others go on", async () => (await messagesOf(daemon, accountId)).get("m69")?.keywords.includes("$flagged"));
    expect(read(await messagesOf(daemon, accountId))).toBe(100);
    return { accountId, log, hold };
  };

  it.each([
    ["approve", 6, 40, { "message.keywords upstream_flags F1": 61 }],
    ["reject", 7, 100, { "message.keywords upstream_flags F1": 1 }],
  ] as const)("S47: %s", { timeout: 360_000 }, async (verb, n, left, story) => {
    const { accountId, log, hold } = await lose(n);
    await say(accountId, hold, verb);
    await over(accountId);
    const ends = { "hold.opened mass_flag_loss B3": 1, "hold.closed mass_flag_loss B3": 1 };
    const since = (await logOf(accountId)).slice(log.length).filter(({ kind }) => !kind.startsWith("write."));
    expect(storyOf(since)).toEqual({ ...ends, ...story });
    expect(read(await messagesOf(daemon, accountId))).toBe(left);
  });

  it("comes to nothing where the server has them again", { timeout: 360_000 }, async () => {
    const { accountId, log } = await lose(8);
    await using device = await server.device(8);
    await device.select("INBOX");
    await device.store("1:60", "+", ["\\Seen"]);
    await over(accountId);
    const since = (await logOf(accountId)).slice(log.length);
    expect(since.find(({ kind }) => kind === "hold.closed")?.after).toMatchObject({ outcome: "reappeared" });
    expect(storyOf(since)["message.keywords upstream_flags F1"]).toBe(1);
  });
});

/** The server comes back with other mail in the mailbox, under a new UIDVALIDITY; `kept` of the old mails are still there. */
const replaceMailbox = async (n: number, kept: number, others: readonly Buffer[]): Promise<void> => {
  const { user } = server.account(n);
  const folder = join((await server.doveadm("user", "-f", "home", user)).trim(), "mail");
  const files = (await readdir(join(folder, "cur"))).toSorted();
  for (const file of files.slice(kept)) await rm(join(folder, "cur", file));
  for (const file of await readdir(folder)) if (file.startsWith("dovecot")) await rm(join(folder, file), { recursive: true });
  await server.deliver({ user, mailbox: "INBOX", messages: others });
  await server.doveadm("mailbox", "update", "-u", user, "--uid-validity", "7654321", "INBOX");
};

describe("S93 S19: a mailbox that is numbered anew and hardly the one it was (B4)", () => {
  it.each([
    ["approve", 4, { "message.removed user_expunge V17": 7 }, "approved"],
    ["reject", 5, { "message.kept epoch_rejected B4": 7 }, "rejected"],
  ] as const)("S93: %s", { timeout: 360_000 }, async (verb, n, story, outcome) => {
    const accountId = await begin(n, mails("old", 10));
    const before = await messagesOf(daemon, accountId);
    const log = await logOf(accountId);
    // As in a night in which the server is moved.
    await daemon.call("POST", `/v1/accounts/${accountId}/pause`);
    await replaceMailbox(n, 3, mails("other", 7));
    await daemon.call("POST", `/v1/accounts/${accountId}/resume`);
    const hold = await held(accountId, "epoch", 7);
    await server.deliver({ user: server.account(n).user, mailbox: "INBOX", messages: [mail("news")] });
    await eventually("new mail flows in", async () => (await messagesOf(daemon, accountId)).has("news"), patience);
    const meanwhile = await messagesOf(daemon, accountId);
    expect(new Map([...meanwhile].filter(([subject]) => subject !== "news"))).toEqual(before);
    await say(accountId, hold, verb);
    await over(accountId);
    const settled = {
      "epoch.changed uidvalidity_changed G5": 1,
      "hold.opened epoch B4": 1,
      "hold.closed epoch B4": 1,
      "message.created delivered ID-7": 1,
      "message.created backfilled ID-7": 7,
      ...story,
    };
    await eventually(
      "it is settled",
      async () => {
        const since = (await logOf(accountId)).slice(log.length);
        expect(storyOf(since)).toEqual(settled);
        expect(since.find(({ kind }) => kind === "hold.closed")?.after).toMatchObject({ outcome });
        return true;
      },
      patience,
    );
    const after = await messagesOf(daemon, accountId);
    for (const subject of ["old0", "old1", "old2"]) expect(after.get(subject)).toEqual(before.get(subject));
    expect(after.has("old9")).toBe(verb === "reject");
  });

  it("S19: an index that is lost and mended comes to nothing", { timeout: 360_000 }, async () => {
    await using sdbox = await startDovecot({ users: 1, format: "sdbox" });
    const accountId = await begin(1, mails("m", 30), sdbox);
    const before = await messagesOf(daemon, accountId);
    const log = await logOf(accountId);
    const folder = join((await sdbox.doveadm("user", "-f", "home", "user1")).trim(), "mail", "mailboxes", "INBOX", "dbox-Mails");
    for (const file of await readdir(folder)) if (file.startsWith("dovecot.index")) await rm(join(folder, file));
    await sdbox.restart();
    await held(accountId, "epoch", 30);
    expect(await messagesOf(daemon, accountId)).toEqual(before);
    await sdbox.doveadm("force-resync", "-u", "user1", "INBOX");
    await over(accountId);
    expect(await messagesOf(daemon, accountId)).toEqual(before);
    const kinds = new Set((await logOf(accountId)).slice(log.length).map(({ kind }) => kind));
    expect([...kinds].sort()).toEqual(["epoch.changed", "hold.closed", "hold.opened"]);
  });
});
