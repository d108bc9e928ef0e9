/** What is owed upstream, drawn from where the legs of a placement stand (semantics 1.6). */
import { describe, expect, it } from "vitest";
import type { MailboxId, MessageId, PlacementId } from "../../src/model/ids.ts";
import { owedVerbs } from "../../src/reconciler/plan.ts";
import type { BindingView, PlacementView } from "../../src/reconciler/state.ts";

const [inbox, work] = ["inbox", "work"] as MailboxId[] as [MailboxId, MailboxId];

const owed = (rest: Partial<PlacementView>, binding: Partial<BindingView> | null = {}) =>
  owedVerbs({
    id: "p" as PlacementId,
    messageId: "m" as MessageId,
    mailboxId: inbox,
    keywords: [],
    lifecycle: "live",
    kept: false,
    absent: false,
    receivedAt: 0,
    binding:
      binding === null
        ? null
        : { mailboxId: inbox, epoch: 1, uid: 1, active: true, closedReason: null, shadowFlags: [], ...binding },
    ...rest,
  });

describe("what a server is owed", () => {
  it("is the difference between what is here and what it showed last", () => {
    expect(owed({})).toEqual([]);
    expect(owed({ keywords: ["$flagged"] })).toEqual(["store"]);
    expect(owed({ mailboxId: work, keywords: ["$flagged"] }, { shadowFlags: ["\\Flagged"] })).toEqual(["move"]);
    expect(owed({ mailboxId: work }, { shadowFlags: ["\\Seen"] })).toEqual(["store", "move"]);
  });

  it("is an item for what has none, but not for what is missing or waits to be found in a new epoch (ID-8)", () => {
    expect(owed({}, null)).toEqual(["append"]);
    expect(owed({}, { active: false, closedReason: "expunged" })).toEqual(["append"]);
    expect(owed({ absent: true }, { active: false, closedReason: "absent" })).toEqual([]);
    expect(owed({}, { active: false, closedReason: "epoch" })).toEqual([]);
  });

  it("V19: is nothing of what is kept here, whatever becomes of it", () => {
    expect(owed({ kept: true, mailboxId: work, keywords: ["$flagged"] }, { active: false, closedReason: "absent" })).toEqual([]);
  });

  it("is a removal of what is gone here and still there", () => {
    expect(owed({ lifecycle: "removed" })).toEqual(["expunge"]);
    expect(owed({ lifecycle: "removed" }, { active: false })).toEqual([]);
    // It may be there still, under another number.
    expect(owed({ lifecycle: "removed" }, { active: false, closedReason: "epoch" })).toEqual(["expunge"]);
  });
});
