/** The README's curl session, run as it stands against a daemon of this tree and a private Dovecot. */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { registry } from "../src/telemetry/metrics.ts";
import { settingNames } from "./support/setting-names.ts";
import { startDaemon } from "./support/daemon.ts";
import { type Dovecot, startDovecot } from "./support/dovecot.ts";

const run = promisify(execFile);
const repository = new URL("../", import.meta.url);
const readme = await readFile(new URL("README.md", repository), "utf8");

interface Sample {
  readonly language: string;
  readonly text: string;
}

interface Step {
  readonly commands: string;
  /** What the README says they print; null: nothing is shown. */
  readonly sample: Sample | null;
}

const section = (title: string): string => {
  const found = readme.split(/^## /m).find((part) => part.startsWith(`${title}\n`));
  if (found === undefined) throw new Error(`the README has no section "${title}"`);
  return found;
};

/** Blocks marked `sh`, each with the block of another language that comes before the next. */
const stepsOf = (text: string): Step[] => {
  const blocks = [...text.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].map(([, language = "", body = ""]) => ({
    language,
    text: body,
  }));
  return blocks.flatMap(({ language, text: commands }, at) => {
    if (language !== "sh") return [];
    const next = blocks[at + 1];
    return [{ commands, sample: next === undefined || next.language === "sh" ? null : next }];
  });
};

const mark = (at: number): string => `=== end of step ${at} ===`;

/** Runs the steps in one shell, as a reader who pastes them would; returns what each printed. */
const runSteps = async (steps: readonly Step[], cwd: string, env: Record<string, string>): Promise<string[]> => {
  const script = steps.map(({ commands }, at) => `${commands}\nprintf '\\n%s\\n' '${mark(at)}'\n`).join("");
  const { stdout } = await run("bash", ["-c", `set -euo pipefail\n${script}`], { cwd, env, timeout: 180_000 });
  let rest = stdout;
  return steps.map((_, at) => {
    const [printed = "", ...after] = rest.split(`\n${mark(at)}\n`);
    rest = after.join(`\n${mark(at)}\n`);
    return printed;
  });
};

/** An id as a key (`mbx_019a…`) stands for any of its kind. */
const keyShape = (key: string): string => key.replace(/^([a-z]{3}_).*$/, "$1");

/** Keys and kinds of values; of an array, the different shapes of its items. null fits whatever may be null. */
const shapeOf = (value: unknown): unknown => {
  if (Array.isArray(value)) {
    const shapes = new Set(value.map((item) => JSON.stringify(shapeOf(item))));
    return [...shapes].sort().map((shape) => JSON.parse(shape) as unknown);
  }
  if (typeof value === "object" && value !== null)
    return Object.fromEntries(
      Object.entries(value)
        .map(([key, field]) => [keyShape(key), shapeOf(field)] as const)
        .sort(([a], [b]) => a.localeCompare(b)),
    );
  return value === null ? "null" : typeof value;
};

const readJson = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new Error(`not JSON: ${text.slice(0, 500)}`, { cause });
  }
};

/** Of each line what does not change from run to run. */
const lineShapes = (text: string): string[] =>
  text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      if (line.startsWith("data: ")) return `data: ${JSON.stringify(shapeOf(readJson(line.slice(6))))}`;
      return line.startsWith("event: ") ? line : (/^(?:[\w-]+:|\w+(?:\{.*\})?(?= ))/.exec(line)?.[0] ?? line);
    });

/** The README may leave out lines and list items; what it shows must come, in that order and that shape. */
const expectShown = (shown: readonly unknown[], printed: readonly unknown[]): void => {
  const rest = printed.map((item) => JSON.stringify(item));
  for (const item of shown) {
    const at = rest.indexOf(JSON.stringify(item));
    if (at === -1) expect(printed, "what the README shows is not printed").toContainEqual(item);
    rest.splice(0, at + 1);
  }
};

/** Items of lists are compared one by one, so that the README may show one of many; everything else must be the same. */
const compareJson = (shown: unknown, printed: unknown): void => {
  const split = (value: unknown) => {
    const { items = null, ...rest } = value as { items?: unknown[] };
    return { items, rest: shapeOf(rest) };
  };
  expect(split(shown).rest).toEqual(split(printed).rest);
  const items = split(shown).items;
  if (items !== null) expectShown(items.map(shapeOf), (split(printed).items ?? []).map(shapeOf));
};

const compare = (sample: Sample, printed: string): void => {
  if (sample.language === "json") compareJson(readJson(sample.text), readJson(printed));
  else expectShown(lineShapes(sample.text), lineShapes(printed));
};

