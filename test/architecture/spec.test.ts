/** The specification of the reconciler names what is there, and every rule that it says is there has a mutant. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { mutate } from "../mutation/mutant.ts";
import { mutants } from "../mutation/mutants.ts";

const root = join(import.meta.dirname, "../..");
const textOf = (path: string): string => readFileSync(join(root, path), "utf8");
const spec = textOf("src/reconciler/SPEC.md");
const migration = textOf("prisma/migrations/20261124000000_canonical_store/migration.sql");
const [written = ""] = spec.split("<!-- mutants -->");

const escaped = (text: string): string => text.replaceAll(/[$()*+.?[\\\]^{|}]/gu, String.raw`\$&`);

/** Is the name written down in the source as something of its own? */
const declares = (source: string, name: string): boolean =>
  new RegExp(
    String.raw`\b(?:const|function|class|interface|type) ${escaped(name)}\b|^ {2}(?:private |async )*#?${escaped(name)}\(`,
    "mu",
  ).test(source);

/** Has the test file a string with these words? */
const speaks = (source: string, words: string): boolean =>
  source.split("\n").some((line) => line.includes(words) && /["'`]/u.test(line.slice(0, line.indexOf(words))));

/** Why a reference is to nothing; null: it is to something. */
const faultOf = (reference: string): string | null => {
  const [path = "", name] = reference.split(/: (.*)/u);
  if (path === "schema")
    return new RegExp(String.raw`\b${escaped(name ?? "")}\b`, "u").test(migration) ? null : "is not in the migration";
  const isTest = path.endsWith(".test.ts");
  const file = join(isTest ? "test" : "src", path);
  if (!existsSync(join(root, file))) return `${file} is not there`;
  if (name === undefined) return null;
  return (isTest ? speaks : declares)(textOf(file), name) ? null : `${file} does not have it`;
};

const references = Array.from(
  written.matchAll(/`((?:schema|[\w/-]+(?:\.test)?\.ts): [^`]+)`/gu),
  ([, reference = ""]) => reference,
).filter((reference) => !/^file\.(?:test\.)?ts: |^schema: name$/u.test(reference));

/** Rules by the first cell of their row, with where they are. */
const rules = Array.from(written.matchAll(/^\| ([A-Z]+-?\d+[a-z]?\d?) +\| .*$/gmu), ([row, rule = ""]) => {
  const cells = row.split(/(?<!\\)\|/u).map((cell) => cell.trim());
  return { rule, where: cells[3] ?? "" };
});

describe("the specification of the reconciler", () => {
  it("names code, constraints and tests that are there", () => {
    expect(references.length).toBeGreaterThan(100);
    expect(
      references.flatMap((reference) => (faultOf(reference) === null ? [] : [`${reference}: ${faultOf(reference)}`])),
    ).toEqual([]);
  });

  it("would be caught naming what is not", () => {
    for (const wrong of [
      "reconciler/items.ts: reconcileEverything",
      "reconciler/nothing.ts: reconcileItems",
      "reconciler/items.test.ts: says what no test says",
      "schema: commands_twice",
    ])
      expect(faultOf(wrong), wrong).not.toBeNull();
  });

  it("has all rules, and for each that is in the code a mutant", () => {
    const count = (letters: string): number => rules.filter(({ rule }) => rule.replace(/-?\d.*$/u, "") === letters).length;
    expect(
      Object.fromEntries(["G", "F", "P", "D", "B", "Z", "W", "C", "K", "Q"].map((letters) => [letters, count(letters)])),
    ).toEqual({
      G: 9,
      F: 11,
      P: 12,
      D: 12,
      B: 5,
      Z: 7,
      W: 6,
      C: 9,
      K: 12,
      Q: 7,
    });
    const mutated = new Set(mutants.map(({ rule }) => rule));
    const bare = rules.filter(({ rule, where }) => !/^[KQ]/u.test(rule) && where.startsWith("`") && !mutated.has(rule));
    expect(bare.map(({ rule }) => rule)).toEqual([]);
  });

  it("has mutants whose text is in the code once, and whose tests are there", () => {
    for (const mutant of mutants) {
      expect(() => mutate(textOf(join("src", mutant.file)), mutant)).not.toThrow();
      for (const test of mutant.tests) expect(faultOf(test), test).toBeNull();
    }
  });

  it("shows the mutants as they are, and none that nobody notices", () => {
    const table = spec.slice(written.length);
    for (const { rule, off } of mutants)
      expect.soft(table).toMatch(new RegExp(String.raw`\| ${escaped(rule)} +\| ${escaped(off)} +\|`, "u"));
    expect(table.match(/^\| [A-Z]+-?\d/gmu)?.length).toBe(mutants.length);
    expect(table).not.toMatch(/\| (?:nothing|not run) +\|/u);
  });
});
