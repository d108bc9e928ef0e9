/** Policies changed at any time: what another one would make of mail that is gone, told before and done afterwards. */
import { describe, expect, it } from "vitest";
import { openDatabase } from "../../src/store/database.ts";
import { changesOf, mailboxesOf } from "../support/account-view.ts";
import { type Daemon, dovecotAccount, liveAccount } from "../support/daemon.ts";
import { queryOnce } from "../support/database-server.ts";
import type { Dovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { useGround } from "../support/ground.ts";
import { drain } from "../support/pop3-account.ts";
import type { FreshDatabase } from "../support/postgres.ts";
import { quietLog } from "../support/shard-owner.ts";

let server: Dovecot;
let fresh: FreshDatabase;
let daemon: Daemon;

const mail = (n: number): Buffer => Buffer.from(`Subject: m${n}\r\nMessage-ID: <m${n}@policy.test>\r\n\r\nbody of m${n}\r\n`);

useGround({ users: 3 }, (ground) => {
  ({ server, fresh, daemon } = ground);
});

interface Effect {
  readonly mailboxId: string | null;
  readonly messageId: string;
  readonly placementId: string;
  readonly now: string;
  readonly wouldBe: string;
  readonly reason: string;
}

interface Simulated {
  readonly total: number;
  readonly items: readonly Effect[];
  readonly nextCursor: string | null;
}

const simulate = async (id: string, policy: Record<string, unknown>, query = ""): Promise<Simulated> => {
  const { status, body } = await daemon.call<Simulated>("POST", `/v1/accounts/${id}/policy/simulate${query}`, policy);
  expect(status).toBe(200);
  return body;
};

interface Listed {
  readonly items: readonly {
    readonly id: string;
    readonly placements: readonly { readonly id: string; readonly state: string }[];
  }[];
}

/** Where every placement of the account stands. */
const standing = async (id: string): Promise<Map<string, string>> => {
  const { body } = await daemon.call<Listed>("GET", `/v1/accounts/${id}/messages?include=removed&limit=200`);
  return new Map(body.items.flatMap(({ placements }) => placements.map((placement) => [placement.id, placement.state])));
};

const setPolicy = async (id: string, policy: Record<string, unknown>): Promise<void> => {
  const { status } = await daemon.call("PATCH", `/v1/accounts/${id}`, { policy });
  expect(status).toBe(200);
};

/** Sets the policy; what stands elsewhere now is what was told, neither more nor less. */
const switchTo = async (id: string, policy: Record<string, unknown>): Promise<readonly Effect[]> => {
  const before = await standing(id);
  const told = await simulate(id, policy);
  expect(await standing(id)).toEqual(before);
  await setPolicy(id, policy);
  const after = await standing(id);
  const moved = [...after].filter(([placement, state]) => before.get(placement) !== state);
  expect(new Map(moved)).toEqual(new Map(told.items.map(({ placementId, wouldBe }) => [placementId, wouldBe])));
  expect(told.total).toBe(told.items.length);
  expect((await simulate(id, policy)).total).toBe(0);
  return told.items;
};

/** An account whose INBOX lost `marked` messages that were marked as deleted, then `silent` ones without a word. */
const thinned = async (n: number, { marked, silent }: { readonly marked: number; readonly silent: number }): Promise<string> => {
  const { user } = server.account(n);
  await server.deliver({ user, mailbox: "INBOX", messages: Array.from({ length: 12 }, (_, at) => mail(100 * n + at)) });
  const id = await liveAccount(daemon, dovecotAccount(server, n));
  const gone = (count: number) =>
    eventually(
      `${count} are decided`,
      async () => (await changesOf(daemon, id)).filter(({ kind }) => kind === "message.removed").length === count,
      { timeoutMs: 40_000 },
    );
  const device = await server.device(n);
  await device.select("INBOX");
  await device.command(`UID STORE 1:${marked} +FLAGS (\\Deleted)`);
  await eventually("the marks are seen", async () => {
    const seen = await queryOnce(fresh.url, `select 1 from bindings where active and '\\Deleted' = any(shadow_flags)`);
    return seen.length === marked;
  });
  await device.command("EXPUNGE");
  await gone(marked);
  await device[Symbol.asyncDispose]();
  await drain(server, n, silent);
  await gone(marked + silent);
  return id;
};

describe("a policy that is changed", () => {
  it("what a device deleted is kept, removed again, and so on, as was told before", { timeout: 360_000 }, async () => {
    const id = await thinned(1, { marked: 2, silent: 3 });
    const kept = await switchTo(id, { onUserExpunge: "keep", onUnknownVanish: "keep" });
    expect(kept).toHaveLength(5);
    expect(new Set(kept.map(({ now, wouldBe }) => `${now} ${wouldBe}`))).toEqual(new Set(["removed kept"]));
    const log = (await changesOf(daemon, id)).slice(-5);
    expect(log.map(({ kind }) => kind)).toEqual(Array.from({ length: 5 }, () => "message.restored"));
    const back = await switchTo(id, { onUserExpunge: "mirror", onUnknownVanish: "mirror" });
    expect(back.map(({ messageId }) => messageId).sort()).toEqual(kept.map(({ messageId }) => messageId).sort());
    // Nothing of it is asked of the server.
    expect((await changesOf(daemon, id)).filter(({ kind }) => kind.startsWith("write."))).toEqual([]);
  });

  it(
    "who reads over POP3 is part of it: what went without a word was taken, then, and not deleted",
    { timeout: 360_000 },
    async () => {
      const id = await thinned(2, { marked: 2, silent: 3 });
      const taken = await switchTo(id, { pop3Devices: "declared" });
      expect(taken.map(({ reason, wouldBe }) => `${reason} ${wouldBe}`)).toEqual(
        Array.from({ length: 3 }, () => "pop3_drain kept"),
      );
      const story = await daemon.call<{ items: readonly { reason: string; evidence: readonly unknown[] }[] }>(
        "GET",
        `/v1/accounts/${id}/messages/${taken[0]?.messageId ?? ""}/explain`,
      );
      expect(story.body.items.at(-1)).toMatchObject({ reason: "pop3_drain", cause: { source: "api" } });
      expect(story.body.items.at(-1)?.evidence).toMatchObject([{ seen: { role: "inbox" } }, { policyChanged: true }]);
      // What somebody has brought back since is his.
      await daemon.call("POST", `/v1/accounts/${id}/messages/${taken[0]?.messageId ?? ""}/restore`, {});
      const restored = await simulate(id, { onPop3Drain: "restore" });
      expect(restored.items.map(({ wouldBe }) => wouldBe)).toEqual(Array.from({ length: restored.total }, () => "live"));
      const archive = [...(await mailboxesOf(daemon, id)).values()].find(({ role }) => role === "archive");
      expect(restored.total).toBeGreaterThan(0);
      expect(new Set(restored.items.map(({ mailboxId }) => mailboxId))).toEqual(new Set([archive?.id]));
    },
  );

  it("tells page by page, and changes nothing", { timeout: 360_000 }, async () => {
    const id = await thinned(3, { marked: 3, silent: 1 });
    const whole = await simulate(id, { onUserExpunge: "keep", onUnknownVanish: "keep" });
    const first = await simulate(id, { onUserExpunge: "keep", onUnknownVanish: "keep" }, "?limit=3");
    const second = await simulate(
      id,
      { onUserExpunge: "keep", onUnknownVanish: "keep" },
      `?limit=3&cursor=${encodeURIComponent(first.nextCursor ?? "")}`,
    );
    expect([...first.items, ...second.items]).toEqual(whole.items);
    expect([first.total, second.total, second.nextCursor]).toEqual([4, 4, null]);
    // A pass in the middle of its writing holds the account, and nobody waits for it.
    const db = openDatabase({ url: fresh.url, log: quietLog });
    const meanwhile = await db.transaction(async (tx) => {
      await tx.query({ text: "select from accounts for update" });
      return simulate(id, { onUserExpunge: "keep", onUnknownVanish: "keep" });
    });
    await db.close();
    expect(meanwhile).toEqual(whole);
    const applied = () => queryOnce(fresh.url, "select from inputs where name = 'policy.applied'");
    const before = (await applied()).length;
    await setPolicy(id, { onUserExpunge: "mirror" });
    expect((await applied()).length, "a policy that is what it was is not looked at").toBe(before);
    await setPolicy(id, { onUserExpunge: "keep" });
    expect((await applied()).length).toBe(before + 1);
    const refused = await daemon.call("POST", `/v1/accounts/${id}/policy/simulate`, { onUserExpunge: "burn" });
    expect(refused.status).toBe(400);
  });
});
