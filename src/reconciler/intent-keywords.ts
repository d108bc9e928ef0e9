/** What an intent says of keywords, against what others said since its sender last looked (semantics F2–F4). */
import type { KeywordPatch } from "../model/intent.ts";
import { assertInto, fold, type KeywordDot, placeOf, toSource, valueOf } from "./dots.ts";
import { junkPair } from "./keywords.ts";

/** A change of keywords that no intent made, as the log has it. */
export interface SeenKeywords {
  readonly seq: bigint;
  /** The endpoint or the rule. */
  readonly source: string;
  readonly before: readonly string[];
  readonly after: readonly string[];
}

/** An earlier intent, whether it changed anything or not. */
export interface SaidKeywords {
  /** The last change when it was decided: its own, unless it is silent. */
  readonly seq: bigint;
  /** It made no change. */
  readonly silent: boolean;
  readonly deviceId: string;
  readonly base: bigint;
  readonly keywords: KeywordPatch;
}

/** Later than the base of the intent at hand; each in the order of the log. */
export interface KeywordHistory {
  readonly seen: readonly SeenKeywords[];
  readonly said: readonly SaidKeywords[];
}

/** Set by servers or inside of the removal of mail, never by who uses the API (semantics 3.1). */
const readOnly = new Set(["$recent", "$deleted", "$phishing", "$submitpending", "$submitted"]);

const isReadOnly = (keyword: string): boolean => readOnly.has(keyword) || keyword.startsWith("\\");

/** Why nobody can want keywords so, those in `set` set at once; null: one can. */
export const keywordFault = (named: readonly string[], set: readonly string[]): string | null => {
  if (named.some(isReadOnly)) return "keyword_read_only";
  return junkPair.every((keyword) => set.includes(keyword)) ? "keywords_exclude_each_other" : null;
};

/** A second disposition notice must never be sent (RFC 3503). */
const growsOnly = (keyword: string): boolean => keyword === "$mdnsent";

/**
 * With what it means for `$junk` and `$notjunk`, which exclude each other (RFC 9051 §2.3.2): who sets one takes the other away.
 */
const expand = (patch: KeywordPatch): KeywordPatch => {
  const { $junk: junk, $notjunk: notjunk } = patch;
  if (junk === true && notjunk === undefined) return { ...patch, $notjunk: false };
  return notjunk === true && junk === undefined ? { ...patch, $junk: false } : patch;
};

/** The dots of a keyword that may still live. */
const dotsOf = (keyword: string, { seen, said }: KeywordHistory): readonly KeywordDot[] => {
  const found: { readonly dot: KeywordDot; readonly base: bigint }[] = [];
  for (const { seq, source, before, after } of seen) {
    const is = after.includes(keyword);
    // What a server shows anew comes after all that was agreed on with it, and nothing else makes it news (1.4).
    if (is !== before.includes(keyword)) found.push({ dot: { is, place: placeOf(seq, false), source }, base: seq - 1n });
  }
  for (const { seq, silent, deviceId, base, keywords } of said) {
    const is = expand(keywords)[keyword];
    if (is !== undefined) found.push({ dot: { is, place: placeOf(seq, silent), source: toSource(deviceId) }, base });
  }
  return fold(found);
};

/** Do others stand over who says now that a keyword is there, or not, and had seen nothing of what they said? */
export const standsAgainst = (keyword: string, is: boolean, said: readonly SaidKeywords[]): boolean => {
  const dots = dotsOf(keyword, { seen: [], said });
  return dots.length > 0 && valueOf(keyword, [...dots, { is, place: 0n, source: "" }]) !== is;
};

/** What had to give way: somebody wanted the keyword to be there (`set`), or not to be. */
export interface LostValue {
  readonly keyword: string;
  readonly loser: "set" | "clear";
  readonly source: string;
  /** It cannot be taken away at all, whoever says so. */
  readonly growOnly: boolean;
}

export interface KeywordOutcome {
  /** Sorted. */
  readonly keywords: readonly string[];
  readonly lost: readonly LostValue[];
  /** Of so many keywords the intent spoke, and in so many it had to give way. */
  readonly said: number;
  readonly outvoted: number;
}

/** `speaker.seq`: later than all in the history. */
export const mergeSaid = (
  current: readonly string[],
  given: KeywordPatch,
  speaker: { readonly deviceId: string; readonly base: bigint; readonly seq: bigint },
  history: KeywordHistory,
): KeywordOutcome => {
  const patch = Object.entries(expand(given));
  const source = toSource(speaker.deviceId);
  const registers = patch.map(([keyword, is]) => {
    const dot = { is, place: placeOf(speaker.seq, false), source };
    return { keyword, is, dots: assertInto(dotsOf(keyword, history), dot, speaker.base) };
  });
  const merged = new Set(current);
  const put = (keyword: string, is: boolean): unknown => (is ? merged.add(keyword) : merged.delete(keyword));
  // What `$notjunk` stood over, and the speaker has not seen, comes back when it goes.
  const { $junk, $notjunk } = Object.fromEntries(patch);
  if ($junk === undefined && $notjunk === false && dotsOf("$junk", history).some((dot) => dot.is && dot.source !== source))
    merged.add("$junk");
  for (const { keyword, is, dots } of registers) if (is || !growsOnly(keyword)) put(keyword, valueOf(keyword, dots) ?? is);
  // Where two devices want one each.
  if (junkPair.every((keyword) => merged.has(keyword))) merged.delete("$junk");
  const lost = registers.flatMap(({ keyword, dots }) =>
    dots.flatMap((dot): LostValue[] => {
      if (dot.is === merged.has(keyword)) return [];
      return [{ keyword, loser: dot.is ? "set" : "clear", source: dot.source, growOnly: !dot.is && growsOnly(keyword) }];
    }),
  );
  const outvoted = registers.filter(({ keyword, is }) => is !== merged.has(keyword)).length;
  return { keywords: [...merged].toSorted(), lost, said: registers.length, outvoted };
};
