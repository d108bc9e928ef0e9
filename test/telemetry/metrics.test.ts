import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Daemon, dovecotAccount, liveAccount, startDaemon } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";

const src = fileURLToPath(new URL("../../src", import.meta.url));
const declaredIn = join("telemetry", "metrics.ts");
const sourceFiles = readdirSync(src, { recursive: true, encoding: "utf8" })
  .filter((path) => path.endsWith(".ts") && !path.includes("generated"))
  .map((path) => ({ path, text: readFileSync(join(src, path), "utf8") }));
const declarations = sourceFiles.find(({ path }) => path === declaredIn)?.text ?? "";
const declared = [
  ...declarations.matchAll(/^export const (\w+) = new (?:Counter|Gauge|Histogram|Summary)\(\{\s*name: "(\w+)"/gm),
].map(([, variable = "", name = ""]) => ({ variable, name }));

/** What Prometheus' own linter finds wrong; empty when nothing. */
const lint = (text: string): string => {
  const { stdout, stderr, status, error } = spawnSync("promtool", ["check", "metrics"], { input: text, encoding: "utf8" });
  if (error !== undefined) throw error;
  return status === 0 ? "" : `${stdout}${stderr}`;
};

/** Without what prom-client says of the process: its names are its own. */
const ours = (text: string): string =>
  text
    .split("\n")
    .filter((line) => !/^(# (HELP|TYPE) )?(process|nodejs)_/.test(line))
    .join("\n");

describe("in the sources", () => {
  test("every metric is declared in one file", () => {
    expect(declared.length).toBeGreaterThan(20);
    const elsewhere = sourceFiles.filter(
      ({ path, text }) => path !== declaredIn && /\bnew (Counter|Gauge|Histogram|Summary)\(/.test(text),
    );
    expect(elsewhere.map(({ path }) => path)).toEqual([]);
    expect(declarations.match(/\bnew (Counter|Gauge|Histogram|Summary)\(/g)?.length).toBe(declared.length);
  });

  test("every declared metric is moved by somebody", () => {
    const unmoved = declared.filter(
      ({ variable }) =>
        !sourceFiles.some(({ text }) => new RegExp(`\\b${variable}\\.(inc|dec|set|observe|startTimer)\\(`).test(text)),
    );
    expect(unmoved).toEqual([]);
  });
});

describe("of a daemon at work", () => {
  let server: Dovecot;
  let fresh: FreshDatabase;
  let daemon: Daemon;
  let accountId: string;

  const read = async (): Promise<string> => {
    const metricsUrl = daemon.lines.find((line) => line["msg"] === "api listening")?.["metricsUrl"];
    return (await fetch(`${String(metricsUrl)}/metrics`)).text();
  };

  /** Samples other than 0 by name; histograms by their count. */
  const moved = async (): Promise<Set<string>> => {
    const samples = [...(await read()).matchAll(/^(\w+?)(?:_count|_sum|_bucket)?(?:\{[^}]*\})? (\S+)$/gm)];
    return new Set(samples.filter(([, , value]) => Number(value) !== 0).map(([, name = ""]) => name));
  };

  beforeAll(async () => {
    [server, fresh] = await Promise.all([startDovecot({ users: 1 }), freshDatabase()]);
    const messages = [1, 2, 3].map((n) => Buffer.from(`Subject: ${n}\r\nMessage-ID: <${n}@metrics.test>\r\n\r\nbody\r\n`));
    await server.deliver({ user: server.account(1).user, mailbox: "INBOX", messages });
    daemon = await startDaemon({ env: { DATABASE_URL: fresh.url, METRICS_PORT: "0" } });
    accountId = await liveAccount(daemon, dovecotAccount(server, 1));
  });
  afterAll(async () => {
    await daemon.stop();
    await server.stop();
    await fresh.drop();
  });

  test("are clean to Prometheus' linter, and the linter is one", async () => {
    expect(lint(ours(await read()))).toBe("");
    expect(lint("# TYPE samebox_planted counter\nsamebox_planted 1\n")).toContain("samebox_planted");
  });

  test("say what happened when an account was read", async () => {
    const expected = [
      "samebox_accounts",
      "samebox_leases_held",
      "samebox_connections_open",
      "samebox_connects_total",
      "samebox_connect_duration_seconds",
      "samebox_network_bytes_total",
      "samebox_sync_runs_total",
      "samebox_sync_duration_seconds",
      "samebox_messages_total",
      "samebox_parse_duration_seconds",
      "samebox_http_requests_total",
      "samebox_http_request_duration_seconds",
      "samebox_db_pool_connections",
      "samebox_build_info",
    ];
    await eventually("all have moved", async () => {
      const names = await moved();
      const missing = expected.filter((name) => !names.has(name));
      if (missing.length > 0) throw new Error(missing.join(", "));
      return true;
    });
    const text = await eventually("the account is counted as live", async () => {
      const now = await read();
      return now.includes('samebox_accounts{state="live"} 1') && now;
    });
    expect(text).toContain('samebox_messages_total{op="created"} 3');
    expect(text).toContain('samebox_connects_total{proto="imap",result="ok"}');
    expect(text).toMatch(/samebox_build_info\{version="[\d.]+",node="v\d+\.\d+\.\d+"\} 1/);
  });

  test("count every octet once, and no connection when there is none left", async () => {
    await daemon.call("POST", `/v1/accounts/${accountId}/pause`);
    await eventually("the sessions are closed", async () => !/samebox_connections_open\{[^}]*\} [1-9]/.test(await read()), {
      timeoutMs: 28_000,
    });
    const received = /samebox_network_bytes_total\{proto="imap",direction="in"\} (\d+)/.exec(await read())?.[1];
    // Greeting, capabilities and three small messages: some thousand octets, and twice that if they were counted twice.
    expect(Number(received)).toBeGreaterThan(1_000);
    expect(Number(received)).toBeLessThan(20_000);
    await daemon.call("POST", `/v1/accounts/${accountId}/resume`);
  });

  test("hold no id, no host and nothing of a mail, and labels are of few names and few values", async () => {
    await daemon.call("GET", `/v1/accounts/${accountId}/messages?text=secretword`);
    await daemon.call("GET", "/v1/nothing/of/the/kind");
    const text = ours(await read());
    const values = [...text.matchAll(/="([^"]*)"/g)].map(([, value = ""]) => value);
    const ids = /[0-9a-f]{8}-?[0-9a-f]{4}|acc_|@|127\.0\.0\.1|localhost|secretword|nothing|user1/;
    expect(values.filter((value) => ids.test(value))).toEqual([]);
    const labels = new Set([...text.matchAll(/[{,](\w+)="/g)].map(([, name]) => name));
    const known = [
      "class",
      "direction",
      "kind",
      "le",
      "method",
      "node",
      "op",
      "proto",
      "reason",
      "result",
      "route",
      "state",
      "status",
      "trigger",
      "verb",
      "version",
    ];
    expect([...labels].filter((name) => !known.includes(name ?? ""))).toEqual([]);
    const series = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    expect(series.length).toBeLessThan(3_000);
    for (const { name } of declared) expect(name).toMatch(/^samebox_[a-z]+(_[a-z]+)*$/);
  });

  test("have a port of their own, which knows nothing else but health", async () => {
    expect((await daemon.call("GET", "/metrics")).status).toBe(404);
    const metricsUrl = String(daemon.lines.find((line) => line["msg"] === "api listening")?.["metricsUrl"]);
    for (const path of ["/livez", "/readyz"]) expect((await fetch(metricsUrl + path)).status).toBe(200);
    for (const path of ["/v1/accounts", "/openapi.json", "/docs"]) expect((await fetch(metricsUrl + path)).status).toBe(404);
  });
});
