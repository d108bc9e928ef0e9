/** What becomes of a mailbox that may not be the one it was: what was said of it, and what its new epoch has left over (B4). */
import { keepLeftOver } from "../reconciler/epoch.ts";
import { type AccountTx, inAccount } from "../store/account-tx.ts";
import { listLeftOver, markUnbound } from "../store/candidates.ts";
import { applyDecision } from "../store/decisions.ts";
import { forgetEpochs } from "../store/epochs.ts";
import { loadPlacements } from "../store/slices.ts";
import { closeHold, epochDecision, loadHolds } from "../store/holds.ts";
import { backfillDone, type LaneContext, type MailboxLane, scopeOf } from "./lane-state.ts";

/** The reason of such a hold. */
export const epochHeld = "epoch";

/** Mailboxes of which somebody has said what they are: they are read from here on. */
export const releaseEpochs = async (context: LaneContext): Promise<void> => {
  const held = [...context.mailboxes.values()].filter((mailbox) => mailbox.held > 0);
  if (held.length === 0) return;
  const released = await inAccount(context.db, context.fence, context.accountId, async (account) => {
    const holds = await loadHolds(account, epochHeld);
    const done: MailboxLane[] = [];
    for (const mailbox of held) {
      const hold = holds.get(mailbox.mailboxId);
      if (hold?.decided == null) continue;
      const how = { reason: epochHeld, outcome: hold.decided.as, rule: "B4", at: new Date() };
      await closeHold(account, context.endpointId, hold, how);
      done.push(mailbox);
    }
    return done;
  });
  for (const mailbox of released) Object.assign(mailbox, { held: 0, compared: false });
};

/** Kept in one transaction. */
const keptAtOnce = 2_000;

/** @returns whether all are kept. */
const keepSome = async (account: AccountTx, context: LaneContext, mailbox: MailboxLane, deviceId: string): Promise<boolean> => {
  const scope = scopeOf(context, mailbox);
  const ids = await listLeftOver(account, scope.endpointId, scope.mailboxId, keptAtOnce);
  const views = await loadPlacements(account, scope.endpointId, ids);
  const decision = keepLeftOver(scope, [...views.values()], deviceId);
  await applyDecision(account, decision, { scope, contents: [], existing: new Set(), at: new Date(), inputId: null });
  return ids.length < keptAtOnce;
};

/** A new epoch was read to its end: what no item continued is missing, or kept where somebody said that it is another mailbox. */
export const settleLeftOver = async (context: LaneContext, mailbox: MailboxLane): Promise<void> => {
  if (!backfillDone(mailbox)) return;
  for (let done = false; !done;)
    done = await inAccount(context.db, context.fence, context.accountId, async (account) => {
      const { endpointId, mailboxId, epoch } = scopeOf(context, mailbox);
      const said = await epochDecision(account, mailboxId, epoch);
      if (said?.as === "rejected" && !(await keepSome(account, context, mailbox, said.by))) return false;
      await markUnbound(account, endpointId, mailboxId, new Date());
      await forgetEpochs(account, scopeOf(context, mailbox));
      return true;
    });
};
