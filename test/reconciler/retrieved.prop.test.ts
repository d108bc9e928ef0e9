import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { EndpointId, MailboxId, MessageId, PlacementId } from "../../src/model/ids.ts";
import { type RetrievedItem, settleRetrieved } from "../../src/reconciler/retrieved.ts";

const at = 10_000_000;

const itemOf = (rest: {
  readonly keywords: readonly string[];
  readonly shadow: readonly string[];
  readonly readOverApi: boolean;
  readonly retrievedAt: number;
}): RetrievedItem => ({
  retrievedAt: rest.retrievedAt,
  imapEndpointId: "imap" as EndpointId,
  readOverApi: rest.readOverApi,
  placement: {
    id: "p" as PlacementId,
    messageId: "m" as MessageId,
    mailboxId: "inbox" as MailboxId,
    keywords: rest.keywords,
    lifecycle: "live",
    kept: false,
    absent: false,
    receivedAt: 0,
    binding: {
      mailboxId: "inbox" as MailboxId,
      epoch: 0,
      uid: 1,
      active: true,
      closedReason: null,
      shadowFlags: rest.shadow,
    },
  },
});

const subset = <T>(...words: T[]): fc.Arbitrary<T[]> => fc.subarray(words);

const item = fc
  .record({
    keywords: subset("$flagged", "$seen", "work"),
    shadow: subset("\\Flagged", "\\Recent", "\\Seen", "work"),
    readOverApi: fc.boolean(),
    retrievedAt: fc.integer({ min: at - 120_000, max: at }),
  })
  .map((facts) => ({ facts, item: itemOf(facts) }));

describe("what we had to retrieve ourselves", () => {
  it("S37: is unread again where nothing else speaks of a reader, and only there", () => {
    fc.assert(
      fc.property(fc.array(item, { maxLength: 20 }), (items) => {
        const decision = settleRetrieved(
          items.map((one) => one.item),
          at,
        );
        const cleared = items.flatMap(({ facts }, index) => (decision.outcomes[index] === "cleared" ? [facts] : []));
        for (const { keywords, shadow, readOverApi } of cleared) {
          expect(keywords).toEqual(["$seen"]);
          expect(shadow).toContain("\\Seen");
          expect(shadow).not.toContain("\\Flagged");
          expect(shadow).not.toContain("work");
          expect(readOverApi).toBe(false);
        }
        expect(decision.changes.map(({ reason, rule }) => `${reason} ${rule}`)).toEqual(
          cleared.map(() => "self_inflicted_seen K11"),
        );
        expect(decision.placements.map(({ keywords }) => keywords)).toEqual(cleared.map(() => []));
        expect(decision.commands.map(({ verb, args }) => [verb, args])).toEqual(
          cleared.map(() => ["store", { remove: ["$seen"] }]),
        );
      }),
    );
  });

  it("K11: is somebody's reading where a flag, a keyword or the API says so", () => {
    const ours = { keywords: ["$seen"], shadow: ["\\Seen"], readOverApi: false, retrievedAt: at };
    const outcome = (rest: object) => settleRetrieved([itemOf({ ...ours, ...rest })], at).outcomes;
    expect(outcome({})).toEqual(["cleared"]);
    expect(outcome({ readOverApi: true })).toEqual(["read"]);
    expect(outcome({ shadow: ["\\Seen", "\\Flagged"] })).toEqual(["read"]);
    expect(outcome({ keywords: ["$seen", "work"] })).toEqual(["read"]);
  });

  it("waits for the mark of the server for a minute, and for nothing longer", () => {
    fc.assert(
      fc.property(item, ({ facts, item: one }) => {
        const [outcome] = settleRetrieved([one], at).outcomes;
        expect(outcome === null).toBe(!facts.shadow.includes("\\Seen") && at - facts.retrievedAt <= 60_000);
      }),
    );
  });
});
