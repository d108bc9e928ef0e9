/** Reading everything of an account anew changes nothing where nothing differs, and brings back the truth where it does. */
import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { changesOf, messagesOf } from "../support/account-view.ts";
import { dumpCanonical } from "../support/canonical-dump.ts";
import { type Daemon, dovecotAccount, liveAccount, startDaemon } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { startFaultProxy } from "../support/fault-proxy.ts";
import { mailOf, pop3Account, pop3Endpoint, rawOf, upstreamOf } from "../support/pop3-account.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";

let server: Dovecot;
let fresh: FreshDatabase;
let daemon: Daemon;
let db: Client;

const raw = (subject: string): Buffer =>
  Buffer.from(`Subject: ${subject}\r\nMessage-ID: <${subject}@resync.test>\r\n\r\n${"body of mail\r\n".repeat(200)}`);

const env = (): Record<string, string> => ({ DATABASE_URL: fresh.url, SAMEBOX_POLL_SECONDS: "600" });

beforeAll(async () => {
  server = await startDovecot({ users: 5 });
  fresh = await freshDatabase();
  daemon = await startDaemon({ env: env() });
  db = new Client({ connectionString: fresh.url });
  await db.connect();
  for (let n = 1; n <= 5; n += 1) {
    const { user } = server.account(n);
    const messages = Array.from({ length: 12 }, (_, at) => ({ raw: raw(`m${at}`), flags: at % 3 === 0 ? ["\\Flagged"] : [] }));
    await using device = await server.device(n);
    await device.appendAll("INBOX", messages);
    await server.deliver({ user, mailbox: "Work", messages: [raw("work")] });
  }
});

afterAll(async () => {
  await db.end();
  await daemon.stop();
  await fresh.drop();
  await server.stop();
});

const sinceOf = async (accountId: string): Promise<readonly (string | null)[]> => {
  const { body } = await daemon.call<{ endpoints: { resyncSince: string | null }[] }>("GET", `/v1/accounts/${accountId}/status`);
  return body.endpoints.map(({ resyncSince }) => resyncSince);
};

const ask = async (accountId: string): Promise<void> => {
  expect(await daemon.call("POST", `/v1/accounts/${accountId}/resync`)).toMatchObject({ status: 202, body: { id: accountId } });
};

const untilDone = (accountId: string): Promise<unknown> =>
  eventually("everything was read", async () => (await sinceOf(accountId)).every((since) => since === null), {
    timeoutMs: 60_000,
  });

const resync = async (accountId: string): Promise<void> => {
  await ask(accountId);
  await untilDone(accountId);
};

