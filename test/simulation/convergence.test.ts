/** What devices do over IMAP, in any order and in the middle of a pass, on servers of all kinds. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  apiActions,
  apiPlaceActions,
  givingQuirks,
  imapActions,
  leavingScripts,
  mailboxActions,
  moveActions,
  planOf,
  quirksArbitrary,
} from "./arbitraries.ts";
import { forAll, simulate, useSimulation } from "./simulate.ts";

const patient = { timeout: 0 };

useSimulation();

describe("an account read over IMAP", () => {
  it("ends as its devices left it, and stays so (I4, PB4, PB5, PB13)", patient, () =>
    forAll(0.07, planOf({ actions: imapActions }), simulate),
  );

  it("does so on servers of all kinds (1.7)", patient, () =>
    forAll(0.07, planOf({ actions: imapActions, quirks: quirksArbitrary }), simulate),
  );

  it("does so while mailboxes are made and renamed (D1, D2)", patient, () =>
    forAll(0.05, planOf({ actions: mailboxActions }), simulate),
  );

  it("has one placement of a mail, however often and by whom it is moved (PB6)", patient, () => {
    const delivered = { do: "deliver", content: 1, box: 0, flags: [] } as const;
    const plans = planOf({ actions: moveActions }).map((plan) => ({ ...plan, script: [delivered, ...plan.script] }));
    return forAll(0.04, plans, async (plan) => {
      const { oracle } = await simulate(plan);
      expect(oracle.held.placements.filter(({ lifecycle, kept }) => lifecycle === "live" && !kept)).toHaveLength(1);
      expect(oracle.held.messages).toHaveLength(1);
    });
  });

  it("has what a move by copying left as soon as that is not marked any more (ID-5a2)", patient, () => {
    const plans = fc
      .tuple(planOf({ actions: moveActions, quirks: quirksArbitrary }), leavingScripts)
      .map(([plan, script]) => ({ ...plan, script }));
    return forAll(0.04, plans, simulate);
  });

  it("tells devices what clients of the API want, and clients what devices did (8.3, I7)", patient, () =>
    forAll(0.07, planOf({ actions: apiActions, quirks: quirksArbitrary }), simulate),
  );

  it("brings mail where clients of the API want it, whatever devices do meanwhile (3.3, P2, I2, I7)", patient, () =>
    forAll(0.1, planOf({ actions: apiPlaceActions, quirks: givingQuirks }), simulate),
  );

  it("says the same of a plan that is played twice", patient, () =>
    forAll(0.01, planOf({ actions: fc.oneof(imapActions, mailboxActions) }), async (plan) => {
      const [first, second] = [await simulate(plan), await simulate(plan)];
      expect(second.world.trace).toEqual(first.world.trace);
    }),
  );
});
