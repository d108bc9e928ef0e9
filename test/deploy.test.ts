/** What lies in deploy/ for operators holds together: the alerts, the figures, the runbooks, the containers, the unit. */
import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { registry } from "../src/telemetry/metrics.ts";
import { settingNames } from "./support/setting-names.ts";

const run = promisify(execFile);
const pathOf = (path: string): string => fileURLToPath(new URL(`../${path}`, import.meta.url));
const read = (path: string): Promise<string> => readFile(pathOf(path), "utf8");
const readYaml = async <T>(path: string): Promise<T> => parse(await read(path), { strict: true, uniqueKeys: true }) as T;

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly runbook_url: string };
}

interface RuleTests {
  readonly tests: readonly {
    readonly alert_rule_test: readonly { readonly alertname: string; readonly exp_alerts: readonly unknown[] }[];
  }[];
}

const readRules = async (): Promise<readonly Rule[]> => {
  const { groups } = await readYaml<{ groups: { rules: Rule[] }[] }>("deploy/prometheus/rules.yaml");
  return groups.flatMap((group) => group.rules);
};

/** Every metric of the daemon with its labels. A histogram is asked for by its parts. */
const knownSeries = async (): Promise<Map<string, readonly string[]>> => {
  const known = new Map<string, readonly string[]>();
  for (const { name } of await registry.getMetricsAsJSON()) {
    const metric = registry.getSingleMetric(name) as unknown as { labelNames: readonly string[] };
    for (const part of [name, `${name}_bucket`, `${name}_sum`, `${name}_count`]) known.set(part, metric.labelNames);
  }
  return known;
};

/** Metrics named in an expression, with the labels it asks them for. */
const asked = (text: string): { name: string; labels: string[] }[] =>
  [...text.matchAll(/(samebox_\w+)(?:\{([^}]*)\})?/g)].map(([, name = "", selector = ""]) => ({
    name,
    labels: [...selector.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)].map(([, label = ""]) => label),
  }));

describe("the alerts", () => {
  it("are valid, fire when they should, and are silent on a quiet day", async () => {
    const cwd = pathOf("deploy/prometheus");
    await run("promtool", ["check", "rules", "rules.yaml"], { cwd });
    await run("promtool", ["test", "rules", "rules.test.yaml"], { cwd });
  });

  it("are each tested to fire and to be silent", async () => {
    const { tests } = await readYaml<RuleTests>("deploy/prometheus/rules.test.yaml");
    const checks = tests.flatMap((test) => test.alert_rule_test);
    const alerts = (await readRules()).map((rule) => rule.alert).sort();
    const named = (fires: boolean): string[] =>
      [...new Set(checks.filter((check) => check.exp_alerts.length > 0 === fires).map((check) => check.alertname))].sort();
    expect(named(true)).toEqual(alerts);
    expect(named(false)).toEqual(alerts);
  });

  it("ask only for metrics and labels that exist, in the runbooks, too", async () => {
    const known = await knownSeries();
    const runbooks = await Promise.all((await readdir(pathOf("docs/runbooks"))).map((name) => read(`docs/runbooks/${name}`)));
    for (const text of [...(await readRules()).map((rule) => rule.expr), ...runbooks])
      for (const { name, labels } of asked(text)) {
        expect(known.has(name), name).toBe(true);
        expect([...(known.get(name) ?? []), "instance", "job"], name).toEqual(expect.arrayContaining(labels));
      }
  });

  it("lead each to a runbook, and every runbook is led to", async () => {
    const rules = await readRules();
    for (const rule of rules) expect(await read(rule.annotations.runbook_url), rule.alert).toContain(`\`${rule.alert}\``);
    const led = new Set(rules.map((rule) => rule.annotations.runbook_url.replace("docs/runbooks/", "")));
    expect([...led].sort()).toEqual((await readdir(pathOf("docs/runbooks"))).sort());
  });
});

