/** The servers and faults that other tests rely on do what they say. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { connect } from "node:net";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Dovecot, startDovecot } from "./dovecot.ts";
import { eventually } from "./eventually.ts";
import { type Faults, startFaultProxy } from "./fault-proxy.ts";
import { ImapDevice } from "./imap-device.ts";
import { makeMessages } from "./messages.ts";
import { loadQuirks } from "./quirks.ts";
import { startRedis } from "./redis.ts";
import { startScripted } from "./scripted-server.ts";

let dovecot: Dovecot;

beforeAll(async () => {
  dovecot = await startDovecot();
});
afterAll(() => dovecot.stop());

const expectDelivered = async (server: Dovecot, user: number): Promise<void> => {
  const messages = [...makeMessages({ count: 120, seed: user, meanBytes: 3000 })];
  const mailbox = "Grüße & more/Entwürfe";
  await server.deliver({ user: server.account(user).user, mailbox, messages });
  await server.deliver({
    user: server.account(user).user,
    mailbox,
    messages: [{ raw: Buffer.from("A: b\r\n\r\n"), flags: ["\\Seen", "$Label1"] }],
  });
  await using device = await server.device(user);
  expect((await device.select(mailbox)).exists).toBe(121);
  const raws = await device.fetchRaw();
  const flags = await device.flags();
  messages.forEach(({ raw, flags: delivered }, at) => {
    expect(raws.get(at + 1)).toEqual(raw);
    expect(flags.get(at + 1)).toEqual([...delivered].sort());
  });
  expect(flags.get(121)).toEqual(["$Label1", "\\Seen"]);
  const { untagged } = await device.command("UID FETCH 1 (INTERNALDATE)");
  expect(untagged[0]?.line).toContain('INTERNALDATE "01-Jan-2024 00:01:01 +0000"');
};

describe("Dovecot", () => {
  it("gives delivered messages back octet for octet, in order, with flags and dates", () => expectDelivered(dovecot, 1));

  it("does so with sdbox too", async () => {
    await using server = await startDovecot({ format: "sdbox", users: 1 });
    await expectDelivered(server, 1);
  });

  it("no longer tells a capability that was taken away", async () => {
    await using server = await startDovecot({ withoutCapabilities: ["CONDSTORE", "QRESYNC", "SPECIAL-USE"], users: 1 });
    const [whole, less] = [await dovecot.capability(), await server.capability()];
    expect(whole.filter((name) => !less.includes(name)).sort()).toEqual(["CONDSTORE", "QRESYNC", "SPECIAL-USE"]);
  });

  it("has special-use mailboxes", async () => {
    await using device = await dovecot.device(2);
    const { untagged } = await device.command('LIST (SPECIAL-USE) "" "*"');
    expect(untagged.map(({ line }) => /\\(?!Has)(\w+)/.exec(line)?.[1]).sort()).toEqual([
      "Archive",
      "Drafts",
      "Junk",
      "Sent",
      "Trash",
    ]);
  });

  it("lets a valid token in, and no expired one", async () => {
    const { host, imapPort: port } = dovecot;
    const { user } = dovecot.account(3);
    await using device = await ImapDevice.connect({ host, port, user, accessToken: dovecot.accessToken(3) });
    expect((await device.select("INBOX")).exists).toBe(0);
    const expired = ImapDevice.connect({ host, port, user, accessToken: dovecot.accessToken(3, -60) });
    await expect(expired).rejects.toThrow("AUTHENTICATIONFAILED");
  });

  it("proves who it is over TLS", async () => {
    const { host, imapsPort: port, caPem } = dovecot;
    await using device = await ImapDevice.connect({ host, port, caPem, ...dovecot.account(2) });
    expect((await device.select("INBOX")).exists).toBe(0);
    await expect(ImapDevice.connect({ host, port, caPem: "", ...dovecot.account(2) })).rejects.toThrow(/self-signed|verify/);
  });

  it("tells an idling device what another one does", async () => {
    await using idling = await dovecot.device(4);
    await using other = await dovecot.device(4);
    await idling.select("INBOX");
    const watch = await idling.idle();
    const uid = await other.append("INBOX", Buffer.from("Subject: news\r\n\r\nhello\r\n"));
    await watch.next(/^\* 1 EXISTS/);
    await other.select("INBOX");
    await other.store(uid ?? 0, "+", ["\\Flagged"]);
    await watch.next(/FETCH \(.*\\Flagged/);
    await other.move(uid ?? 0, "Archive");
    await watch.next(/^\* 1 EXPUNGE/);
    await watch.done();
    expect(await idling.uids()).toEqual([]);
  });

  it("keeps its mail when it starts again", async () => {
    await using server = await startDovecot({ users: 1 });
    await server.deliver({ user: "user1", mailbox: "INBOX", messages: makeMessages({ count: 3 }) });
    await server.restart();
    await using device = await server.device(1);
    expect((await device.select("INBOX")).exists).toBe(3);
  });

  it("refuses a user's connections beyond the limit", async () => {
    await using server = await startDovecot({ users: 1, maxUserIpConnections: 1 });
    await using device = await server.device(1);
    await device.select("INBOX");
    await expect(server.device(1)).rejects.toThrow("Maximum number of connections");
  });
});

/** A device that comes through a proxy with these faults, while `work` runs. */
const through = async <T>(
  faults: Faults,
  work: (device: ImapDevice, proxy: Awaited<ReturnType<typeof startFaultProxy>>) => Promise<T>,
): Promise<T> => {
  await using proxy = await startFaultProxy({ port: dovecot.imapPort, faults });
  await using device = await ImapDevice.connect({ host: proxy.host, port: proxy.port, ...dovecot.account(5) });
  return await work(device, proxy);
};

