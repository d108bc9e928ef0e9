/**
 * How octets reach a parser thread: up to one part with the task, more on request, one part (1 MiB) at a time and as often as
 * the thread starts over. So a thread holds one part of a large message, and the main thread another.
 */
import { type MessagePort, MessageChannel } from "node:worker_threads";
import { type Octets, partSize } from "../model/octets.ts";
import type { Source } from "./contents.ts";

/** What parsing needs of a message's octets. */
export type Readable = Pick<Octets, "size" | "parts">;

/** A task as it crosses to the thread. `octets` is null when they have to be asked for through `port`. */
export interface FedTask {
  readonly size: number;
  readonly octets: Uint8Array | null;
  readonly port: MessagePort | null;
}

type Request = "restart" | "next";
type Answer = { readonly octets: Uint8Array } | { readonly end: "complete" | "broken" };

/** The mail is not to blame when its octets could not be read; the thread gives up with this and the feeder knows why. */
export class FeedBroken extends Error {
  override readonly name = "FeedBroken";
}

const asBuffer = (octets: Uint8Array): Buffer => Buffer.from(octets.buffer, octets.byteOffset, octets.byteLength);

const ask = (port: MessagePort, request: Request): Promise<Answer> => {
  const answered = new Promise<Answer>((resolve) => {
    port.once("message", resolve);
  });
  port.postMessage(request);
  return answered;
};

async function* asked(port: MessagePort): AsyncIterable<Buffer> {
  for (let answer = await ask(port, "restart"); ; answer = await ask(port, "next")) {
    if ("octets" in answer) yield asBuffer(answer.octets);
    else if (answer.end === "complete") return;
    else throw new FeedBroken("the octets could not be read");
  }
}

/** The thread's side. */
export const fedSource = ({ size, octets, port }: FedTask): Source => ({
  size,
  chunks: () => (octets !== null ? [asBuffer(octets)] : port !== null ? asked(port) : []),
});

/** The main thread's side. */
export interface Feeding {
  /** What to send, and what of it changes hands. */
  readonly task: FedTask;
  readonly transfer: readonly (ArrayBuffer | MessagePort)[];
  /** Why the octets ended early, if they did. */
  readonly broken: () => { readonly cause: unknown } | null;
  /** How long the thread had to wait for octets so far, in milliseconds: that time is not the mail's. */
  readonly waitedMs: () => number;
  readonly stop: () => Promise<void>;
}

/** A copy that owns its memory: sending a view of a larger buffer would send, and take, all of that buffer. */
const copyOf = (chunks: readonly Buffer[], size: number): Uint8Array<ArrayBuffer> => {
  const copy = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    copy.set(chunk.subarray(0, size - at), at);
    at += Math.min(chunk.length, size - at);
  }
  return copy;
};

const feedWhole = async (octets: Readable): Promise<Feeding> => {
  const chunks: Buffer[] = [];
  for await (const chunk of octets.parts()) chunks.push(chunk);
  const copy = copyOf(chunks, octets.size);
  return {
    task: { size: octets.size, octets: copy, port: null },
    transfer: [copy.buffer],
    broken: () => null,
    waitedMs: () => 0,
    stop: () => Promise.resolve(),
  };
};

class PartServer {
  failure: { readonly cause: unknown } | null = null;
  private readonly octets: Readable;
  private readonly port: MessagePort;
  private parts: AsyncIterator<Buffer> | null = null;
  private busy: Promise<void> = Promise.resolve();
  private waited = 0;
  private waitingSince: number | null = null;

  constructor(octets: Readable, port: MessagePort) {
    this.octets = octets;
    this.port = port;
    port.on("message", (request: Request) => {
      this.busy = this.busy.then(() => this.answer(request));
    });
  }

  get waitedMs(): number {
    return this.waited + (this.waitingSince === null ? 0 : performance.now() - this.waitingSince);
  }

  async stop(): Promise<void> {
    this.port.close();
    await this.busy;
    await this.close();
  }

  private async close(): Promise<void> {
    const parts = this.parts;
    this.parts = null;
    await parts?.return?.();
  }

  private async answer(request: Request): Promise<void> {
    this.waitingSince = performance.now();
    try {
      const chunk = await this.read(request);
      if (chunk === null) this.port.postMessage({ end: "complete" } satisfies Answer);
      else this.port.postMessage({ octets: chunk } satisfies Answer, [chunk.buffer]);
    } catch (cause) {
      this.failure = { cause };
      this.port.postMessage({ end: "broken" } satisfies Answer);
    } finally {
      this.waited = this.waitedMs;
      this.waitingSince = null;
    }
  }

  private async read(request: Request): Promise<Uint8Array<ArrayBuffer> | null> {
    if (request === "restart") {
      await this.close();
      this.parts = iterate(this.octets);
    }
    const next = await this.parts?.next();
    return next === undefined || next.done === true ? null : copyOf([next.value], next.value.length);
  }
}

async function* iterate(octets: Readable): AsyncGenerator<Buffer> {
  yield* octets.parts();
}

const feedParts = (octets: Readable): Feeding => {
  const { port1, port2 } = new MessageChannel();
  const server = new PartServer(octets, port1);
  return {
    task: { size: octets.size, octets: null, port: port2 },
    transfer: [port2],
    broken: () => server.failure,
    waitedMs: () => server.waitedMs,
    stop: () => server.stop(),
  };
};

/** Prepares the octets for a thread. Rejects when small ones cannot be read; `broken` tells of large ones. */
export const feed = (octets: Readable): Promise<Feeding> =>
  octets.size <= partSize ? feedWhole(octets) : Promise.resolve(feedParts(octets));
