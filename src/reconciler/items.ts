/** New upstream items: which message and which placement each one is (semantics 2.4). */
import type { DecidedChange } from "../model/change.ts";
import type { MailboxId, MessageId, PlacementId } from "../model/ids.ts";
import { keepsFlag, keywordsOfFlags } from "../model/mail.ts";
import { broughtBack, type Claim } from "./claims.ts";
import { type Contest, type Contests, contestSeen, noteContest } from "./contests.ts";
import { mergeObserved, mergeWithoutBase, sameKeywords } from "./keywords.ts";
import { applyFlags, standAlone } from "./observed-flags.ts";
import { whyNew } from "./import.ts";
import { bindingOf, bindOwn } from "./own.ts";
import { giveBack, setRight } from "./plan.ts";
import { preserve, preserved } from "./preserve-ahead.ts";
import { withoutSeen } from "./pop3-seen.ts";
import {
  type Decision,
  type Draft,
  emptyDraft,
  imapChange,
  type ItemFlags,
  type PlacementView,
  record,
  type Scope,
} from "./state.ts";
import { isDeleted } from "./vanish-evidence.ts";
import { type DrainToTrash, isDrainToTrash, viaTrash, viaTrashConfidence } from "./via-trash.ts";

export interface ItemFact extends ItemFlags {
  readonly receivedAt: number;
  /** Hex SHA-256 of the octets; null: the server lists the item but does not give it (gate G7), it becomes a stub. */
  readonly sha256: string | null;
  /** Hex SHA-256 of the normal form; only where another view of the account may have shown the mail. */
  readonly hFull?: string;
}

/** A placement that an item continues by less than its octets. */
export interface Claimed {
  readonly placement: PlacementView;
  readonly confidence: number;
  /** Its message; null: nobody has its octets yet. Absent: nobody asked. */
  readonly message?: KnownMessage | null;
}

export interface KnownMessage {
  readonly id: MessageId;
  readonly placements: readonly PlacementView[];
}

export interface ItemsInput {
  readonly scope: Scope;
  /** Ascending by UID. */
  readonly items: readonly ItemFact[];
  /** Placements already bound to UIDs of this scope. */
  readonly bound: ReadonlyMap<number, PlacementView>;
  /** Messages with the same octets or the same normal form, by hex SHA-256 (identity level L3). */
  readonly known: ReadonlyMap<string, KnownMessage>;
  /** By UID: what the items are by their header blocks (L4). */
  readonly claimed?: ReadonlyMap<number, Claimed>;
  /** What was sent upstream and may be among the items (ID-1, ID-2). */
  readonly claims?: readonly Claim[];
  /** What is gone here and whose items are to be removed there still, or cannot be; absent: nothing is. */
  readonly doomed?: ReadonlySet<PlacementId>;
  /** The mailbox that another endpoint shows, too; absent or null: none is. */
  readonly sharedMailbox?: MailboxId | null;
  readonly toTrash?: DrainToTrash | null;
  /** Operations whose moves are under way; absent: there are none. */
  readonly contests?: Contests;
  /** What the mailbox keeps; null: not known, or everything. */
  readonly permanentFlags?: readonly string[] | null;
  /** What is new is copied to where no POP3 device takes it (V21); absent: it is not. */
  readonly preserves?: boolean;
  /** By UID: the version of the same draft that an app brought before whoever wrote the item could see it (P12). */
  readonly forks?: ReadonlyMap<number, MessageId>;
  /** Unused ids, two per item: one for a message, one for a placement. */
  readonly freshIds: readonly string[];
  /** `backfilled` for mail found by the first reading, `delivered` for mail that came since. */
  readonly reason: "backfilled" | "delivered";
}

interface Continuation {
  readonly how: "moved" | "drained" | "remade" | "rebound" | "joined" | "reappeared" | "resurrected" | "restored";
  readonly placement: PlacementView;
  readonly confidence: number;
  /** The flags without what is to be taken back upstream; absent: nothing is. */
  readonly reverted?: readonly string[];
  /** Of what we put there. */
  readonly claim?: Claim;
  /** For what it leaves where it was. */
  readonly freshId?: PlacementId;
  /** An operation wants it elsewhere. */
  readonly contest?: Contest | null;
}

type Test = (scope: Scope, placement: PlacementView, input: Pick<ItemsInput, "doomed" | "sharedMailbox">) => boolean;

type Place = (scope: Scope, placement: PlacementView) => boolean;

