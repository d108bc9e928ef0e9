import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { defaultPolicy } from "../../src/model/account.ts";
import {
  classifySeen,
  type GainedSeen,
  noSeenMemory,
  seenDevices,
  type SeenLook,
  seenPolicy,
} from "../../src/reconciler/pop3-seen.ts";

const item = (uid: number, rest: Partial<GainedSeen> = {}): GainedSeen => ({
  uid,
  modseq: 9n,
  otherFlags: false,
  opened: false,
  reverted: false,
  ...rest,
});

const look = (rest: Partial<SeenLook>): SeenLook => ({
  gained: [],
  unseen: [],
  devices: "declared",
  besideDrain: false,
  elsewhere: false,
  memory: noSeenMemory,
  at: 0,
  ...rest,
});

const judged = (rest: Partial<SeenLook>): string[] =>
  [...classifySeen(look(rest)).verdicts.values()].map(({ strength, rule, because }) => `${strength} ${rule} ${because}`);

const uids = fc
  .uniqueArray(fc.integer({ min: 1, max: 500 }), { minLength: 2, maxLength: 40 })
  .map((all) => all.toSorted((a, b) => a - b));
/** UIDs of unseen mail, and how many of them a device has downloaded: two or more, oldest first. */
const download = uids.chain((all) => fc.tuple(fc.constant(all), fc.integer({ min: 2, max: all.length })));

