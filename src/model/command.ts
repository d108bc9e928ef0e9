/**
 * What the daemon writes to a mail server. A command names a placement and says that it wants looking at, never an upstream
 * number: what is sent, and where, is drawn from the state when it is sent, so that a new epoch costs nothing (semantics ID-8).
 */
import type { MailboxId, PlacementId } from "./ids.ts";

/** Why the daemon writes of its own accord; a placement gets each of these once in its life (I14). */
export type RuleReason =
  /** A POP3 device only retrieved it, and the owner wants it unread (Z5). */
  | "pop3_seen_reverted"
  /** It was marked as read on the way to Trash, where the server moves what a POP3 device deletes (Z5). */
  | "pop3_drain_via_trash"
  /** We had to retrieve it over POP3 ourselves (K11). */
  | "self_inflicted_seen"
  /** A POP3 device took it from INBOX (V18). */
  | "restored_after_drain"
  /** A POP3 device reads the account and may take it from INBOX: a copy lies where that device does not look (V21). */
  | "preserved_ahead"
  /** It was gone from where it was to be moved from (P8). */
  | "source_gone"
  /** The server lost them: nobody took them away (F9, B3). */
  | "flags_lost"
  /** A device took away what is never taken away (3.1). */
  | "grow_only"
  /** Keywords were shown of which at most one can be true (3.1). */
  | "exclusive_keywords";

/** Why something is written: by a rule, or because somebody asked for it over the API. */
export type CommandReason = RuleReason | "api_write";

interface Planned {
  readonly placementId: PlacementId;
  readonly reason: RuleReason;
}

/**
 * Keywords of `remove` are taken away upstream while the canonical placement lacks them; without it, upstream is to have the flags that
 * the placement has. `append` puts its octets back, or a copy of them there.
 */
export type CommandPlan =
  | (Planned & { readonly verb: "store"; readonly args: { readonly remove?: readonly string[] } })
  | (Planned & { readonly verb: "append"; readonly args: Readonly<Record<string, never>> });

/** `move` and `expunge` are only ever wanted by an operation. */
export type CommandVerb = CommandPlan["verb"] | "move" | "expunge";

/** `unknown`: the connection was lost before the answer came; never taken for failed (C9). */
export type OpenStatus = "planned" | "sent" | "unknown";
/** `masked`: the server never does this. `superseded`: nobody wants it any more. */
export type EndStatus = "confirmed" | "failed" | "masked" | "superseded";

export interface FlagsSaid {
  readonly change: "add" | "remove";
  readonly flags: readonly string[];
}

/** Committed before anything is sent: how to tell afterwards whether it was done (C3). */
export interface CommandFence {
  readonly mailboxId: MailboxId;
  readonly epoch: number;
  readonly uidValidity: number;
  /** Of a `store`: the mod-sequence at which the item was last seen, as decimal; null where the server has none. */
  readonly modseq?: string | null;
  /** Of an `append` or a `move`: the lowest UID that the item can have. */
  readonly uidNext?: number;
  /** Of an `append`: hex hash of the normal form of what was sent. */
  readonly hFull?: string;
  /** Of a move: hex SHA-256 of the octets. */
  readonly sha256?: string;
  /** Of a `store` and an `append`: the flags that were said. Seeing them is no news, whoever looks (I8). */
  readonly said?: FlagsSaid;
  /** Complete looks behind a lost answer that did not show the item. */
  readonly looks?: number;
  /** A listing of all that is there was asked for, to tell whether it was there and went. */
  readonly listed?: boolean;
  /** Of an `append`: the server said that it was done, so that it is never sent again, whether it is found or not. */
  readonly answered?: true;
}
