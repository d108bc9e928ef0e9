/**
 * What is known of a mailbox while it is being recognised, slice by slice: its placements without an item, and its items. Where the
 * server tells ids of its own, header blocks are read of what those leave over only.
 */
import type { Session } from "../endpoints/endpoint.ts";
import { fingerprintOfHead } from "../mime/fingerprint.ts";
import type { AccountId } from "../model/ids.ts";
import type { FetchRequest, HeadItem, UidRange } from "../model/observation.ts";
import { headKey, type Judged, type NumberedItem, rebind, type Rebound, type Unbound } from "../reconciler/epoch.ts";
import type { Scope } from "../reconciler/state.ts";
import type { Queryable } from "../store/database.ts";
import { listUnwanted, listUnbound, readStoredHeads, type UnboundPage, type UnboundRow } from "../store/epochs.ts";

/** Placements looked up at once. */
const pageSize = 1_000;
/** SHA-256 of nothing: messages without a header block have only that in common. */
const emptyHash = fingerprintOfHead(Buffer.alloc(0)).hHead.toString("base64");

/** What tells a mail by its header block and size (L4); null: it has none. */
export const headKeyOf = (head: Buffer, size: number): string | null => {
  const { hHead, dropped } = fingerprintOfHead(head);
  const hash = hHead.toString("base64");
  return hash === emptyHash ? null : headKey(hash, size - dropped);
};

/** Does the server tell ids of its own for contents (L1)? */
export const tellsIds = ({ profile: { objectIds = "none" } }: Pick<Session, "profile">): boolean => objectIds !== "none";

export interface Listed extends NumberedItem {
  readonly modseq: bigint | null;
}

export const toListed = ({ uid, flags, modseq, internalDate, size, objectId = null, head }: HeadItem): Listed => {
  const key = head.length === 0 ? null : headKeyOf(head, size);
  return { uid, objectId, size, head: key, receivedAt: internalDate.getTime(), flags, modseq };
};

/** Many items have the same few flags: one list for all of them. */
class FlagLists {
  private readonly lists = new Map<string, readonly string[]>();

  of(flags: readonly string[]): readonly string[] {
    const key = flags.join(" ");
    const known = this.lists.get(key);
    if (known !== undefined) return known;
    this.lists.set(key, flags);
    return flags;
  }
}

/** Those of the ranges in which at least one of the UIDs is. Neither has to be in order; it takes n log n. */
export const rangesWith = (ranges: readonly UidRange[], uids: readonly number[]): UidRange[] => {
  const ascending = Float64Array.from(uids).sort();
  return ranges.filter(({ from, to }) => {
    let [low, high] = [0, ascending.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((ascending[middle] ?? 0) < from) low = middle + 1;
      else high = middle;
    }
    return (ascending[low] ?? Infinity) <= to;
  });
};

interface Old extends Omit<Unbound, "head">, Judged {
  head: string | null;
  readonly sha256: Buffer | null;
}

export interface ItemsSource {
  readonly session: Session;
  readonly mailbox: Omit<FetchRequest, "ranges">;
  /** In ms since 1970. */
  readonly until: number;
  readonly signal: AbortSignal;
}

/**
 * What is known of one mailbox while it is being recognised, slice by slice; small, and lost without harm. What is bound already
 * is not among its placements, and its items are skipped.
 */
export class Recognition {
  readonly old: Old[] = [];
  readonly items: Listed[] = [];
  /** What was found; null: not all is read yet. */
  pairs: readonly Rebound[] | null = null;
  /** When it was first listed empty, in ms since 1970 (gate G4); 0: it was not. */
  emptySince = 0;
  /** So many of `pairs` are durable. */
  committed = 0;
  private page: UnboundPage | null = null;
  private loaded = false;
  private readonly flags = new FlagLists();
  private readonly ranges: readonly UidRange[];
  /** What is to be listed without header blocks; null: nobody has asked for ids yet. */
  private unlisted: UidRange[] | null = null;
  /** What is to be read of header blocks, and whose stored ones are; null: it is not known what ids leave over. */
  private unread: { readonly ranges: UidRange[]; readonly old: Old[] } | null = null;

  /** `ranges`: UIDs that are to be recognised, each of some hundred messages. */
  constructor(ranges: readonly UidRange[]) {
    this.ranges = ranges;
  }

