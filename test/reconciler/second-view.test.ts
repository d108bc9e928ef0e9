/** What a maildrop tells of mail that IMAP lacks, and for how long it is waited for (V4). */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readSecondView, type SecondViewInput } from "../../src/reconciler/second-view.ts";

const minute = 60_000;
const hour = 60 * minute;

const read = (more: Partial<SecondViewInput>) =>
  readSecondView({
    absentSince: 100 * hour,
    listed: null,
    askedSince: 0,
    reachable: true,
    disputed: false,
    at: 100 * hour,
    ...more,
  });

const after = (shown: boolean) => ({ beganAt: 100 * hour + 1, shown });

describe("a listing of the maildrop", () => {
  it("tells nothing when its session began before the absence was noted, or just then", () => {
    for (const beganAt of [100 * hour - 1, 100 * hour])
      for (const shown of [true, false]) expect(read({ listed: { beganAt, shown } })).toBe("awaited");
    expect(read({ listed: after(true) })).toBe("shown");
    expect(read({ listed: after(false) })).toBe("lacking");
  });

  it("is waited for ten minutes, from when somebody has been there to ask, and not at all where none can come", () => {
    const at = (minutes: number) => 100 * hour + minutes * minute;
    expect(read({ at: at(9.9) })).toBe("awaited");
    expect(read({ at: at(10) })).toBe("unheard");
    expect(read({ askedSince: at(5), at: at(14.9) })).toBe("awaited");
    expect(read({ askedSince: at(5), at: at(15) })).toBe("unheard");
    expect(read({ reachable: false })).toBe("unheard");
    // What a login showed while one could be made stays true.
    expect(read({ reachable: false, listed: after(true) })).toBe("shown");
    expect(read({ reachable: false, listed: after(false), at: at(600) })).toBe("lacking");
  });

  it("is waited for six hours where the views disagreed, and believed as long", () => {
    expect(read({ disputed: true, reachable: false, at: 105 * hour })).toBe("awaited");
    expect(read({ disputed: true, reachable: false, at: 106 * hour })).toBe("unheard");
    expect(read({ disputed: true, listed: after(true), at: 106 * hour })).toBe("shown");
    expect(read({ disputed: true, listed: after(true), at: 106 * hour + 1 })).toBe("unheard");
  });

  it("holds nothing for ever, and never without a listing that shows it beyond the wait", () => {
    const instant = fc.integer({ min: 0, max: 30 * hour });
    const listed = fc.option(fc.record({ beganAt: instant, shown: fc.boolean() }));
    const any = fc.record({
      absentSince: instant,
      listed,
      askedSince: instant,
      reachable: fc.boolean(),
      disputed: fc.boolean(),
      at: instant,
    });
    fc.assert(
      fc.property(any, (input) => {
        const view = readSecondView(input);
        const late = readSecondView({ ...input, at: 37 * hour });
        expect(["lacking", "unheard"]).toContain(late);
        if (view === "shown") expect(input.listed).toMatchObject({ shown: true });
        if (view === "shown" || view === "lacking") expect(input.listed?.beganAt).toBeGreaterThan(input.absentSince);
      }),
      { numRuns: 1000 },
    );
  });
});
