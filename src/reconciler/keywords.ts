/** Merging observed flags into canonical keywords: three legs, one assertion per difference (semantics F1–F11). */
import { keywordsOfFlags } from "../model/mail.ts";

/** Once set, set for ever: a second disposition notice must never be sent (RFC 3503; semantics 3.1). */
const growOnly = new Set(["$mdnsent"]);

export const sameKeywords = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((keyword, index) => keyword === b[index]);

/**
 * Keywords after an observation: each difference between `observed` and `shadow` is one assertion; what did not differ
 * leaves the canonical value alone (F1). Arguments are upstream flags except `canonical`. The answer is sorted.
 */
export const mergeObserved = (legs: {
  readonly canonical: readonly string[];
  readonly shadow: readonly string[];
  readonly observed: readonly string[];
}): string[] => {
  const before = new Set(keywordsOfFlags(legs.shadow));
  const after = new Set(keywordsOfFlags(legs.observed));
  const merged = new Set(legs.canonical);
  for (const keyword of after) if (!before.has(keyword)) merged.add(keyword);
  for (const keyword of before) if (!after.has(keyword) && !growOnly.has(keyword)) merged.delete(keyword);
  return [...merged].sort();
};

/** Without a common base an observed flag is an assertion and an observed lack is not: it can be data loss (F9). */
export const mergeWithoutBase = (legs: {
  readonly canonical: readonly string[];
  readonly observed: readonly string[];
}): string[] => [...new Set([...legs.canonical, ...keywordsOfFlags(legs.observed)])].sort();
