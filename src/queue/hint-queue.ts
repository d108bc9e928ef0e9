/** One shard's queue as its producers see it. Everything here rejects within 2 s when the store is out of reach. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { type IQueueBackend, type Job, type JobsOptions, Queue } from "bullmq";
import type { AccountId } from "../model/ids.ts";
import { type Depth, type Hint, readHint, urgency } from "./bell.ts";
import type { Carrier, Connectionless } from "./carrier.ts";
import type { Complain } from "./complaints.ts";

const patienceMs = 2_000;
/** Hints added in one round trip; more would block Redis, or hold the advisory locks of PostgreSQL, for too long. */
const batch = 500;

type BullQueue = Queue<unknown, unknown, string, unknown, unknown, string, IQueueBackend, Connectionless>;

const jobData = (hint: Hint): Hint => ({ accountId: hint.accountId, because: hint.because });

const jobOptions = (hint: Hint): JobsOptions & { jobId: string } => ({
  jobId: randomUUID(),
  priority: urgency[hint.because],
  deduplication: { id: hint.accountId, keepLastIfActive: true },
  // Kept ones would be counted through at every completion on PostgreSQL; the record of a pass is elsewhere.
  removeOnComplete: true,
  removeOnFail: { count: 100 },
  attempts: 1,
});

/** @throws Error when `work` takes longer than 2 s. Its late result or failure is dropped. */
const soon = async <T>(work: Promise<T>): Promise<T> => {
  const settled = new AbortController();
  const late = sleep(patienceMs, undefined, { signal: settled.signal }).then(
    () => Promise.reject(new Error(`the queue did not answer within ${patienceMs} ms`)),
    () => new Promise<never>(() => undefined),
  );
  try {
    return await Promise.race([work, late]);
  } finally {
    settled.abort();
  }
};

export class HintQueue {
  readonly name: string;
  /** Braces make a Redis Cluster keep all keys of a shard in one slot. PostgreSQL ignores it, so the name is unique as well. */
  readonly prefix: string;
  readonly #queue: BullQueue;
  readonly #complain: Complain;

  constructor(shard: number, carrier: Carrier, complain: Complain) {
    this.name = `hints-${shard}`;
    this.prefix = `{q${shard}}`;
    this.#complain = complain;
    this.#queue = new Queue<unknown, unknown, string, unknown, unknown, string, IQueueBackend, Connectionless>(
      this.name,
      // Nobody reads BullMQ's event stream; by default it keeps 10,000 entries a queue.
      { connection: {}, prefix: this.prefix, skipVersionCheck: true, streams: { events: { maxLen: 100 } } },
      carrier.produce,
    );
    this.#queue.on("error", complain);
  }

  async add(hint: Hint): Promise<void> {
    const options = jobOptions(hint);
    const job = await soon(this.#queue.add("hint", jobData(hint), options));
    // Another id comes back when the hint was coalesced into one that waits, or kept until the account's run is over.
    if (job.id === undefined || job.id === options.jobId || hint.because === "backfill") return;
    await this.#raise(job.id, hint).catch(this.#complain);
  }

  async addMany(hints: readonly Hint[]): Promise<void> {
    const jobs = hints.map((hint) => ({ name: "hint", data: jobData(hint), opts: jobOptions(hint) }));
    // One batch in flight, so that rings of others get between.
    for (let from = 0; from < jobs.length; from += batch) await soon(this.#queue.addBulk(jobs.slice(from, from + batch)));
  }

  async depth(): Promise<Depth> {
    const counts = await soon(this.#queue.getJobCounts("waiting", "prioritized", "active", "delayed"));
    return {
      waiting: (counts["waiting"] ?? 0) + (counts["prioritized"] ?? 0),
      active: counts["active"] ?? 0,
      delayed: counts["delayed"] ?? 0,
    };
  }

  /** The jobs marked as running, whoever claimed them. */
  active(): Promise<Job[]> {
    return soon(this.#queue.getActive());
  }

  /** Lets a job that is marked as running wait again, whoever holds its lock. One that has ended meanwhile stays ended. */
  async release(job: Job): Promise<void> {
    const hint = readHint(job.data);
    try {
      // Without a token BullMQ does not ask for the lock.
      await soon(job.moveToWait());
      // On Redis only this wakes a worker that is blocked already.
      await soon(job.changePriority({ priority: hint === null ? urgency.backfill : urgency[hint.because] }));
    } catch (error) {
      this.#complain(error);
    }
  }

  async forget(accountId: AccountId): Promise<void> {
    const jobId = await soon(this.#queue.getDeduplicationJobId(accountId));
    if (jobId === null) return;
    const job = await soon(this.#queue.getJob(jobId));
    // A locked job cannot be removed; without its key it no longer stands in the way of a ring.
    if (job !== undefined) await soon(job.remove()).catch(() => undefined);
    await soon(this.#queue.removeDeduplicationKey(accountId));
  }

  close(): Promise<void> {
    return this.#queue.close();
  }

  /** Makes a waiting hint as urgent as the one just coalesced into it. It may have run meanwhile; then nothing is lost. */
  async #raise(jobId: string, hint: Hint): Promise<void> {
    const job = await soon(this.#queue.getJob(jobId));
    const waiting = job === undefined ? null : readHint(job.data);
    if (job === undefined || waiting === null || urgency[waiting.because] <= urgency[hint.because]) return;
    await soon(job.updateData(jobData(hint)));
    await soon(job.changePriority({ priority: urgency[hint.because] }));
  }
}
