/** Merging observed flags into canonical keywords: three legs, one assertion per difference (semantics F1–F11). */
import { keywordsOfFlags } from "../model/mail.ts";

/** Once set, set for ever: a second disposition notice must never be sent (RFC 3503; semantics 3.1). */
const growOnly = new Set(["$mdnsent"]);

/** Of the two at most one is true of a mail; where both are shown neither is (RFC 9051 §2.3.2). */
export const junkPair: readonly string[] = ["$junk", "$notjunk"];

const hasBoth = (keywords: { has(keyword: string): boolean }): boolean => junkPair.every((keyword) => keywords.has(keyword));

export const sameKeywords = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((keyword, index) => keyword === b[index]);

/** Upstream flags, except `canonical`. */
export interface Legs {
  readonly canonical: readonly string[];
  readonly shadow: readonly string[];
  readonly observed: readonly string[];
}

/**
 * Keywords after an observation: each difference between `observed` and `shadow` is one assertion; what did not differ
 * leaves the canonical value alone (F1). The answer is sorted.
 */
export const mergeObserved = (legs: Legs): string[] => {
  const before = new Set(keywordsOfFlags(legs.shadow));
  const after = new Set(keywordsOfFlags(legs.observed));
  const merged = new Set(legs.canonical);
  for (const keyword of after) if (!before.has(keyword)) merged.add(keyword);
  for (const keyword of before) if (!after.has(keyword) && !growOnly.has(keyword)) merged.delete(keyword);
  // What is shown stands over what was said here before; of both neither does.
  if (hasBoth(merged)) for (const keyword of junkPair) if (hasBoth(after) || !after.has(keyword)) merged.delete(keyword);
  return [...merged].sort();
};

/** Why upstream is to be told what the placement is, although nobody there asked for another value; null: nothing is amiss. */
export const faultShown = (legs: Legs): "grow_only" | "exclusive_keywords" | null => {
  const before = new Set(keywordsOfFlags(legs.shadow));
  const after = new Set(keywordsOfFlags(legs.observed));
  if (legs.canonical.some((keyword) => growOnly.has(keyword) && before.has(keyword) && !after.has(keyword))) return "grow_only";
  return hasBoth(after) && !hasBoth(before) ? "exclusive_keywords" : null;
};

/**
 * The shadow with what we said ourselves and now is so: that is nobody's assertion (I8). What we said and is not so stays as it
 * was, for nothing shows that it was done.
 */
export const withSaid = (
  shadow: readonly string[],
  observed: readonly string[],
  said: { readonly change: "add" | "remove"; readonly flags: readonly string[] },
): readonly string[] => {
  const words = new Set(said.flags.map((flag) => flag.toLowerCase()));
  const isOurs = (flag: string): boolean => words.has(flag.toLowerCase());
  if (said.change === "add") return [...shadow.filter((flag) => !isOurs(flag)), ...observed.filter(isOurs)];
  const shown = new Set(observed.map((flag) => flag.toLowerCase()));
  return shadow.filter((flag) => !isOurs(flag) || shown.has(flag.toLowerCase()));
};

/** Without a common base an observed flag is an assertion and an observed lack is not: it can be data loss (F9). */
export const mergeWithoutBase = (legs: {
  readonly canonical: readonly string[];
  readonly observed: readonly string[];
}): string[] => {
  const after = new Set(keywordsOfFlags(legs.observed));
  const merged = new Set([...legs.canonical, ...after]);
  // Neither has seen the other, where they differ.
  if (hasBoth(merged)) for (const keyword of hasBoth(after) ? junkPair : ["$junk"]) merged.delete(keyword);
  return [...merged].sort();
};

export const sameFlags = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((flag) => b.includes(flag));
