import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { contradictionOf, type Remembered, spreadOver } from "../../src/reconciler/contradiction.ts";

const known: Remembered = { objectId: null, receivedAt: 1_700_000_000_000, size: 100, octets: 100 };
const differs = (was: Partial<Remembered>, is: Partial<Remembered>): string | null =>
  contradictionOf({ ...known, ...was }, { ...known, ...was, ...is })?.differs ?? null;

describe("what lies under a known number", () => {
  it("is other mail where its date is another one and no id vouches for it (ID-11)", () => {
    expect(differs({}, { receivedAt: 1_700_000_001_000 })).toBe("receivedAt");
    expect(differs({ objectId: "a" }, { objectId: null, receivedAt: 1_700_000_001_000 })).toBe("receivedAt");
    expect(differs({ objectId: "a" }, { objectId: "b", receivedAt: 1_700_000_001_000 })).toBe("receivedAt");
    expect(contradictionOf(known, { ...known, receivedAt: 1 })).toEqual({
      differs: "receivedAt",
      known: 1_700_000_000_000,
      seen: 1,
    });
  });

  it("is not doubted for another id alone: an upgraded server has ids of another kind (ID-11)", () => {
    expect(differs({ objectId: "a" }, { objectId: "b" })).toBeNull();
    expect(differs({ objectId: "a" }, { objectId: "b", size: 101 })).toBe("size");
  });

  it("is not doubted for a date that is told with another offset from UTC, while its size is the same (ID-11)", () => {
    const quarters = fc.integer({ min: -104, max: 104 }).filter((count) => count !== 0);
    fc.assert(
      fc.property(quarters, fc.integer({ min: -899, max: 899 }), fc.boolean(), (count, seconds, isSame) => {
        const receivedAt = 1_700_000_000_000 + (count * 900 + seconds) * 1000;
        const isOffset = seconds === 0 && isSame;
        // The size is a guess, which tells nothing by itself.
        const seen = { receivedAt, size: isSame ? 100 : 101 };
        expect(differs({ octets: 90 }, seen)).toBe(isOffset ? null : "receivedAt");
      }),
    );
    for (const hours of [1, -1]) expect(differs({}, { receivedAt: 1_700_000_000_000 + hours * 3_600_000 })).toBeNull();
    expect(differs({}, { receivedAt: 1_700_000_000_000 + 105 * 900_000 })).toBe("receivedAt");
    expect(differs({ size: null }, { receivedAt: 1_700_003_600_000 })).toBe("receivedAt");
  });

  it("is not doubted for its date where its id is the same: what is restored from a backup has other ones (ID-11)", () => {
    expect(differs({ objectId: "a" }, { receivedAt: 1_700_000_001_000 })).toBeNull();
  });

  it("is other mail where its size is another one that was exact, and not where it was a guess or is not known (ID-11)", () => {
    expect(differs({}, { size: 101 })).toBe("size");
    expect(differs({ objectId: "a" }, { size: 101 })).toBe("size");
    expect(differs({ octets: 90 }, { size: 101 })).toBeNull();
    expect(differs({ octets: null }, { size: 101 })).toBeNull();
    expect(differs({ size: null, octets: null }, { size: 101 })).toBeNull();
  });

  it("is not doubted where one side says nothing (ID-11)", () => {
    for (const nothing of [null, 0]) {
      expect(differs({ receivedAt: nothing }, { receivedAt: 5 })).toBeNull();
      expect(differs({}, { receivedAt: nothing })).toBeNull();
    }
    expect(differs({}, { size: null })).toBeNull();
  });

  it("is believed while the server says what it said, whatever it said", () => {
    const told = fc.record({
      objectId: fc.option(fc.string()),
      receivedAt: fc.option(fc.nat()),
      size: fc.option(fc.nat()),
      octets: fc.option(fc.nat()),
    });
    fc.assert(
      fc.property(told, (one) => {
        expect(contradictionOf(one, one)).toBeNull();
      }),
    );
  });
});

describe("a sample of a mailbox", () => {
  it("lies all over it, and of each number it is the turn once", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5_000 }), fc.integer({ min: 1, max: 20 }), fc.nat(), (uidNext, count, at) => {
        const stride = Math.max(1, Math.ceil((uidNext - 1) / count));
        const starts = spreadOver(uidNext, count, at);
        expect(starts.length).toBeLessThanOrEqual(count);
        expect(starts.every((uid) => uid >= 1 && uid < uidNext)).toBe(true);
        const turns = Array.from({ length: stride }, (_, turn) => spreadOver(uidNext, count, at + turn)).flat();
        expect(turns.toSorted((a, b) => a - b)).toEqual(Array.from({ length: uidNext - 1 }, (_, n) => n + 1));
      }),
      { numRuns: 50 },
    );
  });
});
