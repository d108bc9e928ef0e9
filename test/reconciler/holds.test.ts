import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type CutHistory, mayRelease, withCut } from "../../src/reconciler/holds.ts";

const minute = 60_000;
const hour = 60 * minute;

/** After complete cuts at these instants, all of one epoch. */
const after = (...cuts: readonly number[]): CutHistory | null =>
  cuts.reduce<CutHistory | null>((history, at) => withCut(history, { epoch: 1, at }), null);

const released = (history: CutHistory | null, at: number, absentSince = 0, epoch = 1): boolean =>
  mayRelease(history, { epoch, absentSince, at });

describe("a hold ends by itself (B1, release c)", () => {
  it("after two more cuts, a quarter of an hour and six hours later, and not without both", () => {
    expect(released(after(0, 15 * minute), 6 * hour)).toBe(true);
    expect(released(after(0, 14 * minute), 6 * hour)).toBe(false);
    expect(released(after(0, 15 * minute), 6 * hour - 1)).toBe(false);
    expect(released(after(0), 48 * hour)).toBe(false);
    expect(released(null, 48 * hour)).toBe(false);
  });

  it("for each item by its own absence, and not across epochs", () => {
    const history = after(0, 15 * minute, 5 * hour);
    expect(released(history, 6 * hour, 5 * hour)).toBe(false);
    expect(released(withCut(history, { epoch: 1, at: 6 * hour }), 11 * hour, 5 * hour)).toBe(true);
    expect(released(history, 6 * hour, 0, 2)).toBe(false);
    expect(withCut(history, { epoch: 2, at: 6 * hour })).toEqual({ epoch: 2, from: 6 * hour, cuts: [6 * hour] });
  });

  it("never sooner than six hours, always within six and a half where cuts keep coming, and notes only what counts", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 8 * hour }), fc.integer({ min: minute, max: 15 * minute }), (absentSince, step) => {
        let history = after(0);
        for (let at = step; at <= 16 * hour; at += step) {
          if (at >= absentSince && mayRelease(history, { epoch: 1, absentSince, at })) {
            expect(at - absentSince).toBeGreaterThanOrEqual(6 * hour);
            expect(at - absentSince).toBeLessThan(6.5 * hour);
            return;
          }
          history = withCut(history, { epoch: 1, at });
          expect(history.cuts.length).toBeLessThanOrEqual(64);
        }
        throw new Error("it was never released");
      }),
    );
  });
});
