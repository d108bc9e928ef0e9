/** The one folder of a test run. Every server of the run lives below it, so that a leftover can be told from a stranger. */
import { mkdtempSync } from "node:fs";
import { chmod, mkdir, mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Set by the global set-up; workers inherit it. */
export const runFolderVariable = "SAMEBOX_TEST_RUN";

/** A run without the global set-up (a script, a REPL) gets a folder of its own. */
const runFolder = (): string => (process.env[runFolderVariable] ??= mkdtempSync(join(tmpdir(), "samebox-test-")));

/** Where Node keeps what it made of our source, so that every daemon of the run but the first starts in half the time. */
export const compiledFolder = (): string => join(runFolder(), "compiled");

/** Makes an empty folder for one server; other users of the machine may enter it, because servers drop their rights. */
export const makeServerFolder = async (kind: string): Promise<string> => {
  const run = runFolder();
  await mkdir(run, { recursive: true });
  await chmod(run, 0o755);
  const folder = await mkdtemp(join(run, `${kind}-`));
  await chmod(folder, 0o755);
  return folder;
};
