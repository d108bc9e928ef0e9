/**
 * The three legs of the items of one mailbox, laid beside each other: observed (the server now), canonical, and the shadow on which
 * both last agreed; with what the next pass would make of them. Nothing is decided here.
 */
import { keywordsOfFlags } from "../model/mail.ts";
import { mergeObserved, sameKeywords } from "./keywords.ts";
import { owedVerbs } from "./plan.ts";
import type { PlacementView } from "./state.ts";

export interface Leg {
  readonly uid: number;
  readonly placementId: string | null;
  /** Keywords on the server; null: it does not show the item. */
  readonly observed: readonly string[] | null;
  /** null: nothing here is bound to the item. */
  readonly canonical: readonly string[] | null;
  readonly shadow: readonly string[] | null;
  /** What the next pass would do, in words; what it would send begins with `send`. */
  readonly plan: readonly string[];
}

export interface Legs {
  /** Items whose three legs are equal. */
  readonly equal: number;
  /** The others, by UID. */
  readonly unequal: readonly Leg[];
}

const differences = (from: readonly string[], to: readonly string[]): string => {
  const added = to.filter((one) => !from.includes(one)).map((one) => `+${one}`);
  const removed = from.filter((one) => !to.includes(one)).map((one) => `-${one}`);
  return [...added, ...removed].join(" ");
};

const sorted = (flags: readonly string[]): string[] => keywordsOfFlags(flags).toSorted();

const boundLeg = (uid: number, placement: PlacementView, flags: readonly string[] | null): Leg | null => {
  const canonical = placement.keywords.toSorted();
  const shadow = sorted(placement.binding?.shadowFlags ?? []);
  const legs = { uid, placementId: placement.id, canonical, shadow };
  if (flags === null) return { ...legs, observed: null, plan: ["look for it elsewhere, then decide why it is gone"] };
  const observed = sorted(flags);
  if (sameKeywords(observed, canonical) && sameKeywords(canonical, shadow)) return null;
  const merged = mergeObserved({ canonical, shadow: placement.binding?.shadowFlags ?? [], observed: flags });
  const taken = differences(canonical, merged);
  const owed = owedVerbs({
    ...placement,
    keywords: merged,
    ...(placement.binding !== null && { binding: { ...placement.binding, shadowFlags: flags } }),
  });
  const plan = [
    ...(taken === "" ? [] : [`take over ${taken}`]),
    ...owed.map((verb) => `send ${verb}${verb === "store" ? ` ${differences(observed, merged)}` : ""}`),
  ];
  return { ...legs, observed, plan: plan.length === 0 ? ["note that both agree"] : plan };
};

/**
 * @param observed flags by UID, as a complete listing showed them; nothing in it is left out.
 * @param bound placements by the UID they are bound to in the same epoch.
 */
export const compareLegs = (
  observed: ReadonlyMap<number, readonly string[]>,
  bound: ReadonlyMap<number, PlacementView>,
): Legs => {
  const unequal: Leg[] = [];
  for (const uid of [...new Set([...observed.keys(), ...bound.keys()])].toSorted((a, b) => a - b)) {
    const placement = bound.get(uid);
    const flags = observed.get(uid) ?? null;
    if (placement !== undefined) {
      const leg = boundLeg(uid, placement, flags);
      if (leg !== null) unequal.push(leg);
    } else if (flags !== null)
      unequal.push({ uid, placementId: null, observed: sorted(flags), canonical: null, shadow: null, plan: ["fetch it"] });
  }
  return { equal: new Set([...observed.keys(), ...bound.keys()]).size - unequal.length, unequal };
};
