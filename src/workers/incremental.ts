/** One mailbox brought up to date: what changed since the cursor, and what is new, fetched and committed. */
import type { Session } from "../endpoints/endpoint.ts";
import type { MailboxId } from "../model/ids.ts";
import type { MailboxCursor, MailboxObservation, UidRange } from "../model/observation.ts";
import { uidValidityResets } from "../telemetry/metrics.ts";
import { arrivedUids } from "./arrivals.ts";
import { commitItems, commitObservation, type CursorMove, disposeItems, prepareBatch } from "./commit.ts";
import { withoutBound } from "./backfill.ts";
import { beginEpoch, epochBreakOf, isStranger } from "./epoch.ts";
import { joinKnown } from "./join.ts";
import { followMoves } from "./moves.ts";
import { recogniseNews } from "./recognise.ts";
import { auditIsDue, backfillDone, emptyConfirmMs, type LaneContext, type MailboxLane } from "./lane-state.ts";
import { isStillKnown, type Seen } from "./sample.ts";
import { surroundingsOf } from "./seen.ts";
import { compare, missSourcesOf, toRanges } from "./sources.ts";
import { unheardIn } from "./unseen-placings.ts";

export const believesEmpty = (mailbox: MailboxLane, seen: MailboxObservation): boolean => {
  if (seen.present === null || seen.exists > 0 || mailbox.bound === 0) {
    mailbox.emptySince = 0;
    return true;
  }
  if (mailbox.emptySince === 0) mailbox.emptySince = Date.now();
  return Date.now() - mailbox.emptySince >= emptyConfirmMs;
};

/** The parts of ranges that are not bound; ascending, for the cursor moves with what is read. */
const leftOf = (ranges: readonly UidRange[], bound: readonly number[]): UidRange[] => {
  const ascending = bound.toSorted((a, b) => a - b);
  return ranges.flatMap((range) => withoutBound(range, ascending).toReversed());
};

/** Fetches ranges of news and commits batch by batch; the cursor follows the highest UID that is durable. */
const takeNew = async (
  context: LaneContext,
  session: Session,
  mailbox: MailboxLane,
  { ranges, seen, shrunk }: { readonly ranges: readonly UidRange[]; readonly seen: MailboxObservation; readonly shrunk: boolean },
  signal: AbortSignal,
): Promise<{ created: number; missing: boolean }> => {
  const { cursor } = mailbox;
  const taken = { created: 0, missing: false };
  const sources = { session, signal, settled: new Set<MailboxId>() };
  if (ranges.length === 0 || cursor === null) return taken;
  const recognised = await recogniseNews(context, session, mailbox, ranges, signal);
  if (mailbox.replaced) return taken;
  const joined = [...recognised, ...(await joinKnown(context, session, mailbox, { ranges, reason: "delivered" }, signal))];
  const followed = await followMoves(context, session, mailbox, { ranges: leftOf(ranges, joined), shrunk }, signal);
  taken.missing = followed.missing;
  const left = leftOf(ranges, [...joined, ...followed.bound]);
  if (left.length === 0) return taken;
  for await (const batch of session.fetch({ path: mailbox.path, uidValidity: cursor.uidValidity, ranges: left }, signal)) {
    try {
      if (batch.items.length === 0) continue;
      const prepared = await prepareBatch(context, batch.items);
      taken.missing = (await missSourcesOf(context, sources, mailbox, prepared)) || taken.missing;
      const highest = batch.items.reduce((most, item) => Math.max(most, item.uid + 1), mailbox.cursor?.uidNext ?? 1);
      taken.created += await commitItems(context, mailbox, {
        batch: prepared,
        reason: "delivered",
        readAt: seen.endedAt.getTime(),
        came: { after: mailbox.lookedAt, before: seen.startedAt.getTime() },
        move: {
          cursor: { ...cursor, uidNext: highest },
          backfillLow: mailbox.backfillLow ?? 1,
          arrived: arrivedUids(seen, mailbox.cursor, highest),
        },
      });
    } finally {
      await disposeItems(batch.items);
    }
  }
  return taken;
};

const rangeOfNew = (cursor: MailboxCursor, seen: MailboxObservation): UidRange[] =>
  seen.uidNext > cursor.uidNext ? [{ from: cursor.uidNext, to: seen.uidNext - 1 }] : [];

/** Facts on known items. Where mod-sequences went backwards nothing is missing yet (G5): the next look is a whole listing, too. */
const factsOf = (seen: MailboxObservation, gone: readonly number[], regressed: boolean) => ({
  flags: seen.flags,
  whole: seen.method === "full" && seen.present !== null,
  absent: regressed ? [] : seen.present === null ? seen.vanished : gone,
  regressed,
});

