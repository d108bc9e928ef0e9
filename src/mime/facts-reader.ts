/**
 * Facts of many messages at once, read in a thread beside the one that talks to servers and to the store: of a first reading
 * this is the largest part that needs neither. Few messages, large ones and those of a machine with one core are read at once.
 */
import { availableParallelism } from "node:os";
import pLimit from "p-limit";
import { Piscina } from "piscina";
import type { MessageHeaders } from "../model/mail.ts";
import { type Octets, partSize } from "../model/octets.ts";
import type { Logger } from "../telemetry/log.ts";
import { factsOf, type FactsWanted, type MailFacts, type Print, printOf } from "./facts.ts";
import { bytesPerPrint, type FactsAnswer, type FactsTask, hashBytes } from "./facts-thread.ts";

export interface FactsReader extends AsyncDisposable {
  /** In the order of the messages. Rejects only when their octets cannot be read. */
  read(messages: readonly Octets[], wanted: FactsWanted): Promise<MailFacts[]>;
}

/** Fewer messages are read sooner than they are handed over. */
const worthIt = 50;
/** Octets handed over at once, by memory that both threads see. */
const sharedBytes = 4 * 1024 * 1024;
const idleMs = 30_000;
const heap = { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 8 };
/** Node runs TypeScript as it is; what was compiled stands beside us as JavaScript. */
const threadFile = new URL(import.meta.url.endsWith(".ts") ? "./facts-thread.ts" : "./facts-thread.js", import.meta.url).href;

const readHere = async (octets: Octets, wanted: FactsWanted): Promise<MailFacts> =>
  factsOf(octets.head, wanted.print ? await printOf(octets.parts()) : null, wanted);

const printAt = (prints: Buffer, at: number): Print => {
  const print = prints.subarray(at * bytesPerPrint, (at + 1) * bytesPerPrint);
  return {
    hFull: print.subarray(0, hashBytes),
    hHead: print.subarray(hashBytes, 2 * hashBytes),
    size: print.readDoubleLE(2 * hashBytes),
    dropped: print.readDoubleLE(2 * hashBytes + 8),
  };
};

type Written = Omit<MessageHeaders, "sentAt"> & { readonly sentAt: string | null };

const factsFrom = ({ headers, receivedAt, prints }: FactsAnswer): MailFacts[] => {
  const read = prints === null ? null : Buffer.from(prints.buffer, prints.byteOffset, prints.byteLength);
  return (JSON.parse(headers) as readonly Written[]).map(({ sentAt, ...rest }, at) => {
    const came = receivedAt[at] ?? Number.NaN;
    return {
      headers: { ...rest, sentAt: sentAt === null ? null : new Date(sentAt) },
      receivedAt: Number.isNaN(came) ? null : new Date(came),
      print: read === null ? null : printAt(read, at),
    };
  });
};

/** Cuts a batch into runs that fit into the shared memory; of messages that stand in memory, each is smaller than that. */
const runsOf = (messages: readonly Octets[]): Octets[][] => {
  const runs: Octets[][] = [];
  let left = 0;
  for (const octets of messages) {
    if (octets.size > left || runs.length === 0) {
      runs.push([]);
      left = sharedBytes;
    }
    runs.at(-1)?.push(octets);
    left -= octets.size;
  }
  return runs;
};

class ThreadedReader implements FactsReader {
  private readonly pool: Piscina;
  private readonly log: Logger;
  /** One at a time: what is handed over lies in the same memory each time. */
  private readonly turn = pLimit(1);
  private shared: Buffer | null = null;

  constructor(log: Logger) {
    this.log = log;
    this.pool = new Piscina({
      filename: threadFile,
      minThreads: 0,
      maxThreads: 1,
      idleTimeout: idleMs,
      recordTiming: false,
      resourceLimits: heap,
    });
    this.pool.on("error", (err: unknown) => log.warn({ err }, "reading thread ended"));
  }

  async read(messages: readonly Octets[], wanted: FactsWanted): Promise<MailFacts[]> {
    // Larger ones lie in files.
    if (messages.length < worthIt || messages.some(({ size }) => size > partSize))
      return Promise.all(messages.map((octets) => readHere(octets, wanted)));
    const facts: MailFacts[] = [];
    for (const run of runsOf(messages)) facts.push(...(await this.turn(() => this.readThere(run, wanted))));
    return facts;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.pool.destroy();
  }

  private async readThere(run: readonly Octets[], wanted: FactsWanted): Promise<MailFacts[]> {
    this.shared ??= Buffer.from(new SharedArrayBuffer(sharedBytes));
    let at = 0;
    for (const octets of run) for await (const part of octets.parts()) at += part.copy(this.shared, at);
    const task: FactsTask = { octets: this.shared.buffer as SharedArrayBuffer, sizes: run.map(({ size }) => size), wanted };
    try {
      return factsFrom((await this.pool.run(task, { name: "read" })) as FactsAnswer);
    } catch (err) {
      // Ended under us, by a mail or by our own end; what it did not say is read here.
      this.log.debug({ err }, "read without a thread");
      return Promise.all(run.map((octets) => readHere(octets, wanted)));
    }
  }
}

/** Reads everything on the caller's thread. */
export const factsReaderHere: FactsReader = {
  read: (messages, wanted) => Promise.all(messages.map((octets) => readHere(octets, wanted))),
  [Symbol.asyncDispose]: () => Promise.resolve(),
};

/**
 * Opens the reader; no thread runs yet, nor ever on a machine with one core. Dispose it to end its thread; what it was reading is
 * then read by the caller's.
 */
export const openFactsReader = (log: Logger): FactsReader =>
  availableParallelism() > 1 ? new ThreadedReader(log) : factsReaderHere;
