import { setTimeout as pause } from "node:timers/promises";

/**
 * Asks `probe` again and again until it answers something other than undefined or false; returns the answer.
 * What the probe throws counts as "not yet" and is told when time is up.
 * @throws Error naming `what` after `timeoutMs` (10 s).
 */
export const eventually = async <T>(
  what: string,
  probe: () => T | Promise<T>,
  options: { readonly timeoutMs?: number; readonly everyMs?: number } = {},
): Promise<Exclude<T, undefined | false>> => {
  const { timeoutMs = 10_000, everyMs = 20 } = options;
  const deadline = performance.now() + timeoutMs;
  let cause: unknown;
  for (;;) {
    try {
      const answer = await probe();
      if (answer !== undefined && answer !== false) return answer as Exclude<T, undefined | false>;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    if (performance.now() > deadline)
      throw new Error(`not within ${timeoutMs} ms: ${what}`, cause === undefined ? {} : { cause });
    await pause(everyMs);
  }
};
