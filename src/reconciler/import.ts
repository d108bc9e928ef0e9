/** Mail that a caller of the API brings: a message of its own, or one more place of a message that is here (Q1–Q7). */
import type { MailboxId, MessageId, PlacementId } from "../model/ids.ts";
import type { ImportOp, IntentResult } from "../model/intent.ts";
import { keywordFault, mergeSaid } from "./intent-keywords.ts";
import { type AccountSlice, type IntentPlacement, isLive, mailboxOfRole, noteChange, writePlacement } from "./intent-slice.ts";
import { sameKeywords } from "./keywords.ts";
import type { Draft } from "./state.ts";

export interface ImportSlice extends AccountSlice {
  /** The message that has these octets; null: there is none. */
  readonly known: { readonly id: MessageId; readonly placements: readonly IntentPlacement[] } | null;
  readonly freshMessageId: MessageId;
  readonly freshPlacementId: PlacementId;
}

interface Imported {
  readonly result: IntentResult;
  /** The placement that it is about; null: it was rejected. */
  readonly placementId: PlacementId | null;
}

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
  });
  const fault = keywordFault(op.keywords, op.keywords);
  if (fault !== null) return rejected(fault);
  const mailboxId: MailboxId | null = op.mailboxId ?? mailboxOfRole(slice, "inbox");
  if (mailboxId === null || !slice.mailboxes.has(mailboxId)) return rejected("mailbox_not_found");
  const messageId = known?.id ?? slice.freshMessageId;
  const applied = (reason: string, placementId: PlacementId): Imported => ({
    result: { status: "applied", reason, messageId, warnings: [] },
    placementId,
  });
  const there = known?.placements.find((placement) => isLive(placement) && placement.mailboxId === mailboxId);
  if (there !== undefined) {
    const changed = setOn(draft, deviceId, { placement: there, keywords: op.keywords, head: slice.head });
    return applied(changed ? "updated" : "unchanged", there.id);
  }
  const keywords = [...new Set(op.keywords)].toSorted();
  const made = { id: slice.freshPlacementId, messageId, mailboxId };
  const change = noteChange(draft, { deviceId }, made, {
    kind: "message.created",
    before: null,
    after: { mailboxId, keywords },
    reason: "api_import",
    rule: known === null ? "ID-7" : "ID-5e",
  });
  if (known === null) draft.newMessages.push({ id: messageId, item: 0, change });
  draft.newPlacements.push({ ...made, keywords, reason: "api_import", receivedAt: op.receivedAt, change });
  return applied(known === null ? "imported" : "updated", made.id);
};
