/** Every rule that is in the code, taken out in turn. */
import { absence } from "./absence.ts";
import { arrivals } from "./arrivals.ts";
import { gates } from "./gates.ts";
import { identity } from "./identity.ts";
import type { Mutant } from "./mutant.ts";
import { places } from "./places.ts";
import { things } from "./things.ts";
import { witnesses } from "./witnesses.ts";
import { words } from "./words.ts";

const numberOf = (rule: string): number => Number(/\d+/u.exec(rule)?.[0]);
const lettersOf = (rule: string): string => /^[A-Z]+/u.exec(rule)?.[0] ?? "";

/** In the order of their rules. */
export const mutants: readonly Mutant[] = [
  ...gates,
  ...absence,
  ...arrivals,
  ...identity,
  ...places,
  ...things,
  ...witnesses,
  ...words,
].toSorted(
  (a, b) =>
    lettersOf(a.rule).localeCompare(lettersOf(b.rule)) || numberOf(a.rule) - numberOf(b.rule) || a.rule.localeCompare(b.rule),
);
