import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { MailboxId, MessageId, PlacementId } from "../../src/model/ids.ts";
import { keywordsOfFlags } from "../../src/model/mail.ts";
import { newsAmong } from "../../src/reconciler/flag-news.ts";
import { reconcileFlags } from "../../src/reconciler/observed-flags.ts";
import type { PlacementView } from "../../src/reconciler/state.ts";

const scope = { endpointId: "e", mailboxId: "b", epoch: 0 } as Parameters<typeof reconcileFlags>[0]["scope"];

const placement = (uid: number, shadowFlags: readonly string[], keywords: readonly string[]): PlacementView => ({
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

const flags = fc.uniqueArray(fc.constantFrom("\\Seen", "\\Flagged", "Work", "$Junk"));
const item = fc.record({ bound: fc.boolean(), shadow: flags, ours: flags, shown: flags, said: fc.boolean() });

describe("what is new of a listing of flags", () => {
  it("is nothing of what is shown as it was agreed", () => {
    const agreed = new Map([1, 2].map((uid) => [uid, { flags: ["\\Seen", "Work"], said: false }]));
    const facts = [1, 2, 3].map((uid) => ({ uid, flags: ["Work", "\\Seen"], modseq: null }));
    expect(newsAmong(facts, agreed, null)).toEqual([]);
  });

  it("is what changed since, whatever came of it, and what may answer us", () => {
    const agreed = new Map([1, 2, 3].map((uid) => [uid, { flags: [], said: uid === 3 }]));
    const facts = [1, 2, 3].map((uid) => ({ uid, flags: [], modseq: BigInt(uid === 3 ? 1 : uid) }));
    expect(newsAmong(facts, agreed, 1n).map(({ uid }) => uid)).toEqual([2, 3]);
  });

  it("makes the decision that all of the listing makes", () => {
    fc.assert(
      fc.property(fc.array(item, { maxLength: 12 }), (items) => {
        const facts = items.map(({ shown }, uid) => ({ uid, flags: shown, modseq: null }));
        const those = [...items.entries()].filter(([, { bound }]) => bound);
        const bound = new Map(those.map(([uid, { shadow, ours }]) => [uid, placement(uid, shadow, keywordsOfFlags(ours))]));
        const agreed = new Map(those.map(([uid, { shadow, said }]) => [uid, { flags: shadow, said }]));
        const echoes = new Set(those.flatMap(([uid, { said }]) => (said ? [uid] : [])));
        const decide = (some: typeof facts) => reconcileFlags({ scope, facts: some, bound, seen: null, echoes });
        expect(decide(newsAmong(facts, agreed, null))).toEqual(decide(facts));
      }),
    );
  });
});
