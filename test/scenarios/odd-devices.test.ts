/** What devices do to mail and mailboxes that a server lets them do, and no person would mean. */
import { readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { changesOf, mailboxesOf, messagesOf, type SeenChange, statusOf } from "../support/account-view.ts";
import { itemsIn } from "../support/api-writes.ts";
import { type Daemon, dovecotAccount, liveAccount, startDaemon } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { commandsOf, shadowsOf } from "../support/owed-writes.ts";
import { type FaultProxy, startFaultProxy } from "../support/fault-proxy.ts";
import { pop3Account, staysQuiet, sweep } from "../support/pop3-account.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";

let server: Dovecot;
let proxy: FaultProxy;
let fresh: FreshDatabase;
let daemon: Daemon;

beforeAll(async () => {
  [server, fresh] = await Promise.all([startDovecot({ users: 9 }), freshDatabase()]);
  proxy = await startFaultProxy({ port: server.imapPort });
  daemon = await startDaemon({ env: { DATABASE_URL: fresh.url, SAMEBOX_POLL_SECONDS: "1" } });
});

afterAll(async () => {
  await daemon.stop();
  await fresh.drop();
  await proxy.stop();
  await server.stop();
});

const patient = { timeoutMs: 60_000, everyMs: 50 };
const mail = (subject: string): Buffer => Buffer.from(`Subject: ${subject}\r\n\r\nbody of ${subject}\r\n`);

/** An account with a few mails in INBOX, and the log of what happened to mail and mailboxes since it was read. */
const begin = async (n: number, flags: readonly string[] = [], subjects: readonly string[] = ["m"]) => {
  const messages = subjects.map((subject) => ({ raw: mail(subject), flags }));
  await server.deliver({ user: server.account(n).user, mailbox: "INBOX", messages });
  const id = await liveAccount(daemon, dovecotAccount(server, n, { port: proxy.port }));
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
  it("S45: mail that two clients have as junk and as no junk is neither, here and there", { timeout: 180_000 }, async () => {
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

  it("S50: a receipt that was sent stays sent, and a client that forgets it is told once", { timeout: 180_000 }, async () => {
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

  it("S79: a mark of deletion that is taken back was nothing", { timeout: 180_000 }, async () => {
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

describe("mailboxes", () => {
  it("S55: one that is renamed while it is read keeps its id and its mail", { timeout: 180_000 }, async () => {
    await server.deliver({ user: "user4", mailbox: "Proj", messages: [mail("p")] });
    const { id, before, told } = await begin(4);
    const projId = (await mailboxesOf(daemon, id)).get("Proj")?.id;
    await using device = await server.device(4);
    let opened = false;
    let renamed = false;
    let thrownOut = false;
    proxy.change({
      toServer: {
        before: async (piece) => {
          if (opened && !renamed) {
            renamed = true;
            await device.rename({ from: "Proj", to: "Proj2" });
          }
          opened ||= /EXAMINE "?Proj/.test(piece.toString());
        },
      },
      toClient: { before: (piece) => void (thrownOut ||= piece.includes("BYE")) },
    });
    await device.append("Proj", mail("news"));
    await eventually("it is seen", async () => (await messagesOf(daemon, id)).get("news")?.in.includes("Proj2"), patient);
    proxy.change({});
    expect([renamed, thrownOut]).toEqual([true, true]);
    expect((await mailboxesOf(daemon, id)).get("Proj2")?.id).toBe(projId);
    expect((await messagesOf(daemon, id)).get("p")).toEqual({ ...before.get("p"), in: ["Proj2"] });
    expect((await told()).toSorted()).toEqual(["mailbox.renamed upstream_renamed", "message.created delivered"]);
  });

  it("S65: one that only holds others is shown, and never opened", { timeout: 180_000 }, async () => {
    const { id, told } = await begin(5);
    const spoken: string[] = [];
    proxy.change({ toServer: { before: (piece) => void spoken.push(piece.toString()) } });
    await using device = await server.device(5);
    await device.create("P1/C1");
    await device.append("P1/C1", mail("inner"));
    await eventually("it is read", async () => (await messagesOf(daemon, id)).get("inner")?.in.includes("P1/C1"), patient);
    const { untagged } = await device.command('LIST "" "P1"');
    expect(untagged.map(({ line }) => line).join()).toMatch(/\\NoSelect/i);
    const mailboxes = await mailboxesOf(daemon, id);
    expect(mailboxes.get("P1/C1")?.parentId).toBe(mailboxes.get("P1")?.id);
    expect(await staysQuiet(daemon, id, fresh.url)).toBe(0n);
    proxy.change({});
    const opening = spoken.filter((piece) => /(SELECT|EXAMINE|STATUS) "?P1/.test(piece));
    expect(opening.filter((piece) => !piece.includes("P1/C1"))).toEqual([]);
    expect(opening.length).toBeGreaterThan(0);
    expect((await told()).toSorted()).toEqual([
      "mailbox.created upstream_created",
      "mailbox.created upstream_created",
      "message.created backfilled",
    ]);
  });

  it("S67: of those that a POP3 program has of its own nothing comes here, which is said", { timeout: 180_000 }, async () => {
    await server.deliver({ user: "user6", mailbox: "INBOX", messages: [mail("m")] });
    const created = await daemon.call<{ id: string }>("POST", "/v1/accounts", pop3Account(server, 6));
    expect((await statusOf(daemon, created.body.id)).endpoint.notices).toContainEqual(
      expect.stringContaining("on its own device only"),
    );
    await eventually("it is read", async () => (await messagesOf(daemon, created.body.id)).get("m")?.in, patient);
    const roles = [...(await mailboxesOf(daemon, created.body.id)).values()].map(({ role }) => role);
    expect(roles.toSorted()).toEqual(["archive", "drafts", "inbox", "junk", "sent", "trash"]);
  });
});

describe("a server that has things again", () => {
  const folderOf = async (n: number): Promise<string> =>
    join((await server.doveadm("user", "-f", "home", server.account(n).user)).trim(), "mail");

  it("S87: mail of which the file comes back is the mail that it was", { timeout: 180_000 }, async () => {
    const { id, before, since } = await begin(7, ["\\Flagged"], ["m", "other"]);
    const folder = await folderOf(7);
    const [first = ""] = (await readdir(join(folder, "cur"))).toSorted();
    await rename(join(folder, "cur", first), join(folder, "taken"));
    await eventually("it is removed", async () => (await since()).some(({ kind }) => kind === "message.removed"), patient);
    await rename(join(folder, "taken"), join(folder, "cur", first));
    await eventually("it is back", async () => (await messagesOf(daemon, id)).size === 2, patient);
    expect(await messagesOf(daemon, id)).toEqual(before);
    expect((await since()).map(({ kind, reason, rule }) => `${kind} ${reason} ${rule}`)).toEqual([
      expect.stringMatching(/^message.removed user_expunge/),
      "message.restored upstream_reappeared ID-5d",
    ]);
    await using device = await server.device(7);
    await device.select("INBOX");
    expect(await device.uids()).toEqual([2, 3]);
  });

  it("S99: mail without a Message-ID is known again wherever it goes", { timeout: 180_000 }, async () => {
    const { id, before, told } = await begin(8, [], ["m", "twin of m"]);
    await using device = await server.device(8);
    await device.select("INBOX");
    await device.move("1", "Archive");
    await eventually("it is moved", async () => (await messagesOf(daemon, id)).get("m")?.in.includes("Archive"), patient);
    await device.command("UNSELECT");
    await server.doveadm("mailbox", "update", "-u", "user8", "--uid-validity", "1234567", "INBOX");
    await server.doveadm("mailbox", "update", "-u", "user8", "--uid-validity", "1234568", "Archive");
    const epochs = async (): Promise<number> => (await told()).filter((one) => one.startsWith("epoch.changed")).length;
    await eventually("it is seen", async () => (await epochs()) === 2, patient);
    await staysQuiet(daemon, id, fresh.url);
    expect(await messagesOf(daemon, id)).toEqual(
      new Map([...before].map(([subject, one]) => [subject, subject === "m" ? { ...one, in: ["Archive"] } : one])),
    );
    expect((await told()).filter((one) => !one.startsWith("epoch.changed"))).toEqual(["message.moved upstream_move"]);
  });

  it(
    "S95: changes that lie before where its mod-sequences have got to again are found all the same",
    { timeout: 180_000 },
    async () => {
      const { id, since } = await begin(9, [], ["m", "other"]);
      const toggle = async (times: number): Promise<void> => {
        await using device = await server.device(9);
        await device.select("INBOX");
        for (let round = 0; round < times; round += 1)
          for (const how of ["+", "-"] as const) await device.store("2", how, ["\\Answered"]);
      };
      await toggle(6);
      for (let times = 0; times < 2; times += 1) await sweep(daemon, id);
      const { length } = await since();
      await daemon.call("POST", `/v1/accounts/${id}/pause`);
      const folder = await folderOf(9);
      for (const file of await readdir(folder)) if (file.startsWith("dovecot.index")) await rm(join(folder, file));
      await server.restart();
      await using device = await server.device(9);
      await device.select("INBOX");
      await device.command("UID FETCH 1:* (MODSEQ)");
      await device.store("1", "+", ["\\Seen"]);
      await toggle(12);
      await daemon.call("POST", `/v1/accounts/${id}/resume`);
      await eventually("it is found", async () => (await keywordsOf(id))?.includes("$seen"), patient);
      // The other accounts have lost their connections, too, so that the database is not quiet yet.
      for (let times = 0; times < 3; times += 1) await sweep(daemon, id);
      expect((await since()).slice(length).map(({ kind, reason, rule, after }) => [kind, reason, rule, after])).toEqual([
        ["message.keywords", "upstream_flags", "F1", { keywords: ["$seen"] }],
        ["audit.repaired", "changes_missed", "G6", { count: 1 }],
      ]);
    },
  );
});
