/**
 * What one look at one endpoint told, for a person who wants to know whether it is fit and what to set on the devices.
 * Nothing in here is kept, and no text of a server is in it but names it gives itself.
 */
import type { Credentials, EndpointProfile, EndpointSettings } from "./endpoint.ts";
import type { FailureCode } from "./failure.ts";
import type { Role } from "./mail.ts";

export interface ProbeRequest {
  readonly settings: EndpointSettings;
  readonly credentials: Credentials;
}

/** Where a look ended: name and TCP, TLS, the greeting, the login, what comes behind it. */
export type ProbeStep = "connect" | "tls" | "greeting" | "login" | "look";

export interface ProbeFailure {
  readonly step: ProbeStep;
  readonly code: FailureCode;
  readonly message: string;
  readonly action: string;
}

export type CertificateProblem =
  | "expired"
  | "not_yet_valid"
  | "name_mismatch"
  | "self_signed"
  | "unknown_authority"
  | "incomplete_chain"
  | "other";

export interface CertificateFindings {
  /** Would a connection that checks it go on? */
  readonly valid: boolean;
  readonly problem: CertificateProblem | null;
  readonly subject: string | null;
  /** At most 20. */
  readonly names: readonly string[];
  readonly issuer: string | null;
  /** Null where the certificate does not say. */
  readonly expiresAt: Date | null;
}

export interface TlsFindings {
  readonly mode: "implicit" | "starttls";
  /** E.g. `TLSv1.3`. */
  readonly version: string | null;
  readonly cipher: string | null;
  /** Whoever gets the server's key later cannot read what was recorded now. */
  readonly forwardSecrecy: boolean;
  readonly certificate: CertificateFindings | null;
}

export type ServerKind =
  | "dovecot"
  | "cyrus"
  | "courier"
  | "wildduck"
  | "stalwart"
  | "gmail"
  | "exchange"
  | "zimbra"
  | "yahoo"
  | "icloud"
  | "proton_bridge"
  | "unknown";

export interface ImapFindings {
  readonly changeDetection: NonNullable<EndpointProfile["changeDetection"]>;
  /** Do mod-sequences say what changed? `unproven`: INBOX is empty or keeps none (NOMODSEQ). */
  readonly condstore: { readonly verdict: "honest" | "dishonest" | "unproven" | "absent"; readonly evidence: readonly string[] };
  /** The best that is offered. */
  readonly push: NonNullable<EndpointProfile["push"]>;
  readonly listStatus: boolean;
  /** Does the server itself say which mailbox is for what (RFC 6154)? */
  readonly specialUse: boolean;
  readonly roles: readonly Role[];
  readonly mailboxes: number;
  readonly inboxMessages: number | null;
}

export type RetrSetsSeen = "unknown" | "no" | "session_end" | "per_message";
export type DeleEffect = "unknown" | "expunge" | "move_to_trash" | "server_policy" | "destroy_everywhere";

/** How unique-ids look. The look proves nothing: only mail that is known over IMAP too does. */
export type UidlLook =
  | "hex-uid-validity"
  | "hex-validity-uid"
  | "validity.uid"
  | "validity-uid"
  | "UIDuid-validity"
  | "validityuid"
  | "uid"
  | "object-id"
  | "file-name"
  | "opaque";

export interface Pop3Findings {
  readonly messages: number | null;
  /** Do STAT, LIST and UIDL agree? */
  readonly listingComplete: boolean;
  readonly uidl: {
    readonly offered: boolean;
    /** Null where there is nothing to look at. */
    readonly look: UidlLook | null;
    /** So many ids were looked at. */
    readonly seen: number;
    readonly duplicates: number;
    /** Longer than the 70 characters of RFC 1939 §7. */
    readonly tooLong: number;
  };
  /** `usable`: it gave a header block. Null: the maildrop is empty. */
  readonly top: { readonly offered: boolean; readonly usable: boolean | null };
  readonly pipelining: boolean;
  /** Known of this kind of server, never tried: trying would mark somebody's mail. */
  readonly retrSetsSeen: { readonly verdict: RetrSetsSeen; readonly because: string };
  readonly deleEffect: DeleEffect;
  readonly listingWindow: {
    readonly verdict: "none_seen" | "suspected" | "newest_only" | "not_yet_popped";
    readonly because: string;
  };
  /** Days; 0: what was retrieved may be removed at the end of the session (RFC 2449 §6.7). Null: never, or not said. */
  readonly expireDays: number | null;
  readonly loginDelaySeconds: number | null;
  /** `exclusive`: while one session is open no other one is let in. */
  readonly sessions: "exclusive" | "parallel" | "not_tried";
}

export interface Advice {
  /** Stable, for programs. */
  readonly code: string;
  readonly severity: "info" | "warning" | "problem";
  /** What was found, in one sentence. */
  readonly message: string;
  /** What to do about it, in one sentence. */
  readonly action: string;
}

export interface Diagnosis {
  /** Did a mail server of this protocol answer? */
  readonly reachable: boolean;
  /** Null: the look came to its end. */
  readonly failed: ProbeFailure | null;
  /** Null: the connection is not protected, or it did not come to that. */
  readonly tls: TlsFindings | null;
  readonly login: "accepted" | "refused" | "busy" | "failed" | "not_tried";
  readonly server: { readonly kind: ServerKind; readonly name: string | null };
  /** In capitals, sorted. Null: the server was not asked, or would not say. */
  readonly capabilities: { readonly beforeLogin: readonly string[] | null; readonly afterLogin: readonly string[] | null };
  readonly imap: ImapFindings | null;
  readonly pop3: Pop3Findings | null;
  readonly advice: readonly Advice[];
}

/** Who looks. */
export interface Prober {
  /** Within a deadline of its own, whatever the server does. Null: cannot be asked just now, or not by `asker`, a tenant. */
  probe(request: ProbeRequest, asker: string): Promise<Diagnosis | null>;
}
