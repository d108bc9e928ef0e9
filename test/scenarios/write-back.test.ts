/** What the daemon writes to a mail server of its own accord: once, only where nobody was in between, and believed when seen. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { changesOf, messagesOf } from "../support/account-view.ts";
import { type Daemon, dovecotAccount, liveAccount, startDaemon } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { type FaultProxy, startFaultProxy } from "../support/fault-proxy.ts";
import { commandsOf, oweUnread } from "../support/owed-writes.ts";
import { drain, mailOf, pop3Endpoint, staysQuiet } from "../support/pop3-account.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";

let server: Dovecot;
let proxy: FaultProxy;
let fresh: FreshDatabase;
let daemon: Daemon;

beforeAll(async () => {
  server = await startDovecot({
    users: 6,
    extraConfig: `
mail_plugins = $mail_plugins acl
protocol imap {
  mail_plugins = $mail_plugins acl imap_acl
}
plugin {
  acl = vfile
}`,
  });
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

/** Two read messages and an unread one, over the proxy; all known to the daemon. */
const account = async (n: number): Promise<string> => {
  await using device = await server.device(n);
  const mail = (subject: string, flags: readonly string[]) => ({
    raw: Buffer.from(`Subject: ${subject}\r\n\r\nbody\r\n`),
    flags,
  });
  await device.appendAll("INBOX", [mail("one", ["\\Seen"]), mail("two", ["\\Seen"]), mail("three", [])]);
  const body = dovecotAccount(server, n);
  const endpoints = body.endpoints.map((endpoint) => ({ ...endpoint, port: proxy.port, security: "none" }));
  return await liveAccount(daemon, { ...body, endpoints }); // Before the device is disposed.
};

const flagsOf = async (n: number): Promise<readonly (readonly string[])[]> => {
  await using device = await server.device(n);
  await device.select("INBOX");
  return [...(await device.flags()).values()].map((flags) => flags.toSorted());
};

const ended = (accountId: string, count: number) =>
  eventually(
    "commands end",
    async () => {
      await daemon.call("POST", `/v1/accounts/${accountId}/sync`);
      const found = await commandsOf(fresh.url, accountId);
      return found.filter(({ status }) => !["planned", "sent", "unknown"].includes(status)).length === count && found;
    },
    { timeoutMs: 30_000, everyMs: 250 },
  );

