/**
 * A mailbox that its server numbers anew: which placement each of its items is, by what tells mail without its octets, and whether
 * it is the old mailbox at all (semantics ID-6, ID-8, B4). What is left over is told by octets (L3), as any other item is. The cost
 * is linear. Instants are milliseconds since 1970.
 */
import type { MessageId, PlacementId } from "../model/ids.ts";
import { type Decision, emptyDraft, type PlacementView, record, type Scope } from "./state.ts";

/** What tells a mail by its header block (L4): base64 hash of the normal form, and octets of all without what this form lacks. */
export const headKey = (hHead: string, size: number): string => `${hHead} ${size}`;

/** A placement that stands in the mailbox without an item. */
export interface Unbound {
  readonly placementId: PlacementId;
  readonly messageId: MessageId;
  /** By which the server knows the content (L1); null: it told none. */
  readonly objectId: string | null;
  /** Octets that are stored of it; 0: none. */
  readonly size: number;
  /** Head key of its stored octets; null: none are stored, or there is no header block. */
  readonly head: string | null;
  readonly receivedAt: number;
  /** Of its last item. */
  readonly uid: number;
  readonly flags: readonly string[];
  /** Its octets were destroyed, and it is to go there, too; absent: they were not. */
  readonly purged?: true;
  /** It is gone here, and is to be removed there, too; absent: it is live. */
  readonly doomed?: true;
}

export interface NumberedItem {
  readonly uid: number;
  readonly objectId: string | null;
  /** In octets, as the server lists it. */
  readonly size: number;
  /** Head key; null: it has no header block, or that was not asked for. */
  readonly head: string | null;
  readonly receivedAt: number;
  readonly flags: readonly string[];
}

export interface Rebound {
  readonly uid: number;
  readonly placementId: PlacementId;
  readonly level: "L1" | "L4";
}

/** A group of things that look alike, in order, each given out once. */
class Queues<T> {
  private readonly queues = new Map<string, { readonly members: T[]; next: number }>();

  add(key: string, member: T): void {
    const queue = this.queues.get(key);
    if (queue === undefined) this.queues.set(key, { members: [member], next: 0 });
    else queue.members.push(member);
  }

  take(key: string, isFree: (member: T) => boolean): T | null {
    const queue = this.queues.get(key);
    if (queue === undefined) return null;
    for (; queue.next < queue.members.length; queue.next += 1) {
      const member = queue.members[queue.next];
      if (member !== undefined && isFree(member)) return member;
    }
    return null;
  }
}

const printOf = (flags: readonly string[]): string =>
  flags
    .map((flag) => flag.toLowerCase())
    .filter((flag) => flag !== "\\recent")
    .toSorted()
    .join(" ");

type Likeness = (item: { readonly receivedAt: number; readonly flags: readonly string[] }) => string;

/** ID-6: of equals, those of one date and equal flags first, then of one date, then in the order of their UIDs. */
const likenesses: readonly Likeness[] = [
  ({ receivedAt, flags }) => `${receivedAt} ${printOf(flags)}`,
  ({ receivedAt }) => String(receivedAt),
  () => "",
];

const pairAlike = (old: readonly Unbound[], items: readonly NumberedItem[], level: Rebound["level"]): Rebound[] => {
  const pairs: Rebound[] = [];
  const taken = new Set<PlacementId>();
  let waiting = items;
  for (const likeness of likenesses) {
    const queues = new Queues<Unbound>();
    for (const one of old) if (!taken.has(one.placementId)) queues.add(likeness(one), one);
    const left: NumberedItem[] = [];
    for (const item of waiting) {
      const found = queues.take(likeness(item), ({ placementId }) => !taken.has(placementId));
      if (found === null) left.push(item);
      else {
        taken.add(found.placementId);
        pairs.push({ uid: item.uid, placementId: found.placementId, level });
      }
    }
    waiting = left;
  }
  return pairs;
};

/**
 * I2: what is doomed is destroyed there as the item that it is taken for, so that its octets have to tell which one that is; of what
 * was purged nobody has any.
 */
