/** Mail that a caller of the API brings: a message of its own, or one more place of a message that is here (Q1–Q7). */
import type { DecidedChange } from "../model/change.ts";
import type { MailboxId, MessageId, PlacementId } from "../model/ids.ts";
import type { ImportOp, IntentResult } from "../model/intent.ts";
import { keywordFault, mergeSaid } from "./intent-keywords.ts";
import { type AccountSlice, type IntentPlacement, isLive, mailboxOfRole, noteChange, writePlacement } from "./intent-slice.ts";
import { sameKeywords } from "./keywords.ts";
import type { Draft } from "./state.ts";

export interface ImportSlice extends AccountSlice {
  /** The message that has these octets; null: there is none. */
  readonly known: { readonly id: MessageId; readonly placements: readonly IntentPlacement[] } | null;
  /** Placements of what it replaces, those that are gone too; null: it replaces nothing. */
  readonly replaced: readonly IntentPlacement[] | null;
  readonly freshMessageId: MessageId;
  readonly freshPlacementId: PlacementId;
}

interface Imported {
  readonly result: IntentResult;
  /** The placement that it is about; null: it was rejected. */
  readonly placementId: PlacementId | null;
  /** Placements that went with it. */
  readonly replacedIds: readonly PlacementId[];
}

/** Of what is replaced those that nobody else has taken away (P12). */
const stillThere = ({ replaced, mailboxes }: ImportSlice): readonly IntentPlacement[] =>
  (replaced ?? []).filter((one) => isLive(one) && !one.absent && mailboxes.get(one.mailboxId) !== "trash");

/** Why it is here. */
const reasonOf = (slice: ImportSlice): "api_import" | "api_replacement" | "draft_fork" => {
  if (slice.replaced === null) return "api_import";
  return stillThere(slice).length > 0 ? "api_replacement" : "draft_fork";
};

/** Why a message that a server shows is new. `otherVersion`: of the same draft, brought by an app before the writer of this one saw it. */
export const whyNew = (
  reason: "backfilled" | "delivered",
  otherVersion: MessageId | undefined,
): Pick<DecidedChange, "reason" | "rule" | "evidence"> =>
  otherVersion === undefined
    ? { reason, rule: "ID-7", evidence: [] }
    : { reason: "draft_fork", rule: "P12", evidence: [{ otherVersion: { messageId: otherVersion } }] };

const removeReplaced = (draft: Draft, deviceId: string, slice: ImportSlice, by: MessageId): readonly PlacementId[] =>
  stillThere(slice).flatMap((placement) => {
    const { id, messageId, mailboxId, keywords } = placement;
    // Saved without a change.
    if (messageId === by) return [];
    const reason = "api_replace";
    const before = { mailboxId, keywords };
    const evidence = [{ replacedBy: { messageId: by } }];
    const change = noteChange(draft, { deviceId }, placement, {
      kind: "message.removed",
      before,
      after: null,
      reason,
      rule: "P12",
      evidence,
    });
    const recoverableDays = slice.retentionDays;
    writePlacement(draft, placement, { lifecycle: "removed", kept: false, reason, recoverableDays, change });
    return [id];
  });

/** Keywords of an import are set; it takes none away. */
const setOn = (
  draft: Draft,
  deviceId: string,
  {
    placement,
    keywords,
    head,
  }: { readonly placement: IntentPlacement; readonly keywords: readonly string[]; readonly head: bigint },
): boolean => {
  const patch = Object.fromEntries(keywords.map((keyword) => [keyword, true]));
  const history = { seen: [], said: [] };
  const merged = mergeSaid(placement.keywords, patch, { deviceId, base: head, seq: head + 1n }, history).keywords;
  if (sameKeywords(merged, placement.keywords)) return false;
  const change = noteChange(draft, { deviceId }, placement, {
    kind: "message.keywords",
    before: { keywords: placement.keywords },
    after: { keywords: merged },
    reason: "api_import",
    rule: "F2",
  });
  writePlacement(draft, placement, { keywords: merged, change });
  return true;
};

/** Where it goes and with which keywords: what the caller does not say is as with what is replaced. */
const wantedOf = (
  { keywords, mailboxId }: ImportOp,
  slice: ImportSlice,
): { readonly keywords: readonly string[]; readonly mailboxId: MailboxId | null } => {
  const inbox = mailboxOfRole(slice, "inbox");
  if (slice.replaced === null) return { keywords, mailboxId: mailboxId ?? inbox };
  const [earlier] = stillThere(slice);
  const before = (earlier ?? slice.replaced.at(-1))?.keywords ?? [];
  const home = earlier?.mailboxId ?? mailboxOfRole(slice, "drafts") ?? inbox;
  return { keywords: keywords.length > 0 ? keywords : before, mailboxId: mailboxId ?? home };
};

const ruleOf = (why: ReturnType<typeof reasonOf>, { known }: ImportSlice): string =>
  why !== "api_import" ? "P12" : known === null ? "ID-7" : "ID-5e";

/** `deviceId`: who brings it. The octets are the only item that a decision of it refers to. */
export const reconcileImport = (
  draft: Draft,
  { op, deviceId }: { readonly op: ImportOp; readonly deviceId: string },
  slice: ImportSlice,
): Imported => {
  const { known } = slice;
  const rejected = (reason: string): Imported => ({
    result: { status: "rejected", reason, messageId: known?.id ?? null, warnings: [] },
    placementId: null,
    replacedIds: [],
  });
  const fault = keywordFault(op.keywords, op.keywords);
  if (fault !== null) return rejected(fault);
  if (slice.replaced?.length === 0) return rejected("not_found");
  const { mailboxId, ...wanted } = wantedOf(op, slice);
  if (mailboxId === null || !slice.mailboxes.has(mailboxId)) return rejected("mailbox_not_found");
  const messageId = known?.id ?? slice.freshMessageId;
  const why = reasonOf(slice);
  const applied = (reason: string, placementId: PlacementId): Imported => ({
    result: { status: "applied", reason, messageId, warnings: why === "draft_fork" ? [why] : [] },
    placementId,
    replacedIds: removeReplaced(draft, deviceId, slice, messageId),
  });
  const there = known?.placements.find((placement) => isLive(placement) && placement.mailboxId === mailboxId);
  if (there !== undefined) {
    const changed = setOn(draft, deviceId, { placement: there, keywords: wanted.keywords, head: slice.head });
    return applied(changed ? "updated" : "unchanged", there.id);
  }
  const keywords = [...new Set(wanted.keywords)].toSorted();
  const made = { id: slice.freshPlacementId, messageId, mailboxId };
  const change = noteChange(draft, { deviceId }, made, {
    kind: "message.created",
    before: null,
    after: { mailboxId, keywords },
    reason: why,
    rule: ruleOf(why, slice),
  });
  if (known === null) draft.newMessages.push({ id: messageId, item: 0, change });
  draft.newPlacements.push({ ...made, keywords, reason: why, receivedAt: op.receivedAt, change });
  return applied(known === null ? "imported" : "updated", made.id);
};
