/**
 * Is what lies under a known number still the mail that was bound to it (semantics ID-11)? Servers were seen to give their numbers to
 * other mail, without a new UIDVALIDITY. Instants are milliseconds since 1970, sizes octets.
 */

/** What a server says of an item without its text; null: nothing. An instant of 0 says nothing either. */
export interface Told {
  readonly objectId: string | null;
  readonly receivedAt: number | null;
  readonly size: number | null;
}

/** What it said when the item was bound, and how many octets it then gave; null: none. */
export interface Remembered extends Told {
  readonly octets: number | null;
}

export interface Contradiction {
  readonly differs: "receivedAt" | "size";
  readonly known: number;
  readonly seen: number;
}

/** Offsets from UTC lie on quarters of an hour, and no two further apart than this, in ms. */
const quarterMs = 900_000;
const offsetsMs = 26 * 3_600_000;

/** It may be the same hour told with another offset from UTC: hMailServer tells its local time with the offset of today. */
const isAnotherOffset = (known: Told, seen: Told, apart: number): boolean =>
  known.size !== null && known.size === seen.size && apart % quarterMs === 0 && Math.abs(apart) <= offsetsMs;

const otherDate = (known: Told, seen: Told): Contradiction | null => {
  const [was, is] = [known.receivedAt, seen.receivedAt];
  // Null and 0 say nothing.
  if (was === null || is === null || was === 0 || is === 0 || was === is) return null;
  return isAnotherOffset(known, seen, is - was) ? null : { differs: "receivedAt", known: was, seen: is };
};

const otherSize = ({ size: was, octets }: Remembered, { size: is }: Told): Contradiction | null =>
  was === null || is === null || was === is || was !== octets ? null : { differs: "size", known: was, seen: is };

/**
 * The same id of the content is the server's own word, and a date says nothing beside it: what is restored from a backup has other ones.
 * Another id says nothing: a server that is upgraded, or another node of it, has ids of another kind for the same mail.
 * A size may be a guess (Exchange): it tells something only where it was that of the octets.
 */
export const contradictionOf = (known: Remembered, seen: Told): Contradiction | null => {
  const isVouchedFor = known.objectId !== null && known.objectId === seen.objectId;
  return (isVouchedFor ? null : otherDate(known, seen)) ?? otherSize(known, seen);
};

/** Numbers from which on the next item is looked at, so that `count` of them lie all over a mailbox; others at another instant. */
export const spreadOver = (uidNext: number, count: number, at: number): number[] => {
  const stride = Math.max(1, Math.ceil((uidNext - 1) / count));
  const first = 1 + (at % stride);
  const starts: number[] = [];
  for (let uid = first; uid < uidNext && starts.length < count; uid += stride) starts.push(uid);
  return starts;
};
