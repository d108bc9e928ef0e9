/** Items that are gone: first a candidate, then, after a consistent cut, a decision (semantics 4). */
import type { Policy } from "../model/account.ts";
import type { EndpointId } from "../model/ids.ts";
import type { Role } from "../model/mail.ts";
import type { Pop3Devices } from "../model/pop3-devices.ts";
import { type Decision, emptyDraft, type PlacementView, record, type Scope } from "./state.ts";
import { type Classification, classifyImapVanish, outcomeOf } from "./vanish-rules.ts";

export interface AbsenceInput {
  readonly scope: Scope;
  /** UIDs missing in an admitted read, ascending. Unknown ones are ignored (I13). */
  readonly uids: readonly number[];
  readonly bound: ReadonlyMap<number, PlacementView>;
}

/** Phase 1: the binding is closed and the placement becomes a candidate. Nothing changes for a reader. */
export const reconcileAbsences = (input: AbsenceInput): Decision => {
  const draft = emptyDraft();
  for (const uid of input.uids) {
    const placement = input.bound.get(uid);
    if (placement === undefined) continue;
    draft.closed.push({ uid, reason: "absent" });
    if (placement.lifecycle !== "live") continue;
    draft.placements.push({ ...unchanged(placement), absent: true });
  }
  return draft;
};

const unchanged = (placement: PlacementView) => ({
  id: placement.id,
  mailboxId: placement.mailboxId,
  keywords: placement.keywords,
  lifecycle: placement.lifecycle,
  kept: placement.kept,
  absent: placement.absent,
  reason: null,
  recoverableDays: null,
  change: null,
});

/** Counts for breaker B1 in one mailbox: candidates that are due now, and live placements before any of them is removed. */
export interface VanishCounts {
  readonly candidates: number;
  readonly live: number;
}

/** B1: too much vanished at once to be believed without a second thought. */
export const vanishBreakerTrips = (counts: VanishCounts): boolean => {
  const { candidates, live } = counts;
  if (candidates >= 1000) return true;
  if (candidates >= 20 && candidates >= 0.3 * live) return true;
  return candidates >= 10 && candidates === live;
};

export interface Candidate extends PlacementView {
  readonly role: Role | null;
  /** We removed it ourselves, over POP3 (V1). */
  readonly ownCommand: boolean;
  /** `\Deleted` was in the shadow before it vanished (V9). */
  readonly markedDeleted: boolean;
}

export interface ResolveInput {
  readonly endpointId: EndpointId;
  /** Candidates no mailbox has shown again in a consistent cut (V0). */
  readonly candidates: readonly Candidate[];
  readonly policy: Policy;
  readonly pop3Devices: Pop3Devices;
}

/** By what a consistent cut shows of one item: neither its neighbours nor mod-sequences are looked at. */
const classify = ({ role, ownCommand, markedDeleted }: Candidate, pop3Devices: Pop3Devices): Classification =>
  classifyImapVanish({
    ownCommand,
    foundElsewhere: null,
    epochChanged: false,
    outsideWindow: false,
    breakerTripped: false,
    role,
    shownByPop3After: false,
    mailboxGone: false,
    markedDeleted,
    atRetentionAge: false,
    storeExcluded: false,
    batchShape: false,
    goneFromInboxToo: false,
    pop3Devices,
    cutHasGaps: false,
  });

/** Phase 2: what no cut has shown again is removed (and stays recoverable) or kept, as the policy says. */
export const resolveCandidates = (input: ResolveInput): Decision => {
  const draft = emptyDraft();
  const { policy, pop3Devices } = input;
  for (const candidate of input.candidates) {
    const found = classify(candidate, pop3Devices);
    const { action, recoverableDays } = outcomeOf({ found, policy, pop3Devices, drainSuspect: false, canRestore: false });
    // The server's copy was not wanted any more; the mail is.
    const keep = action === "keep" || found.class === "self";
    const index = record(draft, {
      kind: keep ? "message.kept" : "message.removed",
      messageId: candidate.messageId,
      mailboxId: candidate.mailboxId,
      placementId: candidate.id,
      before: { mailboxId: candidate.mailboxId, keywords: candidate.keywords },
      after: keep ? { mailboxId: candidate.mailboxId, keywords: candidate.keywords } : null,
      source: "imap",
      endpointId: input.endpointId,
      deviceId: null,
      reason: found.class,
      rule: found.rule,
      confidence: found.confidence,
      evidence:
        candidate.binding === null ? [] : [{ vanishedUid: candidate.binding.uid, markedDeleted: candidate.markedDeleted }],
    });
    draft.placements.push({
      ...unchanged(candidate),
      absent: false,
      lifecycle: keep ? "live" : "removed",
      kept: keep,
      reason: found.class,
      recoverableDays,
      change: index,
    });
  }
  return draft;
};
