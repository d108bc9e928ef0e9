/**
 * Breaker B3 (semantics 4.4, F10): where much of a mailbox loses the same flag in one step, a server has rather lost it than a user
 * taken it away. Held clears make no assertions: the shadow keeps the flag, as the last state that both sides agreed on.
 */
import type { HoldDecision } from "../model/hold.ts";
import { keywordOfFlag, keywordsOfFlags } from "../model/mail.ts";
import type { ItemFlags, PlacementView } from "./state.ts";

export interface FlagFact extends ItemFlags {
  /** Flags that are not shown, and whose lack says nothing: the shadow loses them, the placement does not. */
  readonly unasserted?: readonly string[];
}

export interface FlagLossInput {
  readonly facts: readonly ItemFlags[];
  readonly bound: ReadonlyMap<number, PlacementView>;
  /** Of the mailbox. */
  readonly items: number;
  /** What is held already: these keywords, and what was said of it (null: nothing); null: nothing is. */
  readonly open: { readonly keywords: readonly string[]; readonly decided: HoldDecision | null } | null;
}

export interface FlagLoss {
  readonly facts: readonly FlagFact[];
  /** Held from now on. `count`: items of `facts` that have lost one of the keywords. */
  readonly keywords: readonly string[];
  readonly count: number;
}

const least = 50;
const share = 0.3;
/** Their lack is taken as it is, or they are never taken away (3.1). */
const exempt = new Set(["$draft", "$phishing", "$submitpending", "$submitted", "$mdnsent"]);

/** What the item does not show any more and the placement still has; what we took away ourselves is no loss. */
const lostBy = (placement: PlacementView, flags: readonly string[]): string[] => {
  const shown = new Set(keywordsOfFlags(flags));
  return keywordsOfFlags(placement.binding?.shadowFlags ?? []).filter(
    (keyword) => !shown.has(keyword) && placement.keywords.includes(keyword) && !exempt.has(keyword) && !keyword.startsWith("\\"),
  );
};

const spelt = (placement: PlacementView | undefined, keywords: readonly string[]): string[] =>
  (placement?.binding?.shadowFlags ?? []).filter((flag) => keywords.includes(keywordOfFlag(flag) ?? ""));

/** Takes out of an observation what is too much to be believed, or was said not to be true. */
export const judgeFlagLoss = ({ facts, bound, items, open }: FlagLossInput): FlagLoss => {
  const losses = new Map<number, readonly string[]>();
  const counts = new Map<string, number>();
  for (const { uid, flags } of facts) {
    const placement = bound.get(uid);
    const lost = placement === undefined ? [] : lostBy(placement, flags);
    if (lost.length > 0) losses.set(uid, lost);
    for (const keyword of lost) counts.set(keyword, (counts.get(keyword) ?? 0) + 1);
  }
  const mass = [...counts].flatMap(([keyword, count]) => (count >= least && count >= share * items ? [keyword] : []));
  const decided = open?.decided ?? null;
  const waiting = open?.keywords ?? [];
  const held =
    decided === null ? [...new Set([...waiting, ...mass])].sort() : mass.filter((keyword) => !waiting.includes(keyword));
  const denied = decided === "rejected" ? waiting : [];
  let count = 0;
  const judged = facts.map((fact): FlagFact => {
    const lost = losses.get(fact.uid);
    if (lost === undefined) return fact;
    const placement = bound.get(fact.uid);
    const back = lost.filter((keyword) => held.includes(keyword));
    const unasserted = lost.filter((keyword) => denied.includes(keyword));
    if (back.length > 0) count += 1;
    return {
      ...fact,
      flags: [...fact.flags, ...spelt(placement, back)],
      ...(unasserted.length > 0 && { unasserted: spelt(placement, unasserted) }),
    };
  });
  return { facts: judged, keywords: held, count };
};

/** After counters went backwards a lack can be loss, of whatever flag (I12, F9). */
export const withoutClears = (facts: readonly ItemFlags[], bound: ReadonlyMap<number, PlacementView>): FlagFact[] =>
  facts.map((fact) => ({ ...fact, unasserted: bound.get(fact.uid)?.binding?.shadowFlags ?? [] }));