const isBound = ({ binding }: PlacementView): boolean => binding?.active === true;
/** It lost its item here to a new epoch. */
const wasHere: Place = ({ mailboxId }, { binding }) => binding?.closedReason === "epoch" && binding.mailboxId === mailboxId;
const isHere: Place = (scope, { mailboxId }) => mailboxId === scope.mailboxId;
/** Another mailbox shows it as deleted; not where the maildrop goes on showing it as well. */
const isLeft: Test = (scope, { binding }, { sharedMailbox = null }) =>
  binding?.active === true &&
  binding.mailboxId !== scope.mailboxId &&
  binding.mailboxId !== sharedMailbox &&
  binding.shadowFlags.some(isDeleted);

/**
 * Rules ID-5 a–d; `joined`: another endpoint of the account showed it before this one did (K12). What is to be removed there takes
 * its item with it: it is asked after all that is live, and what is shown elsewhere does not bring it back. What has an item of its
 * own still is asked after all that has none (a2).
 */
const continuations: readonly (readonly [Continuation["how"], Test])[] = [
  ["moved", (_, p) => p.lifecycle === "live" && p.absent && !isBound(p)],
  ["rebound", (scope, p) => p.lifecycle === "live" && !isBound(p) && wasHere(scope, p)],
  ["joined", (scope, p) => p.lifecycle === "live" && !p.kept && !p.absent && isHere(scope, p) && p.binding === null],
  ["reappeared", (scope, p) => p.kept && isHere(scope, p)],
  ["rebound", (scope, p, { doomed }) => doomed?.has(p.id) === true && !isBound(p) && wasHere(scope, p)],
  ["remade", (scope, p, input) => p.lifecycle === "live" && !p.absent && isLeft(scope, p, input)],
  ["resurrected", (_, p, { doomed }) => p.lifecycle === "removed" && !isBound(p) && doomed?.has(p.id) !== true],
];

/** Equal octets, or equal normal forms. */
const confidenceOfOctets = 0.97;

/** The placement that this item continues, or null for a new one (5e). */
const continuation = (
  input: ItemsInput,
  fact: ItemFact,
  candidates: readonly PlacementView[],
  confidence = confidenceOfOctets,
): Continuation | null => {
  // ID-6: equal date and flags first, then the oldest UID; octets are equal, so any pairing is safe and this one is fixed.
  const likeness = (p: PlacementView): number =>
    (p.receivedAt === fact.receivedAt ? 2 : 0) + (sameKeywords(p.keywords, keywordsOfFlags(fact.flags)) ? 1 : 0);
  const ordered = candidates.toSorted(
    (a, b) => likeness(b) - likeness(a) || (a.binding?.uid ?? 0) - (b.binding?.uid ?? 0) || (a.id < b.id ? -1 : 1),
  );
  for (const [how, test] of continuations) {
    const placement = ordered.find((candidate) => test(input.scope, candidate, input));
    if (placement !== undefined) return { how, placement, confidence };
  }
  return null;
};

const rules = {
  moved: "ID-5a",
  drained: "ID-5a",
  remade: "ID-5a2",
  rebound: "ID-5b",
  joined: "K12",
  reappeared: "ID-5c",
  resurrected: "ID-5d",
  restored: "V18",
} as const;

/** What we put there ourselves needs no likeness: the fence and the octets say that it is that (ID-1, ID-2). */
const restored = (
  { claims = [], scope }: ItemsInput,
  fact: ItemFact,
  which: { readonly taken: ReadonlySet<string>; readonly sameEpoch: boolean },
): Continuation | null => {
  const claim = broughtBack(claims, scope, fact, which);
  return claim === null ? null : { how: "restored", placement: claim.placement, confidence: 1, claim };
};

/** What an operation wanted there: its place was decided then. */
const bindClaimed = (
  draft: Draft,
  scope: Scope,
  { claim, fact, freshId }: { claim: Claim; fact: ItemFact; freshId: PlacementId },
) => {
  const { verb, opId, placement, sent } = claim;
  const leftBehind = verb === "move" && opId !== null ? { id: freshId, opId } : null;
  bindOwn(draft, scope, { placement, fact, sent, unasserted: [], leftBehind });
};

/** It has a common base with what it was. */
const isMove = (how: Continuation["how"]): boolean => how === "moved" || how === "drained" || how === "remade";

/** What the placement shows as the reason of its being there; null: as before. */
const reasonOf = (how: Continuation["how"], elsewhere: boolean): string | null => {
  if (how === "restored") return "restored_after_drain";
  if (how === "drained") return viaTrash;
  if (how === "resurrected" || how === "reappeared") return "upstream_reappeared";
  if (!elsewhere) return null;
  return how === "remade" ? "upstream_copy_delete" : how === "moved" ? "upstream_move" : null;
};

