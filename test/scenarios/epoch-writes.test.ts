/** What an app wants of mail whose mailbox is numbered anew before the server is told (ID-8). */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { changesOf, mailboxesOf, messagesOf } from "../support/account-view.ts";
import { itemsIn, moveTo, numberAnew, purge, renumber, settledCommands, write } from "../support/api-writes.ts";
import { type Daemon, dovecotAccount, liveAccount, startDaemon } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { staysQuiet } from "../support/pop3-account.ts";
import { eventually } from "../support/eventually.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";
import { swapNumbers } from "../support/swapped-numbers.ts";

let server: Dovecot;
let fresh: FreshDatabase;
let daemon: Daemon;

beforeAll(async () => {
  [server, fresh] = await Promise.all([startDovecot({ users: 5 }), freshDatabase()]);
  daemon = await startDaemon({ env: { DATABASE_URL: fresh.url, SAMEBOX_POLL_SECONDS: "1" } });
});

afterAll(async () => {
  await daemon.stop();
  await fresh.drop();
  await server.stop();
});

const mail = (subject: string, flags: readonly string[] = [], body = ".") => ({
  raw: Buffer.from(`Subject: ${subject}\r\nMessage-ID: <${subject}@epochs.test>\r\n\r\n${body}\r\n`),
  flags,
});

const account = async (n: number): Promise<string> => {
  await using device = await server.device(n);
  await device.appendAll("INBOX", [mail("one", ["\\Seen", "Blue"]), mail("two"), mail("stays")]);
  return await liveAccount(daemon, dovecotAccount(server, n)); // Before the device is disposed.
};

const resumeRenumbered = (accountId: string, user: string): Promise<void> =>
  renumber(daemon, accountId, async () => {
    await numberAnew(server, user);
    await daemon.call("POST", `/v1/accounts/${accountId}/resume`);
  });

