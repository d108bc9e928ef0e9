/** Mailboxes that are numbered anew, and mod-sequences that go backwards. */
import { describe, expect, it } from "vitest";
import { epochActions, harmlessActions, planOf, givingQuirks, swapActions } from "./arbitraries.ts";
import { forAll, simulate, useSimulation } from "./simulate.ts";

const patient = { timeout: 0 };

const keywordsOf = (side: Readonly<Record<string, unknown>> | null): readonly unknown[] =>
  Array.isArray(side?.["keywords"]) ? side["keywords"] : [];

useSimulation();

describe("a new epoch", () => {
  it("ends as its devices left it (ID-8)", patient, () => forAll(0.06, planOf({ actions: epochActions }), simulate));

  it("begins where numbers stand for other mail, and nothing of the one is put on the other (ID-11)", patient, () =>
    forAll(0.06, planOf({ actions: swapActions }), simulate),
  );

  it("removes nothing, and takes no flag away (PB8)", patient, () =>
    forAll(0.05, planOf({ actions: harmlessActions, quirks: givingQuirks }), async (plan) => {
      const { oracle } = await simulate(plan);
      expect(oracle.log.filter(({ kind }) => kind === "message.removed" || kind === "message.kept")).toEqual([]);
      const cleared = oracle.log.filter(({ before, after }) =>
        keywordsOf(before).some((keyword) => after !== null && !keywordsOf(after).includes(keyword)),
      );
      expect(cleared).toEqual([]);
    }),
  );
});
