import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { SurveyedMailbox, UidRange } from "../../src/model/observation.ts";
import { planRanges, withoutBound } from "../../src/workers/backfill.ts";
import { rangesWith } from "../../src/workers/recognition.ts";
import { treePrint } from "../../src/workers/tree.ts";

const uidsOf = (ranges: readonly UidRange[]): number[] =>
  ranges.flatMap(({ from, to }) => Array.from({ length: to - from + 1 }, (_, at) => from + at));

const mailbox = fc
  .record({ uidNext: fc.integer({ min: 1, max: 50_000 }), exists: fc.nat(50_000), low: fc.integer({ min: 1, max: 50_000 }) })
  .map(({ uidNext, exists, low }) => ({
    exists: Math.min(exists, uidNext - 1),
    backfillLow: Math.min(low, uidNext),
    cursor: { uidValidity: 1, uidNext, highestModseq: null },
  }));

describe("ranges to read", () => {
  it("go down from what was read, without gap or overlap", () => {
    fc.assert(
      fc.property(mailbox, fc.integer({ min: 1, max: 40 }), (lane, most) => {
        const ranges = planRanges(lane, most);
        expect(ranges.length).toBeLessThanOrEqual(most);
        let next = lane.backfillLow - 1;
        for (const { from, to } of ranges) {
          expect(to).toBe(next);
          expect(from).toBeGreaterThanOrEqual(1);
          expect(from).toBeLessThanOrEqual(to);
          next = from - 1;
        }
        if (ranges.length < most) expect(next).toBe(0);
      }),
    );
  });

  it("are none where everything was read", () => {
    expect(planRanges({ backfillLow: 1, exists: 9, cursor: { uidValidity: 1, uidNext: 10, highestModseq: null } }, 8)).toEqual(
      [],
    );
  });

  it("leave out what is bound, and nothing else, highest first", () => {
    const range = fc.tuple(fc.integer({ min: 1, max: 300 }), fc.nat(200)).map(([from, width]) => ({ from, to: from + width }));
    const bound = fc.uniqueArray(fc.integer({ min: 1, max: 600 })).map((uids) => uids.sort((a, b) => a - b));
    fc.assert(
      fc.property(range, bound, (one, held) => {
        const rest = withoutBound(one, held);
        const wanted = uidsOf([one]).filter((uid) => !held.includes(uid));
        expect(uidsOf(rest).sort((a, b) => a - b)).toEqual(wanted);
        expect(rest).toEqual(rest.toSorted((a, b) => b.from - a.from));
      }),
    );
  });
});

describe("ranges in which there is one of some UIDs", () => {
  const range = fc.tuple(fc.integer({ min: 1, max: 300 }), fc.nat(40)).map(([from, width]) => ({ from, to: from + width }));

  it("are those and no others, in their order", () => {
    fc.assert(
      fc.property(fc.array(range), fc.array(fc.integer({ min: 1, max: 400 }), { maxLength: 8 }), (ranges, uids) => {
        expect(rangesWith(ranges, uids)).toEqual(ranges.filter(({ from, to }) => uids.some((uid) => uid >= from && uid <= to)));
      }),
    );
  });

  it("are found of hundreds of thousands at once", () => {
    const uids = Array.from({ length: 300_000 }, (_, at) => 2 * at + 1);
    const ranges = uids.map((uid) => ({ from: uid + 1, to: uid + 1 }));
    const began = performance.now();
    expect(rangesWith(ranges, uids)).toEqual([]);
    expect(performance.now() - began).toBeLessThan(5_000);
  });
});

const surveyed = (path: string, rest: Partial<SurveyedMailbox> = {}): SurveyedMailbox => ({
  path,
  delimiter: "/",
  selectable: true,
  subscribed: true,
  role: null,
  roleSource: null,
  objectId: null,
  status: null,
  statusError: null,
  ...rest,
});

describe("the print of a tree", () => {
  const tree = [surveyed("INBOX"), surveyed("Work"), surveyed("Work/Old")];

  it("does not depend on the order of the listing, nor on counters", () => {
    const status = { messages: 1, uidNext: 2, uidValidity: 3, unseen: 0, highestModseq: 4n };
    expect(treePrint(tree.toReversed())).toBe(treePrint(tree));
    expect(treePrint(tree.map((box) => ({ ...box, status })))).toBe(treePrint(tree));
  });

  it.each([
    ["name", { path: "Werk" }],
    ["delimiter", { delimiter: "." }],
    ["being selectable", { selectable: false }],
    ["subscription", { subscribed: false }],
    ["role", { role: "trash", roleSource: "name" }],
    ["object id", { objectId: "7" }],
  ] as const)("tells a change of %s", (_what, change) => {
    expect(treePrint(tree.map((box) => (box.path === "Work" ? { ...box, ...change } : box)))).not.toBe(treePrint(tree));
  });
});
