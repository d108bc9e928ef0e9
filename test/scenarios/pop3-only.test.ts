/** An account that has POP3 only: read whole, as it is, without anybody noticing upstream. */
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { forever, openDovecot } from "../endpoints/pop3/connection-fixture.ts";
import { changesOf, mailboxesOf, statusOf } from "../support/account-view.ts";
import { dumpCanonical } from "../support/canonical-dump.ts";
import { type Daemon, liveAccount, startDaemon, waitLive } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { queryOnce } from "../support/database-server.ts";
import { eventually } from "../support/eventually.ts";
import { useGround } from "../support/ground.ts";
import {
  mailOf,
  pop3Account,
  pop3Endpoint,
  rawOf,
  sha256,
  staysQuiet,
  sweep,
  drain,
  upstreamOf,
} from "../support/pop3-account.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";

let server: Dovecot;
let fresh: FreshDatabase;
let daemon: Daemon;

const mail = (subject: string, body = `body of ${subject}\r\n`): Buffer =>
  Buffer.from(`Subject: ${subject}\r\nMessage-ID: <${subject}@pop3.test>\r\nDate: Sun, 1 Nov 2026 10:00:00 +0000\r\n\r\n${body}`);

const many = (count: number): Buffer[] => Array.from({ length: count }, (_, at) => mail(`m${at}`));

/** What is easily lost on the way: dots, bare line ends, octets above 127, no final line end, no body, a NUL's neighbours. */
const odd: readonly Buffer[] = [
  mail("dots", ".\r\n..\r\n.x\r\n"),
  mail("bare", "a\nb\nc\r\n"),
  Buffer.concat([mail("octets", ""), Buffer.from(Array.from({ length: 255 }, (_, at) => at + 1)), Buffer.from("\r\n")]),
  mail("open", "no end"),
  mail("empty", ""),
  mail("long", `${"x".repeat(200_000)}\r\n`),
  mail("large", "0123456789abcdef\r\n".repeat(200_000)),
];

useGround({ users: 10, pop3: { lockSession: true } }, (ground) => {
  ({ server, fresh, daemon } = ground);
});

const deliver = (n: number, messages: readonly Buffer[]): Promise<number> =>
  server.deliver({ user: server.account(n).user, mailbox: "INBOX", messages });

/** SHA-256 of what RETR gives for each message. It marks them as read. */
const retrieved = async (n: number): Promise<string[]> => {
  const connection = await openDovecot(server, n);
  const { messages } = await connection.list(forever);
  const hashes: string[] = [];
  for (const wanted of messages) {
    const octets = await connection.retr(wanted, forever);
    hashes.push(octets.sha256.toString("hex"));
    await octets.dispose();
  }
  await connection.quit(forever);
  return hashes.toSorted();
};

