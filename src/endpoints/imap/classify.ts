/**
 * Any error of an IMAP connection as one SyncError. The tables below are the whole policy (reliability 1.5): first our own
 * words, then response codes (RFC 5530), then codes of imapflow, TLS and the kernel, and last what a refusal without a
 * code says in plain English. imapflow's `authenticationFailed` is not consulted: it is also set for "try again later".
 * Neither messages nor causes carry a server's text, which might echo a secret.
 */
import { type FailureCode, type FailureKind, type FailureScope, SyncError } from "../../model/failure.ts";

/** What was being done: a NO means different things to a login and to an EXAMINE. */
export interface Doing {
  readonly during: "login" | "mailbox" | "work";
  readonly host: string;
  readonly user: string;
}

interface Verdict {
  readonly kind: FailureKind;
  readonly code: FailureCode;
  /** Absent: the mailbox when one was asked for, else the endpoint. */
  readonly scope?: FailureScope;
}

type Table = Readonly<Record<string, Verdict>>;

const refusedLogin: Verdict = { kind: "credential", code: "endpoint_auth_failed", scope: "endpoint" };
const needsPerson: Verdict = { kind: "config", code: "endpoint_refused" };
const tryLater: Verdict = { kind: "transient", code: "endpoint_unavailable" };
const slowDown: Verdict = { kind: "throttle", code: "endpoint_throttled", scope: "endpoint" };
const lost: Verdict = { kind: "transient", code: "endpoint_closed", scope: "endpoint" };
const timedOut: Verdict = { kind: "transient", code: "endpoint_timeout", scope: "endpoint" };
const unreachable: Verdict = { kind: "transient", code: "endpoint_unreachable", scope: "endpoint" };
const badTls: Verdict = { kind: "tls", code: "endpoint_tls_failed", scope: "endpoint" };
const broken: Verdict = { kind: "bug", code: "endpoint_protocol_error" };
const brokenConnection: Verdict = { ...broken, scope: "endpoint" };
const tooMuch: Verdict = { kind: "bug", code: "endpoint_limit_exceeded", scope: "endpoint" };
const noMailbox: Verdict = { kind: "transient", code: "mailbox_unavailable", scope: "mailbox" };

/** Response codes of a NO, BAD or BYE. */
const byResponseCode: Table = {
  AUTHENTICATIONFAILED: refusedLogin,
  EXPIRED: refusedLogin,
  AUTHORIZATIONFAILED: needsPerson,
  CONTACTADMIN: needsPerson,
  PRIVACYREQUIRED: needsPerson,
  NOPERM: needsPerson,
  // Gmail: the owner must sign in once in a browser.
  WEBALERT: needsPerson,
  UNAVAILABLE: tryLater,
  INUSE: tryLater,
  SERVERBUG: tryLater,
  "SYS/TEMP": tryLater,
  EXPUNGEISSUED: tryLater,
  LIMIT: slowDown,
  THROTTLED: slowDown,
  OVERQUOTA: slowDown,
  "SYS/PERM": needsPerson,
  CORRUPTION: needsPerson,
  CLIENTBUG: broken,
  CANNOT: needsPerson,
  NONEXISTENT: noMailbox,
};

/** Codes of imapflow, of TLS and of the kernel. */
const byErrorCode: Table = {
  NoConnection: lost,
  EConnectionClosed: lost,
  StateLogout: lost,
  ClosedAfterConnectText: lost,
  ClosedAfterConnectTLS: lost,
  ECONNRESET: lost,
  EPIPE: lost,
  ECONNABORTED: lost,
  ERR_STREAM_WRITE_AFTER_END: lost,
  ERR_STREAM_DESTROYED: lost,
  CONNECT_TIMEOUT: timedOut,
  GREETING_TIMEOUT: timedOut,
  UPGRADE_TIMEOUT: timedOut,
  ETIMEOUT: timedOut,
  ETIMEDOUT: timedOut,
  ECONNREFUSED: unreachable,
  EHOSTUNREACH: unreachable,
  EHOSTDOWN: unreachable,
  ENETUNREACH: unreachable,
  ENETDOWN: unreachable,
  EADDRNOTAVAIL: unreachable,
  ENOTFOUND: unreachable,
  EAI_AGAIN: unreachable,
  ETHROTTLE: slowDown,
  STARTTLS_INJECTION: badTls,
  EPROTO: badTls,
  UnexpectedTag: brokenConnection,
  ResponseProcessingFailed: brokenConnection,
  LineTooLarge: tooMuch,
  LiteralTooLarge: tooMuch,
  ResponseTooLarge: tooMuch,
  TooManyTokens: tooMuch,
  TooManyResponses: tooMuch,
  MissingTag: broken,
  InvalidResponse: broken,
  InvalidStringValue: broken,
  InvalidTokenValue: broken,
  InvalidSequenceSet: broken,
  MAX_IMAP_NESTING_REACHED: broken,
};

