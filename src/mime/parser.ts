/**
 * MIME parsing for the rest of the house, in threads of their own with a limit of time and heap: a message that breaks one ends
 * that thread and is reported as failed; nothing else notices. Threads start with the first message and end when idle.
 */
import pLimit from "p-limit";
import { Piscina } from "piscina";
import { SyncError } from "../model/failure.ts";
import type { ParsedMessage } from "../model/mail.ts";
import { type Octets, partSize } from "../model/octets.ts";
import type { Logger } from "../telemetry/log.ts";
import { parseDuration, parserRestarts } from "../telemetry/metrics.ts";
import { type FedTask, type Feeding, feed, type Readable } from "./feed.ts";
import type { MessageBody, PartPlace } from "./message.ts";
import { transferDecoder } from "./transfer.ts";
import type { Interrupted } from "./worker.ts";

export type { MessageBody } from "./message.ts";

export interface ParserOptions {
  /** Threads at most. */
  readonly threads: number;
  /** Wall clock for one message, in milliseconds; its thread ends after that. */
  readonly timeoutMs: number;
  /** JavaScript heap of one thread, in MiB. */
  readonly maxHeapMb: number;
  /** How long a thread may have nothing to do, in milliseconds. */
  readonly idleMs?: number;
  readonly log: Logger;
}

/** One decoded part, to be streamed. */
export interface MessagePart {
  readonly status: "found";
  readonly contentType: string;
  readonly filename: string | null;
  /** Decoded size in bytes. */
  readonly size: number;
  /** The decoded octets in chunks of at most 64 KiB; read the message's octets while they are taken. */
  chunks(): AsyncIterable<Buffer>;
}

/** Why a message could not be parsed: one of a few words, fit for a metric label. */
export type ParseFailure = "too_many_parts" | "too_deep" | "timeout" | "out_of_memory" | "parser_crashed";

export interface Parser extends AsyncDisposable {
  /** Summary for lists and search. `failed` says what the mail did to us; the octets stay readable. */
  parse(octets: Octets | Buffer, signal?: AbortSignal): Promise<ParsedMessage>;
  body(octets: Octets | Buffer, signal?: AbortSignal): Promise<MessageBody>;
  /** The leaf with that part number; null when there is none. */
  part(
    octets: Octets | Buffer,
    partId: string,
    signal?: AbortSignal,
  ): Promise<MessagePart | { status: "failed"; reason: string } | null>;
  /** Threads that live now. */
  readonly threads: number;
}

const defaultIdleMs = 30_000;
const sliceSize = 64 * 1024;
const youngHeapMb = 4;
/** Node runs TypeScript as it is; what was compiled stands beside us as JavaScript. */
const threadFile = new URL(import.meta.url.endsWith(".ts") ? "./worker.ts" : "./worker.js", import.meta.url).href;

const ofBuffer = (octets: Buffer): Readable => ({
  size: octets.length,
  *parts() {
    for (let at = 0; at < octets.length; at += partSize) yield octets.subarray(at, at + partSize);
  },
});

const readable = (octets: Octets | Buffer): Readable => (Buffer.isBuffer(octets) ? ofBuffer(octets) : octets);

const stopped = (cause?: unknown): SyncError =>
  new SyncError("stopped", "message", {
    code: "stopped",
    message: "Parsing was stopped.",
    action: "Nothing is to be done.",
    cause,
  });

const reasonOf = (err: unknown, timedOut: boolean): ParseFailure => {
  if (timedOut) return "timeout";
  return err instanceof Error && "code" in err && err.code === "ERR_WORKER_OUT_OF_MEMORY" ? "out_of_memory" : "parser_crashed";
};

const isInterrupted = (result: unknown): result is Interrupted =>
  typeof result === "object" && result !== null && "status" in result && result.status === "interrupted";

const throwIfStopped = (signals: readonly AbortSignal[]): void => {
  const aborted = signals.find((signal) => signal.aborted);
  if (aborted !== undefined) throw stopped(aborted.reason);
};

/** Ends a message's thread when its time is over, less the time it waited for octets, or when somebody says stop. */
class Limit {
  timedOut = false;
  private readonly controller = new AbortController();
  private readonly started = performance.now();
  private readonly given: readonly AbortSignal[];
  private timer: NodeJS.Timeout | null = null;
  private readonly stop = (): void => this.controller.abort();

