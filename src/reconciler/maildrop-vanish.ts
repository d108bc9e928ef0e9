/** Items that two complete POP3 listings lack: kept, removed, or left to IMAP (semantics 4.2 at its end, 4.5, K9). */
import type { HoldDecision } from "../model/hold.ts";
import type { Policy } from "../model/account.ts";
import type { Pop3Devices } from "../model/pop3-devices.ts";
import { type Decision, emptyDraft, type PlacementView, record, type Scope } from "./state.ts";
import { accountBreakerTrips, type VanishCounts, vanishBreakerTrips } from "./vanish-breaker.ts";
import { classifyPop3Vanish, outcomeOf, type Pop3VanishEvidence } from "./vanish-rules.ts";

export interface GoneItem {
  readonly placement: PlacementView;
  readonly imap: Pop3VanishEvidence["imap"];
  /** It may be put back over IMAP: its octets are stored, IMAP shows them nowhere, and it was not put back before (V18, I14). */
  readonly restorable: boolean;
}

export interface GoneInput {
  readonly scope: Scope;
  readonly gone: readonly GoneItem[];
  readonly policy: Policy;
  readonly pop3Devices: Pop3Devices;
  /** Placements that the maildrop showed before. */
  readonly bound: number;
  /** The server shows a part of the maildrop only, and these are not in it (G9). */
  readonly outsideWindow: boolean;
  /** All that is left are items the server will not give, as on a full disk (Courier): its listing is as good as none (G4, B2). */
  readonly doubtful: boolean;
  /** The server was not well of late, or the views of the account disagree (B2). */
  readonly unwell: boolean;
  /** What was removed shortly before: of the mailbox, which `bound` lacks, and with what is gone now of the whole account (B1). */
  readonly lately: { readonly mailbox: number; readonly account: VanishCounts };
  /** Whether such absences are held already, and whether that has lasted long enough (B1, release c), or somebody decided. */
  readonly hold: "none" | "held" | "released" | HoldDecision;
}

export interface GoneDecision extends Decision {
  /** Indexes into `gone` whose bindings end, with the reason. */
  readonly ended: readonly { readonly item: number; readonly reason: string }[];
  /** Held back by breaker B1; nothing is decided about them. */
  readonly held: number;
  /** IMAP has to decide first. */
  readonly waiting: number;
}

/**
 * Decides about every item that is gone. The breaker guards removals, and listings that nobody would believe: where the policy
 * keeps mail, nothing is lost by believing the server, and keeping is what a hold would end in (B1, release c).
 */
export const reconcileGone = (input: GoneInput): GoneDecision => {
  const { scope, policy, pop3Devices, outsideWindow } = input;
  const draft = emptyDraft();
  const ended: { item: number; reason: string }[] = [];
  const open = input.gone.filter(({ placement, imap }) => imap === "none" && placement.lifecycle === "live" && !placement.kept);
  const released = input.hold === "released" || input.hold === "rejected";
  // What is held stays so while new mail comes, which makes it the smaller part of all.
  const { lately, unwell } = input;
  const mass = { candidates: open.length + lately.mailbox, live: input.bound + lately.mailbox };
  const isMass = vanishBreakerTrips(mass, unwell) || accountBreakerTrips(lately.account, unwell);
  const guarded = policy.onPop3Drain === "mirror" && (input.hold === "held" || isMass);
  const breakerTripped = !released && input.hold !== "approved" && (input.doubtful || guarded);
  let held = 0;
  let waiting = 0;
  input.gone.forEach(({ placement, imap, restorable }, item) => {
    if (placement.lifecycle !== "live" || placement.kept) return void ended.push({ item, reason: "absent" });
    const evidence = { ownCommand: false, foundElsewhere: null, epochChanged: false, outsideWindow, breakerTripped };
    const found = classifyPop3Vanish({ ...evidence, imap });
    const decided = outcomeOf({ found, policy, pop3Devices, drainSuspect: false, canRestore: restorable });
    const letGo = released && decided.action === "remove";
    const action = letGo ? "keep" : decided.action;
    const recoverableDays = letGo ? null : decided.recoverableDays;
    const reason = letGo ? `mass_vanish_${input.hold}` : found.class;
    if (action === "hold") held += 1;
    else if (action === "wait") waiting += 1;
    else ended.push({ item, reason });
    if (action !== "keep" && action !== "restore" && action !== "remove") return;
    const { id, messageId, mailboxId, keywords } = placement;
    const keep = action !== "remove";
    if (action === "restore") draft.commands.push({ placementId: id, verb: "append", args: {}, reason: "restored_after_drain" });
    const change = record(draft, {
      kind: keep ? "message.kept" : "message.removed",
      messageId,
      mailboxId,
      placementId: id,
      before: { mailboxId, keywords },
      after: keep ? { mailboxId, keywords } : null,
      source: "pop3",
      endpointId: scope.endpointId,
      deviceId: null,
      reason,
      rule: letGo ? "B1" : found.rule,
      confidence: found.confidence,
      evidence: [],
    });
    const lifecycle = keep ? "live" : "removed";
    draft.placements.push({
      id,
      mailboxId,
      keywords,
      lifecycle,
      kept: keep,
      absent: false,
      reason,
      recoverableDays,
      change,
    });
  });
  return { ...draft, ended, held, waiting };
};
