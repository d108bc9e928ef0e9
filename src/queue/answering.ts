/** One shard's worker: takes hints from BullMQ and runs them, one account once at a time. */
import { setTimeout as sleep } from "node:timers/promises";
import { type IQueueBackend, type Job, Worker } from "bullmq";
import type { AccountId } from "../model/ids.ts";
import type { Logger } from "../telemetry/log.ts";
import { queueStalled } from "../telemetry/metrics.ts";
import { type Answering, type Handle, type Hint, moreUrgent, readHint, type Verdict } from "./bell.ts";
import type { Carrier, Connectionless } from "./carrier.ts";
import type { Complain } from "./complaints.ts";
import type { HintQueue } from "./hint-queue.ts";

/** Starts after which a hint is given up: an account whose pass kills the process must not kill it for ever. */
const maxStarts = 5;
/** Checks in a row that find hints waiting and nothing running before the worker is replaced. */
const silentChecks = 2;
/** A job is not an orphan before this age: its claim may still be on the way to us. */
const orphanAgeMs = 4_000;
/** How long after trouble to look for orphans. */
const afterTroubleMs = 5_000;

type HintJob = Job<unknown, Verdict>;
type HintWorker = Worker<unknown, Verdict, string, IQueueBackend, number, Connectionless>;

/** The accounts looked at in this process, with the hint that came for one meanwhile. Shared by all shards of a bell. */
export type Running = Map<AccountId, { meanwhile: Hint | null }>;

export interface AnsweringOptions {
  readonly queue: HintQueue;
  readonly carrier: Carrier;
  readonly concurrency: number;
  readonly handle: Handle;
  readonly running: Running;
  readonly log: Logger;
  readonly complain: Complain;
}

/**
 * Makes a worker wait 1 s after a failed claim. BullMQ asks again at once unless the connection was refused, so a server that
 * is starting up, read-only or out of memory would be asked thousands of times a second.
 */
const patiently = (backend: IQueueBackend, stopping: AbortSignal): IQueueBackend => {
  const claim = backend.moveToActive.bind(backend);
  backend.moveToActive = async (...args) => {
    try {
      return (await claim(...args)) as unknown[];
    } catch (error) {
      await sleep(1_000, undefined, { signal: stopping }).catch(() => undefined);
      throw error;
    }
  };
  return backend;
};

/** Keeps `work` in `open` until it is settled. */
const tracked = <T>(open: Set<Promise<T>>, work: Promise<T>): Promise<T> => {
  open.add(work);
  const drop = (): void => void open.delete(work);
  work.then(drop, drop);
  return work;
};

export class ShardAnswering implements Answering {
  readonly #options: AnsweringOptions;
  readonly #stopping = new AbortController();
  /** The jobs whose handler runs. */
  readonly #held = new Set<string>();
  /** Hints to ring again once their job has left the queue; a ring before that would replace a more urgent one kept meanwhile. */
  readonly #owed = new WeakMap<HintJob, Hint>();
  readonly #ringing = new Set<Promise<void>>();
  readonly #looking = new Set<Promise<Verdict>>();
  #watching: NodeJS.Timeout | undefined;
  #worker: HintWorker | undefined;
  #trouble: NodeJS.Timeout | undefined;
  #startedSinceCheck = 0;
  #silent = 0;
  #stopped: Promise<void> | undefined;

  constructor(options: AnsweringOptions) {
    this.#options = options;
  }

