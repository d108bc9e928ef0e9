/**
 * The seam to every mail protocol: five verbs at mail level. Protocol words stay behind it; what an endpoint can do is
 * a fact in its profile. Nothing here ever changes a flag, a message or a mailbox upstream.
 *
 * Every call rejects with a {@link SyncError} (class and scope say how to go on), never hangs past its deadline, and
 * settles soon after `signal` aborts. After an endpoint-scoped error the session is dead: open a new one.
 */
import type { Credentials, EndpointProfile, EndpointSettings } from "../model/endpoint.ts";
import type { FetchedBatch, FetchRequest, MailboxObservation, ObserveRequest, Survey } from "../model/observation.ts";
import type { Logger } from "../telemetry/log.ts";

export interface Session {
  /** Learned at login and refined since; persist it when it changes. */
  readonly profile: EndpointProfile;
  /** False after close or loss; `lost` then says why. */
  readonly usable: boolean;
  /** All mailboxes with their counters: one round trip where the server has LIST-STATUS (RFC 5819). */
  survey(signal: AbortSignal): Promise<Survey>;
  /** What changed in one mailbox since a cursor, or everything in it. */
  observe(request: ObserveRequest, signal: AbortSignal): Promise<MailboxObservation>;
  /**
   * Messages with their octets, range by range. Reads ahead of the consumer by a bounded number of batches. Octets not
   * disposed by the consumer are disposed when the iteration ends.
   */
  fetch(request: FetchRequest, signal: AbortSignal): AsyncIterable<FetchedBatch>;
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

/** What an operator allows for all endpoints of this installation. */
export interface EndpointLimits {
  readonly allowPrivateHosts: boolean;
  readonly allowCleartext: boolean;
  /** Largest message that is fetched, in bytes; a larger one is reported as unavailable. */
  readonly maxMessageBytes: number;
  /** Folder for spool files of large messages. */
  readonly spoolDir: string;
}
