/** What differs between Redis and PostgreSQL under the same BullMQ: connections. The two openers each build one. */
import type { BackendFactory, IQueueBackend } from "bullmq";

/** How a bell paces itself; tests shorten it. */
export interface Pace {
  /** How long an idle worker blocks before it looks by itself, in seconds: the price of a lost wake-up. */
  readonly drainDelaySeconds: number;
  /** A hint runs again when its runner has not renewed the lock for this long. */
  readonly lockMs: number;
  /** How often to look for such hints. */
  readonly stalledMs: number;
  /** How often to look for a worker that takes no hints although some wait. */
  readonly watchMs: number;
}

/** Backends get their connections from the carrier, so the `connection` option of BullMQ stays empty. */
export type Connectionless = Record<string, never>;

export interface Carrier {
  readonly pace: Pace;
  /** For adding and looking: rejects soon when the store is out of reach. */
  readonly produce: BackendFactory<IQueueBackend, Connectionless>;
  /** For a worker: waits for the store to come back, and blocks for a job. */
  readonly consume: BackendFactory<IQueueBackend, Connectionless>;
  close(): Promise<void>;
}
