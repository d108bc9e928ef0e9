import { setTimeout as pause } from "node:timers/promises";
import type { Logger } from "../telemetry/log.ts";
import type { ServerProcess } from "./server-process.ts";

const shortestPauseMs = 500;
const longestPauseMs = 30_000;

/**
 * Keeps a server up: one that ends unasked (the kernel may kill it when memory is short) is launched again, after growing
 * pauses while that fails. Abort `stopping` to end a launch or a pause; `stop` does so itself.
 */
export const superviseServer = (options: {
  readonly first: ServerProcess;
  readonly launch: () => Promise<ServerProcess>;
  readonly stopping: AbortController;
  readonly log: Logger;
}): { stop(): Promise<void> } => {
  const { launch, stopping, log } = options;
  const { signal } = stopping;
  const stopped = new Promise<null>((resolve) => signal.addEventListener("abort", () => resolve(null), { once: true }));

  const launchAgain = async (): Promise<ServerProcess | null> => {
    for (let pauseMs = shortestPauseMs; !signal.aborted; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
      await pause(pauseMs, null, { signal }).catch(() => null);
      if (signal.aborted) break;
      try {
        const server = await launch();
        log.info("the embedded PostgreSQL is back");
        return server;
      } catch (err) {
        if (!signal.aborted) log.error({ err }, "the embedded PostgreSQL does not come back");
      }
    }
    return null;
  };

  const watch = async (): Promise<void> => {
    let server: ServerProcess | null = options.first;
    while (server !== null) {
      const because = await Promise.race([server.ended, stopped]);
      if (because === null || signal.aborted) return server.stop();
      log.error({ because }, "the embedded PostgreSQL ended; starting it again");
      server = await launchAgain();
    }
  };

  const done = watch();
  return {
    stop: () => {
      stopping.abort();
      return done;
    },
  };
};
