/** Flags of known items, as a look shows them: what of them is an assertion, and what is owed upstream for it (F1). */
import type { PlacementId } from "../model/ids.ts";
import type { FlagFact } from "./flag-loss.ts";
import type { SaidKeywords } from "./intent-keywords.ts";
import { mergeObserved, mergeWithoutBase, sameFlags, sameKeywords } from "./keywords.ts";
import { weigh } from "./opinions.ts";
import { giveBack, setRight } from "./plan.ts";
import { type SeenDecision, seenOutcome, type SeenOutcome } from "./pop3-seen.ts";
import { isDeleted } from "./vanish-evidence.ts";
import { type Decision, type Draft, emptyDraft, imapChange, type PlacementView, record, type Scope } from "./state.ts";

/** Mail that a POP3 device only retrieved stays unread, and upstream it becomes so again (F5, Z5). */
const revertSeen = (draft: Draft, scope: Scope, placement: PlacementView, { rule, evidence }: SeenOutcome): void => {
  const { id, keywords } = placement;
  record(
    draft,
    imapChange(scope, placement, {
      kind: "message.keywords",
      before: { keywords },
      after: { keywords },
      reason: "weak_seen",
      rule,
      evidence,
    }),
  );
  draft.commands.push({ placementId: id, verb: "store", args: { remove: ["$seen"] }, reason: "pop3_seen_reverted" });
};

/** ID-5a2: whoever moved it by copying wants what was left behind after all. It is one more place of its message (ID-5e). */
export const standAlone = (draft: Draft, scope: Scope, placement: PlacementView, { flags }: FlagFact): void => {
  if (placement.leftMarked !== true || flags.some(isDeleted)) return;
  const { id } = placement;
  const { mailboxId } = scope;
  const keywords = mergeWithoutBase({ canonical: [], observed: flags });
  const why = { reason: "copied", rule: "ID-5e" };
  const after = { mailboxId, keywords };
  const index = record(draft, imapChange(scope, placement, { kind: "message.created", after, ...why }));
  const live = { lifecycle: "live", kept: false, absent: false, recoverableDays: null } as const;
  draft.placements.push({ id, mailboxId, keywords, ...live, reason: why.reason, change: index });
};

/**
 * Flags of an item that is bound already: differences to the shadow are assertions, the shadow becomes what was seen. `seen`:
 * what was made of a `\Seen` that is new.
 */
export const applyFlags = (
  draft: Draft,
  scope: Scope,
  placement: PlacementView,
  fact: FlagFact,
  seen: SeenOutcome | null = null,
  said: readonly SaidKeywords[] = [],
): void => {
  const shadow = placement.binding?.shadowFlags ?? [];
  draft.bindings.push({ uid: fact.uid, placementId: placement.id, flags: fact.flags, modseq: fact.modseq });
  // What is purged has nothing to tell any more.
  if (placement.lifecycle === "purged") return standAlone(draft, scope, placement, fact);
  if (seen?.revert === true) return revertSeen(draft, scope, placement, seen);
  const merged = mergeObserved({
    canonical: placement.keywords,
    shadow,
    observed: [...fact.flags, ...(fact.unasserted ?? [])],
  });
  const { keywords, outvoted } = weigh(placement.keywords, merged, said, scope.endpointId);
  for (const entry of outvoted) record(draft, imapChange(scope, placement, entry));
  if (fact.unasserted !== undefined) giveBack(draft, placement.id, keywords, fact.flags);
  setRight(draft, placement.id, { canonical: keywords, shadow, observed: fact.flags });
  if (sameKeywords(keywords, placement.keywords)) return;
  const index = record(
    draft,
    imapChange(scope, placement, {
      kind: "message.keywords",
      before: { keywords: placement.keywords },
      after: { keywords },
      reason: "upstream_flags",
      rule: seen?.rule ?? "F1",
      evidence: seen?.evidence ?? [],
    }),
  );
  draft.placements.push({
    id: placement.id,
    mailboxId: placement.mailboxId,
    keywords,
    lifecycle: placement.lifecycle,
    kept: placement.kept,
    absent: placement.absent,
    reason: null,
    recoverableDays: null,
    change: index,
  });
};

export interface FlagsInput {
  readonly scope: Scope;
  readonly facts: readonly FlagFact[];
  readonly bound: ReadonlyMap<number, PlacementView>;
  /** What was made of each `\Seen` that is new in INBOX; null where nothing was. */
  readonly seen: SeenDecision | null;
  /** UIDs whose shadow was given what we said ourselves. */
  readonly echoes?: ReadonlySet<number>;
  /** What was said of placements over the API since they were looked at last. */
  readonly opinions?: ReadonlyMap<PlacementId, readonly SaidKeywords[]>;
}

/** Flags of known items. Facts of unbound UIDs are ignored: their items come with their octets. Equal flags write nothing. */
export const reconcileFlags = (input: FlagsInput): Decision => {
  const draft = emptyDraft();
  for (const fact of input.facts) {
    const placement = input.bound.get(fact.uid);
    // A MODSEQ bump with equal flags is not an assertion (F1), and an echo of nothing writes nothing (I8).
    if (placement === undefined) continue;
    if (input.echoes?.has(fact.uid) !== true && sameFlags(placement.binding?.shadowFlags ?? [], fact.flags)) continue;
    applyFlags(
      draft,
      input.scope,
      placement,
      fact,
      input.seen === null ? null : seenOutcome(fact.uid, input.seen),
      input.opinions?.get(placement.id),
    );
  }
  return draft;
};
