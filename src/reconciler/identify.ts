/**
 * Which message and which placement each item of a POP3 listing is (semantics 2.4, K10, K12). Of all that could be read to find
 * out, the least is asked for: nothing where the unique-id tells the UID, else the header block, the body only where that is not
 * enough. Message-IDs are not even looked at: they are repeated, missing and forged (L6 never binds).
 *
 * Identical items stay several: each takes one placement of its own, so that numbers agree on both sides. The cost is that of
 * sorting. Hashes are hex, sizes octets.
 */
import type { MessageId, PlacementId } from "../model/ids.ts";
import type { ListedItem, UidlMeaning } from "../model/maildrop.ts";

/** An item that has no active binding yet, and what is known of it so far. */
export interface UnknownItem extends ListedItem {
  /** By a codec that was learned and holds (ID-10); null: the unique-id says nothing. */
  readonly meaning: UidlMeaning | null;
  /** Of `TOP n 0`: hash of the normal form, and octets of fields that it lacks. null: not read. */
  readonly head: { readonly hHead: string; readonly dropped: number } | null;
  /** Of the whole message, whose octets are durable. null: not read. `hSem` null: not computed. */
  readonly body: { readonly sha256: string; readonly hFull: string; readonly hSem: string | null } | null;
}

/**
 * How a placement without an active binding at this POP3 endpoint stands. `imap`: actively bound in the present epoch of the
 * IMAP INBOX. `absent`: missing at this endpoint and not decided. `unbound`: live, its binding here closed with an epoch.
 */
export type Standing = "imap" | "absent" | "unbound" | "kept" | "removed";

export interface Claimable {
  readonly id: PlacementId;
  readonly messageId: MessageId;
  readonly standing: Standing;
  /** UID of the IMAP binding; null but for `imap`. */
  readonly uid: number | null;
  readonly objectId: string | null;
  readonly sha256: string | null;
  readonly hFull: string | null;
  readonly hHead: string | null;
  readonly hSem: string | null;
  /** Octets as they are stored; null: none are. */
  readonly octets: number | null;
  /** Of its fingerprint: with bare LF counted as CRLF and without the fields that the normal form lacks; null: not known. */
  readonly size: number | null;
}

export interface IdentifyInput {
  /** In listing order. */
  readonly items: readonly UnknownItem[];
  /** Every placement that one of the items may be by what is known of it so far. Of removed ones those that can still be brought back (ID-5d). */
  readonly claimable: readonly Claimable[];
  /** Messages with the octets (`sha256`), the normal form (`hFull`) or the meaning (`hSem`) of an item that was read. */
  readonly known: ReadonlyMap<string, MessageId>;
  /** `none`: there is none, or it is down. `behind`: its scan of INBOX is older than the listing, or not complete. */
  readonly imap: "none" | "behind" | "scanned";
  /** Does an endpoint of the account make up messages anew at each reading (byte_fidelity)? Only then L5 is looked at. */
  readonly regenerated: boolean;
}

export type Level = "L1" | "L2" | "L3" | "L4" | "L5";

export type Identified =
  | {
      readonly kind: "bind";
      readonly placementId: PlacementId;
      readonly messageId: MessageId;
      readonly level: Level;
      readonly rule: "ID-3" | "ID-4" | "ID-5a" | "ID-5b" | "ID-5c" | "ID-5d";
      readonly confidence: number;
    }
  /** A new placement of a message that is there already: `messageId`, or that of the item with index `sameAs`. */
  | { readonly kind: "copy"; readonly rule: "ID-5e"; readonly level: Level; readonly of: MessageId | { readonly sameAs: number } }
  | { readonly kind: "create"; readonly rule: "ID-7" }
  /** A placement whose octets IMAP will bring; it is merged with the IMAP item then. */
  | { readonly kind: "provisional"; readonly rule: "K12" }
  /** Read the header block and ask again. */
  | { readonly kind: "head" }
  /** Read the message and ask again. `ambiguous`: its headers could be those of several messages. */
  | { readonly kind: "body"; readonly because: "unmatched" | "ambiguous" };

export interface Identification {
  /** One for each item, in order. */
  readonly items: readonly Identified[];
  /** Items whose header is not that of the UID in their unique-id: the codec is to be forgotten (ID-10). None was used then. */
  readonly contradictions: readonly number[];
}

const confidenceOf: Readonly<Record<Level, number>> = { L1: 0.99, L2: 0.99, L3: 0.97, L4: 0.9, L5: 0.8 };
/** The order of ID-5, behind a placement that the IMAP side shows at this moment. */
const rank: Readonly<Record<Standing, number>> = { imap: 0, absent: 1, unbound: 2, kept: 3, removed: 4 };
const ruleOf = { imap: "ID-4", absent: "ID-5a", unbound: "ID-5b", kept: "ID-5c", removed: "ID-5d" } as const;
/** Two line ends: so much more or less is shown of one mail at its end (semantics 2.2, step 3). */
export const sizeTolerance = 4;
/** SHA-256 of nothing: messages without a header block have only that in common. */
const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

