/** When to come back after a failure or a success, and what the account's owner is told meanwhile (reliability 1.5). Pure. */
import type { SyncState } from "../model/account.ts";
import type { SyncError } from "../model/failure.ts";

export interface RetryTimes {
  /** First upper bound of the jittered wait, in ms. */
  readonly transientFirstMs: number;
  readonly transientMostMs: number;
  /** Between the two tries of a refused login; after the second the account is parked. */
  readonly credentialMs: number;
  readonly configMs: number;
  readonly tlsMs: number;
}

export const defaultRetryTimes: RetryTimes = {
  transientFirstMs: 5_000,
  transientMostMs: 15 * 60_000,
  credentialMs: 5 * 60_000,
  configMs: 24 * 3_600_000,
  tlsMs: 3_600_000,
};

export interface Retry {
  readonly syncState: SyncState;
  readonly attempts: number;
  /** null: parked until a person changes something. */
  readonly waitMs: number | null;
}

/** Logins refused in a row after which nobody knocks again, so that the provider does not lock the user out. */
const credentialTries = 2;

/**
 * Wait before the next connection, in ms, after `before` that were soon lost or never came about; `random` is in [0, 1).
 * Full jitter, but never at once: a server that drops every connection must not be hammered.
 */
export const planReconnect = (before: number, random: number, times: RetryTimes): number => {
  const most = Math.min(times.transientMostMs, times.transientFirstMs * 2 ** Math.min(before, 20));
  return Math.round(most * (0.1 + 0.9 * random));
};

/** `attempts` counts the failures in a row before this one; `random` is in [0, 1). */
export const planRetry = (failure: SyncError, attempts: number, random: number, times: RetryTimes): Retry => {
  const next = attempts + 1;
  switch (failure.kind) {
    case "credential":
      return next >= credentialTries
        ? { syncState: "needs_reauth", attempts: next, waitMs: null }
        : { syncState: "connecting", attempts: next, waitMs: times.credentialMs };
    case "config":
      return { syncState: "needs_attention", attempts: next, waitMs: times.configMs };
    case "tls":
      return { syncState: "needs_attention", attempts: next, waitMs: times.tlsMs };
    case "throttle":
    case "transient":
    case "bug":
    case "stopped": {
      const waitMs = Math.max(failure.retryAfterMs ?? 0, planReconnect(attempts, random, times));
      return { syncState: "connecting", attempts: next, waitMs };
    }
  }
};

const webhookFirstMs = 5_000;
const webhookMostMs = 3_600_000;

/** How long until a webhook's receiver is asked again, in ms; it goes on at the longest for as long as it takes. `random` is in [0, 1). */
export const planWebhookRetry = (attempts: number, retryAfterMs: number, random: number): number =>
  Math.max(
    retryAfterMs,
    Math.round(Math.min(webhookMostMs, webhookFirstMs * 2 ** Math.min(attempts, 20)) * (0.5 + 0.5 * random)),
  );

/** Candidates and mailboxes that seem gone are looked at again after so long at the latest: gates wait for a minute. */
const waitingMostMs = 65_000;
const safetyPollMs = 15 * 60_000;

/**
 * Time from one look at everything to the next, in ms. Where the server tells of every mailbox a look only makes sure
 * that it does, and it is believed by and by: mail put into a Maildir by another program is not told of (Dovecot 2.3).
 */
export const planSweep = (account: {
  readonly pollMs: number;
  /** Something waits to be seen a second time. */
  readonly waiting: boolean;
  readonly toldOfAll: boolean;
  /** Looks in a row that found nothing untold. */
  readonly quietSweeps: number;
}): number => {
  const { pollMs, waiting, toldOfAll, quietSweeps } = account;
  if (waiting) return Math.min(pollMs, waitingMostMs);
  return toldOfAll ? Math.max(pollMs, Math.min(safetyPollMs, pollMs * 2 ** quietSweeps)) : pollMs;
};
