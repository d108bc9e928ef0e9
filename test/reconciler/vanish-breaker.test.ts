/** How much is too much to be believed (B1), and where something was not well (B2). */
import { describe, expect, it } from "vitest";
import { accountBreakerTrips, vanishBreakerTrips } from "../../src/reconciler/vanish-breaker.ts";

describe("the breaker", () => {
  it("B1 B2: trips by a share of a mailbox, by all of it and by a number, and by half of each where something was not well", () => {
    const trips = (candidates: number, live: number): readonly boolean[] =>
      [false, true].map((unwell) => vanishBreakerTrips({ candidates, live }, unwell));
    // A share of a mailbox, all of it, and a number: just below half, half, just below all, all.
    expect([9, 10, 19, 20].map((count) => trips(count, 50))).toEqual([
      [false, false],
      [false, true],
      [false, true],
      [true, true],
    ]);
    expect([14, 15, 29, 30].map((count) => trips(count, 100))).toEqual([
      [false, false],
      [false, true],
      [false, true],
      [true, true],
    ]);
    expect([4, 5, 9, 10].map((count) => trips(count, count))).toEqual([
      [false, false],
      [false, true],
      [false, true],
      [true, true],
    ]);
    expect([499, 500, 999, 1000].map((count) => trips(count, 100_000))).toEqual([
      [false, false],
      [false, true],
      [false, true],
      [true, true],
    ]);
  });

  it("B1 B2: trips by a share of the account", () => {
    expect(
      [
        [49, 100],
        [50, 100],
        [50, 500],
        [50, 501],
        [999, 100_000],
        [1000, 100_000],
      ].map(([candidates = 0, live = 0]) => accountBreakerTrips({ candidates, live }, false)),
    ).toEqual([false, true, true, false, false, true]);
    expect([24, 25].map((candidates) => [250, 500, 501].map((live) => accountBreakerTrips({ candidates, live }, true)))).toEqual([
      [false, false, false],
      [true, true, false],
    ]);
  });
});
