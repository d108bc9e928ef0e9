/** What devices do to mail and mailboxes that a server lets them do, and no person would mean. */
import { readdir, rename } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { changesOf, mailboxesOf, messagesOf, type SeenChange, statusOf } from "../support/account-view.ts";
import { itemsIn } from "../support/api-writes.ts";
import { type Daemon, dovecotAccount, liveAccount, startDaemon } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { commandsOf, shadowsOf } from "../support/owed-writes.ts";
import { staysQuiet } from "../support/pop3-account.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";

let server: Dovecot;
let fresh: FreshDatabase;
let daemon: Daemon;

beforeAll(async () => {
  [server, fresh] = await Promise.all([startDovecot({ users: 8 }), freshDatabase()]);
  daemon = await startDaemon({ env: { DATABASE_URL: fresh.url, SAMEBOX_POLL_SECONDS: "1" } });
});

afterAll(async () => {
  await daemon.stop();
  await fresh.drop();
  await server.stop();
});

const patient = { timeoutMs: 60_000, everyMs: 50 };
const mail = (subject: string): Buffer => Buffer.from(`Subject: ${subject}\r\n\r\nbody of ${subject}\r\n`);

/** An account with a few mails in INBOX, and the log of what happened to mail and mailboxes since it was read. */
const begin = async (n: number, flags: readonly string[] = [], subjects: readonly string[] = ["m"]) => {
  const messages = subjects.map((subject) => ({ raw: mail(subject), flags }));
  await server.deliver({ user: server.account(n).user, mailbox: "INBOX", messages });
  const id = await liveAccount(daemon, dovecotAccount(server, n));
  const before = (await changesOf(daemon, id)).length;
  const since = async (): Promise<readonly SeenChange[]> =>
    (await changesOf(daemon, id)).slice(before).filter(({ kind }) => kind !== "account.state");
  const told = async (): Promise<readonly string[]> => (await since()).map(({ kind, reason }) => `${kind} ${reason}`);
  return { id, before: await messagesOf(daemon, id), since, told };
};

const keywordsOf = async (id: string): Promise<readonly string[] | undefined> =>
  (await messagesOf(daemon, id)).get("m")?.keywords;

/** Every command that was planned has come to its end, and there are so many. */
const ended = (id: string, count: number) =>
  eventually(
    "what is owed is done",
    async () => {
      const commands = await commandsOf(fresh.url, id);
      return commands.length === count && commands.every(({ status }) => status === "confirmed") && commands;
    },
    patient,
  );

describe("keywords", () => {
  it("S45: mail that two clients have as junk and as no junk is neither, here and there", { timeout: 60_000 }, async () => {
    const { id, told } = await begin(1);
    await using device = await server.device(1);
    await device.select("INBOX");
    await device.store("1", "+", ["$Junk"]);
    await eventually("one is seen", async () => (await keywordsOf(id))?.includes("$junk"), patient);
    await device.store("1", "+", ["$NotJunk"]);
    expect((await ended(id, 1)).map(({ verb, reason }) => [verb, reason])).toEqual([["store", "exclusive_keywords"]]);
    expect(await itemsIn(server, 1, "INBOX")).toEqual(["m"]);
    expect(await keywordsOf(id)).toEqual([]);
    expect(await told()).toEqual([
      "message.keywords upstream_flags",
      "message.keywords upstream_flags",
      "write.applied exclusive_keywords",
    ]);
    // Mail that comes with both is told the same.
    await device.append("INBOX", { raw: mail("late"), flags: ["$Junk", "$NotJunk"] });
    await ended(id, 2);
    expect(await itemsIn(server, 1, "INBOX")).toEqual(["late", "m"]);
    expect((await messagesOf(daemon, id)).get("late")?.keywords).toEqual([]);
    expect(await staysQuiet(daemon, id, fresh.url)).toBe(0n);
  });

  it("S50: a receipt that was sent stays sent, and a client that forgets it is told once", { timeout: 60_000 }, async () => {
    const { id, told } = await begin(2, ["$MDNSent"]);
    await using device = await server.device(2);
    await device.select("INBOX");
    await device.store("1", "-", ["$MDNSent"]);
    await ended(id, 1);
    expect(await itemsIn(server, 2, "INBOX")).toEqual(["m $MDNSent"]);
    expect(await keywordsOf(id)).toEqual(["$mdnsent"]);
    expect(await told()).toEqual(["write.applied grow_only"]);
    // Who does it again has his way there, and not here (I14).
    await device.store("1", "-", ["$MDNSent"]);
    await eventually("it is seen", async () => !(await shadowsOf(fresh.url, id)).includes("$MDNSent"), patient);
    expect(await staysQuiet(daemon, id, fresh.url)).toBe(0n);
    expect(await itemsIn(server, 2, "INBOX")).toEqual(["m"]);
    expect(await keywordsOf(id)).toEqual(["$mdnsent"]);
    expect(await told()).toEqual(["write.applied grow_only"]);
  });

  it("S79: a mark of deletion that is taken back was nothing", { timeout: 60_000 }, async () => {
    const { id, before, told } = await begin(3);
    await using device = await server.device(3);
    await device.select("INBOX");
    for (const how of ["+", "-"] as const) {
      await device.store("1", how, ["\\Deleted"]);
      const isMarked = how === "+";
      await eventually("it is seen", async () => (await shadowsOf(fresh.url, id)).includes("\\Deleted") === isMarked, patient);
      expect(await messagesOf(daemon, id)).toEqual(before);
    }
    expect(await told()).toEqual([]);
    expect(await commandsOf(fresh.url, id)).toEqual([]);
  });
});
