/** Where the reading of a mailbox begins: at its first sight, and anew where its server has numbered it anew (semantics G5). */
import type { MailboxObservation, MailboxStatus } from "../model/observation.ts";
import { type AccountTx, appendChanges, inAccount } from "../store/account-tx.ts";
import { closeEpoch } from "../store/epochs.ts";
import { parkMailbox, writeCursor } from "../store/mailbox-writes.ts";
import { uidValidityResets } from "../telemetry/metrics.ts";
import { commitItems, emptyBatch } from "./commit.ts";
import type { LaneContext, MailboxLane } from "./lane-state.ts";

/** So many new epochs in such a time, in ms, and no more: a server may invent one at every look. */
const epochsMost = 5;
const epochsWithinMs = 3_600_000;

/** The first sight of a mailbox: everything below UIDNEXT is left to the backfill, everything from it up is news. */
export const beginMailbox = async (context: LaneContext, mailbox: MailboxLane, status: MailboxStatus): Promise<void> => {
  mailbox.exists = status.messages;
  mailbox.lookedAt = Date.now();
  await commitItems(context, mailbox, {
    batch: emptyBatch,
    reason: "backfilled",
    move: {
      cursor: { uidValidity: status.uidValidity, uidNext: status.uidNext, highestModseq: status.highestModseq },
      backfillLow: status.messages === 0 ? 1 : status.uidNext,
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

const logEpoch = (
  account: AccountTx,
  { context, mailbox, seen }: { context: LaneContext; mailbox: MailboxLane; seen: MailboxObservation },
  what: { readonly reason: string; readonly unbound: number },
  at: Date,
): Promise<bigint> => {
  const { cursor, mailboxId } = mailbox;
  const before = { uidValidity: cursor?.uidValidity, uidNext: cursor?.uidNext };
  const after = { uidValidity: seen.uidValidity, uidNext: seen.uidNext, unbound: what.unbound };
  const none = { messageId: null, placementId: null, deviceId: null, confidence: null, evidence: [] };
  const why = { source: "imap", endpointId: context.endpointId, reason: what.reason, rule: "G5" } as const;
  return appendChanges(account, [{ kind: "epoch.changed", mailboxId, before, after, ...why, ...none }], at, null);
};

const putAside = (context: LaneContext, mailbox: MailboxLane): Promise<void> => {
  mailbox.parkedUntil = (mailbox.epochsAt[0] ?? Date.now()) + epochsWithinMs;
  return inAccount(context.db, context.fence, context.accountId, (account) =>
    parkMailbox(account, context.endpointId, mailbox.mailboxId, {
      until: new Date(mailbox.parkedUntil),
      reason: "The server changes this mailbox's UIDVALIDITY again and again. It is looked at a few times an hour.",
    }),
  );
};

/** UIDs of before mean nothing any more. Placements stay; what is listed is recognised before it is read. */
export const beginEpoch = async (context: LaneContext, mailbox: MailboxLane, seen: MailboxObservation): Promise<void> => {
  const now = Date.now();
  mailbox.epochsAt = mailbox.epochsAt.filter((at) => now - at < epochsWithinMs);
  if (mailbox.epochsAt.length >= epochsMost) return putAside(context, mailbox);
  uidValidityResets.inc();
  context.trouble.noteEpoch();
  mailbox.epochsAt.push(now);
  const cursor = { uidValidity: seen.uidValidity, uidNext: seen.uidNext, highestModseq: seen.highestModseq };
  const { mailboxId } = mailbox;
  const epoch = mailbox.epoch + 1;
  const backfillLow = await inAccount(context.db, context.fence, context.accountId, async (account) => {
    const at = new Date(now);
    const unbound = await closeEpoch(account, context.endpointId, mailboxId);
    await logEpoch(account, { context, mailbox, seen }, { reason: "uidvalidity_changed", unbound }, at);
    // An empty mailbox, too, has to be recognised as that which it was.
    const low = Math.max(seen.uidNext, mailbox.bound + mailbox.held > 0 ? 2 : 1);
    const write = { mailboxId, epoch, ...cursor, backfillLow: low, audited: false, permanentFlags: seen.permanentFlags };
    await writeCursor(account, context.endpointId, write, at);
    return low;
  });
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
  Object.assign(mailbox, { exists: seen.exists, lookedAt: now, emptySince: 0, failures: 0, parkedUntil: 0 });
};
