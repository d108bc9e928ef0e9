/** What is changed over the API reaches the mail server: only what differs, and believed when it is read back. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { changesOf, messagesOf } from "../support/account-view.ts";
import { type Daemon, dovecotAccount, liveAccount, startDaemon } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { type FaultProxy, startFaultProxy } from "../support/fault-proxy.ts";
import { commandsOf } from "../support/owed-writes.ts";
import { mailOf, staysQuiet } from "../support/pop3-account.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";
import { eventsOf } from "../support/wire-events.ts";

let server: Dovecot;
let proxy: FaultProxy;
let fresh: FreshDatabase;
let daemon: Daemon;

afterEach(() => proxy.change({}));

beforeAll(async () => {
  server = await startDovecot({
    users: 9,
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

const account = async (n: number): Promise<string> => {
  await using device = await server.device(n);
  const mail = (subject: string, flags: readonly string[]) => ({ raw: Buffer.from(`Subject: ${subject}\r\n\r\n.\r\n`), flags });
  await device.appendAll("INBOX", [mail("one", ["\\Seen", "Blue"]), mail("two", ["\\Seen"]), mail("three", [])]);
  const body = dovecotAccount(server, n);
  const endpoints = body.endpoints.map((endpoint) => ({ ...endpoint, port: proxy.port }));
  return await liveAccount(daemon, { ...body, endpoints }); // Before the device is disposed.
};

const flagsOf = async (n: number): Promise<readonly string[]> => {
  await using device = await server.device(n);
  await device.select("INBOX");
  return [...(await device.flags()).values()].map((flags) => flags.toSorted().join(" "));
};

const phone = { "x-device-id": "phone" };

/** By subject: the keywords that it shall have, and no others. */
const patchKeywords = async (accountId: string, wanted: Readonly<Record<string, readonly string[]>>): Promise<void> => {
  const messages = await messagesOf(daemon, accountId);
  const ops = Object.entries(wanted).map(([subject, keywords]) => {
    const { id = "", keywords: before = [] } = messages.get(subject) ?? {};
    const patch = [...before.map((keyword) => [keyword, null] as const), ...keywords.map((keyword) => [keyword, true] as const)];
    return { op: "patch", messageId: id, keywords: Object.fromEntries(patch) };
  });
  const { status, body } = await daemon.call("POST", `/v1/accounts/${accountId}/batch`, { ops }, phone);
  expect([status, JSON.stringify(body)]).toEqual([200, expect.stringMatching(/^((?!rejected).)*$/) as unknown]);
};

/** @returns what became of the commands, once none is open. */
const settled = (accountId: string) =>
  eventually(
    "commands end",
    async () => {
      const found = await commandsOf(fresh.url, accountId);
      return found.every(({ status }) => !["planned", "sent", "unknown"].includes(status)) && found;
    },
    { timeoutMs: 30_000, everyMs: 20 },
  );

const writesOf = async (accountId: string) =>
  (await changesOf(daemon, accountId)).filter(({ kind }) => kind.startsWith("write."));

