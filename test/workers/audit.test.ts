/** When a mailbox is listed whole, whatever its counters say (G6). */
import { expect, it } from "vitest";
import type { MailboxId } from "../../src/model/ids.ts";
import { auditIsDue, toMailboxLane } from "../../src/workers/lane-state.ts";

const hourMs = 3_600_000;

const auditedBefore = (ms: number | null, backfillLow = 1): boolean => {
  const auditedAt = ms === null ? null : new Date(Date.now() - ms);
  const known = {
    mailboxId: "m" as MailboxId,
    path: "INBOX",
    selectable: true,
    role: null,
    epoch: 1,
    uidValidity: 5,
    uidNext: 10,
  };
  const read = { highestModseq: 20n, backfillLow, auditedAt, failures: 0, parkedUntil: null, held: 0, flagsHeld: false };
  return auditIsDue(toMailboxLane({ ...known, ...read }, 3));
};

it("is a day after the last time, once it is read to its end", () => {
  expect([23 * hourMs, 25 * hourMs].map((ms) => auditedBefore(ms))).toEqual([false, true]);
  expect(auditedBefore(25 * hourMs, 2)).toBe(false);
  expect(auditedBefore(null)).toBe(false);
});
