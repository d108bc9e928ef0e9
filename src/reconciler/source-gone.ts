/** What an operation wanted elsewhere is gone from where it was to be taken from (P2, P8). */
import type { EndpointId } from "../model/ids.ts";
import type { Role } from "../model/mail.ts";
import { type Draft, type PlacementView, record } from "./state.ts";
import type { Classification } from "./vanish-rules.ts";

export interface WantedElsewhere {
  /** Of the mailbox where it is wanted. */
  readonly role: Role | null;
  /** It was never put there again for this reason (I14). */
  readonly appendable: boolean;
}

/**
 * Who moved it wants it, so that it stays, and its octets are put there once. Nothing is put on a server only to lie in its Trash,
 * and nothing twice: that is kept here.
 */
export const settleWanted = (
  draft: Draft,
  endpointId: EndpointId,
  gone: { readonly placement: PlacementView; readonly wanted: WantedElsewhere; readonly found: Classification },
): void => {
  const { placement, wanted, found } = gone;
  const { id, messageId, mailboxId, keywords, binding } = placement;
  const again = wanted.role !== "trash" && wanted.appendable;
  const where = { mailboxId, keywords };
  const change = record(draft, {
    kind: again ? "conflict.resolved" : "message.kept",
    messageId,
    mailboxId,
    placementId: id,
    before: again ? null : where,
    after: again ? { mailboxId } : where,
    source: "imap",
    endpointId,
    deviceId: null,
    reason: again ? "source_gone" : found.class,
    rule: "P8",
    confidence: found.confidence,
    evidence: [{ vanishedUid: binding?.uid, mailboxId: binding?.mailboxId, class: found.class, rule: found.rule }],
  });
  if (again) draft.commands.push({ placementId: id, verb: "append", args: {}, reason: "source_gone" });
  draft.placements.push({
    id,
    mailboxId,
    keywords,
    lifecycle: "live",
    kept: !again,
    absent: false,
    reason: again ? null : found.class,
    recoverableDays: null,
    change,
  });
};