describe("the fault proxy", () => {
  it("counts a turn for each command that waits for its answer", () =>
    through({}, async (device, proxy) => {
      expect(proxy.turns).toBe(1);
      await device.select("INBOX");
      await device.uids();
      await device.append("Drafts", Buffer.from(`Subject: long\r\n\r\n${"many pieces, one turn\r\n".repeat(20_000)}`));
      expect(proxy.turns).toBe(4);
      const [connection] = proxy.connections;
      expect(connection?.bytesToServer).toBeGreaterThan(20_000 * 22);
      expect(connection?.bytesToClient).toBeGreaterThan(500);
    }));

  it("makes a turn take as long as both ways", () =>
    through({ toServer: { latencyMs: 60 }, toClient: { latencyMs: 60 } }, async (device) => {
      const began = performance.now();
      await device.command("NOOP");
      // Timers may be a millisecond early.
      expect(performance.now() - began).toBeGreaterThan(110);
    }));

  it("lets octets trickle without losing one", () =>
    through({ toClient: { drip: { bytes: 7, everyMs: 1 } } }, async (device) => {
      const raw = Buffer.from(`Subject: drip\r\n\r\n${"0123456789".repeat(40)}\r\n`);
      await device.append("Trash", raw);
      await device.select("Trash");
      expect([...(await device.fetchRaw()).values()]).toEqual([raw]);
    }));

  it("cuts after so many octets", async () => {
    await using proxy = await startFaultProxy({ port: dovecot.imapPort, faults: { toClient: { cutAfterBytes: 10 } } });
    expect(await text(connect({ host: proxy.host, port: proxy.port }))).toBe("* OK [CAPA");
  });

  it("resets, and passes the next attempt", async () => {
    await using proxy = await startFaultProxy({
      port: dovecot.imapPort,
      faults: (attempt) => (attempt === 1 ? { onConnect: "reset" } : {}),
    });
    const account = { host: proxy.host, port: proxy.port, ...dovecot.account(5) };
    await expect(ImapDevice.connect(account)).rejects.toThrow(/ECONNRESET|closed/);
    await using device = await ImapDevice.connect(account);
    expect(proxy.attempts).toBe(2);
    proxy.resetAll();
    await expect(device.command("NOOP")).rejects.toThrow(/ECONNRESET|closed/);
  });

  it("falls silent", () =>
    through({}, async (device, proxy) => {
      proxy.change({ toClient: { cutAfterBytes: 0, cut: "blackHole" } });
      const answer = device.command("NOOP").then(
        () => "answered",
        () => "ended",
      );
      await eventually("the command has passed", () => proxy.turns === 2);
      const marker = await startFaultProxy({ port: dovecot.imapPort });
      // Another whole conversation takes place, and still there is no answer here.
      await using other = await ImapDevice.connect({ host: marker.host, port: marker.port, ...dovecot.account(5) });
      await other.command("NOOP");
      expect(await Promise.race([answer, other.command("NOOP").then(() => "silent")])).toBe("silent");
      await other.close();
      await marker.stop();
      await proxy.stop();
      expect(await answer).toBe("ended");
    }));
});

