/** The bell on BullMQ, whatever carries it: a queue per shard, a worker per answered shard. */
import type { AccountId } from "../model/ids.ts";
import type { Logger } from "../telemetry/log.ts";
import { type Running, ShardAnswering } from "./answering.ts";
import type { Answering, Bell, Depth, Handle, Hint } from "./bell.ts";
import type { Carrier } from "./carrier.ts";
import type { Complain } from "./complaints.ts";
import { HintQueue } from "./hint-queue.ts";

/** What `close()` of the bell allows those who did not close their answering. */
const closeMs = 2_000;

interface BellOptions {
  readonly carrier: Carrier;
  readonly concurrency: number;
  readonly log: Logger;
  readonly complain: Complain;
}

export class BullBell implements Bell {
  readonly #options: BellOptions;
  readonly #queues = new Map<number, HintQueue>();
  readonly #answerings = new Map<number, Answering>();
  readonly #running: Running = new Map();
  #closed: Promise<void> | undefined;

  constructor(options: BellOptions) {
    this.#options = options;
  }

  async ring(shard: number, hint: Hint): Promise<void> {
    await this.#queue(shard).add(hint);
  }

  async ringMany(shard: number, hints: readonly Hint[]): Promise<void> {
    await this.#queue(shard).addMany(hints);
  }

  async answer(shard: number, handle: Handle): Promise<Answering> {
    const queue = this.#queue(shard);
    if (this.#answerings.has(shard)) throw new Error(`shard ${shard} is answered already`);
    const { carrier, concurrency, complain, log } = this.#options;
    const running = this.#running;
    const answering = new ShardAnswering({ queue, carrier, concurrency, handle, running, complain, log: log.child({ shard }) });
    const entry: Answering = {
      close: async (deadlineMs) => {
        await answering.close(deadlineMs);
        if (this.#answerings.get(shard) === entry) this.#answerings.delete(shard);
      },
    };
    this.#answerings.set(shard, entry);
    await answering.start();
    return entry;
  }

  async depth(shard: number): Promise<Depth> {
    return this.#queue(shard).depth();
  }

  async forget(shard: number, accountId: AccountId): Promise<void> {
    await this.#queue(shard).forget(accountId);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#answerings.values()].map((answering) => answering.close(closeMs)));
    await Promise.all([...this.#queues.values()].map((queue) => queue.close())).catch(this.#options.complain);
    await this.#options.carrier.close();
  }

  #queue(shard: number): HintQueue {
    if (this.#closed !== undefined) throw new Error("the bell is closed");
    const known = this.#queues.get(shard);
    if (known !== undefined) return known;
    const opened = new HintQueue(shard, this.#options.carrier, this.#options.complain);
    this.#queues.set(shard, opened);
    return opened;
  }
}
