/** `npm run replay`: what an account was told, decided again, is what the account is (I5), and every change names it (I9). */
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openDatabase } from "../../src/store/database.ts";
import { forgetInputs } from "../../src/store/inputs.ts";
import { parseId } from "../../src/model/ids.ts";
import { changesOf, mailboxesOf, messagesOf, statusOf } from "../support/account-view.ts";
import { moveTo, phone, settledCommands, write } from "../support/api-writes.ts";
import { type Daemon, dovecotAccount, liveAccount, startDaemon, testAdminKey } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { queryOnce } from "../support/database-server.ts";
import { eventually } from "../support/eventually.ts";
import { drain, pop3Endpoint } from "../support/pop3-account.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";
import { runScript, startScript } from "../support/run-script.ts";
import { quietLog } from "../support/shard-owner.ts";

let server: Dovecot;
let fresh: FreshDatabase;
let daemon: Daemon;
let sql: pg.Client;

beforeAll(async () => {
  server = await startDovecot({ users: 4 });
  fresh = await freshDatabase();
  daemon = await startDaemon({ env: { DATABASE_URL: fresh.url, SAMEBOX_POLL_SECONDS: "1" } });
  sql = new pg.Client({ connectionString: fresh.url });
  await sql.connect();
});

afterAll(async () => {
  await sql.end();
  await daemon.stop();
  await fresh.drop();
  await server.stop();
});

const patience = { timeoutMs: 60_000 };
const mail = (subject: string): Buffer =>
  Buffer.from(`Subject: ${subject}\r\nMessage-ID: <${subject}@replay.test>\r\n\r\nbody of ${subject}\r\n`);
const mails = (name: string, count: number): Buffer[] => Array.from({ length: count }, (_, at) => mail(`${name}${at}`));
const deliver = (n: number, messages: readonly Buffer[], mailbox = "INBOX"): Promise<number> =>
  server.deliver({ user: server.account(n).user, mailbox, messages });

const replay = (accountId: string) => runScript("replay", fresh.url, accountId);

/** What nobody has done anything about any more. */
const rests = async (accountId: string): Promise<void> => {
  await settledCommands(fresh.url, accountId);
  await eventually("it is live", async () => (await statusOf(daemon, accountId)).syncState === "live", patience);
  await daemon.call("POST", `/v1/accounts/${accountId}/pause`);
};

const replays = async (accountId: string): Promise<void> => {
  const { code, out, err } = await replay(accountId);
  expect([code, out, err]).toEqual([
    0,
    expect.stringMatching(/^\d+ inputs replayed: the account is what they make of it\n$/),
    "",
  ]);
  const { rows } = await sql.query<{ anonymous: string }>(
    `select count(*) as anonymous from changes c where account_id = $1
       and not exists (select from inputs i where i.account_id = c.account_id and i.id = c.input_id and c.seq > i.seq_before and c.seq <= i.seq_after)`,
    [parseId("acc", accountId)],
  );
  expect(rows).toEqual([{ anonymous: "0" }]);
};

const inputsOf = async (accountId: string): Promise<readonly string[]> => {
  const { rows } = await sql.query<{ name: string }>(`select distinct name from inputs where account_id = $1 order by 1`, [
    parseId("acc", accountId),
  ]);
  return rows.map(({ name }) => name);
};

const seen = (accountId: string, what: string, ...subjects: readonly string[]): Promise<unknown> =>
  eventually(
    what,
    async () => expect([...(await messagesOf(daemon, accountId)).keys()].sort()).toEqual(subjects.toSorted()),
    patience,
  );

const importMail = async (accountId: string, subject: string): Promise<void> => {
  const inbox = (await mailboxesOf(daemon, accountId)).get("INBOX")?.id ?? "";
  const answer = await fetch(`${daemon.url}/v1/accounts/${accountId}/messages?mailboxId=${inbox}`, {
    method: "POST",
    headers: { authorization: `Bearer ${testAdminKey}`, "content-type": "message/rfc822", ...phone },
    body: new Uint8Array(mail(subject)),
  });
  expect(answer.status).toBe(201);
};

