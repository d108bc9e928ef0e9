/** What becomes of an intent (semantics 3.7). Canonical state first: what upstream is owed follows from it. */
import type { DecidedChange } from "../model/change.ts";
import type { MessageId, PlacementId } from "../model/ids.ts";
import type { IntentResult, IntentStatus, MailOp } from "../model/intent.ts";
import { isReadOnly, type KeywordHistory, mergeSaid } from "./intent-keywords.ts";
import { sameKeywords } from "./keywords.ts";
import { type Draft, type PlacementView, record } from "./state.ts";

/** What one message's intent is decided on. */
export interface IntentSlice {
  /** All that are not purged; none: there is no such message. */
  readonly placements: readonly PlacementView[];
  /** Of each placement, since the base of the intent. */
  readonly history: ReadonlyMap<PlacementId, KeywordHistory>;
  /** The last change of the account. */
  readonly head: bigint;
}

export interface Intent {
  readonly op: MailOp;
  readonly deviceId: string;
  /** The last change that its sender had seen. */
  readonly base: bigint;
}

const result = (status: IntentStatus, reason: string, messageId: MessageId): IntentResult => ({ status, reason, messageId });

const change = (
  { deviceId }: Intent,
  { id, messageId, mailboxId }: Pick<PlacementView, "id" | "messageId" | "mailboxId">,
  rest: Pick<DecidedChange, "kind" | "before" | "after" | "reason" | "rule"> & Partial<DecidedChange>,
): DecidedChange => ({
  messageId,
  mailboxId,
  placementId: id,
  source: "api",
  endpointId: null,
  deviceId,
  confidence: null,
  evidence: [],
  ...rest,
});

const noHistory: KeywordHistory = { seen: [], said: [] };

/** The placements that a message's keywords are set on (Q5); of a message that is gone those that can come back (F8). */
const keyworded = (placements: readonly PlacementView[]): readonly PlacementView[] => {
  const live = placements.filter(({ lifecycle }) => lifecycle === "live");
  return live.length > 0 ? live : placements;
};

const patchKeywords = (draft: Draft, intent: Intent, slice: IntentSlice): IntentResult => {
  const { op } = intent;
  if (Object.keys(op.keywords).some(isReadOnly)) return result("rejected", "keyword_read_only", op.messageId);
  let said = 0;
  let outvoted = 0;
  let changed = false;
  for (const placement of keyworded(slice.placements)) {
    const speaker = { deviceId: intent.deviceId, base: intent.base, seq: slice.head + 1n };
    const merged = mergeSaid(placement.keywords, op.keywords, speaker, slice.history.get(placement.id) ?? noHistory);
    said += merged.said;
    outvoted += merged.outvoted;
    const { keywords } = merged;
    if (!sameKeywords(keywords, placement.keywords)) {
      changed = true;
      const index = record(
        draft,
        change(intent, placement, {
          kind: "message.keywords",
          before: { keywords: placement.keywords },
          after: { keywords },
          reason: "api_keywords",
          rule: "F2",
        }),
      );
      draft.placements.push({
        id: placement.id,
        mailboxId: placement.mailboxId,
        keywords,
        lifecycle: placement.lifecycle,
        kept: placement.kept,
        absent: placement.absent,
        reason: null,
        recoverableDays: null,
        change: index,
      });
    }
    for (const { register, winner, loser, source, rule } of merged.lost)
      record(
        draft,
        change(intent, placement, {
          kind: "conflict.resolved",
          before: null,
          after: { keywords },
          reason: rule === "grow_only" ? rule : "concurrent_keywords",
          rule: rule === "grow_only" ? "F4" : rule,
          evidence: [{ register, winner, loser, source }],
        }),
      );
  }
  if (said > 0 && outvoted === said) return result("superseded", "concurrent_keywords", op.messageId);
  return result("applied", changed ? "updated" : "unchanged", op.messageId);
};

/** Decides one intent into `draft`; what it answers stands for what the draft says. */
export const reconcileIntent = (draft: Draft, intent: Intent, slice: IntentSlice): IntentResult => {
  const { op } = intent;
  if (slice.placements.length === 0) return result("rejected", "not_found", op.messageId);
  return patchKeywords(draft, intent, slice);
};
