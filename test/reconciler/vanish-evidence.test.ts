import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { excludesStoreIn, learnArithmetic, type ModseqStep } from "../../src/reconciler/vanish-evidence.ts";

describe("the steps of a server's mod-sequences", () => {
  const marked = { modseq: 11n, flags: ["\\Deleted"] };
  const step = (more: Partial<ModseqStep>): ModseqStep => ({
    before: 10n,
    after: 11n,
    arrived: 0,
    changed: [],
    vanished: 0,
    vanishedMarked: 0,
    ...more,
  });
  const learned = { store: true, expunge: true };
  const drained = step({ vanished: 3 });

  it("are learned from a change of flags and from an expunge of what was marked before", () => {
    const afterStore = learnArithmetic({}, step({ changed: [marked] }));
    expect(afterStore).toEqual({ store: true });
    expect(excludesStoreIn(afterStore, drained)).toBe(false);
    const both = learnArithmetic(afterStore, step({ vanished: 2, vanishedMarked: 2 }));
    expect(both).toEqual(learned);
    expect(excludesStoreIn(both, drained)).toBe(true);
  });

  it("say nothing of a removal that took two, that came with mail, or that was marked together with what is still there", () => {
    expect(excludesStoreIn(learned, { ...drained, after: 12n })).toBe(false);
    expect(excludesStoreIn(learned, { ...drained, arrived: 1 })).toBe(false);
    expect(excludesStoreIn(learned, { ...drained, after: 12n, changed: [marked] })).toBe(false);
    expect(excludesStoreIn(learned, { ...drained, after: 12n, changed: [{ modseq: 11n, flags: ["\\Seen"] }] })).toBe(true);
    expect(excludesStoreIn(learned, { ...drained, after: null })).toBe(false);
  });

  it("are never believed again on a server that expunges without a step", () => {
    const refuted = learnArithmetic(learned, step({ after: 10n, vanished: 1 }));
    expect(excludesStoreIn(refuted, drained)).toBe(false);
    expect(learnArithmetic(refuted, step({ changed: [marked] }))).toEqual(refuted);
  });

  it("exclude no STORE that an IMAP client made, whatever else it did meanwhile, where every transaction is a step", () => {
    const action = fc.record({ kind: fc.constantFrom("flag", "delete", "mark", "arrive"), item: fc.nat(9), also: fc.nat(9) });
    fc.assert(
      fc.property(fc.array(action, { maxLength: 6 }), (actions) => {
        let modseq = 10n;
        let arrived = 0;
        const shown = new Map<number, { modseq: bigint; flags: string[] }>();
        const gone = new Set<number>();
        for (const { kind, item, also } of actions) {
          if (kind === "arrive") arrived += 1;
          modseq += 1n;
          if (kind === "arrive" || gone.has(item)) continue;
          if (kind === "flag") shown.set(item, { modseq, flags: shown.get(item)?.flags ?? [] });
          else shown.set(item, { modseq, flags: ["\\Deleted"] });
          if (kind !== "delete") continue;
          // One STORE for two, and an EXPUNGE of one of them.
          if (also !== item && !gone.has(also)) shown.set(also, { modseq, flags: ["\\Deleted"] });
          modseq += 1n;
          gone.add(item);
          shown.delete(item);
        }
        const seen = step({ after: modseq, arrived, changed: [...shown.values()], vanished: gone.size });
        if (gone.size > 0) expect(excludesStoreIn(learned, seen)).toBe(false);
      }),
      { numRuns: 2000 },
    );
  });
});
