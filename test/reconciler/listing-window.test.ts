/** Listings that show a part of a maildrop only (G9). */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ListingWindow } from "../../src/model/maildrop.ts";
import { type ListingMark, markedKeys, readWindow } from "../../src/reconciler/listing-window.ts";

const keys = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, n) => `m${from + n}`);

const markOf = (listed: readonly string[], retrieved: readonly string[] = []): ListingMark => ({
  count: listed.length,
  oldest: listed.slice(0, markedKeys),
  retrieved: new Set(retrieved),
});

/** What follows when one listing comes after another, with everything of the first one bound. */
const after = (before: readonly string[], listed: readonly string[], window: ListingWindow | null = null) => {
  const reading = readWindow({ before: markOf(before), listed, known: before, window });
  return { window: reading.window, slid: [...reading.slid].toSorted() };
};

const newest = (count: number): ListingWindow => ({ kind: "newest", count });
const nothing = { window: null, slid: [] };

describe("a window of the newest items", () => {
  it("is seen where as many of the oldest leave as new ones come", () => {
    expect(after(keys(0, 250), keys(3, 253))).toEqual({ window: newest(250), slid: keys(0, 3) });
  });

  it("is not seen in what a device does", () => {
    expect(after(keys(0, 250), keys(3, 250)), "the oldest are drained").toEqual(nothing);
    expect(after(keys(0, 250), keys(3, 252)), "and fewer come").toEqual(nothing);
    expect(after(keys(0, 250), [...keys(0, 10), ...keys(11, 251)]), "one of the middle").toEqual(nothing);
    expect(after(keys(0, 250), keys(0, 250)), "nothing").toEqual(nothing);
    expect(after(keys(0, 40), keys(1, 41)), "few").toEqual(nothing);
    expect(after(keys(0, 50), keys(50, 100)), "ids that began anew").toEqual(nothing);
  });

  it("once known, explains what is beyond its edge and nothing else", () => {
    const known = newest(250);
    expect(after(keys(0, 250), [...keys(2, 100), ...keys(101, 253)], known)).toEqual({ window: known, slid: keys(0, 2) });
    expect(after(keys(0, 250), keys(5, 250), known), "it is not full").toEqual({ window: known, slid: [] });
    expect(after(keys(0, 250), keys(0, 251), known), "it is none").toEqual(nothing);
  });

  it("explains what went while nobody looked", () => {
    const reading = readWindow({ before: null, listed: keys(100, 350), known: keys(0, 250), window: newest(250) });
    expect([...reading.slid]).toEqual(keys(0, 100));
  });

  it("never holds what is listed, whatever the history", () => {
    const some = fc.uniqueArray(
      fc.integer({ min: 0, max: 90 }).map((n) => `m${n}`),
      { maxLength: 80 },
    );
    const window = fc.constantFrom<ListingWindow | null>(null, newest(50), newest(60), { kind: "not_yet_popped" });
    fc.assert(
      fc.property(some, some, some, some, window, (before, listed, known, retrieved, learned) => {
        const { slid } = readWindow({ before: markOf(before, retrieved), listed, known, window: learned });
        for (const key of listed) expect(slid).not.toContain(key);
      }),
    );
  });
});

describe("a maildrop that hides what was retrieved", () => {
  const popped: ListingWindow = { kind: "not_yet_popped" };
  const look = (retrieved: readonly string[], listed: readonly string[], window: ListingWindow | null = null) => {
    const before = [...keys(0, 10)];
    const reading = readWindow({ before: markOf(before, retrieved), listed, known: before, window });
    return { window: reading.window, slid: [...reading.slid].toSorted() };
  };

  it("is seen where exactly that is gone what was read by RETR just before", () => {
    expect(look(keys(0, 10), [])).toEqual({ window: popped, slid: keys(0, 10) });
    expect(look(keys(4, 10), [...keys(0, 4), "new"])).toEqual({ window: popped, slid: keys(4, 10) });
  });

  it("is not seen where something else went, too, or less, or little", () => {
    expect(look(keys(4, 10), keys(0, 3))).toEqual(nothing);
    expect(look(keys(4, 10), keys(0, 5))).toEqual(nothing);
    expect(look(keys(8, 10), keys(0, 8))).toEqual(nothing);
    expect(look([], [])).toEqual(nothing);
  });

  it("is forgotten when it shows again what was retrieved", () => {
    expect(look(keys(8, 10), keys(0, 8), popped)).toEqual({ window: popped, slid: keys(8, 10) });
    expect(look(keys(8, 10), keys(1, 10), popped)).toEqual(nothing);
  });
});
