/** Plans written by hand. */
import type { Action } from "./devices.ts";
import { noQuirks } from "./quirks.ts";
import type { Plan } from "./world.ts";

/** On a server without quirks, read over IMAP, unless `rest` says otherwise. */
export const plan = (script: readonly Action[], schedule: readonly number[], rest: Partial<Plan> = {}): Plan => ({
  quirks: noQuirks,
  policy: {},
  protocols: ["imap"],
  faults: [],
  script,
  schedule,
  ...rest,
});

/** Mail that comes to INBOX. */
export const mail = { do: "deliver", content: 0, box: 0, flags: [] } as const;

/** The first mail of INBOX goes to the next mailbox. */
export const moveAway = { do: "move", box: 0, item: 0, to: 1 } as const;
