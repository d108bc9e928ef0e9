/** Mail that an app moves, throws away, destroys and brings: the server follows, once, whatever happens on the way. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { changesOf, mailboxesOf, messagesOf } from "../support/account-view.ts";
import { itemsIn, moveTo, numberAnew, phone, purge, renumber, settledCommands, write } from "../support/api-writes.ts";
import { type Daemon, dovecotAccount, liveAccount, startDaemon, testAdminKey } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { type FaultProxy, startFaultProxy } from "../support/fault-proxy.ts";
import { eventually } from "../support/eventually.ts";
import { staysQuiet } from "../support/pop3-account.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";

const words =
  "IMAP4rev1 SASL-IR ENABLE IDLE NAMESPACE UNSELECT CHILDREN LIST-EXTENDED LIST-STATUS SPECIAL-USE ESEARCH CONDSTORE QRESYNC";
const raw = (subject: string): Buffer => Buffer.from(`Subject: ${subject}\r\nMessage-ID: <${subject}@moves.test>\r\n\r\n.\r\n`);

let server: Dovecot;
let proxy: FaultProxy;
let fresh: FreshDatabase;
let daemon: Daemon;

beforeAll(async () => {
  server = await startDovecot({ users: 15 });
  proxy = await startFaultProxy({ port: server.imapPort });
  fresh = await freshDatabase();
  daemon = await startDaemon({ env: { DATABASE_URL: fresh.url, SAMEBOX_POLL_SECONDS: "1" } });
});

afterAll(async () => {
  await daemon.stop();
  await fresh.drop();
  await proxy.stop();
  await server.stop();
});

const account = async (n: number, of: Dovecot = server, port = proxy.port): Promise<string> => {
  await using device = await of.device(n);
  const mail = (subject: string, flags: readonly string[] = []) => ({ raw: raw(subject), flags });
  await device.appendAll("INBOX", [mail("one", ["\\Seen", "Blue"]), mail("two"), mail("stays")]);
  const body = dovecotAccount(of, n);
  const endpoints = body.endpoints.map((endpoint) => ({ ...endpoint, port }));
  return await liveAccount(daemon, { ...body, endpoints }); // Before the device is disposed.
};

const logOf = async (accountId: string, from = 3) =>
  (await changesOf(daemon, accountId)).filter(({ kind }) => /^(message|write|conflict)/.test(kind)).slice(from);

const kindsOf = async (accountId: string): Promise<readonly string[]> =>
  (await logOf(accountId)).map(({ kind, rule }) => `${kind} ${rule}`);

describe("a move", () => {
  it("S44 C2 I8: is one MOVE, keeps id and flags, and its echo is no news", { timeout: 180_000 }, async () => {
    const accountId = await account(1);
    const before = await messagesOf(daemon, accountId);
    await moveTo(daemon, accountId, "one", "Archive");
    expect((await settledCommands(fresh.url, accountId)).map(({ verb, status, attempts }) => [verb, status, attempts])).toEqual([
      ["move", "confirmed", 1],
    ]);
    expect(await itemsIn(server, 1, "Archive")).toEqual(["one Blue \\Seen"]);
    expect(await itemsIn(server, 1, "INBOX")).toEqual(["stays", "two"]);
    expect(await staysQuiet(daemon, accountId, fresh.url)).toBe(0n);
    expect((await messagesOf(daemon, accountId)).get("one")).toEqual({ ...before.get("one"), in: ["Archive"] });
    expect(await kindsOf(accountId)).toEqual(["message.moved P1", "write.applied C2"]);
  });

  it("C7 C8: without MOVE it is a copy, and what was copied is removed and nothing else", { timeout: 180_000 }, async () => {
    await using bare = await startDovecot({ users: 1, extraConfig: `imap_capability = ${words} UIDPLUS` });
    const accountId = await account(1, bare, bare.imapPort);
    await using device = await bare.device(1);
    await device.select("INBOX");
    await device.store(3, "+", ["\\Deleted"]);
    await moveTo(daemon, accountId, "one", "Archive");
    const commands = await settledCommands(fresh.url, accountId);
    expect(commands.map(({ verb, status }) => [verb, status])).toEqual([
      ["move", "confirmed"],
      ["expunge", "confirmed"],
    ]);
    expect(await itemsIn(bare, 1, "Archive")).toEqual(["one Blue \\Seen"]);
    expect(await itemsIn(bare, 1, "INBOX")).toEqual(["stays \\Deleted", "two"]);
    expect(await staysQuiet(daemon, accountId, fresh.url)).toBe(0n);
    expect((await kindsOf(accountId)).filter((kind) => kind.startsWith("message"))).toEqual(["message.moved P1"]);
  });

  it(
    "C7: without UIDPLUS the copy's source is removed as long as nothing else is marked, else marked and shown by nobody here",
    { timeout: 180_000 },
    async () => {
      await using bare = await startDovecot({ users: 1, extraConfig: `imap_capability = ${words}` });
      const accountId = await account(1, bare, bare.imapPort);
      await moveTo(daemon, accountId, "two", "Archive");
      await settledCommands(fresh.url, accountId);
      expect(await itemsIn(bare, 1, "INBOX")).toEqual(["one Blue \\Seen", "stays"]);
      await using device = await bare.device(1);
      await device.select("INBOX");
      await device.store(3, "+", ["\\Deleted"]);
      await moveTo(daemon, accountId, "one", "Archive");
      const commands = await settledCommands(fresh.url, accountId);
      expect(commands.map(({ verb, status, outcome }) => [verb, status, outcome])).toEqual([
        ["move", "confirmed", "api_write"],
        ["expunge", "confirmed", "api_write"],
        ["move", "confirmed", "api_write"],
        ["expunge", "masked", "pending_expunge"],
      ]);
      expect(await itemsIn(bare, 1, "INBOX")).toEqual(["one Blue \\Deleted \\Seen", "stays \\Deleted"]);
      expect(await staysQuiet(daemon, accountId, fresh.url)).toBe(0n);
      expect((await messagesOf(daemon, accountId)).get("one")?.in).toEqual(["Archive"]);
      await renumber(daemon, accountId, () => numberAnew(bare, "user1"));
      expect(await staysQuiet(daemon, accountId, fresh.url)).toBe(0n);
      expect((await messagesOf(daemon, accountId)).get("one")?.in).toEqual(["Archive"]);
    },
  );

  it("3.3: takes a mark of deletion away from what was moved with it", { timeout: 180_000 }, async () => {
    const accountId = await account(2);
    await using device = await server.device(2);
    await device.select("INBOX");
    await device.store(1, "+", ["\\Deleted"]);
    await moveTo(daemon, accountId, "one", "Archive");
    await settledCommands(fresh.url, accountId);
    expect(await itemsIn(server, 2, "Archive")).toEqual(["one Blue \\Seen"]);
  });

  it("C9 ID-2: whose answer is lost is found where it went, and not made again", { timeout: 180_000 }, async () => {
    const accountId = await account(3);
    let lost = 0;
    proxy.change({
      toClient: {
        before: (piece) => {
          if (piece.includes("COPYUID") && (lost += 1) === 1) proxy.resetAll();
        },
      },
    });
    await moveTo(daemon, accountId, "one", "Archive");
    const commands = await settledCommands(fresh.url, accountId);
    proxy.change({});
    expect(lost).toBe(1);
    expect(commands.map(({ verb, status, attempts }) => [verb, status, attempts])).toEqual([["move", "confirmed", 1]]);
    expect(await itemsIn(server, 3, "Archive")).toEqual(["one Blue \\Seen"]);
    expect(await kindsOf(accountId)).toEqual(["message.moved P1", "write.applied C2"]);
    expect(await staysQuiet(daemon, accountId, fresh.url)).toBe(0n);
  });

  it("C9 I2: whose answer is lost is removed where it went, where it was destroyed meanwhile", { timeout: 180_000 }, async () => {
    const accountId = await account(15);
    let lost = 0;
    proxy.change({
      toClient: {
        before: async (piece) => {
          if (!piece.includes("COPYUID") || (lost += 1) > 1) return;
          await purge(daemon, accountId, "one");
          proxy.resetAll();
        },
      },
    });
    await moveTo(daemon, accountId, "one", "Archive");
    await eventually("it is destroyed", async () => !(await messagesOf(daemon, accountId)).has("one"), { timeoutMs: 30_000 });
    await settledCommands(fresh.url, accountId);
    proxy.change({});
    expect([await itemsIn(server, 15, "Archive"), await itemsIn(server, 15, "INBOX")]).toEqual([[], ["stays", "two"]]);
    expect((await kindsOf(accountId)).filter((kind) => kind.startsWith("message."))).toEqual([
      "message.moved P1",
      "message.purged P10",
    ]);
    expect(await staysQuiet(daemon, accountId, fresh.url)).toBe(0n);
  });

  it("S109 C3: that never arrived is sent again after looks that do not show it", { timeout: 180_000 }, async () => {
    const accountId = await account(4);
    let sent = 0;
    proxy.change({
      toServer: {
        before: (piece) => {
          if (piece.includes("UID MOVE") && (sent += 1) === 1) proxy.resetAll();
        },
      },
    });
    await moveTo(daemon, accountId, "one", "Archive");
    const [command] = await settledCommands(fresh.url, accountId, 50_000);
    proxy.change({});
    expect(command).toMatchObject({ status: "confirmed", attempts: 2 });
    expect(await itemsIn(server, 4, "Archive")).toEqual(["one Blue \\Seen"]);
  });
});

describe("mail thrown away, brought back, destroyed", () => {
  it("goes to Trash and comes back to where it was", { timeout: 180_000 }, async () => {
    const accountId = await account(5);
    await write(daemon, accountId, "one", { method: "DELETE" });
    await settledCommands(fresh.url, accountId);
    expect(await itemsIn(server, 5, "Trash")).toEqual(["one Blue \\Seen"]);
    await write(daemon, accountId, "one", { method: "POST", suffix: "/restore", body: {} });
    await settledCommands(fresh.url, accountId);
    expect(await itemsIn(server, 5, "INBOX")).toEqual(["one Blue \\Seen", "stays", "two"]);
    expect(await staysQuiet(daemon, accountId, fresh.url)).toBe(0n);
  });

  it("I19: a purge removes that item upstream and no other, not even one that is marked", { timeout: 180_000 }, async () => {
    const accountId = await account(6);
    await using device = await server.device(6);
    await device.select("INBOX");
    await device.store(2, "+", ["\\Deleted"]);
    const { id = "" } = (await messagesOf(daemon, accountId)).get("one") ?? {};
    const path = `/v1/accounts/${accountId}/messages/${id}`;
    const { headers } = await daemon.call("GET", path);
    const answer = await daemon.call("DELETE", `${path}?purge=true`, undefined, { "if-match": headers.get("etag") ?? "" });
    expect(answer.body).toMatchObject({ status: "applied" });
    expect((await settledCommands(fresh.url, accountId)).map(({ verb, status }) => [verb, status])).toEqual([
      ["expunge", "confirmed"],
    ]);
    expect(await itemsIn(server, 6, "INBOX")).toEqual(["stays", "two \\Deleted"]);
    expect(await staysQuiet(daemon, accountId, fresh.url)).toBe(0n);
  });
});

describe("mail that is brought", () => {
  it("is put where it is wanted, with its flags, once", { timeout: 180_000 }, async () => {
    const accountId = await account(7);
    const body = raw("brought");
    const response = await fetch(`${daemon.url}/v1/accounts/${accountId}/messages?keywords=$flagged,green`, {
      method: "POST",
      headers: { authorization: `Bearer ${testAdminKey}`, "content-type": "message/rfc822", ...phone },
      body,
    });
    expect(response.status).toBe(201);
    expect((await settledCommands(fresh.url, accountId)).map(({ verb, status }) => [verb, status])).toEqual([
      ["append", "confirmed"],
    ]);
    expect(await itemsIn(server, 7, "INBOX")).toEqual(["brought \\Flagged green", "one Blue \\Seen", "stays", "two"]);
    expect(await staysQuiet(daemon, accountId, fresh.url)).toBe(0n);
    expect((await logOf(accountId)).map(({ kind, rule }) => [kind, rule])).toEqual([
      ["message.created", expect.anything()],
      ["write.applied", "C3"],
    ]);
  });

  it("P9 F6: a copy is another item of the same message, with its flags as they are spelt", { timeout: 180_000 }, async () => {
    const accountId = await account(8);
    const { id = "" } = (await mailboxesOf(daemon, accountId)).get("Archive") ?? {};
    await write(daemon, accountId, "one", { body: { mailboxIds: { [id]: true } } });
    await settledCommands(fresh.url, accountId);
    expect(await itemsIn(server, 8, "Archive")).toEqual(["one Blue \\Seen"]);
    expect(await itemsIn(server, 8, "INBOX")).toEqual(["one Blue \\Seen", "stays", "two"]);
    expect(await staysQuiet(daemon, accountId, fresh.url)).toBe(0n);
    expect((await messagesOf(daemon, accountId)).get("one")?.in).toEqual(["Archive", "INBOX"]);
  });
});

describe("a move that a device was faster than", () => {
  /** What a device does once before the daemon's MOVE reaches the server. */
  const beforeMove = (work: () => Promise<unknown>): void => {
    let done = false;
    proxy.change({
      toServer: {
        before: async (piece) => {
          if (!piece.includes("UID MOVE") || done) return;
          done = true;
          await work();
        },
      },
    });
  };

  it("P2: mail that a device threw away is brought to where the app wants it", { timeout: 180_000 }, async () => {
    const accountId = await account(9);
    await using device = await server.device(9);
    await device.select("INBOX");
    beforeMove(() => device.move(1, "Trash"));
    await moveTo(daemon, accountId, "one", "Archive");
    await settledCommands(fresh.url, accountId, 50_000);
    proxy.change({});
    expect(await itemsIn(server, 9, "Archive")).toEqual(["one Blue \\Seen"]);
    expect(await itemsIn(server, 9, "Trash")).toEqual([]);
    expect((await messagesOf(daemon, accountId)).get("one")?.in).toEqual(["Archive"]);
    const resolved = (await logOf(accountId)).find(({ kind }) => kind === "conflict.resolved");
    expect(resolved).toMatchObject({ rule: "P2", evidence: [{ loser: { rank: 3 }, winner: { source: "device phone" } }] });
  });

  it("P4: of two places alike the server's stands, and the other can be had by undo", { timeout: 180_000 }, async () => {
    const accountId = await account(10);
    await using device = await server.device(10);
    await device.create("Work");
    await eventually("Work is known", async () => (await mailboxesOf(daemon, accountId)).has("Work"));
    await device.select("INBOX");
    beforeMove(() => device.move(1, "Work"));
    await moveTo(daemon, accountId, "one", "Archive");
    await settledCommands(fresh.url, accountId, 50_000);
    proxy.change({});
    expect(await itemsIn(server, 10, "Work")).toEqual(["one Blue \\Seen"]);
    expect(await itemsIn(server, 10, "Archive")).toEqual([]);
    expect((await messagesOf(daemon, accountId)).get("one")?.in).toEqual(["Work"]);
    expect((await kindsOf(accountId)).filter((kind) => !kind.startsWith("write"))).toEqual([
      "message.moved P1",
      "message.moved ID-5a",
      "conflict.resolved P4",
    ]);
  });

  it("P8 I14: what a device destroyed is put where the app wants it, once", { timeout: 180_000 }, async () => {
    const accountId = await account(11);
    await using device = await server.device(11);
    await device.select("INBOX");
    beforeMove(() => device.expunge("1"));
    await moveTo(daemon, accountId, "one", "Archive");
    await eventually("it is there", async () => (await itemsIn(server, 11, "Archive")).length === 1, { timeoutMs: 40_000 });
    await settledCommands(fresh.url, accountId, 40_000);
    proxy.change({});
    expect(await itemsIn(server, 11, "Archive")).toEqual(["one Blue \\Seen"]);
    expect(await itemsIn(server, 11, "INBOX")).toEqual(["stays", "two"]);
    expect((await messagesOf(daemon, accountId)).get("one")?.in).toEqual(["Archive"]);
    expect(await kindsOf(accountId)).toContain("conflict.resolved P8");
    expect(await staysQuiet(daemon, accountId, fresh.url)).toBe(0n);
  });

  it("P8: what is in Trash for the app and destroyed by a device is kept here", { timeout: 180_000 }, async () => {
    const accountId = await account(12);
    await using device = await server.device(12);
    await device.select("INBOX");
    beforeMove(() => device.expunge("1"));
    await write(daemon, accountId, "one", { method: "DELETE" });
    await eventually("it is kept", async () => (await kindsOf(accountId)).includes("message.kept P8"), { timeoutMs: 40_000 });
    proxy.change({});
    await settledCommands(fresh.url, accountId, 40_000);
    expect(await itemsIn(server, 12, "Trash")).toEqual([]);
    expect((await messagesOf(daemon, accountId)).get("one")?.in).toEqual(["Trash"]);
  });
});