  /** Takes over what is marked as running, then begins. Never rejects: out of reach, the worker begins when it can. */
  async start(): Promise<void> {
    await this.#adopt(0).catch((error: unknown) => {
      this.#options.complain(error);
      this.#adoptSoon();
    });
    if (this.#stopping.signal.aborted) return;
    this.#worker = this.#startWorker();
    this.#watching = setInterval(() => {
      // Out of reach: then there is nothing to say about the worker.
      this.#check().catch(() => undefined);
    }, this.#options.carrier.pace.watchMs).unref();
  }

  async close(deadlineMs: number): Promise<void> {
    const { complain, log, running } = this.#options;
    this.#stopped ??= this.#stop().catch(complain);
    const settled = new AbortController();
    const late = sleep(deadlineMs, "late" as const, { signal: settled.signal }).catch(() => "settled" as const);
    if ((await Promise.race([this.#stopped, late])) === "late")
      log.warn({ count: running.size }, "answering did not stop in time");
    settled.abort();
  }

  async #stop(): Promise<void> {
    clearInterval(this.#watching);
    clearTimeout(this.#trouble);
    this.#stopping.abort();
    this.#worker?.cancelAllJobs("stopping");
    // A gentle close waits for the store to come back. By force, running hints stay locked and the next owner takes them over.
    const away = await this.#options.queue.depth().then(
      () => false,
      () => true,
    );
    await this.#worker?.close(away);
    await Promise.allSettled(this.#looking);
    await Promise.allSettled(this.#ringing);
  }

  #startWorker(): HintWorker {
    const { queue, carrier, concurrency, complain } = this.#options;
    const worker: HintWorker = new Worker<unknown, Verdict, string, IQueueBackend, number, Connectionless>(
      queue.name,
      (job, _token, signal) => tracked(this.#looking, this.#process(job, signal ?? this.#stopping.signal)),
      {
        connection: {},
        prefix: queue.prefix,
        skipVersionCheck: true,
        concurrency,
        drainDelay: carrier.pace.drainDelaySeconds,
        lockDuration: carrier.pace.lockMs,
        stalledInterval: carrier.pace.stalledMs,
        maxStalledCount: maxStarts,
        maxStartedAttempts: maxStarts,
        // BullMQ waits this long after a refused connection; its default is 15 s.
        runRetryDelay: 1_000,
      },
      (name, opts, extra) => patiently(carrier.consume(name, opts, extra), this.#stopping.signal),
    );
    worker.on("error", (error) => {
      complain(error);
      this.#adoptSoon();
    });
    worker.on("ioredis:close", () => this.#adoptSoon());
    worker.on("completed", (job) => this.#payDebt(job));
    worker.on("failed", (job) => this.#payDebt(job));
    worker.on("stalled", () => queueStalled.inc());
    worker.on("lockRenewalFailed", (jobIds) => {
      for (const id of jobIds) worker.cancelJob(id, "lock lost");
    });
    return worker;
  }

  async #process(job: HintJob, signal: AbortSignal): Promise<Verdict> {
    const { running, log } = this.#options;
    const hint = readHint(job.data);
    if (hint === null) {
      log.error("hint without account or reason dropped");
      return "done";
    }
    const other = running.get(hint.accountId);
    if (other !== undefined) {
      // The queue lost the first job (flushed, forgotten, its lock expired) and gave the account out a second time.
      other.meanwhile = moreUrgent(other.meanwhile, hint);
      return "done";
    }
    // BullMQ may still claim a job while its wait is being broken off.
    if (this.#stopping.signal.aborted) {
      this.#owed.set(job, hint);
      return "again";
    }
    const mine = { meanwhile: null as Hint | null };
    const id = job.id ?? "";
    running.set(hint.accountId, mine);
    this.#held.add(id);
    let verdict: Verdict = "done";
    try {
      verdict = await this.#look(hint, signal);
      return verdict;
    } finally {
      running.delete(hint.accountId);
      this.#held.delete(id);
      const next = verdict === "again" ? moreUrgent(mine.meanwhile, hint) : mine.meanwhile;
      // Without its lock the job cannot be completed, and nothing would come back to say so.
      if (next !== null && signal.aborted && !this.#stopping.signal.aborted) this.#ringAgain(next);
      else if (next !== null) this.#owed.set(job, next);
    }
  }

  async #look(hint: Hint, signal: AbortSignal): Promise<Verdict> {
    this.#startedSinceCheck += 1;
    try {
      return await this.#options.handle(hint, signal);
    } catch (err) {
      if (signal.aborted) return "again";
      this.#options.log.error({ account: hint.accountId, because: hint.because, err }, "handler of a hint threw");
      // oxlint-disable-next-line preserve-caught-error -- the queue keeps a failure in clear, so it gets none of the handler's words
      throw new Error("handler threw");
    }
  }

  #payDebt(job: HintJob | undefined): void {
    const hint = job === undefined ? undefined : this.#owed.get(job);
    if (job === undefined || hint === undefined) return;
    this.#owed.delete(job);
    this.#ringAgain(hint);
  }

  #ringAgain(hint: Hint): void {
    // A failed ring is only a lost hint: the sweep finds the account.
    void tracked(this.#ringing, this.#options.queue.add(hint).catch(this.#options.complain));
  }

  /**
   * Puts back what is marked as running but is not run here: by a former owner, or claimed for us by a command whose answer
   * was lost with the connection. BullMQ would find them by their expired locks, a minute or two later; until then rings for
   * these accounts go unheard. The lease says that nobody else may run them.
   */
  async #adopt(ageMs: number): Promise<void> {
    const { queue, log } = this.#options;
    const old = Date.now() - ageMs;
    const orphans = (await queue.active()).filter((job) => !this.#held.has(job.id ?? "") && (job.processedOn ?? 0) <= old);
    await Promise.all(orphans.map((job) => queue.release(job)));
    if (orphans.length > 0) log.info({ count: orphans.length }, "hints without a runner taken over");
  }

  #adoptSoon(): void {
    if (this.#trouble !== undefined || this.#stopping.signal.aborted) return;
    this.#trouble = setTimeout(() => {
      this.#trouble = undefined;
      // Still out of reach: so once more.
      this.#adopt(orphanAgeMs).catch(() => this.#adoptSoon());
    }, afterTroubleMs).unref();
  }

  /** Replaces a worker that takes no hints although some wait: it has been seen to hang for ever after a failover. */
  async #check(): Promise<void> {
    const { queue, log, complain, running } = this.#options;
    const idle = this.#startedSinceCheck === 0 && running.size === 0;
    this.#startedSinceCheck = 0;
    this.#silent = idle && (await queue.depth()).waiting > 0 ? this.#silent + 1 : 0;
    if (this.#silent < silentChecks || this.#stopping.signal.aborted) return;
    this.#silent = 0;
    log.error("worker took no hints although some wait; starting another");
    // Not awaited: what hangs in it may hang for ever.
    this.#worker?.close().catch(complain);
    this.#worker = this.#startWorker();
  }
}