describe("a scripted server", () => {
  it("is sane where no rule matches", async () => {
    await using server = await startScripted();
    await using device = await ImapDevice.connect({ host: server.host, port: server.port, user: "u", password: "p" });
    expect(await device.select("INBOX")).toEqual({ exists: 3, uidValidity: 1717488672, uidNext: 104, highestModseq: null });
    expect(await device.uids()).toEqual([101, 102, 103]);
    expect((await device.fetchRaw("102:*")).get(103)?.toString()).toMatch(/^From: Cy[\s\S]*hello three\r\n$/);
    const watch = await device.idle();
    await watch.done();
    expect(server.received.map(({ line }) => line.replace(/^\S+ /, ""))).toContain('SELECT "INBOX"');
  });

  it("says what its rules say, once or always", async () => {
    await using server = await startScripted({
      messages: [Buffer.from("Subject: only\r\n\r\none\r\n")],
      rules: [
        { on: /^NOOP/i, nth: 2, reply: ["* BYE enough\r\n"], ending: "close" },
        { on: /SEARCH/i, reply: ["* SEARCH 101 {seq: %d:5:7}\r\n", "{ok}"], chunk: 3 },
      ],
    });
    await using device = await ImapDevice.connect({ host: server.host, port: server.port, user: "u", password: "p" });
    expect(await device.uids()).toEqual([5, 6, 7, 101]);
    await device.command("NOOP");
    await expect(device.command("NOOP")).rejects.toThrow("closed");
    server.arrive(Buffer.from("Subject: two\r\n\r\ntwo\r\n"));
    await using later = await ImapDevice.connect({ host: server.host, port: server.port, user: "u", password: "p" });
    expect((await later.select("INBOX")).exists).toBe(2);
  });

  const quirks = loadQuirks();
  it.skipIf(quirks.length === 0)("reads the corpus of quirks", async () => {
    const quirk = quirks.find(({ id }) => id === "imap-select-uidvalidity-changed-between-sessions");
    await using server = await startScripted(quirk?.script);
    const look = async (): Promise<number> => {
      await using device = await ImapDevice.connect({ host: server.host, port: server.port, user: "u", password: "p" });
      return (await device.select("INBOX")).uidValidity;
    };
    expect([await look(), await look()]).toEqual([1717488672, 1717500000]);
  });
});

/** Starts a server in a process of its own, kills that process, and tells where the server was. */
const killStarter = async (): Promise<{ readonly port: number; readonly folder: string }> => {
  const program = `
    import { startRedis } from "./redis.ts";
    const { port } = await startRedis();
    console.log(JSON.stringify({ port, folder: process.env.SAMEBOX_TEST_RUN }));
    setInterval(() => undefined, 1000);`;
  const env = { ...process.env };
  delete env["SAMEBOX_TEST_RUN"];
  const child = spawn(process.execPath, ["--input-type=module-typescript", "-e", program], {
    cwd: import.meta.dirname,
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  for await (const line of createInterface({ input: child.stdout })) {
    child.kill("SIGKILL");
    return JSON.parse(line) as { port: number; folder: string };
  }
  throw new Error("the starter said nothing");
};

describe("a server of a test", () => {
  it("is gone, and its folder too, when the test process is killed", async () => {
    const { port, folder } = await killStarter();
    await eventually(
      "nobody listens",
      () =>
        new Promise<boolean>((resolve) => {
          connect({ host: "127.0.0.1", port }, () => resolve(false)).once("error", () => resolve(true));
        }),
    );
    await eventually("the folder is gone", () => !existsSync(folder));
  });

  it("starts anew on the same port", async () => {
    await using redis = await startRedis();
    const { port } = redis;
    await redis.restart();
    const socket = connect({ host: "127.0.0.1", port }, () => socket.end("DBSIZE\r\n"));
    expect(await text(socket)).toBe(":0\r\n");
  });
});