/** Everything is listed although the server told of no change: what differs all the same it had not told (G6). */
const isAudit = ({ cursor, flagsHeld }: MailboxLane, { method, present, highestModseq }: MailboxObservation): boolean =>
  method === "full" &&
  present !== null &&
  highestModseq !== null &&
  highestModseq === cursor?.highestModseq &&
  flagsHeld === "no";

/** What changed since the cursor, or all there is: where that is due, and where mod-sequences cannot be believed. */
const look = async (
  session: Session,
  mailbox: MailboxLane,
  { full }: { readonly full: boolean },
  signal: AbortSignal,
): Promise<MailboxObservation> => {
  const whole = { path: mailbox.path, since: null, boundCount: backfillDone(mailbox) ? mailbox.bound : null };
  if (full || mailbox.flagsHeld !== "no") return session.observe(whole, signal);
  const seen = await session.observe({ ...whole, since: mailbox.cursor }, signal);
  return epochBreakOf(mailbox, seen) === "regressed" && seen.method !== "full" ? session.observe(whole, signal) : seen;
};

/** Is it the mailbox that is known, so that what was seen of it may be believed? If not, what follows from that is done. */
const admits = async (
  context: LaneContext,
  session: Session,
  mailbox: MailboxLane,
  looked: Seen,
  signal: AbortSignal,
): Promise<boolean> => {
  const { seen } = looked;
  const isRenumbered = epochBreakOf(mailbox, seen) === "renumbered";
  if (isRenumbered && isStranger(mailbox, seen)) {
    mailbox.stranger = "doubted";
    return false;
  }
  mailbox.stranger = "no";
  if (!isRenumbered) return (await isStillKnown(context, session, mailbox, looked, signal)) && believesEmpty(mailbox, seen);
  await beginEpoch(context, mailbox, seen);
  return false;
};

/**
 * Looks at one mailbox and commits what it showed. `shrunk`: another mailbox may have lost what this one has got. `uids`: these are to
 * be written to.
 * @returns whether placements became absence candidates, and how many messages were new.
 */
export const updateMailbox = async (
  context: LaneContext,
  session: Session,
  mailbox: MailboxLane,
  options: { readonly full: boolean; readonly shrunk: boolean; readonly uids?: readonly number[] },
  signal: AbortSignal,
): Promise<{ candidates: boolean; created: number }> => {
  const { cursor } = mailbox;
  if (cursor === null || mailbox.backfillLow === null) return { candidates: false, created: 0 };
  const full = options.full || auditIsDue(mailbox);
  const seen = await look(session, mailbox, { full }, signal);
  mailbox.exists = seen.exists;
  if (!(await admits(context, session, mailbox, { seen, full, uids: options.uids ?? [] }, signal)))
    return { candidates: false, created: 0 };
  const regressed = epochBreakOf(mailbox, seen) === "regressed";
  const { gone, missed } = seen.present === null ? { gone: [], missed: [] } : await compare(context, mailbox, seen.present);
  const ranges = [...toRanges(missed), ...rangeOfNew(cursor, seen)];
  const audit = isAudit(mailbox, seen);
  const facts = { ...factsOf(seen, gone, regressed), audit };
  const { flags, absent } = facts;
  const around = await surroundingsOf(context, session, { mailbox, flags }, signal);
  // What went first, so that a mail that only changed its number is continued and not copied (ID-5a).
  const goneFirst = absent.length > 0 && ranges.length > 0;
  if (goneFirst)
    await commitObservation(context, mailbox, {
      ...facts,
      around,
      counts: seen,
      move: { cursor, backfillLow: mailbox.backfillLow },
    });
  const { created, missing } = await takeNew(context, session, mailbox, { ranges, seen, shrunk: options.shrunk }, signal);
  const move: CursorMove = {
    cursor: { uidValidity: seen.uidValidity, uidNext: seen.uidNext, highestModseq: seen.highestModseq },
    backfillLow: mailbox.backfillLow,
    audited: seen.present !== null,
    permanentFlags: seen.permanentFlags,
    arrived: arrivedUids(seen, mailbox.cursor, seen.uidNext),
  };
  const rest = goneFirst ? { flags: [], absent: [], audit } : facts;
  const unseen =
    (rest.flags.length > 0 || rest.absent.length > 0 || moved(mailbox, move)) &&
    (await commitObservation(context, mailbox, {
      ...rest,
      around,
      move,
      unheard: regressed ? null : await unheardIn(context, mailbox, seen),
      ...(ranges.length === 0 && { counts: seen }),
    }));
  if (regressed) {
    uidValidityResets.inc();
    mailbox.auditedAt = 1;
  }
  mailbox.lookedAt = seen.startedAt.getTime();
  return { candidates: absent.length > 0 || missing || unseen, created };
};

const moved = (mailbox: MailboxLane, move: CursorMove): boolean =>
  move.audited === true ||
  move.cursor.uidNext !== mailbox.cursor?.uidNext ||
  move.cursor.highestModseq !== mailbox.cursor.highestModseq;
