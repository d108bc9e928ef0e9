/** Items bound to the placements that they are by their header blocks, without their octets. */
import type { Rebound } from "../reconciler/epoch.ts";
import { type Claimed, type ItemFact, reconcileItems } from "../reconciler/items.ts";
import type { InputTx } from "../store/account-tx.ts";
import { applyDecision } from "../store/decisions.ts";
import { loadDoomed } from "../store/epochs.ts";
import { defineInput, ingest } from "../store/inputs.ts";
import { loadBound, loadPlacements } from "../store/slices.ts";
import { step } from "../telemetry/failpoint.ts";
import { loadClaimed } from "./claims.ts";
import { loadContests } from "./contests.ts";
import {
  type LaneContext,
  type LaneFacts,
  laneFacts,
  type MailboxFacts,
  mailboxFacts,
  type MailboxLane,
  scopeOf,
} from "./lane-state.ts";
import { drainToTrash } from "./seen.ts";

const confidenceOf = { L1: 0.99, L4: 0.9 } as const;

export interface Pair {
  readonly pair: Rebound;
  readonly item: Omit<ItemFact, "sha256" | "hFull">;
}

interface PairsFacts {
  readonly lane: LaneFacts;
  readonly mailbox: MailboxFacts;
  readonly found: readonly Pair[];
}

/** What was bound meanwhile, or changed, is left to be read whole. @returns the UIDs that are bound now. */
const decidePairs = async (account: InputTx, { lane, mailbox, found }: PairsFacts): Promise<readonly number[]> => {
  const scope = scopeOf(lane, mailbox);
  const views = await loadPlacements(
    account,
    scope.endpointId,
    found.map(({ pair }) => pair.placementId),
  );
  const { bound, closed } = await loadBound(
    account,
    scope,
    found.map(({ item }) => item.uid),
  );
  const isOurs = await loadClaimed(account, scope);
  const claimed = new Map<number, Claimed>();
  for (const { pair, item } of found) {
    const placement = views.get(pair.placementId);
    if (placement === undefined || placement.binding?.active === true || bound.has(item.uid)) continue;
    if (isOurs(item.uid, placement.messageId)) continue;
    claimed.set(item.uid, { placement, confidence: confidenceOf[pair.level] });
  }
  const items = found.flatMap(({ item }) => (claimed.has(item.uid) ? [{ ...item, sha256: null }] : []));
  const arriving = new Map(
    [...claimed.values()].map(({ placement }) => [placement.id, { id: placement.messageId, placements: [placement] }]),
  );
  const toTrash = await drainToTrash(account, lane, mailbox, arriving);
  const { permanentFlags } = mailbox;
  // They were read just now: who says that they are elsewhere is weighed as of then.
  const moved = [...claimed.values()].map(({ placement }) => placement);
  const contests = await loadContests(account, lane, { placements: moved, readAt: account.input.at.getTime() });
  const doomed = await loadDoomed(account, scope.endpointId, moved);
  const none = { known: new Map(), freshIds: [], reason: "delivered" } as const;
  const decision = reconcileItems({ scope, items, bound, claimed, doomed, toTrash, contests, permanentFlags, ...none });
  const existing = new Set([...bound.keys(), ...closed]);
  await applyDecision(account, decision, { scope, contents: [], existing });
  return decision.bindings.map(({ uid }) => uid);
};

const pairsFound = defineInput("observation", "imap.pairs", decidePairs);

/** @returns the UIDs that are bound now. */
export const commitPairs = (context: LaneContext, mailbox: MailboxLane, found: readonly Pair[]): Promise<readonly number[]> => {
  step("before rebind");
  return ingest(context, pairsFound, { lane: laneFacts(context), mailbox: mailboxFacts(mailbox), found });
};
