import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ListedItem } from "../../src/model/maildrop.ts";
import { readRemovals, removableItems } from "../../src/reconciler/removal.ts";

const item = (uidl: string, size = 10, occurrence = 0): ListedItem => ({ uidl, occurrence, size });

const listings = fc.array(
  fc.record({ uidl: fc.constantFrom("a", "b", "c", "d"), occurrence: fc.nat({ max: 2 }), size: fc.constantFrom(10, 11) }),
  { maxLength: 8 },
);

describe("items that may be marked", () => {
  it.each([
    ["what is due, by id and size", [item("a"), item("b")], [item("b"), item("a"), item("c")], [0, 1]],
    ["nothing under another size", [item("a", 10)], [item("a", 11)], []],
    ["nothing that is not listed", [item("a")], [item("b")], []],
    ["S97: all that share an id", [item("a"), item("a", 10, 1)], [item("a"), item("a", 10, 1)], [0, 1]],
    ["S97: none that share an id, where one is not due", [item("a")], [item("a"), item("a", 10, 1)], []],
  ])("are %s", (_, due, listed, expected) => {
    expect(removableItems(due, listed)).toEqual(expected);
  });

  it("are due, every one of them, whatever is listed", () => {
    fc.assert(
      fc.property(listings, listings, (due, listed) => {
        const marked = removableItems(due, listed).map((index) => listed[index]);
        for (const one of marked) expect(due).toContainEqual(one);
        const ids = new Set(marked.map((one) => one?.uidl));
        expect(listed.filter(({ uidl }) => ids.has(uidl))).toEqual(marked);
      }),
    );
  });
});

describe("the end of a removal", () => {
  const sent = { ...item("a"), epoch: 1, sentAt: 0, givenUp: false };
  const asked = { open: [sent], listed: [item("b")], epoch: 1, doubtful: false, now: 120_000 };

  it.each([
    ["gone: a complete listing lacks it", {}, "gone"],
    ["left: a minute later it is still there", { listed: [item("a")] }, "left"],
    ["open: it was said a moment ago", { listed: [item("a")], now: 59_999 }, "open"],
    ["open: the listing lacks everything, which is not believed yet", { listed: [], doubtful: true }, "open"],
    ["left: its id is of an epoch before", { epoch: 2 }, "left"],
  ] as const)("is %s", (_, change, end) => {
    const ends = readRemovals({ ...asked, ...change });
    expect(ends).toEqual({ gone: [], left: [], open: [], [end]: [sent] });
  });

  it("is ours, too, where the server took its time (V1), and is not told twice meanwhile", () => {
    const givenUp = { ...sent, givenUp: true };
    expect(readRemovals({ ...asked, open: [givenUp] })).toEqual({ gone: [givenUp], left: [], open: [] });
    for (const change of [{ listed: [item("a")] }, { listed: [], doubtful: true }, { epoch: 2 }])
      expect(readRemovals({ ...asked, open: [givenUp], ...change })).toEqual({ gone: [], left: [], open: [] });
  });
});
