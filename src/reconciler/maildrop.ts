/** A POP3 listing against the unique-ids that are bound (semantics ID-9): what stayed, what went, and whether ids began anew. */
import type { ListedItem } from "../model/maildrop.ts";

export interface MaildropInput {
  /** Items with an active binding, with the size that was listed when they were bound. */
  readonly known: readonly ListedItem[];
  /** One complete listing (gate G2), in its order. */
  readonly listed: readonly ListedItem[];
  /** False where the server estimates sizes (byte_fidelity `regenerated`): a new size proves nothing there. */
  readonly sizesCount: boolean;
  /** Keys of items that are out of the server's view (G9). */
  readonly slid: ReadonlySet<string>;
}

/** An item that was known and its place in the new listing: indexes into `known` and `listed`. */
export interface Pair {
  readonly known: number;
  readonly listed: number;
}

export interface MaildropReading {
  readonly same: readonly Pair[];
  /** Items of one group of duplicates whose ids the server numbered anew: their bindings get the new id (ID-9b). */
  readonly renamed: readonly Pair[];
  /** Indexes into `known`. Candidates for a decision, never a removal by themselves. */
  readonly gone: readonly number[];
  /** Indexes into `known`: out of view. */
  readonly slid: readonly number[];
  /** Indexes into `listed`. */
  readonly fresh: readonly number[];
  /**
   * Set when the ids of the last epoch mean nothing any more: every binding is then closed with it, and every listed item is
   * identified anew, by its headers where the id does not tell. Nothing is taken to be gone.
   */
  readonly newEpoch: "ids_replaced" | "id_reused" | null;
}

/** Names one item of a maildrop. */
export const keyOf = ({ uidl, occurrence }: Pick<ListedItem, "uidl" | "occurrence">): string => `${occurrence} ${uidl}`;

/** Dovecot's `pop3_uidl_duplicates=rename` appends -2, -3, … and does so anew when one of the group is gone. */
const stemOf = (uidl: string): string => /^(.+)-(?:[2-9]|[1-9]\d{1,4})$/.exec(uidl)?.[1] ?? uidl;

/**
 * ID-9b. A group is one of duplicates only where the bare id is listed too: in `uidvalidity-uid` all mail has one stem. Sizes
 * have to be equal; octets are, so that any pairing within the group is right.
 */
const pairRenamed = (
  { known, listed }: MaildropInput,
  { gone, fresh }: { gone: readonly number[]; fresh: readonly number[] },
): Pair[] => {
  const bare = new Set(listed.map(({ uidl }) => uidl));
  const groupOf = ({ uidl, size }: ListedItem): string => `${size} ${stemOf(uidl)}`;
  const waiting = new Map<string, number[]>();
  for (const index of gone) {
    const item = known[index];
    if (item === undefined || !bare.has(stemOf(item.uidl))) continue;
    const group = waiting.get(groupOf(item));
    if (group === undefined) waiting.set(groupOf(item), [index]);
    else group.push(index);
  }
  for (const group of waiting.values()) group.reverse();
  return fresh.flatMap((index) => {
    const item = listed[index];
    const partner = item === undefined ? undefined : waiting.get(groupOf(item))?.pop();
    return partner === undefined ? [] : [{ known: partner, listed: index }];
  });
};

/**
 * So few items may come and go in a day without any id having begun anew. Of more, half as many new ones are enough: mail that
 * was deleted just before ids began anew must not make two of all that is left. What none of them continues is missed as ever.
 */
const replacedAtLeast = 5;

/** The reading of a listing whose ids began anew. */
export const readAnew = (listed: readonly ListedItem[], newEpoch: NonNullable<MaildropReading["newEpoch"]>): MaildropReading => ({
  same: [],
  renamed: [],
  gone: [],
  slid: [],
  fresh: [...listed.keys()],
  newEpoch,
});

/** Compares one complete listing with what is bound. */
export const readMaildrop = (input: MaildropInput): MaildropReading => {
  const { known, listed } = input;
  const places = new Map(listed.map((item, index) => [keyOf(item), index]));
  const same: Pair[] = [];
  const missing: number[] = [];
  const slid: number[] = [];
  let reused = false;
  for (const [index, item] of known.entries()) {
    const place = places.get(keyOf(item));
    if (place === undefined) (input.slid.has(keyOf(item)) ? slid : missing).push(index);
    else {
      same.push({ known: index, listed: place });
      if (input.sizesCount && listed[place]?.size !== item.size) reused = true;
    }
  }
  const found = new Set(same.map((pair) => pair.listed));
  const unknown = [...listed.keys()].filter((index) => !found.has(index));
  const renamed = pairRenamed(input, { gone: missing, fresh: unknown });
  const renamedKnown = new Set(renamed.map((pair) => pair.known));
  const renamedListed = new Set(renamed.map((pair) => pair.listed));
  const gone = missing.filter((index) => !renamedKnown.has(index));
  const fresh = unknown.filter((index) => !renamedListed.has(index));
  const replaced = gone.length >= replacedAtLeast && gone.length >= 0.5 * known.length && 2 * fresh.length >= gone.length;
  const newEpoch = reused ? "id_reused" : replaced ? "ids_replaced" : null;
  return newEpoch === null ? { same, renamed, gone, slid, fresh, newEpoch } : readAnew(listed, newEpoch);
};
