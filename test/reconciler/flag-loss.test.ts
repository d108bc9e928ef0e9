import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { MailboxId, MessageId, PlacementId } from "../../src/model/ids.ts";
import { keywordsOfFlags } from "../../src/model/mail.ts";
import { type FlagLossInput, judgeFlagLoss, withoutClears } from "../../src/reconciler/flag-loss.ts";
import { reconcileItems } from "../../src/reconciler/items.ts";
import { reconcileFlags } from "../../src/reconciler/observed-flags.ts";
import type { PlacementView } from "../../src/reconciler/state.ts";

const placement = (uid: number, shadowFlags: readonly string[], keywords = keywordsOfFlags(shadowFlags)): PlacementView => ({
  id: `p${uid}` as PlacementId,
  messageId: `m${uid}` as MessageId,
  mailboxId: "b" as MailboxId,
  keywords,
  lifecycle: "live",
  kept: false,
  absent: false,
  receivedAt: 0,
  binding: { mailboxId: "b" as MailboxId, epoch: 0, uid, active: true, closedReason: null, shadowFlags },
});

const uids = (count: number): number[] => Array.from({ length: count }, (_, at) => at + 1);
const boundTo = (count: number, ...flags: string[]) => new Map(uids(count).map((uid) => [uid, placement(uid, flags)]));
const show = (count: number, ...flags: string[]) => uids(count).map((uid) => ({ uid, flags, modseq: null }));
const judge = (more: Partial<FlagLossInput>) =>
  judgeFlagLoss({ facts: show(60), bound: boundTo(100, "\\Seen"), items: 100, open: null, ...more });
const scope = { endpointId: "e", mailboxId: "b", epoch: 0 } as Parameters<typeof reconcileFlags>[0]["scope"];

describe("breaker B3", () => {
  it.each([
    [50, 100, true],
    [49, 100, false],
    [50, 166, true],
    [50, 167, false],
  ])("F10: %d of %d", (count, items, trips) => {
    const { keywords, count: held } = judge({ facts: show(count), bound: boundTo(items, "\\Seen"), items });
    expect([keywords, held]).toEqual(trips ? [["$seen"], count] : [[], 0]);
  });

  it("holds the flag that was lost, and lets the others of the same items be", () => {
    const bound = boundTo(100, "\\Seen", "Work");
    const { facts } = judge({ facts: [...show(60, "\\Answered", "Work"), { uid: 99, flags: ["\\Seen"], modseq: 7n }], bound });
    expect(facts[0]?.flags).toEqual(["\\Answered", "Work", "\\Seen"]);
    const decision = reconcileFlags({ scope, facts, bound, seen: null });
    expect(decision.changes).toHaveLength(61);
    expect(decision.changes[0]?.after).toEqual({ keywords: ["$answered", "$seen", "work"] });
    expect(decision.changes[60]?.after).toEqual({ keywords: ["$seen"] });
    // The shadow keeps what is held, so that it is still to be decided.
    expect(decision.bindings[0]?.flags).toContain("\\Seen");
  });

  it("is not tripped by what we took away ourselves, by drafts, or by what is deleted", () => {
    const bound = new Map(
      uids(100).map((uid) => [uid, placement(uid, ["\\Seen", "\\Draft", "\\Deleted", "\\Odd"], ["$draft", "\\odd"])]),
    );
    expect(judge({ bound }).keywords).toEqual([]);
  });

  it("adds to what is held what is lost later, however little", () => {
    const open = { keywords: ["$seen"], decided: null };
    expect(judge({ facts: show(1), open })).toMatchObject({ keywords: ["$seen"], count: 1 });
    expect(judge({ facts: show(100, "\\Seen"), open }).count).toBe(0);
  });

  it("S47: clears what somebody approves, and nothing that somebody rejects, and the shadow is what is shown", () => {
    const bound = boundTo(100, "\\Seen");
    for (const [decided, changes] of [
      ["approved", 60],
      ["rejected", 0],
    ] as const) {
      const { facts, count } = judge({ bound, open: { keywords: ["$seen"], decided } });
      const decision = reconcileFlags({ scope, facts, bound, seen: null });
      expect([count, decision.changes.length]).toEqual([0, changes]);
      expect(decision.bindings.map(({ flags }) => flags)).toEqual(show(60).map(() => []));
    }
  });

  const flagSets = fc
    .array(fc.constantFrom("\\Seen", "\\Flagged", "Work", "$MDNSent"), { maxLength: 3 })
    .map((flags) => [...new Set(flags)]);

  it("PB8 F9: after counters ran backwards no flag is cleared, and the shadow is what is shown", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(flagSets, flagSets, flagSets)), (items) => {
        const bound = new Map(items.map(([shadow, , canonical], at) => [at, placement(at, shadow, keywordsOfFlags(canonical))]));
        const shown = items.map(([, flags], uid) => ({ uid, flags, modseq: null }));
        const decision = reconcileFlags({ scope, facts: withoutClears(shown, bound), bound, seen: null });
        for (const { id, keywords } of decision.placements) {
          const before = [...bound.values()].find((one) => one.id === id)?.keywords ?? [];
          expect(keywords).toEqual(expect.arrayContaining([...before]));
        }
        for (const { uid, flags } of decision.bindings) expect(flags).toEqual(shown[uid]?.flags);
      }),
    );
  });
});

describe("flags of what moved, and of what is bound anew", () => {
  const continued = (absent: boolean, closedReason: string, permanentFlags: readonly string[] | null) => {
    const before = placement(1, ["\\Seen", "\\Flagged", "Work"]);
    const view = {
      ...before,
      absent,
      binding: before.binding === null ? null : { ...before.binding, active: false, closedReason },
    };
    const item = { uid: 9, flags: ["\\Answered"], modseq: null, receivedAt: 0, sha256: null };
    const claimed = new Map([[9, { placement: view, confidence: 0.9 }]]);
    return reconcileItems({
      scope,
      items: [item],
      bound: new Map(),
      known: new Map(),
      claimed,
      permanentFlags,
      freshIds: [],
      reason: "delivered",
    });
  };

  it("F11: a move clears what the mailbox could keep, and masks what it cannot", () => {
    const { placements, commands } = continued(true, "absent", ["\\Seen", "\\Answered"]);
    expect(placements[0]?.keywords).toEqual(["$answered", "$flagged", "work"]);
    expect(commands).toEqual([]);
    expect(continued(true, "absent", null).placements[0]?.keywords).toEqual(["$answered"]);
  });

  it("F9: a new epoch clears nothing, and what it lacks is owed to it", () => {
    const { placements, commands } = continued(false, "epoch", null);
    expect(placements[0]?.keywords).toEqual(["$answered", "$flagged", "$seen", "work"]);
    expect(commands).toEqual([{ placementId: "p1", verb: "store", args: {}, reason: "flags_lost" }]);
  });
});
