/** What an item of a server is, and what its flags say, one case at a time; histories of them are properties. */
import { describe, expect, it } from "vitest";
import { defaultPolicy } from "../../src/model/account.ts";
import type { EndpointId, MailboxId, MessageId, PlacementId } from "../../src/model/ids.ts";
import { type ItemFact, type ItemsInput, reconcileItems } from "../../src/reconciler/items.ts";
import { reconcileFlags } from "../../src/reconciler/observed-flags.ts";
import type { SeenVerdict } from "../../src/reconciler/pop3-seen.ts";
import type { BindingView, PlacementView } from "../../src/reconciler/state.ts";

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

const told = ({ changes, bindings }: ReturnType<typeof arrive>) => [
  bindings.map(({ placementId }) => placementId).join(" "),
  changes.map(({ kind, rule }) => `${kind} ${rule}`).join(", "),
];

it("S89 P12: says of a draft that an app brought another version of it at the same time", () => {
  const forks = new Map([[9, "theirs" as MessageId]]);
  const decision = arrive([], { forks });
  expect(decision.changes).toMatchObject([
    { kind: "message.created", reason: "draft_fork", evidence: [{ otherVersion: { messageId: "theirs" } }] },
  ]);
  expect(told(decision)).toEqual(["p1", "message.created P12"]);
  expect(told(arrive([], { forks: new Map([[8, "theirs" as MessageId]]) }))).toEqual(["p1", "message.created ID-7"]);
});

describe("an item that was compared with a placement", () => {
  const claim = (uid: number, rest: Partial<PlacementView> = {}) =>
    [uid, { placement: placementOf("p", rest), confidence: 0.8 }] as const;
  const shownElsewhere = { binding: bindingOf({ mailboxId: work }) };

  it("is that", () => {
    expect(told(arrive([], { claimed: new Map([claim(9)]) }))).toEqual(["p", "message.merged K12"]);
  });

  it("is mail of its own where that is no more what it was, and is left where its octets were not read", () => {
    const claimed = new Map([claim(9, shownElsewhere)]);
    expect(told(arrive([], { claimed }))).toEqual(["p1", "message.created ID-7"]);
    expect(told(arrive([], { claimed, items: [factOf({ sha256: null })] }))).toEqual(["", ""]);
  });

  it("P7, I2: is not that where it was removed meanwhile: only its octets can tell", () => {
    const removed = { lifecycle: "removed", binding: bindingOf({ closedReason: "epoch" }) } as const;
    const claimed = new Map([claim(9, removed)]);
    for (const doomed of [new Set<PlacementId>(), new Set(["p" as PlacementId])]) {
      expect(told(arrive([], { claimed, doomed }))).toEqual(["p1", "message.created ID-7"]);
      expect(told(arrive([], { claimed, doomed, items: [factOf({ sha256: null })] }))).toEqual(["", ""]);
    }
  });

  it("I13: is mail of its own where another item of the batch is that already", () => {
    const items = [factOf(), factOf({ uid: 10, sha256: "bb" })];
    const decision = arrive([], { items, claimed: new Map([claim(9), claim(10)]) });
    expect(told(decision)).toEqual(["p p2", "message.merged K12, message.created ID-7"]);
  });
});

