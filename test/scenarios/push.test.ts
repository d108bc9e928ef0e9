/** News comes by itself, and comes again after the connection was lost, whoever notices first. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { messagesOf, statusOf } from "../support/account-view.ts";
import { type Daemon, dovecotAccount, liveAccount, startDaemon } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { openEvents } from "../support/event-stream.ts";
import { type FaultProxy, startFaultProxy } from "../support/fault-proxy.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";

let fresh: FreshDatabase;
let daemon: Daemon;

beforeAll(async () => {
  fresh = await freshDatabase();
  // Nothing below is found by looking: what comes was told.
  daemon = await startDaemon({ env: { DATABASE_URL: fresh.url, SAMEBOX_POLL_SECONDS: "3600" } });
});

afterAll(async () => {
  await daemon.stop();
  await fresh.drop();
});

const mail = (subject: string): Buffer => Buffer.from(`Subject: ${subject}\r\n\r\nbody of ${subject}\r\n`);
const soonMs = 3_000;
/** A LIST may take two minutes; whether there is somebody to answer it is to be known sooner, and IDLE or not. */
const noticedMs = 50_000;

/** Nothing has been said for so long that a connection has to show that it lives. */
const silent = (proxy: FaultProxy): Promise<true> => {
  let [octets, since] = [-1, 0];
  return eventually(
    "nothing is said any more",
    () => {
      const now = proxy.connections.reduce((sum, { bytesToClient }) => sum + bytesToClient, 0);
      if (now !== octets) [octets, since] = [now, performance.now()];
      return performance.now() - since > 6_000;
    },
    { timeoutMs: 60_000, everyMs: 100 },
  );
};

describe.each([
  { push: "notify", hidden: [], watching: ["*"] },
  { push: "idle", hidden: ["NOTIFY"], watching: ["INBOX"] },
])("by $push", ({ hidden, watching }) => {
  let server: Dovecot;

  beforeAll(async () => {
    server = await startDovecot({ users: 4, withoutCapabilities: hidden });
    for (const n of [1, 2, 3]) await server.deliver({ user: `user${n}`, mailbox: "INBOX", messages: [mail("first")] });
  });

  afterAll(() => server.stop());

  it("new mail and flags reach who follows the events", async () => {
    const id = await liveAccount(daemon, dovecotAccount(server, 1));
    expect((await statusOf(daemon, id)).endpoint.watching).toEqual(watching);
    await using events = await openEvents(daemon, id);
    await using device = await server.device(1);
    for (const box of watching.includes("*") ? ["INBOX", "Archive"] : ["INBOX"]) {
      for (let round = 0; round < 3; round += 1) {
        await device.append(box, mail(`${box} ${round}`));
        await events.next(({ event }) => event === "message.created", soonMs);
      }
      await device.select(box);
      await device.store("1", "+", ["\\Flagged"]);
      const { data } = await events.next(({ event }) => event === "message.keywords", soonMs);
      expect(data["after"]).toMatchObject({ keywords: ["$flagged"] });
      await device.command("UNSELECT");
    }
  });

  it("goes on after the connection was reset, with what came meanwhile", async () => {
    await using proxy = await startFaultProxy({ port: server.imapPort });
    const id = await liveAccount(daemon, dovecotAccount(server, 2, { port: proxy.port }));
    await using events = await openEvents(daemon, id);
    await using device = await server.device(2);
    const before = proxy.attempts;
    proxy.resetAll();
    await device.append("INBOX", mail("meanwhile"));
    await device.append("Archive", mail("meanwhile elsewhere"));
    for (let n = 0; n < 2; n += 1) await events.next(({ event }) => event === "message.created", 15_000);
    expect(proxy.attempts).toBeGreaterThan(before);
    await device.append("INBOX", mail("told again"));
    await events.next(({ event }) => event === "message.created", soonMs);
  });

  it("notices a connection that only seems to be there once it is used", { timeout: noticedMs + 60_000 }, async () => {
    await using proxy = await startFaultProxy({ port: server.imapPort });
    const id = await liveAccount(daemon, dovecotAccount(server, 3, { port: proxy.port }));
    await using device = await server.device(3);
    await silent(proxy);
    proxy.change({ toClient: { cutAfterBytes: 0, cut: "blackHole" }, toServer: { cutAfterBytes: 0, cut: "blackHole" } });
    await device.append("INBOX", mail("unheard"));
    await daemon.call("POST", `/v1/accounts/${id}/sync`);
    await eventually("it is noticed", async () => (await statusOf(daemon, id)).endpoint.lastError !== null, {
      timeoutMs: noticedMs,
    });
    expect((await statusOf(daemon, id)).endpoint.lastError?.code).toBe("endpoint_timeout");
    proxy.change({});
    await eventually("it is read", async () => (await messagesOf(daemon, id)).has("unheard"), { timeoutMs: 20_000 });
    await eventually("it is well again", async () => (await statusOf(daemon, id)).endpoint.lastError === null);
  });
});

it("mail that the server does not tell of is found by looking", { timeout: 180_000 }, async () => {
  await using server = await startDovecot({ users: 1 });
  await using other = await freshDatabase();
  await using looking = await startDaemon({ env: { DATABASE_URL: other.url, SAMEBOX_POLL_SECONDS: "1" } });
  const id = await liveAccount(looking, dovecotAccount(server, 1));
  expect((await statusOf(looking, id)).endpoint.watching).toEqual(["*"]);
  // As another delivery program does it: a file in the Maildir.
  for (let n = 0; n < 4; n += 1) {
    await server.deliver({ user: "user1", mailbox: "INBOX", messages: [mail(`file ${n}`)] });
    await eventually(`file ${n}`, async () => (await messagesOf(looking, id)).has(`file ${n}`), { timeoutMs: 12_000 });
  }
});
