import { uuidv7 } from "uuidv7";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Fence } from "../../src/model/account.ts";
import type { ProcessId } from "../../src/model/ids.ts";
import { type Database, openDatabase } from "../../src/store/database.ts";
import { balanceLeases, checkFence, enrol, ensureInstallation, FencedError, heartbeat, resign } from "../../src/store/leases.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";
import { quietLog } from "../support/shard-owner.ts";

let fresh: FreshDatabase;
let db: Database;

beforeAll(async () => {
  fresh = await freshDatabase();
  db = openDatabase({ url: fresh.url, log: quietLog });
  await ensureInstallation(db, 8);
});

afterAll(async () => {
  await db.close();
  await fresh.drop();
});

const daemon = async (): Promise<ProcessId> => {
  const id = uuidv7() as ProcessId;
  await enrol(db, { id, host: "test", ttlSeconds: 60, alone: false });
  return id;
};

const shardsOf = (fences: readonly Fence[]): number[] => fences.map((fence) => fence.shard).sort((a, b) => a - b);
const check = (fence: Fence): Promise<void> => db.transaction((tx) => checkFence(tx, fence));

/** As if its time had run out, by the only clock that counts. */
const expire = (id: ProcessId) =>
  db.query({ text: `update processes set expires_at = now() - interval '1 second' where id = $1`, values: [id] });

describe("leases", () => {
  it("keep the number of shards of the first start", async () => {
    expect(await ensureInstallation(db, 64)).toBe(8);
  });

  it("give a lone daemon everything, and half to each of two", async () => {
    const first = await daemon();
    expect(shardsOf(await balanceLeases(db, first))).toHaveLength(8);
    const second = await daemon();
    expect(await balanceLeases(db, second)).toEqual([]);
    const kept = await balanceLeases(db, first);
    const taken = await balanceLeases(db, second);
    expect([kept.length, taken.length]).toEqual([4, 4]);
    expect(new Set([...shardsOf(kept), ...shardsOf(taken)]).size).toBe(8);
    await Promise.all([resign(db, first), resign(db, second)]);
  });

  it("S115: of a silent daemon pass to another, whose epoch refuses the old one's writes", async () => {
    const first = await daemon();
    const old = await balanceLeases(db, first);
    await Promise.all(old.map(check));
    await expire(first);
    const second = await daemon();
    const taken = await balanceLeases(db, second);
    expect(taken).toHaveLength(8);
    await Promise.all(taken.map(check));
    await Promise.all(old.map((fence) => expect(check(fence)).rejects.toThrow(FencedError)));
    expect(await heartbeat(db, first, 60)).toBe(false);
    await resign(db, second);
  });

  it("are never taken while a fenced write is under way", async () => {
    const first = await daemon();
    const [fence] = await balanceLeases(db, first);
    const second = await daemon();
    await db.transaction(async (tx) => {
      await checkFence(tx, fence as Fence);
      await expire(first);
      // Skips the locked row instead of waiting: the write goes through, the shard is taken at the next turn.
      expect(shardsOf(await balanceLeases(db, second))).not.toContain(fence?.shard);
    });
    expect(shardsOf(await balanceLeases(db, second))).toContain(fence?.shard);
    await resign(db, second);
  });

  it("are all void when a daemon starts alone on an embedded database", async () => {
    await balanceLeases(db, await daemon());
    const next = uuidv7() as ProcessId;
    await enrol(db, { id: next, host: "test", ttlSeconds: 60, alone: true });
    expect(await balanceLeases(db, next)).toHaveLength(8);
    await resign(db, next);
  });
});