describe("an item with octets that are known", () => {
  it.each([
    [
      "ID-5a: is what is missing, wherever that was",
      { absent: true, mailboxId: work, binding: bindingOf() },
      "message.moved ID-5a",
    ],
    ["ID-5b: is what lost its number with its epoch", { binding: bindingOf({ closedReason: "epoch" }) }, ""],
    ["K12: is what another endpoint had shown before", {}, "message.merged K12"],
    ["ID-5c: is what was kept in this mailbox", { kept: true, binding: bindingOf() }, "message.restored ID-5c"],
    ["ID-5d: is what was removed", { lifecycle: "removed" as const, binding: bindingOf() }, "message.restored ID-5d"],
  ])("%s", (_, rest, change) => {
    expect(told(arrive([placementOf("p", rest)]))).toEqual(["p", change]);
  });

  it.each([
    ["what is shown", { binding: bindingOf({ active: true, closedReason: null }) }],
    ["what is missing at another endpoint only", { absent: true, binding: bindingOf({ active: true, closedReason: null }) }],
    ["what another mailbox kept", { kept: true, mailboxId: work, binding: bindingOf() }],
    [
      "what an epoch of another mailbox unbound",
      { mailboxId: work, binding: bindingOf({ mailboxId: work, closedReason: "epoch" }) },
    ],
  ])("ID-5e: is not %s, but one more of its message", (_, rest) => {
    expect(told(arrive([placementOf("p", rest)]))).toEqual(["p1", "message.created ID-5e"]);
  });

  it("ID-6: is of several the one of its date and flags, then the one of the lowest number", () => {
    const missing = (id: string, uid: number, rest: Partial<PlacementView> = {}) =>
      placementOf(id, { absent: true, binding: bindingOf({ uid }), ...rest });
    const candidates = [missing("b", 2), missing("a", 1), missing("d", 3, { receivedAt: 5, keywords: ["$seen"] })];
    const taken = (rest: Partial<ItemFact>) => told(arrive(candidates, { items: [factOf(rest)] }))[0];
    expect(taken({ receivedAt: 5, flags: ["\\Seen"] })).toBe("d");
    expect(taken({ receivedAt: 5 })).toBe("d");
    expect(taken({})).toBe("a");
    expect(told(arrive(candidates, { items: [factOf(), factOf({ uid: 10 })] }))[0]).toBe("a b");
  });

  it("ID-6: is of several that nothing tells apart the same one, however they were read", () => {
    const twins = ["b", "a", "c"].map((id) => placementOf(id, { absent: true, binding: null }));
    for (const candidates of [twins, twins.toReversed()]) expect(told(arrive(candidates))[0]).toBe("a");
  });

  it("I13: continues no placement that another item of the batch continues", () => {
    const items = [factOf(), factOf({ uid: 10 })];
    expect(told(arrive([placementOf("p", { absent: true, binding: bindingOf() })], { items }))[0]).toBe("p p2");
  });
});

describe("an item that moved while an operation wanted it elsewhere", () => {
  const archive = "archive" as MailboxId;
  const seenAt = (readAt: number) => {
    const pending = new Map([["p" as PlacementId, { rank: 5, source: "device d", at: 10 }]] as const);
    const placement = placementOf("p", { mailboxId: work, absent: true, binding: bindingOf({ mailboxId: archive }) });
    const { placements, changes } = arrive([placement], { contests: { pending, roleOf: () => null, readAt } });
    return [placements[0]?.mailboxId, ...changes.map(({ kind }) => kind)];
  };

  it("P4: is where it was seen, unless that was read before the operation came", () => {
    expect(seenAt(10)).toEqual([inbox, "message.moved", "conflict.resolved"]);
    expect(seenAt(9)).toEqual([work, "conflict.resolved"]);
  });
});

describe("an item with octets that nobody has", () => {
  it("ID-7: is a message, and its twin one more of that", () => {
    const { newMessages, newPlacements } = arrive([], { items: [factOf(), factOf({ uid: 10 })] });
    expect(newMessages.map(({ id }) => id)).toEqual(["m1"]);
    expect(newPlacements.map(({ id, messageId }) => [id, messageId])).toEqual([
      ["p1", "m1"],
      ["p2", "m1"],
    ]);
  });
});

describe("items whose octets a server does not give", () => {
  it("G7: are messages of their own, for nobody knows what they are", () => {
    const items = [factOf({ sha256: null }), factOf({ uid: 10, sha256: null })];
    expect(arrive([placementOf("p", { absent: true, binding: bindingOf() })], { items }).newMessages.map(({ id }) => id)).toEqual(
      ["m1", "m2"],
    );
  });
});

