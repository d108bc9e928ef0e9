/** As whom the programs of PostgreSQL run, which refuse to run as root, and how they learn that the daemon has died. */
import { readFile, stat } from "node:fs/promises";
import { runProgram } from "./program.ts";

interface Owner {
  readonly uid: number;
  readonly gid: number;
}

export interface Runner {
  /** Whose the cluster's files must be; null: ours already. */
  readonly owner: Owner | null;
  /** The command as this runner starts it. When this process dies, however, the kernel sends it `onDeath`, where it can. */
  wrap(command: readonly string[], onDeath: "INT" | "KILL"): string[];
}

/** The owner of an existing cluster, so that a later start never changes it; else an ordinary user of the machine. */
const ordinaryUser = async (cluster: string): Promise<Owner> => {
  const made = await stat(cluster).catch(() => null);
  if (made !== null && made.uid !== 0) return made;
  const passwd = await readFile("/etc/passwd", "utf8").catch(() => "");
  for (const name of ["postgres", "nobody"]) {
    const [, , uid, gid] =
      passwd
        .split("\n")
        .find((line) => line.startsWith(`${name}:`))
        ?.split(":") ?? [];
    if (uid !== undefined && gid !== undefined) return { uid: Number(uid), gid: Number(gid) };
  }
  throw new Error(
    "PostgreSQL refuses to run as root, and this machine has no user postgres or nobody. Start as another user, or set DATABASE_URL.",
  );
};

/**
 * A right to pass folders that only root may enter (a checkout below /root), kept across the change of user. Without the
 * secure bit access(2), which PostgreSQL asks about its own programs, would not count it.
 */
const passing = (capability: string): string[] => [
  `--inh-caps=+${capability}`,
  `--ambient-caps=+${capability}`,
  "--securebits=+no_setuid_fixup",
];

const asUser = (owner: Owner | null, rights: readonly string[] = []): Runner => {
  const change = owner === null ? [] : [`--reuid=${owner.uid}`, `--regid=${owner.gid}`, "--clear-groups"];
  return { owner, wrap: (command, onDeath) => ["setpriv", `--pdeathsig=${onDeath}`, ...change, ...rights, ...command] };
};

const plain: Runner = { owner: null, wrap: (command) => [...command] };

/** Least rights first. Containers often grant the override and not the right to search. */
const candidates = async (cluster: string): Promise<Runner[]> => {
  if (process.getuid?.() !== 0) return process.platform === "linux" ? [asUser(null), plain] : [plain];
  const owner = await ordinaryUser(cluster);
  return [asUser(owner), asUser(owner, passing("dac_read_search")), asUser(owner, passing("dac_override"))];
};

/**
 * The first way that can both run `postgres` and reach `dataDir`; with it, the major version of that `postgres`.
 * @throws Error in one line that says why none can.
 */
export const chooseRunner = async (options: {
  readonly postgres: string;
  readonly dataDir: string;
  readonly cluster: string;
}): Promise<{ runner: Runner; major: number }> => {
  const { postgres, dataDir, cluster } = options;
  const probe = ["sh", "-c", 'cd "$2" && exec "$1" --version', "probe", postgres, dataDir];
  const reasons: string[] = [];
  let cause: unknown;
  for (const runner of await candidates(cluster))
    try {
      const answer = await runProgram(runner.wrap(probe, "KILL"));
      const major = /\(PostgreSQL\) (\d+)/.exec(answer)?.[1];
      if (major !== undefined) return { runner, major: Number(major) };
      reasons.push(`it calls itself ${answer.trim()}`);
    } catch (error) {
      cause = error;
      reasons.push(error instanceof Error ? error.message : String(error));
    }
  throw new Error(
    `The embedded PostgreSQL cannot be run: ${[...new Set(reasons)].join("; ")}. Set DATABASE_URL to do without it.`,
    { cause },
  );
};
