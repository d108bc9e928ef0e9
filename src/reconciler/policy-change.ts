/**
 * What another policy would make of mail that is gone upstream and was dealt with by policy (semantics 4.5). It is decided again from
 * what was seen when it vanished, which stands in the log; what somebody has moved, restored or shown again since is left alone.
 */
import type { DecidedChange } from "../model/change.ts";
import type { EndpointId } from "../model/ids.ts";
import type { Policy } from "../model/account.ts";
import type { PolicyEffect, PolicyStanding } from "../model/policy-effects.ts";
import { type Pop3Devices } from "../model/pop3-devices.ts";
import { type Draft, type PlacementView, record } from "./state.ts";
import { type Classification, classifyImapVanish, type ImapVanishEvidence, outcomeOf, type VanishClass } from "./vanish-rules.ts";

/** Classes whose outcome is the owner's choice; the reason of a placement that was dealt with so is its class. */
export const chosenClasses = [
  "user_expunge",
  "retention",
  "mailbox_deleted",
  "pop3_drain",
  "unknown",
] as const satisfies readonly VanishClass[];

/** A placement that is kept or removed because it is gone upstream. */
export interface PolicyDecided {
  readonly placement: PlacementView;
  /** As it was decided. */
  readonly class: (typeof chosenClasses)[number];
  readonly rule: string;
  readonly confidence: number | null;
  readonly evidence: readonly unknown[];
  /** The endpoint that no longer shows it. */
  readonly endpointId: EndpointId | null;
  /** It may be put back: it was not before (I14), and a server is there that can take it (V18). */
  readonly canRestore: boolean;
}

export interface PolicyView {
  readonly policy: Policy;
  readonly pop3Devices: Pop3Devices;
}

type Seen = Omit<ImapVanishEvidence, "pop3Devices">;

const hasSeen = (evidence: unknown): evidence is { readonly seen: Seen } =>
  typeof evidence === "object" && evidence !== null && "seen" in evidence;

/** Who was believed to read over POP3 is part of what a policy says, so that the class may be another one. */
const classAgain = ({ evidence, class: name, rule, confidence }: PolicyDecided, pop3Devices: Pop3Devices): Classification => {
  const told = evidence.find(hasSeen);
  return told === undefined ? { class: name, rule, confidence } : classifyImapVanish({ ...told.seen, pop3Devices });
};

/** Where the placement would stand under the policy, and why; null: where it stands now. */
export const effectOf = (decided: PolicyDecided, { policy, pop3Devices }: PolicyView): PolicyEffect | null => {
  const { placement, canRestore } = decided;
  const { id: placementId, messageId, mailboxId } = placement;
  const found = classAgain(decided, pop3Devices);
  const drainSuspect = decided.evidence.find(hasSeen)?.seen.drainSuspect ?? false;
  const { action, recoverableDays } = outcomeOf({ found, policy, pop3Devices, drainSuspect, canRestore });
  const now: PolicyStanding = placement.lifecycle === "removed" ? "removed" : "kept";
  const wouldBe = action === "remove" ? "removed" : action === "restore" ? "restored" : "kept";
  if (now === wouldBe) return null;
  const { class: reason, rule, confidence } = found;
  return { placementId, messageId, mailboxId, now, wouldBe, reason, rule, confidence, recoverableDays };
};

/** The effects as changes of the account, as of an owner's wish. */
export const applyEffect = (
  draft: Draft,
  { placement, evidence, endpointId }: PolicyDecided,
  effect: PolicyEffect,
  deviceId: string,
): void => {
  const { id, messageId, mailboxId, keywords } = placement;
  const { now, wouldBe, reason, rule, confidence, recoverableDays } = effect;
  const place = { mailboxId, keywords };
  const gone = wouldBe === "removed";
  if (wouldBe === "restored") draft.commands.push({ placementId: id, verb: "append", args: {}, reason: "restored_after_drain" });
  const told: DecidedChange = {
    kind: gone ? "message.removed" : now === "removed" ? "message.restored" : "message.kept",
    messageId,
    mailboxId,
    placementId: id,
    before: now === "removed" ? null : place,
    after: gone ? null : place,
    source: "api",
    endpointId,
    deviceId,
    reason,
    rule,
    confidence,
    evidence: [...evidence.filter((one) => !isNote(one)), { policyChanged: true }],
  };
  draft.placements.push({
    id,
    mailboxId,
    keywords,
    lifecycle: gone ? "removed" : "live",
    kept: !gone,
    absent: false,
    reason,
    recoverableDays,
    change: record(draft, told),
  });
};

const isNote = (one: unknown): boolean => typeof one === "object" && one !== null && "policyChanged" in one;
