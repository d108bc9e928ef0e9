/** All mailboxes of an endpoint, as one listing showed them. */
import type { Role, RoleSource } from "./mail.ts";

/** One mailbox as LIST and STATUS showed it. */
export interface SurveyedMailbox {
  /** Full upstream name, decoded to Unicode; the address of the mailbox at this endpoint. */
  readonly path: string;
  readonly delimiter: string | null;
  readonly selectable: boolean;
  readonly subscribed: boolean;
  readonly role: Role | null;
  readonly roleSource: RoleSource | null;
  /** A view of all mail (`\\All`, RFC 6154): what it shows is in other mailboxes, or in none. Absent: no. */
  readonly showsAll?: boolean;
  /** By which the server knows the mailbox, whatever its name; null: it tells none. */
  readonly objectId: string | null;
  /** null: not selectable, or the server would not say (then `statusError` tells why). */
  readonly status: MailboxStatus | null;
  readonly statusError: string | null;
}

export interface MailboxStatus {
  readonly messages: number;
  readonly uidNext: number;
  readonly uidValidity: number;
  readonly unseen: number | null;
  /** null: the server keeps no mod-sequences for this mailbox. */
  readonly highestModseq: bigint | null;
}

export interface Survey {
  readonly startedAt: Date;
  readonly endedAt: Date;
  /** False when the listing was cut off or refused in part: nothing may be concluded from what is missing (I11). */
  readonly complete: boolean;
  readonly mailboxes: readonly SurveyedMailbox[];
}
