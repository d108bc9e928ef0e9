/** The table of biases, row by row; all histories of four assertions are in `dots.exhaustive.test.ts`. */
import { describe, expect, it } from "vitest";
import { keywordFault, mergeSaid } from "../../src/reconciler/intent-keywords.ts";

/** One device sets what another clears, and neither has seen the other. */
const concurrent = (keyword: string, first: boolean): readonly string[] => {
  const said = [{ seq: 2n, silent: false, deviceId: "a", base: 1n, keywords: { [keyword]: first } }];
  const speaker = { deviceId: "b", base: 1n, seq: 3n };
  return mergeSaid(first ? [keyword] : [], { [keyword]: !first }, speaker, { seen: [], said }).keywords;
};

describe("two devices that do not know of each other", () => {
  it.each([
    ["$seen", false],
    ["$draft", false],
    ["$answered", true],
    ["$flagged", true],
    ["$forwarded", true],
    ["$mdnsent", true],
    ["a label", true],
  ])("F4: leave %s set: %s, whoever comes first", (keyword, stays) => {
    const expected = stays ? [keyword] : [];
    expect([concurrent(keyword, true), concurrent(keyword, false)]).toEqual([expected, expected]);
  });
});

describe("a device that has seen all", () => {
  const say = (keywords: readonly string[], patch: Readonly<Record<string, boolean>>) =>
    mergeSaid(keywords, patch, { deviceId: "a", base: 5n, seq: 6n }, { seen: [], said: [] });

  it("F4: has its word, but for $mdnsent, which is told", () => {
    expect(say(["$flagged"], { $flagged: false }).keywords).toEqual([]);
    const { keywords, lost } = say(["$mdnsent"], { $mdnsent: false });
    expect(keywords).toEqual(["$mdnsent"]);
    expect(lost).toMatchObject([{ keyword: "$mdnsent", loser: "clear", growOnly: true }]);
  });

  it("takes $junk away by setting $notjunk, and the other way round", () => {
    expect(say(["$junk"], { $notjunk: true }).keywords).toEqual(["$notjunk"]);
    expect(say(["$notjunk"], { $junk: true }).keywords).toEqual(["$junk"]);
    expect(say([], { $junk: true, $notjunk: true }).keywords).toEqual(["$notjunk"]);
  });

  it("is not asked of what only servers set", () => {
    const words = ["$recent", "$deleted", "$phishing", "$submitpending", "$submitted", "\\odd", "$seen", "label"];
    expect(words.filter((word) => keywordFault([word], [word]) === null)).toEqual(["$seen", "label"]);
    expect(keywordFault(["$junk", "$notjunk"], ["$junk"])).toBeNull();
    expect(keywordFault(["$junk", "$notjunk"], ["$junk", "$notjunk"])).toBe("keywords_exclude_each_other");
  });
});
