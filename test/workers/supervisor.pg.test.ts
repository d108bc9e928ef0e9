import { afterEach, expect, it, vi } from "vitest";
import { openPostgresBell } from "../../src/queue/postgres.ts";
import { openDatabase } from "../../src/store/database.ts";
import { ensureInstallation } from "../../src/store/leases.ts";
import { Supervisor, type SupervisorOptions } from "../../src/workers/supervisor.ts";
import { freshDatabase } from "../support/postgres.ts";
import { quietLog } from "../support/shard-owner.ts";

afterEach(() => void vi.useRealTimers());

it("a process that slept past its lease holds nothing, though nobody told it so", async () => {
  const fresh = await freshDatabase();
  const db = openDatabase({ url: fresh.url, log: quietLog });
  const bell = await openPostgresBell({ databaseUrl: fresh.url, concurrency: 1, log: quietLog });
  const shards = await ensureInstallation(db, 1);
  // No account is there, so that no lane asks for more than these.
  const services = { db, log: quietLog } as SupervisorOptions["services"];
  const supervisor = new Supervisor({
    bell,
    shards,
    leaseSeconds: 600,
    alone: true,
    services,
    housekeeping: async () => undefined,
  });
  try {
    await supervisor.start();
    const [fence] = supervisor.fences();
    if (fence === undefined) throw new Error("no lease");
    expect(supervisor.holds(fence)).toBe(true);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 601_000 });
    expect(supervisor.holds(fence)).toBe(false);
  } finally {
    vi.useRealTimers();
    await supervisor.stop();
    await bell.close();
    await db.close();
    await fresh.drop();
  }
});
