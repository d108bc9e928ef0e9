/** Processes that are killed, connections that break, answers that are lost, listings that end early. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  apiPlaceActions,
  apiPutActions,
  faultsOf,
  givingQuirks,
  imapActions,
  lostAnswers,
  mailboxActions,
  planOf,
  pop3Actions,
  quirksArbitrary,
} from "./arbitraries.ts";
import { forAll, type Run, simulate, useSimulation } from "./simulate.ts";

const patient = { timeout: 0 };

/** What is held, without ids and numbers that differ from run to run. */
const outcomeOf = ({ oracle }: Run): string[] =>
  oracle.held.placements
    .map(({ content, path, keywords, lifecycle, kept }) => `${content} in ${path} ${lifecycle} ${kept} ${keywords.join()}`)
    .sort();

useSimulation();

describe("whatever breaks", () => {
  it("a crash anywhere changes nothing of the end (PB3)", patient, () =>
    forAll(0.05, planOf({ actions: imapActions, faults: faultsOf("crash"), undisturbed: true }), async (plan) => {
      const crashed = outcomeOf(await simulate(plan));
      expect(crashed).toEqual(outcomeOf(await simulate({ ...plan, faults: [] })));
    }),
  );

  it("a listing that ends early changes nothing of what is there in the end (PB9)", patient, () =>
    forAll(0.04, planOf({ actions: imapActions, faults: faultsOf("cut"), quirks: quirksArbitrary }), simulate),
  );

  it("faults of all kinds only cost time (PB3, PB9, PB10)", patient, () =>
    forAll(
      0.08,
      planOf({ actions: mailboxActions, faults: faultsOf("crash", "drop", "lost", "cut"), quirks: quirksArbitrary }),
      simulate,
    ),
  );

  it("what is put back is put back once (PB10, I14)", patient, () => {
    const faults = faultsOf("crash", "lost", "drop");
    const policy = fc.record({
      pop3Devices: fc.constant("declared" as const),
      onPop3Drain: fc.constantFrom("keep" as const, "restore" as const),
      preserveAhead: fc.boolean(),
    });
    return forAll(0.06, planOf({ actions: pop3Actions, faults, quirks: quirksArbitrary, policy }), simulate);
  });

  it("what was put into a mailbox and not answered is looked for, and put there once (C3, C9, PB10)", patient, () =>
    forAll(0.02, planOf({ actions: apiPutActions, most: 8, faults: lostAnswers, quirks: givingQuirks }), simulate),
  );

  it("nothing is taken from a server before it is stored, and nothing twice (PB10, PB11, I2)", patient, () => {
    const faults = faultsOf("crash", "lost", "drop");
    return forAll(0.05, planOf({ actions: apiPlaceActions, faults, quirks: givingQuirks }), simulate);
  });
});
