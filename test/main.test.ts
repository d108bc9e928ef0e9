/** The daemon as the person at the terminal meets it: how it starts, fails to start, and stops. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Daemon, startDaemon } from "./support/daemon.ts";
import { eventually } from "./support/eventually.ts";

let dataDir = "";
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "samebox-main-"));
});
afterEach(() => rm(dataDir, { recursive: true, force: true, maxRetries: 5 }));

const launch = (env: Record<string, string> = {}): Promise<Daemon> =>
  startDaemon({ dying: true, env: { SAMEBOX_DATA_DIR: dataDir, ...env } });

const messages = (daemon: Daemon): unknown[] => daemon.lines.map((line) => line["msg"]);
const says = (daemon: Daemon, message: string): Promise<true> =>
  eventually(message, () => messages(daemon).includes(message) || undefined, { timeoutMs: 30_000, everyMs: 5 });
/** What it tells people; its output may arrive after the notice of its end, and that of the log after that of the errors. */
const tells = (daemon: Daemon, what: RegExp): Promise<true> =>
  eventually(`${what}`, () => daemon.lines.some((line) => what.test(String(line["text"]))) || undefined, {
    timeoutMs: 30_000,
    everyMs: 5,
  });
const complaints = (daemon: Daemon): unknown[] =>
  daemon.lines.filter((line) => !["info", undefined].includes(line["level"] as string | undefined));

describe("the daemon", () => {
  it("stops without a complaint", async () => {
    await using daemon = await launch();
    await says(daemon, "started");
    daemon.kill("SIGINT");
    await daemon.exited;
    await eventually("stopped", () => messages(daemon).at(-1) === "stopped" || undefined);
    expect(complaints(daemon)).toEqual([]);
  });

  it.each(["making a database", "migration applied"])("stops in order when told so just after %s", async (moment) => {
    await using daemon = await launch();
    await says(daemon, moment);
    daemon.kill("SIGINT");
    await daemon.exited;
    await eventually("stopped", () => messages(daemon).at(-1) === "stopped" || undefined);
    expect(messages(daemon)).not.toContain("started");
    expect(complaints(daemon)).toEqual([]);
  });

  it("says in its last line which settings to change when its port is taken", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    try {
      await eventually("the other program listens", () => other.listening);
      const { port } = other.address() as AddressInfo;
      await using daemon = await launch({ PORT: String(port) });
      expect(await daemon.exited).toBe(1);
      await tells(daemon, new RegExp(`^Samebox did not start: Port ${port} .* set PORT`));
    } finally {
      other.close();
    }
  });

  it("names the setting when the data directory cannot be made", async () => {
    const file = join(dataDir, "file");
    await writeFile(file, "");
    for (const dir of ["/proc/samebox", "/proc/samebox/deeper", file, join(file, "below")]) {
      await using daemon = await launch({ SAMEBOX_DATA_DIR: dir });
      expect(await daemon.exited).toBe(1);
      await tells(daemon, /^Samebox did not start: The data directory .* cannot be made \(E\w+.* Set SAMEBOX_DATA_DIR/);
    }
  });

  it("names the setting when the database is not there", async () => {
    const gone = createServer().listen(0, "127.0.0.1");
    await eventually("the port is known", () => gone.listening);
    const { port } = gone.address() as AddressInfo;
    await new Promise((resolve) => gone.close(resolve));
    await using daemon = await launch({ DATABASE_URL: `postgres://samebox:hidden@127.0.0.1:${port}/samebox` });
    expect(await daemon.exited).toBe(1);
    await tells(daemon, /^Samebox did not start: The PostgreSQL of DATABASE_URL cannot be used: .* Check/);
    expect(JSON.stringify(daemon.lines)).not.toContain("hidden");
  });

  it("shows the operator's key once, at the very first start", async () => {
    const keysShown = async (): Promise<number> => {
      await using daemon = await launch({ SAMEBOX_ADMIN_KEY: "" });
      await says(daemon, "started");
      return daemon.lines.filter((line) => /^\s*sbx_admin_/.test(String(line["text"]))).length;
    };
    expect([await keysShown(), await keysShown()]).toEqual([1, 0]);
  });

  it("reports all faults of the settings at once, with exit code 2", async () => {
    await using daemon = await launch({ PORT: "http", LOG_LEVEL: "loud", SAMEBOX_POL_SECONDS: "5" });
    expect(await daemon.exited).toBe(2);
    expect(daemon.lines.map((line) => String(line["text"]).slice(0, 12))).toEqual([
      "The settings",
      "  - PORT mus",
      "  - LOG_LEVE",
      "  - SAMEBOX_",
    ]);
  });
});
