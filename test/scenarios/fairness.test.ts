/** A huge mailbox is read in bounded slices: neither other accounts nor the account's own news wait for its end. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { messagesOf, statusOf } from "../support/account-view.ts";
import { type Daemon, dovecotAccount, liveAccount, startDaemon, waitLive } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { openEvents } from "../support/event-stream.ts";
import { startFaultProxy } from "../support/fault-proxy.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";

const huge = 20_000;
let server: Dovecot;
let fresh: FreshDatabase;
let daemon: Daemon;

const mail = (subject: string): Buffer => Buffer.from(`Subject: ${subject}\r\n\r\nbody of ${subject}\r\n`);

beforeAll(async () => {
  // Whatever is found of the big account's INBOX is found by looking.
  [server, fresh] = await Promise.all([startDovecot({ users: 3, withoutCapabilities: ["NOTIFY", "IDLE"] }), freshDatabase()]);
  const messages = Array.from({ length: huge }, (_, at) => mail(`m${at}`));
  await server.deliver({ user: "user1", mailbox: "Huge", messages });
  daemon = await startDaemon({ env: { DATABASE_URL: fresh.url, SAMEBOX_POLL_SECONDS: "1" } });
});

afterAll(async () => {
  await daemon.stop();
  await server.stop();
  await fresh.drop();
});

it("new mail of a small account, and of the big one, comes before a huge mailbox is read", { timeout: 540_000 }, async () => {
  const small = await liveAccount(daemon, dovecotAccount(server, 2));
  await using events = await openEvents(daemon, small);
  await using proxy = await startFaultProxy({
    port: server.imapPort,
    faults: { toClient: { drip: { bytes: 16_000, everyMs: 40 } } },
  });
  const created = await daemon.call<{ id: string }>("POST", "/v1/accounts", dovecotAccount(server, 1, { port: proxy.port }));
  const big = created.body.id;
  await eventually("a part is read", async () => (await messagesOf(daemon, big).catch(() => new Map())).size > 0, {
    timeoutMs: 30_000,
  });
  await using bigDevice = await server.device(1);
  await using smallDevice = await server.device(2);
  await bigDevice.append("INBOX", mail("to the big one"));
  await smallDevice.append("INBOX", mail("to the small one"));
  await events.next(({ event }) => event === "message.created");
  expect((await statusOf(daemon, big)).syncState).not.toBe("live");
  const find = `/v1/accounts/${big}/messages?role=inbox`;
  await eventually(
    "the big one's own news",
    async () => (await daemon.call<{ items: unknown[] }>("GET", find)).body.items.length > 0,
    {
      timeoutMs: 60_000,
    },
  );
  const { syncState, progress } = await statusOf(daemon, big);
  expect({ syncState, part: progress.done < huge }).toEqual({ syncState: "backfilling", part: true });
  proxy.change({});
  await waitLive(daemon, big, 100_000);
  expect((await statusOf(daemon, big)).progress).toMatchObject({ done: huge + 1, total: huge + 1 });
});
