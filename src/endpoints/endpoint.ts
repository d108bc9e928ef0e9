/**
 * The seam to every mail protocol: five verbs at mail level. Protocol words stay behind it; what an endpoint can do is
 * a fact in its profile. Nothing here ever changes a flag, a message or a mailbox upstream.
 *
 * Every call rejects with a {@link SyncError} (class and scope say how to go on), never hangs past its deadline, and
 * settles soon after `signal` aborts. After an endpoint-scoped error the session is dead: open a new one.
 */
import type { Credentials, EndpointProfile, EndpointSettings } from "../model/endpoint.ts";
import type { SyncError } from "../model/failure.ts";
import type { ListedItem, PairedItem, UidlMeaning } from "../model/maildrop.ts";
import type {
  FetchedBatch,
  FetchRequest,
  FlagsFact,
  HeadItem,
  HeadsRequest,
  MailboxObservation,
  ObserveRequest,
  Survey,
} from "../model/observation.ts";
import type { Octets } from "../model/octets.ts";
import type { Logger } from "../telemetry/log.ts";

export interface Session {
  /** Learned at login and refined since; persist it when it changes. */
  readonly profile: EndpointProfile;
  /** False after close or loss; `lost` then says why. */
  readonly usable: boolean;
  /** All mailboxes with their counters: one round trip where the server has LIST-STATUS (RFC 5819). */
  survey(signal: AbortSignal): Promise<Survey>;
  /** Those of the mailboxes that the server does not say to be gone, whether it lists them or not (D2). */
  answering(paths: readonly string[], signal: AbortSignal): Promise<readonly string[]>;
  /** What changed in one mailbox since a cursor, or everything in it. */
  observe(request: ObserveRequest, signal: AbortSignal): Promise<MailboxObservation>;
  /**
   * Messages with their octets, range by range. Reads ahead of the consumer by a bounded number of batches. Octets not
   * disposed by the consumer are disposed when the iteration ends.
   */
  fetch(request: FetchRequest, signal: AbortSignal): AsyncIterable<FetchedBatch>;
  /**
   * Header blocks of the messages in the ranges, some hundred at once, small ranges together; marks nothing as read. What a server
   * leaves out, and a block of more than 64 KiB, is not there.
   */
  heads(request: HeadsRequest, signal: AbortSignal): AsyncIterable<readonly HeadItem[]>;
  /**
   * Starts to listen for news and returns when the server listens: NOTIFY, else IDLE on INBOX, else nothing. Other
   * verbs may be called meanwhile; listening goes on after each. `onNews` says which mailboxes to look at; `null` means
   * any. `onLost` is called once when the connection is gone without our asking.
   */
  watch(listener: WatchListener, signal: AbortSignal): Promise<{ readonly watching: readonly string[] }>;
  /** Polite where that is quick (at most 2 s), then hard. Harmless when called twice. */
  close(): Promise<void>;
}

export interface WatchListener {
  onNews(path: string | null): void;
  onLost(error: Error): void;
}

export interface OpenRequest {
  readonly settings: EndpointSettings;
  readonly credentials: Credentials;
  readonly profile: EndpointProfile;
  readonly log: Logger;
}

export interface EndpointDriver {
  open(request: OpenRequest, signal: AbortSignal): Promise<Session>;
}

/** One item of a listing, with its number in this session. */
export interface MaildropItem extends ListedItem {
  readonly number: number;
}

/** A maildrop, listed once. `complete` (gate G2): all counts agree, so that what is missing is not there. */
export interface MaildropListing {
  readonly complete: boolean;
  /** In the order of the server. */
  readonly items: readonly MaildropItem[];
}

/** The octets of an item, or why the server would not give them. The caller disposes the octets. */
export type ReadItem =
  | { readonly item: MaildropItem; readonly octets: Octets; readonly error: null }
  | { readonly item: MaildropItem; readonly octets: null; readonly error: SyncError };

/** May reading mark mail as read? */
export type MayMark = boolean | ((items: readonly MaildropItem[]) => Promise<void>);

/**
 * The seam to a source without mailboxes, flags and news: listed, read, closed, and opened anew for the next look. Nothing
 * is ever removed. Calls fail as those of a {@link Session} do.
 */