describe("what became seen in INBOX", () => {
  it("S29: a download of the oldest unread mail is weak, whatever is left of it", () => {
    fc.assert(
      fc.property(download, fc.boolean(), ([all, count], sequenced) => {
        const gained = all.slice(0, count).map((uid) => item(uid, { modseq: sequenced ? 7n : null }));
        const { verdicts, memory } = classifySeen(look({ gained, unseen: all.slice(count), at: 5 }));
        expect(verdicts.size).toBe(count);
        for (const { strength, rule } of verdicts.values()) expect([strength, rule]).toEqual(["weak", "Z2"]);
        expect(memory).toMatchObject({ highWater: all[count - 1], batches: [5] });
      }),
    );
  });

  it("Z3: mail that was left out below makes it a choice", () => {
    fc.assert(
      fc.property(download, fc.nat(), ([all, count], at) => {
        const hole = at % (count - 1);
        const gained = all
          .slice(0, count)
          .filter((_, index) => index !== hole)
          .map((uid) => item(uid));
        const { verdicts, memory } = classifySeen(look({ gained, unseen: [all[hole] as number, ...all.slice(count)] }));
        for (const { strength, because } of verdicts.values()) expect([strength, because]).toEqual(["strong", "holes"]);
        expect(memory).toEqual(noSeenMemory);
      }),
    );
  });

  it("Z3 S34: one item that a download has passed before makes all of it read, unless a drain is beside it", () => {
    fc.assert(
      fc.property(download, fc.nat(), ([all, count], at) => {
        const gained = all.slice(0, count).map((uid) => item(uid));
        const highWater = all[at % count] as number;
        const memory = { highWater, batches: [1] };
        expect(new Set(judged({ gained, memory }))).toEqual(new Set(["strong Z3 older_than_high_water"]));
        expect(new Set(judged({ gained, memory, besideDrain: true }))).toEqual(new Set(["weak Z2 retrieval_order"]));
      }),
    );
  });

  it("nothing is weak without a POP3 device, and only where none was denied it is suspected (S30)", () => {
    fc.assert(
      fc.property(download, fc.constantFrom("unknown", "denied"), ([all], devices) => {
        const { verdicts } = classifySeen(look({ gained: all.map((uid) => item(uid)), devices }));
        for (const { strength, suspected } of verdicts.values())
          expect([strength, suspected]).toEqual(["strong", devices === "unknown"]);
      }),
    );
  });

  it("never judges an item weak that was set back, opened, or changed otherwise; every item gets one verdict", () => {
    const any = fc.record({
      modseq: fc.constantFrom(null, 1n, 2n, 3n),
      otherFlags: fc.boolean(),
      opened: fc.boolean(),
      reverted: fc.boolean(),
    });
    fc.assert(
      fc.property(
        uids.chain((all) => fc.tuple(...all.map((uid) => any.map((rest) => ({ uid, ...rest }))))),
        uids,
        fc.record({
          devices: fc.constantFrom("unknown" as const, "declared" as const, "learned" as const, "denied" as const),
          besideDrain: fc.boolean(),
          elsewhere: fc.boolean(),
          memory: fc.record({ highWater: fc.nat(300), batches: fc.array(fc.nat(1000), { maxLength: 3 }) }),
          at: fc.integer({ min: 1000, max: 100_000 }),
        }),
        (gained, unseen, rest) => {
          const { verdicts, memory } = classifySeen({ gained, unseen, ...rest });
          expect([...verdicts.keys()].toSorted((a, b) => a - b)).toEqual(gained.map(({ uid }) => uid));
          for (const { uid, otherFlags, opened, reverted } of gained)
            if (otherFlags || opened || reverted || rest.elsewhere) expect(verdicts.get(uid)?.strength).toBe("strong");
          expect(memory.highWater).toBeGreaterThanOrEqual(rest.memory.highWater);
          expect(memory.batches.length).toBeLessThanOrEqual(Math.max(3, rest.memory.batches.length));
        },
      ),
    );
  });

  it("Z4: one item alone is read, unless a drain is beside it or it comes when a device always comes", () => {
    expect(judged({ gained: [item(4)] })).toEqual(["strong Z4 single_item"]);
    expect(judged({ gained: [item(4)], besideDrain: true })).toEqual(["weak Z4 retrieval_order"]);
    const memory = { highWater: 3, batches: [0, 600, 1250] };
    expect(judged({ gained: [item(4)], memory, at: 1850 })).toEqual(["weak Z4 retrieval_order"]);
    expect(judged({ gained: [item(4)], memory, at: 1400 })).toEqual(["strong Z4 single_item"]);
    expect(judged({ gained: [item(4)], memory: { ...memory, batches: [600, 1250] }, at: 1850 })).toEqual([
      "strong Z4 single_item",
    ]);
  });

  it("S33: without mod-sequences the rest of a download goes on with it", () => {
    const first = classifySeen(look({ gained: [item(5, { modseq: null }), item(6, { modseq: null })], unseen: [7], at: 1000 }));
    const rest = { gained: [item(7, { modseq: null })], memory: first.memory };
    expect(judged({ ...rest, at: 11_000 })).toEqual(["weak Z4 retrieval_order"]);
    expect(judged({ ...rest, at: 71_000 })).toEqual(["strong Z4 single_item"]);
  });

  it("S33 Z4: the first message alone says too little, and what follows it is the download", () => {
    const first = classifySeen(look({ gained: [item(5, { modseq: null })], unseen: [6, 7], at: 1000 }));
    expect([...first.verdicts.values()].map(({ rule }) => rule)).toEqual(["Z4"]);
    const gained = [6, 7].map((uid) => item(uid, { modseq: null }));
    expect(judged({ gained, memory: first.memory, at: 11_000 })).toEqual(Array(2).fill("weak Z2 retrieval_order"));
  });

  it("S33: however looks split a download, all of it is weak in the end", () => {
    fc.assert(
      fc.property(download, fc.array(fc.nat(4), { minLength: 1 }), ([all], sizes) => {
        fc.pre(all.length > 1);
        const weak = new Set<number>();
        let memory = noSeenMemory;
        let at = 1000;
        let from = 0;
        for (let part = 0; from < all.length; part += 1) {
          const some = all.slice(from, from + 1 + (sizes[part % sizes.length] as number));
          from += some.length;
          at += 1000;
          const gained = some.map((uid) => item(uid, { modseq: null }));
          const answer = classifySeen(look({ gained, unseen: all.slice(from), memory, at }));
          for (const [uid, { strength }] of answer.verdicts) if (strength === "weak") weak.add(uid);
          if (answer.earlier !== null) weak.add(answer.earlier.uid);
          ({ memory } = answer);
        }
        expect([...weak].toSorted((a, b) => a - b)).toEqual(all);
      }),
    );
  });

  it("S33: nothing later makes a lone item weak that it does not go on with", () => {
    const gained = [item(5, { modseq: null })];
    const { memory } = classifySeen(look({ gained, unseen: [6, 7, 8], at: 1000 }));
    const then = (next: readonly number[], unseen: readonly number[], at: number) =>
      classifySeen(look({ gained: next.map((uid) => item(uid, { modseq: null })), unseen, memory, at })).earlier?.uid ?? null;
    expect([then([6], [7, 8], 11_000), then([6, 7], [8], 61_000)]).toEqual([5, 5]);
    expect([then([6, 7], [8], 62_000), then([7, 8], [6], 11_000), then([4, 6], [7, 8], 11_000)]).toEqual([null, null, null]);
    const set = classifySeen(look({ gained: [item(5, { modseq: null, reverted: true })], unseen: [6], at: 1000 })).memory;
    expect(classifySeen(look({ gained: [item(6, { modseq: null })], memory: set, at: 2000 })).earlier).toBeNull();
  });

  it("judges each step of the server for itself: a download, and one mail that was read", () => {
    const gained = [item(2, { modseq: 12n }), item(5), item(6), item(7)];
    expect(judged({ gained, memory: { highWater: 4, batches: [1] } })).toEqual([
      "weak Z2 retrieval_order",
      "weak Z2 retrieval_order",
      "weak Z2 retrieval_order",
      "strong Z3 older_than_high_water",
    ]);
  });

  it("S35: what was set back once and is seen again is read (I14)", () => {
    const gained = [5, 6, 7].map((uid) => item(uid, { reverted: true }));
    expect(judged({ gained, memory: { highWater: 7, batches: [1] } })).toEqual(Array(3).fill("strong I14 seen_again"));
    expect(judged({ gained, memory: { highWater: 7, batches: [1] }, besideDrain: true })).toEqual(
      Array(3).fill("strong I14 seen_again"),
    );
  });
});

describe("the policy for it (Z5)", () => {
  it("reverts where a device is declared, or where the owner asks for it", () => {
    const answers = (["unknown", "learned", "declared", "none"] as const).flatMap((pop3Devices) =>
      (["auto", "accept", "revert"] as const).map((pop3Seen) => {
        const said = pop3Devices === "learned" ? "unknown" : pop3Devices;
        const policy = { ...defaultPolicy, pop3Devices: said, pop3Seen } as const;
        const known = pop3Devices === "none" ? "denied" : pop3Devices;
        return `${pop3Devices} ${pop3Seen}: ${seenDevices(known, policy)} ${seenPolicy(policy)}`;
      }),
    );
    expect(answers).toEqual([
      "unknown auto: unknown accept",
      "unknown accept: unknown accept",
      "unknown revert: declared revert",
      "learned auto: learned accept",
      "learned accept: learned accept",
      "learned revert: learned revert",
      "declared auto: declared revert",
      "declared accept: declared accept",
      "declared revert: declared revert",
      "none auto: denied accept",
      "none accept: denied accept",
      "none revert: denied revert",
    ]);
  });
});
