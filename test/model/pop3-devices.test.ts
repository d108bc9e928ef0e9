import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { defaultPolicy } from "../../src/model/account.ts";
import { type Pop3Evidence, pop3Signs, viewPop3Devices, withSign } from "../../src/model/pop3-devices.ts";

const day = 86_400_000;
const began = Date.parse("2026-01-01T00:00:00Z");

/** The evidence after these signs, each so many days after the one before. */
const seen = (...steps: readonly (readonly [sign: (typeof pop3Signs)[number], days: number])[]): Pop3Evidence => {
  let at = began;
  let evidence: Pop3Evidence = {};
  for (const [sign, days] of steps) {
    at += days * day;
    evidence = withSign(evidence, sign, at);
  }
  return evidence;
};

const stateOf = (evidence: Pop3Evidence) => viewPop3Devices(defaultPolicy, evidence).state;

describe("POP3 devices", () => {
  it("are learned of after three signs of one kind, and of nothing less (K6)", () => {
    expect(stateOf(seen(["maildrop_in_use", 0], ["maildrop_in_use", 1]))).toBe("unknown");
    expect(stateOf(seen(["maildrop_in_use", 0], ["drained", 1], ["maildrop_in_use", 1], ["drained", 1]))).toBe("unknown");
    const learned = viewPop3Devices(defaultPolicy, seen(["drained", 0], ["drained", 1], ["drained", 1], ["drained", 1]));
    expect(learned).toEqual({ state: "learned", since: began + 2 * day, because: "drained" });
  });

  it("are forgotten after a month without a sign, unless they were learned of", () => {
    expect(stateOf(seen(["drained", 0], ["drained", 1], ["drained", 31]))).toBe("unknown");
    expect(stateOf(seen(["drained", 0], ["drained", 1], ["drained", 1], ["drained", 400]))).toBe("learned");
  });

  it("are what the owner says they are, whatever was seen", () => {
    const evidence = seen(["drained", 0], ["drained", 1], ["drained", 1]);
    const view = (pop3Devices: "declared" | "none") => viewPop3Devices({ pop3Devices }, evidence);
    expect(view("declared")).toEqual({ state: "declared", since: null, because: "policy" });
    expect(view("none")).toEqual({ state: "denied", since: null, because: "policy" });
  });

  it("never become unknown again by another sign, and keep since when they are known", () => {
    const steps = fc.array(fc.tuple(fc.constantFrom(...pop3Signs), fc.integer({ min: 0, max: 60 })), { maxLength: 30 });
    fc.assert(
      fc.property(steps, (signs) => {
        let since: number | null = null;
        for (let count = 0; count <= signs.length; count += 1) {
          const view = viewPop3Devices(defaultPolicy, seen(...signs.slice(0, count)));
          if (since !== null) expect(view.since).toBe(since);
          since = view.since;
        }
      }),
    );
  });
});
