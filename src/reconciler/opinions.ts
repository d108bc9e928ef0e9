/**
 * What devices of the API said of keywords while nobody looked at the server, against what a look then shows (F4): neither had seen
 * the other, so the bias decides, also where what they said had changed nothing (F2).
 */
import type { DecidedChange } from "../model/change.ts";
import type { EndpointId } from "../model/ids.ts";
import { type SaidKeywords, standsAgainst } from "./intent-keywords.ts";

export interface Weighed {
  readonly keywords: readonly string[];
  /** Keywords that were shown anew, or no longer, and are not believed; with the entry of the log for each. */
  readonly outvoted: readonly Pick<DecidedChange, "kind" | "before" | "after" | "reason" | "rule" | "evidence">[];
}

/** `merged`: what the look alone would make of `canonical`. */
export const weigh = (
  canonical: readonly string[],
  merged: readonly string[],
  said: readonly SaidKeywords[],
  endpointId: EndpointId,
): Weighed => {
  const asserted = [...new Set([...canonical, ...merged])].filter((word) => canonical.includes(word) !== merged.includes(word));
  const lost = asserted.filter((word) => standsAgainst(word, merged.includes(word), said));
  const believed = merged.filter((word) => !lost.includes(word));
  const keywords = [...believed, ...lost.filter((word) => canonical.includes(word))].toSorted();
  const outvoted = lost.map((keyword) => ({
    kind: "conflict.resolved" as const,
    before: null,
    after: { keywords },
    reason: "concurrent_keywords",
    rule: "F4",
    evidence: [{ keyword, loser: merged.includes(keyword) ? "set" : "clear", source: "endpoint", endpointId }],
  }));
  return { keywords, outvoted };
};
