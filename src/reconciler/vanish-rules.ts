/**
 * Why an item is gone (semantics 4.2, first match wins) and what follows from it (4.5). A vanished item carries no cause, so the
 * class is drawn from what was seen around it; every piece of evidence is given as data, and what is not known is not claimed.
 */
import type { Policy } from "../model/account.ts";
import type { Role } from "../model/mail.ts";
import { expectsDrains, type Pop3Devices } from "../model/pop3-devices.ts";
import type { Level } from "./identify.ts";

export type VanishClass =
  | "self"
  | "moved"
  | "pop3_hidden"
  | "inconsistent_views"
  | "epoch"
  | "window_slide"
  | "mass_vanish"
  | "mailbox_deleted"
  | "label_removed"
  | "user_expunge"
  | "retention"
  | "pop3_drain"
  | "unknown"
  /** POP3 does not show it and whether IMAP does is not known yet, or IMAP does not and decides (K9). */
  | "imap_decides";

/** What was seen of one absent item, in the consistent cut that decides about it. */
export interface VanishEvidence {
  /** A command of ours explains it. */
  readonly ownCommand: boolean;
  /** How surely the same placement was found elsewhere; null: it was not. L0: by COPYUID of our own command. */
  readonly foundElsewhere: "L0" | Level | null;
  readonly epochChanged: boolean;
  /** It lies before the oldest item of a listing that shows the newest ones only (G9). */
  readonly outsideWindow: boolean;
  readonly breakerTripped: boolean;
}

export interface ImapVanishEvidence extends VanishEvidence {
  readonly role: Role | null;
  /** Its unique-id is in a complete POP3 listing that started after the IMAP read that lacks it. */
  readonly shownByPop3After: boolean;
  readonly mailboxGone: boolean;
  /** The server keeps labels (semantics 2.5), and shows the message under another one still. */
  readonly labelRemoved: boolean;
  /** `\Deleted` was in the shadow, or was seen before it vanished. */
  readonly markedDeleted: boolean;
  /** Its age is the learned retention of its mailbox, give or take a day. */
  readonly atRetentionAge: boolean;
  /** It came to Trash in the shape of what a POP3 device deletes (4.3). */
  readonly drainSuspect: boolean;
  /** The MODSEQ budget leaves no room for a STORE of `\Deleted` (4.3). */
  readonly storeExcluded: boolean;
  /** The items that vanished with it look like what a POP3 device takes (4.3). */
  readonly batchShape: boolean;
  /** The same message vanished from INBOX in the same cut. */
  readonly goneFromInboxToo: boolean;
  readonly pop3Devices: Pop3Devices;
  /** A mailbox could not be read in this cut: it may be there (V0). */
  readonly cutHasGaps: boolean;
}

export interface Pop3VanishEvidence extends VanishEvidence {
  /**
   * How the IMAP side of the account sees the placement. `none`: it has no active IMAP binding. `stale`: IMAP was last read
   * before this listing.
   */
  readonly imap: "none" | "present" | "absent" | "stale";
}

export interface Classification {
  readonly class: VanishClass;
  readonly rule: string;
  /** null where nothing is concluded yet. */
  readonly confidence: number | null;
}

const is = (name: VanishClass, rule: string, confidence: number | null): Classification => ({ class: name, rule, confidence });

const movedConfidence = { L0: 0.99, L1: 0.99, L2: 0.99, L3: 0.97, L4: 0.9, L5: 0.8 } as const;

const moved = (level: "L0" | Level): Classification =>
  is("moved", level === "L0" || level === "L1" || level === "L2" ? "V2" : "V2b", movedConfidence[level]);

/** V12 to V17: no trace but the absence itself. */
const classifyTraceless = (seen: ImapVanishEvidence): Classification => {
  const expected = expectsDrains(seen.pop3Devices);
  if (seen.role === "inbox") {
    if (expected && seen.storeExcluded) return is("pop3_drain", "V12", 0.95);
    if (expected && seen.batchShape) return is("pop3_drain", "V13", 0.85);
    if (expected) return is("pop3_drain", "V14", 0.6);
    if (seen.storeExcluded) return is("unknown", "V15", 0.5);
  } else if (seen.goneFromInboxToo && seen.pop3Devices === "declared") return is("pop3_drain", "V16", 0.8);
  return is("user_expunge", "V17", 0.75);
};

