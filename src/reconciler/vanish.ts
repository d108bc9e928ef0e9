/** Items that are gone: first a candidate, then, after a consistent cut, a decision (semantics 4). */
import type { Policy } from "../model/account.ts";
import type { HoldDecision } from "../model/hold.ts";
import type { EndpointId, MessageId, PlacementId } from "../model/ids.ts";
import type { Role } from "../model/mail.ts";
import type { Pop3Devices } from "../model/pop3-devices.ts";
import { type CutHistory, mayRelease } from "./holds.ts";
import type { SecondView } from "./second-view.ts";
import { settleWanted, type WantedElsewhere } from "./source-gone.ts";
import { type Decision, emptyDraft, type PlacementView, record, type Scope } from "./state.ts";
import { accountBreakerTrips, isGuarded, type VanishCounts, vanishBreakerTrips } from "./vanish-breaker.ts";
import type { AbsenceTrace } from "./vanish-evidence.ts";
import { isAtRetentionAge } from "./vanish-retention.ts";
import {
  type Classification,
  classifyImapVanish,
  type ImapVanishEvidence,
  outcomeOf,
  type VanishOutcome,
} from "./vanish-rules.ts";

export interface AbsenceInput {
  readonly scope: Scope;
  /** UIDs missing in an admitted read, ascending. Unknown ones are ignored (I13). */
  readonly uids: readonly number[];
  readonly bound: ReadonlyMap<number, PlacementView>;
  readonly trace: AbsenceTrace;
}

