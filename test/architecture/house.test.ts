/**
 * The house keeps its plan. Each rule of the tools is shown a breach, planted in a copy of the tree, so that a rule that has
 * stopped biting is noticed; what no tool looks at is looked at here.
 */
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, delimiter, dirname, join, relative } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MAY_IMPORT, PACKAGE_ROOMS } from "./floors.ts";

const root = join(import.meta.dirname, "../..");

/** Runs a program of node_modules/.bin; its exit code and what it printed. */
const run = (name: string, args: readonly string[], cwd: string): Promise<{ code: number; out: string }> =>
  new Promise((resolve) => {
    // The Node that comes as a package runs the tools, whichever one is installed.
    const bin = join(root, "node_modules/.bin");
    const env = { ...process.env, PATH: `${bin}${delimiter}${process.env["PATH"] ?? ""}` };
    execFile(join(bin, name), args, { cwd, env, maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), out: stdout + stderr });
    });
  });

const sources = async (...folders: readonly string[]): Promise<string[]> => {
  const found: string[] = [];
  for (const folder of folders)
    for (const entry of await readdir(join(root, folder), { recursive: true, withFileTypes: true })) {
      const path = relative(root, join(entry.parentPath, entry.name));
      if (entry.isFile() && !path.includes("/generated/")) found.push(path);
    }
  return found;
};
const textOf = (path: string): Promise<string> => readFile(join(root, path), "utf8");