/** What sessions fetched, as the server wrote down at their ends. */
const bodiesIn = (log: string): number =>
  [...log.matchAll(/body_count=(\d+)|retr=(\d+)\//g)].reduce((sum, [, bodies, retrs]) => sum + Number(bodies ?? retrs), 0);

const uuidOf = (id: string): string => id.slice(4).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");

const bothAccount = (n: number) => {
  const { endpoints, ...rest } = dovecotAccount(server, n);
  return { ...rest, endpoints: [...endpoints, pop3Endpoint(server, n)] };
};

/** Waits for all bindings, and for the end of all sessions, whose logs then tell what they read. */
const settled = async (accountId: string, bindings: number): Promise<void> => {
  await eventually(
    "all is bound",
    async () => {
      const { rows } = await db.query(`select count(*)::int as n from bindings where account_id = $1 and active`, [
        uuidOf(accountId),
      ]);
      return (rows as { n: number }[])[0]?.n === bindings;
    },
    { timeoutMs: 60_000 },
  );
};

/** Ends the sessions of the account, so that the server writes down what they read. */
const logAfter = async (accountId: string, sessions: number): Promise<string> => {
  await daemon.call("POST", `/v1/accounts/${accountId}/pause`);
  return eventually(
    "the sessions have ended",
    async () => {
      const log = await server.log();
      return [...log.matchAll(/body_count=|retr=/g)].length >= sessions && log;
    },
    { timeoutMs: 30_000 },
  );
};

describe("a resync", () => {
  it.each([
    ["IMAP", 1, () => dovecotAccount(server, 1), 13],
    ["POP3", 2, () => pop3Account(server, 2), 12],
    ["both", 3, () => bothAccount(3), 25],
  ] as const)(
    "of an account over %s keeps all ids, writes no change and reads no body where nothing differs",
    { timeout: 360_000 },
    async (_protocols, n, account, bindings) => {
      const accountId = await liveAccount(daemon, account());
      await settled(accountId, bindings);
      await untilDone(accountId);
      const upstream = await upstreamOf(server, n);
      const dump = await dumpCanonical(fresh.url);
      const log = await changesOf(daemon, accountId);
      const sessions = [...(await server.log()).matchAll(/body_count=|retr=/g)].length;
      const before = bodiesIn(await server.log());
      await resync(accountId);
      await resync(accountId);
      expect(await dumpCanonical(fresh.url)).toEqual(dump);
      expect(await changesOf(daemon, accountId)).toEqual(log);
      expect(await upstreamOf(server, n)).toEqual(upstream);
      // The session that read it all first is among those that ended since; it read each body once.
      const after = bodiesIn(await logAfter(accountId, sessions + 2));
      expect(after - before).toBeLessThanOrEqual(13);
    },
  );

  it("finds flags that are not what the server has, though its counters say nothing of them", { timeout: 360_000 }, async () => {
    const accountId = await liveAccount(daemon, dovecotAccount(server, 4));
    await settled(accountId, 13);
    const before = await messagesOf(daemon, accountId);
    const account = uuidOf(accountId);
    // Agreed on a flag that the server does not have; and only the shadow lacks one that it has.
    await db.query(
      `with spoilt as (update bindings set shadow_flags = '{"\\\\Flagged"}' where account_id = $1 and uid = 2 returning placement_id)
       update placements p set keywords = '{$flagged}' from spoilt s where p.account_id = $1 and p.id = s.placement_id`,
      [account],
    );
    await db.query(`update bindings set shadow_flags = '{}' where account_id = $1 and uid = 4`, [account]);
    expect(await messagesOf(daemon, accountId)).not.toEqual(before);
    await resync(accountId);
    expect(await messagesOf(daemon, accountId)).toEqual(before);
    const { rows } = await db.query(
      `select uid::int, shadow_flags from bindings b join mailboxes m on m.account_id = b.account_id and m.id = b.mailbox_id
       where b.account_id = $1 and m.role = 'inbox' and uid in (2, 4) order by uid`,
      [account],
    );
    expect(rows).toEqual([
      { uid: 2, shadow_flags: [] },
      { uid: 4, shadow_flags: ["\\Flagged"] },
    ]);
  });

  it("reads bodies again that the store has lost, and no others", { timeout: 360_000 }, async () => {
    const ids = [await liveAccount(daemon, dovecotAccount(server, 5)), await liveAccount(daemon, pop3Account(server, 5))];
    for (const [at, accountId] of ids.entries()) {
      await settled(accountId, 13 - at);
      const dump = await dumpCanonical(fresh.url);
      const lost = (await mailOf(daemon, accountId)).find(({ subject }) => subject === "m7")?.id ?? "";
      await db.query(
        `delete from blobs b using messages m where b.account_id = $1 and m.account_id = $1 and m.id = $2 and b.sha256 = m.sha256`,
        [uuidOf(accountId), uuidOf(lost)],
      );
      await resync(accountId);
      expect((await rawOf(daemon, accountId, lost)).equals(raw("m7"))).toBe(true);
      expect(await dumpCanonical(fresh.url)).toEqual(dump);
    }
  });

  it("waits for a server that cannot be reached, visibly, and outlives the daemon", { timeout: 360_000 }, async () => {
    let refuses = false;
    await using proxy = await startFaultProxy({
      port: server.imapPort,
      faults: () => (refuses ? { onConnect: "reset" } : {}),
    });
    const [endpoint] = dovecotAccount(server, 1).endpoints;
    const accountId = await liveAccount(daemon, {
      name: "Ana",
      email: "ana@example.test",
      endpoints: [{ ...endpoint, port: proxy.port }],
    });
    await settled(accountId, 13);
    const log = await changesOf(daemon, accountId);
    refuses = true;
    await ask(accountId);
    expect(await sinceOf(accountId)).toEqual([expect.any(String)]);
    await daemon.stop();
    daemon = await startDaemon({ env: env() });
    expect(await sinceOf(accountId)).toEqual([expect.any(String)]);
    refuses = false;
    await untilDone(accountId);
    const told = (await changesOf(daemon, accountId)).filter(({ kind }) => kind !== "account.state");
    expect(told).toEqual(log.filter(({ kind }) => kind !== "account.state"));
  });

  it("is refused while the account is paused", async () => {
    const { body } = await daemon.call<{ items: { id: string }[] }>("GET", "/v1/accounts?limit=1");
    const id = body.items[0]?.id ?? "";
    await daemon.call("POST", `/v1/accounts/${id}/pause`);
    expect(await daemon.call("POST", `/v1/accounts/${id}/resync`)).toMatchObject({ status: 409, body: { code: "conflict" } });
  });
});
