/** What makes the word of a server worth less for a while (breaker B2): it refused, failed by its own account, or began anew. */
import type { FailureCode } from "../model/failure.ts";

/** A connection that is lost or late tells of the network; a refusal tells of logins, mailboxes and storage. */
const telling: ReadonlySet<FailureCode> = new Set([
  "endpoint_auth_failed",
  "endpoint_refused",
  "endpoint_unavailable",
  "endpoint_protocol_error",
  "mailbox_unavailable",
]);

const recentMs = 600_000;

/** Of one endpoint, in the memory of its lane. */
export class Trouble {
  private at = 0;

  get isRecent(): boolean {
    return Date.now() - this.at < recentMs;
  }

  /** `at`: in ms since 1970. */
  noteFailure(code: FailureCode, at = Date.now()): void {
    if (telling.has(code)) this.at = Math.max(this.at, at);
  }

  /** Ids mean nothing any more (G5, ID-9). */
  noteEpoch(): void {
    this.at = Date.now();
  }
}