const mayPair = ({ doomed, purged }: Unbound): boolean => doomed !== true || purged === true;

/**
 * Neither ids nor headers tell apart what differs in its body only (Dovecot's mbox makes its ids of header blocks), nor which of
 * more items than placements is the new one (ID-4): two copies of one mail have one id (RFC 8474 5.2), and it is no evidence of
 * either.
 */
const tellsApart = (old: readonly Unbound[], items: readonly NumberedItem[]): boolean =>
  items.length <= old.filter(mayPair).length && old.every(({ messageId }) => messageId === old[0]?.messageId);

const byKey = <T>(members: readonly T[], key: (member: T) => string | null): Map<string, T[]> => {
  const groups = new Map<string, T[]>();
  for (const member of members) {
    const at = key(member);
    if (at === null) continue;
    const group = groups.get(at);
    if (group === undefined) groups.set(at, [member]);
    else group.push(member);
  }
  return groups;
};

type Told = Pick<Unbound, "objectId" | "size" | "head" | "receivedAt" | "purged">;
type Key = (one: Told) => string | null;

/** Ids that a server gives to contents of more than one size: these tell nothing, of whatever size. */
const repeatedIds = (told: readonly Told[]): ReadonlySet<string> => {
  const repeated = new Set<string>();
  const sizes = new Map<string, number>();
  for (const { objectId, size } of told) {
    if (objectId === null || size === 0) continue;
    if ((sizes.get(objectId) ?? size) !== size) repeated.add(objectId);
    sizes.set(objectId, size);
  }
  return repeated;
};

const idWithSize: Key = ({ objectId, size }) => (objectId === null ? null : `${objectId} ${size}`);
const idWithDate: Key = ({ objectId, receivedAt }) => (objectId === null ? null : `${objectId} ${receivedAt}`);
const headAlone: Key = ({ head }) => head;

/**
 * From strong to weak, each with the key of placements and that of items. An id of the server's is believed where the size agrees
 * with it, and of what was purged, whose size nobody knows any more, where the date does.
 */
const levels: readonly (readonly [Rebound["level"], Key, Key])[] = [
  ["L1", idWithSize, idWithSize],
  ["L1", (one) => (one.purged === true ? idWithDate(one) : null), idWithDate],
  ["L4", headAlone, headAlone],
];

/** What was purged takes its item with it: where the server's id says that this may be what is live, it is told by octets. */
const liveFirst = (old: readonly Unbound[], pairs: readonly Rebound[]): Rebound[] => {
  const bound = new Set(pairs.map(({ placementId }) => placementId));
  const live = new Set(old.flatMap((one) => (one.doomed === true || bound.has(one.placementId) ? [] : [one.objectId])));
  const doubtful = new Set(old.flatMap((one) => (one.purged === true && live.has(one.objectId) ? [one.placementId] : [])));
  return pairs.filter(({ placementId }) => !doubtful.has(placementId));
};

type Levels = readonly (readonly [Rebound["level"], Key, Key])[];

/** Without ids that tell nothing. */
const levelsFor = (told: readonly Told[]): Levels => {
  const repeated = repeatedIds(told);
  const isTold = ({ objectId }: Told): boolean => objectId === null || !repeated.has(objectId);
  const guarded =
    (key: Key): Key =>
    (one) =>
      isTold(one) ? key(one) : null;
  return levels.map(([level, ofOld, ofItem]) =>
    level === "L1" ? [level, guarded(ofOld), guarded(ofItem)] : [level, ofOld, ofItem],
  );
};

/**
 * Pairs items with placements 1:1, by L1 and then by L4. Both ascending by UID; the same input has the same answer, and nothing is
 * paired twice (I13). What is doomed is left to octets, but stands among those that an item may be.
 */
