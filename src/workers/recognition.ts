/** What is known of a mailbox while it is being recognised, slice by slice: its placements without an item, and its header blocks. */
import type { Session } from "../endpoints/endpoint.ts";
import { fingerprintOfHead } from "../mime/fingerprint.ts";
import type { AccountId } from "../model/ids.ts";
import type { FetchRequest, HeadItem, UidRange } from "../model/observation.ts";
import { headKey, type NumberedItem, rebind, type Rebound, type Unbound } from "../reconciler/epoch.ts";
import type { Scope } from "../reconciler/state.ts";
import type { Queryable } from "../store/database.ts";
import { listUnbound, readStoredHeads, type UnboundPage, type UnboundRow } from "../store/epochs.ts";

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

export interface Listed extends NumberedItem {
  readonly modseq: bigint | null;
}

/**
 * What is known of one mailbox while it is being recognised, slice by slice; small, and lost without harm. What is bound already
 * is not among its placements, and its items are skipped.
 */
export class Recognition {
  readonly old: (Unbound & { readonly lost: boolean })[] = [];
  readonly items: Listed[] = [];
  /** What was found; null: not all is read yet. */
  pairs: readonly Rebound[] | null = null;
  /** So many of `pairs` are durable. */
  committed = 0;
  private page: UnboundPage | null = null;
  private loaded = false;
  private readonly flags = new FlagLists();
  private readonly ranges: UidRange[];

  /** `ranges`: UIDs that are to be recognised, each of some hundred messages. */
  constructor(ranges: readonly UidRange[]) {
    this.ranges = [...ranges];
  }

  /** Reads the next placements. @returns false when there are no more. */
  async loadMore(db: Queryable, accountId: AccountId, scope: Scope): Promise<boolean> {
    if (this.loaded) return false;
    const rows = await listUnbound(db, accountId, scope, { after: this.page, limit: pageSize });
    const heads = await readStoredHeads(
      db,
      accountId,
      rows.flatMap(({ sha256 }) => (sha256 === null ? [] : [sha256])),
    );
    for (const row of rows) this.old.push(this.toUnbound(row, heads));
    this.page = rows.at(-1) ?? this.page;
    this.loaded = rows.length < pageSize;
    return !this.loaded;
  }

  /** Which items are which placements, ascending by UID. */
  pair(): Rebound[] {
    const byUid = (a: { readonly uid: number }, b: { readonly uid: number }): number => a.uid - b.uid;
    return rebind(this.old.sort(byUid), this.items.sort(byUid));
  }

  private toUnbound(row: UnboundRow, heads: ReadonlyMap<string, Buffer>): Recognition["old"][number] {
    const { id: placementId, messageId, receivedAt, sha256, size, last } = row;
    const head = sha256 === null ? undefined : heads.get(sha256.toString("hex"));
    return {
      placementId,
      messageId,
      objectId: null,
      head: head === undefined ? null : headKeyOf(head, size),
      receivedAt: receivedAt.getTime(),
      uid: last?.uid ?? 0,
      flags: this.flags.of(last?.flags ?? []),
      lost: last?.closedReason === "epoch",
    };
  }

  /** Reads header blocks until `until`. @returns whether all are read. */
  async readItems(session: Session, mailbox: Omit<FetchRequest, "ranges">, until: number, signal: AbortSignal): Promise<boolean> {
    for (let range = this.ranges[0]; range !== undefined; range = this.ranges[0]) {
      if (Date.now() >= until) return false;
      const read: Listed[] = [];
      for await (const items of session.heads({ ...mailbox, ranges: [range] }, signal))
        for (const item of items) read.push(this.toListed(item));
      this.items.push(...read);
      this.ranges.shift();
    }
    return true;
  }

  private toListed({ uid, flags, modseq, internalDate, size, head }: HeadItem): Listed {
    const key = headKeyOf(head, size);
    return { uid, objectId: null, head: key, receivedAt: internalDate.getTime(), flags: this.flags.of(flags), modseq };
  }
}
