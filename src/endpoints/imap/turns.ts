/** Who may use a connection: one after the other, in the order of asking. */
import { stoppedBy } from "../deadline.ts";

export class Turns {
  #last: Promise<void> = Promise.resolve();
  #asking = 0;

  /** How many have a turn or wait for one. */
  get asking(): number {
    return this.#asking;
  }

  /**
   * Waits for a turn and runs `work` in it.
   * @throws what `work` throws; `stopped` when the signal aborts before the turn has come.
   */
  async take<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const before = this.#last;
    const { promise: over, resolve: end } = Promise.withResolvers<void>();
    this.#last = over;
    this.#asking += 1;
    try {
      await orAborted(before, signal);
      return await work();
    } finally {
      this.#asking -= 1;
      // Whoever gave up waiting passes the turn on when it comes.
      void before.then(end);
    }
  }
}

const orAborted = (before: Promise<void>, signal: AbortSignal): Promise<void> => {
  if (signal.aborted) return Promise.reject(stoppedBy(signal));
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(stoppedBy(signal));
    signal.addEventListener("abort", onAbort, { once: true });
    void before.then(() => {
      signal.removeEventListener("abort", onAbort);
      resolve();
    });
  });
};
