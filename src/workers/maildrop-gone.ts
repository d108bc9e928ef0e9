/** Decides about items that a maildrop does not show any more (semantics 4). */
import { viewPop3Devices } from "../model/pop3-devices.ts";
import { mayRelease, withCut } from "../reconciler/holds.ts";
import { type GoneInput, reconcileGone } from "../reconciler/maildrop-vanish.ts";
import type { Scope } from "../reconciler/state.ts";
import type { InputTx } from "../store/account-tx.ts";
import { loadLosses } from "../store/candidates.ts";
import { loadGone } from "../store/claims.ts";
import { findRestoreEndpoint, planCommands } from "../store/commands.ts";
import { applyDecision } from "../store/decisions.ts";
import { closeHold, keepHold, loadHolds } from "../store/holds.ts";
import { defineInput } from "../store/inputs.ts";
import { type BoundItem, endItems } from "../store/maildrops.ts";
import { messagesStored } from "../telemetry/metrics.ts";
import { ingestMaildrop, type MaildropContext } from "./maildrop-commit.ts";

export interface GoneOutcome {
  /** Some are left undecided. */
  readonly open: boolean;
  /** Some are to be put back over IMAP. */
  readonly owed: boolean;
}

interface GoneFacts extends Pick<GoneInput, "bound" | "outsideWindow" | "doubtful"> {
  readonly scope: Scope;
  readonly gone: readonly BoundItem[];
  /** The server's word counts less for a while (B2). */
  readonly troubled: boolean;
}

const decideGone = async (account: InputTx, { scope, gone, troubled, ...rest }: GoneFacts) => {
  const { at } = account.input;
  const seen = await loadGone(
    account,
    scope.endpointId,
    gone.map(({ placementId }) => placementId),
  );
  const items = gone.flatMap((item) => {
    const found = seen.get(item.placementId);
    return found === undefined ? [] : [{ item, found }];
  });
  const { policy } = account;
  const { state: pop3Devices } = viewPop3Devices(policy, account.pop3Evidence);
  const { mailboxId, endpointId, epoch } = scope;
  const reason = "mass_drain";
  const unwell = troubled || (await loadHolds(account, "inconsistent_views")).size > 0;
  const open = (await loadHolds(account, reason)).get(mailboxId) ?? null;
  const past = open?.history ?? null;
  const since = { epoch, absentSince: past?.from ?? at.getTime(), at: at.getTime() };
  const hold = open === null ? "none" : (open.decided?.as ?? (mayRelease(past, since) ? "released" : "held"));
  const restoreTo = policy.onPop3Drain === "restore" ? await findRestoreEndpoint(account) : null;
  const found = items.map((item) => ({ ...item.found, restorable: item.found.restorable && restoreTo !== null }));
  const losses = await loadLosses(account, found.filter(({ imap }) => imap === "none").length, at);
  const lately = { mailbox: losses.byMailbox.get(mailboxId) ?? 0, account: losses.account };
  const { commands, ...decision } = reconcileGone({ scope, gone: found, policy, pop3Devices, hold, unwell, lately, ...rest });
  await applyDecision(account, { ...decision, commands: [] }, { scope, contents: [], existing: new Set() });
  if (restoreTo !== null) await planCommands(account, restoreTo, commands);
  const ended = decision.ended.flatMap(({ item, reason: because }) => {
    const entry = items[item];
    return entry === undefined ? [] : [{ ...entry.item, reason: because }];
  });
  await endItems(account, scope, ended);
  if (!rest.outsideWindow) {
    const history = withCut(past, { epoch, at: at.getTime() });
    if (decision.held > 0) await keepHold(account, endpointId, open, { mailboxId, reason, count: decision.held, history });
    else if (open !== null) {
      const outcome = gone.length === 0 ? "reappeared" : (open.decided?.as ?? "released");
      await closeHold(account, endpointId, open, { reason, outcome });
    }
  }
  return { removed: decision.placements.length, open: decision.held + decision.waiting > 0, owed: commands.length > 0 };
};

const itemsGone = defineInput("observation", "pop3.gone", decideGone);

/** Decides about items that are gone; none ends what was held. */
export const commitGone = async (
  context: MaildropContext,
  scope: Scope,
  gone: Omit<GoneFacts, "scope" | "troubled">,
): Promise<GoneOutcome> => {
  const facts = { scope, troubled: context.trouble.isRecent, ...gone };
  const { removed, ...outcome } = await ingestMaildrop(context, itemsGone, facts);
  messagesStored.inc({ op: "removed" }, removed);
  return outcome;
};
