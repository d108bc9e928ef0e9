import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { setTimeout as pause } from "node:timers/promises";
import type { Logger } from "../telemetry/log.ts";
import { programEnv, tellingLine } from "./program.ts";
import type { Runner } from "./runner.ts";

export interface ServerPlan {
  readonly postgres: string;
  readonly cluster: string;
  readonly runner: Runner;
  readonly port: number;
  readonly log: Logger;
  /** Ends a server that is still starting. */
  readonly signal: AbortSignal;
}

export interface ServerProcess {
  /** Why it ended, in a few words; never rejects. */
  readonly ended: Promise<string>;
  /** Waits a moment for its clients to leave, then ends their connections; by force after 10 s. Harmless when repeated. */
  stop(): Promise<void>;
}

/** Another program listens on the port. */
export class PortTaken extends Error {
  override readonly name = "PortTaken";
}

/** Recovery after a crash replays at most `max_wal_size` of log. */
const startMs = 600_000;
/** A pool that has just been closed still has its goodbyes on the way; cut off, it would complain of a lost connection. */
const goodbyeMs = 500;
const stopMs = 10_000;
const lastLinesMs = 300;
const keptLines = 20;

const settings: Readonly<Record<string, string>> = {
  listen_addresses: "127.0.0.1",
  unix_socket_directories: "",
  max_connections: "200",
  fsync: "on",
  synchronous_commit: "on",
  shared_buffers: "256MB",
  wal_buffers: "16MB",
  wal_compression: "off",
  max_wal_size: "4GB",
  checkpoint_timeout: "15min",
  random_page_cost: "1.1",
  timezone: "UTC",
  // The client hears of its errors; their details could carry mail into the log.
  log_min_messages: "log",
  log_min_error_statement: "panic",
  log_error_verbosity: "terse",
  log_line_prefix: "",
  log_timezone: "UTC",
};

/** Reads what the server says: calls `onReady` at its word, keeps the last lines, passes on the grave ones. */
const listen = (stream: Readable, log: Logger, onReady: () => void): readonly string[] => {
  const lines: string[] = [];
  createInterface({ input: stream }).on("line", (line) => {
    if (line.includes("database system is ready to accept connections")) onReady();
    lines.push(line);
    if (lines.length > keptLines) lines.shift();
    if (/^(?:FATAL|PANIC):/.test(line)) log.warn({ line }, "postgres says");
    else log.debug({ line }, "postgres says");
  });
  return lines;
};

const watchEnd = (child: ChildProcess): Promise<string> =>
  new Promise((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, signal) => {
      const how = signal ?? `exit code ${String(code)}`;
      // Its last lines, which tell why, may still be on their way; orphans of a killed server may hold the pipe for longer.
      const late = setTimeout(() => resolve(how), lastLinesMs);
      child.once("close", () => {
        clearTimeout(late);
        resolve(how);
      });
    });
  });

const endsWithin = async (ended: Promise<string>, ms: number): Promise<boolean> => {
  const timer = new AbortController();
  const late = pause(ms, "late", { signal: timer.signal }).catch(() => "");
  const first = await Promise.race([ended.then(() => "ended"), late]);
  timer.abort();
  return first === "ended";
};

/**
 * Starts the server, in a session of its own so that Ctrl-C in the terminal reaches only the daemon, and waits until it
 * takes connections.
 * @throws PortTaken; Error in one line when it ends instead, or is not ready after 10 minutes.
 */
export const launchServer = async (plan: ServerPlan): Promise<ServerProcess> => {
  const { postgres, cluster, runner, port, log, signal } = plan;
  const flags = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const [file = "", ...args] = runner.wrap([postgres, "-D", cluster, "-p", String(port), ...flags], "INT");
  const child = spawn(file, args, { cwd: "/", env: programEnv, detached: true, stdio: ["ignore", "ignore", "pipe"] });
  const ended = watchEnd(child);
  const ready = Promise.withResolvers<"ready">();
  const lines = listen(child.stderr, log, () => ready.resolve("ready"));
  const stop = async (): Promise<void> => {
    // Smart, fast, by force (PostgreSQL 18, 18.5).
    for (const [kind, patienceMs] of [
      ["SIGTERM", goodbyeMs],
      ["SIGINT", stopMs],
      ["SIGKILL", null],
    ] as const) {
      child.kill(kind);
      if (patienceMs === null || (await endsWithin(ended, patienceMs))) break;
    }
    await ended;
  };
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(startMs)]);
  const gaveUp = new Promise<string>((resolve) => deadline.addEventListener("abort", () => resolve("gave up"), { once: true }));
  const outcome = await Promise.race([ready.promise, ended, gaveUp]);
  if (outcome === "ready") return { ended, stop };
  await stop();
  const output = lines.join("\n");
  if (output.includes("Address already in use")) throw new PortTaken(`Port ${port} of 127.0.0.1 is taken.`);
  throw new Error(`The embedded PostgreSQL did not start: ${tellingLine(output)} (${outcome}).`);
};
