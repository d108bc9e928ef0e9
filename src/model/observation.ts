/**
 * What one look at an endpoint showed. Facts only: an observation never says what to do.
 * UIDs and UIDVALIDITY are unsigned 32-bit (RFC 9051 §2.3.1.1), MODSEQ unsigned 63-bit (RFC 7162 §3.1).
 */
import type { Octets } from "./octets.ts";

export type { MailboxStatus, Survey, SurveyedMailbox } from "./survey.ts";

/** Where the last agreed look at a mailbox ended. */
export interface MailboxCursor {
  readonly uidValidity: number;
  readonly uidNext: number;
  readonly highestModseq: bigint | null;
}

export interface ObserveRequest {
  readonly path: string;
  /** null: nothing is known yet, or nothing known may be trusted: list everything. */
  readonly since: MailboxCursor | null;
  /**
   * Number of items we hold bound below `since.uidNext`: a different count after the changes means a full listing.
   * null: not all of them were read yet, so that counts prove nothing.
   */
  readonly boundCount: number | null;
}

export interface FlagsFact {
  readonly uid: number;
  readonly flags: readonly string[];
  readonly modseq: bigint | null;
}

/** One mailbox, looked at once. Items at or above `since.uidNext` are not in it: they are fetched with their octets. */
export interface MailboxObservation {
  readonly path: string;
  readonly startedAt: Date;
  readonly endedAt: Date;
  readonly uidValidity: number;
  readonly uidNext: number;
  readonly highestModseq: bigint | null;
  readonly exists: number;
  readonly permanentFlags: readonly string[];
  /** False where items are numbered anew at each look: of what is not found again nobody can say that it is gone. */
  readonly numbersLast: boolean;
  readonly method: "qresync" | "condstore" | "full";
  /** Flags of items that changed (`qresync`, `condstore`) or of all items (`full`). Ascending by UID. */
  readonly flags: readonly FlagsFact[];
  /** UIDs the server reported gone (VANISHED). Ascending. Unknown ones are to be ignored (I13). */
  readonly vanished: readonly number[];
  /** Every UID present, ascending, when the listing was whole (gate G1); null when absence proves nothing. */
  readonly present: readonly number[] | null;
}

/** Inclusive range of UIDs. */
export interface UidRange {
  readonly from: number;
  readonly to: number;
}

export interface FetchRequest {
  readonly path: string;
  /** The epoch the ranges were computed in; another UIDVALIDITY ends the fetch with a mailbox-scoped error. */
  readonly uidValidity: number;
  /** Read in this order. */
  readonly ranges: readonly UidRange[];
}

export interface HeadsRequest extends FetchRequest {
  /** Everything but the header blocks: enough where the server's own ids tell what an item is. */
  readonly bare?: boolean;
}

/** One message with its octets. `octets` null: the server listed it but would not give it (gate G7); `unavailable` says why. */
export interface FetchedItem {
  readonly uid: number;
  readonly flags: readonly string[];
  readonly modseq: bigint | null;
  readonly internalDate: Date;
  /** By which the server knows the content (L1), whatever the mailbox; absent or null: it tells none. */
  readonly objectId?: string | null;
  /** Of the whole, in octets, as the server lists it: some only guess. Absent or null: it told none. */
  readonly size?: number | null;
  readonly octets: Octets | null;
  readonly unavailable: string | null;
}

/** One message without its text. */
export interface HeadItem {
  readonly uid: number;
  readonly flags: readonly string[];
  readonly modseq: bigint | null;
  readonly internalDate: Date;
  /** Octets of the whole, as the server lists them. */
  readonly size: number;
  /** As of {@link FetchedItem}. */
  readonly objectId?: string | null;
  /** Empty where it was not asked for. */
  readonly head: Buffer;
}

/** At most `batchMessages` items or about `batchBytes`. `rangeDone` names the range that ended with this batch. */
export interface FetchedBatch {
  readonly items: readonly FetchedItem[];
  readonly rangeDone: UidRange | null;
}

export const batchMessages = 500;
export const batchBytes = 8 * 1024 * 1024;