describe("an account with POP3 only", () => {
  it("is read whole and byte for byte, and no device can tell", { timeout: 180_000 }, async () => {
    await deliver(1, [...many(1_200), ...odd]);
    const before = await upstreamOf(server, 1);
    const accountId = await liveAccount(daemon, pop3Account(server, 1));
    const { progress, endpoint } = await statusOf(daemon, accountId);
    expect(progress).toMatchObject({ done: 1_207, total: 1_207 });
    expect(endpoint.profile.push).toBe("poll");
    const messages = await mailOf(daemon, accountId);
    expect(messages).toHaveLength(1_207);
    const stored = await Promise.all(messages.map(async ({ id }) => sha256(await rawOf(daemon, accountId, id))));
    expect(await upstreamOf(server, 1)).toEqual(before);
    // The control: one RETR is noticed, so that the comparison above can fail.
    expect(stored.toSorted()).toEqual(await retrieved(1));
    expect(await upstreamOf(server, 1)).not.toEqual(before);
  });

  it("is read as its settings say, though nobody rang for the change", { timeout: 180_000 }, async () => {
    await using other = await startDovecot({ users: 10 });
    await other.deliver({ user: other.account(10).user, mailbox: "INBOX", messages: [mail("elsewhere")] });
    const accountId = await liveAccount(daemon, pop3Account(server, 10));
    await queryOnce(
      fresh.url,
      `update endpoints set port = ${other.pop3Port} where account_id = '${accountId.replace(/^acc_/, "")}'`,
    );
    await eventually("it is there", async () => (await mailOf(daemon, accountId)).length === 1);
  });

  it("has the usual mailboxes, and its mail in INBOX (K1, K3)", async () => {
    await deliver(2, many(3));
    const accountId = await liveAccount(daemon, pop3Account(server, 2));
    const boxes = await mailboxesOf(daemon, accountId);
    expect(Object.fromEntries([...boxes].map(([path, { role }]) => [path, role]))).toEqual({
      INBOX: "inbox",
      Archive: "archive",
      Drafts: "drafts",
      Sent: "sent",
      Junk: "junk",
      Trash: "trash",
    });
    const [first] = await mailOf(daemon, accountId);
    expect(first?.receivedAt).toMatch(/^2026-11-01T10:00:00/);
    expect(first?.placements[0]?.bindings[0]).toMatchObject({ protocol: "pop3", uidl: expect.stringMatching(/./) as string });
    expect(await staysQuiet(daemon, accountId, fresh.url)).toBe(0n);
    await deliver(2, [mail("later")]);
    await eventually("the new one is there", async () => (await mailOf(daemon, accountId)).length === 4);
    const created = (await changesOf(daemon, accountId)).filter(({ kind }) => kind === "message.created");
    expect(created.map(({ reason }) => reason)).toEqual(["backfilled", "backfilled", "backfilled", "delivered"]);
  });

  it("of identical messages keeps each", async () => {
    await deliver(3, [mail("same"), mail("same"), mail("same"), mail("other")]);
    const accountId = await liveAccount(daemon, pop3Account(server, 3));
    const placements = (await mailOf(daemon, accountId)).flatMap(({ placements: all }) => all);
    expect(placements).toHaveLength(4);
    expect(new Set(placements.map(({ bindings }) => bindings[0]?.uidl)).size).toBe(4);
    expect(await staysQuiet(daemon, accountId, fresh.url)).toBe(0n);
  });

  it("S01 S53: what a device drains is kept, readable, and comes back when it comes back", { timeout: 180_000 }, async () => {
    await deliver(4, many(5));
    const accountId = await liveAccount(daemon, pop3Account(server, 4));
    const before = new Map((await mailOf(daemon, accountId)).map((message) => [message.subject, message]));
    await drain(server, 4, 3);
    const kept = await eventually("three are kept", async () => {
      const now = (await mailOf(daemon, accountId)).filter(({ placements }) => placements[0]?.state === "kept");
      return now.length === 3 ? now : false;
    });
    expect(kept.map(({ subject }) => subject).toSorted()).toEqual(["m0", "m1", "m2"]);
    for (const { id, subject, placements } of kept) {
      expect(placements[0]).toMatchObject({ reason: "pop3_drain", bindings: [] });
      expect(id).toBe(before.get(subject)?.id);
      expect(await rawOf(daemon, accountId, id)).toEqual(mail(subject ?? ""));
    }
    const log = (await changesOf(daemon, accountId)).filter(({ kind }) => kind === "message.kept");
    expect(log.map(({ reason, rule }) => [reason, rule])).toEqual(Array.from({ length: 3 }, () => ["pop3_drain", "V14"]));
    expect(await staysQuiet(daemon, accountId, fresh.url)).toBe(0n);
    await deliver(4, [mail("m1")]);
    await eventually("m1 is bound again", async () => {
      const found = (await mailOf(daemon, accountId)).filter(({ subject }) => subject === "m1");
      return found.length === 1 && found[0]?.placements.length === 1 && found[0].placements[0]?.state === "live";
    });
  });

  it("S03: under mirror what is drained is removed and stays recoverable", { timeout: 180_000 }, async () => {
    await deliver(5, many(5));
    const accountId = await liveAccount(daemon, pop3Account(server, 5, { policy: { onPop3Drain: "mirror" } }));
    await drain(server, 5, 2);
    const removed = await eventually("two are removed", async () => {
      const log = (await changesOf(daemon, accountId)).filter(({ kind }) => kind === "message.removed");
      return log.length === 2 ? log : false;
    });
    for (const { messageId, reason } of removed) {
      expect(reason).toBe("pop3_drain");
      expect((await rawOf(daemon, accountId, messageId ?? "")).length).toBeGreaterThan(50);
    }
  });

  it("an empty listing is not believed at first sight (G4)", { timeout: 180_000 }, async () => {
    await deliver(6, many(2));
    const accountId = await liveAccount(daemon, pop3Account(server, 6));
    await drain(server, 6, 2);
    for (let times = 0; times < 4; times += 1) await sweep(daemon, accountId);
    const states = (await mailOf(daemon, accountId)).map(({ placements }) => [
      placements[0]?.state,
      placements[0]?.bindings.length,
    ]);
    expect(states).toEqual([
      ["live", 1],
      ["live", 1],
    ]);
  });

  it("S131 K6: while another client is in the maildrop it waits, says so, and learns of it", { timeout: 360_000 }, async () => {
    await deliver(7, many(2));
    const device = await openDovecot(server, 7);
    const { body } = await daemon.call<{ id: string }>("POST", "/v1/accounts", pop3Account(server, 7));
    const { endpoint } = await eventually(
      "the lock is noticed",
      async () => {
        const status = await statusOf(daemon, body.id);
        return status.endpoint.lastError?.code === "maildrop_in_use" ? status : false;
      },
      { timeoutMs: 30_000 },
    );
    expect(Date.parse(endpoint.nextAttemptAt ?? "") - Date.now()).toBeGreaterThan(15_000);
    const devices = async () => (await statusOf(daemon, body.id)).pop3Devices;
    expect(await devices()).toEqual({ state: "unknown", since: null, because: null });
    const learned = await eventually(
      "it is learned",
      async () => {
        const known = await devices();
        if (known.state === "learned") return known;
        await daemon.call("POST", `/v1/accounts/${body.id}/sync`);
        return false;
      },
      { everyMs: 250, timeoutMs: 60_000 },
    );
    expect(learned).toMatchObject({ state: "learned", because: "maildrop_in_use" });
    expect(Date.parse(learned.since ?? "")).toBeGreaterThan(Date.now() - 60_000);
    expect((await statusOf(daemon, body.id)).suspectedDevices).toMatchObject([{ sign: "maildrop_in_use", certain: true }]);
    const told = (await changesOf(daemon, body.id)).filter(({ rule }) => rule === "K6");
    expect(told).toMatchObject([{ kind: "account.state", reason: "maildrop_in_use" }]);
    await device.quit(forever);
    await daemon.call("POST", `/v1/accounts/${body.id}/sync`);
    await waitLive(daemon, body.id);
    expect(await mailOf(daemon, body.id)).toHaveLength(2);
  });

  it("a refused password is told, and a new one is taken", { timeout: 180_000 }, async () => {
    await deliver(8, many(2));
    const { user } = server.account(8);
    const wrong = pop3Endpoint(server, 8, { auth: { type: "password", user, password: "wrong" } });
    const { body } = await daemon.call<{ id: string; endpoints: { id: string }[] }>("POST", "/v1/accounts", {
      email: "user8@example.test",
      endpoints: [wrong],
    });
    const told = async (): Promise<string | undefined> => (await statusOf(daemon, body.id)).endpoint.lastError?.code;
    await eventually("it is told", async () => (await told()) === "endpoint_auth_failed");
    await daemon.call("POST", `/v1/accounts/${body.id}/sync`);
    await eventually("the second refusal parks it", async () => (await statusOf(daemon, body.id)).syncState === "needs_reauth");
    expect((await statusOf(daemon, body.id)).endpoint.nextAttemptAt).toBeNull();
    const endpoints = [{ id: body.endpoints[0]?.id, auth: { type: "password", ...server.account(8) } }];
    expect((await daemon.call("PATCH", `/v1/accounts/${body.id}`, { endpoints })).status).toBe(200);
    await waitLive(daemon, body.id);
    expect(await mailOf(daemon, body.id)).toHaveLength(2);
  });

  it("new unique-ids for the same mail bind to what is there (ID-9)", { timeout: 180_000 }, async () => {
    await deliver(9, [...many(8), mail("same"), mail("same")]);
    const accountId = await liveAccount(daemon, pop3Account(server, 9));
    const before = (await mailOf(daemon, accountId)).map(({ id }) => id).toSorted();
    const home = (await server.doveadm("user", "-f", "home", server.account(9).user)).trim();
    const folder = join(home, "mail");
    for (const file of await readdir(folder)) if (file.startsWith("dovecot")) await rm(join(folder, file), { recursive: true });
    await server.restart();
    await eventually(
      "the epoch is seen",
      async () => (await changesOf(daemon, accountId)).some(({ kind, rule }) => kind === "epoch.changed" && rule === "ID-9"),
      { timeoutMs: 30_000 },
    );
    await waitLive(daemon, accountId);
    await sweep(daemon, accountId);
    const after = await mailOf(daemon, accountId);
    expect(after.map(({ id }) => id).toSorted()).toEqual(before);
    const placements = after.flatMap(({ placements: all }) => all);
    expect(placements.map(({ state, bindings }) => [state, bindings.length])).toEqual(
      Array.from({ length: 10 }, () => ["live", 1]),
    );
    expect((await changesOf(daemon, accountId)).filter(({ kind }) => kind === "message.created")).toHaveLength(10);
  });
});

