/** What an intent says of keywords, against what others said since its sender last looked (semantics F2–F4). */
import type { KeywordPatch } from "../model/intent.ts";
import {
  assert,
  type Dot,
  placeOf,
  readRegister,
  type Register,
  registerOf,
  type RegisterValue,
  valueOf,
  writeRegister,
} from "./dots.ts";

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

export const isReadOnly = (keyword: string): boolean => readOnly.has(keyword) || keyword.startsWith("\\");

/** A second disposition notice must never be sent (RFC 3503). */
const growsOnly = (keyword: string): boolean => keyword === "$mdnsent";

/** A patch as one value for each register that it names. */
const valuesOf = (patch: KeywordPatch, keywords: readonly string[]): Map<string, RegisterValue> => {
  const values = new Map<string, RegisterValue>();
  for (const name of new Set(Object.keys(patch).map(registerOf))) {
    if (name !== "$junk") {
      values.set(name, patch[name] === true ? "set" : "clear");
      continue;
    }
    const { $junk: junk, $notjunk: notjunk } = patch;
    // Whoever sets one of the two takes the other away; whoever takes away what is not there leaves the other.
    const named = [...(junk === true ? ["$junk"] : []), ...(notjunk === true ? ["$notjunk"] : [])];
    const left = keywords.filter((keyword) => registerOf(keyword) === name && patch[keyword] !== false);
    values.set(name, readRegister(name, named.length > 0 ? named : left));
  }
  return values;
};

/** A device as dots name it. */
export const toSource = (deviceId: string): string => `device ${deviceId}`;

/** The dots of a register that may still live, in the order in which they came. */
const dotsOf = (name: string, { seen, said }: KeywordHistory): Register => {
  const found: { readonly dot: Dot; readonly base: bigint }[] = [];
  for (const { seq, source, before, after } of seen) {
    const value = readRegister(name, after);
    // What a server shows anew comes after all that was agreed on with it, and nothing else makes it news (1.4).
    if (value !== readRegister(name, before)) found.push({ dot: { value, place: placeOf(seq, false), source }, base: seq - 1n });
  }
  for (const { seq, silent, deviceId, base, keywords } of said) {
    const value = valuesOf(keywords, []).get(name);
    if (value !== undefined) found.push({ dot: { value, place: placeOf(seq, silent), source: toSource(deviceId) }, base });
  }
  // Stable: several may have been silent behind one change.
  const ordered = found.toSorted((a, b) => (a.dot.place < b.dot.place ? -1 : a.dot.place > b.dot.place ? 1 : 0));
  return ordered.reduce<Register>((register, { dot, base }) => assert(register, dot, base), []);
};

/** What had to give way in a register. */
export interface LostValue {
  readonly register: string;
  readonly winner: RegisterValue;
  readonly loser: RegisterValue;
  readonly source: string;
  /** It cannot be taken away at all, whoever says so. */
  readonly growOnly: boolean;
}

export interface KeywordOutcome {
  /** Sorted. */
  readonly keywords: readonly string[];
  readonly lost: readonly LostValue[];
  /** So many registers the intent spoke of, and in so many it had to give way. */
  readonly said: number;
  readonly outvoted: number;
}

/** `speaker.seq`: later than all in the history. */
export const mergeSaid = (
  current: readonly string[],
  patch: KeywordPatch,
  speaker: { readonly deviceId: string; readonly base: bigint; readonly seq: bigint },
  history: KeywordHistory,
): KeywordOutcome => {
  const lost: LostValue[] = [];
  const values = valuesOf(patch, current);
  const source = toSource(speaker.deviceId);
  let keywords = current;
  let outvoted = 0;
  for (const [register, value] of values) {
    if (growsOnly(register) && value === "clear" && current.includes(register)) {
      lost.push({ register, winner: "set", loser: value, source, growOnly: true });
      outvoted += 1;
      continue;
    }
    const dots = assert(dotsOf(register, history), { value, place: placeOf(speaker.seq, false), source }, speaker.base);
    const winner = valueOf(register, dots) ?? value;
    for (const dot of dots)
      if (dot.value !== winner) lost.push({ register, winner, loser: dot.value, source: dot.source, growOnly: false });
    if (winner !== value) outvoted += 1;
    keywords = writeRegister(register, winner, keywords);
  }
  return { keywords: [...keywords].toSorted(), lost, said: values.size, outvoted };
};