describe("an account replayed from what it was told", () => {
  it("is the same: IMAP, POP3 and API devices, a policy, and mailboxes", { timeout: 720_000 }, async () => {
    await deliver(1, mails("m", 12));
    await deliver(1, mails("a", 3), "Archive");
    const { endpoints, ...rest } = dovecotAccount(server, 1);
    const policy = { pop3Devices: "declared", onPop3Drain: "mirror" };
    const id = await liveAccount(daemon, { ...rest, endpoints: [...endpoints, pop3Endpoint(server, 1)], policy });
    await using device = await server.device(1);
    await device.select("INBOX");
    await device.store("1:4", "+", ["\\Flagged", "$Work"]);
    await device.move("5:6", "Archive");
    await device.expunge("7");
    await seen(id, "it is gone", ...[0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11].map((n) => `m${n}`), "a0", "a1", "a2");
    await drain(server, 1, 1);
    await eventually("it is drained", async () => !(await messagesOf(daemon, id)).has("m0"), patience);
    expect(
      (await daemon.call("PATCH", `/v1/accounts/${id}`, { policy: { onPop3Drain: "keep", onUserExpunge: "keep" } })).status,
    ).toBe(200);
    await daemon.call("POST", `/v1/accounts/${id}/mailboxes`, { name: "Made" }, phone);
    await write(daemon, id, "m1", { body: { keywords: { $seen: true, $flagged: false } } });
    await moveTo(daemon, id, "m2", "Made");
    await write(daemon, id, "m3", { method: "DELETE" });
    await importMail(id, "imported");
    await deliver(1, [mail("last")]);
    await eventually("all has come", async () => (await messagesOf(daemon, id)).has("last"), patience);
    await rests(id);
    await replays(id);
    expect(await inputsOf(id)).toEqual(
      expect.arrayContaining([
        ...["account.made", "account.paused", "account.settings", "api.import", "api.mail", "api.mailbox", "commands.fenced"],
        ...["commands.settled", "endpoint.health", "imap.cut", "imap.flags", "imap.items", "imap.moved", "imap.stored"],
        ...["imap.survey", "mailbox.due", "policy.applied", "pop3.gone"],
      ]),
    );
  });

  it("is the same: a mailbox numbered anew, and a mass that was held and let go", { timeout: 720_000 }, async () => {
    await deliver(2, mails("m", 24));
    const id = await liveAccount(daemon, dovecotAccount(server, 2));
    const has = (kind: string): Promise<unknown> =>
      eventually(kind, async () => expect((await changesOf(daemon, id)).map((change) => change.kind)).toContain(kind), patience);
    await server.doveadm("mailbox", "update", "-u", server.account(2).user, "--uid-validity", "1234567", "INBOX");
    await has("epoch.changed");
    await deliver(2, [mail("after")]);
    await eventually("it goes on", async () => (await messagesOf(daemon, id)).has("after"), patience);
    // From here on Dovecot tells of mod-sequences in STATUS, and not where the mailbox is opened.
    await server.doveadm("expunge", "-u", server.account(2).user, "mailbox", "INBOX", "subject", "m");
    await has("hold.opened");
    const { body } = await daemon.call<{ items: { id: string }[] }>("GET", `/v1/accounts/${id}/holds`);
    await daemon.call("POST", `/v1/accounts/${id}/holds/${body.items[0]?.id}/approve`);
    await has("hold.closed");
    await rests(id);
    await replays(id);
    expect(await inputsOf(id)).toEqual(expect.arrayContaining(["hold.decided", "imap.epoch", "imap.epoch-read", "imap.pairs"]));
  });

  it(
    "is not the same when its rows were touched, and cannot be replayed without its beginning",
    { timeout: 360_000 },
    async () => {
      await deliver(3, mails("m", 2));
      const id = await liveAccount(daemon, dovecotAccount(server, 3));
      await rests(id);
      await replays(id);
      const account = parseId("acc", id);
      await sql.query(`update placements set keywords = '{"$flagged"}' where account_id = $1`, [account]);
      const touched = await replay(id);
      expect([touched.code, touched.out]).toEqual([1, expect.stringContaining("placements: 2 rows are stored otherwise")]);
      await sql.query(`update inputs set at = at - interval '10 days' where account_id = $1`, [account]);
      const db = openDatabase({ url: fresh.url, max: 1, log: quietLog });
      await forgetInputs(db, 11);
      expect((await replay(id)).code).toBe(1);
      await forgetInputs(db, 9);
      await db.close();
      expect(await replay(id)).toMatchObject({ code: 2, err: expect.stringContaining("SAMEBOX_INPUT_DAYS") as unknown });
      // As of an account that was there when inputs began to be kept.
      await sql.query(`update inputs set ordinal = 1 where account_id = $1`, [account]);
      expect(await replay(id)).toMatchObject({
        code: 2,
        err: expect.stringContaining("made before inputs were kept") as unknown,
      });
      // The one that the next follows.
      expect(await inputsOf(id)).toEqual(["account.paused"]);
    },
  );

  it("leaves no database behind, whether it is interrupted or the one before was killed", { timeout: 360_000 }, async () => {
    await deliver(4, mails("m", 2));
    const id = await liveAccount(daemon, dovecotAccount(server, 4));
    await rests(id);
    const [old, busy] = ["0", "1"].map((digit) => `samebox_replay_00000000000070008000${digit.repeat(12)}`) as [string, string];
    const those = async (condition: string): Promise<readonly string[]> =>
      (await queryOnce<{ datname: string }>(fresh.url, `select datname from ${condition} order by 1`)).map(
        ({ datname }) => datname,
      );
    const there = (...names: readonly string[]) => those(`pg_database where datname in ('${names.join("', '")}')`);
    const source = new URL(fresh.url).pathname.slice(1);
    for (const name of [old, busy]) await sql.query(`create database ${name}`);
    const urlOf = (name: string): string => Object.assign(new URL(fresh.url), { pathname: `/${name}` }).href;
    const [worker, locker] = [busy, source].map((name) => new pg.Client({ connectionString: urlOf(name) })) as [
      pg.Client,
      pg.Client,
    ];
    await Promise.all([worker.connect(), locker.connect()]);
    try {
      await replays(id);
      expect(await there(old, busy)).toEqual([busy]);
      // It waits for its first input.
      await locker.query("begin; lock table inputs in access exclusive mode");
      const script = startScript("replay", fresh.url, id);
      const name = await eventually(
        "it is at work",
        async () => (await those(`pg_stat_activity where application_name = 'samebox replay of ${source}'`))[0],
        patience,
      );
      const waits = `pg_stat_activity where wait_event_type = 'Lock' and query like '%from inputs%' and datname = '${source}'`;
      await eventually("it waits", async () => (await those(waits)).length > 0, patience);
      script.kill("SIGINT");
      await eventually("its database is gone", async () => (await there(name)).length === 0, patience);
      await locker.query("commit");
      expect(await script.ended).toEqual({ code: 2, out: "", err: "Interrupted before it was compared.\n" });
    } finally {
      await Promise.all([worker.end(), locker.end()]);
      await sql.query(`drop database ${busy}`);
    }
  });
});
