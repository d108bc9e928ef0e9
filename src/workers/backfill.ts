/** The first reading of an account: newest first, in large UID ranges, in bounded slices that can be cut off anywhere. */
import type { Session } from "../endpoints/endpoint.ts";
import { batchMessages, type UidRange } from "../model/observation.ts";
import { inAccount } from "../store/account-tx.ts";
import { writeProgress } from "../store/account-state.ts";
import { markUnbound } from "../store/candidates.ts";
import { loadBoundUids } from "../store/slices.ts";
import { commitItems, disposeItems, emptyBatch, prepareBatch, type PreparedBatch } from "./commit.ts";
import { backfillDone, type LaneContext, type MailboxLane, scopeOf } from "./lane-state.ts";

/** How long one slice may take before the account goes to the back of the queue. */
const sliceMs = 5_000;
/** Ranges asked for at once before the account's speed is known. */
const firstRanges = 8;
const mostRanges = 40;

const roleOrder: Record<string, number> = { inbox: 0, sent: 1, drafts: 2, archive: 3, trash: 8, junk: 9 };

/** INBOX first, junk last: what people look at soonest is read soonest. */
const inReadingOrder = (mailboxes: Iterable<MailboxLane>): MailboxLane[] =>
  [...mailboxes]
    .filter(
      (mailbox) => mailbox.selectable && mailbox.cursor !== null && !backfillDone(mailbox) && mailbox.parkedUntil <= Date.now(),
    )
    .toSorted((a, b) => (roleOrder[a.role ?? ""] ?? 5) - (roleOrder[b.role ?? ""] ?? 5) || (a.path < b.path ? -1 : 1));

export const backfillPending = (context: LaneContext): boolean => inReadingOrder(context.mailboxes.values()).length > 0;

/** Next ranges below what was read, each about one batch wide by the mailbox's density, highest first. */
export const planRanges = (mailbox: Pick<MailboxLane, "backfillLow" | "cursor" | "exists">, most: number): UidRange[] => {
  const next = mailbox.cursor?.uidNext ?? 1;
  const width = Math.max(batchMessages, Math.ceil((batchMessages * (next - 1)) / Math.max(1, mailbox.exists)));
  const ranges: UidRange[] = [];
  let to = (mailbox.backfillLow ?? 1) - 1;
  while (to >= 1 && ranges.length < most) {
    const from = Math.max(1, to - width + 1);
    ranges.push({ from, to });
    to = from - 1;
  }
  return ranges;
};

/** The parts of a range that are not bound yet: after a crash, what is durable is not fetched again. */
export const withoutBound = (range: UidRange, bound: readonly number[]): UidRange[] => {
  const rest: UidRange[] = [];
  let from = range.from;
  for (const uid of bound) {
    if (uid < range.from || uid > range.to) continue;
    if (uid > from) rest.push({ from, to: uid - 1 });
    from = uid + 1;
  }
  if (from <= range.to) rest.push({ from, to: range.to });
  return rest.toReversed();
};

interface Slice {
  readonly context: LaneContext;
  readonly session: Session;
  readonly signal: AbortSignal;
  /** First slice after the lane was loaded: a crash may have left part of a range durable. */
  readonly resuming: boolean;
}

/** One batch to the store; the octets of the next one are stored while this one's rows are committed. */
const commitBatch = async (slice: Slice, mailbox: MailboxLane, batch: PreparedBatch, low: number | null): Promise<void> => {
  const { cursor } = mailbox;
  if (cursor === null) return;
  const move = low === null ? null : { cursor, backfillLow: low, audited: low <= 1 };
  await commitItems(slice.context, mailbox, { batch, reason: "backfilled", move });
};

const fetchRanges = async (slice: Slice, mailbox: MailboxLane, planned: readonly UidRange[]): Promise<void> => {
  const { context, session, signal } = slice;
  const bound = slice.resuming
    ? await inAccount(context.db, context.fence, context.accountId, (account) =>
        loadBoundUids(account, scopeOf(context, mailbox)),
      )
    : [];
  const asked = planned.map((range) => ({ range, parts: slice.resuming ? withoutBound(range, bound) : [range] }));
  // A planned range is done when the last of its parts is.
  const lowAfter = new Map<string, number>();
  for (const { range, parts } of asked) {
    const last = parts.at(-1);
    if (last !== undefined) lowAfter.set(`${last.from}:${last.to}`, range.from);
  }
  const ranges = asked.flatMap(({ parts }) => parts);
  let tail: Promise<void> = Promise.resolve();
  if (ranges.length > 0)
    for await (const batch of session.fetch(
      { path: mailbox.path, uidValidity: mailbox.cursor?.uidValidity ?? 0, ranges },
      signal,
    )) {
      const prepared = prepareBatch(context, batch.items);
      const previous = tail;
      const low = batch.rangeDone === null ? null : (lowAfter.get(`${batch.rangeDone.from}:${batch.rangeDone.to}`) ?? null);
      tail = (async () => {
        try {
          await previous;
          await commitBatch(slice, mailbox, await prepared, low);
        } finally {
          await disposeItems(batch.items);
        }
      })();
      prepared.catch(() => undefined);
      tail.catch(() => undefined);
      await previous;
    }
  await tail;
  const lowest = planned.at(-1)?.from;
  if (lowest !== undefined && lowest < (mailbox.backfillLow ?? 1)) await commitBatch(slice, mailbox, emptyBatch, lowest);
};

const noteProgress = async (context: LaneContext, startedAt: Date | null): Promise<void> => {
  let done = 0;
  let total = 0;
  for (const mailbox of context.mailboxes.values()) {
    done += mailbox.bound;
    total += backfillDone(mailbox) ? mailbox.bound : Math.max(mailbox.exists, mailbox.bound);
  }
  await inAccount(context.db, context.fence, context.accountId, (account) =>
    writeProgress(account, context.endpointId, { done, total, startedAt }),
  );
};

/**
 * Reads for about five seconds. @returns whether more is left.
 * Crash-safe at every point: a range counts as read only in the transaction that stored its last item.
 */
export const runBackfillSlice = async (
  context: LaneContext,
  session: Session,
  resuming: boolean,
  signal: AbortSignal,
): Promise<boolean> => {
  const slice: Slice = { context, session, signal, resuming };
  const began = Date.now();
  await noteProgress(context, new Date(began));
  let read = 0;
  for (;;) {
    const mailbox = inReadingOrder(context.mailboxes.values())[0];
    if (mailbox === undefined) break;
    const elapsed = Date.now() - began;
    if (elapsed >= sliceMs) break;
    // What this account's server gave so far tells how much fits into the rest of the slice.
    const fits = read === 0 ? firstRanges : Math.floor((read * (sliceMs - elapsed)) / Math.max(1, elapsed) / batchMessages);
    const ranges = planRanges(mailbox, Math.min(mostRanges, Math.max(1, fits)));
    const before = mailbox.bound;
    await fetchRanges(slice, mailbox, ranges);
    read += mailbox.bound - before;
    // Only what a new epoch unbound can be left over.
    if (mailbox.epoch > 0 && backfillDone(mailbox))
      await inAccount(context.db, context.fence, context.accountId, (account) =>
        markUnbound(account, context.endpointId, mailbox.mailboxId, new Date()),
      );
    await noteProgress(context, null);
  }
  return backfillPending(context);
};