export interface MaildropSession {
  /** Learned at login and refined since; persist it when it changes. */
  readonly profile: EndpointProfile;
  list(signal: AbortSignal): Promise<MaildropListing>;
  /** What the id tells of the item while INBOX has this UIDVALIDITY (semantics ID-3); null: nothing that is sure. */
  meaningOf(uidl: string, uidValidity: number): UidlMeaning | null;
  /**
   * Learns how ids tell items from some of `items` that were known by their octets; forgets it at the first contradiction
   * (semantics ID-10).
   */
  learnUidls(paired: readonly PairedItem[], items: number): void;
  /** What was learned of ids has proven false. */
  forgetUidls(): void;
  /** The header blocks, in order; marks nothing as read. */
  heads(items: readonly MaildropItem[], signal: AbortSignal): AsyncIterable<ReadItem>;
  /**
   * Whole messages, in order, read ahead by a bounded number. What cannot be proven whole without marking it as read comes
   * with an error unless `mayMark`; a function is called with the items before that, and waited for.
   */
  octets(items: readonly MaildropItem[], options: { readonly mayMark: MayMark }, signal: AbortSignal): AsyncIterable<ReadItem>;
  /**
   * Polite where that is quick (at most 2 s), then hard. Harmless when called twice. Only when everything that was read is
   * durable: a server may remove what it has given when a session ends well (K5).
   */
  close(): Promise<void>;
  /** Ends the session at once, so that the server removes nothing. Harmless after `close`. */
  abandon(): void;
}

/**
 * The one way to take anything from a maildrop, apart from the sessions that read: what was marked goes at `commit`, and
 * nothing goes in a session that ends otherwise. Calls fail as those of a {@link Session} do.
 */
export interface MaildropRemoval {
  list(signal: AbortSignal): Promise<MaildropListing>;
  /** Of the listing of this session. What the server refuses to mark is passed over: the next listing tells what is left. */
  mark(items: readonly MaildropItem[], signal: AbortSignal): Promise<void>;
  /** Ends the session. False: all that was marked may be gone, some of it or nothing. Never rejects. */
  commit(signal: AbortSignal): Promise<boolean>;
  /** Ends the session at once; nothing is removed. Harmless after `commit`. */
  abandon(): void;
}

export interface MaildropDriver {
  open(request: OpenRequest, signal: AbortSignal): Promise<MaildropSession>;
  openRemoval(request: OpenRequest, signal: AbortSignal): Promise<MaildropRemoval>;
}

/**
 * Why a server would not do what it was asked for (semantics C5). `epoch`: the mailbox is not the one whose numbers were given.
 * `unsupported`: it will never do this. Nothing was changed.
 */
export type WriteRefusal = "epoch" | "no_mailbox" | "no_permission" | "over_quota" | "try_later" | "unsupported";

export interface Refused {
  readonly kind: "refused";
  readonly why: WriteRefusal;
}

/** Flags set or taken away on items of one mailbox, each only if nothing changed since its mod-sequence (W2); null: in any case. */
export interface StoreRequest {
  readonly path: string;
  readonly uidValidity: number;
  readonly items: readonly { readonly uid: number; readonly unchangedSince: bigint | null }[];
  readonly change: "add" | "remove";
  readonly flags: readonly string[];
}

/** What was read back afterwards: items that are not in it are gone. Only this tells whether anything was done (C1, W6). */
export interface Stored {
  readonly kind: "stored";
  readonly facts: readonly FlagsFact[];
  /** Items that somebody else had changed, and that were left alone (W3). */
  readonly conflicts: readonly number[];
  /** What the mailbox keeps, `\*` for any keyword; nothing else was said to it. Null: not told, which means all. */
  readonly permanentFlags: readonly string[] | null;
}

/** Items of one mailbox that are to be in another one. */
export interface MoveRequest {
  readonly path: string;
  readonly uidValidity: number;
  readonly uids: readonly number[];
  readonly to: { readonly path: string; readonly uidValidity: number };
}

/** An item as it was read back, with what lasts of it. */
export type ReadBack = FlagsFact & { readonly internalDate: Date; readonly objectId?: string | null };

export interface Moved {
  readonly kind: "moved";
  /** What the server says to have become of them, read back there; of the others nothing is known (C2). */
  readonly items: readonly { readonly from: number; readonly item: ReadBack }[];
  /** The server cannot move: they are copies, and what was copied is there still. */
  readonly copied: boolean;
  /** Of the other mailbox. */
  readonly permanentFlags: readonly string[] | null;
}

