/** Nothing that waits for a server waits for ever, and nothing goes on waiting once it was told to stop. */
import { SyncError } from "../model/failure.ts";

/** What a wait rejects with when its signal aborts: the signal's own SyncError, else `stopped`/endpoint. */
export const stoppedBy = (signal: AbortSignal): SyncError =>
  signal.reason instanceof SyncError
    ? signal.reason
    : new SyncError("stopped", "endpoint", {
        code: "stopped",
        message: "The work was stopped before it ended.",
        action: "Nothing has to be done.",
        cause: signal.reason,
      });

/** `transient`/endpoint: the server let `ms` milliseconds pass. */
export const tooSlow = (ms: number): SyncError =>
  new SyncError("transient", "endpoint", {
    code: "endpoint_timeout",
    message: `The mail server did not answer within ${secondsOf(ms)}.`,
    action: "Nothing has to be done now: it is tried again. If it lasts, ask whoever runs the mail server.",
  });

const secondsOf = (ms: number): string => {
  const seconds = Math.max(1, Math.round(ms / 1000));
  return seconds === 1 ? "1 second" : `${seconds} seconds`;
};

/**
 * Runs `operation` and settles with it, at the latest after `ms` milliseconds or when `signal` aborts; `operation` is
 * not begun when it has aborted already. Past the deadline `onExpiry` is called, which must end what is still running
 * (an abort leaves that to the caller); a late result or error of the operation is dropped.
 * @throws SyncError `transient`/endpoint `endpoint_timeout`; {@link stoppedBy} the signal; or what the operation throws.
 */
export const withDeadline = <T>(
  operation: () => Promise<T>,
  ms: number,
  signal: AbortSignal,
  onExpiry: () => void,
): Promise<T> => {
  if (signal.aborted) return Promise.reject(stoppedBy(signal));
  return new Promise((resolve, reject) => {
    const settle = (how: () => void): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
      how();
    };
    const onAbort = (): void => settle(() => reject(stoppedBy(signal)));
    const timer = setTimeout(() => {
      settle(() => reject(tooSlow(ms)));
      onExpiry();
    }, ms);
    signal.addEventListener("abort", onAbort);
    const failed = (error: unknown): void => settle(() => reject(error));
    try {
      operation().then((value) => settle(() => resolve(value)), failed);
    } catch (error) {
      failed(error);
    }
  });
};
