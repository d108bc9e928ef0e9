import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { MessageId, PlacementId } from "../../src/model/ids.ts";
import {
  type Claimable,
  identify,
  type Identified,
  type IdentifyInput,
  type UnknownItem,
} from "../../src/reconciler/identify.ts";

/** A mail upstream: what its octets hash to. Mails with one `content` are twins, those with one `head` have equal headers. */
interface Mail {
  readonly content: number;
  readonly head: number;
  readonly size: number;
  readonly messageId: string | null;
}

interface Item {
  readonly mail: Mail;
  readonly uid: number;
}

const dropped = 57;

const claimableOf = ({ mail, uid }: Item): Claimable => ({
  id: `placement${String(uid).padStart(6, "0")}` as PlacementId,
  messageId: `message${mail.content}` as MessageId,
  standing: "imap",
  uid,
  objectId: null,
  sha256: `imap${mail.content}`,
  hFull: `full${mail.content}`,
  hHead: `head${mail.head}`,
  hSem: null,
  octets: null,
  size: mail.size,
});

const listed = ({ mail, uid }: Item, more: Partial<UnknownItem> = {}): UnknownItem => ({
  uidl: `uidl${uid}`,
  occurrence: 0,
  size: mail.size + dropped,
  meaning: null,
  head: null,
  body: null,
  ...more,
});

const headOf = ({ head }: Mail) => ({ hHead: `head${head}`, dropped });
const bodyOf = ({ content }: Mail) => ({ sha256: `pop${content}`, hFull: `full${content}`, hSem: null });

interface Played {
  readonly answers: readonly Identified[];
  readonly heads: number;
  readonly bodies: readonly number[];
}

/** Reads what is asked for until nothing is. What was bound is bound: it is not decided again. */
const play = (
  items: readonly Item[],
  claimable: readonly Claimable[],
  rest: { imap: IdentifyInput["imap"]; meaning: (uid: number) => UnknownItem["meaning"] },
): Played => {
  const known = new Map<string, MessageId>();
  for (const { hFull, messageId } of claimable) if (hFull !== null) known.set(hFull, messageId);
  const answers = items.map((): Identified => ({ kind: "head" }));
  const bodies = new Set<number>();
  let heads = 0;
  let free = claimable;
  let open = items.map((item, index) => ({ index, item, fact: listed(item, { meaning: rest.meaning(item.uid) }) }));
  for (let asked = true; asked;) {
    const facts = open.map(({ fact }) => fact);
    const round = identify({ items: facts, claimable: free, known, imap: rest.imap, regenerated: false }).items;
    const bound = new Set(round.flatMap((answer) => (answer.kind === "bind" ? [answer.placementId] : [])));
    free = free.filter(({ id }) => !bound.has(id));
    asked = false;
    open = open.flatMap((one, at) => {
      const answer = round[at] as Identified;
      const twin = answer.kind === "copy" && typeof answer.of === "object" ? open[answer.of.sameAs] : undefined;
      answers[one.index] = answer.kind === "copy" && twin !== undefined ? { ...answer, of: { sameAs: twin.index } } : answer;
      if (answer.kind === "bind") return [];
      if (answer.kind !== "head" && answer.kind !== "body") return [one];
      asked = true;
      if (answer.kind === "head") heads += 1;
      else bodies.add(one.index);
      const read = answer.kind === "head" ? { head: headOf(one.item.mail) } : { body: bodyOf(one.item.mail) };
      return [{ ...one, fact: { ...one.fact, ...read } }];
    });
  }
  return { answers, heads, bodies: [...bodies] };
};

/** Contents with twins; some have the headers (and the size) of another, some Message-IDs are missing or given twice. */
const mails = (count: number, least: number): fc.Arbitrary<Mail[]> =>
  fc
    .array(
      fc.record({
        content: fc.nat(count),
        sameHeadAs: fc.oneof({ weight: 12, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: fc.nat(count) }),
        messageId: fc.constantFrom(null, "<twice@example.com>", "<once@example.com>"),
      }),
      { minLength: least, maxLength: count },
    )
    .map((list) => {
      const headOfContent = new Map<number, number>();
      for (const { content, sameHeadAs } of list)
        if (!headOfContent.has(content)) headOfContent.set(content, sameHeadAs ?? content);
      // One in three of the mails with borrowed headers has another size.
      const sizeOf = (content: number, head: number): number => 1000 + head + (content % 3 === 0 && content !== head ? 50 : 0);
      return list.map(({ content, messageId }) => {
        const head = headOfContent.get(content) ?? content;
        return { content, head, size: sizeOf(content, head), messageId };
      });
    });

