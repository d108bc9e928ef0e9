/** The cluster on disk: made once, whole or not at all. */
import { chmod, chown, mkdtemp, open, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "../telemetry/log.ts";
import type { Binaries } from "./binaries.ts";
import { runProgram } from "./program.ts";
import type { Runner } from "./runner.ts";

export const superuser = "samebox";
export const database = "samebox";

const draftPrefix = "postgres.new-";

export interface ClusterPlan {
  /** A real path, locked by the caller. */
  readonly dataDir: string;
  /** Where the cluster is, or will be, inside it. */
  readonly cluster: string;
  readonly binaries: Binaries;
  /** The major version of these binaries. */
  readonly major: number;
  readonly runner: Runner;
  /** Of characters that need no quotes in SQL. */
  readonly password: string;
  /** True when no earlier start can have given this password to the cluster. */
  readonly passwordIsNew: boolean;
  readonly log: Logger;
}

/** One statement by PostgreSQL's single-user mode: no port, no password, nobody else. */
const runAlone = async (plan: ClusterPlan, cluster: string, statement: string): Promise<void> => {
  const command = [plan.binaries.postgres, "--single", "-D", cluster, "-c", "exit_on_error=on", "postgres"];
  await runProgram(plan.runner.wrap(command, "KILL"), `${statement}\n`);
};

const give = async (path: string, runner: Runner): Promise<void> => {
  if (runner.owner !== null) await chown(path, runner.owner.uid, runner.owner.gid);
};

const giveAll = async (folder: string, runner: Runner): Promise<void> => {
  await give(folder, runner);
  for (const entry of await readdir(folder, { recursive: true })) await give(join(folder, entry), runner);
};

const syncFolder = async (path: string): Promise<void> => {
  const folder = await open(path);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
};

/** Makes the cluster in a folder of its own and moves it into place when it is whole: a crash leaves only that folder. */
const makeCluster = async (plan: ClusterPlan): Promise<void> => {
  const { dataDir, cluster, binaries, runner, log } = plan;
  log.info({ dir: cluster }, "making a database");
  const draft = await mkdtemp(join(dataDir, draftPrefix));
  try {
    await give(draft, runner);
    const passwordFile = join(draft, "password");
    await writeFile(passwordFile, `${plan.password}\n`, { mode: 0o600 });
    await give(passwordFile, runner);
    const made = join(draft, "cluster");
    const access = [`--username=${superuser}`, `--pwfile=${passwordFile}`, "--auth-local=reject", "--auth-host=scram-sha-256"];
    const text = ["--encoding=UTF8", "--locale-provider=libc", "--locale=C", "--no-instructions"];
    await runProgram(runner.wrap([binaries.initdb, `--pgdata=${made}`, ...access, ...text], "KILL"));
    await runAlone(plan, made, `create database ${database}`);
    await rename(made, cluster);
    await syncFolder(dataDir);
  } catch (cause) {
    const because = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`No database could be made in ${cluster}: ${because}`, { cause });
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
};

const removeDrafts = async (dataDir: string): Promise<void> => {
  const drafts = (await readdir(dataDir)).filter((name) => name.startsWith(draftPrefix));
  for (const name of drafts) await rm(join(dataDir, name), { recursive: true, force: true, maxRetries: 5 });
};

const versionOf = async (cluster: string): Promise<string | null> => {
  try {
    return (await readFile(join(cluster, "PG_VERSION"), "utf8")).trim();
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw error;
  }
};

/**
 * Makes the cluster, or makes sure that the existing one can be served. Nothing may be at work in it.
 * @throws Error in one line when another major version made it, or when it cannot be made.
 */
export const prepareCluster = async (plan: ClusterPlan): Promise<void> => {
  const { cluster, major, runner } = plan;
  await removeDrafts(plan.dataDir);
  const version = await versionOf(cluster);
  if (version === null) {
    await makeCluster(plan);
    return;
  }
  if (version !== String(major))
    throw new Error(
      `The database in ${cluster} was made by PostgreSQL ${version}, and this Samebox brings PostgreSQL ${major}. ` +
        "Start the Samebox that made it, or dump it there and load it into a server named by DATABASE_URL.",
    );
  const { uid } = await stat(cluster);
  if (runner.owner !== null && uid !== runner.owner.uid) await giveAll(cluster, runner);
  const me = process.getuid?.();
  if (runner.owner === null && me !== undefined && uid !== me)
    throw new Error(
      `The database in ${cluster} belongs to user ${uid}, and this is user ${me}. Start as root or as that user, or give it to this user.`,
    );
  // A copy or a restored backup may have wider rights, which PostgreSQL refuses.
  await chmod(cluster, 0o700);
  if (plan.passwordIsNew) await runAlone(plan, cluster, `alter role ${superuser} password '${plan.password}'`);
};
