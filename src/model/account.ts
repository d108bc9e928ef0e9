/** One person's canonical mail: the unit of isolation, ordering and sharding. */

export type SyncState = "connecting" | "backfilling" | "live" | "paused" | "needs_reauth" | "needs_attention" | "held";

/** Policies of semantics 4.5 and 5.3; every one has a default. */
export interface Policy {
  readonly pop3Devices: "unknown" | "declared" | "none";
  readonly onPop3Drain: "keep" | "mirror" | "restore";
  /** New mail of INBOX is copied to where a POP3 device does not see it, as long as one reads the account (V21). */
  readonly preserveAhead: boolean;
  readonly onUserExpunge: "keep" | "mirror";
  readonly onUnknownVanish: "auto" | "keep" | "mirror";
  readonly pop3Seen: "auto" | "accept" | "revert";
  readonly serverCopy: "leave" | "delete_after_days" | "delete_on_purge";
  /** Under `delete_after_days`: so long the server keeps what is stored here; at least 1. */
  readonly serverCopyDays: number;
  readonly retentionDays: number;
}

export const defaultPolicy: Policy = {
  pop3Devices: "unknown",
  onPop3Drain: "keep",
  preserveAhead: false,
  onUserExpunge: "mirror",
  onUnknownVanish: "auto",
  pop3Seen: "auto",
  serverCopy: "leave",
  serverCopyDays: 30,
  retentionDays: 30,
};

/** Proof of ownership of a shard; every canonical write checks it in its own transaction (I6 fencing). */
export interface Fence {
  readonly shard: number;
  readonly owner: string;
  readonly epoch: bigint;
}

/** Why an account should be looked at. Rides on a queue job; never carries facts or secrets. */
export type Because = "created" | "changed" | "push" | "sweep" | "api" | "write" | "backfill" | "recovery" | "reconnect";