describe("a reading that was none", () => {
  it("S29: is taken back once, and the echo of that is no news", { timeout: 180_000 }, async () => {
    const accountId = await account(1);
    await oweUnread(fresh.url, accountId, [1, 2]);
    const commands = await ended(accountId, 2);
    expect(commands.map(({ status, attempts }) => [status, attempts])).toEqual([
      ["confirmed", 1],
      ["confirmed", 1],
    ]);
    expect(await flagsOf(1)).toEqual([[], [], []]);
    expect((await messagesOf(daemon, accountId)).get("one")?.keywords).toEqual([]);
    const log = await changesOf(daemon, accountId);
    expect(log.filter(({ kind }) => kind === "message.keywords")).toEqual([]);
    expect(log.filter(({ kind }) => kind === "write.applied").map(({ reason, rule }) => [reason, rule])).toEqual([
      ["pop3_seen_reverted", "Z5"],
      ["pop3_seen_reverted", "Z5"],
    ]);
    expect(await staysQuiet(daemon, accountId, fresh.url)).toBe(0n);
  });

  it("W3: what a device changed meanwhile is looked at first, and kept", { timeout: 180_000 }, async () => {
    const accountId = await account(2);
    await using device = await server.device(2);
    await device.select("INBOX");
    let between = 0;
    proxy.change({
      toServer: {
        before: async (piece) => {
          if (!piece.includes("UID STORE") || between > 0) return;
          between += 1;
          await device.store(1, "+", ["\\Flagged"]);
        },
      },
    });
    await oweUnread(fresh.url, accountId, [1, 2]);
    const commands = await ended(accountId, 2);
    expect(between).toBe(1);
    expect(commands.map(({ status, attempts }) => [status, attempts]).toSorted()).toEqual([
      ["confirmed", 1],
      ["confirmed", 2],
    ]);
    expect(await flagsOf(2)).toEqual([["\\Flagged"], [], []]);
    expect((await messagesOf(daemon, accountId)).get("one")?.keywords).toEqual(["$flagged"]);
    proxy.change({});
  });

  it("S125: what the server never lets us write is masked and said, and read here, too (Z6)", { timeout: 180_000 }, async () => {
    const accountId = await account(3);
    await using device = await server.device(3);
    await device.command(`SETACL INBOX ${server.account(3).user} lr`);
    await oweUnread(fresh.url, accountId, [1]);
    const [command] = await ended(accountId, 1);
    expect(command).toMatchObject({ status: "masked", outcome: "no_permission" });
    const log = await changesOf(daemon, accountId);
    expect(log.find(({ kind }) => kind === "write.failed")).toMatchObject({ reason: "no_permission", rule: "C5" });
    // Upstream it stays read, and who opens it there changes nothing that we could see.
    expect(log.filter(({ kind }) => kind === "message.keywords").map(({ reason, rule, after }) => [reason, rule, after])).toEqual(
      [["revert_refused", "Z6", { keywords: ["$seen"] }]],
    );
    const one = (await mailOf(daemon, accountId)).find(({ subject }) => subject === "one");
    expect(one?.placements).toMatchObject([{ keywords: { $seen: true }, sync: "synced" }]);
    expect(await staysQuiet(daemon, accountId, fresh.url)).toBe(0n);
  });

  it("C5: a place that takes nothing is no place to put mail back, and the message says so", { timeout: 180_000 }, async () => {
    const { endpoints, ...rest } = dovecotAccount(server, 6);
    await using device = await server.device(6);
    await device.appendAll("INBOX", [
      { raw: Buffer.from("Subject: one\r\n\r\nbody\r\n") },
      { raw: Buffer.from("Subject: stays\r\n\r\nbody\r\n") },
    ]);
    await device.command(`SETACL Archive ${server.account(6).user} lr`);
    const policy = { pop3Devices: "declared", onPop3Drain: "restore" };
    const accountId = await liveAccount(daemon, { ...rest, endpoints: [...endpoints, pop3Endpoint(server, 6)], policy });
    await drain(server, 6, 1);
    const [command] = await ended(accountId, 1);
    expect(command).toMatchObject({ verb: "append", status: "masked", outcome: "no_permission" });
    const [one] = await eventually("POP3 lists it no more", async () => {
      const mail = (await mailOf(daemon, accountId)).filter(({ subject }) => subject === "one");
      return mail[0]?.placements[0]?.bindings.length === 0 && mail;
    });
    expect(one?.placements).toMatchObject([{ state: "kept", reason: "pop3_drain", sync: "masked" }]);
  });

  it("C9: a lost answer is not a no, and reading goes on meanwhile", { timeout: 180_000 }, async () => {
    const accountId = await account(4);
    let lost = 0;
    proxy.change({
      toServer: {
        before: (piece) => {
          if (piece.includes("UID STORE") && (lost += 1) <= 1) proxy.resetAll();
        },
      },
    });
    await oweUnread(fresh.url, accountId, [1, 2]);
    await server.deliver({
      user: server.account(4).user,
      mailbox: "INBOX",
      messages: [Buffer.from("Subject: new\r\n\r\n.\r\n")],
    });
    await eventually("new mail is read", async () => (await messagesOf(daemon, accountId)).has("new"), { timeoutMs: 20_000 });
    const commands = await ended(accountId, 2);
    expect(lost).toBeGreaterThan(1);
    expect(commands.map(({ status }) => status)).toEqual(["confirmed", "confirmed"]);
    expect((await flagsOf(4)).slice(0, 3)).toEqual([[], [], []]);
    proxy.change({});
  });

  it("W1: is not taken back when somebody has read it since", { timeout: 180_000 }, async () => {
    const accountId = await account(5);
    await using device = await server.device(5);
    await device.select("INBOX");
    await device.store(1, "-", ["\\Seen"]);
    await eventually("unread is seen", async () => (await messagesOf(daemon, accountId)).get("one")?.keywords.length === 0);
    await oweUnread(fresh.url, accountId, [1]);
    const [command] = await ended(accountId, 1);
    expect(command).toMatchObject({ status: "superseded", outcome: "already_so", attempts: 0 });
    expect((await changesOf(daemon, accountId)).filter(({ kind }) => kind.startsWith("write."))).toEqual([]);
  });
});
