/** Items of a scope with the shadow that counts: what we said ourselves and is shown now is no news (I8). */
import type { FlagsFact } from "../model/observation.ts";
import { withSaid } from "../reconciler/keywords.ts";
import type { PlacementView, Scope } from "../reconciler/state.ts";
import type { AccountTx } from "../store/account-tx.ts";
import { loadSaid } from "../store/commands.ts";
import { type BoundItems, loadBound } from "../store/slices.ts";

/** As {@link loadBound}; `facts` are the flags that were read, by which what we said is known again. */
export const loadBoundAgainst = async (
  account: AccountTx,
  scope: Scope,
  { uids, facts }: { readonly uids: readonly number[]; readonly facts: readonly FlagsFact[] },
): Promise<BoundItems & { readonly echoes: ReadonlySet<number> }> => {
  const { bound, closed } = await loadBound(account, scope, uids);
  const said = facts.length === 0 ? new Map<never, never>() : await loadSaid(account, scope);
  const echoes = new Set<number>();
  for (const { uid, flags } of said.size === 0 ? [] : facts) {
    const placement = bound.get(uid);
    const ours = placement === undefined ? undefined : said.get(placement.id);
    if (placement?.binding == null || ours === undefined) continue;
    const shadowFlags = ours.reduce((shadow, each) => withSaid(shadow, flags, each), placement.binding.shadowFlags);
    bound.set(uid, { ...placement, binding: { ...placement.binding, shadowFlags } } satisfies PlacementView);
    echoes.add(uid);
  }
  return { bound, closed, echoes };
};