const entryOf = (
  { how, confidence }: Continuation,
  { elsewhere, isNews }: { readonly elsewhere: boolean; readonly isNews: boolean },
): (Pick<DecidedChange, "kind" | "reason" | "rule"> & Partial<DecidedChange>) | null => {
  const rule = rules[how];
  if (how === "resurrected" || how === "reappeared") return { kind: "message.restored", reason: "upstream_reappeared", rule };
  if (how === "restored" && !elsewhere) return { kind: "message.restored", reason: "restored_after_drain", rule, confidence };
  if (how === "joined") return { kind: "message.merged", reason: "shown_by_both", rule, confidence };
  if (elsewhere) return { kind: "message.moved", reason: reasonOf(how, elsewhere) ?? "upstream_move", rule, confidence };
  return isNews ? { kind: "message.keywords", reason: "upstream_flags", rule: "F9" } : null;
};

/** F9, F11: what moved has a common base with what it was, but for flags that this mailbox cannot keep; the others have none. */
const keywordsAfter = (
  { permanentFlags = null }: Pick<ItemsInput, "permanentFlags">,
  { flags }: ItemFact,
  { how, placement, reverted }: Continuation,
): string[] => {
  const { keywords: canonical, binding } = placement;
  if (!isMove(how)) return mergeWithoutBase({ canonical, observed: flags });
  const shadow = binding?.shadowFlags ?? [];
  const masked = shadow.filter((flag) => !keepsFlag(permanentFlags, flag));
  return mergeObserved({ canonical, shadow, observed: [...(reverted ?? flags), ...masked] });
};

const continuePlacement = (draft: Draft, input: ItemsInput, fact: ItemFact, continued: Continuation): void => {
  const { scope } = input;
  const { how, placement, reverted, freshId: id } = continued;
  const keywords = keywordsAfter(input, fact, continued);
  // It is where it was, or an operation that wants it elsewhere stands: the rest is up to that.
  const stays = how === "rebound" || continued.contest?.winner === "wanted";
  const mailboxId = stays ? placement.mailboxId : scope.mailboxId;
  const elsewhere = placement.mailboxId !== mailboxId;
  const before = { mailboxId: placement.mailboxId, keywords: placement.keywords };
  const after = { mailboxId, keywords };
  const entry = entryOf(continued, { elsewhere, isNews: !sameKeywords(keywords, placement.keywords) });
  const index =
    entry === null ? null : record(draft, imapChange({ ...scope, mailboxId }, placement, { ...entry, before, after }));
  if (continued.contest != null) noteContest(draft, scope, placement, continued.contest);
  draft.bindings.push(bindingOf(fact, placement.id));
  if (how === "remade" && placement.binding !== null && id !== undefined)
    draft.vacated.push({ from: placement.binding, leftBehind: { id, messageId: placement.messageId, opId: null } });
  if (index !== null || placement.absent || placement.kept)
    draft.placements.push({
      id: placement.id,
      mailboxId,
      keywords,
      lifecycle: "live",
      kept: false,
      absent: false,
      reason: reasonOf(how, elsewhere),
      recoverableDays: null,
      change: index,
    });
  if (!isMove(how) && how !== "restored") giveBack(draft, placement.id, keywords, fact.flags);
  setRight(draft, placement.id, { canonical: keywords, shadow: placement.binding?.shadowFlags ?? [], observed: fact.flags });
  if (reverted !== undefined)
    draft.commands.push({ placementId: placement.id, verb: "store", args: { remove: ["$seen"] }, reason: viaTrash });
};

const asDrain = (found: Continuation, { flags }: ItemFact, toTrash: DrainToTrash | null = null): Continuation => {
  if (found.how !== "moved" || toTrash === null || !isDrainToTrash(toTrash, found.placement, flags)) return found;
  const confidence = viaTrashConfidence;
  const revert = toTrash.revertSeen && !toTrash.reverted.has(found.placement.id);
  return { ...found, how: "drained", confidence, ...(revert && { reverted: withoutSeen(flags) }) };
};

/** Which placement the item continues, by what tells most; null: none. */
const continuedBy = (
  input: ItemsInput,
  fact: ItemFact,
  { alike, taken }: { readonly alike: readonly KnownMessage[]; readonly taken: ReadonlySet<string> },
): Continuation | null => {
  const claimed = input.claimed?.get(fact.uid);
  // P7, I2: what was removed meanwhile comes back, or is removed there, by octets and by no less.
  const isCompared = ({ placement }: Claimed): boolean => !(placement.lifecycle === "removed" || taken.has(placement.id));
  const compared = claimed !== undefined && isCompared(claimed) ? [claimed.placement] : [];
  const free = alike.flatMap(({ placements }) => placements.filter(({ id }) => !taken.has(id)));
  return (
    restored(input, fact, { taken, sameEpoch: true }) ??
    continuation(input, fact, compared, claimed?.confidence) ??
    continuation(input, fact, free) ??
    restored(input, fact, { taken, sameEpoch: false })
  );
};