const byStanding = (a: Claimable, b: Claimable): number =>
  rank[a.standing] - rank[b.standing] || (a.uid ?? 0) - (b.uid ?? 0) || (a.id < b.id ? -1 : 1);

/** Placements by a key, each given out once over all keys, the likeliest first (ID-5, ID-6). */
class Pools {
  private readonly queues = new Map<string, { readonly members: Claimable[]; next: number }>();
  private readonly taken: Set<PlacementId>;

  constructor(taken: Set<PlacementId>) {
    this.taken = taken;
  }

  /** Members have to be added in the order in which they are to be given out. */
  add(key: string, member: Claimable): void {
    const queue = this.queues.get(key);
    if (queue === undefined) this.queues.set(key, { members: [member], next: 0 });
    else queue.members.push(member);
  }

  take(key: string): Claimable | null {
    const queue = this.queues.get(key);
    if (queue === undefined) return null;
    for (; queue.next < queue.members.length; queue.next += 1) {
      const member = queue.members[queue.next];
      if (member === undefined || this.taken.has(member.id)) continue;
      this.taken.add(member.id);
      return member;
    }
    return null;
  }
}

const bind = (placement: Claimable, level: Level, rule?: "ID-3"): Identified => ({
  kind: "bind",
  placementId: placement.id,
  messageId: placement.messageId,
  level,
  rule: rule ?? ruleOf[placement.standing],
  confidence: confidenceOf[level],
});

interface Matching {
  readonly input: IdentifyInput;
  /** In the order of ID-5 and ID-6. */
  readonly claimable: readonly Claimable[];
  readonly taken: Set<PlacementId>;
  readonly found: (Identified | null)[];
}

const contradictionsOf = (items: readonly UnknownItem[], byUid: ReadonlyMap<number, Claimable>): number[] =>
  items.flatMap(({ meaning, head }, index) => {
    const claimed = meaning?.kind === "item" ? byUid.get(meaning.uid) : undefined;
    const differ = head !== null && claimed !== undefined && claimed.hHead !== null && claimed.hHead !== head.hHead;
    return differ ? [index] : [];
  });

/** Where the sizes differ the id alone is not believed: its item's header block has to say the same (ID-11). */
const isLikely = ({ head, size }: UnknownItem, { octets }: Claimable): boolean =>
  head !== null || octets === null || Math.abs(size - octets) <= sizeTolerance;

/** ID-3 and, where unique-ids are object ids, L1: no read at all. Answers which unique-ids were caught lying. */
const matchUidls = ({ input, claimable, taken, found }: Matching): readonly number[] => {
  const byUid = new Map<number, Claimable>();
  const byObject = new Pools(taken);
  for (const placement of claimable) {
    if (placement.uid !== null) byUid.set(placement.uid, placement);
    if (placement.objectId !== null && placement.standing === "imap") byObject.add(placement.objectId, placement);
  }
  const contradictions = contradictionsOf(input.items, byUid);
  if (contradictions.length > 0) return contradictions;
  input.items.forEach((item, index) => {
    const { meaning } = item;
    if (meaning?.kind === "item") {
      const placement = byUid.get(meaning.uid);
      if (placement === undefined || taken.has(placement.id) || !isLikely(item, placement)) return;
      taken.add(placement.id);
      found[index] = bind(placement, "L2", "ID-3");
    } else if (meaning?.kind === "content") {
      const placement = byObject.take(meaning.objectId);
      if (placement !== null) found[index] = bind(placement, "L1", "ID-3");
    }
  });
  return contradictions;
};

/** ID-4 by L3 (L5 where messages are made up anew): items that were read have their answer after this. */
const matchBodies = ({ input, claimable, taken, found }: Matching): void => {
  const pools = new Pools(taken);
  const messages = new Map(input.known);
  for (const placement of claimable)
    for (const key of new Set([placement.sha256, placement.hFull, input.regenerated ? placement.hSem : null])) {
      if (key === null) continue;
      pools.add(key, placement);
      messages.set(key, placement.messageId);
    }
  const madeHere = new Map<string, number>();
  input.items.forEach(({ body }, index) => {
    if (body === null || found[index] !== null) return;
    const keys = [body.sha256, body.hFull, ...(input.regenerated && body.hSem !== null ? [body.hSem] : [])];
    const levelOf = (key: string): Level => (key === body.sha256 || key === body.hFull ? "L3" : "L5");
    for (const key of keys) {
      const placement = pools.take(key);
      if (placement === null) continue;
      found[index] = bind(placement, levelOf(key));
      return;
    }
    for (const key of keys) {
      const sameAs = madeHere.get(key);
      const of = messages.get(key) ?? (sameAs === undefined ? null : { sameAs });
      if (of === null) continue;
      found[index] = { kind: "copy", rule: "ID-5e", level: levelOf(key), of };
      return;
    }
    for (const key of keys) madeHere.set(key, index);
    found[index] = { kind: "create", rule: "ID-7" };
  });
};

