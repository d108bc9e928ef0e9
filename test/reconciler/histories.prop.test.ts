import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { keywordsOfFlags } from "../../src/model/mail.ts";
import { CanonicalModel, UpstreamModel } from "../support/canonical-model.ts";

const names = ["INBOX", "Work", "Trash"];
const flagPool = ["\\Seen", "\\Flagged", "$Forwarded", "custom"];

const action = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("deliver" as const),
      to: fc.constantFrom(...names),
      content: fc.integer({ min: 1, max: 5 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("flag" as const), pick: fc.nat(20), flags: fc.subarray(flagPool) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("move" as const), pick: fc.nat(20), to: fc.constantFrom(...names) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("copy" as const), pick: fc.nat(20), to: fc.constantFrom(...names) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("expunge" as const), pick: fc.nat(20) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("renumber" as const), name: fc.constantFrom(...names) }) },
  { weight: 4, arbitrary: fc.constant({ kind: "sync" as const }) },
);
type Action = typeof action extends fc.Arbitrary<infer T> ? T : never;

const pickItem = (upstream: UpstreamModel, pick: number) => {
  const all = [...upstream.mailboxes].flatMap(([name, mailbox]) =>
    [...mailbox.items.values()].map((item) => ({ name, mailbox, item })),
  );
  return all.length === 0 ? null : (all[pick % all.length] ?? null);
};

let clock = 1_000;
const play = (upstream: UpstreamModel, canonical: CanonicalModel, step: Action): void => {
  switch (step.kind) {
    case "deliver":
      return upstream.add(step.to, { sha256: `content${step.content}`, flags: [], receivedAt: (clock += 1) });
    case "renumber":
      return upstream.renumber(step.name);
    case "sync":
      canonical.sync(upstream);
      return undefined;
    default: {
      const found = pickItem(upstream, step.pick);
      if (found === null) return undefined;
      if (step.kind === "flag") found.mailbox.items.set(found.item.uid, { ...found.item, flags: step.flags });
      if (step.kind === "copy" || step.kind === "move") upstream.add(step.to, found.item);
      if (step.kind === "expunge" || step.kind === "move") found.mailbox.items.delete(found.item.uid);
      return undefined;
    }
  }
};

const upstreamLines = (upstream: UpstreamModel): string[] =>
  [...upstream.mailboxes]
    .flatMap(([name, mailbox]) =>
      [...mailbox.items.values()].map((item) => `${name} ${item.sha256} ${keywordsOfFlags(item.flags).join(",")}`),
    )
    .sort();

const withoutKeywords = (lines: readonly string[]): string[] => lines.map((line) => line.split(" ").slice(0, 2).join(" ")).sort();

describe("any history of devices", () => {
  it("ends with every upstream item shown once, where it is", () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 40 }), (script) => {
        const upstream = new UpstreamModel(names);
        const canonical = new CanonicalModel();
        for (const step of script) play(upstream, canonical, step);
        canonical.sync(upstream);
        expect(withoutKeywords(canonical.live())).toEqual(withoutKeywords(upstreamLines(upstream)));
        // Keywords agree too, but for flags that only a new epoch can have lost: those are kept on purpose (F9).
        if (
          !script.some(
            (step) => step.kind === "renumber" || step.kind === "copy" || step.kind === "move" || step.kind === "expunge",
          )
        )
          expect(canonical.live()).toEqual(upstreamLines(upstream));
      }),
      { numRuns: 400, verbose: 1 },
    );
  });

  it("is quiet once it was read: a second sync changes nothing", () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 40 }), (script) => {
        const upstream = new UpstreamModel(names);
        const canonical = new CanonicalModel();
        for (const step of script) play(upstream, canonical, step);
        canonical.sync(upstream);
        expect(canonical.sync(upstream)).toBe(0);
      }),
      { numRuns: 300, verbose: 1 },
    );
  });

  it("never makes a second message of the same octets and never loses one", () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 40 }), (script) => {
        const upstream = new UpstreamModel(names);
        const canonical = new CanonicalModel();
        const ever = new Set<string>();
        for (const step of script) {
          play(upstream, canonical, step);
          for (const id of canonical.messages.keys()) ever.add(id);
        }
        canonical.sync(upstream);
        for (const id of ever) expect(canonical.messages.has(id as never)).toBe(true);
        const contents = [...canonical.messages.values()];
        expect(new Set(contents).size).toBe(contents.length);
      }),
      { numRuns: 300, verbose: 1 },
    );
  });
});
