/** What is done about mail whose reading has been judged: set back, or read in the end (Z5, Z6). */
import { describe, expect, it } from "vitest";
import { defaultPolicy } from "../../src/model/account.ts";
import type { EndpointId, MailboxId, MessageId, PlacementId } from "../../src/model/ids.ts";
import { acceptSeen, revertEarlier, type SeenVerdict } from "../../src/reconciler/pop3-seen.ts";
import type { PlacementView } from "../../src/reconciler/state.ts";

const endpointId = "e" as EndpointId;
const mailboxId = "inbox" as MailboxId;

const placementOf = (keywords: readonly string[], shadowFlags: readonly string[]): PlacementView => ({
  id: "p" as PlacementId,
  messageId: "m" as MessageId,
  mailboxId,
  keywords,
  lifecycle: "live",
  kept: false,
  absent: false,
  receivedAt: 0,
  binding: { mailboxId, epoch: 1, uid: 3, active: true, closedReason: null, shadowFlags },
});

describe("what came alone and was the first of a download", () => {
  const verdict: SeenVerdict = {
    strength: "weak",
    suspected: false,
    rule: "Z2",
    because: "retrieval_order",
    items: 4,
    highWater: 2,
    besideDrain: false,
  };
  const revert = (placement: PlacementView, pop3Seen: "accept" | "revert" = "revert") => {
    const decision = { earlier: { uid: 3, verdict }, verdicts: new Map(), devices: "declared" as const };
    const policy = { ...defaultPolicy, pop3Seen };
    const { placements, commands } = revertEarlier({ endpointId, mailboxId, epoch: 1 }, { ...decision, policy }, placement);
    return [...placements.map(({ keywords }) => keywords.join()), ...commands.map(({ reason }) => reason)];
  };

  it("is unread again, if it still is read and the owner wants that", () => {
    expect(revert(placementOf(["$seen", "blue"], ["\\Seen", "blue"]))).toEqual(["blue", "pop3_seen_reverted"]);
    expect(revert(placementOf(["$seen"], ["\\Seen"]), "accept")).toEqual([]);
    expect(revert(placementOf([], ["\\Seen"]))).toEqual([]);
    expect(revert(placementOf(["$seen"], []))).toEqual([]);
  });
});

describe("what a server goes on showing as read", () => {
  it("Z6: is read here, too, and what is so already is left alone", () => {
    const accept = (placement: PlacementView) => acceptSeen(endpointId, [placement]).placements.map(({ keywords }) => keywords);
    expect(accept(placementOf(["blue"], ["\\Seen"]))).toEqual([["blue", "$seen"]]);
    expect(accept(placementOf(["$seen"], ["\\Seen"]))).toEqual([]);
    expect(accept(placementOf([], []))).toEqual([]);
  });
});