export const rebind = (old: readonly Unbound[], items: readonly NumberedItem[]): Rebound[] => {
  const pairs: Rebound[] = [];
  for (const [level, keyOfOld, keyOfItem] of levelsFor([...old, ...items])) {
    const bound = new Set<number | PlacementId>(pairs.flatMap(({ uid, placementId }) => [uid, placementId]));
    const free = byKey(
      old.filter(({ placementId }) => !bound.has(placementId)),
      keyOfOld,
    );
    const asking = byKey(
      items.filter(({ uid }) => !bound.has(uid)),
      keyOfItem,
    );
    for (const [at, alike] of asking) {
      const candidates = free.get(at) ?? [];
      if (tellsApart(candidates, alike)) pairs.push(...pairAlike(candidates.filter(mayPair), alike, level));
    }
  }
  return liveFirst(old, pairs).sort((a, b) => a.uid - b.uid);
};

/** Counts of a mailbox that was numbered anew. */
export interface EpochCounts {
  /** Placements that had an item in it before. */
  readonly before: number;
  /** Those of them that have one again. */
  readonly rebound: number;
  /** Items listed. */
  readonly listed: number;
}

/** What had an item or not, and whether its octets are stored. */
export interface Judged extends Pick<Unbound, "placementId" | "doomed"> {
  /** It lost its item to the new epoch. */
  readonly lost: boolean;
  readonly sha256: unknown;
}

/**
 * Placements that were found again, and those of which one of several items is the mail, whichever: that is told by octets, and is
 * evidence of the mailbox all the same.
 */
export const recognisable = (
  old: readonly Unbound[],
  items: readonly NumberedItem[],
  pairs: readonly Rebound[],
): ReadonlySet<PlacementId> => {
  const found = new Set(pairs.map(({ placementId }) => placementId));
  const paired = new Set(pairs.map(({ uid }) => uid));
  for (const [, keyOfOld, keyOfItem] of levelsFor([...old, ...items])) {
    const alike = byKey(
      items.filter(({ uid }) => !paired.has(uid)),
      keyOfItem,
    );
    for (const one of old) {
      const item = found.has(one.placementId) ? undefined : alike.get(keyOfOld(one) ?? "")?.pop();
      if (item !== undefined) found.add(one.placementId);
    }
  }
  return found;
};

/**
 * Those by which the mailbox is judged: what has no octets cannot be found again by them, and what was to be removed there may have
 * been, so that only its being there says something.
 */
export const countFound = (old: readonly Judged[], found: ReadonlySet<PlacementId>): Pick<EpochCounts, "before" | "rebound"> => {
  const lost = old.filter((one) => one.lost && (one.doomed !== true || found.has(one.placementId)));
  const stored = lost.filter(({ sha256 }) => sha256 !== null);
  const judged = stored.length > 0 ? stored : lost;
  return { before: judged.length, rebound: judged.filter(({ placementId }) => found.has(placementId)).length };
};

/** So much of what was there has to be found again, and so much of what is listed to be known. */
const share = 0.8;
const enough = 20;

/**
 * The stop rule of ID-8 (isync's): the mailbox is the old one when four in five of its mails are found again, or twenty of them and
 * nothing contradicts, which is where more than one in five of what is listed was never there. Else it is held (B4).
 */
export const acceptsEpoch = ({ before, rebound, listed }: EpochCounts): boolean =>
  rebound >= share * before || (rebound >= enough && rebound >= share * listed);

/** Somebody said that it is another mailbox: what was in the old one is kept here, though no server shows it any more. */
export const keepLeftOver = (scope: Scope, left: readonly PlacementView[], deviceId: string): Decision => {
  const draft = emptyDraft();
  for (const { id, messageId, mailboxId, keywords } of left) {
    const change = record(draft, {
      kind: "message.kept",
      messageId,
      mailboxId,
      placementId: id,
      before: { mailboxId, keywords },
      after: { mailboxId, keywords },
      source: "api",
      endpointId: scope.endpointId,
      deviceId,
      reason: "epoch_rejected",
      rule: "B4",
      confidence: null,
      evidence: [],
    });
    const stays = { id, mailboxId, keywords, lifecycle: "live", kept: true, absent: false } as const;
    draft.placements.push({ ...stays, reason: "epoch_rejected", recoverableDays: null, change });
  }
  return draft;
};
