/**
 * Registers of keywords (semantics 1.2, 3.1): who said what since when. A dot lives until somebody asserts who had seen it, or
 * until its own source asserts again; of dots that live together the bias of the register decides, whatever their order.
 */

/** `none`, `junk` and `notjunk` are of the one register that `$junk` and `$notjunk` share (RFC 9051 §2.3.2). */
export type RegisterValue = "set" | "clear" | "none" | "junk" | "notjunk";

export interface Dot {
  readonly value: RegisterValue;
  /** See {@link placeOf}. */
  readonly place: bigint;
  /** A device or an endpoint. */
  readonly source: string;
}

export type Register = readonly Dot[];

/**
 * Where in the log something was said: at a change, or, `silent`, behind it, when it changed nothing. Whoever has seen the change
 * has not seen what was said silently behind it, and whoever has seen the next has.
 */
export const placeOf = (seq: bigint, silent: boolean): bigint => 2n * seq + (silent ? 1n : 0n);

/** `base`: the last change that the source of the dot had seen. */
export const assert = (register: Register, dot: Dot, base: bigint): Register => [
  ...register.filter(({ place, source }) => place > placeOf(base, false) && source !== dot.source),
  dot,
];

/** A wrongly read mail is a missed mail, and a draft must not be sent twice; else what was added stays. */
const clearWins = new Set(["$seen", "$draft"]);

/** Strongest first. */
const biasOf = (register: string): readonly RegisterValue[] => {
  if (register === "$junk") return ["notjunk", "junk", "none"];
  return clearWins.has(register) ? ["clear", "set"] : ["set", "clear"];
};

/** null: nobody has said anything. */
export const valueOf = (name: string, register: Register): RegisterValue | null =>
  biasOf(name).find((value) => register.some((dot) => dot.value === value)) ?? null;

/** The register that holds a keyword. */
export const registerOf = (keyword: string): string => (keyword === "$notjunk" ? "$junk" : keyword);

/** What a set of keywords says in a register; both of a pair that excludes each other say none. */
export const readRegister = (name: string, keywords: readonly string[]): RegisterValue => {
  if (name !== "$junk") return keywords.includes(name) ? "set" : "clear";
  const junk = keywords.includes("$junk");
  if (junk === keywords.includes("$notjunk")) return "none";
  return junk ? "junk" : "notjunk";
};

/** The keywords with a register's value; sorted. */
export const writeRegister = (name: string, value: RegisterValue, keywords: readonly string[]): string[] => {
  const others = keywords.filter((keyword) => registerOf(keyword) !== name);
  const word = { set: name, clear: null, none: null, junk: "$junk", notjunk: "$notjunk" }[value];
  return (word === null ? others : [...others, word]).toSorted();
};
