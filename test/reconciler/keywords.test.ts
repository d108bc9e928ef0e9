/** What comes of keywords that an account has, the shadow has, and a server shows. */
import { describe, expect, it } from "vitest";
import { faultShown, mergeObserved, mergeWithoutBase, withSaid } from "../../src/reconciler/keywords.ts";

describe("three legs", () => {
  it("F3 F4: agree, but $mdnsent never goes", () => {
    const legs = { canonical: ["$mdnsent", "a"], shadow: ["$MDNSent", "a"] };
    expect(mergeObserved({ ...legs, observed: [] })).toEqual(["$mdnsent"]);
    expect(mergeObserved({ canonical: ["a"], shadow: [], observed: ["a"] })).toEqual(["a"]);
  });

  it("F9: without a base a lack says nothing", () => {
    expect(mergeWithoutBase({ canonical: ["a"], observed: ["b"] })).toEqual(["a", "b"]);
  });

  it("S45 F3: of $junk and $notjunk both shown are neither, and what is shown anew stands over what was said here", () => {
    const merge = (canonical: readonly string[], shadow: readonly string[], observed: readonly string[]): string[] =>
      mergeObserved({ canonical, shadow, observed });
    expect(merge([], [], ["$Junk", "$NotJunk"])).toEqual([]);
    expect(merge(["$junk"], ["$Junk"], ["$Junk", "$NotJunk"])).toEqual([]);
    expect(merge(["$junk"], [], ["$NotJunk"])).toEqual(["$notjunk"]);
    expect(merge(["$notjunk"], [], ["$Junk"])).toEqual(["$junk"]);
    // Said after both were shown, and not written back yet.
    expect(merge(["$junk"], ["$Junk", "$NotJunk"], ["$Junk", "$NotJunk"])).toEqual(["$junk"]);
    expect(mergeWithoutBase({ canonical: ["$notjunk"], observed: ["$Junk"] })).toEqual(["$notjunk"]);
    expect(mergeWithoutBase({ canonical: ["$junk"], observed: ["$Junk", "$NotJunk"] })).toEqual([]);
  });

  it("S45 S50: what no server is to show is known when it is shown first", () => {
    const both = ["$Junk", "$NotJunk"];
    expect(faultShown({ canonical: [], shadow: ["$Junk"], observed: both })).toBe("exclusive_keywords");
    expect(faultShown({ canonical: [], shadow: both, observed: both })).toBeNull();
    expect(faultShown({ canonical: ["$mdnsent"], shadow: ["$MDNSent"], observed: [] })).toBe("grow_only");
    expect(faultShown({ canonical: ["$mdnsent"], shadow: [], observed: [] })).toBeNull();
    expect(faultShown({ canonical: ["a"], shadow: ["a"], observed: [] })).toBeNull();
  });

  it("I8: what we said is in the shadow as soon as it is so, and not before", () => {
    const add = { change: "add", flags: ["a", "b"] } as const;
    expect(withSaid(["c"], ["a", "c"], add)).toEqual(["c", "a"]);
    const remove = { change: "remove", flags: ["a", "b"] } as const;
    expect(withSaid(["a", "b", "c"], ["b", "c", "d"], remove)).toEqual(["b", "c"]);
  });
});
