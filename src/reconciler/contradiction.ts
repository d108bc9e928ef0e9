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
  readonly differs: keyof Told;
  readonly known: string | number;
  readonly seen: string | number;
}

const differing = (differs: keyof Told, known: Told, seen: Told): Contradiction | null => {
  const [was, is] = [known[differs], seen[differs]];
  // Null, and 0 of an instant, say nothing.
  if (was === null || is === null || was === is) return null;
  return differs === "receivedAt" && (was === 0 || is === 0) ? null : { differs, known: was, seen: is };
};

/**
 * An id of the content is the server's own word, and a date says nothing beside it: what is restored from a backup has other ones.
 * A size may be a guess (Exchange): it tells something only where it was that of the octets.
 */
export const contradictionOf = (known: Remembered, seen: Told): Contradiction | null => {
  const told = known.objectId !== null && seen.objectId !== null ? "objectId" : "receivedAt";
  return differing(told, known, seen) ?? (known.size === known.octets ? differing("size", known, seen) : null);
};

/** Numbers from which on the next item is looked at, so that `count` of them lie all over a mailbox; others at another instant. */
export const spreadOver = (uidNext: number, count: number, at: number): number[] => {
  const stride = Math.max(1, Math.ceil((uidNext - 1) / count));
  const first = 1 + (at % stride);
  const starts: number[] = [];
  for (let uid = first; uid < uidNext && starts.length < count; uid += stride) starts.push(uid);
  return starts;
};
