/**
 * What went wrong with the world outside, as two answers: when to come back (`kind`) and how much to give up (`scope`).
 * Protocol codes stay in `cause`; `message` and `action` are plain words for the account's owner and carry no secret.
 */
export type FailureKind =
  | "credential" // the server refused the login: park after two tries
  | "config" // the account must be changed by a person: retried daily
  | "transient" // full-jitter backoff, 5 s to 15 min
  | "throttle" // the server asked for a pause: honour it and use one connection less
  | "tls" // certificate trouble: retried hourly, never downgraded
  | "bug" // the server or we broke the protocol: quarantine what was asked for
  | "stopped"; // we were told to stop; not a failure of anybody

export type FailureScope = "message" | "mailbox" | "endpoint";

export type FailureCode =
  | "endpoint_auth_failed"
  | "endpoint_refused"
  | "endpoint_unreachable"
  | "endpoint_timeout"
  | "endpoint_tls_failed"
  | "endpoint_throttled"
  | "endpoint_protocol_error"
  | "endpoint_closed"
  | "endpoint_limit_exceeded"
  | "endpoint_unavailable"
  | "endpoint_cleartext_refused"
  | "host_not_allowed"
  | "maildrop_in_use"
  | "mailbox_unavailable"
  | "mailbox_renumbered"
  | "stopped";

export interface FailureDetails {
  readonly code: FailureCode;
  /** One sentence on what happened, e.g. "The server refused the password for ana." */
  readonly message: string;
  /** One sentence on what to do, e.g. "Check the password, then PATCH the endpoint." */
  readonly action: string;
  /** How long the server asked us to stay away, in milliseconds; null when it did not say. */
  readonly retryAfterMs?: number | null;
  readonly cause?: unknown;
}

export class SyncError extends Error {
  override readonly name = "SyncError";
  readonly kind: FailureKind;
  readonly scope: FailureScope;
  readonly code: FailureCode;
  readonly action: string;
  readonly retryAfterMs: number | null;

  constructor(kind: FailureKind, scope: FailureScope, details: FailureDetails) {
    super(details.message, details.cause === undefined ? undefined : { cause: details.cause });
    this.kind = kind;
    this.scope = scope;
    this.code = details.code;
    this.action = details.action;
    this.retryAfterMs = details.retryAfterMs ?? null;
  }
}

/** A promise of our own that did not hold. Ends the pass; never shown to a user as the server's fault. */
export class InvariantError extends Error {
  override readonly name = "InvariantError";
}

export function invariant(holds: unknown, promise: string): asserts holds {
  if (!holds) throw new InvariantError(promise);
}
