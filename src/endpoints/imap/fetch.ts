/**
 * Messages by the quickest way there is: few on the session's own connection, many by the bulk reader on a second one. What
 * the reader could not bring is read on the first.
 */
import { SyncError } from "../../model/failure.ts";
import type { FetchedBatch, FetchRequest, UidRange } from "../../model/observation.ts";
import { type Octets, partSize } from "../../model/octets.ts";
import { stoppedBy } from "../deadline.ts";
import type { EndpointLimits } from "../endpoint.ts";
import type { BulkLane } from "./bulk-lane.ts";
import { countOf, readHere, smallRequest } from "./read-here.ts";
import type { Wire } from "./wire.ts";

export interface FetchMeans {
  /** null: what is numbered on this connection has no meaning on another one. */
  readonly bulk: BulkLane | null;
  /** Runs work in a turn of the session's connection, with its errors translated. */
  readonly turn: <T>(work: (wire: Wire) => Promise<T>) => Promise<T>;
  readonly limits: EndpointLimits;
  readonly signal: AbortSignal;
}

/** What of a request has reached the consumer. */
class Progress {
  readonly #request: FetchRequest;
  readonly #done = new Set<UidRange>();
  /** UIDs of ranges that have not ended. */
  readonly have = new Set<number>();

  constructor(request: FetchRequest) {
    this.#request = request;
  }

  note({ items, rangeDone }: FetchedBatch): void {
    for (const { uid } of items) this.have.add(uid);
    if (rangeDone === null) return;
    for (const range of this.#request.ranges)
      if (range.from === rangeDone.from && range.to === rangeDone.to) this.#done.add(range);
    for (const uid of this.have) if (uid >= rangeDone.from && uid <= rangeDone.to) this.have.delete(uid);
  }

  left(): FetchRequest {
    return { ...this.#request, ranges: this.#request.ranges.filter((range) => !this.#done.has(range)) };
  }
}

/** Would the same fail on the other connection? */
const isFinal = (error: unknown, signal: AbortSignal): boolean =>
  signal.aborted || !(error instanceof SyncError) || error.scope !== "endpoint" || error.kind === "stopped";

/** Reads ahead by one batch, and disposes of what nobody took when the iteration ends. */
async function* readAhead(
  open: (signal: AbortSignal) => AsyncGenerator<FetchedBatch>,
  signal: AbortSignal,
): AsyncGenerator<FetchedBatch> {
  const given = new Set<Octets>();
  const stop = new AbortController();
  const source = open(AbortSignal.any([signal, stop.signal]));
  let next = source.next();
  try {
    for (;;) {
      const batch = await next;
      if (batch.done === true) return;
      next = source.next();
      next.catch(() => undefined);
      // Smaller ones have nothing to dispose of, and should not be held here.
      for (const { octets } of batch.value.items) if (octets !== null && octets.size > partSize) given.add(octets);
      yield batch.value;
    }
  } finally {
    stop.abort(stoppedBy(signal));
    const late = await next.catch(() => null);
    for (const item of late?.done === false ? late.value.items : []) if (item.octets !== null) given.add(item.octets);
    await Promise.all([...given].map((octets) => octets.dispose()));
    await source.return(undefined);
  }
}

/** As {@link Session.fetch} promises. @throws SyncError */
export async function* fetchMessages(request: FetchRequest, means: FetchMeans): AsyncGenerator<FetchedBatch> {
  const { bulk, turn, limits, signal } = means;
  const progress = new Progress(request);
  const reader = countOf(request.ranges) <= smallRequest ? null : ((await bulk?.take(signal)) ?? null);
  if (signal.aborted) throw stoppedBy(signal);
  if (reader !== null) {
    try {
      for await (const batch of reader.fetch(request, signal)) {
        progress.note(batch);
        yield batch;
      }
      return;
    } catch (error) {
      if (isFinal(error, signal)) throw error;
      bulk?.failed(error);
    } finally {
      bulk?.give();
    }
  }
  const left = progress.left();
  yield* readAhead((within) => readHere(turn, left, { limits, signal: within, skip: progress.have }), signal);
}
