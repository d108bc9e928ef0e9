/** A move that a client makes by COPY and `\Deleted`: one placement, and what of it stays where it was (ID-5a2). */
import { describe, expect, it } from "vitest";
import type { EndpointId, MailboxId, MessageId, PlacementId } from "../../src/model/ids.ts";
import { type ItemFact, type ItemsInput, reconcileItems } from "../../src/reconciler/items.ts";
import { rankOf } from "../../src/reconciler/location.ts";
import { reconcileFlags } from "../../src/reconciler/observed-flags.ts";
import type { BindingView, Decision, PlacementView } from "../../src/reconciler/state.ts";

const inbox = "inbox" as MailboxId;
const work = "work" as MailboxId;
const scope = { endpointId: "e" as EndpointId, mailboxId: inbox, epoch: 2 };

const bindingOf = (rest: Partial<BindingView> = {}): BindingView => ({
  mailboxId: inbox,
  epoch: 1,
  uid: 1,
  active: false,
  closedReason: "absent",
  shadowFlags: [],
  ...rest,
});

const placementOf = (id: string, rest: Partial<PlacementView> = {}): PlacementView => ({
  id: id as PlacementId,
  messageId: "m" as MessageId,
  mailboxId: inbox,
  keywords: [],
  lifecycle: "live",
  kept: false,
  absent: false,
  receivedAt: 0,
  binding: null,
  ...rest,
});

const factOf = (rest: Partial<ItemFact> = {}): ItemFact => ({
  uid: 9,
  flags: [],
  modseq: null,
  receivedAt: 0,
  sha256: "aa",
  ...rest,
});

/** Items turn up in INBOX while these placements have their octets. */
const arrive = (placements: readonly PlacementView[], rest: Partial<ItemsInput> = {}) =>
  reconcileItems({
    scope,
    items: [factOf()],
    bound: new Map(),
    known: placements.length === 0 ? new Map() : new Map([["aa", { id: "m" as MessageId, placements }]]),
    freshIds: ["m1", "p1", "m2", "p2"],
    reason: "delivered",
    ...rest,
  });

const told = ({ changes, bindings }: Decision) => [
  bindings.map(({ placementId }) => placementId).join(" "),
  changes.map(({ kind, rule }) => `${kind} ${rule}`).join(", "),
];

