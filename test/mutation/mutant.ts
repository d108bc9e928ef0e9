/** One rule taken out of the code, and the tests that have to notice. */

export interface Mutant {
  /** Of which rule (see `src/reconciler/SPEC.md`). */
  readonly rule: string;
  /** What does not hold any more. */
  readonly off: string;
  /** Below `src/`. */
  readonly file: string;
  /** Has to be in the file exactly once. */
  readonly text: string;
  readonly instead: string;
  /** Files below `test/`, or `file: words` of one test in it; those that cost least first. The first that fails ends it. */
  readonly tests: readonly string[];
}

type Row = readonly [rule: string, off: string, text: string, instead: string, tests?: readonly string[]];

/** Mutants of one file; `tests` unless a row names its own. */
export const mutantsOf = (file: string, tests: readonly string[], rows: readonly Row[]): readonly Mutant[] =>
  rows.map(([rule, off, text, instead, own]) => ({ rule, off, file, text, instead, tests: own ?? tests }));

/** The source without the rule. */
export const mutate = (source: string, { rule, file, text, instead }: Mutant): string => {
  const parts = source.split(text);
  if (parts.length !== 2) throw new Error(`${rule}: src/${file} has ${parts.length - 1} times, not once: ${text}`);
  return parts.join(instead);
};
