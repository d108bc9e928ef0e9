import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { EndpointId, MailboxId, MessageId, PlacementId } from "../../src/model/ids.ts";
import {
  acceptsEpoch,
  countFound,
  recognisable,
  headKey,
  keepLeftOver,
  type NumberedItem,
  rebind,
  type Unbound,
} from "../../src/reconciler/epoch.ts";

const old = (uid: number, more: Partial<Unbound> = {}): Unbound => ({
  placementId: `p${uid}` as PlacementId,
  messageId: `m${uid}` as MessageId,
  objectId: null,
  size: 100,
  head: headKey(`h${uid}`, 100),
  receivedAt: uid,
  uid,
  flags: [],
  ...more,
});

const item = (uid: number, of: number, more: Partial<NumberedItem> = {}): NumberedItem => ({
  uid,
  objectId: null,
  size: 100,
  head: headKey(`h${of}`, 100),
  receivedAt: of,
  flags: [],
  ...more,
});

const pairsOf = (before: readonly Unbound[], items: readonly NumberedItem[]): string[] =>
  rebind(before, items).map(({ uid, placementId, level }) => `${uid}=${placementId} ${level}`);

describe("a mailbox that is numbered anew (ID-8)", () => {
  it("S91: is known by header blocks, whatever its new numbers", () => {
    expect(pairsOf([old(1), old(2), old(9)], [item(4, 9), item(5, 1), item(6, 2), item(7, 77)])).toEqual([
      "4=p9 L4",
      "5=p1 L4",
      "6=p2 L4",
    ]);
  });

  it("is known by what the server calls its mail before its header blocks are looked at (L1)", () => {
    const before = [old(1, { objectId: "a" }), old(2, { objectId: "b", head: headKey("h1", 100) })];
    const items = [item(1, 1, { objectId: "b" }), item(2, 1, { objectId: "a", head: null })];
    expect(pairsOf(before, items)).toEqual(["1=p2 L1", "2=p1 L1"]);
  });

  it("leaves to header blocks what the server's ids do not tell: another size, other messages, and one more than there was (L1)", () => {
    const id = { objectId: "a", head: null };
    expect(pairsOf([old(1, id)], [item(1, 1, { ...id, size: 101 })])).toEqual([]);
    expect(pairsOf([old(1, { objectId: "a" })], [item(1, 1, { objectId: "a", size: 101 })])).toEqual(["1=p1 L4"]);
    expect(pairsOf([old(1, { ...id, size: 0 })], [item(1, 1, id)])).toEqual([]);
    expect(pairsOf([old(1, id), old(2, id)], [item(1, 1, id)])).toEqual([]);
    const copies = { ...id, messageId: "m" as MessageId };
    expect(pairsOf([old(1, copies)], [item(1, 1, id), item(2, 1, id)])).toEqual([]);
    expect(pairsOf([old(1, copies), old(2, copies)], [item(3, 1, id), item(4, 1, id)])).toEqual(["3=p1 L1", "4=p2 L1"]);
  });

  it("I2: what was purged is known by its id and its date, and by no less, for it is to be destroyed there", () => {
    const purged = { objectId: "a", size: 0, head: null, purged: true } as const;
    const same = { objectId: "a", size: 120 };
    expect(pairsOf([old(1, purged)], [item(5, 1, same)])).toEqual(["5=p1 L1"]);
    expect(pairsOf([old(1, purged)], [item(5, 1, { ...same, receivedAt: 2 })])).toEqual([]);
    expect(pairsOf([old(1, purged)], [item(5, 1, same), item(6, 1, same)])).toEqual([]);
    expect(pairsOf([old(1, purged), old(2, { objectId: "a", size: 120 })], [item(5, 1, same), item(6, 1, same)])).toEqual([]);
    expect(pairsOf([old(1, { ...purged, objectId: null })], [item(5, 1, { size: 120 })])).toEqual([]);
  });

  it("B4: is not judged by what was to be removed from it, unless that is found", () => {
    const found = (...uids: number[]) => new Set(uids.map((uid) => old(uid).placementId));
    const lost = (uid: number, more: object = {}) => ({ ...old(uid), lost: true, sha256: "aa", ...more });
    const doomed = Array.from({ length: 90 }, (_, at) => lost(100 + at, { doomed: true }));
    const live = Array.from({ length: 10 }, (_, at) => lost(at));
    const all = live.map(({ uid }) => uid);
    expect(countFound([...live, ...doomed], found(...all))).toEqual({ before: 10, rebound: 10 });
    expect(countFound([...live, ...doomed], found(...all, 100))).toEqual({ before: 11, rebound: 11 });
    expect(countFound(doomed, found())).toEqual({ before: 0, rebound: 0 });
    expect(countFound([...live, lost(11, { sha256: null }), lost(12, { lost: false })], found(...all.slice(1)))).toEqual({
      before: 10,
      rebound: 9,
    });
    expect(countFound([lost(11, { sha256: null })], found(11))).toEqual({ before: 1, rebound: 1 });
  });

  it("B4: is judged by what may be one of several, too, each time that there is one", () => {
    const [same, other] = [{ head: headKey("same", 100) }, { head: headKey("other", 100) }];
    const shown = (olds: ReturnType<typeof old>[], items: ReturnType<typeof item>[]) =>
      [...recognisable(olds, items, rebind(olds, items))].toSorted();
    expect(shown([old(1, same)], [item(5, 1, same), item(6, 1, same)])).toEqual(["p1"]);
    expect(shown([old(1, same), old(2, { ...same, messageId: "m2" as MessageId }), old(3, other)], [item(5, 1, same)])).toEqual([
      "p1",
    ]);
    expect(shown([old(1, same), old(3, other)], [item(5, 1, same), item(6, 1, { head: null })])).toEqual(["p1"]);
    expect(shown([old(1, { head: null })], [item(5, 1, { head: null }), item(6, 1, { head: null })])).toEqual([]);
  });

  it("I2: what is to be removed with its item is told by octets only, and what is live by what tells it beside that", () => {
    const copies = { head: headKey("same", 100), messageId: "m" as MessageId };
    const doomed = { ...copies, doomed: true } as const;
    const [one, other] = [item(7, 3, { head: copies.head }), item(8, 3, { head: copies.head })];
    expect(pairsOf([old(3, doomed)], [one])).toEqual([]);
    expect(pairsOf([old(3, { doomed: true, objectId: "a" })], [item(7, 3, { objectId: "a" })])).toEqual([]);
    expect(pairsOf([old(3, doomed), old(5, copies)], [one])).toEqual(["7=p5 L4"]);
    // Two of them, and another version of one may be among them.
    expect(pairsOf([old(3, doomed), old(5, copies)], [one, other])).toEqual([]);
    expect(pairsOf([old(3, doomed), old(5, { ...copies, messageId: "n" as MessageId })], [one])).toEqual([]);
    const purged = { objectId: "a", size: 0, head: null, purged: true, doomed: true } as const;
    expect(pairsOf([old(3, purged)], [item(7, 3, { objectId: "a" })])).toEqual(["7=p3 L1"]);
    expect(pairsOf([old(3, purged), old(5, { objectId: "a", size: 0, head: null })], [item(7, 3, { objectId: "a" })])).toEqual(
      [],
    );
  });

  it("believes no id that a server gives to more than one content (L1)", () => {
    const id = { objectId: "all" };
    const before = [old(1, { ...id, size: 1234 }), old(2, { ...id, size: 99 })];
    const items = [item(1, 2, { ...id, size: 99 }), item(2, 7, { ...id, size: 1234 })];
    expect(pairsOf(before, items)).toEqual(["1=p2 L4"]);
    // One size is enough where they are known to be two messages, and where what is listed has two.
    expect(pairsOf([old(1, id), old(2, id)], [item(1, 2, id), item(2, 7, id)])).toEqual(["1=p2 L4"]);
    expect(pairsOf([old(1, id)], [item(1, 7, id), item(2, 8, { ...id, size: 5 })])).toEqual([]);
    // Of what has no octets no size is known.
    expect(pairsOf([old(1, id), old(2, { ...id, size: 0, head: null })], [item(1, 7, id)])).toEqual(["1=p1 L1"]);
  });

  it("leaves to octets what headers do not tell: another body, another size, no headers, and one more than there was (L3)", () => {
    const twins = { head: headKey("same", 100) };
    expect(pairsOf([old(1, twins), old(2, twins)], [item(1, 1, twins), item(2, 2, twins)])).toEqual([]);
    const copies = { ...twins, messageId: "m" as MessageId };
    expect(pairsOf([old(1, copies)], [item(1, 1, twins), item(2, 2, twins)])).toEqual([]);
    expect(pairsOf([old(1)], [item(1, 1, { head: headKey("h1", 101) })])).toEqual([]);
    expect(pairsOf([old(1, { head: null })], [item(1, 1, { head: null })])).toEqual([]);
  });

  it("S90 ID-6: pairs equal mails by date and flags, then by date, then in their order", () => {
    const same = { head: headKey("same", 100), messageId: "m" as MessageId, receivedAt: 5 };
    const before = [old(1, same), old(2, { ...same, flags: ["\\Flagged", "\\Seen"] }), old(3, { ...same, receivedAt: 6 })];
    const items = [
      item(11, 0, { head: same.head, receivedAt: 5, flags: ["\\seen", "\\FLAGGED", "\\Recent"] }),
      item(12, 0, { head: same.head, receivedAt: 7 }),
      item(13, 0, { head: same.head, receivedAt: 5, flags: ["\\Answered"] }),
    ];
    expect(pairsOf(before, items)).toEqual(["11=p2 L4", "12=p3 L4", "13=p1 L4"]);
  });

  const worlds = fc.array(
    fc.record({
      content: fc.integer({ min: 0, max: 4 }),
      head: fc.integer({ min: 0, max: 3 }),
      object: fc.boolean(),
      at: fc.integer({ min: 0, max: 2 }),
      flagged: fc.boolean(),
    }),
    { maxLength: 40 },
  );

  it("PB8: pairs 1:1 and only what has equal content, however many look alike", () => {
    fc.assert(
      fc.property(worlds, worlds, fc.boolean(), (mails, news, keeps) => {
        const content = (mail: (typeof mails)[number]): string => `${mail.head} ${mail.content}`;
        const facts = (mail: (typeof mails)[number]) => ({
          objectId: mail.object ? content(mail) : null,
          head: headKey(`h${mail.head}`, 100),
          receivedAt: mail.at,
          flags: mail.flagged ? ["\\Flagged"] : [],
        });
        const before = mails.map((mail, at) => old(at + 1, { ...facts(mail), messageId: content(mail) as MessageId }));
        // What the server has of the old mailbox is what it had: new mail has headers of its own unless an id tells it.
        const stays = (keeps ? mails : mails.slice(1)).map((mail, at) => ({
          ...item(at + 100, 0, facts(mail)),
          content: content(mail),
        }));
        const fresh = news.map((mail, at) => ({
          ...item(at + 500, 0, { ...facts(mail), objectId: null, head: headKey(`new${mail.head}`, 100) }),
          content: `new ${content(mail)}`,
        }));
        const pairs = rebind(before, [...stays, ...fresh]);
        expect(new Set(pairs.map(({ uid }) => uid)).size).toBe(pairs.length);
        expect(new Set(pairs.map(({ placementId }) => placementId)).size).toBe(pairs.length);
        for (const { uid, placementId } of pairs)
          expect([...stays, ...fresh].find((one) => one.uid === uid)?.content).toBe(
            before.find((one) => one.placementId === placementId)?.messageId,
          );
        // Where every header block is of one content, everything that is there is found.
        const alone = new Map(
          mails.map((mail) => [mail.head, new Set(mails.filter(({ head }) => head === mail.head).map(content)).size]),
        );
        if ([...alone.values()].every((count) => count === 1) && mails.every(({ object }) => !object))
          expect(pairs).toHaveLength(stays.length);
      }),
    );
  });
});

