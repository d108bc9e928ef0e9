import type { Logger } from "../telemetry/log.ts";

/** Hears of an error; takes whatever was thrown, because BullMQ and the drivers throw all sorts. */
export type Complain = (err: unknown) => void;

const quietMs = 10_000;

/**
 * Logs an error at once and then stays silent about its like for 10 s. When the store behind a queue is down, every shard's
 * worker says so several times a second.
 */
export const complainTo = (log: Logger): Complain => {
  const saidAt = new Map<string, number>();
  const unsaid = new Map<string, number>();
  return (thrown) => {
    const err = thrown instanceof Error ? thrown : new Error(String(thrown));
    // Ids and ports differ from one error to the next of its kind.
    const kind = err.message.replaceAll(/[0-9a-f-]{8,}|\d+/g, "#");
    const now = performance.now();
    const since = now - (saidAt.get(kind) ?? Number.NEGATIVE_INFINITY);
    if (since < quietMs) {
      unsaid.set(kind, (unsaid.get(kind) ?? 0) + 1);
      return;
    }
    if (saidAt.size > 100) saidAt.clear();
    saidAt.set(kind, now);
    log.warn({ err, count: 1 + (unsaid.get(kind) ?? 0) }, "queue trouble");
    unsaid.delete(kind);
  };
};
