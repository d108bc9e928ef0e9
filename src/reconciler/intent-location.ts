/** What an intent says of the places of mail, against what others said since its sender last looked (semantics 3.3). */
import type { MailboxId } from "../model/ids.ts";
import { toSource } from "./intent-keywords.ts";
import {
  historyOf,
  type Intent,
  type IntentPlacement,
  type IntentSlice,
  mailboxOfRole,
  noteChange,
  roleIn,
  writePlacement,
} from "./intent-slice.ts";
import { type Assertion, contest, type Rank, rankOf, standing, type Verdict } from "./location.ts";
import type { Draft } from "./state.ts";

/** What is wanted of a placement; `mailboxId` null: that it goes from where it is. */
export interface Relocation {
  readonly placement: IntentPlacement;
  readonly mailboxId: MailboxId | null;
  readonly rank: Rank;
  /** Stable reason code of the change. */
  readonly reason: string;
}

/** What came of one placement. */
export type Outcome = "changed" | "unchanged" | "outranked";

const shown = ({ mailboxId, rank, source }: Pick<Assertion, "mailboxId" | "rank" | "source">) => ({ mailboxId, rank, source });

const noteConflict = (
  draft: Draft,
  intent: Intent,
  { placement, mailboxId, rank }: Relocation,
  verdict: Exclude<Verdict, { outcome: "agrees" }>,
): void => {
  const other = verdict.outcome === "wins" ? verdict.beaten : verdict.to;
  if (other === null) return;
  const own = { mailboxId, rank, source: toSource(intent.deviceId) };
  const [winner, loser] = verdict.outcome === "wins" ? [own, other] : [other, own];
  noteChange(draft, intent, placement, {
    kind: "conflict.resolved",
    before: null,
    after: { mailboxId: winner.mailboxId },
    reason: "concurrent_location",
    rule: verdict.rule,
    evidence: [{ winner: shown(winner), loser: shown(loser) }],
  });
};

const remove = (draft: Draft, intent: Intent, { placement, reason }: Relocation, slice: IntentSlice): Outcome => {
  if (placement.lifecycle === "removed") return "unchanged";
  const { mailboxId, keywords } = placement;
  const change = noteChange(draft, intent, placement, {
    kind: "message.removed",
    before: { mailboxId, keywords },
    after: null,
    reason,
    rule: "P1",
  });
  const recoverableDays = slice.retentionDays;
  writePlacement(draft, placement, { lifecycle: "removed", kept: false, absent: false, reason, recoverableDays, change });
  return "changed";
};

const move = (
  draft: Draft,
  intent: Intent,
  { placement, rank, reason }: Relocation,
  { mailboxId, rule, hasImap }: { readonly mailboxId: MailboxId; readonly rule: string; readonly hasImap: boolean },
): Outcome => {
  const gone = placement.lifecycle === "removed";
  if (!gone && placement.mailboxId === mailboxId) return "unchanged";
  const { keywords } = placement;
  const before = { mailboxId: placement.mailboxId, keywords };
  const change = noteChange(
    draft,
    intent,
    { ...placement, mailboxId },
    {
      kind: gone ? "message.restored" : "message.moved",
      before,
      after: { mailboxId, keywords },
      reason,
      rule,
    },
  );
  // Nothing is put on a server only to lie in its Trash (P8); whatever else is kept becomes one of its items again (P11).
  const kept = rank === rankOf.trash && (gone ? hasImap : placement.kept);
  writePlacement(draft, placement, { mailboxId, lifecycle: "live", kept, reason, change });
  return "changed";
};

/** Moves, brings back or removes a placement, unless what somebody else said meanwhile stands over it. */
export const relocate = (draft: Draft, intent: Intent, wanted: Relocation, slice: IntentSlice): Outcome => {
  const { located } = historyOf(slice, wanted.placement);
  const verdict = contest(wanted, standing(located, roleIn(slice)), intent.deviceId);
  if (verdict.outcome === "agrees") return "unchanged";
  const outcome =
    verdict.outcome === "loses"
      ? "outranked"
      : wanted.mailboxId === null
        ? remove(draft, intent, wanted, slice)
        : move(draft, intent, wanted, { mailboxId: wanted.mailboxId, rule: verdict.rule, hasImap: slice.hasImap });
  noteConflict(draft, intent, wanted, verdict);
  return outcome;
};

/** Another occurrence of the message, with the keywords of this one (P9). */
export const copy = (
  draft: Draft,
  intent: Intent,
  { placement, mailboxId, id }: { readonly placement: IntentPlacement; readonly mailboxId: MailboxId; readonly id: string },
): void => {
  const { messageId, keywords, receivedAt } = placement;
  const made = { id: id as IntentPlacement["id"], messageId, mailboxId };
  const change = noteChange(draft, intent, made, {
    kind: "message.created",
    before: null,
    after: { mailboxId, keywords },
    reason: "api_copy",
    rule: "P9",
  });
  draft.newPlacements.push({ ...made, keywords, reason: "api_copy", receivedAt, change });
};

/** INBOX is what POP3 devices take mail from (P11). */
export const drainWarning = (slice: IntentSlice, placement: IntentPlacement, mailboxId: MailboxId | null): readonly string[] =>
  slice.expectsDrains && placement.binding?.active !== true && roleIn(slice)(mailboxId) === "inbox" ? ["pop3_visible"] : [];

/** Where a placement belongs that is to come back; null: there is no such mailbox. */
export const homeOf = (slice: IntentSlice, placement: IntentPlacement): MailboxId | null => {
  const role = slice.mailboxes.get(placement.mailboxId);
  const inbox = mailboxOfRole(slice, "inbox");
  // A POP3 device would only take it again (V18).
  if (placement.reason === "pop3_drain" && role === "inbox") return mailboxOfRole(slice, "archive") ?? inbox;
  if (role !== undefined && role !== "trash" && role !== "junk") return placement.mailboxId;
  return slice.homes.get(placement.id) ?? inbox;
};
