/**
 * When a hold of breaker B1 ends by itself (semantics 4.4, release c): the same absence in two more complete cuts, at least 15
 * minutes and at least 6 hours later. Kept per hold, judged per item: what vanished later waits for itself, and does not make
 * the others wait. Instants are milliseconds since 1970, given by the caller.
 */

/** The complete cuts in which a hold's items were missing. */
export interface CutHistory {
  /** Of the mailbox, or of the maildrop; in a new one absences of the old one prove nothing (I12). */
  readonly epoch: number;
  /** The first cut of this epoch. */
  readonly from: number;
  /** Instants of cuts, ascending, a quarter of an hour or more apart. */
  readonly cuts: readonly number[];
  /** Of breaker B3: what was lost. */
  readonly keywords?: readonly string[];
}

const confirmMs = 15 * 60_000;
const releaseMs = 6 * 3_600_000;
/** More than there are quarters of an hour between an absence and its release. */
const cutsMost = 64;

/** The history with one cut more; the same object where that cut tells nothing new. */
export const withCut = (
  history: CutHistory | null,
  { epoch, at }: { readonly epoch: number; readonly at: number },
): CutHistory => {
  if (history?.epoch !== epoch) return { epoch, from: at, cuts: [at] };
  if (at - (history.cuts.at(-1) ?? history.from) < confirmMs) return history;
  return { ...history, cuts: [...history.cuts, at].slice(-cutsMost) };
};

/** May an item that is missing since `absentSince`, and in the cut at `at` too, be let go of? `history` is that before this cut. */
export const mayRelease = (
  history: CutHistory | null,
  { epoch, absentSince, at }: { readonly epoch: number; readonly absentSince: number; readonly at: number },
): boolean => {
  if (history?.epoch !== epoch) return false;
  const since = Math.max(absentSince, history.from);
  return at - since >= releaseMs && history.cuts.some((cut) => cut < at && cut - since >= confirmMs);
};
