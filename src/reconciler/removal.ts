/** The daemon's own removals from a maildrop (semantics K4): what may be marked, and what a listing says has become of it. */
import type { ListedItem } from "../model/maildrop.ts";
import { keyOf } from "./maildrop.ts";

/**
 * Of a listing the items that may be marked in its session, as indexes: those that are due, by unique-id and size. Of items
 * that share a unique-id all or none, for nobody can tell which of them a number will be in the next session (S97).
 */
export const removableItems = (due: readonly ListedItem[], listed: readonly ListedItem[]): readonly number[] => {
  const sizes = new Map(due.map((item) => [keyOf(item), item.size]));
  const isDue = (item: ListedItem): boolean => sizes.get(keyOf(item)) === item.size;
  const barred = new Set(listed.filter((item) => !isDue(item)).map(({ uidl }) => uidl));
  return [...listed.keys()].filter((index) => !barred.has(listed[index]?.uidl ?? ""));
};

/** A removal whose end is not known. Times are in ms since 1970. */
export interface OpenEnd extends ListedItem {
  readonly epoch: number;
  readonly sentAt: number;
  /** It was `left` before; the server may yet do what it was told. */
  readonly givenUp: boolean;
}

export interface RemovalsInput<T extends OpenEnd> {
  readonly open: readonly T[];
  /** One complete listing. */
  readonly listed: readonly ListedItem[];
  readonly epoch: number;
  /** The listing lacks everything, and that is not believed yet (G4). */
  readonly doubtful: boolean;
  readonly now: number;
}

/** Servers were seen to remove after they had answered QUIT (WildDuck); in ms. */
const graceMs = 60_000;

/** `gone`: done, however late. `left`: not done. `open`: not known yet. */
export const readRemovals = <T extends OpenEnd>({ open, listed, epoch, doubtful, now }: RemovalsInput<T>) => {
  const keys = new Set(listed.map(keyOf));
  const ends = { gone: [] as T[], left: [] as T[], open: [] as T[] };
  for (const removal of open) {
    const gone = removal.epoch === epoch && !keys.has(keyOf(removal));
    if (removal.givenUp && !(gone && !doubtful)) continue;
    // Under an id of an earlier epoch nothing can be found any more, present or not (I12).
    if (removal.epoch !== epoch) ends.left.push(removal);
    else if (gone) (doubtful ? ends.open : ends.gone).push(removal);
    else (now - removal.sentAt < graceMs ? ends.open : ends.left).push(removal);
  }
  return ends;
};
