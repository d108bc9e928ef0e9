/** Days of an account instead of minutes: what many plans leave behind, one after the other, meets. */
import fc from "fast-check";
import { it } from "vitest";
import {
  apiPlaceActions,
  epochActions,
  faultsOf,
  givingQuirks,
  mailboxActions,
  planOf,
  pop3Actions,
  quirksArbitrary,
} from "./arbitraries.ts";
import { forAll, simulate, useSimulation } from "./simulate.ts";
import type { Plan } from "./world.ts";

useSimulation();

type Parts = Parameters<typeof planOf>[0];

const joined = 5;
/** Of all schedules: each of these is as long as several. */
const share = 0.001;

const joinPlans = (plans: readonly Plan[]): Plan => ({
  ...(plans[0] as Plan),
  script: plans.flatMap(({ script }) => script),
  schedule: plans.flatMap(({ schedule }) => schedule),
});

const longPlan = (parts: Parts): fc.Arbitrary<Plan> =>
  fc.array(planOf(parts), { minLength: joined, maxLength: joined }).map(joinPlans);

const policy = fc.record({
  pop3Devices: fc.constant("declared" as const),
  onPop3Drain: fc.constantFrom("keep" as const, "mirror" as const, "restore" as const),
  preserveAhead: fc.boolean(),
});

it.each<{ of: string; parts: Parts }>([
  { of: "mailboxes", parts: { actions: mailboxActions } },
  { of: "clients of the API", parts: { actions: apiPlaceActions, quirks: givingQuirks } },
  { of: "new epochs", parts: { actions: epochActions } },
  { of: "POP3 devices", parts: { actions: pop3Actions, policy, protocols: ["imap", "pop3"] } },
])("a long story of $of ends as it was meant (I4)", { timeout: 0 }, ({ parts }) =>
  forAll(share, longPlan({ faults: faultsOf("crash", "drop", "lost", "cut"), quirks: quirksArbitrary, ...parts }), simulate),
);
