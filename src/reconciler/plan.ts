/**
 * What is owed upstream for a placement, drawn from its legs: canonical state, and the binding with its shadow (semantics 1.6).
 * It is asked when an operation wants something and again when it is sent, so that whatever came in between counts.
 */
import type { CommandPlan } from "../model/command.ts";
import { keywordsOfFlags } from "../model/mail.ts";
import { sameKeywords } from "./keywords.ts";
import type { PlacementView } from "./state.ts";

/** Verbs that would bring upstream to what the placement is, those that add first. Empty: they agree, or nothing is decided. */
export const owedVerbs = (placement: PlacementView): readonly CommandPlan["verb"][] => {
  const { lifecycle, kept, keywords, binding } = placement;
  if (lifecycle !== "live" || kept || binding?.active !== true) return [];
  return sameKeywords(keywordsOfFlags(binding.shadowFlags), keywords.toSorted()) ? [] : ["store"];
};