describe("what was sent upstream", () => {
  const placement = placementOf("sent", { kept: true, mailboxId: work });
  const why = { verb: "append", opId: null, is: "back", sent: [] } as const;
  const claim = { commandId: "c", ...why, placement, hashes: new Set(["aa"]), from: 9 };
  const found = (fact: Partial<ItemFact>, rest: object = {}) =>
    told(arrive([], { items: [factOf(fact)], claims: [{ ...claim, ...rest }] }))[0];

  it("ID-1 ID-2: is what has its octets behind the fence, and nothing else", () => {
    expect(found({})).toBe("sent");
    expect(found({ uid: 8 })).toBe("p1");
    expect(found({ sha256: "bb" })).toBe("p1");
    expect(found({}, { placement: { ...placement, kept: false } })).toBe("p1");
  });

  it("ID-8: is what was to go when its mailbox was numbered anew, and does not come back by it", () => {
    for (const lifecycle of ["removed", "purged"] as const) {
      const doomed = placementOf("p", { lifecycle, binding: bindingOf({ closedReason: "epoch" }) });
      const decision = arrive([doomed], { items: [factOf({ flags: ["\\Seen"] })], doomed: new Set([doomed.id]) });
      expect(decision).toMatchObject({ changes: [], placements: [], commands: [], bindings: [{ uid: 9, placementId: "p" }] });
    }
  });

  it("ID-5d: comes back where nobody wants that removed any more", () => {
    const binding = bindingOf({ closedReason: "epoch" });
    expect(told(arrive([placementOf("p", { lifecycle: "removed", binding })]))).toEqual(["p", "message.restored ID-5d"]);
    expect(told(arrive([placementOf("p", { lifecycle: "purged", binding })]))).toEqual(["p1", "message.created ID-5e"]);
  });

  it("P7: is a copy where it is shown elsewhere than where that is still to be removed", () => {
    const gone = bindingOf({ mailboxId: work, closedReason: "epoch" });
    const removed = placementOf("p", { mailboxId: work, lifecycle: "removed", binding: gone });
    expect(told(arrive([removed], { doomed: new Set([removed.id]) }))).toEqual(["p1", "message.created ID-5e"]);
    expect(told(arrive([removed]))).toEqual(["p", "message.restored ID-5d"]);
  });

  it("ID-8 I2: is what is live before what was to go, whichever looks more like it", () => {
    const doomed = placementOf("doomed", { lifecycle: "removed", binding: bindingOf({ closedReason: "epoch" }) });
    for (const live of [{ binding: bindingOf({ uid: 5, closedReason: "epoch" }) }, {}, { kept: true, binding: bindingOf() }]) {
      const twin = placementOf("live", { receivedAt: 5, ...live });
      const items = [factOf(), factOf({ uid: 10 })];
      expect(told(arrive([doomed, twin], { items, doomed: new Set([doomed.id]) }))[0]).toBe("live doomed");
    }
  });

  it("ID-2: is found by its octets alone where the fence is of an earlier epoch, if nothing else has them", () => {
    expect(found({ uid: 1 }, { from: null })).toBe("sent");
    const missing = placementOf("missing", { absent: true, binding: bindingOf() });
    const claimed = (from: number | null) => told(arrive([missing], { claims: [{ ...claim, from }] }))[0];
    expect([claimed(9), claimed(null)]).toEqual(["sent", "missing"]);
  });

  describe("as a move", () => {
    const elsewhere = bindingOf({ mailboxId: work, active: true, closedReason: null });
    const moved = placementOf("sent", { binding: elsewhere });
    const move = { verb: "move", opId: "op", is: "placed", placement: moved } as const;

    it("C7: leaves behind what is to be removed where it was", () => {
      const { vacated, bindings } = arrive([], { claims: [{ ...claim, ...move }] });
      expect(bindings.map(({ placementId }) => placementId)).toEqual(["sent"]);
      expect(vacated).toEqual([{ from: elsewhere, leftBehind: { id: "p1", opId: "op", messageId: "m" } }]);
    });

    it("ID-1: says nothing of its flags where it was purged meanwhile", () => {
      const purged = { ...moved, lifecycle: "purged" as "removed", keywords: ["$seen"] };
      const { bindings, changes } = arrive([], { claims: [{ ...claim, ...move, placement: purged, sent: ["\\Seen"] }] });
      expect([bindings.map(({ placementId }) => placementId), changes]).toEqual([["sent"], []]);
      const alive = arrive([], {
        claims: [{ ...claim, ...move, sent: ["\\Seen"], placement: { ...moved, keywords: ["$seen"] } }],
      });
      expect(alive.changes.map(({ kind }) => kind)).toEqual(["message.keywords"]);
    });

    it("I13: is not what is still shown where it was to be moved from", () => {
      const binding = { ...elsewhere, mailboxId: inbox, uid: 3 };
      expect(found({}, { ...move, placement: { ...moved, mailboxId: work, binding } })).toBe("p1");
    });
  });
});

