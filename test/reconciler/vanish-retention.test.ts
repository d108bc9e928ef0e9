import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isAtRetentionAge, retentionDaysOf, retentionShape, type TrashedItem } from "../../src/reconciler/vanish-retention.ts";

const day = 86_400_000;
const at = 100 * day;
const item = (days: number | null, more: Partial<TrashedItem> = {}): TrashedItem => ({
  role: "trash",
  markedDeleted: false,
  ownCommand: false,
  mailboxGone: false,
  cameAt: days === null ? null : at - days * day,
  ...more,
});

describe("how long a server leaves mail in Trash (V10)", () => {
  const three = [item(30.2), item(30.9), item(30.4)];

  it("is learned from several that go at one age", () => {
    expect(retentionShape(three, at)).toBe(at - 30.2 * day);
    expect(retentionDaysOf(at - 30.2 * day, at)).toBe(30);
  });

  it.each([
    ["two only", three.slice(1)],
    ["another age", [...three, item(31.3)]],
    ["one that was marked", [...three, item(30.5, { markedDeleted: true })]],
    ["one of which nobody knows when it came", [...three, item(null)]],
    ["another mailbox", [...three, item(30.5, { role: "archive" })]],
    ["a mailbox that is gone", three.map((one) => ({ ...one, mailboxGone: true }))],
    ["what came today", [item(0.1), item(0.2), item(0.3)]],
    ["two and one of our own", [...three.slice(1), item(30.5, { ownCommand: true })]],
  ])("is not learned from %s", (_, lost) => {
    expect(retentionShape(lost, at)).toBeNull();
  });

  it("covers what it was learned from, whatever the ages", () => {
    const within = (min: number, max: number) => fc.double({ min, max, noNaN: true });
    const ages = fc
      .tuple(within(0, 60), fc.array(within(0, 1.1), { maxLength: 8 }))
      .map(([least, more]) => more.map((one) => least + one));
    fc.assert(
      fc.property(ages, (days) => {
        const lost = days.map((one) => item(one));
        const last = retentionShape(lost, at);
        if (last === null) return;
        const learned = retentionDaysOf(last, at);
        expect(learned).toBeGreaterThanOrEqual(1);
        for (const one of lost) expect(isAtRetentionAge(one, learned, at)).toBe(true);
        expect(isAtRetentionAge(item(learned - 1.01), learned, at)).toBe(false);
      }),
    );
  });
});