describe("a daemon killed at any step of a first reading over POP3", () => {
  it("leaves what an uninterrupted one leaves", { timeout: 600_000 }, async () => {
    await using lone = await startDovecot({ users: 1 });
    await lone.deliver({ user: lone.account(1).user, mailbox: "INBOX", messages: [...many(1_100), mail("m0")] });
    const upstream = await upstreamOf(lone, 1);
    const run = (url: string, env: Record<string, string> = {}): Promise<Daemon> =>
      startDaemon({ env: { DATABASE_URL: url, SAMEBOX_LEASE_SECONDS: "2", SAMEBOX_POLL_SECONDS: "1", ...env } });
    const contents = async (url: string): Promise<unknown> => {
      const { placements, changes, mailboxes, blobs } = await dumpCanonical(url);
      return { placements, changes, mailboxes, blobs };
    };
    await using calm = await freshDatabase();
    let golden: unknown;
    {
      await using whole = await run(calm.url);
      const accountId = await liveAccount(whole, pop3Account(lone, 1));
      expect(await staysQuiet(whole, accountId, calm.url)).toBe(0n);
      golden = await contents(calm.url);
    }
    let step = 1;
    for (let over = false; !over; step += 1) {
      await using database = await freshDatabase();
      await using victim = await run(database.url, { SAMEBOX_FAILPOINT: String(step) });
      const { body } = await victim.call<{ id: string }>("POST", "/v1/accounts", pop3Account(lone, 1));
      const through = waitLive(victim, body.id).then(
        () => "through",
        () => "never",
      );
      over = (await Promise.race([victim.exited, through])) === "through";
      await victim.stop();
      await using survivor = await run(database.url);
      await waitLive(survivor, body.id);
      expect(await staysQuiet(survivor, body.id, database.url)).toBe(0n);
      expect(await contents(database.url)).toEqual(golden);
    }
    expect(step).toBeGreaterThan(8);
    expect(await upstreamOf(lone, 1)).toEqual(upstream);
  });
});