/** Phase 1: the binding is closed and the placement becomes a candidate. Nothing changes for a reader. */
export const reconcileAbsences = (input: AbsenceInput): Decision => {
  const draft = emptyDraft();
  for (const uid of input.uids) {
    const placement = input.bound.get(uid);
    if (placement === undefined) continue;
    draft.closed.push({ uid, reason: "absent" });
    if (placement.lifecycle !== "live") continue;
    draft.placements.push({ ...unchanged(placement), absent: true, absence: input.trace });
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

export interface Candidate extends PlacementView {
  readonly role: Role | null;
  /** We removed it ourselves, over POP3 (V1). */
  readonly ownCommand: boolean;
  /** `\Deleted` was in the shadow before it vanished (V9). */
  readonly markedDeleted: boolean;
  /** It came to Trash in the shape of what a POP3 device deletes (4.3), and is there since. */
  readonly drainSuspect: boolean;
  /** Its mailbox is gone for good (D2, D9). */
  readonly mailboxGone: boolean;
  /** When it came to its mailbox; null: it was there before anybody looked, or nobody asked. */
  readonly cameAt: number | null;
  /** When a read first missed it. */
  readonly absentSince: number;
  /** null: nothing was noted, as of what a new epoch lacks. */
  readonly trace: AbsenceTrace | null;
  /** Its octets are stored. */
  readonly durable: boolean;
  /** It may be put back: it is durable, and was not put back before (V18, I14). */
  readonly restorable: boolean;
  /** The endpoint shows another live placement of its message. */
  readonly shownElsewhere: boolean;
  /** An operation wanted it elsewhere than where it is missed; absent: nobody did. */
  readonly wanted?: WantedElsewhere | null;
}

/** What one consistent cut shows beside the items themselves. */
export interface CutView {
  /** INBOX lost a batch in the shape of what a POP3 device takes (4.3). */
  readonly batchShape: boolean;
  /** Messages of which a placement in INBOX is missing. */
  readonly inboxLost: ReadonlySet<MessageId>;
  /** What the maildrop shows of the candidates; of those that are not in it: none. */
  readonly secondViews: ReadonlyMap<PlacementId, SecondView>;
  /** Those that may be in a mailbox of which nobody has read what it has (B4), or be what is listed and not given (G7); absent: none. */
  readonly unread?: ReadonlySet<PlacementId>;
  /** All of them may be in such a mailbox, for that tells nothing, and may not for long: told of where they are many. */
  readonly blind?: boolean;
  /** A server was not well of late, or the views of the account disagree (B2). */
  readonly unwell: boolean;
  /** Of the whole account, with what was removed shortly before (B1). */
  readonly account: VanishCounts;
  /** The server's mailboxes are labels: a message under several of them is one. */
  readonly keepsLabels: boolean;
  /** Days that the server leaves mail in Trash and Junk; null: not learned. */
  readonly trashDays: number | null;
  readonly at: number;
}

export interface ResolveInput {
  readonly endpointId: EndpointId;
  /** Candidates of one mailbox that no mailbox has shown again in a consistent cut (V0). */
  readonly candidates: readonly Candidate[];
  /** Live placements of the mailbox, candidates included. */
  readonly live: number;
  /** So many were removed from it shortly before, and are not among the live ones (B1). */
  readonly lately: number;
  /** Of its present epoch. */
  readonly epoch: number;
  /** The cuts of its open hold; null: nothing is held. */
  readonly hold: CutHistory | null;
  /** What was said of what is held; null: nothing. */
  readonly decided: HoldDecision | null;
  /** The views disagreed about the mailbox before, and that is not settled, or what was said of it; null: they did not. */
  readonly dispute: "open" | HoldDecision | null;
  readonly cut: CutView;
  readonly policy: Policy;
  readonly pop3Devices: Pop3Devices;
  /** A POP3 device sees INBOX only: what is put back elsewhere is not taken again (V18). */
  readonly mayRestore: boolean;
}

export interface Resolution extends Decision {
  /** Left undecided by breaker B1. */
  readonly held: number;
  /** Left undecided because the maildrop shows it (V4). */
  readonly disputed: number;
  /** Left undecided until the maildrop is listed, or a held mailbox is read. */
  readonly awaited: number;
  /** Something left INBOX that nobody had marked as deleted, and no POP3 device is known (V15). */
  readonly hinted: boolean;
}

const viewOf = ({ id }: Candidate, { secondViews }: CutView): SecondView => secondViews.get(id) ?? "none";

/** What is known of a candidate, but for what is believed of the devices: it is told with the decision, to be judged again by. */
const seenOf = (candidate: Candidate, { cut, dispute }: ResolveInput): Omit<ImapVanishEvidence, "pop3Devices"> => ({
  ownCommand: candidate.ownCommand,
  foundElsewhere: null,
  epochChanged: false,
  outsideWindow: false,
  breakerTripped: false,
  role: candidate.role,
  shownByPop3After: dispute !== "approved" && viewOf(candidate, cut) === "shown",
  mailboxGone: candidate.mailboxGone,
  labelRemoved: cut.keepsLabels && candidate.shownElsewhere,
  markedDeleted: candidate.markedDeleted,
  atRetentionAge: isAtRetentionAge(candidate, cut.trashDays, cut.at),
  drainSuspect: candidate.drainSuspect,
  storeExcluded: candidate.trace?.storeExcluded ?? false,
  batchShape: cut.batchShape,
  goneFromInboxToo: cut.inboxLost.has(candidate.messageId),
  cutHasGaps: false,
});

const classify = (candidate: Candidate, input: ResolveInput): Classification =>
  classifyImapVanish({ ...seenOf(candidate, input), pop3Devices: input.pop3Devices });

interface Verdict {
  readonly found: Classification;
  readonly reason: string;
  readonly outcome: VanishOutcome;
}

/** Who has to speak first: breaker B1, or the maildrop, which shows it or was not listed since, or a mailbox that is held. */
type Pending = "held" | "disputed" | "awaited";

/**
 * What becomes of a candidate, or why that is left open. The breaker guards removals only: where mail is kept, nothing is lost by
 * believing the server, and keeping is what a hold ends in (release c).
 */
const judge = (candidate: Candidate, input: ResolveInput, tripped: boolean): Verdict | Pending => {
  const { policy, pop3Devices, cut } = input;
  const found = classify(candidate, input);
  const view = viewOf(candidate, cut);
  const outcome = outcomeOf({
    found,
    policy,
    pop3Devices,
    drainSuspect: candidate.drainSuspect,
    canRestore: input.mayRestore && candidate.restorable,
  });
  if (outcome.action === "hold") return input.dispute === "rejected" ? givenUp("V4", "rejected") : "disputed";
  const mayBeThere = view === "awaited" || cut.unread?.has(candidate.id) === true;
  if (mayBeThere && !candidate.ownCommand) return "awaited";
  const believed = !tripped || !isGuarded(candidate) || outcome.action === "keep";
  // A hold tells of it; what somebody says of that is done when the mailbox was read.
  if (cut.blind === true && !candidate.ownCommand) return blindly(believed, input);
  if (believed && input.dispute === "open" && view === "unheard" && outcome.action === "remove") return givenUp("V4", "released");
  if (believed && !candidate.durable)
    return { found, reason: lostBeforeDurable, outcome: { action: "remove", recoverableDays: policy.retentionDays } };
  if (believed) return { found, reason: found.class, outcome };
  return underBreaker(candidate, input);
};

const blindly = (believed: boolean, { decided }: ResolveInput): Pending => (believed || decided !== null ? "awaited" : "held");

/** What breaker B1 guards, and what nobody has said to be gone. */
const underBreaker = (candidate: Candidate, { decided, hold, epoch, cut }: ResolveInput): Verdict | Pending => {
  if (decided === "rejected") return givenUp("B1", "rejected");
  if (!mayRelease(hold, { epoch, absentSince: candidate.absentSince, at: cut.at })) return "held";
  return givenUp("B1", "released");
};

/** Nothing more will be learned of it: it is kept, whatever the policy makes of what is surely gone. */
const givenUp = (rule: "B1" | "V4", because: "released" | "rejected"): Verdict => {
  const held = rule === "B1" ? "mass_vanish" : "inconsistent_views";
  return {
    found: { class: held, rule, confidence: null },
    reason: `${held}_${because}`,
    outcome: { action: "keep", recoverableDays: null },
  };
};

/** The reason of what was gone before anybody had its octets: there is nothing to keep, and its owner has to know. */
export const lostBeforeDurable = "lost_before_durable";

const evidenceOf = (candidate: Candidate, { rule }: Classification, input: ResolveInput): readonly unknown[] => {
  const { binding } = candidate;
  if (binding === null) return [];
  const view = viewOf(candidate, input.cut);
  const hints = {
    ...(rule === "V15" && { hint: "possible_pop3_or_webmail" }),
    ...(view !== "none" && { maildrop: view }),
  };
  return [{ vanishedUid: binding.uid, ...hints, seen: seenOf(candidate, input) }];
};

/** Phase 2: what no cut has shown again is removed (and stays recoverable) or kept, as the policy says, or held. */
export const resolveCandidates = (input: ResolveInput): Resolution => {
  const draft = emptyDraft();
  const { live, lately, cut } = input;
  // What may be there still is no part of a mass that vanished.
  const guarded = input.candidates.filter((one) => isGuarded(one) && cut.unread?.has(one.id) !== true);
  const mass = { candidates: guarded.length + lately, live: live + lately };
  const isMass = vanishBreakerTrips(mass, cut.unwell) || accountBreakerTrips(cut.account, cut.unwell);
  const tripped = input.decided !== "approved" && (input.hold !== null || isMass);
  const pending = { held: 0, disputed: 0, awaited: 0 };
  let hinted = false;
  for (const candidate of input.candidates) {
    const verdict = judge(candidate, input, tripped);
    if (typeof verdict === "string") {
      pending[verdict] += 1;
      continue;
    }
    const { found, reason, outcome } = verdict;
    hinted ||= found.rule === "V15";
    if (candidate.wanted != null && candidate.durable) {
      settleWanted(draft, input.endpointId, { placement: candidate, wanted: candidate.wanted, found });
      continue;
    }
    const { id, mailboxId, messageId, keywords } = candidate;
    // What we removed ourselves is not wanted on the server any more; here it is.
    const keep = outcome.action === "keep" || outcome.action === "restore" || found.class === "self";
    if (outcome.action === "restore")
      draft.commands.push({ placementId: id, verb: "append", args: {}, reason: "restored_after_drain" });
    const change = record(draft, {
      kind: keep ? "message.kept" : "message.removed",
      messageId,
      mailboxId,
      placementId: id,
      before: { mailboxId, keywords },
      after: keep ? { mailboxId, keywords } : null,
      source: "imap",
      endpointId: input.endpointId,
      deviceId: null,
      reason,
      rule: found.rule,
      confidence: found.confidence,
      evidence: evidenceOf(candidate, found, input),
    });
    const { recoverableDays } = outcome;
    const lifecycle = keep ? "live" : "removed";
    draft.placements.push({ ...unchanged(candidate), absent: false, lifecycle, kept: keep, reason, recoverableDays, change });
  }
  return { ...draft, ...pending, hinted };
};
