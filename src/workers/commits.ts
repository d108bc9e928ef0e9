/** How reading runs ahead of storing: by a bounded number of batches and octets. */

/** Octets on their way to the store at once; they stand in memory meanwhile. */
const mostBytesInFlight = 12 * 1024 * 1024;
const mostInFlight = 8;
/**
 * Batches on their way into the store: octets side by side, commits one after the other in the order of reading, whatever
 * mailbox they are of. After a failure nothing that stands behind it is committed.
 */
export class Commits<Prepared> {
  private tail: Promise<void> = Promise.resolve();
  private readonly inFlight: { readonly done: Promise<void>; readonly bytes: number }[] = [];
  private bytes = 0;

  /**
   * Takes the next commit, of a batch of so many bytes that may still be on its way; waits while too much is.
   * `release` lets go of its octets, whatever came of it. @throws what an earlier one threw.
   */
  async add(
    prepared: Promise<Prepared>,
    bytes: number,
    { commit, release }: { readonly commit: (batch: Prepared) => Promise<void>; readonly release?: () => Promise<void> },
  ): Promise<void> {
    const { tail } = this;
    this.tail = Promise.allSettled([tail, prepared]).then(async () => {
      try {
        await tail;
        await commit(await prepared);
      } finally {
        await release?.();
      }
    });
    // Told by whoever waits for the oldest, or for all.
    this.tail.catch(() => undefined);
    this.inFlight.push({ done: this.tail, bytes });
    this.bytes += bytes;
    while (this.inFlight.length >= mostInFlight || (this.bytes > mostBytesInFlight && this.inFlight.length > 1)) {
      const oldest = this.inFlight.shift();
      this.bytes -= oldest?.bytes ?? 0;
      await oldest?.done;
    }
  }

  /** Waits for all. @throws what one of them threw. */
  async drain(): Promise<void> {
    this.inFlight.length = 0;
    this.bytes = 0;
    await this.tail;
  }
}
