/** One upstream login of an account, as the owner configured it and as the daemon has learned it. */
import type { ListingWindow } from "./maildrop.ts";

export type Protocol = "imap" | "pop3";

/** `tls`: implicit TLS. `starttls`: required, never opportunistic (RFC 8314 §3). `none`: cleartext, only where allowed. */
export type Security = "tls" | "starttls" | "none";

export interface EndpointSettings {
  readonly protocol: Protocol;
  readonly host: string;
  readonly port: number;
  readonly security: Security;
  readonly tls: { readonly caPem: string | null; readonly rejectUnauthorized: boolean };
}

/** Plain only inside the connect call; sealed everywhere else. */
export type Credentials =
  | { readonly type: "password"; readonly user: string; readonly password: string }
  | { readonly type: "oauth2"; readonly user: string; readonly accessToken: string };

/**
 * What was seen of how a server counts. Learned from steps of which all is known: flags that changed, and the expunge of what
 * was seen marked as deleted before (4.3; RFC 4551 does not ask an expunge to count, RFC 7162 does).
 */
export interface ModseqArithmetic {
  /** A change of flags took as many steps as there were mod-sequences. */
  readonly store?: boolean;
  /** An expunge took one. */
  readonly expunge?: boolean;
  /** Something took fewer steps than it must. */
  readonly refuted?: boolean;
}

/**
 * Which ids of its own a server gives to contents and to mailboxes (L1, D1): OBJECTID (RFC 8474), X-GM-MSGID of X-GM-EXT-1 for
 * contents alone, Dovecot's X-GUID, or none.
 */
export type ObjectIds = "objectid" | "gmail" | "guid" | "none";

/** Learned facts of an endpoint (semantics 1.7). Absent means not learned yet, never "no". */
export interface EndpointProfile {
  /** Upper-case capability names as last seen after login, sorted. */
  readonly capabilities?: readonly string[];
  /** How changes are found: QRESYNC, CONDSTORE, or a full UID+FLAGS diff. */
  readonly changeDetection?: "qresync" | "condstore" | "full";
  /** How news arrive: NOTIFY for all mailboxes, IDLE on INBOX, or polling only. */
  readonly push?: "notify" | "idle" | "poll";
  /** Does one LIST carry every STATUS (RFC 5819)? */
  readonly listStatus?: boolean;
  readonly serverName?: string;
  readonly objectIds?: ObjectIds;
  /** Its POP3 shows mail of every mailbox, not of INBOX alone (Gmail). */
  readonly pop3ShowsAll?: boolean;
  /** Connections the server let us keep; lowered by one each time it says too many, never below 1. */
  readonly connectionBudget?: number;
  readonly modseqArithmetic?: ModseqArithmetic;
  /** IMAP: so many days the server leaves mail in Trash and Junk, then removes it by itself. */
  readonly trashRetentionDays?: number;
  /** POP3: which command was proven to give a whole message as it is; TOP marks nothing as read. */
  readonly wholeBy?: "top" | "retr";
  /** POP3: how unique-ids print the UID of the same INBOX over IMAP; learned while it had this UIDVALIDITY. Absent: by their look nothing is known. */
  readonly uidlFormat?: { readonly name: string; readonly uidValidity: number };
  /** POP3: the server wants so long between two logins (RFC 2449 §6.5), in milliseconds. */
  readonly loginDelayMs?: number;
  /** POP3: the server does not list all there is; null: it does, as far as could be seen. */
  readonly listingWindow?: ListingWindow | null;
  /**
   * POP3: the server removes mail by itself after so many days (RFC 2449 §6.7); 0: what was retrieved, when the session ends
   * well. Absent: it does not say so.
   */
  readonly expireDays?: number;
}
