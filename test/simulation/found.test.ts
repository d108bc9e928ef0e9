/** Plans that once broke a promise, made as small as they would go. */
import { it } from "vitest";
import type { Action } from "./devices.ts";
import { noQuirks } from "./quirks.ts";
import { simulate, useSimulation } from "./simulate.ts";
import type { Plan } from "./world.ts";

const plan = (script: readonly Action[], schedule: readonly number[], rest: Partial<Plan> = {}): Plan => ({
  quirks: noQuirks,
  policy: {},
  protocols: ["imap"],
  faults: [],
  script,
  schedule,
  ...rest,
});

const mail = { do: "deliver", content: 0, box: 0, flags: [] } as const;

useSimulation();

it("a mailbox with a role that is renamed while it is empty stops nothing (D10)", () =>
  simulate(plan([{ do: "rename mailbox", box: 4, name: 0 }, mail, { do: "move", box: 0, item: 0, to: 5 }], [11])));

it("what was moved into a mailbox that nobody has looked into yet is not taken for deleted (V0)", () =>
  simulate(plan([mail, mail, { do: "make mailbox", name: 0 }, { do: "move", box: 0, item: 0, to: 3 }], [0, 0, 11])));

it("what is decided when an empty listing is believed is sent at once (G4, V18)", () =>
  simulate(
    plan([mail, { do: "pop3", retr: 1, dele: 1, from: "oldest" }, { ...mail, box: 1 }], [0, 0, 5, 11], {
      quirks: { ...noQuirks, changes: "full", uidplus: false, top: false },
      policy: { pop3Devices: "declared", onPop3Drain: "restore" },
    }),
  ));