interface Service {
  readonly image?: string;
  readonly build?: { readonly context: string; readonly dockerfile: string };
  readonly environment?: Readonly<Record<string, string>>;
  readonly command?: readonly string[];
  readonly depends_on?: Readonly<Record<string, unknown>>;
  readonly volumes?: readonly string[];
}

describe("the containers", () => {
  it("are wired to each other and set only settings that exist", async () => {
    const { services, volumes } = await readYaml<{
      services: { samebox: Service } & Record<string, Service>;
      volumes: Record<string, unknown>;
    }>("deploy/compose.yaml");
    const { build, environment = {}, depends_on: needed = {} } = services.samebox;
    await expect(read(`deploy/${build?.context}/${build?.dockerfile}`)).resolves.toContain("USER node");
    expect(settingNames()).toEqual(expect.arrayContaining(Object.keys(environment)));
    expect(Object.keys(services)).toEqual(expect.arrayContaining(Object.keys(needed)));
    for (const name of ["DATABASE_URL", "REDIS_URL"])
      expect(Object.keys(needed)).toContain(new URL(environment[name]?.replace(/\$\{.*?\}/, "x") ?? "").hostname);
    for (const service of Object.values(services))
      for (const volume of service.volumes ?? []) expect(Object.keys(volumes)).toContain(volume.split(":")[0]);
    expect(services["redis"]?.command?.join(" ")).toMatch(/--appendonly yes .*--maxmemory-policy noeviction/);
  });

  it("copy only what is there", async () => {
    const dockerfile = await read("deploy/Dockerfile");
    for (const [, paths = ""] of dockerfile.matchAll(/^COPY (?!--from)(.*) \S+$/gm))
      for (const path of paths.split(" ")) await expect(readdir(pathOf(".")), path).resolves.toContain(path);
    // As Docker reads it: lines of comment go first, then what ends with a backslash is joined.
    const instructions = dockerfile
      .replaceAll(/^\s*#.*\n/gm, "")
      .replaceAll(/\\\n\s*/g, "")
      .split("\n")
      .filter((line) => line !== "");
    for (const line of instructions)
      expect(line).toMatch(/^(?:FROM|WORKDIR|COPY|RUN|ENV|USER|VOLUME|EXPOSE|CMD) |^HEALTHCHECK (?:--\S+ )*CMD \[/);
    expect(instructions.filter((line) => line.startsWith("CMD "))).toHaveLength(1);
    expect([...dockerfile.matchAll(/^FROM (\S+)/gm)].map(([, image]) => image)).toEqual(["node:24-slim", "node:24-slim"]);
  });
});

describe("the systemd unit", () => {
  it("starts what npm start starts, lets it end in peace, and sets only settings that exist", async () => {
    const unit = await read("deploy/samebox.service");
    const { scripts } = JSON.parse(await read("package.json")) as { scripts: { start: string } };
    const [, allocator, command] = /^((?:MALLOC_\w+=\d+ )+)exec (node .*)$/.exec(scripts.start) ?? [];
    expect(unit).toContain(`\nExecStart=/opt/samebox/node_modules/.bin/${command}\n`);
    expect(unit).toContain(`\nEnvironment=${allocator?.trim()}\n`);
    for (const line of unit.split("\n")) expect(line).toMatch(/^(?:|#.*|\[\w+\]|[A-Z]\w+=.*)$/);
    const settings = [...unit.matchAll(/^Environment=(?!MALLOC_)(\w+)=/gm)].map(([, name]) => name);
    expect(settingNames()).toEqual(expect.arrayContaining(settings));
    const stopSeconds = Number(/stopDeadlineMs = (\d+)_000/.exec(await read("src/main.ts"))?.[1]);
    expect(Number(/^TimeoutStopSec=(\d+)$/m.exec(unit)?.[1])).toBeGreaterThan(stopSeconds);
  });
});
