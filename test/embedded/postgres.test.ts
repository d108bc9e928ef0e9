import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, readdir, readFile, readlink, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { findBinaries } from "../../src/embedded/binaries.ts";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "../../src/embedded/postgres.ts";
import { chooseRunner } from "../../src/embedded/runner.ts";
import { createLogger } from "../../src/telemetry/log.ts";
import { queryOnce } from "../support/database-server.ts";
import { eventually } from "../support/eventually.ts";
import { makeServerFolder } from "../support/run-folder.ts";

const asRoot = process.getuid?.() === 0;
const log = createLogger({ level: "silent" });
const holdingDaemon = fileURLToPath(new URL("holding-daemon.ts", import.meta.url));

/** A data directory whose cluster is made and at rest. */
let pristine: string;
let dataDir: string;
let running: EmbeddedPostgres[] = [];
let children: ChildProcess[] = [];

const start = async (dir = dataDir): Promise<EmbeddedPostgres> => {
  const server = await startEmbeddedPostgres({ dataDir: dir, log });
  running.push(server);
  return server;
};

/** Processes that work below `dir`. */
const processesIn = async (dir: string): Promise<number[]> => {
  const found: number[] = [];
  for (const pid of await readdir("/proc"))
    if (/^\d+$/.test(pid) && (await readlink(`/proc/${pid}/cwd`).catch(() => "")).startsWith(dir)) found.push(Number(pid));
  return found;
};

const postmasterIn = async (dir: string): Promise<number> =>
  Number.parseInt(await readFile(join(dir, "postgres", "postmaster.pid"), "utf8"), 10);

const spawnDaemon = (dir = dataDir): ChildProcess => {
  const child = spawn(process.execPath, [holdingDaemon, dir], { stdio: ["ignore", "pipe", "ignore"] });
  children.push(child);
  return child;
};

const firstLine = async (child: ChildProcess): Promise<string> => {
  if (child.stdout === null) throw new Error("no output to read");
  for await (const line of createInterface({ input: child.stdout })) return line;
  throw new Error("it ended without a word");
};

const kill = async (child: ChildProcess): Promise<void> => {
  const gone = once(child, "exit");
  child.kill("SIGKILL");
  await gone;
};

const answer = async (url: string): Promise<unknown> => (await queryOnce<{ n: number }>(url, "select 1 as n"))[0]?.n;

beforeAll(async () => {
  pristine = await makeServerFolder("embedded");
  await (await startEmbeddedPostgres({ dataDir: pristine, log })).stop();
  return () => rm(pristine, { recursive: true });
});

beforeEach(async () => {
  running = [];
  children = [];
  dataDir = await makeServerFolder("embedded");
  await cp(pristine, dataDir, { recursive: true });
});

afterEach(async () => {
  for (const child of children) child.kill("SIGKILL");
  await Promise.all(running.map((server) => server.stop()));
  await eventually("nothing works in the folder", async () => (await processesIn(dataDir)).length === 0);
  await rm(dataDir, { recursive: true });
});

