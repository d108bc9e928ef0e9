/** Processes of PostgreSQL that an earlier daemon left behind. Needs the lock of the data directory: nobody else's may be ended. */
import { readdir, readFile, readlink, rm } from "node:fs/promises";
import { join, sep } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { Logger } from "../telemetry/log.ts";

const politeMs = 10_000;

/**
 * Every PostgreSQL process works in its cluster's folder. That is asked of the kernel, and not of postmaster.pid, whose number
 * may by now belong to a stranger.
 */
const findStrays = async (dataDir: string): Promise<number[]> => {
  const found: number[] = [];
  const look = async (pid: string): Promise<void> => {
    // What has just ended, and what belongs to others, cannot be read.
    const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => "");
    if (!cwd.startsWith(dataDir + sep)) return;
    const name = await readFile(`/proc/${pid}/comm`, "utf8").catch(() => "");
    if (name.trim() === "postgres") found.push(Number(pid));
  };
  const entries = await readdir("/proc");
  await Promise.all(entries.filter((name) => /^\d+$/.test(name)).map(look));
  return found;
};

const signalAll = (pids: readonly number[], signal: NodeJS.Signals): void => {
  for (const pid of pids)
    try {
      process.kill(pid, signal);
    } catch {
      // It ended in between.
    }
};

const goneWithin = async (dataDir: string, ms: number): Promise<boolean> => {
  const deadline = performance.now() + ms;
  while (performance.now() < deadline) {
    if ((await findStrays(dataDir)).length === 0) return true;
    await pause(20);
  }
  return false;
};

const end = async (dataDir: string, strays: readonly number[], pidFile: string): Promise<void> => {
  const postmaster = Number.parseInt(await readFile(pidFile, "utf8").catch(() => ""), 10);
  if (strays.includes(postmaster)) {
    signalAll([postmaster], "SIGINT"); // A fast shutdown; a second one changes nothing.
    if (await goneWithin(dataDir, politeMs)) return;
  }
  signalAll(await findStrays(dataDir), "SIGKILL");
  if (await goneWithin(dataDir, politeMs)) return;
  throw new Error(
    `An old PostgreSQL in ${dataDir} cannot be ended (processes ${(await findStrays(dataDir)).join(", ")}). End it by hand.`,
  );
};

/**
 * Ends what still works in a cluster below `dataDir` (a real path): politely for 10 s, then by force. Afterwards there is no
 * postmaster.pid: PostgreSQL would not start while a stranger has the number in it.
 * @throws Error in one line when something cannot be ended.
 */
export const endStrays = async (dataDir: string, log: Logger): Promise<void> => {
  // Elsewhere there is no /proc to see who works here; PostgreSQL itself then refuses to start a second time.
  if (process.platform !== "linux") return;
  const pidFile = join(dataDir, "postgres", "postmaster.pid");
  const strays = await findStrays(dataDir);
  if (strays.length > 0) {
    log.warn({ count: strays.length }, "ending an embedded PostgreSQL that was left behind");
    await end(dataDir, strays, pidFile);
  }
  await rm(pidFile, { force: true });
};
