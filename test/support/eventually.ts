import { setTimeout as pause } from "node:timers/promises";

/** Deadlines tell a hang from slowness: a machine shared with others was seen to be three times as slow as a quiet one. */
const patience = 3;

/**
 * Asks `probe` again and again until it answers something other than undefined or false; returns the answer.
 * What the probe throws counts as "not yet" and is told when time is up.
 * @throws Error naming `what` after `timeoutMs` (10 s) as a quiet machine counts them.
 */
export const eventually = async <T>(
  what: string,
  probe: () => T | Promise<T>,
  options: { readonly timeoutMs?: number; readonly everyMs?: number } = {},
): Promise<Exclude<T, undefined | false>> => {
  const { everyMs = 20 } = options;
  const timeoutMs = patience * (options.timeoutMs ?? 10_000);
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
