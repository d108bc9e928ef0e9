/** What follows from knowing which mail each item of a POP3 listing is (semantics 2.4): messages, placements, bindings, log. */
import type { DecidedChange } from "../model/change.ts";
import type { MessageId, PlacementId } from "../model/ids.ts";
import type { Identified } from "./identify.ts";
import { type Decision, type Draft, emptyDraft, type PlacementView, record, type Scope } from "./state.ts";

export interface MaildropItemsInput {
  readonly scope: Scope;
  /** One for each item, in order. Answers that ask for a read or for patience decide nothing. */
  readonly identified: readonly Identified[];
  /** In ms since 1970, by item. */
  readonly receivedAt: readonly number[];
  /** Placements that may be bound. */
  readonly views: ReadonlyMap<PlacementId, PlacementView>;
  /** Unused ids, two per item: one for a message, one for a placement. */
  readonly freshIds: readonly string[];
  readonly reason: "backfilled" | "delivered";
}

export interface ItemBinding {
  /** Index of the item. */
  readonly item: number;
  readonly placementId: PlacementId;
}

export interface MaildropDecision extends Decision {
  readonly items: readonly ItemBinding[];
}

const changeOf = (
  { endpointId, mailboxId }: Scope,
  rest: Pick<DecidedChange, "kind" | "messageId" | "placementId" | "before" | "after" | "reason" | "rule" | "confidence">,
): DecidedChange => ({ mailboxId, source: "pop3", endpointId, deviceId: null, evidence: [], ...rest });

/** ID-5a, c, d: what was missing, kept or removed is there again. A placement that IMAP shows, or an epoch unbound, stays as it is. */
const bringBack = (draft: Draft, scope: Scope, found: Identified & { kind: "bind" }, view: PlacementView): void => {
  if (view.lifecycle === "live" && !view.kept && !view.absent) return;
  // While IMAP has it, IMAP decides (K9).
  if (found.rule === "ID-3" || found.rule === "ID-4") return;
  const again = view.kept || view.lifecycle === "removed";
  const { mailboxId, keywords } = view;
  const change = again
    ? record(
        draft,
        changeOf(
          { ...scope, mailboxId },
          {
            kind: "message.restored",
            messageId: view.messageId,
            placementId: view.id,
            before: { mailboxId, keywords },
            after: { mailboxId, keywords },
            reason: "upstream_reappeared",
            rule: found.rule,
            confidence: found.confidence,
          },
        ),
      )
    : null;
  draft.placements.push({
    id: view.id,
    mailboxId,
    keywords,
    lifecycle: "live",
    kept: false,
    absent: false,
    reason: again ? "upstream_reappeared" : null,
    recoverableDays: null,
    change,
  });
};

/** Decides for a batch of items whose identity is known; unread ones wait. Equal octets never make two messages. */
export const reconcileMaildrop = (input: MaildropItemsInput): MaildropDecision => {
  const { scope, identified } = input;
  const draft = emptyDraft();
  const items: ItemBinding[] = [];
  const messageOf = (item: number): MessageId => {
    const found = identified[item];
    if (found?.kind === "bind") return found.messageId;
    if (found?.kind !== "copy") return input.freshIds[2 * item] as MessageId;
    return typeof found.of === "string" ? found.of : messageOf(found.of.sameAs);
  };
  identified.forEach((found, item) => {
    if (found.kind === "bind") {
      const view = input.views.get(found.placementId);
      if (view !== undefined) bringBack(draft, scope, found, view);
      items.push({ item, placementId: found.placementId });
    }
    if (found.kind !== "copy" && found.kind !== "create") return;
    const messageId = messageOf(item);
    const id = input.freshIds[2 * item + 1] as PlacementId;
    const reason = found.kind === "create" ? input.reason : "copied";
    const after = { mailboxId: scope.mailboxId, keywords: [] };
    const rest = { messageId, placementId: id, before: null, after, reason, rule: found.rule, confidence: null };
    const change = record(draft, changeOf(scope, { kind: "message.created", ...rest }));
    if (found.kind === "create") draft.newMessages.push({ id: messageId, item, change });
    const receivedAt = input.receivedAt[item] ?? 0;
    draft.newPlacements.push({ id, messageId, mailboxId: scope.mailboxId, keywords: [], reason, receivedAt, change });
    items.push({ item, placementId: id });
  });
  return { ...draft, items };
};
