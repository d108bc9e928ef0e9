import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type FailureKind, SyncError } from "../../src/model/failure.ts";
import { defaultRetryTimes as times, planReconnect, planRetry, planSweep, type Retry } from "../../src/workers/backoff.ts";

const failure = (kind: FailureKind, retryAfterMs: number | null = null): SyncError =>
  new SyncError(kind, "endpoint", { code: "endpoint_unavailable", message: "m", action: "a", retryAfterMs });

/** First failure of each kind, in the middle of the dice. A new kind does not compile until it is decided. */
const first: Record<FailureKind, Retry> = {
  credential: { syncState: "connecting", attempts: 1, waitMs: 300_000 },
  config: { syncState: "needs_attention", attempts: 1, waitMs: 86_400_000 },
  tls: { syncState: "needs_attention", attempts: 1, waitMs: 3_600_000 },
  throttle: { syncState: "connecting", attempts: 1, waitMs: 2_750 },
  transient: { syncState: "connecting", attempts: 1, waitMs: 2_750 },
  bug: { syncState: "connecting", attempts: 1, waitMs: 2_750 },
  stopped: { syncState: "connecting", attempts: 1, waitMs: 2_750 },
};

describe("a connection that is soon lost", () => {
  it("is made again after twice as long each time, up to a quarter of an hour", () => {
    const waits = [0, 1, 2, 3, 20, 1_000].map((before) => planReconnect(before, 1, times));
    expect(waits).toEqual([5_000, 10_000, 20_000, 40_000, 900_000, 900_000]);
    expect(planReconnect(0, 0, times)).toBe(500);
  });
});

describe("a retry", () => {
  it.each(Object.keys(first) as FailureKind[])("after a first failure of kind %s waits as the table says", (kind) => {
    expect(planRetry(failure(kind), 0, 0.5, times)).toEqual(first[kind]);
  });

  it("of a login is made once, however often it is asked", () => {
    expect(planRetry(failure("credential"), 1, 0, times)).toEqual({ syncState: "needs_reauth", attempts: 2, waitMs: null });
    expect(planRetry(failure("credential"), 7, 0, times)).toMatchObject({ syncState: "needs_reauth", waitMs: null });
  });

  const passing = fc.constantFrom<FailureKind>("throttle", "transient", "bug", "stopped");
  const dice = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

  it("of what passes by itself comes neither at once nor later than a quarter of an hour", () => {
    fc.assert(
      fc.property(passing, fc.nat(10_000), dice, (kind, attempts, random) => {
        const { waitMs } = planRetry(failure(kind), attempts, random, times);
        expect(waitMs).toBeGreaterThanOrEqual(times.transientFirstMs / 10);
        expect(waitMs).toBeLessThanOrEqual(times.transientMostMs);
      }),
    );
  });

  it("never comes sooner after more failures, by the same dice", () => {
    fc.assert(
      fc.property(passing, fc.nat(40), dice, (kind, attempts, random) => {
        const wait = (n: number): number => planRetry(failure(kind), n, random, times).waitMs ?? 0;
        expect(wait(attempts + 1)).toBeGreaterThanOrEqual(wait(attempts));
      }),
    );
  });

  it("waits at least as long as the server asked", () => {
    fc.assert(
      fc.property(fc.nat(40), dice, fc.nat(10_000_000), (attempts, random, asked) => {
        expect(planRetry(failure("throttle", asked), attempts, random, times).waitMs).toBeGreaterThanOrEqual(asked);
      }),
    );
  });
});

describe("a look at everything", () => {
  const quiet = { pollMs: 60_000, waiting: false, toldOfAll: true, quietSweeps: 0 };

  it("comes half as often after each that found nothing untold, up to a quarter of an hour", () => {
    const waits = [0, 1, 2, 3, 4, 50].map((quietSweeps) => planSweep({ ...quiet, quietSweeps }));
    expect(waits).toEqual([60_000, 120_000, 240_000, 480_000, 900_000, 900_000]);
  });

  it("comes at every interval where the server does not tell of all", () => {
    expect(planSweep({ ...quiet, toldOfAll: false, quietSweeps: 9 })).toBe(60_000);
  });

  it("comes after a minute while something waits for it, and never sooner than was asked", () => {
    expect(planSweep({ ...quiet, pollMs: 3_600_000, waiting: true, quietSweeps: 9 })).toBe(65_000);
    expect(planSweep({ ...quiet, pollMs: 3_600_000 })).toBe(3_600_000);
  });
});
