/**
 * What is owed upstream for a placement, drawn from its legs: canonical state, and the binding with its shadow (semantics 1.6).
 * It is asked when an operation wants something and again when it is sent, so that whatever came in between counts.
 */
import type { CommandVerb } from "../model/command.ts";
import type { PlacementId } from "../model/ids.ts";
import { keywordsOfFlags } from "../model/mail.ts";
import { differenceOf } from "./commands.ts";
import { faultShown, type Legs } from "./keywords.ts";
import type { Draft, PlacementView } from "./state.ts";

/** Is it to become an item, and none is looked for? What lost its number with an epoch is found again, or missed (ID-8). */
export const isUnplaced = ({ lifecycle, kept, absent, binding }: PlacementView): boolean =>
  lifecycle === "live" && !kept && !absent && (binding === null || (!binding.active && binding.closedReason !== "epoch"));

/**
 * Verbs that would bring upstream to what the placement is. Empty: they agree, or it is no concern of the server (V19). What is
 * missing and not decided yet is measured by its last item.
 */
export const owedVerbs = (placement: PlacementView): readonly CommandVerb[] => {
  const { lifecycle, kept, mailboxId, binding } = placement;
  // What lost its number with an epoch may be there still, under another one.
  if (lifecycle !== "live") return binding?.active === true || binding?.closedReason === "epoch" ? ["expunge"] : [];
  if (kept) return [];
  if (binding === null || isUnplaced(placement)) return ["append"];
  const shown = keywordsOfFlags(binding.shadowFlags);
  const { halves, masked } = differenceOf(placement, { shown, remove: null, permanentFlags: null });
  return [
    ...(halves.length + masked.length > 0 ? (["store"] as const) : []),
    ...(binding.mailboxId === mailboxId ? [] : (["move"] as const)),
  ];
};

/** What the server lacks without anybody having taken it away is given back to it, once (F9). */
export const giveBack = (draft: Draft, placementId: PlacementId, keywords: readonly string[], flags: readonly string[]): void => {
  const shown = keywordsOfFlags(flags);
  if (keywords.some((keyword) => !shown.includes(keyword)))
    draft.commands.push({ placementId, verb: "store", args: {}, reason: "flags_lost" });
};

/** What no server is to show is set right there, once (3.1, I14). */
export const setRight = (draft: Draft, placementId: PlacementId, legs: Legs): void => {
  const reason = faultShown(legs);
  if (reason !== null) draft.commands.push({ placementId, verb: "store", args: {}, reason });
};