describe("keywords", () => {
  it(
    "S118 F7 C1: are set and taken away, the rest is left alone, and the echo is no news (I8)",
    { timeout: 180_000 },
    async () => {
      const accountId = await account(1);
      await patchKeywords(accountId, { one: ["$flagged", "blue"], three: ["$flagged", "constructor"] });
      const commands = await settled(accountId);
      expect(commands.map(({ verb, status }) => [verb, status])).toEqual([
        ["store", "confirmed"],
        ["store", "confirmed"],
      ]);
      expect(await flagsOf(1)).toEqual(["Blue \\Flagged", "\\Seen", "\\Flagged constructor"]);
      const writes = await writesOf(accountId);
      expect(writes.map(({ kind, reason, rule }) => [kind, reason, rule])).toEqual([
        ["write.applied", "api_write", "C1"],
        ["write.applied", "api_write", "C1"],
      ]);
      expect(await staysQuiet(daemon, accountId, fresh.url)).toBe(0n);
      expect((await changesOf(daemon, accountId)).filter(({ reason }) => reason === "upstream_flags")).toEqual([]);
    },
  );

  it("W3: what a device changed meanwhile is looked at first, and both are kept", { timeout: 180_000 }, async () => {
    const accountId = await account(2);
    await using device = await server.device(2);
    await device.select("INBOX");
    let between = 0;
    proxy.change({
      toServer: {
        before: async (piece) => {
          if (!piece.includes("UID STORE") || (between += 1) > 1) return;
          await device.store(1, "+", ["\\Answered"]);
        },
      },
    });
    await patchKeywords(accountId, { one: ["blue"] });
    const [command] = await settled(accountId);
    expect(command).toMatchObject({ status: "confirmed", attempts: 2 });
    expect((await flagsOf(2))[0]).toBe("Blue \\Answered");
    expect((await messagesOf(daemon, accountId)).get("one")?.keywords).toEqual(["$answered", "blue"]);
  });

  it("S125 S126: what the mailbox does not keep is masked, and the rest arrives", { timeout: 180_000 }, async () => {
    const accountId = await account(3);
    await using device = await server.device(3);
    // May mark as read and nothing else (RFC 4314 §4).
    await device.command(`SETACL INBOX ${server.account(3).user} lrsa`);
    await patchKeywords(accountId, { one: ["blue"], two: ["$flagged"] });
    const commands = await settled(accountId);
    expect(commands.map(({ status, outcome }) => [status, outcome]).toSorted()).toEqual([
      ["confirmed", "api_write"],
      ["masked", "unsupported_flag"],
    ]);
    expect(await flagsOf(3)).toEqual(["Blue", "", ""]);
    expect((await messagesOf(daemon, accountId)).get("two")?.keywords).toEqual(["$flagged"]);
    expect(await staysQuiet(daemon, accountId, fresh.url)).toBe(0n);
  });

  it("W1: what is wanted while the first wish is under way is written, too", { timeout: 180_000 }, async () => {
    const accountId = await account(4);
    let between = 0;
    proxy.change({
      toServer: {
        before: async (piece) => {
          if (!piece.includes("UID STORE") || (between += 1) > 1) return;
          await patchKeywords(accountId, { three: ["$seen"] });
        },
      },
    });
    await patchKeywords(accountId, { three: ["$flagged"] });
    await settled(accountId);
    expect((await flagsOf(4))[2]).toBe("\\Seen");
    expect((await writesOf(accountId)).map(({ kind }) => kind)).toEqual(["write.applied"]);
  });

  it("S127: a word that the mailbox did not keep is written once it does", { timeout: 180_000 }, async () => {
    const accountId = await account(5);
    const { user } = server.account(5);
    await using device = await server.device(5);
    await device.command(`SETACL INBOX ${user} lrsa`);
    await patchKeywords(accountId, { two: ["$seen", "project-x"] });
    expect((await settled(accountId)).map(({ status, outcome }) => [status, outcome])).toEqual([["masked", "unsupported_flag"]]);
    const syncOf = async (): Promise<unknown> =>
      (await mailOf(daemon, accountId)).find(({ subject }) => subject === "two")?.placements.map(({ sync }) => sync);
    expect([await flagsOf(5), await syncOf()]).toEqual([["Blue \\Seen", "\\Seen", ""], ["masked"]]);
    await device.command(`SETACL INBOX ${user} lrswa`);
    // What the mailbox keeps is told to who writes there.
    await patchKeywords(accountId, { three: ["$seen"] });
    await eventually("it is written", async () => (await flagsOf(5))[1] === "\\Seen project-x");
    expect((await settled(accountId)).map(({ status }) => status)).toEqual(["masked", "confirmed", "confirmed"]);
    await eventually("it is in step", async () => String(await syncOf()) === "synced");
    expect(await staysQuiet(daemon, accountId, fresh.url)).toBe(0n);
  });
});

describe("a star that a device takes away again at once", () => {
  /** Takes the star of the first message away, while nobody else speaks to the server. */
  const unstar = async (n: number): Promise<void> => {
    await using device = await server.device(n);
    await device.select("INBOX");
    await device.store(1, "-", ["\\Flagged"]);
  };

  it("S119: before it was read back is set again, for neither knew of the other", { timeout: 180_000 }, async () => {
    const accountId = await account(6);
    let clearing: Promise<void> | null = null;
    const events = eventsOf("UID STORE", { done: (nth) => (nth === 1 ? (clearing = unstar(6)) : undefined) });
    const { toServer, toClient } = events.faults;
    proxy.change({
      toServer: {
        before: async (piece) => {
          await clearing;
          await toServer?.before?.(piece);
        },
      },
      toClient: toClient ?? {},
    });
    await patchKeywords(accountId, { one: ["$seen", "blue", "$flagged"] });
    const commands = await settled(accountId);
    expect(commands.map(({ verb, status }) => [verb, status])).toEqual([["store", "confirmed"]]);
    expect([events.sent, (await flagsOf(6))[0]]).toEqual([2, "Blue \\Flagged \\Seen"]);
    expect((await messagesOf(daemon, accountId)).get("one")?.keywords).toEqual(["$flagged", "$seen", "blue"]);
  });

  it("S119: after it was read back is gone", { timeout: 180_000 }, async () => {
    const accountId = await account(7);
    await patchKeywords(accountId, { one: ["$seen", "blue", "$flagged"] });
    await settled(accountId);
    await unstar(7);
    await eventually("it is gone", async () => !(await messagesOf(daemon, accountId)).get("one")?.keywords.includes("$flagged"));
    expect(await staysQuiet(daemon, accountId, fresh.url)).toBe(0n);
    expect((await flagsOf(7))[0]).toBe("Blue \\Seen");
    expect(await commandsOf(fresh.url, accountId)).toHaveLength(1);
  });
});
