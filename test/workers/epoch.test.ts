/** When the numbers and counters of a mailbox are no longer those that were known. */
import { describe, expect, it } from "vitest";
import type { MailboxId } from "../../src/model/ids.ts";
import type { MailboxObservation } from "../../src/model/observation.ts";
import { epochBreakOf, isStranger, strangerAfter } from "../../src/workers/epoch.ts";
import { type MailboxLane, toMailboxLane } from "../../src/workers/lane-state.ts";

const mailbox = (highestModseq: bigint | null): MailboxLane => {
  const known = {
    mailboxId: "m" as MailboxId,
    path: "INBOX",
    selectable: true,
    role: null,
    epoch: 1,
    uidValidity: 5,
    uidNext: 10,
  };
  const read = { highestModseq, backfillLow: 1, auditedAt: null, failures: 0, parkedUntil: null, held: 0, flagsHeld: false };
  return toMailboxLane({ ...known, ...read }, 3);
};

const looked = (rest: Partial<MailboxObservation> = {}): MailboxObservation => ({
  path: "INBOX",
  startedAt: new Date(0),
  endedAt: new Date(0),
  uidValidity: 5,
  uidNext: 10,
  highestModseq: 20n,
  exists: 3,
  permanentFlags: [],
  numbersLast: true,
  method: "full",
  flags: [],
  vanished: [],
  present: null,
  ...rest,
});

describe("a look at a mailbox that is known (G5)", () => {
  it.each([
    ["goes on where everything has stood still or grown", {}, null],
    ["goes on where everything has grown", { uidNext: 11, highestModseq: 21n }, null],
    ["shows it numbered anew where its UIDVALIDITY is another one, higher or lower", { uidValidity: 4 }, "renumbered"],
    ["shows it numbered anew where UIDNEXT ran backwards", { uidNext: 9 }, "renumbered"],
    ["shows counters that cannot be believed where HIGHESTMODSEQ ran backwards", { highestModseq: 19n }, "regressed"],
    ["says nothing of counters that the server does not give", { highestModseq: null }, null],
  ])("%s", (_, seen, found) => {
    expect(epochBreakOf(mailbox(20n), looked(seen))).toBe(found);
  });

  it("begins none where there was no counter before", () => {
    expect(epochBreakOf(mailbox(null), looked({ highestModseq: 1n }))).toBeNull();
  });

  it("D1: is of another mailbox, perhaps, until a whole listing has told", () => {
    const swapped = looked({ uidValidity: 4 });
    const doubts = (complete: boolean) => isStranger({ ...mailbox(1n), stranger: strangerAfter({ complete }) }, swapped);
    expect([true, false].map(doubts)).toEqual([false, true]);
  });
});
