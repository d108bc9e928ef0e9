/**
 * Where large messages lie while they are read: a folder for each process, below one root that several daemons may share.
 * A crash leaves its folder behind; who opens one later removes it.
 */
import { mkdir, mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";

export interface SpoolFolder {
  /** Ours alone, readable by our user only. */
  readonly dir: string;
  /** With all that is in it. */
  remove(): Promise<void>;
}

/** No message takes that long to read: an older folder of another host has no owner any more. */
const abandonedMs = 24 * 3_600_000;

const lives = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // A process of another user lives, too.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
};

/** A process of our number on this host was an earlier one: in a container, every start has the same number. */
const isAbandoned = async (root: string, name: string): Promise<boolean> => {
  const [, host, pid] = /^(.+)_([0-9]+)_[^_]+$/.exec(name) ?? [];
  if (host === undefined) return false;
  if (host === hostname() && (Number(pid) === process.pid || !lives(Number(pid)))) return true;
  const { mtimeMs } = await stat(join(root, name));
  return Date.now() - mtimeMs > abandonedMs;
};

/** Makes a folder for this process, after removing those whose process has ended. Call it once in a process and root. */
export const openSpoolFolder = async (root: string): Promise<SpoolFolder> => {
  await mkdir(root, { recursive: true, mode: 0o700 });
  for (const name of await readdir(root))
    // Another daemon may be removing the same one.
    if (await isAbandoned(root, name).catch(() => false)) await rm(join(root, name), { recursive: true, force: true });
  const dir = await mkdtemp(join(root, `${hostname()}_${process.pid}_`));
  return { dir, remove: () => rm(dir, { recursive: true, force: true }) };
};
