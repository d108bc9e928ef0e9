import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";

export interface DataLock {
  /** Harmless when repeated. */
  release(): void;
}

/** A daemon that was killed just now may need a moment to be gone. */
const patienceSeconds = 2;
const conflict = 75;

/** Locks the open file behind `fd`. The lock belongs to the open file, not to the program that set it, and stays with ours. */
const lockOpenFile = async (fd: number): Promise<number> => {
  const args = ["--exclusive", "--timeout", String(patienceSeconds), "--conflict-exit-code", String(conflict), "3"];
  const child = spawn("flock", args, { stdio: ["ignore", "ignore", "ignore", fd] });
  const [code] = (await once(child, "exit")) as [number | null];
  return code ?? -1;
};

/**
 * Takes the data directory for this process. The kernel keeps the lock (flock), so that it ends with the process however
 * that dies, and no number of a dead process is ever taken for a living daemon.
 * Other systems than Linux have no flock program: there PostgreSQL's own lock file has to do.
 * @throws Error in one line when another process has it.
 */
export const lockDataDir = async (dataDir: string): Promise<DataLock> => {
  if (process.platform !== "linux") return { release: () => undefined };
  const path = join(dataDir, "postgres.lock");
  // A bare number: a FileHandle would be closed, and the lock lost, once nobody holds the object.
  const fd = openSync(path, "a+", 0o600);
  let held = true;
  const release = (): void => {
    if (held) closeSync(fd);
    held = false;
  };
  try {
    const code = await lockOpenFile(fd);
    if (code === conflict) {
      const holder = readFileSync(path, "utf8").trim();
      throw new Error(
        `Another Samebox (process ${holder}) uses the data directory ${dataDir}. Stop it, or set SAMEBOX_DATA_DIR to a directory of its own.`,
      );
    }
    if (code !== 0)
      throw new Error(
        `The data directory ${dataDir} cannot be locked (flock ended with ${code}). Set DATABASE_URL to do without it.`,
      );
    ftruncateSync(fd);
    writeSync(fd, `${process.pid}\n`);
    return { release };
  } catch (error) {
    release();
    if (error instanceof Error && "code" in error && error.code === "ENOENT")
      throw new Error(
        "The embedded PostgreSQL needs the program flock (Debian package util-linux). Install it, or set DATABASE_URL.",
        { cause: error },
      );
    throw error;
  }
};
