/**
 * The second connection of a session, for reading in bulk: opened when there is much to read and the budget has a place,
 * kept for a while because the next slice of a backfill comes soon, and given up for good when server and reader do not
 * understand each other.
 */
import { SyncError } from "../../model/failure.ts";
import type { Lease } from "../budget.ts";
import type { BulkReader } from "./bulk-reader.ts";

export interface BulkLaneOptions {
  readonly open: (signal: AbortSignal) => Promise<BulkReader>;
  /** A place for one more connection, or null. */
  readonly lease: () => Lease | null;
  readonly idleMs: number;
  /** Told of every failure of the second connection. */
  readonly onFailure: (error: SyncError) => void;
}

export class BulkLane {
  readonly #options: BulkLaneOptions;
  #reader: BulkReader | null = null;
  #lease: Lease | null = null;
  #busy = false;
  #closed = false;
  /** The server and the reader do not understand each other; trying again would cost a login each time. */
  #useless = false;
  #idleTimer: NodeJS.Timeout | null = null;

  constructor(options: BulkLaneOptions) {
    this.#options = options;
  }

  /** The reader, for this caller alone until {@link give}; null when there is none to be had now. */
  async take(signal: AbortSignal): Promise<BulkReader | null> {
    if (this.#busy || this.#useless || this.#closed) return null;
    this.#busy = true;
    if (this.#idleTimer !== null) clearTimeout(this.#idleTimer);
    this.#idleTimer = null;
    if (this.#reader?.usable === true) return this.#reader;
    await this.#drop();
    this.#lease = this.#options.lease();
    if (this.#lease !== null) {
      try {
        this.#reader = await this.#options.open(signal);
        if (!this.#closed) return this.#reader;
      } catch (error) {
        this.failed(error);
      }
    }
    await this.#drop();
    this.#busy = false;
    return null;
  }

  /** Ends a {@link take}. */
  give(): void {
    this.#busy = false;
    if (this.#closed || this.#reader?.usable !== true) void this.#drop();
    else this.#idleTimer = setTimeout(() => void this.#drop(), this.#options.idleMs);
  }

  /** The reader failed at this; says what will be tried again. */
  failed(error: unknown): void {
    if (!(error instanceof SyncError) || error.kind === "bug") this.#useless = true;
    if (error instanceof SyncError) this.#options.onFailure(error);
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#idleTimer !== null) clearTimeout(this.#idleTimer);
    this.#idleTimer = null;
    await this.#drop();
  }

  async #drop(): Promise<void> {
    const reader = this.#reader;
    const lease = this.#lease;
    this.#reader = null;
    this.#lease = null;
    await reader?.close();
    lease?.release();
  }
}