describe("flags of an item that is bound", () => {
  const shown = (keywords: readonly string[], shadowFlags: readonly string[]) =>
    placementOf("p", { keywords, binding: bindingOf({ active: true, closedReason: null, uid: 9, shadowFlags }) });
  const weak: SeenVerdict = {
    strength: "weak",
    suspected: false,
    rule: "Z2",
    because: "retrieval_order",
    items: 2,
    highWater: 0,
    besideDrain: false,
  };
  const look = (placement: PlacementView, flags: readonly string[], verdict: SeenVerdict | null = null) =>
    reconcileFlags({
      scope,
      facts: [{ uid: 9, flags, modseq: 7n }],
      bound: new Map([[9, placement]]),
      seen:
        verdict === null
          ? null
          : {
              verdicts: new Map([[9, verdict]]),
              earlier: null,
              devices: "declared",
              policy: { ...defaultPolicy, pop3Seen: "revert" },
            },
    });

  it("F1: assert where they differ from what was agreed on, and leave the rest to us", () => {
    const { placements } = look(shown(["$flagged", "ours"], ["\\Flagged"]), ["\\Seen"]);
    expect(placements.map(({ keywords }) => keywords)).toEqual([["$seen", "ours"]]);
  });

  it("F1 I8: say nothing where they are what was agreed on, whatever their number", () => {
    expect(look(shown(["ours"], ["\\Seen"]), ["\\Seen"])).toMatchObject({ changes: [], bindings: [], placements: [] });
  });

  it("F5 Z5: that a device left by downloading become the shadow and nothing else, and are taken back", () => {
    const { placements, bindings, commands } = look(shown([], []), ["\\Seen"], weak);
    expect(placements).toEqual([]);
    expect(bindings).toMatchObject([{ placementId: "p", flags: ["\\Seen"] }]);
    expect(commands).toEqual([{ placementId: "p", verb: "store", args: { remove: ["$seen"] }, reason: "pop3_seen_reverted" }]);
  });

  it("F6: are one keyword in whatever case", () => {
    const { changes } = look(shown(["$junk"], ["$Junk"]), ["$JUNK"]);
    expect(changes).toEqual([]);
  });

  it("F11: of a mail that moved have the base that it had, and of one that came back none", () => {
    const before = { keywords: ["$flagged"], binding: bindingOf({ shadowFlags: ["\\Flagged"] }) };
    const keywordsOf = (rest: Partial<PlacementView>) =>
      arrive([placementOf("p", { ...before, ...rest })]).placements[0]?.keywords;
    expect(keywordsOf({ absent: true })).toEqual([]);
    expect(keywordsOf({ kept: true })).toEqual(["$flagged"]);
    expect(keywordsOf({ lifecycle: "removed" })).toEqual(["$flagged"]);
  });

  it("F11: are not taken away by a mailbox that does not keep them", () => {
    const moved = placementOf("p", { keywords: ["$flagged"], absent: true, binding: bindingOf({ shadowFlags: ["\\Flagged"] }) });
    const keywordsIn = (permanentFlags: readonly string[] | null) => arrive([moved], { permanentFlags }).placements[0]?.keywords;
    expect([keywordsIn(["\\Seen"]), keywordsIn(["\\Flagged"]), keywordsIn(null)]).toEqual([["$flagged"], [], []]);
  });

  it("F9: are given back where nobody can have taken them away, and not where it moved without them", () => {
    const before = { keywords: ["$flagged"], binding: bindingOf({ shadowFlags: ["\\Flagged"] }) };
    const owed = (rest: Partial<PlacementView>) =>
      arrive([placementOf("p", { ...before, ...rest })]).commands.map(({ reason }) => reason);
    expect(owed({ absent: true })).toEqual([]);
    expect(owed({ kept: true })).toEqual(["flags_lost"]);
    expect(owed({ binding: bindingOf({ shadowFlags: ["\\Flagged"], closedReason: "epoch" }) })).toEqual(["flags_lost"]);
  });
});
