/**
 * Numbered steps for crash tests: with a step number set, the process kills itself with SIGKILL when it gets there, so
 * that a test can stop the daemon at every step of a pass and compare what it recovers to. Inert otherwise.
 */
let remaining = Number.POSITIVE_INFINITY;
let counted = 0;
let onStep: ((name: string, count: number) => void) | null = null;

/** Kill at the `n`-th step from now (1 is the next); null disarms. */
export const armFailpoint = (n: number | null): void => {
  remaining = n ?? Number.POSITIVE_INFINITY;
  counted = 0;
};

/** Is told of every step; for counting them in a dry run. */
export const observeSteps = (listener: ((name: string, count: number) => void) | null): void => {
  onStep = listener;
};

/** A place where a crash must cost time and nothing else. */
export const step = (name: string): void => {
  counted += 1;
  onStep?.(name, counted);
  remaining -= 1;
  if (remaining <= 0) process.kill(process.pid, "SIGKILL");
};
