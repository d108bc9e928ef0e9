/** What is wanted in one place and gone from another: the mailbox it was to go to, or the item it was to be made of. */
import { describe, expect, it } from "vitest";
import type { EndpointId, MailboxId, MessageId, PlacementId } from "../../src/model/ids.ts";
import type { Role } from "../../src/model/mail.ts";
import { settleWanted } from "../../src/reconciler/source-gone.ts";
import { emptyDraft, type PlacementView } from "../../src/reconciler/state.ts";
import { returnFromGone } from "../../src/reconciler/target-gone.ts";

const [inbox, work, gone] = ["inbox", "work", "gone"] as MailboxId[] as [MailboxId, MailboxId, MailboxId];

/** Wanted in `gone`, seen last in `from`; null: never. */
const placementOf = (id: string, from: MailboxId | null): PlacementView => ({
  id: id as PlacementId,
  messageId: "m" as MessageId,
  mailboxId: gone,
  keywords: ["$seen"],
  lifecycle: "live",
  kept: false,
  absent: false,
  receivedAt: 0,
  binding: from === null ? null : { mailboxId: from, epoch: 1, uid: 7, active: true, closedReason: null, shadowFlags: [] },
});

describe("mail whose mailbox is gone", () => {
  it("D7: stays where it was if it never got there, else in INBOX; what was there is missed", () => {
    const draft = emptyDraft();
    const placements = [
      placementOf("a", work),
      placementOf("b", gone),
      placementOf("c", null),
      placementOf("d", "old" as MailboxId),
    ];
    returnFromGone(draft, { placements, mailboxId: gone, live: new Set([inbox, work]), inboxId: inbox });
    expect(draft.placements.map(({ id, mailboxId, reason }) => [id, mailboxId, reason])).toEqual([
      ["a", work, "target_mailbox_deleted"],
      ["c", inbox, "target_mailbox_deleted"],
      ["d", inbox, "target_mailbox_deleted"],
    ]);
    expect(draft.changes.map(({ kind, rule }) => `${kind} ${rule}`)).toEqual(Array(3).fill("message.moved D7"));
  });
});

describe("mail that is gone from where it was to be moved from", () => {
  const settle = (role: Role | null, appendable: boolean) => {
    const draft = emptyDraft();
    const found = { class: "user_expunge", rule: "V13", confidence: 0.8 } as const;
    settleWanted(draft, "imap" as EndpointId, { placement: placementOf("a", inbox), wanted: { role, appendable }, found });
    const [placement] = draft.placements;
    return [draft.changes[0]?.kind, placement?.kept, placement?.lifecycle, draft.commands.map(({ verb }) => verb)];
  };

  it("P8: is put where it is wanted, and stays", () => {
    expect(settle(null, true)).toEqual(["conflict.resolved", false, "live", ["append"]]);
  });

  it("P8 I14: is kept here only where it would lie in Trash, or was put there once", () => {
    expect(settle("trash", true)).toEqual(["message.kept", true, "live", []]);
    expect(settle(null, false)).toEqual(["message.kept", true, "live", []]);
  });
});
