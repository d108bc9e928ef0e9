/** What becomes of a mailbox that may not be the one it was: what was said of it, and what its new epoch has left over (B4). */
import type { EndpointId, MailboxId } from "../model/ids.ts";
import { keepLeftOver } from "../reconciler/epoch.ts";
import type { Scope } from "../reconciler/state.ts";
import type { InputTx } from "../store/account-tx.ts";
import { listLeftOver, markUnbound } from "../store/candidates.ts";
import { applyDecision } from "../store/decisions.ts";
import { forgetEpochs } from "../store/epochs.ts";
import { defineInput, ingest } from "../store/inputs.ts";
import { loadPlacements } from "../store/slices.ts";
import { closeHold, epochDecision, loadHolds } from "../store/holds.ts";
import { backfillDone, type LaneContext, type MailboxLane, scopeOf } from "./lane-state.ts";

/** The reason of such a hold. */
export const epochHeld = "epoch";

interface HeldFacts {
  readonly endpointId: EndpointId;
  readonly mailboxIds: readonly MailboxId[];
}

/** @returns those that are held no more. */
const epochsDecided = defineInput("tick", "imap.epochs-decided", async (account, { endpointId, mailboxIds }: HeldFacts) => {
  const holds = await loadHolds(account, epochHeld);
  const done: MailboxId[] = [];
  for (const mailboxId of mailboxIds) {
    const hold = holds.get(mailboxId);
    if (hold?.decided == null) continue;
    await closeHold(account, endpointId, hold, { reason: epochHeld, outcome: hold.decided.as, rule: "B4" });
    done.push(mailboxId);
  }
  return done;
});

/** Mailboxes of which somebody has said what they are: they are read from here on. */
export const releaseEpochs = async (context: LaneContext): Promise<void> => {
  const held = [...context.mailboxes.values()].filter((mailbox) => mailbox.held > 0);
  if (held.length === 0) return;
  const mailboxIds = held.map(({ mailboxId }) => mailboxId);
  const released = new Set(await ingest(context, epochsDecided, { endpointId: context.endpointId, mailboxIds }));
  for (const mailbox of held) if (released.has(mailbox.mailboxId)) Object.assign(mailbox, { held: 0, compared: false });
};

/** Kept in one transaction. */
const keptAtOnce = 2_000;

/** @returns whether all are kept. */
const keepSome = async (account: InputTx, scope: Scope, deviceId: string): Promise<boolean> => {
  const ids = await listLeftOver(account, scope.endpointId, scope.mailboxId, keptAtOnce);
  const views = await loadPlacements(account, scope.endpointId, ids);
  const decision = keepLeftOver(scope, [...views.values()], deviceId);
  await applyDecision(account, decision, { scope, contents: [], existing: new Set() });
  return ids.length < keptAtOnce;
};

/** @returns whether all of it is settled. */
const epochRead = defineInput("observation", "imap.epoch-read", async (account, { scope }: { readonly scope: Scope }) => {
  const { endpointId, mailboxId, epoch } = scope;
  const said = await epochDecision(account, mailboxId, epoch);
  if (said?.as === "rejected" && !(await keepSome(account, scope, said.by))) return false;
  await markUnbound(account, endpointId, mailboxId);
  await forgetEpochs(account, scope);
  return true;
});

/**
 * A new epoch was read to its end: what no item continued is missing, or kept where somebody said that it is another mailbox. Where
 * numbers do not last nothing ever is: the next look may find it again.
 */
export const settleLeftOver = async (context: LaneContext, mailbox: MailboxLane): Promise<void> => {
  if (!backfillDone(mailbox) || !mailbox.numbersLast) return;
  while (!(await ingest(context, epochRead, { scope: scopeOf(context, mailbox) }))) continue;
};
