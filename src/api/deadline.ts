/** Waiting no longer than an answer may take. */

/**
 * What `work` gives, or a rejection with the signal's reason after `ms` milliseconds, whether or not `work` has noticed: it may
 * stand in a queue behind others.
 */
export const within = async <T>(ms: number, work: (signal: AbortSignal) => Promise<T>): Promise<T> => {
  const signal = AbortSignal.timeout(ms);
  const expired = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
  });
  return Promise.race([work(signal), expired]);
};