/** V8 to V17: it is gone from IMAP, and not because of what we or the server did to the view. */
const classifyGone = (seen: ImapVanishEvidence): Classification => {
  if (seen.mailboxGone) return is("mailbox_deleted", "V8", 0.9);
  if (seen.labelRemoved) return is("label_removed", "V8b", 0.97);
  if (seen.markedDeleted) return is("user_expunge", "V9", 0.97);
  if (seen.role === "trash" || seen.role === "junk") {
    if (seen.atRetentionAge) return is("retention", "V10", 0.9);
    // Nobody put it there, as far as is known, so that nobody emptied Trash of it.
    return seen.drainSuspect ? is("retention", "V10", 0.6) : is("user_expunge", "V11", 0.85);
  }
  return classifyTraceless(seen);
};

/** An item that IMAP no longer shows. */
export const classifyImapVanish = (seen: ImapVanishEvidence): Classification => {
  if (seen.ownCommand) return is("self", "V1", 1);
  if (seen.foundElsewhere !== null) return moved(seen.foundElsewhere);
  if (seen.shownByPop3After) return is("inconsistent_views", "V4", null);
  if (seen.epochChanged) return is("epoch", "V5", null);
  if (seen.outsideWindow) return is("window_slide", "V6", 0.95);
  if (seen.breakerTripped) return is("mass_vanish", "V7", null);
  const gone = classifyGone(seen);
  // It may have gone where nobody could look.
  return seen.cutHasGaps && gone.class !== "mailbox_deleted" ? is("unknown", "V0", 0.5) : gone;
};

/**
 * A unique-id that a complete listing (G2) lacks. While the account has the item over IMAP, POP3 says nothing about it (K9).
 * Of a POP3-only item the reason is never known: another client or webmail took it, and the policy decides (4.2, at its end).
 */
export const classifyPop3Vanish = (seen: Pop3VanishEvidence): Classification => {
  if (seen.ownCommand) return is("self", "V1", 1);
  if (seen.imap === "present") return is("pop3_hidden", "V3", 0.99);
  if (seen.imap !== "none") return is("imap_decides", "K9", null);
  if (seen.foundElsewhere !== null) return moved(seen.foundElsewhere);
  if (seen.epochChanged) return is("epoch", "ID-9", null);
  if (seen.outsideWindow) return is("window_slide", "V6", 0.95);
  if (seen.breakerTripped) return is("mass_vanish", "V7", null);
  return is("pop3_drain", "V14", 0.6);
};

/** `settle`: another rule disposes of it. `close`: only the binding is closed. `restore`: kept, and uploaded again (V18). */
export type VanishAction = "settle" | "hold" | "wait" | "close" | "keep" | "remove" | "restore";

export interface VanishOutcome {
  readonly action: VanishAction;
  /** Days in which a removed placement can be brought back (I3); null unless removed. */
  readonly recoverableDays: number | null;
}

export interface OutcomeInput {
  readonly found: Classification;
  readonly policy: Policy;
  readonly pop3Devices: Pop3Devices;
  /** It once went to Trash in the shape of a drain: what then ends its stay there is the drain, too (4.3). */
  readonly drainSuspect: boolean;
  /** A mailbox other than INBOX can take it, it was never restored before, and the server is not Gmail (V18, I14). */
  readonly canRestore: boolean;
}

const fixed: Partial<Record<VanishClass, VanishAction>> = {
  self: "settle",
  moved: "settle",
  epoch: "settle",
  inconsistent_views: "hold",
  mass_vanish: "hold",
  imap_decides: "wait",
  pop3_hidden: "close",
  window_slide: "close",
  // It is there still under another label: nothing is lost that a policy could keep.
  label_removed: "remove",
};

const drainAction = ({ policy, canRestore }: OutcomeInput): VanishAction => {
  if (policy.onPop3Drain === "mirror") return "remove";
  return policy.onPop3Drain === "restore" && canRestore ? "restore" : "keep";
};

const actionFor = (input: OutcomeInput): VanishAction => {
  const { found, policy, pop3Devices } = input;
  const always = fixed[found.class];
  if (always !== undefined) return always;
  if (found.class === "pop3_drain" || (found.class === "retention" && input.drainSuspect)) return drainAction(input);
  if (found.class === "unknown") {
    if (policy.onUnknownVanish !== "auto") return policy.onUnknownVanish === "keep" ? "keep" : "remove";
    return expectsDrains(pop3Devices) ? "keep" : "remove";
  }
  return policy.onUserExpunge === "keep" ? "keep" : "remove";
};

/** Days for what was removed without certainty. */
const uncertainDays = 90;

/** What the account's policy makes of it (4.5). Nothing here destroys: what is removed can be brought back. */
export const outcomeOf = (input: OutcomeInput): VanishOutcome => {
  const action = actionFor(input);
  if (action !== "remove") return { action, recoverableDays: null };
  const days = input.policy.retentionDays;
  const certain = (input.found.confidence ?? 0) >= 0.9 && input.found.class !== "unknown";
  return { action, recoverableDays: certain ? days : Math.max(uncertainDays, days) };
};
