/**
 * Two placements of one mail that came over two protocols before each other's was known (semantics K12): they become one. The
 * older id survives, for somebody may hold it; no duplicate is left after one complete IMAP scan.
 */
import type { MessageId, PlacementId } from "../model/ids.ts";
import { type Claimable, identify, type Level, type UnknownItem } from "./identify.ts";
import { mergeWithoutBase } from "./keywords.ts";

/** What a merge has to know of a placement and of its message. */
interface Mergeable {
  readonly keywords: readonly string[];
  /** `seq` of the change that created the placement. */
  readonly createdSeq: bigint;
  /** `seq` of the change that created the message. */
  readonly messageSeq: bigint;
  /** Octets are stored; a message that IMAP or POP3 only listed is a stub. */
  readonly durable: boolean;
}

/** A live placement that POP3 shows and IMAP does not, with what its item tells: with its body where its octets are stored. */
export interface Provisional extends Mergeable {
  readonly id: PlacementId;
  readonly messageId: MessageId;
  readonly item: UnknownItem;
}

/** A placement that IMAP shows and POP3 does not. */
export type ImapPlacement = Claimable & Mergeable;

export interface PlacementMerge {
  /** The older one. It gets the bindings of both. */
  readonly keep: PlacementId;
  readonly absorb: PlacementId;
  /** Of both: a word that either side has is kept (F9). Sorted. */
  readonly keywords: readonly string[];
  readonly level: Level;
}

export interface MessageMerge {
  /** The oldest one. */
  readonly keep: MessageId;
  /** Their placements become placements of `keep`. */
  readonly absorb: readonly MessageId[];
  /** Whose octets are kept; those of `keep` if it has any: stored bytes are never replaced. null: none has any yet. */
  readonly octetsOf: MessageId | null;
}

export interface MergeDecision {
  readonly placements: readonly PlacementMerge[];
  readonly messages: readonly MessageMerge[];
  /** Provisional placements that a whole IMAP scan has not shown, or not for certain: their items have to be read. */
  readonly unseen: readonly { readonly id: PlacementId; readonly read: "head" | "body" }[];
}

interface MessageFacts {
  readonly seq: bigint;
  readonly durable: boolean;
}

/** Messages that turned out to be one, each under the oldest of them. */
class MessageGroups {
  private readonly facts = new Map<MessageId, MessageFacts>();
  private readonly olderOf = new Map<MessageId, MessageId>();

  private rootOf(id: MessageId): MessageId {
    let root = id;
    for (let older = this.olderOf.get(root); older !== undefined; older = this.olderOf.get(root)) root = older;
    // The way is made short, so that long chains are walked once.
    for (let at = id; at !== root;) {
      const next = this.olderOf.get(at) ?? root;
      this.olderOf.set(at, root);
      at = next;
    }
    return root;
  }

  private isOlder(a: MessageId, b: MessageId): boolean {
    const [one, other] = [this.facts.get(a)?.seq ?? 0n, this.facts.get(b)?.seq ?? 0n];
    return one < other || (one === other && a < b);
  }

  join(one: { id: MessageId } & MessageFacts, other: { id: MessageId } & MessageFacts): void {
    this.facts.set(one.id, one);
    this.facts.set(other.id, other);
    const [a, b] = [this.rootOf(one.id), this.rootOf(other.id)];
    if (a === b) return;
    if (this.isOlder(a, b)) this.olderOf.set(b, a);
    else this.olderOf.set(a, b);
  }

  merges(): MessageMerge[] {
    const groups = new Map<MessageId, MessageId[]>();
    for (const id of this.olderOf.keys()) {
      const keep = this.rootOf(id);
      const group = groups.get(keep);
      if (group === undefined) groups.set(keep, [id]);
      else group.push(id);
    }
    return [...groups].map(([keep, group]) => {
      const absorb = group.toSorted((a, b) => (this.isOlder(a, b) ? -1 : 1));
      return { keep, absorb, octetsOf: [keep, ...absorb].find((id) => this.facts.get(id)?.durable === true) ?? null };
    });
  }
}

const mergeOf = (provisional: Provisional, imap: ImapPlacement, level: Level): PlacementMerge => {
  const provisionalIsOlder =
    provisional.createdSeq < imap.createdSeq || (provisional.createdSeq === imap.createdSeq && provisional.id < imap.id);
  const [keep, absorb] = provisionalIsOlder ? [provisional.id, imap.id] : [imap.id, provisional.id];
  return { keep, absorb, keywords: mergeWithoutBase({ canonical: provisional.keywords, observed: imap.keywords }), level };
};

/**
 * Decides after a complete IMAP scan of INBOX that started behind the listing of all `provisional` items. Each placement is in
 * one merge at most, by the rules and with the certainty of `identify`.
 */
export const mergeProvisional = (input: {
  readonly provisional: readonly Provisional[];
  readonly imap: readonly ImapPlacement[];
  readonly regenerated: boolean;
}): MergeDecision => {
  const imap = new Map(input.imap.map((placement) => [placement.id, placement]));
  const { items } = identify({
    items: input.provisional.map(({ item }) => item),
    claimable: input.imap,
    known: new Map(),
    imap: "scanned",
    regenerated: input.regenerated,
  });
  const groups = new MessageGroups();
  const placements: PlacementMerge[] = [];
  const unseen: { id: PlacementId; read: "head" | "body" }[] = [];
  input.provisional.forEach((provisional, index) => {
    const answer = items[index];
    const partner = answer?.kind === "bind" ? imap.get(answer.placementId) : undefined;
    if (answer?.kind === "head" || answer?.kind === "body") unseen.push({ id: provisional.id, read: answer.kind });
    if (answer?.kind !== "bind" || partner === undefined) return;
    placements.push(mergeOf(provisional, partner, answer.level));
    const factsOf = ({ messageId, messageSeq, durable }: Mergeable & { messageId: MessageId }) => ({
      id: messageId,
      seq: messageSeq,
      durable,
    });
    groups.join(factsOf(provisional), factsOf(partner));
  });
  return { placements, messages: groups.merges(), unseen };
};
