/** The first reading of an account: newest first, in large UID ranges, in bounded slices that can be cut off anywhere. */
import type { MailboxId } from "../model/ids.ts";
import { SyncError } from "../model/failure.ts";
import type { Session } from "../endpoints/endpoint.ts";
import { batchMessages, type FetchedItem, type UidRange } from "../model/observation.ts";
import { partSize } from "../model/octets.ts";
import { inAccount } from "../store/account-tx.ts";
import { writeProgress } from "../store/account-state.ts";
import { loadBindingsBelow } from "../store/slices.ts";
import { Commits } from "./commits.ts";
import { commitItems, disposeItems, emptyBatch, prepareBatch, type PreparedBatch } from "./commit.ts";
import { settleLeftOver } from "./epoch-holds.ts";
import { joinKnown } from "./join.ts";
import { backfillDone, type LaneContext, type MailboxLane, scopeOf } from "./lane-state.ts";
import { park } from "./parking.ts";
import { recognise } from "./recognise.ts";
import { missSourcesOf } from "./sources.ts";

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
      (mailbox) =>
        mailbox.selectable &&
        mailbox.cursor !== null &&
        !backfillDone(mailbox) &&
        mailbox.held === 0 &&
        !mailbox.replaced &&
        mailbox.parkedUntil <= Date.now(),
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

/** A batch of nothing, for what only waits its turn. */
const nothing = Promise.resolve(emptyBatch);

/** Between two words on how far an account is. */
const progressMs = 500;

interface Slice {
  readonly context: LaneContext;
  readonly session: Session;
  readonly signal: AbortSignal;
  readonly commits: Commits<PreparedBatch>;
  /** Mailboxes of which a UID may be bound already. Elsewhere nothing below the low mark ever was. */
  readonly partlyBound: Set<MailboxLane>;
  /** Everything from here up is read, though perhaps not committed yet. */
  readonly lowRead: Map<MailboxLane, number>;
  /** What was read comes from before this slice, and so was gone from where it had been before these were looked at. */
  readonly settled: Set<MailboxId>;
}

const lowOf = (slice: Slice, mailbox: MailboxLane): number => slice.lowRead.get(mailbox) ?? mailbox.backfillLow ?? 1;

/** Is it open of a mailbox which mail it has after it was numbered anew? */
const isRenumbered = ({ mailboxes }: LaneContext): boolean =>
  [...mailboxes.values()].some((mailbox) => mailbox.epoch > 0 && !backfillDone(mailbox));

/** The batch and, where `low` is given, the word that everything from there up is read. */
const commitBatch = async (slice: Slice, mailbox: MailboxLane, batch: PreparedBatch, low: number | null): Promise<void> => {
  const { cursor } = mailbox;
  if (cursor === null) return;
  const move = low === null ? null : { cursor, backfillLow: low, audited: low <= 1 };
  // What a new epoch shows beside the mail that was there may have been moved here, as may what another one does not show any more.
  if (mailbox.late || mailbox.epoch > 0 || isRenumbered(slice.context)) await missSourcesOf(slice.context, slice, mailbox, batch);
  await commitItems(slice.context, mailbox, { batch, reason: "backfilled", move, unbound: !slice.partlyBound.has(mailbox) });
};

/** Hands a batch over: its octets begin to be stored at once, its rows are committed in turn. */
const handOver = async (slice: Slice, mailbox: MailboxLane, items: readonly FetchedItem[], low: number | null): Promise<void> => {
  const bytes = items.reduce((sum, { octets }) => sum + (octets?.size ?? 0), 0);
  await slice.commits.add(prepareBatch(slice.context, items), bytes, {
    commit: (batch) => commitBatch(slice, mailbox, batch, low),
    release: () => disposeItems(items),
  });
  // Large messages lie in files, which the end of the fetch removes.
  if (items.some(({ octets }) => octets !== null && octets.size > partSize)) await slice.commits.drain();
};

/** UIDs below the low mark that are bound: an earlier run was cut off in the middle of a range. */
const boundBefore = async (slice: Slice, mailbox: MailboxLane): Promise<number[]> => {
  const { context } = slice;
  const bindings = await inAccount(context.db, context.fence, context.accountId, (account) =>
    loadBindingsBelow(account, scopeOf(context, mailbox), lowOf(slice, mailbox)),
  );
  if (bindings.length > 0) slice.partlyBound.add(mailbox);
  return bindings.flatMap(({ uid, active }) => (active ? [uid] : []));
};