  /** Reads the next placements. @returns false when there are no more. */
  async loadMore(db: Queryable, accountId: AccountId, scope: Scope): Promise<boolean> {
    if (this.loaded) return false;
    const rows = await listUnbound(db, accountId, scope, { after: this.page, limit: pageSize });
    for (const row of rows) this.old.push(this.toOld(row));
    this.page = rows.at(-1) ?? this.page;
    this.loaded = rows.length < pageSize;
    if (this.loaded) for (const row of await listUnwanted(db, accountId, scope)) this.old.push(this.toOld(row));
    return !this.loaded;
  }

  /** Reads the items' own ids, where both sides have them, until it is time. @returns whether all are read. */
  async listItems(source: ItemsSource): Promise<boolean> {
    const asks = tellsIds(source.session) && this.old.some(({ objectId }) => objectId !== null);
    this.unlisted ??= asks ? [...this.ranges] : [];
    return this.read(source, this.unlisted, (items) => this.items.push(...items), true);
  }

  /** Reads the header blocks that are needed beside ids, until it is time. To be called when placements and items are all there. */
  async readHeads(source: ItemsSource): Promise<boolean> {
    const known = new Map<number, number>();
    for (const [at, { uid }] of this.items.entries()) known.set(uid, at);
    const take = (items: readonly Listed[]): void => {
      for (const item of items) this.items[known.get(item.uid) ?? this.items.length] = item;
    };
    return this.read(source, this.untold().ranges, take, false);
  }

  /** Reads the next stored header blocks that are needed beside ids. @returns false when there are no more. */
  async loadHeads(db: Queryable, accountId: AccountId): Promise<boolean> {
    const { old } = this.untold();
    const page = old.splice(0, pageSize);
    const heads = await readStoredHeads(
      db,
      accountId,
      page.flatMap(({ sha256 }) => (sha256 === null ? [] : [sha256])),
    );
    for (const one of page) {
      const head = one.sha256 === null ? undefined : heads.get(one.sha256.toString("hex"));
      if (head !== undefined) one.head = headKeyOf(head, one.size);
    }
    return old.length > 0;
  }

  /** Which items are which placements, ascending by UID. */
  pair(): Rebound[] {
    const byUid = (a: { readonly uid: number }, b: { readonly uid: number }): number => a.uid - b.uid;
    return rebind(this.old.toSorted(byUid), this.items.toSorted(byUid));
  }

  private untold(): NonNullable<Recognition["unread"]> {
    if (this.unread !== null) return this.unread;
    const told = new Set<number | string>(this.pair().flatMap(({ uid, placementId }) => [uid, placementId]));
    const old = this.old.filter(({ placementId }) => !told.has(placementId));
    const uids = this.items.flatMap(({ uid }) => (told.has(uid) ? [] : [uid]));
    const isListed = this.items.length > 0;
    const ranges = isListed ? rangesWith(this.ranges, uids) : [...this.ranges];
    // Where one side is told whole there is nothing to compare the other one with.
    this.unread = old.length === 0 || ranges.length === 0 ? { ranges: [], old: [] } : { ranges, old };
    return this.unread;
  }

  private async read(
    { session, mailbox, until, signal }: ItemsSource,
    ranges: UidRange[],
    take: (items: readonly Listed[]) => void,
    bare: boolean,
  ): Promise<boolean> {
    for (let range = ranges[0]; range !== undefined; range = ranges[0]) {
      if (Date.now() >= until) return false;
      const read: Listed[] = [];
      for await (const items of session.heads({ ...mailbox, ranges: [range], bare }, signal))
        for (const item of items) read.push(this.toListed(item));
      take(read);
      ranges.shift();
    }
    return true;
  }

  private toOld({ id: placementId, messageId, receivedAt, sha256, size, purged, doomed, last }: UnboundRow): Old {
    return {
      ...(purged && { purged }),
      ...(doomed && { doomed }),
      placementId,
      messageId,
      objectId: last?.objectId ?? null,
      size,
      head: null,
      receivedAt: receivedAt.getTime(),
      uid: last?.uid ?? 0,
      flags: this.flags.of(last?.flags ?? []),
      lost: last?.closedReason === "epoch",
      sha256,
    };
  }

  private toListed(item: HeadItem): Listed {
    const listed = toListed(item);
    return { ...listed, flags: this.flags.of(listed.flags) };
  }
}
