import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { defaultPolicy } from "../../src/model/account.ts";
import type { MailboxId, MessageId, PlacementId } from "../../src/model/ids.ts";
import { applyEffect, chosenClasses, effectOf, type PolicyDecided } from "../../src/reconciler/policy-change.ts";
import { emptyDraft } from "../../src/reconciler/state.ts";
import { classifyImapVanish, outcomeOf } from "../../src/reconciler/vanish-rules.ts";

const seenOnly = fc.record({
  ownCommand: fc.constant(false),
  foundElsewhere: fc.constant(null),
  epochChanged: fc.constant(false),
  outsideWindow: fc.constant(false),
  breakerTripped: fc.constant(false),
  role: fc.constantFrom(null, "inbox" as const, "trash" as const, "junk" as const, "archive" as const),
  shownByPop3After: fc.constant(false),
  mailboxGone: fc.boolean(),
  labelRemoved: fc.constant(false),
  markedDeleted: fc.boolean(),
  atRetentionAge: fc.boolean(),
  drainSuspect: fc.boolean(),
  storeExcluded: fc.boolean(),
  batchShape: fc.boolean(),
  goneFromInboxToo: fc.boolean(),
  cutHasGaps: fc.boolean(),
});
const view = fc.record({
  policy: fc.record({
    ...Object.fromEntries(Object.entries(defaultPolicy).map(([key, value]) => [key, fc.constant(value)])),
    onPop3Drain: fc.constantFrom("keep" as const, "mirror" as const, "restore" as const),
    onUserExpunge: fc.constantFrom("keep" as const, "mirror" as const),
    onUnknownVanish: fc.constantFrom("auto" as const, "keep" as const, "mirror" as const),
  }) as unknown as fc.Arbitrary<typeof defaultPolicy>,
  pop3Devices: fc.constantFrom("unknown" as const, "declared" as const, "learned" as const, "denied" as const),
});
type View = Parameters<typeof effectOf>[1];
type Seen = Parameters<typeof classifyImapVanish>[0];

/** What stands after an item that showed `seen` was decided under a policy; null: that is nobody's choice. */
const decidedUnder = (seen: Omit<Seen, "pop3Devices">, { policy, pop3Devices }: View): PolicyDecided | null => {
  const found = classifyImapVanish({ ...seen, pop3Devices });
  const name = chosenClasses.find((one) => one === found.class);
  if (name === undefined) return null;
  const { action } = outcomeOf({ found, policy, pop3Devices, drainSuspect: seen.drainSuspect, canRestore: false });
  const gone = action === "remove";
  return {
    placement: {
      id: "p" as PlacementId,
      messageId: "m" as MessageId,
      mailboxId: "b" as MailboxId,
      keywords: [],
      lifecycle: gone ? "removed" : "live",
      kept: !gone,
      absent: false,
      receivedAt: 0,
      binding: null,
    },
    class: name,
    rule: found.rule,
    confidence: found.confidence,
    evidence: [{ vanishedUid: 1, seen }],
    endpointId: null,
    canRestore: false,
  };
};

const stands = ({ placement }: PolicyDecided): string => (placement.lifecycle === "removed" ? "removed" : "kept");

describe("another policy for what was decided before", () => {
  it("ends where the item would stand had the policy been so from the first; and the same policy changes nothing", () => {
    fc.assert(
      fc.property(seenOnly, view, view, (seen, before, after) => {
        const decided = decidedUnder(seen, before);
        const anew = decidedUnder(seen, after);
        if (decided === null || anew === null) return;
        expect(effectOf(decided, before)).toBeNull();
        expect(effectOf(decided, after)?.wouldBe ?? stands(decided)).toBe(stands(anew));
      }),
      { numRuns: 3000 },
    );
  });

  it("what is done is what was told, with the evidence it was decided by", () => {
    fc.assert(
      fc.property(seenOnly, view, view, (seen, before, after) => {
        const decided = decidedUnder(seen, before);
        const effect = decided === null ? null : effectOf(decided, after);
        if (decided === null || effect === null) return;
        const draft = emptyDraft();
        applyEffect(draft, decided, effect, "key");
        const [change] = draft.changes;
        expect(draft.placements).toMatchObject([
          { lifecycle: effect.wouldBe === "removed" ? "removed" : "live", reason: effect.reason },
        ]);
        expect(change).toMatchObject({ source: "api", deviceId: "key", reason: effect.reason, rule: effect.rule });
        expect(change?.evidence).toEqual([{ vanishedUid: 1, seen }, { policyChanged: true }]);
        expect(change?.kind).toBe(effect.wouldBe === "removed" ? "message.removed" : "message.restored");
      }),
      { numRuns: 2000 },
    );
  });

  it("puts back only what may be put back, once", () => {
    const seen = { ...(fc.sample(seenOnly, 1)[0] as Omit<Seen, "pop3Devices">), role: "inbox" as const, markedDeleted: false };
    const drained = { ...seen, mailboxGone: false, cutHasGaps: false, drainSuspect: false, storeExcluded: true };
    const declared = { policy: defaultPolicy, pop3Devices: "declared" as const };
    const decided = decidedUnder(drained, declared) as PolicyDecided;
    const wished = { ...declared, policy: { ...defaultPolicy, onPop3Drain: "restore" as const } };
    expect(effectOf(decided, wished)).toBeNull();
    const able = { ...decided, canRestore: true };
    const effect = effectOf(able, wished);
    expect(effect).toMatchObject({ now: "kept", wouldBe: "restored", reason: "pop3_drain" });
    const draft = emptyDraft();
    if (effect !== null) applyEffect(draft, able, effect, "key");
    expect(draft.commands).toEqual([{ placementId: "p", verb: "append", args: {}, reason: "restored_after_drain" }]);
    expect(draft.changes).toMatchObject([{ kind: "message.kept" }]);
  });
});
