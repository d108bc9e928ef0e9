/** Mail that is gone from IMAP without a word: what is believed of it, and how long nothing is. */
import { describe, expect, it } from "vitest";
import { changesOf, type SeenChange, statusOf } from "../support/account-view.ts";
import { type Daemon, dovecotAccount, liveAccount } from "../support/daemon.ts";
import { queryOnce } from "../support/database-server.ts";
import type { Dovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { useGround } from "../support/ground.ts";
import { drain, mailOf, sweep } from "../support/pop3-account.ts";
import type { FreshDatabase } from "../support/postgres.ts";

let server: Dovecot;
let fresh: FreshDatabase;
let daemon: Daemon;

const mail = (subject: string): Buffer =>
  Buffer.from(`Subject: ${subject}\r\nMessage-ID: <${subject}@vanish.test>\r\n\r\nbody of ${subject}\r\n`);
const many = (count: number): Buffer[] => Array.from({ length: count }, (_, at) => mail(`m${at}`));

useGround({ users: 4 }, (ground) => {
  ({ server, fresh, daemon } = ground);
});

const deliver = (n: number, messages: readonly Buffer[]): Promise<number> =>
  server.deliver({ user: server.account(n).user, mailbox: "INBOX", messages });

const account = (n: number, policy: Record<string, unknown> = {}) => ({ ...dovecotAccount(server, n), policy });

/** Waits until the log has `count` decisions about mail that is gone; the last of them. */
const decided = (accountId: string, count: number): Promise<readonly SeenChange[]> =>
  eventually(
    `${count} are decided`,
    async () => {
      const log = (await changesOf(daemon, accountId)).filter(
        ({ kind }) => kind === "message.kept" || kind === "message.removed",
      );
      return log.length >= count && log;
    },
    { timeoutMs: 40_000 },
  );

const profileOf = async (accountId: string) => (await statusOf(daemon, accountId)).endpoint.profile;

/** An IMAP client deletes the first message so slowly that each of its steps is seen. */
const deleteSlowly = async (n: number, accountId: string): Promise<void> => {
  await using device = await server.device(n);
  const { uidNext, exists } = await device.select("INBOX");
  const uid = uidNext - exists;
  await device.command(`UID STORE ${uid} +FLAGS (\\Deleted)`);
  await eventually("the mark is seen", async () => {
    const marked = await queryOnce(fresh.url, `select 1 from bindings where active and '\\Deleted' = any(shadow_flags)`);
    return marked.length > 0;
  });
  await device.command(`UID EXPUNGE ${uid}`);
  await decided(accountId, 1);
};

describe("mail that a POP3 device takes from INBOX", () => {
  it("S01: is told from what an IMAP client deletes by the steps of MODSEQ (V12)", { timeout: 360_000 }, async () => {
    await deliver(1, many(6));
    const accountId = await liveAccount(daemon, account(1, { pop3Devices: "declared" }));
    await deleteSlowly(1, accountId);
    expect((await changesOf(daemon, accountId)).at(-1)).toMatchObject({ kind: "message.removed", rule: "V9" });
    await eventually("the steps are learned", async () => {
      expect(await profileOf(accountId)).toMatchObject({ modseqArithmetic: { store: true, expunge: true } });
      return true;
    });
    await drain(server, 1, 3);
    const log = (await decided(accountId, 4)).slice(1);
    expect(log.map(({ kind, reason, rule, confidence }) => [kind, reason, rule, Math.round((confidence ?? 0) * 100)])).toEqual(
      Array.from({ length: 3 }, () => ["message.kept", "pop3_drain", "V12", 95]),
    );
  });

  it("S27: is hinted at, and after the third time a device is known (V15)", { timeout: 540_000 }, async () => {
    await deliver(2, many(8));
    const accountId = await liveAccount(daemon, account(2));
    await deleteSlowly(2, accountId);
    for (let times = 1; times <= 3; times += 1) {
      expect((await statusOf(daemon, accountId)).pop3Devices.state).toBe("unknown");
      await drain(server, 2, 1);
      const last = (await decided(accountId, 1 + times)).at(-1);
      expect(last).toMatchObject({ kind: "message.removed", reason: "unknown", rule: "V15" });
      expect(last?.evidence).toMatchObject([{ hint: "possible_pop3_or_webmail" }]);
    }
    expect((await statusOf(daemon, accountId)).pop3Devices).toMatchObject({ state: "learned", because: "drained" });
    await drain(server, 2, 1);
    expect((await decided(accountId, 5)).at(-1)).toMatchObject({ kind: "message.kept", reason: "pop3_drain", rule: "V12" });
  });
});

/** Everything that is held was held so much earlier. */
const earlier = async (ms: number): Promise<void> => {
  await queryOnce(
    fresh.url,
    `update placements set absent_since = absent_since - interval '${ms} ms' where absent_since is not null`,
  );
  await queryOnce(
    fresh.url,
    `update holds set since = since - interval '${ms} ms', evidence = jsonb_build_array(jsonb_build_object(
       'epoch', evidence->0->'epoch', 'from', (evidence->0->>'from')::bigint - ${ms},
       'cuts', (select jsonb_agg(c::bigint - ${ms}) from jsonb_array_elements_text(evidence->0->'cuts') c))) where closed_at is null`,
  );
};

const holdsOf = async (accountId: string) => (await statusOf(daemon, accountId)).holds;

describe("a mass of mail that is gone at once", () => {
  const held = (accountId: string, count: number) =>
    eventually(
      "it is held",
      async () => {
        expect(await holdsOf(accountId)).toMatchObject([{ reason: "mass_vanish", count }]);
        return true;
      },
      { timeoutMs: 40_000 },
    );

  it("S18: is kept after two more looks, and never removed (B1)", { timeout: 540_000 }, async () => {
    await deliver(3, many(25));
    const accountId = await liveAccount(daemon, account(3));
    await drain(server, 3, 24);
    await held(accountId, 24);
    for (let times = 0; times < 2; times += 1) await sweep(daemon, accountId);
    expect(await holdsOf(accountId)).toMatchObject([{ count: 24 }]);
    await earlier(7 * 3_600_000);
    // The next look misses it a second time, the one after lets go of it.
    await eventually("it is let go of", async () => (await holdsOf(accountId)).length === 0, { timeoutMs: 40_000 });
    const log = await decided(accountId, 24);
    expect(new Set(log.map(({ kind, reason, rule }) => `${kind} ${reason} ${rule}`))).toEqual(
      new Set(["message.kept mass_vanish_released B1"]),
    );
    expect(log).toHaveLength(24);
    const end = (await changesOf(daemon, accountId)).find(({ kind }) => kind === "hold.closed");
    expect(end?.after).toMatchObject({ reason: "mass_vanish", outcome: "released" });
    expect(await mailOf(daemon, accountId)).toHaveLength(25);
  });

  it("is nothing where it comes again", { timeout: 360_000 }, async () => {
    await deliver(4, many(25));
    const accountId = await liveAccount(daemon, account(4));
    const before = (await mailOf(daemon, accountId)).map(({ id }) => id).toSorted();
    await drain(server, 4, 24);
    await held(accountId, 24);
    await deliver(4, many(24));
    await eventually("the hold is over", async () => (await holdsOf(accountId)).length === 0, { timeoutMs: 40_000 });
    const log = await changesOf(daemon, accountId);
    expect(log.map(({ kind }) => kind)).not.toContain("message.removed");
    expect(log.find(({ kind }) => kind === "hold.closed")?.after).toMatchObject({ outcome: "reappeared" });
    expect((await mailOf(daemon, accountId)).map(({ id }) => id).toSorted()).toEqual(before);
  });
});
