/** Whatever happened to an account, replaying its inputs rebuilds it: rows, numbers, reasons (I5). */
import fc from "fast-check";
import { afterAll, describe, expect, it, vi } from "vitest";
import { replayAccount } from "../../src/store/replay.ts";
import { openScratch, type Scratch } from "../../src/store/scratch.ts";
import { quietLog } from "../support/shard-owner.ts";
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
import { forAll, type Run, simulate, useSimulation } from "./simulate.ts";
import type { Plan } from "./world.ts";

const patient = { timeout: 0 };
let scratch: Scratch | undefined;

useSimulation();

const replays = async ({ world: { db, accountId, now } }: Run): Promise<void> => {
  // Whoever looks at another clock than the recorded one is found out.
  vi.setSystemTime(now + 86_400_000);
  scratch ??= await openScratch(db, quietLog);
  const { inputs, differences } = await replayAccount(db, scratch, accountId);
  expect(differences).toEqual([]);
  expect(inputs).toBeGreaterThan(1);
};

afterAll(async () => {
  await scratch?.[Symbol.asyncDispose]();
});

const everything = { faults: faultsOf("crash", "drop", "lost", "cut"), quirks: quirksArbitrary };
const drains = ["keep", "mirror", "restore"] as const;
const replayed = (plan: Plan): Promise<void> => simulate(plan).then(replays);

describe("an account is what its inputs make of it (I5)", () => {
  it("with devices over IMAP, mailboxes that come and go, and faults of all kinds", patient, () =>
    forAll(0.01, planOf({ actions: mailboxActions, ...everything }), replayed),
  );

  it("with devices over the API", patient, () =>
    forAll(0.005, planOf({ actions: apiPlaceActions, ...everything, quirks: givingQuirks }), replayed),
  );

  it("with mailboxes that are numbered anew", patient, () =>
    forAll(0.005, planOf({ actions: epochActions, ...everything }), replayed),
  );

  it("with devices over POP3, whatever is done about them", patient, () => {
    const policy = fc.record({
      pop3Devices: fc.constant("declared" as const),
      onPop3Drain: fc.constantFrom(...drains),
      preserveAhead: fc.boolean(),
    });
    const plans = planOf({ actions: pop3Actions, ...everything, policy, protocols: ["imap", "pop3"] });
    return forAll(0.01, plans, replayed);
  });
});
