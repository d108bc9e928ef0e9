/** A mailbox that is gone takes nothing along that was never in it upstream (semantics D7). */
import type { MailboxId } from "../model/ids.ts";
import { type Draft, type PlacementView, record } from "./state.ts";

export interface TargetGone {
  /** What the account has in it. */
  readonly placements: readonly PlacementView[];
  readonly mailboxId: MailboxId;
  /** Mailboxes that are still there. */
  readonly live: ReadonlySet<MailboxId>;
  readonly inboxId: MailboxId | null;
}

/** Whatever was to be moved there stays where it was, else in INBOX. */
export const returnFromGone = (draft: Draft, { placements, mailboxId, live, inboxId }: TargetGone): void => {
  for (const placement of placements) {
    const { id, messageId, keywords, lifecycle, kept, absent, binding } = placement;
    if (binding?.mailboxId === mailboxId) continue;
    const back = binding !== null && live.has(binding.mailboxId) ? binding.mailboxId : inboxId;
    if (back === null) continue;
    const reason = "target_mailbox_deleted";
    const change = record(draft, {
      kind: "message.moved",
      messageId,
      mailboxId: back,
      placementId: id,
      before: { mailboxId, keywords },
      after: { mailboxId: back, keywords },
      source: "rule",
      endpointId: null,
      deviceId: null,
      reason,
      rule: "D7",
      confidence: null,
      evidence: [{ loser: { mailboxId }, source: "api" }],
    });
    draft.placements.push({ id, mailboxId: back, keywords, lifecycle, kept, absent, reason, recoverableDays: null, change });
  }
};
