/**
 * What errors of a connection to a mail server mean, whatever is spoken over it (reliability 1.5): the codes of TLS, of the
 * kernel and of our own framing, what a refusal without a code says in plain English, and the words for the account's owner.
 * Neither words nor causes carry a server's text, which might echo a secret.
 */
import { type FailureCode, type FailureKind, type FailureScope, SyncError } from "../model/failure.ts";

/** What was being done: a refusal means different things to a login and to a mailbox. */
export interface Doing {
  readonly during: "login" | "mailbox" | "message" | "work";
  /** As its users spell it, e.g. "IMAP". */
  readonly protocol: string;
  readonly host: string;
  readonly user: string;
}

export interface Verdict {
  readonly kind: FailureKind;
  readonly code: FailureCode;
  /** Absent: the mailbox or the message when one was asked for, else the endpoint. */
  readonly scope?: FailureScope;
}

export type Table = Readonly<Record<string, Verdict>>;

export const refusedLogin: Verdict = { kind: "credential", code: "endpoint_auth_failed", scope: "endpoint" };
export const needsPerson: Verdict = { kind: "config", code: "endpoint_refused" };
export const tryLater: Verdict = { kind: "transient", code: "endpoint_unavailable" };
export const slowDown: Verdict = { kind: "throttle", code: "endpoint_throttled", scope: "endpoint" };
export const lost: Verdict = { kind: "transient", code: "endpoint_closed", scope: "endpoint" };
export const timedOut: Verdict = { kind: "transient", code: "endpoint_timeout", scope: "endpoint" };
const unreachable: Verdict = { kind: "transient", code: "endpoint_unreachable", scope: "endpoint" };
export const badTls: Verdict = { kind: "tls", code: "endpoint_tls_failed", scope: "endpoint" };
export const broken: Verdict = { kind: "bug", code: "endpoint_protocol_error" };
export const brokenConnection: Verdict = { ...broken, scope: "endpoint" };
export const tooMuch: Verdict = { kind: "bug", code: "endpoint_limit_exceeded", scope: "endpoint" };
export const noMailbox: Verdict = { kind: "transient", code: "mailbox_unavailable", scope: "mailbox" };

/** Codes of the kernel and of our own framing. */
const byConnectionCode: Table = {
  EConnectionClosed: lost,
  ECONNRESET: lost,
  EPIPE: lost,
  ECONNABORTED: lost,
  ERR_STREAM_WRITE_AFTER_END: lost,
  ERR_STREAM_DESTROYED: lost,
  ETIMEDOUT: timedOut,
  ECONNREFUSED: unreachable,
  EHOSTUNREACH: unreachable,
  EHOSTDOWN: unreachable,
  ENETUNREACH: unreachable,
  ENETDOWN: unreachable,
  EADDRNOTAVAIL: unreachable,
  ENOTFOUND: unreachable,
  EAI_AGAIN: unreachable,
  STARTTLS_INJECTION: badTls,
  EPROTO: badTls,
  ResponseProcessingFailed: brokenConnection,
  LineTooLarge: tooMuch,
  ResponseTooLarge: tooMuch,
};

/** Certificate checks of OpenSSL, as Node names them. */
const certificateTrouble =
  /^(CERT_|ERR_TLS_|ERR_SSL_|ERR_OSSL_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|HOSTNAME_MISMATCH$|INVALID_CA$)/;

/** For refusals without a code. Order matters: a busy server also likes to say "login failed". */
const refusalSentences: readonly (readonly [RegExp, Verdict])[] = [
  [/too many|throttl|rate limit|limit exceeded|maximum number of connections|simultaneous/i, slowDown],
  [
    /temporar|try again|later|unavailable|internal (server )?error|server error|busy|timed? ?out|not connected|overload/i,
    tryLater,
  ],
  [/must issue a starttls|encryption (is )?required|plaintext .*disallowed|secure connection/i, badTls],
  [
    /disabled|suspended|blocked|locked|not (enabled|allowed|permitted)|web ?browser|application-specific|app password/i,
    needsPerson,
  ],
];