/** Reads ranges of one mailbox. @returns how many messages came. */
const fetchRanges = async (slice: Slice, mailbox: MailboxLane, planned: readonly UidRange[]): Promise<number> => {
  const { session, signal } = slice;
  const bound = await boundBefore(slice, mailbox);
  const asked = planned.map((range) => ({ range, parts: withoutBound(range, bound) }));
  // A planned range is done when the last of its parts is.
  const lowAfter = new Map<string, number>();
  for (const { range, parts } of asked) {
    const last = parts.at(-1);
    if (last !== undefined) lowAfter.set(`${last.from}:${last.to}`, range.from);
  }
  const ranges = asked.flatMap(({ parts }) => parts);
  const lowest = planned.at(-1)?.from ?? 1;
  const request = { path: mailbox.path, uidValidity: mailbox.cursor?.uidValidity ?? 0, ranges };
  let read = 0;
  // How far the reading came, and how far the commits on their way say it came.
  let low: number | null = null;
  let told = lowOf(slice, mailbox);
  if (ranges.length > 0)
    for await (const { items, rangeDone } of session.fetch(request, signal)) {
      low = (rangeDone === null ? null : lowAfter.get(`${rangeDone.from}:${rangeDone.to}`)) ?? low;
      // The end of a range that comes alone waits for the next batch: one transaction says both.
      if (items.length === 0) continue;
      read += items.length;
      told = low ?? told;
      await handOver(slice, mailbox, items, low);
    }
  if (lowest < told) await slice.commits.add(nothing, 0, { commit: (batch) => commitBatch(slice, mailbox, batch, lowest) });
  slice.lowRead.set(mailbox, lowest);
  return read;
};

const noteProgress = async (context: LaneContext, startedAt: Date | null): Promise<void> => {
  let done = 0;
  let total = 0;
  for (const mailbox of context.mailboxes.values()) {
    done += mailbox.bound;
    total += backfillDone(mailbox) || mailbox.held > 0 ? mailbox.bound : Math.max(mailbox.exists, mailbox.bound);
  }
  await inAccount(context.db, context.fence, context.accountId, (account) =>
    writeProgress(account, context.endpointId, { done, total, startedAt }),
  );
};

/** What is known of a mailbox is bound before anything of it is read. */
const compareKnown = async (slice: Slice, mailbox: MailboxLane, until: number): Promise<void> => {
  const { context, session, signal, commits } = slice;
  await commits.drain();
  const ranges = (): UidRange[] => planRanges(mailbox, Number.POSITIVE_INFINITY);
  if (!(await recognise(context, session, mailbox, { ranges, until }, signal))) return;
  if (mailbox.replaced) return;
  const rest = [{ from: 1, to: lowOf(slice, mailbox) - 1 }];
  if (mailbox.held === 0) await joinKnown(context, session, mailbox, { ranges: rest, reason: "backfilled" }, signal);
  if (mailbox.epoch > 0) await settleLeftOver(context, mailbox);
};

/** What fails for one mailbox alone leaves the others their turn. What came of it before is stored; its low mark says how far. */
const guarded = async (slice: Slice, mailbox: MailboxLane, work: () => Promise<void>): Promise<void> => {
  try {
    await work();
  } catch (error) {
    // A failure of an earlier commit is told here, and is nobody's in particular.
    await slice.commits.drain();
    // Nothing is wrong with it: the next look begins its new epoch.
    if (error instanceof SyncError && error.code === "mailbox_renumbered") throw error;
    await park(slice.context, mailbox, error, slice.session);
    slice.lowRead.delete(mailbox);
  }
};

const readUntil = async (slice: Slice, began: number): Promise<void> => {
  const { context } = slice;
  let read = 0;
  let noted = performance.now();
  for (;;) {
    const mailbox = inReadingOrder(context.mailboxes.values()).find((candidate) => lowOf(slice, candidate) > 1);
    const elapsed = Date.now() - began;
    if (mailbox === undefined || elapsed >= sliceMs) return;
    if (!mailbox.compared) {
      await guarded(slice, mailbox, () => compareKnown(slice, mailbox, began + sliceMs));
      continue;
    }
    // What this account's server gave so far tells how much fits into the rest of the slice.
    const fits = read === 0 ? firstRanges : Math.floor((read * (sliceMs - elapsed)) / Math.max(1, elapsed) / batchMessages);
    const { cursor, exists } = mailbox;
    const ranges = planRanges({ backfillLow: lowOf(slice, mailbox), cursor, exists }, Math.min(mostRanges, Math.max(1, fits)));
    await guarded(slice, mailbox, async () => {
      read += await fetchRanges(slice, mailbox, ranges);
      if (mailbox.epoch > 0) await slice.commits.add(nothing, 0, { commit: () => settleLeftOver(context, mailbox) });
    });
    if (performance.now() - noted < progressMs) continue;
    noted = performance.now();
    await slice.commits.add(nothing, 0, { commit: () => noteProgress(context, null) });
  }
};

/**
 * Reads for about five seconds. @returns whether more is left.
 * Crash-safe at every point: a range counts as read only in the transaction that stored its last item.
 */
export const runBackfillSlice = async (context: LaneContext, session: Session, signal: AbortSignal): Promise<boolean> => {
  const slice: Slice = {
    context,
    session,
    signal,
    commits: new Commits(),
    partlyBound: new Set(),
    lowRead: new Map(),
    settled: new Set(),
  };
  const began = Date.now();
  await noteProgress(context, new Date(began));
  try {
    await readUntil(slice, began);
  } finally {
    // Whatever happened, nothing of this slice is written once it has returned.
    await slice.commits.drain();
  }
  await noteProgress(context, null);
  return backfillPending(context);
};