/** Distances from a size, the smallest first: 0, 1, -1, 2, … */
const distances = Array.from({ length: 2 * sizeTolerance + 1 }, (_, n) => (n % 2 === 0 ? -n / 2 : (n + 1) / 2));

/** Placements with one header hash and one size. */
interface Alike {
  /** null: they are of different messages. */
  content: string | null;
  count: number;
}

/** The keys of what has these headers and about this size, the nearest size first. */
const keysNear = (head: { readonly hHead: string; readonly dropped: number }, size: number): string[] =>
  distances.map((distance) => `${head.hHead} ${size - head.dropped + distance}`);

/**
 * ID-4 by L4. Headers bind only to a placement that is there, never make one: what they do not tell is in the body, and mail
 * whose body nobody read can be lost. So the body has to tell where several different messages have these headers and this
 * size, and where more items have them than placements: one of those may be another message. A removed placement needs more
 * than headers to come back (P7).
 */
const matchHeads = ({ input, claimable, taken, found }: Matching): void => {
  const pools = new Pools(taken);
  const supply = new Map<string, Alike>();
  for (const placement of claimable) {
    const { hHead, size, standing } = placement;
    if (hHead === null || hHead === emptyHash || size === null || standing === "removed" || taken.has(placement.id)) continue;
    const key = `${hHead} ${size}`;
    const content = placement.hFull ?? placement.sha256 ?? placement.messageId;
    const alike = supply.get(key);
    if (alike === undefined) supply.set(key, { content, count: 1 });
    else {
      if (alike.content !== content) alike.content = null;
      alike.count += 1;
    }
    pools.add(key, placement);
  }
  const asking = input.items.flatMap(({ head, body, size }, index) =>
    head === null || body !== null || found[index] !== null ? [] : [{ index, keys: keysNear(head, size) }],
  );
  const demand = new Map<string, number>();
  for (const { keys } of asking) demand.set(keys[0] ?? "", (demand.get(keys[0] ?? "") ?? 0) + 1);
  for (const { index, keys } of asking) {
    const near = keys.flatMap((key) => supply.get(key) ?? []);
    if (near.length === 0) continue;
    const offered = near.reduce((sum, { count }) => sum + count, 0);
    const wanted = keys.reduce((sum, key) => sum + (demand.get(key) ?? 0), 0);
    const one = near.every(({ content }) => content !== null && content === near[0]?.content);
    const placement = one && wanted <= offered ? takeFirst(pools, keys) : null;
    found[index] = placement === null ? { kind: "body", because: "ambiguous" } : bind(placement, "L4");
  }
};

const takeFirst = (pools: Pools, keys: readonly string[]): Claimable | null => {
  for (const key of keys) {
    const placement = pools.take(key);
    if (placement !== null) return placement;
  }
  return null;
};

/** What is to be done about an item that is none of those we have, as far as it was read. */
const ask = ({ meaning, head }: UnknownItem, { imap, meant }: { imap: IdentifyInput["imap"]; meant: boolean }): Identified => {
  // Its UID is known and IMAP will bring it: nothing has to be read over POP3 (K10).
  if (imap === "behind" && meant && meaning?.kind === "item") return { kind: "provisional", rule: "K12" };
  if (head === null) return { kind: "head" };
  return imap === "behind" ? { kind: "provisional", rule: "K12" } : { kind: "body", because: "unmatched" };
};

/**
 * Decides for the unknown items of one listing. Answers that ask for a read are not final: give what was read with the whole
 * listing again. The same input has the same answer, and no placement is given to two items (I13).
 */
export const identify = (input: IdentifyInput): Identification => {
  const taken = new Set<PlacementId>();
  const found = input.items.map((): Identified | null => null);
  const matching: Matching = { input, claimable: input.claimable.toSorted(byStanding), taken, found };
  const contradictions = matchUidls(matching);
  matchBodies(matching);
  matchHeads(matching);
  const how = { imap: input.imap, meant: contradictions.length === 0 };
  return { items: input.items.map((item, index) => found[index] ?? ask(item, how)), contradictions };
};