const account = (count: number, least = 0) =>
  mails(count, least).chain((list) => {
    const items = list.map((mail, index) => ({ mail, uid: index + 1 }));
    const share = fc.array(fc.nat(9), { minLength: items.length, maxLength: items.length });
    // The listing is in an order of its own, so that no right answer comes from pairing in order.
    const listing = fc.shuffledSubarray(items, { minLength: items.length });
    return fc.record({ items: fc.constant(items), listing, inImap: share, inPop3: share });
  });

/** Some are missing on one side. Mail with the headers of another is always in the listing: headers cannot tell else. */
const inImapOf = (items: readonly Item[], shares: readonly number[]): Item[] => items.filter((_, n) => shares[n] !== 0);
const inPop3Of = (items: readonly Item[], shares: readonly number[]): Item[] => {
  const contents = Map.groupBy(items, ({ mail }) => mail.head);
  const several = ({ mail }: Item): boolean =>
    contents.get(mail.head)?.some((other) => other.mail.content !== mail.content) ?? false;
  return items.filter((item, n) => shares[n] !== 0 || several(item));
};

const contentOf = (id: string | null): number => Number((id ?? "").replace(/^\D+/, ""));

/** What must hold of any answer: right bindings, each placement once, as many as there can be, and nothing lost. */
const judge = (played: Played, pop3: readonly Item[], imap: readonly Item[]): void => {
  const claims = played.answers.flatMap((answer) => (answer.kind === "bind" ? [answer.placementId] : []));
  expect(new Set(claims).size).toBe(claims.length);
  const there = Map.groupBy(imap, ({ mail }) => mail.content);
  const bound = new Map<number, number>();
  const made = new Map<number, number>();
  played.answers.forEach((answer, index) => {
    const content = pop3[index]?.mail.content ?? -1;
    if (answer.kind === "bind") {
      expect(contentOf(answer.messageId)).toBe(content);
      bound.set(content, (bound.get(content) ?? 0) + 1);
    } else if (answer.kind === "create") {
      made.set(content, (made.get(content) ?? 0) + 1);
      expect(there.has(content)).toBe(false);
    } else if (answer.kind === "copy") {
      const twin = typeof answer.of === "string" ? contentOf(answer.of) : pop3[answer.of.sameAs]?.mail.content;
      expect(twin).toBe(content);
    } else expect(answer.kind).toBe("provisional");
  });
  for (const [, count] of made) expect(count).toBe(1);
  for (const [content, items] of Map.groupBy(pop3, ({ mail }) => mail.content))
    expect(bound.get(content) ?? 0).toBe(Math.min(items.length, there.get(content)?.length ?? 0));
};

/** Bodies that were read though the headers told: those of one message, which has as many placements as items. */
const needlessReads = ({ bodies }: Played, pop3: readonly Item[], imap: readonly Item[]): number[] =>
  bodies.filter((index) => {
    const mail = pop3[index]?.mail;
    const alike = (items: readonly Item[]) =>
      items.filter((item) => item.mail.head === mail?.head && item.mail.size === mail.size);
    const theirs = alike(imap);
    return (
      theirs.length > 0 &&
      theirs.length >= alike(pop3).length &&
      theirs.every((item) => item.mail.content === theirs[0]?.mail.content)
    );
  });

