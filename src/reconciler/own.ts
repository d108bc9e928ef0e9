/**
 * Items that we put where they are ourselves (ID-1, ID-2). Its place was decided when it was wanted: only the binding is news, and
 * what somebody changed of its flags on the way.
 */
import type { PlacementId } from "../model/ids.ts";
import { mergeObserved, sameKeywords } from "./keywords.ts";
import { type BindingWrite, type Draft, type ItemFlags, type PlacementView, record, type Scope } from "./state.ts";

export interface OwnItem {
  readonly placement: PlacementView;
  readonly fact: ItemFlags;
  /** The flags that it was sent with. */
  readonly sent: readonly string[];
  /** Flags that the mailbox does not keep: that it lacks them says nothing (F11). */
  readonly unasserted: readonly string[];
  /** Where it was moved from its old item may be there still; the id and the operation with which that is removed. null: it is not. */
  readonly leftBehind: { readonly id: PlacementId; readonly opId: string } | null;
}

/** An item bound to a placement, with what the look that binds it told. */
export const bindingOf = (
  { uid, flags, modseq, objectId = null, receivedAt = null, size = null }: ItemFlags,
  placementId: PlacementId,
): BindingWrite => ({ uid, placementId, flags, modseq, objectId, receivedAt, size });

export const bindOwn = (draft: Draft, scope: Scope, own: OwnItem): void => {
  const { placement, fact, sent, unasserted, leftBehind } = own;
  const { id, messageId, mailboxId, lifecycle, binding } = placement;
  const keywords = mergeObserved({ canonical: placement.keywords, shadow: sent, observed: [...fact.flags, ...unasserted] });
  draft.bindings.push(bindingOf(fact, id));
  if (binding?.active === true) {
    const left = leftBehind === null ? null : { ...leftBehind, messageId };
    draft.vacated.push({ from: binding, leftBehind: left });
  }
  // What is purged has nothing to tell any more.
  const isNews = lifecycle !== "purged" && !sameKeywords(keywords, placement.keywords.toSorted());
  const change = isNews
    ? record(draft, {
        kind: "message.keywords",
        messageId,
        mailboxId,
        placementId: id,
        before: { keywords: placement.keywords },
        after: { keywords },
        source: "imap",
        endpointId: scope.endpointId,
        deviceId: null,
        reason: "upstream_flags",
        rule: "F1",
        confidence: null,
        evidence: [],
      })
    : null;
  if (!isNews && !placement.kept && !placement.absent) return;
  draft.placements.push({
    id,
    mailboxId,
    keywords,
    lifecycle,
    kept: false,
    absent: false,
    reason: null,
    recoverableDays: null,
    change,
  });
};
