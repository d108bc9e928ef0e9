import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeUidl, learnCodec, reverifyCodec, type UidlFormat, uidlFormats } from "../../src/endpoints/pop3/uidl-codec.ts";
import type { PairedItem } from "../../src/model/maildrop.ts";

type ImapItem = Omit<PairedItem, "uidl">;

const hex = (value: number): string => value.toString(16).padStart(8, "0");

/** How the servers print it. */
const print: Readonly<Record<UidlFormat, (item: ImapItem) => string>> = {
  "hex-uid-validity": ({ uid, uidValidity }) => `${hex(uid)}${hex(uidValidity)}`,
  "hex-validity-uid": ({ uid, uidValidity }) => `${hex(uidValidity)}${hex(uid)}`,
  "validity.uid": ({ uid, uidValidity }) => `${uidValidity}.${uid}`,
  "validity-uid": ({ uid, uidValidity }) => `${uidValidity}-${uid}`,
  "UIDuid-validity": ({ uid, uidValidity }) => `UID${uid}-${uidValidity}`,
  validityuid: ({ uid, uidValidity }) => `${uidValidity}${uid}`,
  uid: ({ uid }) => String(uid),
  "object-id": ({ objectId }) => objectId ?? "none",
};

const unsigned32 = fc.oneof(fc.integer({ min: 1, max: 0xffff_ffff }), fc.integer({ min: 1, max: 30 }));
const format = fc.constantFrom(...uidlFormats);
const itemOf = (uid: number, uidValidity: number): ImapItem => ({ uid, uidValidity, objectId: `guid${uid * 7}x` });
const evidenceOf = (how: UidlFormat, item: ImapItem): PairedItem => ({ ...item, uidl: print[how](item) });
const uids = fc.uniqueArray(unsigned32, { minLength: 3, maxLength: 10 });

describe("a codec of unique-ids", () => {
  it("is learned from three items of any account and reads every other one", () => {
    fc.assert(
      fc.property(format, uids, unsigned32, unsigned32, (how, known, uidValidity, other) => {
        const verdict = learnCodec(
          known.map((uid) => evidenceOf(how, itemOf(uid, uidValidity))),
          1000,
        );
        const same = known.every((uid) => uid === uidValidity);
        if (verdict.state !== "learned") expect(same).toBe(true);
        else {
          expect(verdict.codec.format).toBe(how);
          const { uidl, uid, objectId } = evidenceOf(how, itemOf(other, uidValidity));
          expect(decodeUidl(verdict.codec, uidl, uidValidity)).toEqual(
            how === "object-id" ? { kind: "content", objectId } : { kind: "item", uid },
          );
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("is never a wrong one: what was learned agrees with all evidence, and one contradiction ends it", () => {
    fc.assert(
      fc.property(format, format, uids, unsigned32, unsigned32, (how, strange, known, uidValidity, other) => {
        const evidence = known.map((uid) => evidenceOf(how, itemOf(uid, uidValidity)));
        const odd = { ...evidenceOf(strange, itemOf(other, uidValidity)), uid: other === 1 ? 2 : other - 1 };
        const mixed = learnCodec([odd, ...evidence], 1000);
        if (strange !== "object-id") expect(mixed.state).not.toBe("learned");
        const verdict = learnCodec(evidence, 1000);
        if (verdict.state !== "learned") return;
        for (const one of evidence) expect(reverifyCodec(verdict.codec, one)).toBe(verdict.codec);
        if (how !== "object-id")
          expect(reverifyCodec(verdict.codec, { ...odd, uidl: print[how](itemOf(other, uidValidity)) })).toBeNull();
      }),
      { numRuns: 2000 },
    );
  });

  it("reads ids of another epoch as foreign where they print it, and not at all where they do not", () => {
    const meanings = (how: UidlFormat) => {
      const verdict = learnCodec(
        [7, 8, 9].map((uid) => evidenceOf(how, itemOf(uid, 1_700_000_000))),
        1000,
      );
      if (verdict.state !== "learned") throw new Error(verdict.state);
      return decodeUidl(verdict.codec, print[how](itemOf(7, 1_700_000_000)), 1_800_000_000)?.kind ?? null;
    };
    expect(Object.fromEntries(uidlFormats.map((how) => [how, meanings(how)]))).toEqual({
      "hex-uid-validity": "foreign",
      "hex-validity-uid": "foreign",
      "validity.uid": "foreign",
      "validity-uid": "foreign",
      "UIDuid-validity": "foreign",
      validityuid: null,
      uid: null,
      "object-id": "content",
    });
  });

  it("never learns from ids that are hashes, file names or numbers of something else", () => {
    const opaque = fc.oneof(
      fc.stringMatching(/^[0-9a-f]{16}$/),
      fc.stringMatching(/^[0-9a-f]{32}$/),
      fc.stringMatching(/^1[0-9]{9}\.M[0-9]{1,6}P[0-9]{1,5}\.host$/),
      fc.stringMatching(/^[!-~]{1,70}$/),
      unsigned32.map(String),
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(opaque, unsigned32), { minLength: 3, maxLength: 6 }), unsigned32, (pairs, uidValidity) => {
        fc.pre(pairs.every(([uidl, uid]) => !Object.values(print).some((how) => how(itemOf(uid, uidValidity)) === uidl)));
        const verdict = learnCodec(
          pairs.map(([uidl, uid]) => ({ ...itemOf(uid, uidValidity), uidl })),
          1000,
        );
        expect(verdict).toEqual({ state: "opaque" });
      }),
      { numRuns: 2000 },
    );
  });

  it("waits for three different items, or for all where there are fewer", () => {
    const one = evidenceOf("validity.uid", itemOf(7, 1_700_000_000));
    const two = evidenceOf("validity.uid", itemOf(8, 1_700_000_000));
    expect(learnCodec([], 0).state).toBe("open");
    expect(learnCodec([one, one, one, two], 50)).toEqual({ state: "open", formats: ["validity.uid"] });
    expect(learnCodec([one, two], 2).state).toBe("learned");
    expect(learnCodec([one], 1).state).toBe("learned");
    expect(learnCodec([evidenceOf("validity.uid", itemOf(3, 5)), one, two], 50).state).toBe("open");
  });

  it("does not choose between two ways to read the same ids", () => {
    const evidence = evidenceOf("hex-uid-validity", itemOf(9, 9));
    expect(learnCodec([evidence], 1)).toEqual({ state: "open", formats: ["hex-uid-validity", "hex-validity-uid"] });
    expect(learnCodec([evidence, evidenceOf("hex-uid-validity", itemOf(10, 9))], 2).state).toBe("learned");
  });

  it("takes hexadecimal digits of either case, but not of both", () => {
    const evidence = [10, 11, 12].map((uid) => evidenceOf("hex-uid-validity", itemOf(uid, 0xabcdef)));
    const loud = evidence.map((one) => ({ ...one, uidl: one.uidl.toUpperCase() }));
    expect(learnCodec(loud, 50).state).toBe("learned");
    expect(learnCodec([{ ...itemOf(10, 0xabcdef), uidl: "0000000A00abcdef" }], 1).state).toBe("opaque");
  });
});
