/** Processor time of the daemon and of the servers it leans on: what a run costs, whoever else is at work on the machine. */
import { readdir, readFile } from "node:fs/promises";
import { availableParallelism } from "node:os";

/** Linux counts in ticks of this many ms (USER_HZ is 100 wherever Node.js runs). */
const tickMs = 10;

interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly name: string;
  /** Its own and of the children that have ended, in seconds. */
  readonly seconds: number;
}

/** `/proc/<pid>/stat` (proc(5)): the name stands in brackets and may hold anything. */
const parse = (pid: number, stat: string): Process => {
  const end = stat.lastIndexOf(")");
  const fields = stat.slice(end + 2).split(" ");
  const ticks = [11, 12, 13, 14].reduce((sum, at) => sum + Number(fields[at]), 0);
  return { pid, parent: Number(fields[1]), name: stat.slice(stat.indexOf("(") + 1, end), seconds: (ticks * tickMs) / 1000 };
};

const processes = async (): Promise<Process[]> => {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
  const read = await Promise.all(
    pids.map(async (pid) => {
      // It may have ended meanwhile.
      const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => null);
      return stat === null ? null : parse(pid, stat);
    }),
  );
  return read.filter((process) => process !== null);
};

export type Part = "daemon" | "postgres" | "redis" | "mailServer";

/** What descends from a benchmark is told apart by its name; what Dovecot is made of has many. */
const partOf = (name: string): Part => {
  if (name === "node" || name === "MainThread") return "daemon";
  if (name === "postgres") return "postgres";
  return name === "redis-server" ? "redis" : "mailServer";
};

export type ProcessorSeconds = Readonly<Record<Part, number>>;

/** Used so far by all that this benchmark has started and that still runs, in seconds. */
export const processorSeconds = async (): Promise<ProcessorSeconds> => {
  const all = await processes();
  const parents = new Map(all.map(({ pid, parent }) => [pid, parent]));
  const isOurs = (pid: number): boolean => {
    let at: number | undefined = parents.get(pid);
    while (at !== undefined && at !== process.pid) at = parents.get(at);
    return at !== undefined;
  };
  const sums = { daemon: 0, postgres: 0, redis: 0, mailServer: 0 };
  for (const { pid, name, seconds } of all) if (isOurs(pid)) sums[partOf(name)] += seconds;
  return sums;
};

export const usedSince = (before: ProcessorSeconds, now: ProcessorSeconds): ProcessorSeconds => ({
  daemon: now.daemon - before.daemon,
  postgres: now.postgres - before.postgres,
  redis: now.redis - before.redis,
  mailServer: now.mailServer - before.mailServer,
});

/** A run that needs so much processor time cannot be shorter on this machine, in seconds. */
export const leastSeconds = (used: ProcessorSeconds): number =>
  Object.values(used).reduce((sum, seconds) => sum + seconds, 0) / availableParallelism();
