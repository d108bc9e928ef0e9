/**
 * Where large messages lie while they are read: a folder for each process, below one root that several daemons may share,
 * on one machine or on several. A crash leaves its folder behind; who opens one an hour later removes it.
 */
import { mkdir, mkdtemp, readdir, rm, stat, utimes } from "node:fs/promises";
import { join } from "node:path";

export interface SpoolFolder {
  /** Ours alone, readable by our user only. */
  readonly dir: string;
  /** With all that is in it. */
  remove(): Promise<void>;
}

const prefix = "process-";
/** The owner touches its folder while it lives. Numbers of processes would say nothing across machines and containers. */
const touchMs = 5 * 60_000;
const abandonedMs = 3_600_000;

/** Makes a folder for this process, after removing those nobody has touched for an hour. */
export const openSpoolFolder = async (root: string): Promise<SpoolFolder> => {
  await mkdir(root, { recursive: true, mode: 0o700 });
  const names = (await readdir(root)).filter((name) => name.startsWith(prefix));
  for (const name of names) {
    const path = join(root, name);
    // Another daemon may be removing the same one.
    const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Number.POSITIVE_INFINITY }));
    if (Date.now() - mtimeMs > abandonedMs) await rm(path, { recursive: true, force: true });
  }
  const dir = await mkdtemp(join(root, prefix));
  const touching = setInterval(() => {
    const now = new Date();
    utimes(dir, now, now).catch(() => undefined);
  }, touchMs).unref();
  return {
    dir,
    remove: () => {
      clearInterval(touching);
      return rm(dir, { recursive: true, force: true });
    },
  };
};
