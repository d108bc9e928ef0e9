import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { MessageId, PlacementId } from "../../src/model/ids.ts";
import { type ImapPlacement, mergeProvisional, type Provisional } from "../../src/reconciler/merge.ts";

const placementId = (name: string): PlacementId => name as PlacementId;
const messageId = (name: string): MessageId => name as MessageId;

const provisional = (name: string, more: Partial<Provisional> = {}): Provisional => ({
  id: placementId(name),
  messageId: messageId(`m-${name}`),
  item: { uidl: name, occurrence: 0, size: 1000, meaning: null, head: { hHead: "head", dropped: 0 }, body: null },
  keywords: [],
  createdSeq: 10n,
  messageSeq: 10n,
  durable: false,
  ...more,
});

const imap = (name: string, more: Partial<ImapPlacement> = {}): ImapPlacement => ({
  id: placementId(name),
  messageId: messageId(`m-${name}`),
  standing: "imap",
  uid: 7,
  objectId: null,
  sha256: "sha",
  hFull: "full",
  hHead: "head",
  hSem: null,
  octets: 1000,
  size: 1000,
  keywords: [],
  createdSeq: 20n,
  messageSeq: 20n,
  durable: true,
  ...more,
});

const merge = (ours: readonly Provisional[], theirs: readonly ImapPlacement[]) =>
  mergeProvisional({ provisional: ours, imap: theirs, regenerated: false });

describe("K12: a mail that POP3 showed first", () => {
  it("is one placement and one message afterwards, under the older ids, with the octets that there are", () => {
    expect(merge([provisional("p", { keywords: ["$flagged"] })], [imap("i", { keywords: ["$seen"] })])).toEqual({
      placements: [{ keep: "p", absorb: "i", keywords: ["$flagged", "$seen"], level: "L4" }],
      messages: [{ keep: "m-p", absorb: ["m-i"], octetsOf: "m-i" }],
      unseen: [],
    });
  });

  it("keeps the IMAP ids when those are older, and stored octets when both have some", () => {
    const found = merge([provisional("p", { createdSeq: 30n, messageSeq: 30n, durable: true })], [imap("i")]);
    expect(found.placements).toMatchObject([{ keep: "i", absorb: "p" }]);
    expect(found.messages).toEqual([{ keep: "m-i", absorb: ["m-p"], octetsOf: "m-i" }]);
    expect(merge([provisional("p", { durable: true })], [imap("i")]).messages).toMatchObject([{ keep: "m-p", octetsOf: "m-p" }]);
  });

  it("is merged by its UID without a header (ID-3)", () => {
    const item = { ...provisional("p").item, meaning: { kind: "item", uid: 7 } as const, head: null };
    expect(merge([provisional("p", { item })], [imap("h", { uid: 6 }), imap("i")]).placements).toMatchObject([
      { keep: "p", absorb: "i", level: "L2" },
    ]);
  });

  it("has one message already where both brought the same octets", () => {
    const shared = { messageId: messageId("m"), messageSeq: 10n, durable: true };
    const found = merge([provisional("p", shared)], [imap("i", shared)]);
    expect(found).toMatchObject({ placements: [{ keep: "p", absorb: "i" }], messages: [] });
  });

  it("has to be read when a whole IMAP scan did not show it", () => {
    expect(merge([provisional("p")], [imap("i", { hHead: "other" })])).toEqual({
      placements: [],
      messages: [],
      unseen: [{ id: "p", read: "body" }],
    });
  });

  it("of twins leaves two placements of one message, whose id is the oldest", () => {
    const shared = { messageId: messageId("m"), messageSeq: 20n };
    const found = merge(
      [provisional("p", { messageSeq: 11n }), provisional("q", { messageSeq: 10n })],
      [imap("i", { ...shared, uid: 1 }), imap("j", { ...shared, uid: 2 })],
    );
    expect(found.placements).toMatchObject([
      { keep: "p", absorb: "i" },
      { keep: "q", absorb: "j" },
    ]);
    expect(found.messages).toEqual([{ keep: "m-q", absorb: ["m-p", "m"], octetsOf: "m" }]);
  });

  it("is merged once, and every message goes under the oldest of its group, whatever came first", () => {
    const seq = fc.bigInt({ min: 1n, max: 40n });
    const sort = fc.record({ content: fc.nat(4), createdSeq: seq, messageSeq: seq, durable: fc.boolean() });
    fc.assert(
      fc.property(fc.array(sort, { maxLength: 15 }), fc.array(sort, { maxLength: 15 }), (ours, theirs) => {
        const head = (content: number) => ({ hHead: `head${content}`, dropped: 0 });
        const p = ours.map(({ content, ...more }, n) =>
          provisional(`p${n}`, { ...more, item: { ...provisional("x").item, head: head(content) } }),
        );
        // Of IMAP placements with one content some share a message.
        const i = theirs.map(({ content, ...more }, n) =>
          imap(`i${n}`, {
            ...more,
            uid: n + 1,
            hHead: `head${content}`,
            hFull: `full${content}`,
            messageId: messageId(`m${content}`),
          }),
        );
        const found = merge(p, i);
        const touched = found.placements.flatMap(({ keep, absorb }) => [keep, absorb]);
        expect(new Set(touched).size).toBe(touched.length);
        expect(found.placements.length + found.unseen.length).toBe(p.length);
        const seqOf = new Map([...p, ...i].map((one) => [one.id, one.createdSeq]));
        for (const { keep, absorb } of found.placements) expect((seqOf.get(keep) ?? 0n) <= (seqOf.get(absorb) ?? -1n)).toBe(true);
        const absorbed = found.messages.flatMap(({ absorb }) => absorb);
        expect(new Set(absorbed).size).toBe(absorbed.length);
        for (const { keep } of found.messages) expect(absorbed).not.toContain(keep);
        // Whatever was merged is one message now.
        const into = new Map(found.messages.flatMap(({ keep, absorb }) => absorb.map((id) => [id, keep] as const)));
        const messageOf = new Map([...p, ...i].map((one) => [one.id, into.get(one.messageId) ?? one.messageId]));
        for (const { keep, absorb } of found.placements) expect(messageOf.get(keep)).toBe(messageOf.get(absorb));
      }),
      { numRuns: 1000 },
    );
  });
});
