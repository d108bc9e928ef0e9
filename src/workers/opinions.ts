/** What was said over the API while nobody looked at a mailbox, for the look that comes after (F4). */
import type { PlacementId } from "../model/ids.ts";
import { keywordsOfFlags } from "../model/mail.ts";
import type { FlagsFact } from "../model/observation.ts";
import { sameKeywords } from "../reconciler/keywords.ts";
import type { Decision, PlacementView } from "../reconciler/state.ts";
import type { AccountTx, InputTx } from "../store/account-tx.ts";
import { planIntentCommands } from "../store/commands.ts";
import { loadOpinions, type Opinion } from "../store/intent-slices.ts";
import type { LaneFacts, MailboxFacts } from "./lane-state.ts";

export type Opinions = ReadonlyMap<PlacementId, readonly Opinion[]>;

/** Of the items whose flags are shown otherwise now. */
export const opinionsOn = async (
  account: AccountTx,
  { endpointId }: LaneFacts,
  { lookedAt }: MailboxFacts,
  { bound, facts }: { readonly bound: ReadonlyMap<number, PlacementView>; readonly facts: readonly FlagsFact[] },
): Promise<Opinions> => {
  const placementIds = facts.flatMap(({ uid, flags }) => {
    const placement = bound.get(uid);
    if (placement?.binding == null) return [];
    return sameKeywords(keywordsOfFlags(flags), keywordsOfFlags(placement.binding.shadowFlags)) ? [] : [placement.id];
  });
  return loadOpinions(account, { endpointId, placementIds, since: lookedAt === 0 ? null : new Date(lookedAt) });
};

/** What stood over what was shown is owed to the server now, in the name of who said it. */
export const oweOpinions = async (
  account: InputTx,
  { endpointId }: LaneFacts,
  { changes }: Decision,
  opinions: Opinions,
): Promise<void> => {
  const outvoted = new Set(changes.flatMap(({ kind, placementId }) => (kind === "conflict.resolved" ? (placementId ?? []) : [])));
  for (const id of outvoted) {
    const opId = opinions.get(id)?.at(-1)?.opId;
    if (opId !== undefined) await planIntentCommands(account, endpointId, [id], { opId });
  }
};
