/** How long a server may take over a bulk read. While our own side is behind, it is not to blame and no time is counted. */

/** Times in milliseconds. */
export interface BulkTiming {
  readonly connectMs: number;
  readonly loginMs: number;
  /** Without a single octet. */
  readonly silenceMs: number;
  /** Of an EXAMINE or a SEARCH. */
  readonly examineMs: number;
  /** Of one UID FETCH, and a millisecond more for every `octetsPerMs` that came: a server that drips meets it. */
  readonly fetchMs: number;
  readonly octetsPerMs: number;
  readonly tickMs: number;
}

export const defaultTiming: BulkTiming = {
  connectMs: 30_000,
  loginMs: 30_000,
  silenceMs: 90_000,
  examineMs: 60_000,
  fetchMs: 120_000,
  octetsPerMs: 10,
  tickMs: 1000,
};

export interface Turn {
  readonly kind: "examine" | "search" | "fetch";
  /** False while our own side is behind. */
  readonly listening: boolean;
  /** Octets that ever came over the connection. */
  readonly received: number;
}

/** Counts the server's time over the oldest command under way. */
export class BulkClock {
  readonly #timing: BulkTiming;
  #tickedAt = performance.now();
  #received = 0;
  #receivedBefore = 0;
  #silentMs = 0;
  #turnMs = 0;

  constructor(timing: BulkTiming) {
    this.#timing = timing;
  }

  /** Another command's turn begins. */
  restart(received: number): void {
    this.#receivedBefore = received;
    this.#silentMs = 0;
    this.#turnMs = 0;
  }

  /** To be called every `tickMs`, with null when nothing is asked. Gives the time that has run out, or null. */
  tick(turn: Turn | null): number | null {
    const now = performance.now();
    // When this process itself stood still, the server is not to blame for it.
    const passed = Math.min(now - this.#tickedAt, 2 * this.#timing.tickMs);
    this.#tickedAt = now;
    if (turn === null || !turn.listening) return null;
    if (turn.received !== this.#received) this.#silentMs = 0;
    this.#received = turn.received;
    this.#silentMs += passed;
    this.#turnMs += passed;
    const { silenceMs, examineMs, fetchMs, octetsPerMs } = this.#timing;
    if (this.#silentMs > silenceMs) return silenceMs;
    const allowedMs = turn.kind !== "fetch" ? examineMs : fetchMs + (turn.received - this.#receivedBefore) / octetsPerMs;
    return this.#turnMs > allowedMs ? allowedMs : null;
  }
}
