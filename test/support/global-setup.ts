/** Runs once around all test files: a folder for the servers of the run, a desk that opens a database, a search for leftovers. */
import { mkdtemp, readdir, readFile, readlink, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { openDatabaseDesk } from "./database-server.ts";
import { eventually } from "./eventually.ts";
import { runFolderVariable } from "./run-folder.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** Path of the socket where a worker learns of the database server. */
    databaseDesk: string;
  }
}

/** Processes that were started in the folder of the run, or with a path in it; none where /proc does not tell. */
const processesIn = async (folder: string): Promise<string[]> => {
  const found: string[] = [];
  for (const pid of await readdir("/proc").catch(() => [])) {
    if (!/^\d+$/.test(pid)) continue;
    const command = (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).replaceAll("\0", " ");
    const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => "");
    if (Number(pid) !== process.pid && (command.includes(folder) || cwd.startsWith(folder))) found.push(`${pid} ${command}`);
  }
  return found;
};

/** Called by vitest before the first test file; what it returns, after the last. */
export const setup = async (project: TestProject): Promise<() => Promise<void>> => {
  const folder = await mkdtemp(join(tmpdir(), "samebox-test-"));
  process.env[runFolderVariable] = folder;
  const socketPath = join(folder, "database-desk");
  const desk = await openDatabaseDesk(socketPath);
  project.provide("databaseDesk", socketPath);
  return async () => {
    await desk.close();
    let left: string[] = [];
    // Guards of workers that have just ended may still be cleaning up.
    const clean = async (): Promise<boolean> => (left = await processesIn(folder)).length === 0;
    const quiet = await eventually("all servers have ended", clean).catch(() => false);
    await rm(folder, { recursive: true, force: true });
    if (!quiet) throw new Error(`the tests left these running:\n${left.join("\n")}`);
  };
};
