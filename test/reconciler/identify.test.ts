import { describe, expect, it } from "vitest";
import type { MessageId, PlacementId } from "../../src/model/ids.ts";
import {
  type Claimable,
  identify,
  type Identified,
  type IdentifyInput,
  type Standing,
  type UnknownItem,
} from "../../src/reconciler/identify.ts";

const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

const placement = (name: string, more: Partial<Claimable> = {}): Claimable => ({
  id: name as PlacementId,
  messageId: "m" as MessageId,
  standing: "imap",
  uid: null,
  objectId: null,
  sha256: "sha",
  hFull: "full",
  hHead: "head",
  hSem: "sem",
  octets: 1000,
  size: 1000,
  ...more,
});

const item = (more: Partial<UnknownItem> = {}): UnknownItem => ({
  uidl: "u",
  occurrence: 0,
  size: 1000,
  meaning: null,
  head: null,
  body: null,
  ...more,
});

const withHead = (hHead = "head", size = 1000): UnknownItem => item({ size: size + 20, head: { hHead, dropped: 20 } });
const withBody = (sha256: string, hFull: string, hSem: string | null = null): UnknownItem =>
  item({ body: { sha256, hFull, hSem } });

const decide = (items: readonly UnknownItem[], claimable: readonly Claimable[], more: Partial<IdentifyInput> = {}) =>
  identify({ items, claimable, known: new Map(), imap: "scanned", regenerated: false, ...more });
const first = (...input: Parameters<typeof decide>): Identified | undefined => decide(...input).items[0];

const uid = (value: number): UnknownItem["meaning"] => ({ kind: "item", uid: value });

describe("ID-3: a unique-id that tells the UID", () => {
  it("binds without a read", () => {
    expect(first([item({ meaning: uid(7) })], [placement("a", { uid: 6 }), placement("b", { uid: 7 })])).toEqual({
      kind: "bind",
      placementId: "b",
      messageId: "m",
      level: "L2",
      rule: "ID-3",
      confidence: 0.99,
    });
  });

  it("binds nothing, and no other one either, once a header contradicts it", () => {
    const items = [item({ meaning: uid(6) }), { ...withHead("other"), meaning: uid(7) }];
    const answer = decide(items, [placement("a", { uid: 6 }), placement("b", { uid: 7 })]);
    expect(answer.contradictions).toEqual([1]);
    expect(answer.items).toEqual([{ kind: "head" }, { kind: "body", because: "unmatched" }]);
  });

  it("is not believed of an item of another size, unless its header block says the same (ID-11)", () => {
    const stored = [placement("a", { uid: 7, octets: 1000 })];
    expect(first([item({ meaning: uid(7), size: 1004 })], stored)).toMatchObject({ kind: "bind", rule: "ID-3" });
    expect(first([item({ meaning: uid(7), size: 1005 })], stored)).toEqual({ kind: "head" });
    expect(first([{ ...withHead("head", 2000), meaning: uid(7) }], stored)).toMatchObject({ kind: "bind", rule: "ID-3" });
  });

  it("says nothing of an item of another epoch", () => {
    expect(first([item({ meaning: { kind: "foreign" } })], [placement("a", { uid: 7 })])).toEqual({ kind: "head" });
  });

  it("gives one placement to one item only", () => {
    const answer = decide([item({ meaning: uid(7) }), item({ meaning: uid(7), occurrence: 1 })], [placement("a", { uid: 7 })]);
    expect(answer.items.map(({ kind }) => kind)).toEqual(["bind", "head"]);
  });

  it("that is an object id binds nothing that IMAP does not show", () => {
    const items = [item({ meaning: { kind: "content", objectId: "o" } })];
    expect(first(items, [placement("a", { objectId: "o" })])).toMatchObject({ placementId: "a", level: "L1" });
    for (const standing of ["absent", "kept", "removed"] as const)
      expect(first(items, [placement("a", { objectId: "o", standing })])).toEqual({ kind: "head" });
  });

  it("that is an object id binds items of one content in order, as many as there are", () => {
    const meaning = { kind: "content", objectId: "g" } as const;
    const claimable = [placement("b", { uid: 9, objectId: "g" }), placement("a", { uid: 3, objectId: "g" })];
    const items = [item({ meaning }), item({ meaning, occurrence: 1 }), item({ meaning, occurrence: 2 })];
    const answer = decide(items, claimable).items;
    expect(answer.map((one) => (one.kind === "bind" ? `${one.placementId} ${one.level}` : one.kind))).toEqual([
      "a L1",
      "b L1",
      "head",
    ]);
  });
});

