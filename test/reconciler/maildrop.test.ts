import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ListedItem } from "../../src/model/maildrop.ts";
import { readMaildrop } from "../../src/reconciler/maildrop.ts";

const item = (uidl: string, size = 100, occurrence = 0): ListedItem => ({ uidl, size, occurrence });
const items = (...uidls: string[]): ListedItem[] => uidls.map((uidl) => item(uidl));
const many = (prefix: string, count: number): ListedItem[] => Array.from({ length: count }, (_, n) => item(`${prefix}${n}x`));
const read = (known: readonly ListedItem[], listed: readonly ListedItem[], sizesCount = true) =>
  readMaildrop({ known, listed, sizesCount, slid: new Set() });

describe("a listing of a maildrop", () => {
  it("tells what stayed, what went and what came", () => {
    expect(read(items("a", "b", "c"), items("b", "c", "d"))).toEqual({
      same: [
        { known: 1, listed: 0 },
        { known: 2, listed: 1 },
      ],
      renamed: [],
      gone: [0],
      slid: [],
      fresh: [2],
      newEpoch: null,
    });
  });

  it("keeps two items with one id apart by their number", () => {
    const reading = read([item("a", 100, 0), item("a", 100, 1)], [item("a", 100, 0)]);
    expect(reading).toMatchObject({ same: [{ known: 0, listed: 0 }], gone: [1], fresh: [], newEpoch: null });
  });

  it("opens an epoch when half of the ids, and five at least, gave way to others, of which some may have gone before (ID-9)", () => {
    expect(read(many("old", 8), [...many("old", 4), ...many("new", 4)]).newEpoch).toBeNull();
    expect(read(many("old", 10), [...many("old", 5), ...many("new", 5)])).toMatchObject({
      newEpoch: "ids_replaced",
      same: [],
      gone: [],
      fresh: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    });
    expect(read(many("old", 11), [...many("old", 6), ...many("new", 5)]).newEpoch).toBeNull();
    expect(read(many("old", 10), many("new", 5)).newEpoch).toBe("ids_replaced");
    expect(read(many("old", 10), many("new", 4)).newEpoch).toBeNull();
  });

  it("takes everything being gone for everything being gone, not for new ids", () => {
    expect(read(many("old", 30), [])).toMatchObject({ newEpoch: null, fresh: [] });
    expect(read(many("old", 30), []).gone).toHaveLength(30);
  });

  it("opens an epoch when a known id has another size, unless sizes are guesses", () => {
    expect(read([item("1", 100)], [item("1", 101)])).toMatchObject({ newEpoch: "id_reused", same: [], gone: [], fresh: [0] });
    expect(read([item("1", 100)], [item("1", 101)], false)).toMatchObject({ newEpoch: null, fresh: [] });
  });

  it("pairs duplicates that were numbered anew (ID-9b)", () => {
    expect(read(items("h-2", "h-3"), items("h", "h-2"))).toMatchObject({
      same: [{ known: 0, listed: 1 }],
      renamed: [{ known: 1, listed: 0 }],
      gone: [],
      fresh: [],
    });
    expect(read(items("h", "h-2", "h-3"), items("h", "h-2"))).toMatchObject({ renamed: [], gone: [2], fresh: [] });
    expect(read([item("h-2", 7)], [item("h", 8)])).toMatchObject({ renamed: [], gone: [0], fresh: [0] });
  });

  it("does not take ids of the form uidvalidity-uid for duplicates", () => {
    expect(read(items("1700000000-7"), items("1700000000-8"))).toMatchObject({ renamed: [], gone: [0], fresh: [0] });
  });

  it("counts every item once, whatever is listed", () => {
    const list = fc
      .array(fc.tuple(fc.constantFrom("a", "b", "a-2", "a-3", "b-2", "c-9", "d"), fc.nat(2)), { maxLength: 20 })
      .map((rows) => {
        const seen = new Map<string, number>();
        return rows.map(([uidl, size]): ListedItem => {
          const occurrence = seen.get(uidl) ?? 0;
          seen.set(uidl, occurrence + 1);
          return { uidl, size, occurrence };
        });
      });
    fc.assert(
      fc.property(list, list, fc.boolean(), (known, listed, sizesCount) => {
        const { same, renamed, gone, fresh, newEpoch } = read(known, listed, sizesCount);
        const pairs = [...same, ...renamed];
        const sorted = (numbers: readonly number[]): number[] => numbers.toSorted((a, b) => a - b);
        expect(sorted([...pairs.map((pair) => pair.listed), ...fresh])).toEqual([...listed.keys()]);
        if (newEpoch === null) expect(sorted([...pairs.map((pair) => pair.known), ...gone])).toEqual([...known.keys()]);
      }),
      { numRuns: 2000 },
    );
  });
});
