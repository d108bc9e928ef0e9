/**
 * Takes one rule at a time out of a copy of the tree and sees whether a test notices. `--only F4` or `--only V`: these rules only,
 * `--only new`: what the table does not have; `--write`: what was seen goes into the specification of the reconciler.
 */
import { execFileSync, spawn } from "node:child_process";
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { mutants } from "../test/mutation/mutants.ts";
import { type Mutant, mutate } from "../test/mutation/mutant.ts";

const root = join(import.meta.dirname, "..");
const specification = join(root, "src/reconciler/SPEC.md");
const [begin, end] = ["<!-- mutants -->", "<!-- /mutants -->"];
/** A rule that is gone may leave a test waiting. */
const longestMs = 10 * 60_000;

interface Report {
  readonly success: boolean;
  readonly testResults: readonly {
    readonly name: string;
    readonly message: string;
    readonly assertionResults: readonly { readonly status: string; readonly title: string }[];
  }[];
}

/** The first test that fails, as the table names it; null: none does. */
type Verdict = string | null;

const runOnce = async (copy: string, files: readonly string[], words: string | null): Promise<Verdict> => {
  const output = join(copy, "report.json");
  await rm(output, { force: true });
  const named = files.map((name) => `test/${name}`);
  const pattern = words === null ? [] : [`--testNamePattern=${words}`];
  const args = ["run", "--bail=1", "--reporter=json", `--outputFile=${output}`, ...named, ...pattern];
  const child = spawn(join(root, "node_modules/.bin/vitest"), args, { cwd: copy, detached: true });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (piece: Buffer) => (said += piece.toString()));
  const timer = setTimeout(() => process.kill(-(child.pid as number), "SIGKILL"), longestMs);
  const signal = await new Promise<string | null>((resolve) => child.once("close", (_, by) => resolve(by)));
  clearTimeout(timer);
  if (signal !== null) return "a test that does not end";
  const report = JSON.parse(await readFile(output, "utf8").catch(() => Promise.reject(new Error(said)))) as Report;
  if (report.success) return null;
  for (const { name, assertionResults } of report.testResults) {
    const failed = assertionResults.find(({ status }) => status === "failed");
    if (failed !== undefined) return `${name.replace(/^.*\/test\//u, "")}: ${failed.title}`;
  }
  // What does not even load was not noticed by a test.
  throw new Error(report.testResults.find(({ message }) => message !== "")?.message ?? said);
};

/** The test that noticed it last time, by what the table says of it. */
const runRecorded = async (copy: string, by: string, tests: readonly string[]): Promise<Verdict> => {
  const [file = "", ...title] = by.replaceAll("\\|", "|").split(": ");
  // Another test may have taken its place since.
  if (title.length === 0 || !tests.some((name) => name.split(": ")[0] === file)) return null;
  return runOnce(copy, [file], RegExp.escape(title.join(": ")));
};

/** Whole files together, then those of which one test is named. */
const runTests = async (copy: string, tests: readonly string[]): Promise<Verdict> => {
  const whole = tests.filter((name) => !name.includes(": "));
  const verdict = whole.length === 0 ? null : await runOnce(copy, whole, null);
  if (verdict !== null) return verdict;
  for (const name of tests) {
    const [file = "", words] = name.split(": ");
    const found = words === undefined ? null : await runOnce(copy, [file], words);
    if (found !== null) return found;
  }
  return null;
};

const { values } = parseArgs({ options: { only: { type: "string" }, write: { type: "boolean", default: false } } });
const wanted = values.only?.split(",") ?? [];
const isWanted = ({ rule }: Mutant, by: string | undefined): boolean =>
  wanted.length === 0 ||
  wanted.some((name) => name === rule || name === /^[A-Z]+/u.exec(rule)?.[0] || (name === "new" && by === undefined));

/** A pipe would end a cell of the table. */
const cell = (text: string): string => text.replaceAll("|", "\\|");

interface Table {
  readonly before: string;
  readonly after: string;
  /** What noticed a mutant when it was run last. */
  readonly byOf: (mutant: Mutant) => string | undefined;
}

const readTable = async (): Promise<Table> => {
  const spec = await readFile(specification, "utf8");
  const [before, rest = ""] = spec.split(begin);
  const [table = "", after] = rest.split(end);
  if (before === undefined || after === undefined) throw new Error(`${begin} is not in ${specification}`);
  const known = new Map(
    table.split("\n").map((line) => {
      const [, rule = "", off = "", by = ""] = line.split(/(?<!\\)\|/u).map((text) => text.trim());
      return [`${rule} ${off}`, by];
    }),
  );
  return { before, after, byOf: ({ rule, off }) => known.get(`${rule} ${cell(off)}`) };
};

/** Rows of mutants that were not run stay as they are. */
const writeTable = async (seen: ReadonlyMap<Mutant, string>): Promise<void> => {
  const { before, after, byOf } = await readTable();
  const rows = mutants.map((mutant) => [mutant.rule, cell(mutant.off), seen.get(mutant) ?? byOf(mutant) ?? "not run"]);
  const lines = [["Rule", "Without it", "Noticed by"], ["---", "---", "---"], ...rows].map((row) => `| ${row.join(" | ")} |`);
  await writeFile(specification, `${before}${begin}\n\n${lines.join("\n")}\n\n${end}${after}`);
  execFileSync(join(root, "node_modules/.bin/oxfmt"), [specification], { cwd: root });
};

const copy = await mkdtemp(join(tmpdir(), "samebox-mutate-"));
try {
  for (const path of ["src", "test", "dist", "prisma", "scripts", "package.json", "tsconfig.json", "vitest.config.ts"])
    await cp(join(root, path), join(copy, path), { recursive: true });
  await symlink(join(root, "node_modules"), join(copy, "node_modules"));
  const { byOf } = await readTable();
  const chosen = mutants.filter((mutant) => isWanted(mutant, byOf(mutant)));
  const sources = new Map<string, string>();
  for (const { file } of chosen) sources.set(file, await readFile(join(copy, "src", file), "utf8"));
  const changed = chosen.map((mutant) => mutate(sources.get(mutant.file) as string, mutant));
  const sound = await runTests(copy, [...new Set(chosen.flatMap(({ tests }) => tests))]);
  if (sound !== null) throw new Error(`fails without any mutant: ${sound}`);
  const seen = new Map<Mutant, string>();
  let survivors = 0;
  const begun = Date.now();
  const secondsSince = (from: number): string => `${Math.round((Date.now() - from) / 1000)} s`;
  for (const [index, mutant] of chosen.entries()) {
    const { rule, off, file, tests } = mutant;
    const from = Date.now();
    await writeFile(join(copy, "src", file), changed[index] as string);
    const noticed = await runRecorded(copy, byOf(mutant) ?? "", tests)
      .then((by) => by ?? runTests(copy, tests))
      .catch((cause: unknown) => {
        // Nothing was noticed where nothing ran, and the others are run all the same.
        console.error(`${rule}: ${off}:`, cause);
        return null;
      });
    await writeFile(join(copy, "src", file), sources.get(file) as string);
    if (noticed === null) survivors += 1;
    console.log(`${noticed === null ? "SURVIVED" : "killed  "} ${rule}: ${off}; ${noticed ?? file} (${secondsSince(from)})`);
    seen.set(mutant, cell(noticed ?? "nothing"));
  }
  console.log(`${chosen.length} mutants, ${survivors} survived, ${secondsSince(begun)}`);
  if (values.write) await writeTable(seen);
  process.exitCode = survivors === 0 ? 0 : 1;
} finally {
  await rm(copy, { recursive: true, force: true });
}
