/**
 * The bell: "look at this account", said to whoever owns the account's shard. PostgreSQL is the truth and a hint is only a
 * reason to look there, so every hint may be lost, doubled or late; the sweep makes up for what is lost.
 */
import type { Because } from "../model/account.ts";
import type { AccountId } from "../model/ids.ts";

/** Ids only: job data lies in clear in Redis or in a table. */
export interface Hint {
  readonly accountId: AccountId;
  readonly because: Because;
}

/** `again` asks to be rung once more, behind the hints that wait with the same urgency. */
export type Verdict = "done" | "again";

/**
 * Looks at one account. `signal` aborts when the queue no longer vouches for this run (its lock is lost) and when answering
 * stops; a handler that throws after that is rung again, one that throws before is logged and not repeated.
 */
export type Handle = (hint: Hint, signal: AbortSignal) => Promise<Verdict>;

export interface Depth {
  readonly waiting: number;
  readonly active: number;
  readonly delayed: number;
}

export interface Answering {
  /**
   * Takes no further hints, aborts the running ones and waits for them at most `deadlineMs`. Never rejects; harmless when
   * called twice. A handler still running at the deadline keeps its hint locked until it ends.
   */
  close(deadlineMs: number): Promise<void>;
}

export interface Bell {
  /**
   * Rings for an account. Rings of an account that waits already become one, with the greater urgency; a ring while the
   * account is looked at is kept (the last of several) and follows. Rejects within 2 s when the queue is out of reach.
   */
  ring(shard: number, hint: Hint): Promise<void>;
  /** Many at once, as a sweep does. Unlike `ring`, it does not raise the urgency of a hint that waits already. */
  ringMany(shard: number, hints: readonly Hint[]): Promise<void>;
  /**
   * Runs the shard's hints, several accounts at once and one account once at a time, in this process whatever the queue
   * believes. Only for the owner of the shard's lease: hints a former owner left running are taken over at once.
   * Resolves even when the queue is out of reach; it then starts by itself. @throws Error when the shard is answered already.
   */
  answer(shard: number, handle: Handle): Promise<Answering>;
  depth(shard: number): Promise<Depth>;
  /** Drops what the queue remembers of an account (a stray deduplication key, a forgotten hint); the next ring starts afresh. */
  forget(shard: number, accountId: AccountId): Promise<void>;
  /** Stops every answering, then drops the connections. Harmless when called twice. */
  close(): Promise<void>;
}

/**
 * The lower, the sooner. Never 0: BullMQ runs jobs without a priority before all that have one, and its `waiting` and
 * `prioritized` sets would no longer be one line.
 */
export const urgency: Record<Because, number> = {
  api: 1,
  write: 2,
  push: 5,
  created: 5,
  changed: 5,
  sweep: 10,
  reconnect: 10,
  recovery: 10,
  backfill: 20,
};

/** The hint to run when two came for one account and only one can be run. */
export const moreUrgent = (earlier: Hint | null, later: Hint): Hint =>
  earlier !== null && urgency[earlier.because] <= urgency[later.because] ? earlier : later;

/** What a job carries, as a hint; null for anything else (a job of a newer version, a hand-made one). */
export const readHint = (data: unknown): Hint | null => {
  if (typeof data !== "object" || data === null) return null;
  const { accountId, because } = data as Record<string, unknown>;
  if (typeof accountId !== "string" || typeof because !== "string" || !Object.hasOwn(urgency, because)) return null;
  return { accountId: accountId as AccountId, because: because as Because };
};