describe("the stop rule (B4)", () => {
  it.each([
    ["all of nothing", { before: 0, rebound: 0, listed: 9 }, true],
    ["four in five", { before: 10, rebound: 8, listed: 30 }, true],
    ["less than that of a few", { before: 10, rebound: 7, listed: 7 }, false],
    ["twenty, and nothing else is there", { before: 500, rebound: 20, listed: 25 }, true],
    ["twenty, and more that was never there", { before: 500, rebound: 20, listed: 26 }, false],
    ["S93: three in ten", { before: 500, rebound: 150, listed: 500 }, false],
    ["S19: nothing at all", { before: 12, rebound: 0, listed: 0 }, false],
  ] as const)("%s", (_, counts, accepted) => {
    expect(acceptsEpoch(counts)).toBe(accepted);
  });
});

describe("a mailbox that somebody says is another one (B4)", () => {
  it("leaves what was in the old one here, and says who decided that", () => {
    const mailboxId = "work" as MailboxId;
    const left = { id: "p" as PlacementId, messageId: "m" as MessageId, mailboxId, keywords: ["$seen"], receivedAt: 0 };
    const stood = { ...left, lifecycle: "live", kept: false, absent: true, binding: null } as const;
    const { placements, changes } = keepLeftOver({ endpointId: "e" as EndpointId, mailboxId, epoch: 2 }, [stood], "phone");
    expect(placements).toMatchObject([{ id: "p", lifecycle: "live", kept: true, absent: false, reason: "epoch_rejected" }]);
    expect(changes).toMatchObject([{ kind: "message.kept", rule: "B4", deviceId: "phone", reason: "epoch_rejected" }]);
  });
});