describe("ID-4 and ID-5: what a hash binds to", () => {
  const standings: readonly Standing[] = ["imap", "absent", "unbound", "kept", "removed"];
  const rules: Readonly<Record<Standing, string>> = {
    imap: "ID-4",
    absent: "ID-5a",
    unbound: "ID-5b",
    kept: "ID-5c",
    removed: "ID-5d",
  };

  it.for(standings)("%s comes before what stands behind it in the list", (standing) => {
    const claimable = standings.slice(standings.indexOf(standing)).map((one) => placement(one, { standing: one }));
    expect(first([withBody("sha", "x")], claimable.toReversed())).toMatchObject({
      placementId: standing,
      rule: rules[standing],
      level: "L3",
      confidence: 0.97,
    });
  });

  it("is the same octets first, then the same normal form", () => {
    const claimable = [placement("a", { sha256: "x" }), placement("b", { sha256: "y" })];
    expect(first([withBody("y", "full")], claimable)).toMatchObject({ placementId: "b" });
    expect(first([withBody("z", "full")], claimable)).toMatchObject({ placementId: "a" });
  });

  it("is the same meaning only where messages are made up anew at each reading", () => {
    const items = [withBody("x", "y", "sem")];
    expect(first(items, [placement("a")])).toEqual({ kind: "create", rule: "ID-7" });
    expect(first(items, [], { known: new Map([["sem", "m" as MessageId]]) })).toEqual({ kind: "create", rule: "ID-7" });
    expect(first(items, [placement("a")], { regenerated: true })).toMatchObject({ level: "L5", confidence: 0.8 });
  });

  it("is a header block with about the same size", () => {
    for (const size of [996, 999, 1000, 1002, 1004])
      expect(first([withHead("head", size)], [placement("a")])).toMatchObject({ kind: "bind", level: "L4", confidence: 0.9 });
    for (const size of [995, 1005]) expect(first([withHead("head", size)], [placement("a")])?.kind).toBe("body");
  });

  it("is not an empty header block, and not a header block of a removed placement (P7)", () => {
    expect(first([withHead(emptyHash)], [placement("a", { hHead: emptyHash })])?.kind).toBe("body");
    expect(first([withHead()], [placement("a", { standing: "removed" })])?.kind).toBe("body");
  });

  it("is told by the body where headers could be those of several messages", () => {
    const two = [placement("a"), placement("b", { hFull: "other", messageId: "n" as MessageId })];
    expect(decide([withHead(), withHead()], two).items).toEqual([
      { kind: "body", because: "ambiguous" },
      { kind: "body", because: "ambiguous" },
    ]);
    expect(decide([withHead(), withHead()], [placement("a")]).items).toEqual([
      { kind: "body", because: "ambiguous" },
      { kind: "body", because: "ambiguous" },
    ]);
  });

  it("leaves twins two placements of one message", () => {
    const twins = [placement("b", { uid: 2 }), placement("a", { uid: 1 })];
    const answer = decide([withHead(), withHead()], twins).items;
    expect(answer.map((one) => one.kind === "bind" && `${one.placementId} of ${one.messageId}`)).toEqual(["a of m", "b of m"]);
  });
});

describe("ID-5e and ID-7: an item that continues no placement", () => {
  it("is another placement of a message that is known, or of one that came with it", () => {
    expect(first([withBody("s", "f")], [], { known: new Map([["f", "k" as MessageId]]) })).toMatchObject({
      kind: "copy",
      of: "k",
    });
    expect(decide([withBody("s", "full"), withBody("s", "full")], [placement("a")]).items[1]).toMatchObject({
      kind: "copy",
      of: "m",
    });
    expect(decide([withBody("s", "f"), withBody("t", "f")], []).items).toEqual([
      { kind: "create", rule: "ID-7" },
      { kind: "copy", rule: "ID-5e", level: "L3", of: { sameAs: 0 } },
    ]);
  });

  it("is read by its header first, and whole where that is of nothing that is there", () => {
    expect(first([item()], [], { imap: "none" })).toEqual({ kind: "head" });
    expect(first([withHead("new")], [placement("a")], { imap: "none" })).toEqual({ kind: "body", because: "unmatched" });
  });
});

describe("K12: an item that IMAP has yet to show", () => {
  it("is provisional, by its UID without a read, else by its header", () => {
    expect(first([item({ meaning: uid(7) })], [], { imap: "behind" })).toEqual({ kind: "provisional", rule: "K12" });
    expect(first([item()], [], { imap: "behind" })).toEqual({ kind: "head" });
    expect(first([withHead("new")], [placement("a")], { imap: "behind" })).toEqual({ kind: "provisional", rule: "K12" });
  });

  it("is read over POP3 once a whole scan has not shown it", () => {
    expect(first([{ ...withHead("new"), meaning: uid(7) }], [placement("a", { uid: 6 })])).toEqual({
      kind: "body",
      because: "unmatched",
    });
  });
});