describe("an item with the octets of what another mailbox shows as deleted", () => {
  const marked = (rest: Partial<BindingView> = {}): BindingView =>
    bindingOf({ active: true, closedReason: null, mailboxId: work, uid: 4, shadowFlags: ["\\deleted", "\\Seen"], ...rest });
  const left = (rest: Partial<PlacementView> = {}) =>
    placementOf("p", { mailboxId: work, keywords: ["$seen"], binding: marked(), ...rest });

  it("ID-5a2: is that, and leaves behind what is nothing here", () => {
    const decision = arrive([left()]);
    expect(told(decision)).toEqual(["p", "message.moved ID-5a2"]);
    expect(decision).toMatchObject({
      changes: [{ reason: "upstream_copy_delete", before: { mailboxId: work }, after: { mailboxId: inbox } }],
      placements: [{ id: "p", mailboxId: inbox, lifecycle: "live", reason: "upstream_copy_delete" }],
      vacated: [{ from: { mailboxId: work, epoch: 1, uid: 4 }, leftBehind: { id: "p1", messageId: "m", opId: null } }],
      newPlacements: [],
    });
  });

  it("F11: has the base that it had, without the mark", () => {
    expect(arrive([left()]).placements).toMatchObject([{ keywords: [] }]);
    expect(arrive([left()], { items: [factOf({ flags: ["\\Seen", "\\Flagged"] })] }).placements).toMatchObject([
      { keywords: ["$flagged", "$seen"] },
    ]);
    const decision = arrive([left()], { items: [factOf({ flags: ["\\Seen", "\\Deleted"] })] });
    expect(decision).toMatchObject({ placements: [{ keywords: ["$seen"] }], bindings: [{ flags: ["\\Seen", "\\Deleted"] }] });
  });

  it("I13: is that once, and one more of its message where it comes twice", () => {
    const items = [factOf(), factOf({ uid: 10 })];
    expect(told(arrive([left()], { items }))).toEqual(["p p2", "message.moved ID-5a2, message.created ID-5e"]);
  });

  it("ID-5b K12 ID-5c: is what has no item sooner", () => {
    const other = (rest: Partial<PlacementView>) => told(arrive([left(), placementOf("q", rest)]))[0];
    expect(other({ absent: true, binding: bindingOf() })).toBe("q");
    expect(other({ binding: bindingOf({ closedReason: "epoch" }) })).toBe("q");
    expect(other({})).toBe("q");
    expect(other({ kept: true, binding: bindingOf() })).toBe("q");
    expect(other({ lifecycle: "removed", binding: bindingOf() })).toBe("p");
  });

  it.each([
    ["in this mailbox", { mailboxId: inbox, binding: marked({ mailboxId: inbox }) }, {}],
    ["without that mark", { binding: marked({ shadowFlags: ["\\Seen"] }) }, {}],
    ["where it is not shown any more", { binding: marked({ active: false, closedReason: "moved" }) }, {}],
    ["where the maildrop shows it, too", {}, { sharedMailbox: work }],
  ])("ID-5e: is not what is %s", (_, rest, input) => {
    expect(told(arrive([left(rest)], input))).toEqual(["p1", "message.created ID-5e"]);
  });

  it("P2 P4: is moved on to where an operation wants it, where that stands", () => {
    const pending = { rank: rankOf.move, source: "d", at: 5 } as const;
    const archive = "archive" as MailboxId;
    const wanted = (readAt: number) =>
      arrive([left({ mailboxId: archive })], {
        contests: { pending: new Map([["p" as PlacementId, pending]]), roleOf: () => null, readAt },
      });
    expect(told(wanted(4))).toEqual(["p", "message.keywords F9, conflict.resolved P4"]);
    expect(wanted(4).vacated).toHaveLength(1);
    expect(told(wanted(6))).toEqual(["p", "message.moved ID-5a2, conflict.resolved P4"]);
  });
});

describe("what a move by copying left behind", () => {
  const left = (rest: Partial<BindingView>) =>
    placementOf("q", { lifecycle: "purged", leftMarked: true, binding: bindingOf({ shadowFlags: ["\\Deleted"], ...rest }) });
  const known = (flags: readonly string[], ...others: readonly PlacementView[]) =>
    arrive([...others, left({ closedReason: "epoch" })], { items: [factOf({ flags })], doomed: new Set(["q" as PlacementId]) });

  it("ID-8: is that in a new epoch, and nothing here while it is marked", () => {
    expect(told(known(["\\Deleted"]))).toEqual(["q", ""]);
    expect(told(known([]))).toEqual(["q", "message.created ID-5e"]);
    const moved = placementOf("p", {
      mailboxId: work,
      binding: bindingOf({ active: true, mailboxId: work, shadowFlags: ["\\Deleted"] }),
    });
    expect(told(known(["\\Deleted"], moved))[0]).toBe("q");
  });

  it("ID-5e: is a place of its message as soon as it is not marked any more", () => {
    const look = (flags: readonly string[], rest: Partial<PlacementView> = {}) => {
      const placement = { ...left({ active: true, closedReason: null, uid: 9 }), ...rest };
      return reconcileFlags({ scope, facts: [{ uid: 9, flags, modseq: null }], bound: new Map([[9, placement]]), seen: null });
    };
    expect(told(look(["\\Deleted", "\\Seen"]))).toEqual(["q", ""]);
    const decision = look(["\\Seen"]);
    expect(told(decision)).toEqual(["q", "message.created ID-5e"]);
    expect(decision.placements).toMatchObject([
      { id: "q", mailboxId: inbox, keywords: ["$seen"], lifecycle: "live", reason: "copied", change: 0 },
    ]);
    const { leftMarked: _, ...ours } = left({ active: true, closedReason: null, uid: 9 });
    const own = reconcileFlags({
      scope,
      facts: [{ uid: 9, flags: [], modseq: null }],
      bound: new Map([[9, ours]]),
      seen: null,
    });
    expect(told(own)).toEqual(["q", ""]);
  });
});
