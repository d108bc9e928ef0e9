/** Where the reading of a mailbox begins: at its first sight, and anew where its server has numbered it anew (semantics G5). */
import type { MailboxObservation, MailboxStatus, Survey } from "../model/observation.ts";
import type { EndpointId, MailboxId } from "../model/ids.ts";
import type { Contradiction } from "../reconciler/contradiction.ts";
import { appendChanges } from "../store/account-tx.ts";
import { closeEpoch } from "../store/epochs.ts";
import { defineInput, ingest } from "../store/inputs.ts";
import { parkMailbox, writeCursor } from "../store/mailbox-writes.ts";
import { uidValidityResets } from "../telemetry/metrics.ts";
import { commitItems, emptyBatch } from "./commit.ts";
import { backfillDone, type LaneContext, type MailboxFacts, mailboxFacts, type MailboxLane } from "./lane-state.ts";

/** So many new epochs in such a time, in ms, and no more: a server may invent one at every look. */
const epochsMost = 5;
const epochsWithinMs = 3_600_000;
const renumberedAgain = "The server changes this mailbox's UIDVALIDITY again and again. It is looked at a few times an hour.";
const contradictedAgain =
  "The server shows other dates, sizes or ids for known mail of this mailbox again and again. It is looked at a few times an hour.";

/** The first sight of a mailbox: everything below UIDNEXT is left to the backfill, everything from it up is news. */
export const beginMailbox = async (context: LaneContext, mailbox: MailboxLane, status: MailboxStatus): Promise<void> => {
  mailbox.exists = status.messages;
  mailbox.lookedAt = Date.now();
  mailbox.late = [...context.mailboxes.values()].some((other) => other.bound > 0 && backfillDone(other));
  await commitItems(context, mailbox, {
    batch: emptyBatch,
    reason: "backfilled",
    move: {
      cursor: { uidValidity: status.uidValidity, uidNext: status.uidNext, highestModseq: status.highestModseq },
      backfillLow: status.messages === 0 ? 1 : status.uidNext,
      // From here its audits are counted (G6); with mail in it that begins when the backfill ends.
      audited: status.messages === 0,
    },
  });
};

/** `renumbered`: UIDs mean nothing any more. `regressed`: they do, but what was said of changes cannot be believed. */
export type EpochBreak = "renumbered" | "regressed";

export const epochBreakOf = ({ cursor }: MailboxLane, seen: MailboxObservation): EpochBreak | null => {
  if (cursor === null) return null;
  if (seen.uidValidity !== cursor.uidValidity || seen.uidNext < cursor.uidNext) return "renumbered";
  return seen.highestModseq !== null && cursor.highestModseq !== null && seen.highestModseq < cursor.highestModseq
    ? "regressed"
    : null;
};

/** Is it perhaps not renumbered, but another mailbox by now? Only a listing of all names can tell, and then it has told. */
export const isStranger = ({ role, stranger, cursor }: MailboxLane, { uidValidity }: MailboxObservation): boolean =>
  role !== "inbox" && stranger !== "listed" && uidValidity !== cursor?.uidValidity;

/** What is to be thought of such a mailbox after a listing that leaves it its name: one that was cut short has not told. */
export const strangerAfter = ({ complete }: Pick<Survey, "complete">): MailboxLane["stranger"] =>
  complete ? "listed" : "doubted";

interface ParkedFacts {
  readonly endpointId: EndpointId;
  readonly mailboxId: MailboxId;
  readonly until: Date;
  readonly reason: string;
}

const mailboxParked = defineInput("outcome", "imap.parked", (account, { endpointId, mailboxId, until, reason }: ParkedFacts) =>
  parkMailbox(account, endpointId, mailboxId, { until, reason }),
);

/** Puts a mailbox aside until the time that its lane says. */
export const putAside = (context: LaneContext, { mailboxId, parkedUntil }: MailboxLane, reason: string): Promise<void> =>
  ingest(context, mailboxParked, { endpointId: context.endpointId, mailboxId, until: new Date(parkedUntil), reason });

interface EpochFacts {
  readonly endpointId: EndpointId;
  readonly mailbox: MailboxFacts;
  readonly seen: Pick<MailboxObservation, "uidValidity" | "uidNext" | "highestModseq" | "permanentFlags">;
  readonly backfillLow: number;
  /** Other mail lies under known numbers, which are those of before; absent: numbers are new. */
  readonly contradictions?: readonly FoundOut[];
}

/** An item that is not what its number was bound to. */
export type FoundOut = Contradiction & { readonly uid: number };

const epochSeen = defineInput(
  "observation",
  "imap.epoch",
  async (account, { endpointId, mailbox: { mailboxId, epoch, cursor }, seen, backfillLow, contradictions }: EpochFacts) => {
    const { uidValidity, uidNext, highestModseq, permanentFlags } = seen;
    const unbound = await closeEpoch(account, endpointId, mailboxId);
    const before = { uidValidity: cursor?.uidValidity, uidNext: cursor?.uidNext };
    const after = { uidValidity, uidNext, unbound };
    const none = { messageId: null, placementId: null, deviceId: null, confidence: null };
    const why =
      contradictions === undefined
        ? ({ source: "imap", endpointId, reason: "uidvalidity_changed", rule: "G5", evidence: [] } as const)
        : ({ source: "imap", endpointId, reason: "content_mismatch", rule: "ID-11", evidence: contradictions } as const);
    await appendChanges(account, [{ kind: "epoch.changed", mailboxId, before, after, ...why, ...none }]);
    const next = { mailboxId, epoch: epoch + 1, uidValidity, uidNext, highestModseq };
    await writeCursor(account, endpointId, { ...next, backfillLow, audited: false, permanentFlags });
  },
);

/**
 * UIDs of before mean nothing any more, or `contradictions` say that they do not. Placements stay; what is listed is recognised before
 * it is read.
 */
export const beginEpoch = async (
  context: LaneContext,
  mailbox: MailboxLane,
  seen: MailboxObservation,
  contradictions?: readonly FoundOut[],
): Promise<void> => {
  const now = Date.now();
  mailbox.sampledIn = null;
  mailbox.epochsAt = mailbox.epochsAt.filter((at) => now - at < epochsWithinMs);
  if (mailbox.epochsAt.length >= epochsMost) {
    mailbox.parkedUntil = (mailbox.epochsAt[0] ?? now) + epochsWithinMs;
    return putAside(context, mailbox, contradictions === undefined ? renumberedAgain : contradictedAgain);
  }
  uidValidityResets.inc();
  mailbox.epochsAt.push(now);
  const { uidValidity, uidNext, highestModseq, permanentFlags } = seen;
  const cursor = { uidValidity, uidNext, highestModseq };
  const epoch = mailbox.epoch + 1;
  // An empty mailbox, too, has to be recognised as that which it was, and its id, which may be another now, be agreed on; what was
  // in it may wait since an epoch before this one.
  const backfillLow = Math.max(uidNext, 2);
  const facts = { endpointId: context.endpointId, mailbox: mailboxFacts(mailbox), seen: { ...cursor, permanentFlags } };
  await ingest(context, epochSeen, { ...facts, backfillLow, ...(contradictions !== undefined && { contradictions }) });
  Object.assign(mailbox, {
    epoch,
    cursor,
    backfillLow,
    bound: 0,
    held: 0,
    unseen: null,
    compared: false,
    unshown: null,
    recognition: null,
  });
  Object.assign(mailbox, {
    exists: seen.exists,
    numbersLast: seen.numbersLast,
    lookedAt: now,
    emptySince: 0,
    failures: 0,
    parkedUntil: 0,
  });
};