/** Certificate checks of OpenSSL, as Node names them. */
const certificateTrouble =
  /^(CERT_|ERR_TLS_|ERR_SSL_|ERR_OSSL_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|HOSTNAME_MISMATCH$|INVALID_CA$)/;

/** For refusals without a code. Order matters: a busy server also likes to say "login failed". */
const bySentence: readonly (readonly [RegExp, Verdict])[] = [
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

/** Errors that imapflow raises itself, without a code. */
const byOwnWords: readonly (readonly [RegExp, Verdict])[] = [
  [/^Unsupported authentication mechanism$|^No matching authentication method$|^Login is disabled$/, needsPerson],
  [/^No password configured$|^Please configure the login$/, refusedLogin],
];

const textField = (error: object, name: string): string => {
  const value: unknown = (error as Readonly<Record<string, unknown>>)[name];
  return typeof value === "string" ? value : "";
};

/** The response code of a refusal: set by imapflow's own commands, else in the parsed line of an `exec`. */
const responseCodeOf = (error: object): string => {
  const named = textField(error, "serverResponseCode");
  if (named !== "") return named.toUpperCase();
  const line = (error as { response?: { attributes?: readonly { section?: readonly { value?: unknown }[] }[] } }).response;
  const value = line?.attributes?.[0]?.section?.[0]?.value;
  return typeof value === "string" ? value.toUpperCase() : "";
};

/** A BYE carries its code in its text, which imapflow keeps as one string without the brackets of the code. */
const refusalText = (error: object): string =>
  `${textField(error, "responseText")} ${textField(error, "reason")} ${textField(error, "response")}`.trim();

const firstMatch = (table: readonly (readonly [RegExp, Verdict])[], text: string): Verdict | undefined =>
  text === "" ? undefined : table.find(([pattern]) => pattern.test(text))?.[1];

const verdictOfRefusal = (error: object, doing: Doing): Verdict => {
  const said = byResponseCode[responseCodeOf(error)] ?? firstMatch(bySentence, refusalText(error));
  if (said !== undefined) return said;
  if (textField(error, "responseStatus") === "BAD") return broken;
  if (doing.during === "login") return refusedLogin;
  return doing.during === "mailbox" ? noMailbox : tryLater;
};

const verdictOf = (error: object, doing: Doing): Verdict | null => {
  const code = textField(error, "code");
  // A throttled answer is a BAD by its status; its code says more.
  if (code === "ETHROTTLE") return slowDown;
  if (textField(error, "responseStatus") !== "") return verdictOfRefusal(error, doing);
  const known = byErrorCode[code];
  // A connection that ended with a BYE ended for the reason it gave.
  if (known === lost) return firstMatch(bySentence.slice(0, 1), textField(error, "reason")) ?? lost;
  if (known !== undefined) return known;
  if (certificateTrouble.test(code)) return badTls;
  if ((error as { tlsFailed?: unknown }).tlsFailed === true) return badTls;
  if (code.startsWith("ParserError")) return broken;
  const message = textField(error, "message");
  if (/User is authenticated but not connected/i.test(`${message} ${textField(error, "response")}`)) return tryLater;
  return firstMatch(byOwnWords, message) ?? null;
};

type Sentences = readonly [message: string, action: string];

const wordsOf = (verdict: Verdict, doing: Doing): Sentences => {
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
      `${doing.host} answered in a way that is not IMAP.`,
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

/** How long the server asked us to stay away, in milliseconds, where it said so (Microsoft 365 does). */
const retryAfterOf = (error: object): number | null => {
  const said = (error as { throttleReset?: unknown }).throttleReset;
  if (typeof said === "number" && said > 0) return said;
  const match = /backoff time[:=\s]+(\d{1,9})/i.exec(refusalText(error));
  return match === null ? null : Number(match[1]);
};

/** What may be kept of a protocol error: its codes. Its text, its command and its fields stay behind. */
const causeOf = (error: object): Error => {
  const parts = [textField(error, "responseStatus"), responseCodeOf(error), textField(error, "code")];
  const cause = new Error(parts.filter((part) => /^[\w/.-]{1,64}$/.test(part)).join(" ") || "no code");
  cause.name = "ProtocolError";
  return cause;
};

/**
 * The SyncError for whatever an IMAP call threw. A SyncError is returned as it is; an error that is none of the protocol's
 * (a fault of our own) becomes a `bug` that keeps it as its cause.
 */
export const classify = (error: unknown, doing: Doing): SyncError => {
  if (error instanceof SyncError) return error;
  const subject: object = typeof error === "object" && error !== null ? error : new Error(String(error));
  const known = verdictOf(subject, doing);
  const verdict = known ?? brokenConnection;
  const [message, action] = wordsOf(verdict, doing);
  const scope = verdict.scope ?? (doing.during === "mailbox" ? "mailbox" : "endpoint");
  const retryAfterMs = verdict.kind === "throttle" ? retryAfterOf(subject) : null;
  const cause = known === null ? error : causeOf(subject);
  return new SyncError(verdict.kind, scope, { code: verdict.code, message, action, retryAfterMs, cause });
};
