import { describe, expect, it } from "vitest";
import type { EndpointId, MailboxId, MessageId, PlacementId } from "../../src/model/ids.ts";
import { type ItemsInput, reconcileItems } from "../../src/reconciler/items.ts";
import type { BindingView, PlacementView } from "../../src/reconciler/state.ts";

const inbox = "inbox" as MailboxId;
const trash = "trash" as MailboxId;

const gone = (more: Partial<PlacementView> = {}, binding: Partial<BindingView> = {}): PlacementView => ({
  id: "p" as PlacementId,
  messageId: "m" as MessageId,
  mailboxId: inbox,
  keywords: [],
  lifecycle: "live",
  kept: false,
  absent: true,
  receivedAt: 0,
  binding: { mailboxId: inbox, epoch: 1, uid: 1, active: false, closedReason: "absent", shadowFlags: [], ...binding },
  ...more,
});

/** It turns up in Trash, marked as read. */
const arrive = (placement: PlacementView, toTrash: ItemsInput["toTrash"]) =>
  reconcileItems({
    scope: { endpointId: "e" as EndpointId, mailboxId: trash, epoch: 1 },
    items: [{ uid: 9, flags: ["\\Seen"], modseq: null, receivedAt: 0, sha256: "aa" }],
    bound: new Map(),
    known: new Map([["aa", { id: placement.messageId, placements: [placement] }]]),
    toTrash: toTrash ?? null,
    freshIds: ["new message", "new placement"],
    reason: "delivered",
  });

describe("S09: mail that goes from INBOX to Trash and is read at once", () => {
  it("is followed, and may be what a POP3 device deleted; where the owner wants that, it stays unread", () => {
    for (const revertSeen of [true, false]) {
      const { changes, placements, bindings, commands } = arrive(gone(), { inbox, revertSeen, reverted: new Set() });
      const keywords = revertSeen ? [] : ["$seen"];
      const reason = "pop3_drain_via_trash";
      expect(changes).toMatchObject([{ kind: "message.moved", reason, rule: "ID-5a", confidence: 0.6, after: { keywords } }]);
      expect(placements).toMatchObject([{ mailboxId: trash, reason, keywords, kept: false }]);
      expect(bindings).toMatchObject([{ flags: ["\\Seen"] }]);
      expect(commands.map((command) => [command.verb, command.reason])).toEqual(revertSeen ? [["store", reason]] : []);
    }
  });

  it("is read there where it was set back before (I14)", () => {
    const { changes, commands } = arrive(gone(), { inbox, revertSeen: true, reverted: new Set(["p" as PlacementId]) });
    expect(changes).toMatchObject([{ reason: "pop3_drain_via_trash", after: { keywords: ["$seen"] } }]);
    expect(commands).toEqual([]);
  });

  it("was thrown away by somebody who had read it, or marked it, or where nobody reads over POP3", () => {
    const drain = { inbox, revertSeen: true, reverted: new Set<PlacementId>() };
    const moves = [
      arrive(gone(), null),
      arrive(gone({ keywords: ["$seen"] }), drain),
      arrive(gone({}, { shadowFlags: ["\\Seen"] }), drain),
      arrive(gone({}, { shadowFlags: ["\\deleted"] }), drain),
      arrive(gone({ mailboxId: "work" as MailboxId }), drain),
    ];
    for (const { changes, commands } of moves) {
      expect(changes).toMatchObject([{ reason: "upstream_move", confidence: 0.97 }]);
      expect(commands).toEqual([]);
    }
  });
});
