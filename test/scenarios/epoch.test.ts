/** Servers that forget what they said: new UIDVALIDITY, mod-sequences that run backwards, listings that are empty for a while. */
import { readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { changesOf, messagesOf, type SeenChange, type SeenMessage, statusOf } from "../support/account-view.ts";
import { type Daemon, dovecotAccount, liveAccount, startDaemon } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { rawOf } from "../support/pop3-account.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";
import { swapNumbers } from "../support/swapped-numbers.ts";

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

const mail = (subject: string): Buffer =>
  Buffer.from(`Subject: ${subject}\r\nMessage-ID: <${subject}@epoch.test>\r\n\r\nbody of ${subject}\r\n`);

interface Life {
  readonly accountId: string;
  readonly messages: ReadonlyMap<string, SeenMessage>;
  /** What was logged since. */
  since(): Promise<readonly SeenChange[]>;
}

const begin = async (server: Dovecot, n: number, count = 12): Promise<Life> => {
  const { user } = server.account(n);
  const messages = Array.from({ length: count }, (_, at) => ({
    raw: mail(`m${at}`),
    flags: at % 2 === 0 ? ["\\Seen"] : [],
    internalDate: new Date(Date.UTC(2026, 1, 3, 4, 5, at)),
  }));
  await server.deliver({ user, mailbox: "INBOX", messages });
  await server.deliver({ user, mailbox: "Work", messages: [mail("m0"), mail("w")] });
  const accountId = await liveAccount(daemon, dovecotAccount(server, n));
  const before = await changesOf(daemon, accountId);
  return {
    accountId,
    messages: await messagesOf(daemon, accountId),
    since: async () => (await changesOf(daemon, accountId)).slice(before.length),
  };
};

const octetsOf = async ({ accountId, messages }: Life): Promise<readonly string[]> =>
  Promise.all([...messages.values()].map(async ({ id }) => String(await rawOf(daemon, accountId, id))));

/** The daemon has seen what happened and come to rest. */
const settles = (life: Life, mark: (change: SeenChange) => boolean): Promise<true> =>
  eventually(
    "it is seen",
    async () => {
      if (!(await life.since()).some(mark)) return false;
      return (await statusOf(daemon, life.accountId)).syncState === "live";
    },
    { timeoutMs: 20_000 },
  );

/** No mail made again, none removed, no flag cleared: what the server forgot is no wish of the user's. */
const expectNothingInferred = async (life: Life, allowed: readonly string[]): Promise<void> => {
  const changes = await life.since();
  const kinds = new Set(changes.map(({ kind }) => kind).filter((kind) => kind !== "account.state"));
  expect([...kinds].sort()).toEqual([...allowed].sort());
  const now = await messagesOf(daemon, life.accountId);
  for (const [subject, message] of life.messages) expect(now.get(subject), subject).toEqual(message);
};

const hasNewMail = (life: Life): Promise<true> =>
  eventually("new mail", async () => (await messagesOf(daemon, life.accountId)).has("after"), { timeoutMs: 20_000 });

const variants = [
  { name: "QRESYNC", hidden: ["NOTIFY"] },
  { name: "CONDSTORE", hidden: ["NOTIFY", "QRESYNC"] },
  { name: "neither", hidden: ["NOTIFY", "QRESYNC", "CONDSTORE"] },
];

describe.each(variants)("with $name", ({ hidden }) => {
  let server: Dovecot;
  const folderOf = async (n: number): Promise<string> =>
    (await server.doveadm("user", "-f", "home", server.account(n).user)).trim() + "/mail";

  beforeAll(async () => {
    server = await startDovecot({ users: 6, withoutCapabilities: hidden });
  });

  afterAll(() => server.stop());

  it("a new UIDVALIDITY keeps every id, and mail goes on", { timeout: 180_000 }, async () => {
    const life = await begin(server, 1);
    await server.doveadm("mailbox", "update", "-u", "user1", "--uid-validity", "1234567", "INBOX");
    await settles(life, ({ kind }) => kind === "epoch.changed");
    await expectNothingInferred(life, ["epoch.changed"]);
    await using device = await server.device(1);
    await device.append("INBOX", mail("after"));
    await hasNewMail(life);
    await device.select("INBOX");
    const [first = 0] = await device.uids();
    await device.store(first, "+", ["\\Flagged"]);
    await eventually("flags follow the new numbers", async () => {
      const m0 = (await messagesOf(daemon, life.accountId)).get("m0");
      return m0?.keywords.includes("$flagged") === true;
    });
  });

  it("a mailbox numbered anew by the server keeps every id", { timeout: 180_000 }, async () => {
    const life = await begin(server, 2);
    const folder = await folderOf(2);
    for (const file of await readdir(folder)) if (file.startsWith("dovecot")) await rm(join(folder, file), { recursive: true });
    await server.restart();
    await server.deliver({ user: "user2", mailbox: "INBOX", messages: [mail("after")] });
    await hasNewMail(life);
    await eventually("it is live", async () => (await statusOf(daemon, life.accountId)).syncState === "live");
    const kinds = (await life.since()).map(({ kind }) => kind);
    expect(kinds.filter((kind) => kind === "message.created")).toHaveLength(1);
    await expectNothingInferred(life, ["message.created", ...(kinds.includes("epoch.changed") ? ["epoch.changed"] : [])]);
  });

  it("lost indexes, with mod-sequences that begin again, infer nothing", { timeout: 180_000 }, async () => {
    const life = await begin(server, 3);
    await using device = await server.device(3);
    await device.select("INBOX");
    for (let round = 0; round < 5; round += 1)
      for (const how of ["+", "-"] as const) await device.store("1:12", how, ["\\Answered"]);
    await device.store("1", "+", ["\\Flagged"]);
    await eventually("the daemon is past that", async () =>
      (await messagesOf(daemon, life.accountId)).get("m0")?.keywords.includes("$flagged"),
    );
    const before = await messagesOf(daemon, life.accountId);
    const seen = (await life.since()).length;
    await device.close();
    const folder = await folderOf(3);
    for (const file of await readdir(folder)) if (file.startsWith("dovecot.index")) await rm(join(folder, file));
    await server.restart();
    await server.deliver({ user: "user3", mailbox: "INBOX", messages: [mail("after")] });
    await hasNewMail(life);
    const after = (await life.since()).slice(seen).map(({ kind }) => kind);
    expect(after.filter((kind) => kind !== "account.state")).toEqual(["message.created"]);
    const now = await messagesOf(daemon, life.accountId);
    for (const [subject, message] of before) expect(now.get(subject), subject).toEqual(message);
    await using later = await server.device(3);
    await later.select("INBOX");
    await later.store("2", "+", ["\\Answered"]);
    await eventually("flags are followed again", async () =>
      (await messagesOf(daemon, life.accountId)).get("m1")?.keywords.includes("$answered"),
    );
  });

  it("ID-11: other mail under known numbers is found out, and keeps its own id and flags", { timeout: 180_000 }, async () => {
    const life = await begin(server, 5);
    const octets = await octetsOf(life);
    await swapNumbers(server, { user: "user5", mailbox: "INBOX", uid: 3, lost: "dovecot.index" });
    await server.deliver({ user: "user5", mailbox: "INBOX", messages: [mail("after")] });
    await hasNewMail(life);
    await eventually("it is live", async () => (await statusOf(daemon, life.accountId)).syncState === "live");
    await expectNothingInferred(life, ["epoch.changed", "message.created"]);
    const [told] = (await life.since()).filter(({ kind }) => kind === "epoch.changed");
    expect(told).toMatchObject({ reason: "content_mismatch", rule: "ID-11" });
    expect(told?.evidence.map(({ uid, differs }) => [uid, differs])).toEqual([3, 4].map((uid) => [uid, "receivedAt"]));
    expect(await octetsOf(life)).toEqual(octets);
    await using device = await server.device(5);
    await device.select("INBOX");
    await device.store("3", "+", ["\\Flagged"]);
    await eventually("flags are those of the mail that is there now", async () =>
      (await messagesOf(daemon, life.accountId)).get("m3")?.keywords.includes("$flagged"),
    );
    expect((await messagesOf(daemon, life.accountId)).get("m2")?.keywords).toEqual(["$seen"]);
  });

  it("a mailbox that shows empty for a while loses nothing", { timeout: 180_000 }, async () => {
    const life = await begin(server, 4);
    const folder = await folderOf(4);
    // As after a lost mount: all is there again a moment later.
    await rename(join(folder, "cur"), join(folder, "../gone"));
    await using device = await server.device(4);
    expect((await device.select("INBOX")).exists).toBe(0);
    await device.command("UNSELECT");
    await device.append("Work", mail("after"));
    await hasNewMail(life);
    await daemon.call("POST", `/v1/accounts/${life.accountId}/sync`);
    await device.append("Work", mail("later"));
    await eventually("later", async () => (await messagesOf(daemon, life.accountId)).has("later"), { timeoutMs: 20_000 });
    await rm(join(folder, "cur"), { recursive: true, force: true });
    await rename(join(folder, "../gone"), join(folder, "cur"));
    await device.append("INBOX", mail("back"));
    await eventually("back", async () => (await messagesOf(daemon, life.accountId)).has("back"), { timeoutMs: 20_000 });
    await daemon.call("POST", `/v1/accounts/${life.accountId}/sync`);
    const kinds = new Set((await life.since()).map(({ kind }) => kind));
    expect(kinds).not.toContain("message.removed");
    const now = await messagesOf(daemon, life.accountId);
    for (const [subject, message] of life.messages) expect(now.get(subject), subject).toEqual(message);
  });
});