  constructor(timeoutMs: number, feeding: Feeding, given: readonly AbortSignal[]) {
    this.given = given;
    const check = (): void => {
      const left = timeoutMs - (performance.now() - this.started - feeding.waitedMs());
      if (left > 0) this.timer = setTimeout(check, Math.ceil(left));
      else {
        this.timedOut = true;
        this.stop();
      }
    };
    check();
    for (const signal of given) signal.addEventListener("abort", this.stop);
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  end(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    for (const signal of this.given) signal.removeEventListener("abort", this.stop);
  }
}

/** Decodes on the caller's thread, slice by slice: linear work without a tree, and no thread waits for a slow reader. */
async function* decodedPart(octets: Readable, place: Extract<PartPlace, { status: "found" }>): AsyncIterable<Buffer> {
  const decoder = transferDecoder(place.encoding);
  let at = 0;
  for await (const chunk of octets.parts()) {
    const body = chunk.subarray(Math.max(0, place.start - at), Math.max(0, place.end - at));
    for (let from = 0; from < body.length; from += sliceSize) {
      const decoded = decoder.push(body.subarray(from, from + sliceSize));
      if (decoded.length > 0) yield decoded;
    }
    at += chunk.length;
    if (at >= place.end) break;
  }
  const rest = decoder.end();
  if (rest.length > 0) yield rest;
}

class ThreadedParser implements Parser {
  private readonly pool: Piscina;
  private readonly turn;
  private readonly options: ParserOptions;
  private readonly closing = new AbortController();

  constructor(options: ParserOptions) {
    this.options = options;
    this.turn = pLimit(options.threads);
    this.pool = new Piscina({
      filename: threadFile,
      minThreads: 0,
      maxThreads: options.threads,
      idleTimeout: options.idleMs ?? defaultIdleMs,
      concurrentTasksPerWorker: 1,
      recordTiming: false,
      // Octets are outside of this heap; they are bounded by what is read (contents.ts).
      resourceLimits: { maxOldGenerationSizeMb: options.maxHeapMb, maxYoungGenerationSizeMb: youngHeapMb },
    });
    // A thread that dies between messages; the next message gets a new one.
    this.pool.on("error", (err: unknown) => options.log.warn({ err }, "parser thread ended"));
  }

  get threads(): number {
    return this.pool.threads.length;
  }

  async parse(octets: Octets | Buffer, signal?: AbortSignal): Promise<ParsedMessage> {
    return this.run<ParsedMessage>("parse", readable(octets), {}, signal);
  }

  async body(octets: Octets | Buffer, signal?: AbortSignal): Promise<MessageBody> {
    return this.run<MessageBody>("body", readable(octets), {}, signal);
  }

  async part(octets: Octets | Buffer, partId: string, signal?: AbortSignal) {
    const source = readable(octets);
    const place = await this.run<PartPlace>("part", source, { partId }, signal);
    if (place.status === "absent") return null;
    if (place.status === "failed") return place;
    const { status, contentType, filename, size } = place;
    return { status, contentType, filename, size, chunks: () => decodedPart(source, place) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Whoever still waits for a turn gets it, and is told.
    this.closing.abort();
    await this.pool.destroy();
  }

  private run<Result>(
    name: string,
    octets: Readable,
    extra: Readonly<Record<string, string>>,
    signal?: AbortSignal,
  ): Promise<Result | { status: "failed"; reason: ParseFailure }> {
    // The pool's own queue is never used: the clock of a message starts when a thread is free for it.
    return this.turn(async () => {
      const given = [this.closing.signal, ...(signal === undefined ? [] : [signal])];
      throwIfStopped(given);
      const feeding = await feed(octets);
      const started = performance.now();
      const limit = new Limit(this.options.timeoutMs, feeding, given);
      try {
        const task: FedTask = { ...feeding.task, ...extra };
        const result = (await this.pool.run(task, {
          name,
          transferList: [...feeding.transfer],
          signal: limit.signal,
        })) as Result | Interrupted;
        // What broke the feed is thrown below, for the thread may have failed of it as well.
        if (isInterrupted(result)) throw stopped();
        return result;
      } catch (err) {
        throwIfStopped(given);
        const broken = feeding.broken();
        if (broken !== null) throw broken.cause;
        return this.failed(reasonOf(err, limit.timedOut), performance.now() - started);
      } finally {
        limit.end();
        await feeding.stop();
        if (name === "parse") parseDuration.observe((performance.now() - started) / 1000);
      }
    });
  }

  private failed(reason: ParseFailure, durationMs: number): { status: "failed"; reason: ParseFailure } {
    parserRestarts.inc();
    this.options.log.warn({ failure: reason, durationMs: Math.round(durationMs) }, "parser thread ended over a message");
    return { status: "failed", reason };
  }
}

/** Opens the parser; no thread runs yet. Dispose it to end its threads; what was in work then rejects with `stopped`. */
export const openParser = (options: ParserOptions): Parser => new ThreadedParser(options);
