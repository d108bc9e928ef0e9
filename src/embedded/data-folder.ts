/** The directory in which everything lies that a start finds again. */
import { mkdir, stat } from "node:fs/promises";
import { dirname } from "node:path";

const isCode = (error: unknown, code: string): boolean => error instanceof Error && "code" in error && error.code === code;

/** Node's own way of making parents, too, never ends where a file system lets nobody make one (seen on Node 24.21 with /proc). */
const makeWithParents = async (folder: string): Promise<void> => {
  try {
    await mkdir(folder);
  } catch (error) {
    if (isCode(error, "EEXIST") && (await stat(folder)).isDirectory()) return;
    const parent = dirname(folder);
    if (!isCode(error, "ENOENT") || parent === folder || (await isThere(parent))) throw error;
    await makeWithParents(parent);
    await mkdir(folder);
  }
};

const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

/** @throws Error that names the setting, where the directory is not there and cannot be made. */
export const makeDataFolder = async (folder: string): Promise<void> => {
  try {
    await makeWithParents(folder);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`The data directory ${folder} cannot be made (${reason}). Set SAMEBOX_DATA_DIR to one that can.`, { cause });
  }
};
