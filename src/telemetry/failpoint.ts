/**
 * Numbered steps for crash tests: with a step number set, the process kills itself with SIGKILL when it gets there, so
 * that a test can stop the daemon at every step of a pass and compare what it recovers to. Inert otherwise.
 */
import { writeSync } from "node:fs";

let remaining = Number.POSITIVE_INFINITY;
let counted = 0;
let watcher: (name: string) => void = () => undefined;

/** Kill at the `n`-th step from now (1 is the next); null disarms. */
export const armFailpoint = (n: number | null): void => {
  remaining = n ?? Number.POSITIVE_INFINITY;
  counted = 0;
};

/** Calls `watch` at every step, in place of a kill; what it throws ends the pass there. For a simulation within one process. */
export const watchSteps = (watch: (name: string) => void): void => {
  watcher = watch;
};

/** A place where a crash must cost time and nothing else. */
export const step = (name: string): void => {
  watcher(name);
  counted += 1;
  remaining -= 1;
  if (remaining > 0) return;
  writeSync(process.stderr.fd, `failpoint: killed at step ${counted}, ${name}\n`);
  process.kill(process.pid, "SIGKILL");
};
