import { setTimeout as pause } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Bell } from "../../src/queue/bell.ts";
import { eventually } from "../support/eventually.ts";
import { account, Counted, hint, Steps } from "./handlers.ts";
import { type OpenOptions, type Store, startPostgresStore, startRedisStore } from "./stores.ts";

const stores = [
  ["Redis", startRedisStore],
  ["PostgreSQL", startPostgresStore],
] as const;

/** Rings on and on for 40 accounts until stopped, and counts how often the bell refuses. */
class Load {
  refused = 0;
  readonly #stopping = new AbortController();
  readonly #ringing: Promise<void>;

  constructor(bell: Bell) {
    this.#ringing = this.#ring(bell);
  }

  async #ring(bell: Bell): Promise<void> {
    for (let count = 0; !this.#stopping.signal.aborted; count += 1) {
      await bell.ring(0, hint(count % 40)).catch(() => (this.refused += 1));
      await pause(2);
    }
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#ringing;
  }
}

describe.each(stores)("a bell whose %s fails", (_name, start) => {
  let store: Store;
  const bells: Bell[] = [];
  const uncaught: unknown[] = [];
  const note = (error: unknown): void => void uncaught.push(error);
  const open = async (options?: OpenOptions): Promise<Bell> => {
    const bell = await store.open(options);
    bells.push(bell);
    return bell;
  };

  beforeAll(async () => {
    store = await start();
    process.on("unhandledRejection", note).on("uncaughtException", note);
  });
  afterAll(async () => {
    process.off("unhandledRejection", note).off("uncaughtException", note);
    await store[Symbol.asyncDispose]();
  });
  beforeEach(() => store.comeBack());
  afterEach(async () => {
    await Promise.all(bells.splice(0).map((bell) => bell.close()));
    await store.wipe();
    expect(await eventually("bells are disconnected", async () => (await store.connections()) === 0)).toBe(true);
    expect(uncaught.splice(0)).toEqual([]);
  });

  /** Every account is run after this moment when it is rung again, as a sweep would do. */
  const hearsAll = async (bell: Bell, counted: Counted): Promise<void> => {
    counted.runs.clear();
    const everyone = Array.from({ length: 40 }, (_, index) => hint(index, "sweep"));
    await eventually("it can be rung", async () => (await bell.ringMany(0, everyone), true), { everyMs: 100 });
    await eventually("all accounts run", () => counted.runs.size === 40, { timeoutMs: 20_000 });
    expect(counted.twiceAtOnce).toBe(0);
  };

  it("goes on when all that was queued is gone, under load", async () => {
    const bell = await open();
    const counted = new Counted(() => pause(5));
    await bell.answer(0, counted.handle);
    const load = new Load(bell);
    for (let times = 0; times < 3; times += 1) {
      const before = counted.total;
      await eventually("it runs", () => counted.total > before + 20);
      await store.wipe();
    }
    const before = counted.total;
    await eventually("it runs on", () => counted.total > before + 20);
    await load.stop();
    await hearsAll(bell, counted);
  });

  it("goes on after the server was away, under load", async () => {
    const bell = await open();
    const counted = new Counted(() => pause(5));
    await bell.answer(0, counted.handle);
    const load = new Load(bell);
    await eventually("it runs", () => counted.total > 20);
    store.leave();
    await eventually("it refuses", () => load.refused > 50, { timeoutMs: 20_000 });
    store.comeBack();
    await load.stop();
    await hearsAll(bell, counted);
  });

  it("goes on after the server was restarted, idle or under load", async () => {
    const bell = await open();
    const counted = new Counted(() => pause(5));
    await bell.answer(0, counted.handle);
    await store.restart();
    await hearsAll(bell, counted);
    const load = new Load(bell);
    const before = counted.total;
    await eventually("it runs", () => counted.total > before + 20);
    await store.restart();
    await load.stop();
    await hearsAll(bell, counted);
  });

  it("says within 2 s that it cannot ring while the server is away, and can again soon after", async () => {
    const bell = await open();
    const steps = new Steps();
    await bell.answer(0, steps.handle);
    store.leave();
    const from = performance.now();
    await expect(bell.ring(0, hint(1))).rejects.toThrow();
    await expect(bell.ringMany(0, [hint(1), hint(2)])).rejects.toThrow();
    await expect(bell.depth(0)).rejects.toThrow();
    expect(performance.now() - from).toBeLessThan(6_500);
    store.comeBack();
    await eventually("it rings", async () => (await bell.ring(0, hint(3)), true), { everyMs: 50 });
    // What it could not promise may have been rung all the same, and comes first then.
    for (let rung = ""; rung !== account(3);) {
      const run = await steps.next();
      run.end();
      rung = run.hint.accountId;
    }
  });

  it("answers a shard that was given to it while the server was away", async () => {
    const bell = await open();
    store.leave();
    const steps = new Steps();
    await bell.answer(0, steps.handle);
    store.comeBack();
    await eventually("it rings", async () => (await bell.ring(0, hint(1)), true), { everyMs: 50 });
    (await steps.next()).end();
  });

  it("closes in time while the server is away, and leaves nothing running", async () => {
    const bell = await open();
    const steps = new Steps();
    const answering = await bell.answer(0, steps.handle);
    await bell.ring(0, hint(1));
    const running = await steps.next();
    store.leave();
    running.end();
    const from = performance.now();
    await answering.close(500);
    await bell.close();
    expect(performance.now() - from).toBeLessThan(4_000);
  });

  it("aborts a run whose lock is lost, and rings again for what it left", async () => {
    const bell = await open({ pace: { lockMs: 400 } });
    const steps = new Steps();
    await bell.answer(0, steps.handle);
    await bell.ring(0, hint(1));
    const cut = await steps.next();
    cut.signal.addEventListener("abort", () => cut.fail(new Error("cut")));
    await store.wipe();
    (await steps.next(25_000)).end();
    expect(cut.signal.aborted).toBe(true);
  });

  it("takes over what a killed owner was running, although the server is away at first", async () => {
    // With its only slot taken, the first one claims no more than a dead process would.
    const [killed, heir] = [await open({ concurrency: 1 }), await open()];
    const [lost, found] = [new Steps(), new Steps()];
    await killed.answer(0, lost.handle);
    await killed.ring(0, hint(1));
    const orphan = await lost.next();
    store.leave();
    await heir.answer(0, found.handle);
    store.comeBack();
    const run = await found.next(15_000);
    run.end();
    expect(run.hint).toEqual(hint(1));
    orphan.end();
  });
});