const invoice = `From: Shop <orders@shop.example>\r
To: Ana <ana@example.com>\r
Subject: Your invoice\r
Date: Mon, 02 Nov 2026 09:30:00 +0000\r
Message-ID: <invoice-1@shop.example>\r
MIME-Version: 1.0\r
Content-Type: multipart/mixed; boundary="b"\r
\r
--b\r
Content-Type: text/plain; charset=utf-8\r
\r
Hello Ana,\r
the invoice for your chair is attached.\r
--b\r
Content-Type: text/csv; name="invoice.csv"\r
Content-Disposition: attachment; filename="invoice.csv"\r
\r
chair,1,89.00\r
--b--\r
`;

const shellEnv = (server: Dovecot, url: string, dataDir: string): Record<string, string> => {
  const { user, password } = server.account(1);
  return {
    // `node` is the one that runs this test, whatever the machine has.
    PATH: `${dirname(process.execPath)}:${process.env["PATH"] ?? ""}`,
    SAMEBOX_URL: url,
    SAMEBOX_DATA_DIR: dataDir,
    IMAP_HOST: server.host,
    IMAP_PORT: String(server.imapPort),
    IMAP_SECURITY: "none",
    IMAP_USER: user,
    IMAP_PASSWORD: password,
  };
};

describe("the README", () => {
  it("shows a session that runs as pasted and prints what is shown", { timeout: 360_000 }, async () => {
    const dataDir = await mkdtemp(join(tmpdir(), "samebox-readme-"));
    try {
      await using server = await startDovecot({ users: 1 });
      {
        await using device = await server.device(1);
        await device.append("INBOX", { raw: Buffer.from(invoice) });
      }
      await using daemon = await startDaemon({ env: { SAMEBOX_DATA_DIR: dataDir, SAMEBOX_ADMIN_KEY: "" } });
      const steps = stepsOf(section("A session with curl"));
      const [asking] = stepsOf(section("Trying another policy"));
      const printed = await runSteps(
        [...steps, ...(asking === undefined ? [] : [asking])],
        dataDir,
        shellEnv(server, daemon.url, dataDir),
      );
      if (process.env["SHOW_README_OUTPUT"] !== undefined) process.stdout.write(printed.join("\n----\n"));
      expect(steps.filter(({ sample }) => sample !== null).length).toBeGreaterThanOrEqual(8);
      for (const [at, { sample }] of steps.entries()) if (sample !== null) compare(sample, printed[at] ?? "");
      expect(JSON.parse(printed.at(-1) ?? "")).toMatchObject({ policy: { pop3Devices: "declared" }, total: 0 });
    } finally {
      await rm(dataDir, { recursive: true, force: true });
    }
  });

  it("lists every setting, and none that does not exist", () => {
    const listed = [...section("Settings").matchAll(/^\| `([A-Z_]+)` +\|/gm)].map(([, name]) => name);
    expect(listed.sort()).toEqual([...settingNames()].sort());
  });

  it("says what to do for every code an account can fail with", async () => {
    const [, codes = ""] =
      /type FailureCode =([^;]*);/.exec(await readFile(new URL("src/model/failure.ts", repository), "utf8")) ?? [];
    const known = [...codes.matchAll(/"(\w+)"/g)].map(([, code]) => code).filter((code) => code !== "stopped");
    const rows = section("When an account does not sync").matchAll(/^\| (`[^|]*`) *\|/gm);
    const told = [...rows].flatMap(([, cell = ""]) => [...cell.matchAll(/`(\w+)`/g)].map(([, code]) => code));
    expect(told.sort()).toEqual(known.sort());
  });

  it("names only metrics with labels that exist", async () => {
    for (const [, name = "", labels = ""] of section("What to watch").matchAll(/`(samebox_\w+)(?:\{(.*?)\})?`/g)) {
      const metric = registry.getSingleMetric(name) as { labelNames?: readonly string[] } | undefined;
      expect(metric?.labelNames, name).toEqual(expect.arrayContaining(labels === "" ? [] : labels.split(",")));
    }
  });

  it("names only files and commands that exist", async () => {
    const { scripts } = JSON.parse(await readFile(new URL("package.json", repository), "utf8")) as {
      scripts: Record<string, string>;
    };
    for (const [, name = ""] of readme.matchAll(/npm run ([\w:]+)/g)) expect(Object.keys(scripts)).toContain(name);
    for (const [, path = ""] of readme.matchAll(/\]\((?!https?:|#)([^)]+)\)/g))
      await expect(readFile(new URL(path, repository)), path).resolves.toBeDefined();
  });
});
