/** Absence candidates after a consistent cut: moved, removed, kept or held (semantics 4). */
import type { EndpointProfile } from "../model/endpoint.ts";
import type { Survey } from "../model/observation.ts";
import { viewPop3Devices } from "../model/pop3-devices.ts";
import { withCut } from "../reconciler/holds.ts";
import { type CutView, lostBeforeDurable as lostReason, resolveCandidates } from "../reconciler/vanish.ts";
import { type Batch, hasBatchShape } from "../reconciler/vanish-evidence.ts";
import { type AccountTx, inAccount } from "../store/account-tx.ts";
import { applyDecision } from "../store/decisions.ts";
import { closeHold, keepHold, loadHolds, type OpenHold } from "../store/holds.ts";
import { notePop3Sign } from "../store/pop3-evidence.ts";
import { type CandidateGroup, loadCandidates, loadPresent } from "../store/slices.ts";
import { step } from "../telemetry/failpoint.ts";
import { lostBeforeDurable, messagesStored } from "../telemetry/metrics.ts";
import { backfillDone, hasMoved, type LaneContext } from "./lane-state.ts";

/**
 * V0: the survey is the second collect, our cursors are the first. Equal everywhere means that nothing is under way
 * between mailboxes: what is missing now is nowhere.
 */
export const isConsistentCut = (context: LaneContext, survey: Survey): boolean => {
  if (!survey.complete) return false;
  const byPath = new Map(survey.mailboxes.map((mailbox) => [mailbox.path, mailbox]));
  for (const mailbox of context.mailboxes.values()) {
    if (!mailbox.selectable) continue;
    const status = byPath.get(mailbox.path)?.status ?? null;
    // A mailbox that cannot be read might hold what we miss.
    if (status === null || !(backfillDone(mailbox) || mailbox.held > 0) || hasMoved(mailbox, status)) return false;
  }
  return true;
};

/** What INBOX lost in this cut, against what it still shows. */
const batchOf = async (
  account: AccountTx,
  context: LaneContext,
  groups: readonly CandidateGroup[],
  at: number,
): Promise<Batch | null> => {
  const lost = groups.flatMap(({ candidates }) => candidates).filter(({ markedDeleted }) => !markedDeleted);
  const inbox = lost.filter(({ role }) => role === "inbox");
  const [first] = inbox;
  if (first === undefined) return null;
  const messages = new Set(inbox.map(({ messageId }) => messageId));
  const vanished = inbox.map((item) => ({
    uid: item.binding?.uid ?? 0,
    receivedAt: item.receivedAt,
    stronglySeen: item.keywords.includes("$seen"),
  }));
  const uids = vanished.map(({ uid }) => uid);
  const known = inbox.every(({ trace }) => trace !== null);
  const below = known ? Math.max(...inbox.map(({ trace }) => trace?.newBelow ?? 0)) : Number.MAX_SAFE_INTEGER;
  const [lowest, highest] = uids.reduce(([low, high], uid) => [Math.min(low, uid), Math.max(high, uid)], [Infinity, 0]);
  const rest = await loadPresent(account, context.endpointId, first.mailboxId, { lowest, highest, below });
  // What went with a copy in INBOX went by the same hand (Stalwart removes a mail everywhere).
  const elsewhere = lost.filter(({ role, messageId }) => role !== "inbox" && !messages.has(messageId)).length;
  return { vanished, elsewhere, ...rest, at };
};

const settleGroup = async (
  account: AccountTx,
  context: LaneContext,
  group: CandidateGroup,
  { hold, cut, mayRestore }: { readonly hold: OpenHold | null; readonly cut: CutView; readonly mayRestore: boolean },
): Promise<{ readonly held: number; readonly hinted: boolean }> => {
  const { mailboxId, epoch, candidates, live } = group;
  const { endpointId } = context;
  const at = new Date(cut.at);
  const { policy } = account;
  const pop3Devices = viewPop3Devices(policy, account.pop3Evidence).state;
  const history = hold?.history ?? null;
  const decided = hold?.decided?.as ?? null;
  const surroundings = { endpointId, live, epoch, hold: history, decided, cut, policy, pop3Devices, mayRestore };
  const decision = resolveCandidates({ candidates, ...surroundings });
  const scope = { endpointId, mailboxId, epoch };
  await applyDecision(account, decision, { scope, contents: [], existing: new Set(), at, inputId: null });
  messagesStored.inc({ op: "removed" }, decision.placements.length);
  lostBeforeDurable.inc(decision.changes.filter((change) => change.reason === lostReason).length);
  const reason = "mass_vanish";
  if (decision.held > 0) {
    const next = withCut(history, { epoch, at: cut.at });
    await keepHold(account, endpointId, hold, { mailboxId, reason, count: decision.held, history: next, at });
  } else if (hold !== null) await closeHold(account, endpointId, hold, { reason, outcome: decided ?? "released", at });
  return decision;
};

/** Decides every candidate that was missing before the survey began. @returns whether some are held. */
export const settleCandidates = async (
  context: LaneContext,
  survey: Survey,
  { pop3ShowsAll = false }: EndpointProfile,
): Promise<boolean> => {
  const at = new Date();
  step("before settle");
  const isHeld = await inAccount(context.db, context.fence, context.accountId, async (account) => {
    const groups = await loadCandidates(account, context.endpointId, survey.startedAt);
    const holds = await loadHolds(account, "mass_vanish");
    const batch = await batchOf(account, context, groups, at.getTime());
    const lost = groups.flatMap(({ candidates }) => candidates).filter(({ role }) => role === "inbox");
    const cut: CutView = {
      batchShape: batch !== null && hasBatchShape(batch),
      inboxLost: new Set(lost.map(({ messageId }) => messageId)),
      at: at.getTime(),
    };
    let held = 0;
    let hinted = false;
    for (const group of groups) {
      const hold = holds.get(group.mailboxId) ?? null;
      const settled = await settleGroup(account, context, group, { hold, cut, mayRestore: !pop3ShowsAll });
      held += settled.held;
      hinted ||= settled.hinted;
    }
    if (hinted) await notePop3Sign(account, "drained", at);
    const missing = new Set(groups.map(({ mailboxId }) => mailboxId));
    for (const hold of holds.values())
      if (!missing.has(hold.mailboxId))
        await closeHold(account, context.endpointId, hold, { reason: "mass_vanish", outcome: "reappeared", at });
    return held > 0;
  });
  step("after settle");
  return isHeld;
};
