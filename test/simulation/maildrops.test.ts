/** POP3 devices that take mail away, seen over IMAP, over POP3, and over both. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { drainActions, faultsOf, givingQuirks, planOf, pop3Actions, quirksArbitrary } from "./arbitraries.ts";
import { forAll, simulate, useSimulation } from "./simulate.ts";

const patient = { timeout: 0 };

const policy = fc.record({
  pop3Devices: fc.constantFrom("unknown" as const, "declared" as const, "none" as const),
  onPop3Drain: fc.constantFrom("keep" as const, "mirror" as const, "restore" as const),
  preserveAhead: fc.boolean(),
});

useSimulation();

describe("an account with POP3 devices", () => {
  it("ends as its devices left it, seen over IMAP", patient, () =>
    forAll(0.06, planOf({ actions: pop3Actions, policy, quirks: quirksArbitrary }), simulate),
  );

  it("ends as its devices left it, seen over both", patient, () =>
    forAll(0.05, planOf({ actions: pop3Actions, policy, quirks: quirksArbitrary, protocols: ["imap", "pop3"] }), simulate),
  );

  it("keeps what a maildrop has shown", patient, () => {
    const faults = faultsOf("crash", "drop", "lost", "cut");
    return forAll(0.04, planOf({ actions: pop3Actions, policy, quirks: quirksArbitrary, faults, protocols: ["pop3"] }), simulate);
  });

  it("keeps what is drained, and gives nothing back to INBOX (PB7)", patient, () => {
    const declared = fc.record({
      pop3Devices: fc.constant("declared" as const),
      onPop3Drain: fc.constantFrom("keep" as const, "restore" as const),
      preserveAhead: fc.boolean(),
    });
    return forAll(0.05, planOf({ actions: drainActions, policy: declared, quirks: givingQuirks }), async (plan) => {
      const { oracle, world } = await simulate(plan);
      expect(oracle.log.filter(({ kind }) => kind === "message.removed")).toEqual([]);
      const inbox = world.server.at("INBOX").items.filter(({ of }) => of.madeBy === "daemon");
      expect(inbox).toEqual([]);
    });
  });
});