describe("any account that IMAP and POP3 show", () => {
  it("has each item bound to its own mail, as many as there are on both sides, by headers alone", () => {
    fc.assert(
      fc.property(account(60), ({ items, listing, inImap, inPop3 }) => {
        const imap = inImapOf(items, inImap);
        const pop3 = inPop3Of(listing, inPop3);
        const played = play(pop3, imap.map(claimableOf), { imap: "scanned", meaning: () => null });
        judge(played, pop3, imap);
        expect(needlessReads(played, pop3, imap)).toEqual([]);
      }),
      { numRuns: 1500 },
    );
  });

  it("reads nothing at all where the unique-ids tell the UIDs", () => {
    fc.assert(
      fc.property(account(60), ({ items, listing, inPop3 }) => {
        const pop3 = inPop3Of(listing, inPop3);
        const played = play(pop3, items.map(claimableOf), { imap: "scanned", meaning: (uid) => ({ kind: "item", uid }) });
        expect(played.heads + played.bodies.length).toBe(0);
        played.answers.forEach((answer, index) => {
          expect(answer).toMatchObject({ kind: "bind", rule: "ID-3", placementId: claimableOf(pop3[index] as Item).id });
        });
      }),
      { numRuns: 300 },
    );
  });

  it("is told apart in the same way while IMAP is behind, and no body is read but to tell equal headers apart", () => {
    fc.assert(
      fc.property(account(60), fc.boolean(), ({ items, listing, inImap, inPop3 }, coded) => {
        const imap = inImapOf(items, inImap);
        const pop3 = inPop3Of(listing, inPop3);
        const meaning = (uid: number) => (coded ? ({ kind: "item", uid } as const) : null);
        const played = play(pop3, imap.map(claimableOf), { imap: "behind", meaning });
        expect(needlessReads(played, pop3, imap)).toEqual([]);
        for (const index of played.bodies)
          expect(
            imap.some((item) => item.mail.head === pop3[index]?.mail.head),
            "IMAP brings new mail",
          ).toBe(true);
        played.answers.forEach((answer, index) => {
          if (answer.kind === "bind") expect(contentOf(answer.messageId)).toBe(pop3[index]?.mail.content);
        });
      }),
      { numRuns: 300 },
    );
  });

  it("of some thousand messages is identified without an error", () => {
    fc.assert(
      fc.property(account(4000, 2000), ({ items, listing, inImap, inPop3 }) => {
        const imap = inImapOf(items, inImap);
        const pop3 = inPop3Of(listing, inPop3);
        judge(play(pop3, imap.map(claimableOf), { imap: "scanned", meaning: () => null }), pop3, imap);
      }),
      { numRuns: 3, endOnFailure: true },
    );
  });

  it("has the same answer whatever order the placements are given in", () => {
    fc.assert(
      fc.property(account(40), fc.infiniteStream(fc.nat()), ({ items, listing, inPop3 }, chance) => {
        const claimable = items.map(claimableOf);
        const shuffled = claimable
          .map((one) => ({ one, key: chance.next().value }))
          .toSorted((a, b) => a.key - b.key)
          .map(({ one }) => one);
        const pop3 = inPop3Of(listing, inPop3);
        const how = { imap: "scanned", meaning: () => null } as const;
        expect(play(pop3, shuffled, how)).toEqual(play(pop3, claimable, how));
      }),
      { numRuns: 200 },
    );
  });
});

describe("many items", () => {
  const count = 2000;
  /** A quadratic matching reads each item as often as there are others; to sort them takes some seventy reads. */
  const enough = 200;

  /** How often each item and each placement is looked at. */
  const readsOf = (mailOf: (uid: number) => Mail, meaning: UnknownItem["meaning"] | "uid"): number => {
    let reads = 0;
    const counted = <T extends object>(one: T): T =>
      new Proxy(one, {
        get: (target, key) => {
          reads += 1;
          return Reflect.get(target, key) as unknown;
        },
      });
    const all = Array.from({ length: count }, (_, index) => ({ mail: mailOf(index + 1), uid: index + 1 }));
    const claimable = all.map((item) => counted(claimableOf(item)));
    const items = all.map((item) =>
      counted(listed(item, { meaning: meaning === "uid" ? { kind: "item", uid: item.uid } : meaning, head: headOf(item.mail) })),
    );
    const { items: answers } = identify({ items, claimable, known: new Map(), imap: "scanned", regenerated: false });
    expect(answers.length).toBe(count);
    return reads / count;
  };

  it.each<{ by: string; mailOf: (uid: number) => Mail; meaning: null | "uid" }>([
    {
      by: "by unique-id",
      mailOf: (uid) => ({ content: uid, head: uid, size: 1000 + (uid % 500), messageId: null }),
      meaning: "uid",
    },
    { by: "by header", mailOf: (uid) => ({ content: uid, head: uid, size: 1000 + (uid % 500), messageId: null }), meaning: null },
    { by: "all alike", mailOf: () => ({ content: 1, head: 1, size: 1000, messageId: null }), meaning: null },
    {
      by: "all with one header",
      mailOf: (uid) => ({ content: uid, head: 1, size: 1000 + (uid % 7), messageId: null }),
      meaning: null,
    },
  ])("cost no more than to sort them: $by", ({ mailOf, meaning }) => {
    expect(readsOf(mailOf, meaning)).toBeLessThan(enough);
  });
});
