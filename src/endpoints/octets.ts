/**
 * The octets of messages on their way from a server to the store. Up to one part (1 MiB) they stand in memory; larger
 * messages go to a spool file while they arrive, so that a 60 MB message costs the memory of a small one.
 */
import { createHash, hash, randomUUID } from "node:crypto";
import { type FileHandle, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { SyncError } from "../model/failure.ts";
import { headLimit, headOf, type Octets, partSize } from "../model/octets.ts";

const flushSize = 256 * 1024;
const spoolSuffix = ".octets";

class MemoryOctets implements Octets {
  readonly sha256: Buffer;
  readonly #octets: Buffer;

  constructor(octets: Buffer, sha256: Buffer) {
    this.#octets = octets;
    this.sha256 = sha256;
  }

  get size(): number {
    return this.#octets.length;
  }

  get head(): Buffer {
    return headOf(this.#octets);
  }

  *parts(): Iterable<Buffer> {
    for (let at = 0; at < this.#octets.length; at += partSize) yield this.#octets.subarray(at, at + partSize);
  }

  async dispose(): Promise<void> {}
}

/** Octets that are in memory already. The buffer must not be changed afterwards. */
export const memoryOctets = (octets: Buffer): Octets => new MemoryOctets(octets, hash("sha256", octets, "buffer"));

class SpooledOctets implements Octets {
  readonly size: number;
  readonly sha256: Buffer;
  readonly head: Buffer;
  readonly #file: string;

  constructor(facts: { size: number; sha256: Buffer; head: Buffer; file: string }) {
    this.size = facts.size;
    this.sha256 = facts.sha256;
    this.head = facts.head;
    this.#file = facts.file;
  }

  async *parts(): AsyncIterable<Buffer> {
    const handle = await open(this.#file, "r");
    try {
      for (let at = 0; at < this.size; at += partSize) {
        const part = Buffer.allocUnsafeSlow(Math.min(partSize, this.size - at));
        for (let have = 0; have < part.length;) {
          const { bytesRead } = await handle.read(part, have, part.length - have, at + have);
          if (bytesRead === 0) throw new Error("a spool file is shorter than it was written");
          have += bytesRead;
        }
        yield part;
      }
    } finally {
      await handle.close();
    }
  }

  dispose(): Promise<void> {
    return rm(this.#file, { force: true });
  }
}

/** Takes the octets of one message as they arrive. */
export interface OctetsWriter {
  /**
   * Takes the next octets; the chunk must not be changed afterwards. A promise means that the disk is behind: wait for it
   * before the next call. Rejects with SyncError `transient`/endpoint when the spool cannot be written.
   */
  write(chunk: Buffer): void | Promise<void>;
  /** All octets are in. Nothing may be called afterwards. */
  finish(): Promise<Octets>;
  /** Drops what arrived, with its file. Harmless when called twice, during a write and after `finish` failed. */
  abort(): Promise<void>;
}

const spoolFailed = (cause: unknown): SyncError =>
  new SyncError("transient", "endpoint", {
    code: "endpoint_unavailable",
    message: "A large message could not be kept on disk while it was read.",
    action: "Make room in the data directory of the server that runs Samebox; the message is then read again by itself.",
    cause,
  });

class Spool implements OctetsWriter {
  readonly #file: string;
  readonly #hash = createHash("sha256");
  readonly #start: Buffer[] = [];
  #handle: FileHandle | null = null;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #size = 0;
  #flushing: Promise<void> = Promise.resolve();
  #aborted = false;

  constructor(spoolDir: string) {
    this.#file = join(spoolDir, `${randomUUID()}${spoolSuffix}`);
  }

  write(chunk: Buffer): void | Promise<void> {
    this.#hash.update(chunk);
    // Copied, so that 256 KiB of head do not hold a larger buffer in memory.
    if (this.#size < headLimit) this.#start.push(Buffer.from(chunk.subarray(0, headLimit - this.#size)));
    this.#size += chunk.length;
    this.#waiting.push(chunk);
    this.#waitingBytes += chunk.length;
    return this.#waitingBytes < flushSize ? undefined : this.#flush();
  }

  async finish(): Promise<Octets> {
    await this.#flush();
    await this.#close();
    // A copy again: the head is mostly far shorter than what it was cut from.
    const head = Buffer.from(headOf(Buffer.concat(this.#start)));
    return new SpooledOctets({ size: this.#size, sha256: this.#hash.digest(), head, file: this.#file });
  }

  async abort(): Promise<void> {
    this.#aborted = true;
    await this.#flushing.catch(() => undefined);
    await this.#close();
    await rm(this.#file, { force: true });
  }

  #flush(): Promise<void> {
    const chunks = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#flushing = this.#append(chunks).catch((cause: unknown) => {
      throw spoolFailed(cause);
    });
    return this.#flushing;
  }

  async #append(chunks: Buffer[]): Promise<void> {
    // A write that was on its way when all was given up must not make the file again.
    if (this.#aborted) return;
    this.#handle ??= await open(this.#file, "wx", 0o600);
    let left = chunks;
    while (left.length > 0) {
      const { bytesWritten } = await this.#handle.writev(left);
      left = without(left, bytesWritten);
    }
  }

  async #close(): Promise<void> {
    const handle = this.#handle;
    this.#handle = null;
    await handle?.close();
  }
}

/** The chunks less their first `count` bytes: a full disk or a signal may cut a write short. */
const without = (chunks: Buffer[], count: number): Buffer[] => {
  let skip = count;
  return chunks.flatMap((chunk) => {
    const rest = chunk.subarray(Math.min(skip, chunk.length));
    skip -= chunk.length - rest.length;
    return rest.length === 0 ? [] : [rest];
  });
};

class Collector implements OctetsWriter {
  readonly #spoolDir: string;
  #chunks: Buffer[] = [];
  #size = 0;
  #spool: Spool | null = null;

  constructor(size: number | null, spoolDir: string) {
    this.#spoolDir = spoolDir;
    if (size !== null && size > partSize) this.#spool = new Spool(spoolDir);
  }

  write(chunk: Buffer): void | Promise<void> {
    if (this.#spool !== null) return this.#spool.write(chunk);
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    if (this.#size <= partSize) return undefined;
    this.#spool = new Spool(this.#spoolDir);
    const all = Buffer.concat(this.#chunks);
    this.#chunks = [];
    return this.#spool.write(all);
  }

  async finish(): Promise<Octets> {
    return this.#spool === null ? memoryOctets(Buffer.concat(this.#chunks)) : this.#spool.finish();
  }

  async abort(): Promise<void> {
    this.#chunks = [];
    await this.#spool?.abort();
  }
}

/**
 * Starts to take the octets of one message. `size` is what the server announced, in bytes, or null; it only decides where
 * the octets go at first. Every writer must end with `finish` or `abort`, or its file stays until its process has ended.
 */
export const startOctets = (options: { size: number | null; spoolDir: string }): OctetsWriter =>
  new Collector(options.size, options.spoolDir);