describe("a mailbox that is numbered anew before the server is told what an app wants", () => {
  it("ID-8: what is to go goes also when its mailbox is numbered anew before", { timeout: 180_000 }, async () => {
    const accountId = await account(1);
    const mailboxes = await mailboxesOf(daemon, accountId);
    const idOf = (path: string): string => mailboxes.get(path)?.id ?? "";
    await write(daemon, accountId, "one", { body: { mailboxIds: { [idOf("Archive")]: true } } });
    await settledCommands(fresh.url, accountId);
    await daemon.call("POST", `/v1/accounts/${accountId}/pause`);
    await write(daemon, accountId, "one", { body: { mailboxIds: { [idOf("INBOX")]: null } } });
    await purge(daemon, accountId, "two");
    await resumeRenumbered(accountId, "user1");
    await settledCommands(fresh.url, accountId);
    expect([await itemsIn(server, 1, "INBOX"), await itemsIn(server, 1, "Archive")]).toEqual([["stays"], ["one Blue \\Seen"]]);
    expect((await messagesOf(daemon, accountId)).get("one")?.in).toEqual(["Archive"]);
    expect(await staysQuiet(daemon, accountId, fresh.url)).toBe(0n);
  });

  it("ID-5d: what was gone there already comes back with the same octets", { timeout: 180_000 }, async () => {
    const accountId = await account(3);
    const archive = (await mailboxesOf(daemon, accountId)).get("Archive")?.id ?? "";
    const inbox = (await mailboxesOf(daemon, accountId)).get("INBOX")?.id ?? "";
    await write(daemon, accountId, "one", { body: { mailboxIds: { [archive]: true } } });
    await settledCommands(fresh.url, accountId);
    await daemon.call("POST", `/v1/accounts/${accountId}/pause`);
    await write(daemon, accountId, "one", { body: { mailboxIds: { [inbox]: null } } });
    await using device = await server.device(3);
    await device.select("INBOX");
    await device.expunge("1");
    await resumeRenumbered(accountId, "user3");
    await settledCommands(fresh.url, accountId);
    expect((await messagesOf(daemon, accountId)).get("one")?.in).toEqual(["Archive"]);
    await using later = await server.device(3);
    await later.appendAll("INBOX", [mail("one")]);
    await eventually("it is there again", async () => (await messagesOf(daemon, accountId)).get("one")?.in.length === 2, {
      timeoutMs: 60_000,
    });
  });

  it(
    "I2: another version of what is to go stays, though it has its header block and its length",
    { timeout: 180_000 },
    async () => {
      const accountId = await account(4);
      const mailboxes = await mailboxesOf(daemon, accountId);
      const idOf = (path: string): string => mailboxes.get(path)?.id ?? "";
      await write(daemon, accountId, "one", { body: { mailboxIds: { [idOf("Archive")]: true } } });
      await settledCommands(fresh.url, accountId);
      await daemon.call("POST", `/v1/accounts/${accountId}/pause`);
      await write(daemon, accountId, "one", { body: { mailboxIds: { [idOf("INBOX")]: null } } });
      await using device = await server.device(4);
      await device.select("INBOX");
      await device.expunge("1");
      await device.appendAll("INBOX", [mail("one", [], "!")]);
      await resumeRenumbered(accountId, "user4");
      await settledCommands(fresh.url, accountId);
      expect(await staysQuiet(daemon, accountId, fresh.url)).toBe(0n);
      expect(await itemsIn(server, 4, "INBOX")).toEqual(["one", "stays", "two"]);
    },
  );

  it(
    "P8 ID-8: what was destroyed where it was to be moved from, and that was numbered anew, is put where it is wanted",
    { timeout: 180_000 },
    async () => {
      await using device = await server.device(2);
      const others = ["a", "b", "c", "d", "e"];
      await device.appendAll(
        "INBOX",
        others.map((subject) => mail(subject)),
      );
      const accountId = await account(2);
      await daemon.call("POST", `/v1/accounts/${accountId}/pause`);
      await moveTo(daemon, accountId, "one", "Archive");
      await moveTo(daemon, accountId, "two", "Archive");
      await device.select("INBOX");
      await device.expunge("7");
      await resumeRenumbered(accountId, "user2");
      await settledCommands(fresh.url, accountId);
      const shown = [await itemsIn(server, 2, "Archive"), await itemsIn(server, 2, "INBOX")];
      expect(shown).toEqual([
        ["one Blue \\Seen", "two"],
        [...others, "stays"],
      ]);
      expect(
        (await changesOf(daemon, accountId))
          .filter(({ kind }) => /^(message\.moved|write|conflict)/.test(kind))
          .map(({ kind, rule }) => `${kind} ${rule}`)
          .toSorted(),
      ).toEqual(["conflict.resolved P8", "message.moved P1", "message.moved P1", "write.applied C2", "write.applied P8"]);
    },
  );
});

describe("a mailbox whose numbers stand for other mail", () => {
  it("ID-11: is looked at before anything of it is destroyed, though it shows nothing new", { timeout: 180_000 }, async () => {
    await using device = await server.device(5);
    await device.appendAll(
      "Archive",
      ["p", "q", "r"].map((subject, at) => mail(subject, [], ".".repeat(at + 1))),
    );
    const accountId = await account(5);
    await swapNumbers(server, { user: "user5", mailbox: "Archive", uid: 1, lost: "dovecot.index.cache" });
    await purge(daemon, accountId, "p");
    await settledCommands(fresh.url, accountId);
    expect(await itemsIn(server, 5, "Archive")).toEqual(["q", "r"]);
    const epochs = (await changesOf(daemon, accountId)).filter(({ kind }) => kind === "epoch.changed");
    expect(epochs.map(({ reason }) => reason)).toEqual(["content_mismatch"]);
    const now = await messagesOf(daemon, accountId);
    expect([...now.keys()].toSorted()).toEqual(["one", "q", "r", "stays", "two"]);
  });
});
