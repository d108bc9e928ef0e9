/** What an intent says of the places of mail, against what others said since its sender last looked (semantics 3.3). */
import type { MailboxId } from "../model/ids.ts";
import { namedSource, placeOf, toSource } from "./dots.ts";
import {
  historyOf,
  type Intent,
  type IntentDraft,
  type IntentPlacement,
  type IntentSlice,
  mailboxOfRole,
  noteChange,
  roleIn,
  writePlacement,
} from "./intent-slice.ts";
import { contest, type PlaceDot, placeDots, type Rank, rankOf } from "./location.ts";
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

const shown = ({ mailboxId, rank, source }: PlaceDot) => ({ mailboxId, rank, ...namedSource(source) });

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
  // Nothing is put on a server only to lie in its Trash (P8); whatever else is kept becomes one of its items again (P11).
  const kept = rank === rankOf.trash && (gone ? hasImap : placement.kept);
  const change = noteChange(
    draft,
    intent,
    { ...placement, mailboxId },
    {
      kind: gone ? "message.restored" : "message.moved",
      before,
      after: { mailboxId, keywords, ...(kept && { kept }) },
      reason,
      rule,
    },
  );
  writePlacement(draft, placement, { mailboxId, lifecycle: "live", kept, reason, change });
  return "changed";
};

type Wanted = Relocation & { readonly rule: string };

const apply = (draft: Draft, intent: Intent, wanted: Wanted, slice: IntentSlice): Outcome =>
  wanted.mailboxId === null
    ? remove(draft, intent, wanted, slice)
    : move(draft, intent, wanted, { mailboxId: wanted.mailboxId, rule: wanted.rule, hasImap: slice.hasImap });

/** What is gone meanwhile for another reason does not come back by a word that has no weight. */
const yieldTo = (
  draft: Draft,
  intent: Intent,
  { placement, winner, rule }: { readonly placement: IntentPlacement; readonly winner: PlaceDot; readonly rule: string },
  slice: IntentSlice,
): Outcome =>
  placement.lifecycle === "removed"
    ? "unchanged"
    : apply(draft, intent, { placement, ...winner, reason: "concurrent_location", rule }, slice);

/**
 * Says where a placement shall be, and brings it to where it is then: there, unless what somebody else said meanwhile stands over
 * it; and to where that one wants it, when only an earlier word of the same device stood over that.
 */
export const relocate = (draft: IntentDraft, intent: Intent, wanted: Relocation, slice: IntentSlice): Outcome => {
  const { placement, mailboxId, rank } = wanted;
  const said = { mailboxId, rank, place: placeOf(slice.head + 1n, false), source: toSource(intent.deviceId), api: true };
  draft.places.push({ placementId: placement.id, mailboxId, rank });
  const dots = placeDots(historyOf(slice, placement), roleIn(slice)).filter(
    (dot) => dot.mailboxId === null || slice.mailboxes.has(dot.mailboxId),
  );
  const { winner, beaten, rule } = contest(dots, said, intent.base);
  const outcome =
    winner === said
      ? apply(draft, intent, { ...wanted, rule }, slice)
      : yieldTo(draft, intent, { placement, winner, rule }, slice);
  if (beaten !== null)
    noteChange(draft, intent, placement, {
      kind: "conflict.resolved",
      before: null,
      after: { mailboxId: winner.mailboxId },
      reason: "concurrent_location",
      rule,
      evidence: [{ winner: shown(winner), loser: shown(beaten) }],
    });
  return winner.mailboxId === mailboxId ? outcome : "outranked";
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
  const mailboxId = slice.standIns.get(placement.mailboxId) ?? placement.mailboxId;
  const role = slice.mailboxes.get(mailboxId);
  const inbox = mailboxOfRole(slice, "inbox");
  // A POP3 device would only take it again (V18).
  if (placement.reason === "pop3_drain" && role === "inbox") return mailboxOfRole(slice, "archive") ?? inbox;
  if (role !== undefined && role !== "trash" && role !== "junk") return mailboxId;
  return slice.homes.get(placement.id) ?? inbox;
};