type Why = Pick<DecidedChange, "reason" | "rule">;

/** A placement of its own (5e). @returns its message and itself. */
const appear = (
  draft: Draft,
  { scope, freshIds }: ItemsInput,
  item: number,
  { fact, existing, why }: { readonly fact: ItemFact; readonly existing: MessageId | undefined; readonly why: Why },
): { readonly id: PlacementId; readonly messageId: MessageId } => {
  const messageId = existing ?? (freshIds[2 * item] as MessageId);
  const id = freshIds[2 * item + 1] as PlacementId;
  const { mailboxId } = scope;
  const keywords = mergeWithoutBase({ canonical: [], observed: fact.flags });
  const index = record(
    draft,
    imapChange(scope, { id, messageId }, { kind: "message.created", after: { mailboxId, keywords }, ...why }),
  );
  if (existing === undefined) draft.newMessages.push({ id: messageId, item, change: index });
  const { reason } = why;
  draft.newPlacements.push({ id, messageId, mailboxId, keywords, reason, receivedAt: fact.receivedAt, change: index });
  draft.bindings.push(bindingOf(fact, id));
  setRight(draft, id, { canonical: keywords, shadow: [], observed: fact.flags });
  return { id, messageId };
};

/** An item of a batch, with what it may be. */
interface Arrival {
  readonly fact: ItemFact;
  readonly item: number;
  readonly alike: readonly KnownMessage[];
  /** Placements that items of the batch continue, and commands whose copies they are. */
  readonly taken: Set<string>;
}

/** What the account has already, or what we have put there. */
const goOn = (draft: Draft, input: ItemsInput, { fact, item, alike, taken }: Arrival, continued: Continuation): void => {
  const { scope } = input;
  const { how, claim, placement } = continued;
  if (claim?.is === "copy") {
    taken.add(claim.commandId);
    appear(draft, input, item, { fact, existing: placement.messageId, why: preserved });
    return undefined;
  }
  taken.add(placement.id);
  const freshId = input.freshIds[2 * item + 1] as PlacementId;
  if (claim?.is === "placed") return bindClaimed(draft, scope, { claim, fact, freshId });
  // It was to be removed there when the mailbox was numbered anew, and still is: it is bound as what it is, and not back.
  if (how === "rebound" && placement.lifecycle !== "live") {
    draft.bindings.push(bindingOf(fact, placement.id));
    return standAlone(draft, scope, placement, fact);
  }
  const message = input.claimed?.get(fact.uid)?.message;
  // What is not whole is copied when it is.
  if (how === "joined" && input.preserves === true && message !== null)
    preserve(draft, placement, { ...fact, alike: message === undefined ? alike : [message] });
  const contest = how === "moved" || how === "remade" ? contestSeen(scope, placement, input.contests) : null;
  return continuePlacement(draft, input, fact, { ...asDrain(continued, fact, input.toTrash), contest, freshId });
};

/** Decides for a batch of fetched items. Items already bound only tell their flags; equal octets never make two messages. */
export const reconcileItems = (input: ItemsInput): Decision => {
  const { scope } = input;
  const draft = emptyDraft();
  const madeHere = new Map<string, MessageId>();
  const taken = new Set<string>();
  input.items.forEach((fact, item) => {
    const bound = input.bound.get(fact.uid);
    if (bound !== undefined) return applyFlags(draft, scope, bound, fact);
    const keys = [fact.sha256, fact.hFull].filter((key) => typeof key === "string");
    const alike = keys.flatMap((key) => input.known.get(key) ?? []);
    const continued = continuedBy(input, fact, { alike, taken });
    // It is not what it was compared with, and its octets were not read: they will be.
    if (continued === null && fact.sha256 === null && input.claimed?.has(fact.uid) === true) return undefined;
    if (continued !== null) {
      return goOn(draft, input, { fact, item, alike, taken }, continued);
    }
    const existing = alike[0]?.id ?? keys.map((key) => madeHere.get(key)).find((made) => made !== undefined);
    const why: Why =
      existing === undefined ? whyNew(input.reason, input.forks?.get(fact.uid)) : { reason: "copied", rule: "ID-5e" };
    const arrived = appear(draft, input, item, { fact, existing, why });
    if (existing !== undefined) return undefined;
    const { messageId } = arrived;
    for (const key of keys) madeHere.set(key, messageId);
    if (input.preserves === true && fact.sha256 !== null) preserve(draft, arrived, { ...fact, alike });
  });
  return draft;
};
