/**
 * Registers (semantics 1.2, 3.1): who said what since when. A dot lives until somebody asserts who had seen it, or until its own
 * source asserts again; of dots that live together the bias of the register decides, whatever their order.
 */

export interface Dot {
  /** See {@link placeOf}. */
  readonly place: bigint;
  /** A device or an endpoint. */
  readonly source: string;
}

/** A device as dots name it. */
export const toSource = (deviceId: string): string => `device ${deviceId}`;

/** A source as evidence has it: an endpoint stands under the name that says whose id it is. */
export const namedSource = (source: string): { readonly source: string; readonly endpointId?: string } => {
  const endpointId = /^endpoint (.+)$/.exec(source)?.[1];
  return endpointId === undefined ? { source } : { source: "endpoint", endpointId };
};

/**
 * Where in the log something was said: at a change, or, `silent`, behind it, when it changed nothing. Whoever has seen the change
 * has not seen what was said silently behind it, and whoever has seen the next has.
 */
export const placeOf = (seq: bigint, silent: boolean): bigint => 2n * seq + (silent ? 1n : 0n);

/** `base`: the last change that the source of the dot had seen. */
export const assertInto = <D extends Dot>(register: readonly D[], dot: D, base: bigint): readonly D[] => [
  ...register.filter(({ place, source }) => place > placeOf(base, false) && source !== dot.source),
  dot,
];

/** What several said one after the other, each with its base; stable: several may have been silent behind one change. */
export const fold = <D extends Dot>(said: readonly { readonly dot: D; readonly base: bigint }[]): readonly D[] =>
  said
    .toSorted((a, b) => (a.dot.place < b.dot.place ? -1 : a.dot.place > b.dot.place ? 1 : 0))
    .reduce<readonly D[]>((register, { dot, base }) => assertInto(register, dot, base), []);

export interface KeywordDot extends Dot {
  /** The keyword is there. */
  readonly is: boolean;
}

/** A wrongly read mail is a missed mail, and a draft must not be sent twice; else what was added stays. */
const clearWins = new Set(["$seen", "$draft"]);

/** null: nobody has said anything. */
export const valueOf = (keyword: string, register: readonly KeywordDot[]): boolean | null => {
  if (register.length === 0) return null;
  const bias = !clearWins.has(keyword);
  return register.some(({ is }) => is === bias) ? bias : !bias;
};