/** What the code of a broken connection says; null for a code that is none of a connection's. */
export const verdictOfCode = (code: string): Verdict | null =>
  byConnectionCode[code] ?? (certificateTrouble.test(code) ? badTls : null);

const firstMatch = (table: readonly (readonly [RegExp, Verdict])[], text: string): Verdict | null =>
  text === "" ? null : (table.find(([pattern]) => pattern.test(text))?.[1] ?? null);

/** What a refusal without a known code says in plain English; null when it says nothing that is known. */
export const verdictOfSentence = (text: string): Verdict | null => firstMatch(refusalSentences, text);

/** Why a server said goodbye: only "too many" counts, for the rest a lost connection is just that. */
export const verdictOfGoodbye = (text: string): Verdict | null => firstMatch(refusalSentences.slice(0, 1), text);

type Sentences = readonly [message: string, action: string];

const sentencesOf = (verdict: Verdict, doing: Doing): Sentences => {
  const words: Partial<Record<FailureCode, Sentences>> = {
    endpoint_auth_failed: [
      `${doing.host} refused the login of ${doing.user}.`,
      "Check the user name and the password or token, then change the endpoint.",
    ],
    endpoint_refused: [
      `${doing.host} will not serve ${doing.user} this way.`,
      "Sign in to the provider's web page, see what it asks for, and check the endpoint's settings.",
    ],
    endpoint_unavailable: [`${doing.host} says that it cannot serve this just now.`, "Nothing; it is tried again by itself."],
    endpoint_throttled: [
      `${doing.host} asks for fewer or slower requests.`,
      "Nothing; it is tried again by itself, with one connection less.",
    ],
    endpoint_closed: [`${doing.host} ended the connection.`, "Nothing; it is tried again by itself."],
    endpoint_timeout: [
      `${doing.host} did not answer in time.`,
      "Nothing; it is tried again by itself. If it stays, check host, port and security of the endpoint.",
    ],
    endpoint_unreachable: [
      `No connection to ${doing.host} could be made.`,
      "Check host and port of the endpoint; it is tried again by itself.",
    ],
    endpoint_tls_failed: [
      `A protected connection to ${doing.host} could not be made.`,
      "Check the server's certificate and the port and security of the endpoint. Nothing was sent unprotected.",
    ],
    endpoint_protocol_error: [
      `${doing.host} answered in a way that is not ${doing.protocol}.`,
      "Nothing; what was asked for is left out and tried again later.",
    ],
    endpoint_limit_exceeded: [
      `${doing.host} sent more than this installation accepts.`,
      "Nothing; what was asked for is left out and tried again later.",
    ],
    mailbox_unavailable: [`${doing.host} does not open this mailbox.`, "Nothing; if it was removed, that is noticed by itself."],
  };
  return words[verdict.code] ?? [`${doing.host} could not be read.`, "Nothing; it is tried again by itself."];
};

/** What may be kept of a protocol error: its codes. Its text, its command and its fields stay behind. */
export const causeOfCodes = (codes: readonly string[]): Error => {
  const cause = new Error(codes.filter((code) => /^[\w/.-]{1,64}$/.test(code)).join(" ") || "no code");
  cause.name = "ProtocolError";
  return cause;
};

/** The SyncError of a verdict. `retryAfterMs` is what the server asked for. */
export const failureOf = (
  verdict: Verdict,
  doing: Doing,
  details: { retryAfterMs: number | null; cause: unknown },
): SyncError => {
  const [message, action] = sentencesOf(verdict, doing);
  const scope = verdict.scope ?? (doing.during === "mailbox" || doing.during === "message" ? doing.during : "endpoint");
  return new SyncError(verdict.kind, scope, { code: verdict.code, message, action, ...details });
};