describe("the embedded PostgreSQL", () => {
  it("serves a UTF-8 database on the loopback, durably, and only to who knows the password", async () => {
    const { url } = await start();
    const names = ["server_encoding", "listen_addresses", "unix_socket_directories", "fsync", "synchronous_commit", "TimeZone"];
    const rows = await queryOnce<{ name: string; setting: string }>(
      url,
      "select name, setting from pg_settings where name = any($1)",
      [names],
    );
    expect(Object.fromEntries(rows.map(({ name, setting }) => [name, setting]))).toEqual({
      server_encoding: "UTF8",
      listen_addresses: "127.0.0.1",
      unix_socket_directories: "",
      fsync: "on",
      synchronous_commit: "on",
      TimeZone: "UTC",
    });
    const collation = await queryOnce(url, "select datname, datcollate from pg_database where datname = current_database()");
    expect(collation).toEqual([{ datname: "samebox", datcollate: "C" }]);
    const guess = new URL(url);
    guess.password = "wrong";
    await expect(queryOnce(guess.href, "select 1")).rejects.toThrow(/password authentication failed/);
    expect(Number(guess.port)).toBeLessThan(32_768);
    expect((await stat(join(dataDir, "postgres-password"))).mode & 0o777).toBe(0o600);
  });

  it("finds its data and its address again after a stop that left nothing running", async () => {
    const first = await start();
    await queryOnce(first.url, "create table mail as select 42 as n");
    await first.stop();
    await first.stop();
    expect(await processesIn(dataDir)).toEqual([]);
    expect(await readdir(join(dataDir, "postgres"))).not.toContain("postmaster.pid");
    const second = await start();
    expect(second.url).toBe(first.url);
    expect(await queryOnce(second.url, "select n from mail")).toEqual([{ n: 42 }]);
  });

  it("takes another port when its own is taken", async () => {
    const port = Number(await readFile(join(dataDir, "postgres-port"), "utf8"));
    const squatter = createServer().listen(port, "127.0.0.1");
    await once(squatter, "listening");
    try {
      await expect(startEmbeddedPostgres({ dataDir, port, log })).rejects.toThrow(`Port ${port} of 127.0.0.1 is taken.`);
      const { url } = await start();
      expect(new URL(url).port).not.toBe(String(port));
      expect(await answer(url)).toBe(1);
    } finally {
      squatter.close();
    }
  });

  it("refuses a second daemon in one line and leaves the first alone", async () => {
    const { url } = await start();
    const refusal = await startEmbeddedPostgres({ dataDir, log }).catch((error: Error) => error.message);
    expect(refusal).toBe(
      `Another Samebox (process ${process.pid}) uses the data directory ${dataDir}. Stop it, or set SAMEBOX_DATA_DIR to a directory of its own.`,
    );
    expect(await answer(url)).toBe(1);
  });

  it("learns the password anew when its file is lost", async () => {
    await rm(join(dataDir, "postgres-password"));
    expect(await answer((await start()).url)).toBe(1);
  });

  it("refuses the cluster of another major version in one line", async () => {
    await writeFile(join(dataDir, "postgres", "PG_VERSION"), "17\n");
    await expect(start()).rejects.toThrow(/made by PostgreSQL 17, and this Samebox brings PostgreSQL 18\./);
  });

  it("names DATABASE_URL where there are no programs for the platform", async () => {
    await expect(findBinaries("plan9-x64")).rejects.toThrow(
      /^There is no embedded PostgreSQL for plan9-x64 here\. Set DATABASE_URL/,
    );
  });

  it("is not reached by the terminal's Ctrl-C", async () => {
    await start();
    const pid = await postmasterIn(dataDir);
    const session = (await readFile(`/proc/${pid}/stat`, "utf8")).split(") ")[1]?.split(" ")[3];
    expect(Number(session)).toBe(pid);
  });
});

describe.runIf(asRoot)("started by root", () => {
  it("runs as the owner of the cluster, an ordinary user, and without rights", async () => {
    await start();
    const status = await readFile(`/proc/${await postmasterIn(dataDir)}/status`, "utf8");
    const uid = /^Uid:\t(\d+)/m.exec(status)?.[1];
    expect(uid).not.toBe("0");
    expect(Number(uid)).toBe((await stat(join(dataDir, "postgres"))).uid);
    expect(/^CapEff:\t(\w+)/m.exec(status)?.[1]).toBe("0000000000000000");
  });

  it("also serves a directory that only root may enter, from its making to its restart", async () => {
    const closed = join(dataDir, "closed");
    await mkdir(closed, { mode: 0o700 });
    const server = await start(join(closed, "data"));
    expect(await answer(server.url)).toBe(1);
    await server.stop();
    expect(await answer((await start(join(closed, "data"))).url)).toBe(1);
  });
});