describe("breaches planted in a copy", () => {
  let copy: string;

  /** Puts breaches beside what is there; the copy is as it was when the test ends. */
  const plant = async (files: Readonly<Record<string, string>>): Promise<AsyncDisposable> => {
    for (const [path, text] of Object.entries(files)) {
      await mkdir(dirname(join(copy, path)), { recursive: true });
      await writeFile(join(copy, path), text);
    }
    return {
      async [Symbol.asyncDispose]() {
        for (const path of Object.keys(files)) await rm(join(copy, path));
      },
    };
  };

  /** The rules broken, by file. */
  const broken = async (args: readonly string[]): Promise<Record<string, string[]>> => {
    const { out } = await run("oxlint", [...args, "--format=json"], copy);
    const { diagnostics } = JSON.parse(out) as { diagnostics: { filename: string; code: string; message: string }[] };
    const byFile: Record<string, Set<string>> = {};
    for (const { filename, code } of diagnostics) (byFile[filename] ??= new Set()).add(code.replace(/^.*\((.*)\)$/u, "$1"));
    return Object.fromEntries(Object.entries(byFile).map(([file, codes]) => [file, [...codes].toSorted()]));
  };
  const floors = ["--disable-nested-config", "--config=test/architecture/floors.ts", "src"];

  beforeAll(async () => {
    copy = await mkdtemp(join(tmpdir(), "samebox-house-"));
    for (const path of ["src", "test/architecture/floors.ts", "package.json", "tsconfig.json", "knip.json", ".oxlintrc.json"])
      await cp(join(root, path), join(copy, path), { recursive: true });
    await symlink(join(root, "node_modules"), join(copy, "node_modules"));
  });
  afterAll(() => rm(copy, { recursive: true, force: true }));

  it("finds none where none is planted", async () => {
    expect(await broken(floors)).toEqual({});
  });

  it("finds every room that reaches up or aside", async () => {
    const rooms = Object.keys(MAY_IMPORT) as (keyof typeof MAY_IMPORT)[];
    const breaches: Record<string, string> = {};
    for (const room of rooms)
      for (const other of rooms)
        if (other !== room && !(MAY_IMPORT[room] as readonly string[]).includes(other))
          breaches[`src/${room}/reaches-${other}.ts`] = `import type { X } from "../${other}/x.ts";\nexport type Y = X;\n`;
    await using _ = await plant(breaches);
    const found = await broken(floors);
    expect(Object.keys(found).toSorted()).toEqual(Object.keys(breaches).toSorted());
    expect(new Set(Object.values(found).flat())).toEqual(new Set(["no-restricted-imports"]));
  });

  it("finds a package out of its room, and lets its types pass", async () => {
    const reaching = (name: string): string => `import x from "${name}";\nexport const y = x;\n`;
    const breaches = {
      "src/api/uses-pg.ts": reaching("pg"),
      "src/api/uses-prisma.ts": `export { PrismaClient } from "@prisma/client";\n`,
      "src/workers/uses-redis.ts": reaching("ioredis"),
      "src/workers/uses-bullmq.ts": reaching("bullmq"),
      "src/workers/uses-imap.ts": reaching("imapflow"),
      "src/endpoints/imap/opens-a-connection.ts": reaching("imapflow"),
      "src/endpoints/imap/knows-pop3.ts": reaching("../pop3/transport.ts"),
      "src/endpoints/pop3/knows-imap.ts": reaching("../imap/session.ts"),
      "src/model/uses-a-package.ts": `import type { Pool } from "pg";\nexport type Y = Pool;\n`,
      "src/reconciler/uses-node.ts": reaching("node:crypto"),
      "src/workers/knows-the-config.ts": reaching("../config.ts"),
      "src/workers/knows-the-tests.ts": reaching("../../test/support/ports.ts"),
    };
    await using _ = await plant({
      ...breaches,
      "src/api/names-a-type.ts": `import type { Pool } from "pg";\nexport type Y = Pool;\n`,
    });
    expect(await broken(floors)).toEqual(
      Object.fromEntries(Object.keys(breaches).map((path) => [path, ["no-restricted-imports"]])),
    );
  });

  it("finds a circle, of types too", async () => {
    await using _ = await plant({
      "src/workers/first.ts": `import { b } from "./second.ts";\nexport const a = (): number => b;\n`,
      "src/workers/second.ts": `import { a } from "./first.ts";\nexport const b = a.length;\n`,
      "src/store/egg.ts": `import type { Hen } from "./hen.ts";\nexport interface Egg {\n  readonly of: Hen;\n}\n`,
      "src/store/hen.ts": `import type { Egg } from "./egg.ts";\nexport interface Hen {\n  readonly lays: Egg;\n}\n`,
    });
    const circle = ["no-cycle"];
    expect(await broken(floors)).toEqual({
      "src/workers/first.ts": circle,
      "src/workers/second.ts": circle,
      "src/store/egg.ts": circle,
      "src/store/hen.ts": circle,
    });
  });

  it("finds a clock, chance and waiting in the rooms that decide", async () => {
    await using _ = await plant({
      "src/reconciler/clock.ts": `export const now = (): number => Date.now();\n`,
      "src/reconciler/chance.ts": `export const chance = (): number => Math.random();\n`,
      "src/reconciler/waits.ts": `export const waits = async (): Promise<void> => {};\n`,
      "src/model/timer.ts": `export const later = (f: () => void): unknown => setTimeout(f, 1);\n`,
    });
    expect(await broken(floors)).toEqual({
      "src/reconciler/clock.ts": ["no-restricted-globals"],
      "src/reconciler/chance.ts": ["no-restricted-properties"],
      "src/reconciler/waits.ts": ["no-async-await"],
      "src/model/timer.ts": ["no-restricted-globals"],
    });
  });

  it("finds Node and its clock in the reconciler by its own compiler settings", async () => {
    await using _ = await plant({
      "src/reconciler/timer.ts": `export const later = (f: () => void): unknown => setTimeout(f, 1);\n`,
      "src/reconciler/env.ts": `export const home = process.env["HOME"];\n`,
    });
    const { code, out } = await run("tsc", ["-p", "src/reconciler/tsconfig.json"], copy);
    expect(code).not.toBe(0);
    expect(out).toMatch(/timer\.ts.*Cannot find name 'setTimeout'/u);
    expect(out).toMatch(/env\.ts.*Cannot find name 'process'/u);
  });

  it("finds bad habits", async () => {
    const breaches: Record<string, [rule: string, text: string]> = {
      "src/workers/floats.ts": ["no-floating-promises", `export const f = (p: Promise<void>): void => {\n  p;\n};\n`],
      "src/workers/forgets.ts": ["no-floating-promises", `export const f = (g: () => Promise<void>): void => {\n  g();\n};\n`],
      "src/workers/misuses.ts": [
        "no-misused-promises",
        `export const f = (list: number[], g: () => Promise<void>): void => list.forEach(async () => g());\n`,
      ],
      "src/workers/default.ts": ["no-default-export", `export default 1;\n`],
      "src/workers/barrel.ts": ["no-barrel-file", `export * from "./lane.ts";\n`],
      "src/workers/any.ts": ["no-explicit-any", `export const f = (x: any): unknown => x;\n`],
      "src/workers/asserts.ts": ["no-non-null-assertion", `export const f = (x: string | null): string => x!;\n`],
      "src/workers/speaks.ts": ["no-console", `export const f = (): void => console.log("x");\n`],
      "src/workers/reads-env.ts": ["no-process-env", `export const f = (): unknown => process.env["PORT"];\n`],
      "src/workers/type-import.ts": [
        "consistent-type-imports",
        `import { AccountLane } from "./lane.ts";\nexport type X = AccountLane;\n`,
      ],
      "src/workers/CamelCase.ts": ["filename-case", `export const x = 1;\n`],
      "src/workers/long.ts": ["max-lines", "export const x = [\n" + "  1,\n".repeat(340) + "];\n"],
      "src/workers/winding.ts": [
        "max-lines-per-function",
        `export const f = (x: number[]): void => {\n${"  x.push(1);\n".repeat(70)}};\n`,
      ],
    };
    await using _ = await plant(Object.fromEntries(Object.entries(breaches).map(([path, [, text]]) => [path, text])));
    const found = await broken(["--type-aware", ...Object.keys(breaches)]);
    for (const [path, [rule]] of Object.entries(breaches)) expect.soft(found[path], path).toContain(rule);
  });

  it("finds what nobody uses", async () => {
    await using _ = await plant({ "src/model/unused.ts": `export const unused = 1;\n` });
    const { code, out } = await run("knip", ["--no-config-hints"], copy);
    expect(code).not.toBe(0);
    expect(out).toContain("src/model/unused.ts");
  });
});

