/** Secrets that the first start makes and later starts find: files of mode 0600 in the data directory. */
import { link, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

export interface KeptSecret {
  readonly secret: string;
  /** True when this call made it. */
  readonly made: boolean;
  readonly path: string;
}

/** Reads the secret `name`, or makes and keeps one. Two daemons that start at once agree on one; a crash leaves none by halves. */
export const keepSecret = async (dataDir: string, name: string, make: () => string): Promise<KeptSecret> => {
  const path = join(dataDir, name);
  const read = async (): Promise<string> => (await readFile(path, "utf8")).trim();
  try {
    return { secret: await read(), made: false, path };
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
  }
  await mkdir(dataDir, { recursive: true });
  const draft = `${path}.${process.pid}.new`;
  const secret = make();
  await writeFile(draft, `${secret}\n`, { mode: 0o600, flush: true });
  try {
    // link, unlike rename, never replaces what another process has just put there.
    await link(draft, path);
    return { secret, made: true, path };
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
    return { secret: await read(), made: false, path };
  } finally {
    await rm(draft, { force: true });
  }
};