describe("after a crash", () => {
  it("a killed server comes back at its address while the daemon lives on", async () => {
    const { url } = await start();
    await queryOnce(url, "create table mail as select 42 as n");
    process.kill(await postmasterIn(dataDir), "SIGKILL");
    await eventually("the server is back", () => queryOnce(url, "select n from mail"));
  });

  it("a killed daemon takes the server with it and leaves the directory free at once", async () => {
    const daemon = spawnDaemon();
    await queryOnce(await firstLine(daemon), "create table mail as select 42 as n");
    await kill(daemon);
    const { url } = await start();
    expect(await queryOnce(url, "select n from mail")).toEqual([{ n: 42 }]);
  });

  it("a killed daemon leaves no server behind, without any help", async () => {
    const daemon = spawnDaemon();
    await firstLine(daemon);
    await kill(daemon);
    await eventually("the server has ended", async () => (await processesIn(dataDir)).length === 0);
  });

  it("everything killed at once starts again on the same directory", async () => {
    const daemon = spawnDaemon();
    const url = await firstLine(daemon);
    await queryOnce(url, "create table mail as select 42 as n");
    for (const pid of [daemon.pid ?? 0, ...(await processesIn(dataDir))]) process.kill(pid, "SIGKILL");
    expect(await queryOnce((await start()).url, "select n from mail")).toEqual([{ n: 42 }]);
  });

  it("a server that outlived its daemon is ended before the next one starts", async () => {
    // The copied cluster gets its owner by a first start.
    await (await start()).stop();
    const port = (await readFile(join(dataDir, "postgres-port"), "utf8")).trim();
    const { postgres } = await findBinaries();
    const args = [
      "-D",
      join(dataDir, "postgres"),
      "-p",
      port,
      "-c",
      "listen_addresses=127.0.0.1",
      "-c",
      "unix_socket_directories=",
    ];
    const { runner } = await chooseRunner({ postgres, dataDir, cluster: join(dataDir, "postgres") });
    const [file = "", ...wrapped] = runner.wrap([postgres, ...args], "KILL");
    const old = spawn(file, wrapped, { cwd: "/", stdio: "ignore" });
    children.push(old);
    const ended = once(old, "exit");
    const line = await eventually("the old server is up", async () => {
      const lines = (await readFile(join(dataDir, "postgres", "postmaster.pid"), "utf8")).split("\n");
      return lines[7]?.trim() === "ready" && lines[0];
    });
    expect(Number(line)).toBe(old.pid);
    const { url } = await start();
    expect(await ended).toEqual([0, null]);
    expect(await answer(url)).toBe(1);
    expect(await postmasterIn(dataDir)).not.toBe(old.pid);
  });

  it("a pid file with the number of a stranger neither stops the start nor harms the stranger", async () => {
    const stranger = spawn("sleep", ["1000"], { stdio: "ignore" });
    children.push(stranger);
    const pidFile = [stranger.pid, join(dataDir, "postgres"), 0, 1, "", "127.0.0.1", 0, "ready"];
    await writeFile(join(dataDir, "postgres", "postmaster.pid"), `${pidFile.join("\n")}\n`);
    expect(await answer((await start()).url)).toBe(1);
    expect(stranger.exitCode).toBeNull();
    expect(stranger.signalCode).toBeNull();
  });

  it("a cluster that was killed while it was made is made anew", async () => {
    const drafts = async (): Promise<string[]> => (await readdir(dataDir)).filter((name) => name.startsWith("postgres.new-"));
    await rm(join(dataDir, "postgres"), { recursive: true });
    const daemon = spawnDaemon();
    const [draft = ""] = await eventually("initdb has begun", async () => {
      const found = await drafts();
      return found.length > 0 && found;
    });
    await eventually("initdb writes", async () => (await readdir(join(dataDir, draft))).includes("cluster"));
    await kill(daemon);
    expect(await readdir(dataDir)).not.toContain("postgres");
    expect(await answer((await start()).url)).toBe(1);
    expect(await drafts()).toEqual([]);
  });
});