/** Items to be destroyed, each only if nothing changed since its mod-sequence; null: where there are none (C7). */
export interface ExpungeRequest {
  readonly path: string;
  readonly uidValidity: number;
  readonly items: readonly { readonly uid: number; readonly unchangedSince: bigint | null }[];
}

export interface Expunged {
  readonly kind: "expunged";
  /** Those that are there still. */
  readonly facts: readonly FlagsFact[];
  readonly conflicts: readonly number[];
  /** The server cannot remove some and leave others: what is marked stays marked. */
  readonly onlyMarked: boolean;
}

export interface AppendRequest {
  readonly path: string;
  readonly uidValidity: number;
  readonly flags: readonly string[];
  readonly internalDate: Date;
  readonly octets: Octets;
}

export interface Appended {
  readonly kind: "appended";
  /** As read back by the UID that the server gave; null: it gave none, the item has to be looked for. */
  readonly item: ReadBack | null;
}

export interface MailboxRename {
  readonly from: string;
  readonly to: string;
}

/** A mailbox to be removed, as it was last seen; null: it never told. */
export interface Doomed {
  readonly path: string;
  readonly delimiter: string | null;
  readonly uidValidity: number | null;
}

/**
 * `exists`: the server has a mailbox of that name, perhaps spelt otherwise (D11), and nothing was changed. `occupied`: it holds
 * messages or other mailboxes, so nothing was removed (D8).
 */
export interface MailboxOutcome {
  readonly kind: "done" | "exists" | "occupied";
}

/**
 * The one seam through which anything upstream is ever changed; whoever reads has no way to it (semantics C6). A call that
 * rejects leaves open whether the server did what was asked for (C9).
 */
export interface MailboxWriter {
  /** False after close, loss, a deadline or an abort. */
  readonly usable: boolean;
  store(request: StoreRequest, signal: AbortSignal): Promise<Stored | Refused>;
  /** Where the next item of a mailbox will come to lie. */
  position(path: string, signal: AbortSignal): Promise<{ readonly uidValidity: number; readonly uidNext: number } | Refused>;
  /** Moves where the server can, else copies; never both. */
  move(request: MoveRequest, signal: AbortSignal): Promise<Moved | Refused>;
  /** Marks, and removes what is then shown as marked: these and no others (I19). */
  expunge(request: ExpungeRequest, signal: AbortSignal): Promise<Expunged | Refused>;
  append(request: AppendRequest, signal: AbortSignal): Promise<Appended | Refused>;
  /** What the path of a mailbox beside INBOX begins with. */
  rootPrefix(signal: AbortSignal): Promise<string>;
  /** Makes a mailbox, and shows it to devices. */
  create(path: string, signal: AbortSignal): Promise<MailboxOutcome | Refused>;
  /** Takes along what lies below it. What devices are shown of it stays as it was: see `subscribe`. */
  rename(request: MailboxRename, signal: AbortSignal): Promise<MailboxOutcome | Refused>;
  /** Removes a mailbox that was just seen to be empty; `epoch` when another one has its name by now. */
  remove(doomed: Doomed, signal: AbortSignal): Promise<MailboxOutcome | Refused>;
  /** Shows a mailbox to devices, or not; harmless when it is so already, and where there is none of that name. */
  subscribe(path: string, on: boolean, signal: AbortSignal): Promise<void>;
  /** Polite where that is quick (at most 2 s), then hard. Harmless when called twice. */
  close(): Promise<void>;
}

export interface WriterDriver {
  open(request: OpenRequest, signal: AbortSignal): Promise<MailboxWriter>;
}

/** One for each protocol. */
export interface Drivers {
  readonly imap: EndpointDriver;
  readonly imapWriter: WriterDriver;
  readonly pop3: MaildropDriver;
}

/** What an operator allows for all endpoints of this installation. */
export interface EndpointLimits {
  readonly allowPrivateHosts: boolean;
  readonly allowCleartext: boolean;
  /** Largest message that is fetched, in bytes; a larger one is reported as unavailable. */
  readonly maxMessageBytes: number;
  /** Folder for spool files of large messages. */
  readonly spoolDir: string;
}
