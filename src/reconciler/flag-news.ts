/** What of a listing of flags may say something at all, so that a listing of what is as it was is nothing that a decision is made of. */
import { sameFlags } from "./keywords.ts";
import type { ItemFlags } from "./state.ts";

/** Of an item that is bound: its shadow, and whether it is open what became of flags that we said ourselves. */
export interface Agreed {
  readonly flags: readonly string[];
  readonly said: boolean;
}

/**
 * Facts that differ from what was agreed, or may be an answer to what we said (I8), and those of changes since the look before,
 * which tell of mod-sequences whatever came of them. Facts of unbound UIDs say nothing of flags: their items come with their octets.
 * `since`: HIGHESTMODSEQ of the look before; null: it gave none.
 */
export const newsAmong = <Fact extends ItemFlags>(
  facts: readonly Fact[],
  agreed: ReadonlyMap<number, Agreed>,
  since: bigint | null,
): Fact[] =>
  facts.filter(({ uid, flags, modseq }) => {
    if (since !== null && modseq !== null && modseq > since) return true;
    const known = agreed.get(uid);
    return known !== undefined && (known.said || !sameFlags(known.flags, flags));
  });
