/** The ways in which real servers differ (semantics 7), as switches of the server model. */

export interface Quirks {
  /** How changes of a mailbox are told. */
  readonly changes: "qresync" | "condstore" | "full";
  readonly push: "notify" | "idle" | "poll";
  /** Does an APPEND say where it went (RFC 4315)? */
  readonly uidplus: boolean;
  /** Keywords that INBOX cannot hold: a client's STORE of them does nothing. */
  readonly keywords: "any" | "none";
  /** When a RETR marks a message as read (Z1). */
  readonly retrSeen: "no" | "session_end" | "per_message";
  /** What a DELE does when its session ends well (4.3). */
  readonly deleEffect: "expunge" | "move_to_trash" | "hide" | "destroy_everywhere";
  /** What unique-ids look like (ID-10). */
  readonly uidl: "hex" | "dotted" | "uid" | "guid";
  /** A maildrop lists so many of its newest items only; 0: all. */
  readonly window: number;
  /** TOP gives whole messages and marks nothing. */
  readonly top: boolean;
  /** The first STORE of an item is answered with OK, and does nothing (E15). */
  readonly deafStore: boolean;
  /** The first time that it is fetched, the body of mail that others brought is NIL (G7, E27). */
  readonly nilBody: boolean;
  /** Ids of mailboxes and of contents (RFC 8474), which last over moves, renames and epochs; copies have their own, or the same one. */
  readonly objectIds: "none" | "own" | "same";
  /** The first listing of unique-ids has no end: the server closes after its OK (G2, E29). */
  readonly endlessUidl: boolean;
  /** A mailbox that is listed once and never again, though it is there (D2). */
  readonly unlisted?: string;
}

export const noQuirks: Quirks = {
  changes: "qresync",
  push: "notify",
  uidplus: true,
  keywords: "any",
  retrSeen: "session_end",
  deleEffect: "expunge",
  uidl: "hex",
  window: 0,
  top: true,
  deafStore: false,
  nilBody: false,
  objectIds: "none",
  endlessUidl: false,
};
