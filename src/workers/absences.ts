/** Absence candidates after a consistent cut: moved, removed, kept or held (semantics 4). */
import { uuidv7 } from "uuidv7";
import type { Survey } from "../model/observation.ts";
import { viewPop3Devices } from "../model/pop3-devices.ts";
import { emptyDraft } from "../reconciler/state.ts";
import { resolveCandidates, vanishBreakerTrips } from "../reconciler/vanish.ts";
import { inAccount } from "../store/account-tx.ts";
import { closeSettledHolds, openHold } from "../store/candidates.ts";
import { applyDecision } from "../store/decisions.ts";
import { loadCandidates } from "../store/slices.ts";
import { step } from "../telemetry/failpoint.ts";
import { messagesStored } from "../telemetry/metrics.ts";
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
    if (status === null || !backfillDone(mailbox) || hasMoved(mailbox, status)) return false;
  }
  return true;
};

/** Decides every candidate that was missing before the survey began. @returns whether candidates are left (held). */
export const settleCandidates = async (context: LaneContext, survey: Survey): Promise<void> => {
  const at = new Date();
  step("before settle");
  await inAccount(context.db, context.fence, context.accountId, async (account) => {
    for (const group of await loadCandidates(account, context.endpointId, survey.startedAt)) {
      const unexplained = group.candidates.filter(
        (candidate) =>
          !candidate.ownCommand && !candidate.markedDeleted && candidate.role !== "trash" && candidate.role !== "junk",
      );
      if (vanishBreakerTrips({ candidates: unexplained.length, live: group.live })) {
        const { mailboxId } = group;
        await openHold(
          account,
          context.endpointId,
          { id: uuidv7(), mailboxId, reason: "mass_vanish", count: unexplained.length },
          at,
        );
        continue;
      }
      const decision = resolveCandidates({
        endpointId: context.endpointId,
        candidates: group.candidates,
        policy: account.policy,
        pop3Devices: viewPop3Devices(account.policy, account.pop3Evidence).state,
      });
      const scope = { endpointId: context.endpointId, mailboxId: group.mailboxId, epoch: 0 };
      await applyDecision(
        account,
        { ...emptyDraft(), ...decision },
        { scope, contents: [], existing: new Set(), at, inputId: null },
      );
      messagesStored.inc({ op: "removed" }, decision.placements.length);
    }
    await closeSettledHolds(account, context.endpointId, at);
  });
  step("after settle");
};
