/** The policy `serverCopy`: what the daemon removes from a maildrop, and what it does not (semantics K4, K7, V1, B5). */
import { describe, expect, it } from "vitest";
import { forever, openDovecot } from "../endpoints/pop3/connection-fixture.ts";
import { changesOf, statusOf } from "../support/account-view.ts";
import { type Daemon, dovecotAccount, liveAccount, startDaemon, waitLive } from "../support/daemon.ts";
import { queryOnce } from "../support/database-server.ts";
import type { Dovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { useGround } from "../support/ground.ts";
import { maildropAccount, type MaildropServer, startMaildrop } from "../support/maildrop-server.ts";
import { mailOf, pop3Account, pop3Endpoint, rawOf, staysQuiet, sweep } from "../support/pop3-account.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";

const mail = (subject: string): Buffer =>
  Buffer.from(
    `Subject: ${subject}\r\nMessage-ID: <${subject}@copy.test>\r\nDate: Sun, 1 Nov 2026 10:00:00 +0000\r\n\r\n${subject}\r\n`,
  );

const many = (count: number): Buffer[] => Array.from({ length: count }, (_, at) => mail(`m${at}`));

const byAge = { policy: { serverCopy: "delete_after_days", serverCopyDays: 2 } };
const byPurge = { policy: { serverCopy: "delete_on_purge" } };

const long = { timeoutMs: 60_000 };

/** The items with these subjects were bound three days ago. */
const age = (url: string, accountId: string, subjects: readonly string[]): Promise<unknown> =>
  queryOnce(
    url,
    `update bindings b set bound_at = now() - interval '3 days' from placements p, messages m
     where b.uidl <> '' and p.account_id = b.account_id and p.id = b.placement_id and m.account_id = p.account_id and m.id = p.message_id
       and m.subject = any($2) and b.account_id = $1`,
    [uuidOf(accountId), subjects],
  );

/** Ids in the API are the database's, in another spelling: the account of this database with this e-mail. */
const uuids = new Map<string, string>();
const uuidOf = (accountId: string): string => uuids.get(accountId) ?? "";

const liveOn = async (daemon: Daemon, url: string, body: { readonly email: string }): Promise<string> => {
  const accountId = await liveAccount(daemon, body);
  const rows = await queryOnce<{ id: string }>(url, "select id from accounts where email = $1", [body.email]);
  uuids.set(accountId, rows[0]?.id ?? "");
  return accountId;
};

const commandsOf = (url: string, accountId: string): Promise<{ status: string; outcome: string | null; n: number }[]> =>
  queryOnce(
    url,
    `select status, outcome, count(*)::int as n from commands where account_id = $1 and verb = 'dele' group by 1, 2 order by 1, 2`,
    [uuidOf(accountId)],
  );

const confirmed = async (url: string, accountId: string, count: number): Promise<boolean> =>
  (await commandsOf(url, accountId)).some(({ status, n }) => status === "confirmed" && n === count);

const writesOf = async (daemon: Daemon, accountId: string): Promise<string[]> =>
  (await changesOf(daemon, accountId))
    .filter(({ kind }) => /^write\.|message\.(kept|removed|moved)/.test(kind))
    .map(({ kind, reason, rule }) => `${kind} ${reason} ${rule}`);

describe("on a real server", () => {
  let server: Dovecot;
  let fresh: FreshDatabase;
  let daemon: Daemon;

  useGround({ users: 5 }, (ground) => {
    ({ server, fresh, daemon } = ground);
  });

  const deliver = (n: number, messages: readonly Buffer[]): Promise<number> =>
    server.deliver({ user: server.account(n).user, mailbox: "INBOX", messages });

  /** Subjects that another POP3 client is given. */
  const held = async (n: number): Promise<string[]> => {
    const connection = await openDovecot(server, n);
    const subjects: string[] = [];
    for await (const { octets } of connection.topMany((await connection.list(forever)).messages, 0, forever)) {
      subjects.push(/^Subject: (.*)\r$/m.exec(octets?.head.toString() ?? "")?.[1] ?? "");
      await octets?.dispose();
    }
    await connection.quit(forever);
    return subjects.toSorted();
  };

  it("what is older than the policy's days goes, and stays here as it was", { timeout: 360_000 }, async () => {
    await deliver(1, many(5));
    const accountId = await liveOn(daemon, fresh.url, pop3Account(server, 1, byAge));
    const before = await mailOf(daemon, accountId);
    await sweep(daemon, accountId);
    expect(await held(1)).toHaveLength(5);
    await age(fresh.url, accountId, ["m0", "m1", "m2"]);
    await eventually("three are confirmed", () => confirmed(fresh.url, accountId, 3), long);
    expect(await held(1)).toEqual(["m3", "m4"]);
    expect(await commandsOf(fresh.url, accountId)).toEqual([{ status: "confirmed", outcome: null, n: 3 }]);
    const after = await mailOf(daemon, accountId);
    expect(after.map(({ id }) => id).toSorted()).toEqual(before.map(({ id }) => id).toSorted());
    for (const { id, subject, placements } of after) {
      const gone = ["m0", "m1", "m2"].includes(subject ?? "");
      expect(placements[0]).toMatchObject({ state: "live", reason: "backfilled" });
      expect(placements[0]?.bindings).toHaveLength(gone ? 0 : 1);
      expect(await rawOf(daemon, accountId, id)).toEqual(mail(subject ?? ""));
    }
    expect(await writesOf(daemon, accountId)).toEqual(Array.from({ length: 3 }, () => "write.applied delete_after_days K4"));
    expect(await staysQuiet(daemon, accountId, fresh.url)).toBe(0n);
  });

  it("what is damaged here stays there, which is said, until it is mended", { timeout: 360_000 }, async () => {
    await deliver(2, many(3));
    const accountId = await liveOn(daemon, fresh.url, pop3Account(server, 2, byAge));
    const turn = (): Promise<unknown> =>
      queryOnce(
        fresh.url,
        `update blobs b set data = set_byte(data, octet_length(data) - 3, get_byte(data, octet_length(data) - 3) # 1) from messages m
         where m.account_id = b.account_id and m.sha256 = b.sha256 and m.subject = 'm1' and b.account_id = $1`,
        [uuidOf(accountId)],
      );
    await turn();
    await age(fresh.url, accountId, ["m0", "m1", "m2"]);
    const status = await eventually(
      "the damage is told",
      async () => {
        const now = await statusOf(daemon, accountId);
        return now.holds.length > 0 && (await held(2)).length === 1 ? now : false;
      },
      long,
    );
    expect(status.holds).toMatchObject([{ reason: "octets_damaged", count: 1 }]);
    expect(status.endpoint.notices).toContainEqual(expect.stringContaining("wants them removed: 1."));
    expect(await held(2)).toEqual(["m1"]);
    await turn();
    await queryOnce(fresh.url, "update commands set due_at = null where account_id = $1", [uuidOf(accountId)]);
    await eventually("it is removed then", async () => (await held(2)).length === 0, long);
    expect((await statusOf(daemon, accountId)).holds).toEqual([]);
  });

  it("what was removed for good here goes, and what can be brought back does not", { timeout: 360_000 }, async () => {
    await deliver(3, many(4));
    const accountId = await liveOn(daemon, fresh.url, pop3Account(server, 3, byPurge));
    await age(fresh.url, accountId, ["m0", "m1", "m2", "m3"]);
    const remove = (subject: string, what: string): Promise<unknown> =>
      queryOnce(
        fresh.url,
        `update placements p set removed_at = now() - interval '40 days', ${what} from messages m
         where m.account_id = p.account_id and m.id = p.message_id and m.subject = $2 and p.account_id = $1`,
        [uuidOf(accountId), subject],
      );
    await remove("m0", "lifecycle = 'removed', recoverable_until = now() - interval '1 minute'");
    await remove("m1", "lifecycle = 'removed', recoverable_until = now() + interval '1 day'");
    await remove("m2", "lifecycle = 'purged'");
    await queryOnce(
      fresh.url,
      "update messages set durability = 'purged', sha256 = null where account_id = $1 and subject = 'm2'",
      [uuidOf(accountId)],
    );
    await eventually("two are confirmed", () => confirmed(fresh.url, accountId, 2), long);
    expect(await held(3)).toEqual(["m1", "m3"]);
  });

  it("beside IMAP it goes from there as well, and is kept here", { timeout: 360_000 }, async () => {
    await deliver(4, many(4));
    const [imap] = dovecotAccount(server, 4).endpoints;
    const account = { ...pop3Account(server, 4, byAge), endpoints: [imap, pop3Endpoint(server, 4)] };
    const accountId = await liveOn(daemon, fresh.url, account);
    await eventually(
      "both show all",
      async () => {
        const all = await mailOf(daemon, accountId);
        return all.length === 4 && all.every(({ placements }) => placements[0]?.bindings.length === 2);
      },
      long,
    );
    await age(fresh.url, accountId, ["m0", "m1"]);
    const kept = await eventually(
      "two are kept",
      async () => {
        const now = (await mailOf(daemon, accountId)).filter(({ placements }) => placements[0]?.state === "kept");
        return now.length === 2 && now.every(({ placements }) => placements[0]?.bindings.length === 0) ? now : false;
      },
      long,
    );
    expect(kept.map(({ subject }) => subject).toSorted()).toEqual(["m0", "m1"]);
    expect(kept[0]?.placements).toMatchObject([{ reason: "self" }]);
    expect(await held(4)).toEqual(["m2", "m3"]);
    const log = (await writesOf(daemon, accountId)).toSorted();
    expect(log).toEqual([
      "message.kept self V1",
      "message.kept self V1",
      "write.applied delete_after_days K4",
      "write.applied delete_after_days K4",
    ]);
  });
});

describe("on a server that is looked at closely", () => {
  const run = (url: string): Promise<Daemon> =>
    startDaemon({ env: { DATABASE_URL: url, SAMEBOX_LEASE_SECONDS: "2", SAMEBOX_POLL_SECONDS: "1" } });

  const marks = (server: MaildropServer): number => server.heard.filter(({ line }) => line.startsWith("DELE")).length;

  it("nothing goes under another size, and nothing while the listing is partial", { timeout: 360_000 }, async () => {
    await using database = await freshDatabase();
    await using daemon = await run(database.url);
    let lie: (at: number) => string = () => "";
    const answer = (line: string, { mail: all }: MaildropServer): string | null =>
      line === "LIST" && lie(0) !== ""
        ? `+OK\r\n${all.map(({ raw }, at) => `${at + 1} ${raw.length}`).join("\r\n")}\r\n${lie(all.length)}.\r\n`
        : null;
    await using server = await startMaildrop(many(3), { answer });
    const accountId = await liveOn(daemon, database.url, maildropAccount(server, byAge));
    await sweep(daemon, accountId);
    // One line too many: the counts do not agree (G2).
    lie = (at) => `${at + 1} 100\r\n`;
    await age(database.url, accountId, ["m0", "m1", "m2"]);
    for (let times = 0; times < 3; times += 1) await sweep(daemon, accountId);
    expect(marks(server)).toBe(0);
    // As if the ids had been given to other mail: sizes differ by one octet.
    await queryOnce(database.url, "update bindings set listed_size = listed_size + 1 where account_id = $1", [uuidOf(accountId)]);
    lie = () => "";
    for (let times = 0; times < 3; times += 1) await sweep(daemon, accountId);
    expect(marks(server)).toBe(0);
    expect(server.mail).toHaveLength(3);
    expect((await mailOf(daemon, accountId)).map(({ subject }) => subject).toSorted()).toEqual(["m0", "m1", "m2"]);
  });

  it("no more than fifty go in ten minutes (B5)", { timeout: 360_000 }, async () => {
    await using database = await freshDatabase();
    await using daemon = await run(database.url);
    await using server = await startMaildrop(many(120));
    const accountId = await liveOn(daemon, database.url, maildropAccount(server, byAge));
    await age(
      database.url,
      accountId,
      many(110).map((_, at) => `m${at}`),
    );
    await eventually("fifty are confirmed", () => confirmed(database.url, accountId, 50), long);
    for (let times = 0; times < 3; times += 1) await sweep(daemon, accountId);
    expect(server.mail).toHaveLength(70);
    expect(marks(server)).toBe(50);
    await queryOnce(database.url, "update commands set sent_at = sent_at - interval '11 minutes'");
    await eventually("fifty more", () => confirmed(database.url, accountId, 100), long);
    expect(server.mail).toHaveLength(20);
  });

  it("S97: what shares its id with what stays keeps nothing else from going", { timeout: 360_000 }, async () => {
    await using database = await freshDatabase();
    await using daemon = await run(database.url);
    await using server = await startMaildrop(many(60));
    // 55 of one id, of which one is to stay; two of another, and three of their own, all to go.
    server.mail = server.mail.map(({ raw, uidl }, at) => ({ raw, uidl: at < 55 ? "a" : at < 57 ? "b" : uidl }));
    const accountId = await liveOn(daemon, database.url, maildropAccount(server, byAge));
    await age(
      database.url,
      accountId,
      many(60).flatMap((_, at) => (at === 20 ? [] : [`m${at}`])),
    );
    await eventually("five are confirmed", () => confirmed(database.url, accountId, 5), long);
    for (let times = 0; times < 3; times += 1) await sweep(daemon, accountId);
    expect(server.mail.map(({ uidl }) => uidl)).toEqual(Array.from({ length: 55 }, () => "a"));
    expect(marks(server)).toBe(5);
  });

  it("V1: what the server removes long after it was told to is no drain", { timeout: 360_000 }, async () => {
    await using database = await freshDatabase();
    await using daemon = await run(database.url);
    await using server = await startMaildrop(many(3), { answer: (line) => (line === "QUIT" ? "+OK\r\n" : null) });
    const mirrored = { policy: { ...byAge.policy, onPop3Drain: "mirror" } };
    const accountId = await liveOn(daemon, database.url, maildropAccount(server, mirrored));
    await age(database.url, accountId, ["m1"]);
    // Twice told and twice a minute gone by: it is not told again for an hour.
    for (const attempts of [1, 2]) {
      await eventually("told", async () => marks(server) === attempts, long);
      await queryOnce(database.url, "update commands set sent_at = sent_at - interval '2 minutes'");
      await eventually("given up", async () => (await commandsOf(database.url, accountId))[0]?.status === "failed", long);
    }
    const listed = (): Promise<string[]> => writesOf(daemon, accountId);
    expect(await listed()).toEqual(["write.failed delete_after_days K4"]);
    server.mail = server.mail.filter(({ uidl }) => uidl !== "u1");
    await eventually("it is known to be done", () => confirmed(database.url, accountId, 1), long);
    for (let times = 0; times < 3; times += 1) await sweep(daemon, accountId);
    expect(await listed()).toEqual(["write.failed delete_after_days K4", "write.applied delete_after_days K4"]);
    const mailbox = await mailOf(daemon, accountId);
    expect(mailbox.map(({ subject, placements }) => [subject, placements[0]?.state]).toSorted()).toEqual([
      ["m0", "live"],
      ["m1", "live"],
      ["m2", "live"],
    ]);
    // What somebody else takes is as it was.
    server.mail = server.mail.filter(({ uidl }) => uidl !== "u2");
    await eventually("mirrored", async () => (await listed()).includes("message.removed pop3_drain V14"), long);
  });

  it("S113: killed between DELE and QUIT it has removed nothing, and does it again", { timeout: 360_000 }, async () => {
    await using database = await freshDatabase();
    await using victim = await run(database.url);
    const answer = (line: string): string | null => {
      if (line !== "DELE 2" || !victim.running) return null;
      victim.kill("SIGKILL");
      return "close";
    };
    await using server = await startMaildrop(many(3), { answer });
    const accountId = await liveOn(victim, database.url, maildropAccount(server, byAge));
    await age(database.url, accountId, ["m0", "m1"]);
    await victim.exited;
    expect(server.mail).toHaveLength(3);
    expect(await commandsOf(database.url, accountId)).toEqual([{ status: "sent", outcome: null, n: 2 }]);
    await using survivor = await run(database.url);
    await waitLive(survivor, accountId);
    await sweep(survivor, accountId);
    // It may still be removing, a minute long.
    expect(await commandsOf(database.url, accountId)).toEqual([{ status: "sent", outcome: null, n: 2 }]);
    await queryOnce(database.url, "update commands set sent_at = sent_at - interval '2 minutes'");
    await eventually(
      "both are confirmed",
      async () => (await commandsOf(database.url, accountId))[0]?.status === "confirmed",
      long,
    );
    expect(server.mail).toHaveLength(1);
    expect((await writesOf(survivor, accountId)).length).toBe(2);
    expect((await mailOf(survivor, accountId)).map(({ placements }) => placements[0]?.state)).toEqual(["live", "live", "live"]);
  });

  it.each(["killed", "unanswered"])(
    "S113: at QUIT %s, what is gone is known to be its own work",
    { timeout: 360_000 },
    async (how) => {
      await using database = await freshDatabase();
      await using victim = await run(database.url);
      let marked = false;
      const answer = (line: string, held: MaildropServer): string | null => {
        marked ||= line.startsWith("DELE");
        if (line !== "QUIT" || !marked) return null;
        marked = false;
        held.mail = held.mail.slice(2);
        if (how === "killed") victim.kill("SIGKILL");
        return "close";
      };
      await using server = await startMaildrop(many(3), { answer });
      const accountId = await liveOn(victim, database.url, maildropAccount(server, byAge));
      await age(database.url, accountId, ["m0", "m1"]);
      if (how === "killed") await victim.exited;
      await using survivor = how === "killed" ? await run(database.url) : null;
      const daemon = survivor ?? victim;
      await eventually(
        "both are confirmed",
        async () => (await commandsOf(database.url, accountId))[0]?.status === "confirmed",
        long,
      );
      await sweep(daemon, accountId);
      const all = await mailOf(daemon, accountId);
      expect(all.map(({ placements }) => [placements[0]?.state, placements[0]?.reason])).toEqual(
        many(3).map(() => ["live", "backfilled"]),
      );
      expect(await writesOf(daemon, accountId)).toEqual(Array.from({ length: 2 }, () => "write.applied delete_after_days K4"));
    },
  );
});
