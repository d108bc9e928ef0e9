import { setImmediate as turn } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Bell, Hint } from "../../src/queue/bell.ts";
import { eventually } from "../support/eventually.ts";
import { account, Counted, hint, Steps } from "./handlers.ts";
import { type OpenOptions, type Store, startPostgresStore, startRedisStore } from "./stores.ts";

const stores = [
  ["Redis", startRedisStore],
  ["PostgreSQL", startPostgresStore],
] as const;

const seen = (hints: readonly { readonly hint: Hint }[]): string[] =>
  hints.map((run) => `${Number(run.hint.accountId.slice(-4))} ${run.hint.because}`);

describe.each(stores)("a bell on %s", (_name, start) => {
  let store: Store;
  const bells: Bell[] = [];
  const open = async (options?: OpenOptions): Promise<Bell> => {
    const bell = await store.open(options);
    bells.push(bell);
    return bell;
  };

  beforeAll(async () => {
    store = await start();
  });
  afterAll(() => store[Symbol.asyncDispose]());
  beforeEach(() => store.comeBack());
  afterEach(async () => {
    await Promise.all(bells.splice(0).map((bell) => bell.close()));
    await store.wipe();
    expect(await eventually("bells are disconnected", async () => (await store.connections()) === 0)).toBe(true);
  });

  it("tells the handler the account and the reason, and nothing of another shard", async () => {
    const bell = await open();
    const [first, second] = [new Steps(), new Steps()];
    await bell.answer(1, first.handle);
    await bell.answer(2, second.handle);
    await bell.ring(1, hint(7, "created"));
    expect((await first.next()).hint).toEqual(hint(7, "created"));
    expect(second.runs).toEqual([]);
    first.runs[0]?.end();
  });

  it("makes one run of many rings for an account that waits", async () => {
    const bell = await open();
    for (const because of ["push", "sweep", "push", "backfill"] as const) await bell.ring(0, hint(1, because));
    await bell.ringMany(0, [hint(1, "sweep"), hint(2, "sweep"), hint(1, "sweep")]);
    expect(await bell.depth(0)).toEqual({ waiting: 2, active: 0, delayed: 0 });
    const counted = new Counted(turn);
    await bell.answer(0, counted.handle);
    await eventually("the queue is empty", async () => counted.total === 2 && (await bell.depth(0)).active === 0);
    expect([...counted.runs]).toEqual([
      [account(1), 1],
      [account(2), 1],
    ]);
  });

  it("keeps the last ring that comes during a run, and runs the account once more for it", async () => {
    const bell = await open();
    const steps = new Steps();
    await bell.answer(0, steps.handle);
    await bell.ring(0, hint(1, "push"));
    const first = await steps.next();
    for (const because of ["push", "changed", "api"] as const) await bell.ring(0, hint(1, because));
    expect(steps.untaken).toBe(0);
    first.end();
    const second = await steps.next();
    second.end();
    await eventually("the queue is empty", async () => Object.values(await bell.depth(0)).every((count) => count === 0));
    expect(seen(steps.runs)).toEqual(["1 push", "1 api"]);
  });

  it("runs several accounts at once, and none of them twice at once", async () => {
    const bell = await open({ concurrency: 4 });
    const counted = new Counted(async () => {
      for (let turns = 0; turns < 5; turns += 1) await turn();
    });
    await bell.answer(0, counted.handle);
    await Promise.all(Array.from({ length: 200 }, (_, index) => bell.ring(0, hint(index % 10, "push"))));
    await eventually("the queue is empty", async () => Object.values(await bell.depth(0)).every((count) => count === 0));
    expect(counted.runs.size).toBe(10);
    expect(counted.twiceAtOnce).toBe(0);
    expect(counted.most).toBeGreaterThan(1);
    expect(counted.most).toBeLessThanOrEqual(4);
  });

  it("puts an account that wants to go on behind the others of its urgency", async () => {
    const bell = await open({ concurrency: 1 });
    await bell.ringMany(0, [hint(1, "backfill"), hint(2, "backfill"), hint(3, "backfill")]);
    const steps = new Steps();
    await bell.answer(0, steps.handle);
    for (const verdict of ["again", "done", "done", "again", "done"] as const) (await steps.next()).end(verdict);
    await eventually("the queue is empty", async () => Object.values(await bell.depth(0)).every((count) => count === 0));
    expect(seen(steps.runs)).toEqual(["1 backfill", "2 backfill", "3 backfill", "1 backfill", "1 backfill"]);
  });

  it("runs the more urgent first, and in their order what is equally urgent", async () => {
    const bell = await open({ concurrency: 1 });
    const rung = ["backfill", "sweep", "push", "recovery", "created", "api", "reconnect", "changed"] as const;
    for (const [index, because] of rung.entries()) await bell.ring(0, hint(index, because));
    const steps = new Steps();
    await bell.answer(0, steps.handle);
    for (let count = 0; count < rung.length; count += 1) (await steps.next()).end();
    expect(steps.runs.map((run) => run.hint.because)).toEqual([
      "api",
      "push",
      "created",
      "changed",
      "sweep",
      "recovery",
      "reconnect",
      "backfill",
    ]);
  });

  it("makes a waiting hint as urgent as the ring that is coalesced into it", async () => {
    const bell = await open({ concurrency: 1 });
    await bell.ring(0, hint(1, "backfill"));
    await bell.ring(0, hint(2, "sweep"));
    await bell.ring(0, hint(1, "api"));
    await bell.ring(0, hint(1, "sweep"));
    const steps = new Steps();
    await bell.answer(0, steps.handle);
    for (let count = 0; count < 2; count += 1) (await steps.next()).end();
    expect(seen(steps.runs)).toEqual(["1 api", "2 sweep"]);
  });

  it("lets an urgent ring during a slice overtake, although the slice asks to go on", async () => {
    const bell = await open({ concurrency: 1 });
    const steps = new Steps();
    await bell.answer(0, steps.handle);
    await bell.ring(0, hint(1, "backfill"));
    const slice = await steps.next();
    await bell.ring(0, hint(2, "sweep"));
    await bell.ring(0, hint(1, "api"));
    slice.end("again");
    for (let count = 0; count < 3; count += 1) (await steps.next()).end();
    expect(seen(steps.runs)).toEqual(["1 backfill", "1 api", "2 sweep", "1 backfill"]);
  });

  it("wakes an idle worker at once", async () => {
    const bell = await open({ pace: { drainDelaySeconds: 60 } });
    const steps = new Steps();
    await bell.answer(0, steps.handle);
    for (let count = 0; count < 20; count += 1) {
      await bell.ring(0, hint(1, "push"));
      (await steps.next(2_000)).end();
      await eventually("it is idle", async () => Object.values(await bell.depth(0)).every((waiting) => waiting === 0));
    }
  });

  it("takes a thousand hints and more at once", async () => {
    const bell = await open({ concurrency: 10 });
    const counted = new Counted(turn);
    await bell.answer(0, counted.handle);
    await bell.ringMany(
      0,
      Array.from({ length: 1_200 }, (_, index) => hint(index, "sweep")),
    );
    await eventually("all have run", () => counted.total >= 1_200, { timeoutMs: 25_000 });
    expect(counted.runs.size).toBe(1_200);
    expect(counted.total).toBe(1_200);
  });

  it("logs a handler that throws, tells the queue nothing of it, and runs the account at the next ring", async () => {
    const bell = await open();
    const steps = new Steps();
    await bell.answer(0, steps.handle);
    await bell.ring(0, hint(1));
    (await steps.next()).fail(new Error("of no use"));
    await eventually("it is given up", async () => (await bell.depth(0)).active === 0);
    expect(steps.untaken).toBe(0);
    await bell.ring(0, hint(1));
    (await steps.next()).end();
  });

  it("forgets what waits for an account, and nothing else", async () => {
    const bell = await open();
    await bell.ringMany(0, [hint(1, "sweep"), hint(2, "sweep")]);
    await bell.forget(0, account(1));
    await bell.forget(0, account(3));
    const steps = new Steps();
    await bell.answer(0, steps.handle);
    (await steps.next()).end();
    await bell.ring(0, hint(1, "push"));
    (await steps.next()).end();
    expect(seen(steps.runs)).toEqual(["2 sweep", "1 push"]);
  });

  it("runs an account once at a time even when the queue has forgotten that it runs", async () => {
    const bell = await open();
    const steps = new Steps();
    await bell.answer(0, steps.handle);
    await bell.ring(0, hint(1, "push"));
    const first = await steps.next();
    await bell.forget(0, account(1));
    await bell.ring(0, hint(1, "sweep"));
    await bell.forget(0, account(1));
    await bell.ring(0, hint(1, "api"));
    // Behind both, and taken by the same worker: so both have been taken.
    await bell.ring(0, hint(2, "backfill"));
    (await steps.next()).end();
    expect(seen(steps.runs)).toEqual(["1 push", "2 backfill"]);
    first.end();
    (await steps.next()).end();
    expect(seen(steps.runs)).toEqual(["1 push", "2 backfill", "1 api"]);
  });

  it("aborts what runs when answering stops, and leaves it to the next owner", async () => {
    const bell = await open();
    const steps = new Steps();
    const answering = await bell.answer(0, steps.handle);
    await bell.ring(0, hint(1));
    const cut = await steps.next();
    cut.signal.addEventListener("abort", () => cut.fail(new Error("stopped")));
    await answering.close(5_000);
    await answering.close(5_000);
    expect(cut.signal.aborted).toBe(true);
    await bell.ring(0, hint(2));
    const heir = new Steps();
    await (await open()).answer(0, heir.handle);
    const taken = [await heir.next(), await heir.next()];
    for (const run of taken) run.end();
    expect(seen(taken).toSorted()).toEqual(["1 push", "2 push"]);
    expect(steps.untaken).toBe(0);
  });

  it("stops at its deadline although a handler does not listen", async () => {
    const bell = await open();
    const steps = new Steps();
    const answering = await bell.answer(0, steps.handle);
    await bell.ring(0, hint(1));
    const deaf = await steps.next();
    const from = performance.now();
    await answering.close(200);
    expect(performance.now() - from).toBeLessThan(1_500);
    deaf.end();
  });

  it("gives the hints of a killed owner to the next one at once", async () => {
    // With its only slot taken, the first one claims no more than a dead process would.
    const [killed, heir] = [await open({ concurrency: 1 }), await open()];
    const [lost, found] = [new Steps(), new Steps()];
    await killed.answer(0, lost.handle);
    await killed.ring(0, hint(1));
    const orphan = await lost.next();
    // Coalesced into the run that will never end.
    await heir.ring(0, hint(1, "api"));
    const from = performance.now();
    await heir.answer(0, found.handle);
    (await found.next()).end();
    (await found.next()).end();
    expect(performance.now() - from).toBeLessThan(5_000);
    expect(found.runs.map((run) => run.hint.accountId)).toEqual([account(1), account(1)]);
    orphan.end();
  });

  it("refuses a second answering of a shard, until the first is closed", async () => {
    const bell = await open();
    const answering = await bell.answer(0, new Steps().handle);
    await expect(bell.answer(0, new Steps().handle)).rejects.toThrow("shard 0 is answered already");
    await answering.close(1_000);
    await bell.answer(0, new Steps().handle);
  });

  it("rejects everything once it is closed", async () => {
    const bell = await open();
    await bell.answer(0, new Steps().handle);
    await Promise.all([bell.close(), bell.close()]);
    await expect(bell.ring(0, hint(1))).rejects.toThrow("closed");
    await expect(bell.answer(1, new Steps().handle)).rejects.toThrow("closed");
  });
});