describe("the tree", () => {
  it("has a room for every folder of src/, and nothing beside main.ts and config.ts", async () => {
    const entries = await readdir(join(root, "src"), { withFileTypes: true });
    const names = (folders: boolean): string[] =>
      entries.filter((entry) => entry.isDirectory() === folders).map((entry) => entry.name);
    expect(names(true).toSorted()).toEqual(Object.keys(MAY_IMPORT).toSorted());
    expect(names(false).toSorted()).toEqual(["config.ts", "main.ts"]);
  });

  it("names for every room only rooms below it", () => {
    const below = new Set<string>();
    for (const [room, others] of Object.entries(MAY_IMPORT)) {
      for (const other of others) expect(below, `${room} imports ${other}`).toContain(other);
      below.add(room);
    }
  });

  it("has rooms for every package it depends on", async () => {
    const { dependencies } = JSON.parse(await textOf("package.json")) as { dependencies: Record<string, string> };
    expect(Object.keys(PACKAGE_ROOMS).toSorted()).toEqual(Object.keys(dependencies).toSorted());
  });

  it("loads late only what it may import at all", async () => {
    expect(strangersOf("src/api/x.ts", `await import("pg")`)).toEqual(["pg"]);
    expect(strangersOf("src/api/x.ts", `await import(\n"../workers/lane.ts")`)).toEqual(["../workers/lane.ts"]);
    expect(strangersOf("src/api/x.ts", `await import("fastify"); await import("./y.ts")`)).toEqual([]);
    expect(await filesWhere(["src"], (text, path) => strangersOf(path, text).length > 0)).toEqual([]);
  });

  it("reads the environment in config.ts only, whatever way it is spelled", async () => {
    for (const breach of ["process.env", `process["env"]`, "const { env } = process", `import { env } from "node:process"`])
      expect(readsEnvironment(breach), breach).toBe(true);
    expect(await filesWhere(["src"], readsEnvironment)).toEqual(["src/config.ts"]);
  });

  it("gives a reason with every rule that is switched off in a file", async () => {
    for (const breach of ["/* oxlint-disable */", "// oxlint-disable-next-line no-new", "// eslint-disable-line no-new -- why"])
      expect(isBareDisable(breach), breach).toBe(true);
    expect(isBareDisable("// oxlint-disable-next-line no-new -- it registers itself")).toBe(false);
    expect(await filesWhere(everywhere, (text) => text.split("\n").some(isBareDisable))).toEqual([]);
  });

  it("holds no path of somebody's machine and no private key", async () => {
    for (const breach of ["/home/alice/mail", "/Users/alice", "-----BEGIN PRIVATE KEY-----"])
      expect(isTelling(breach), breach).toBe(true);
    expect(await filesWhere(everywhere, isTelling)).toEqual([]);
  });
});

const everywhere = ["src", "test", "bench", "scripts", "prisma"];
const thisFile = join("test/architecture", basename(import.meta.filename));

/** The files that fail, this one aside: it holds the breaches it looks for. */
const filesWhere = async (folders: readonly string[], fails: (text: string, path: string) => boolean): Promise<string[]> => {
  const found: string[] = [];
  for (const path of await sources(...folders)) if (path !== thisFile && fails(await textOf(path), path)) found.push(path);
  return found;
};

/** What a file loads with import(), at which the rules for imports do not look, and may not. */
const strangersOf = (path: string, text: string): string[] => {
  const room = (path.split("/")[1] ?? "") as keyof typeof MAY_IMPORT;
  return Array.from(text.matchAll(/\bimport\(\s*["'`]([^"'`]+)/gu), ([, target = ""]) => target).filter((target) => {
    const name = /^(?:@[^/]+\/)?[^/]+/u.exec(target)?.[0] ?? "";
    return !target.startsWith("./") && PACKAGE_ROOMS[name]?.includes(room) !== true;
  });
};

const readsEnvironment = (text: string): boolean =>
  /process\??\.env\b|process\[["']env|\{[^{}]*\benv\b[^{}]*\}\s*(?:=\s*process\b|from "node:process")/u.test(text);

const isBareDisable = (line: string): boolean =>
  /(?:ox|es)lint-disable/u.test(line) && !/(?:ox|es)lint-disable-next-line [\w/-]+ -- \S/u.test(line);

const isTelling = (text: string): boolean => /\/(?:home|Users)\/[a-z]|[A-Z]:\\Users|BEGIN (?:RSA |EC )?PRIVATE KEY/u.test(text);
