/**
 * Any error of an IMAP connection as one SyncError. The tables below are the whole policy (reliability 1.5): first our own
 * words, then response codes (RFC 5530), then codes of imapflow, TLS and the kernel, and last what a refusal without a
 * code says in plain English. imapflow's `authenticationFailed` is not consulted: it is also set for "try again later".
 * Neither messages nor causes carry a server's text, which might echo a secret.
 */
import { SyncError } from "../../model/failure.ts";
import {
  badTls,
  broken,
  brokenConnection,
  causeOfCodes,
  type Doing as AnyDoing,
  failureOf,
  lost,
  needsPerson,
  noMailbox,
  refusedLogin,
  slowDown,
  type Table,
  timedOut,
  tooMuch,
  tryLater,
  type Verdict,
  verdictOfCode,
  verdictOfGoodbye,
  verdictOfSentence,
} from "../verdict.ts";

/** What was being done: a NO means different things to a login and to an EXAMINE. */
export type Doing = Omit<AnyDoing, "protocol" | "during"> & { readonly during: "login" | "mailbox" | "work" };

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

/** Codes of imapflow; those of TLS and of the kernel are in verdict.ts. */
const byLibraryCode: Table = {
  NoConnection: lost,
  StateLogout: lost,
  ClosedAfterConnectText: lost,
  ClosedAfterConnectTLS: lost,
  CONNECT_TIMEOUT: timedOut,
  GREETING_TIMEOUT: timedOut,
  UPGRADE_TIMEOUT: timedOut,
  ETIMEOUT: timedOut,
  ETHROTTLE: slowDown,
  UnexpectedTag: brokenConnection,
  LiteralTooLarge: tooMuch,
  TooManyTokens: tooMuch,
  TooManyResponses: tooMuch,
  MissingTag: broken,
  InvalidResponse: broken,
  InvalidStringValue: broken,
  InvalidTokenValue: broken,
  InvalidSequenceSet: broken,
  MAX_IMAP_NESTING_REACHED: broken,
};

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

const verdictOfRefusal = (error: object, doing: Doing): Verdict => {
  const said = byResponseCode[responseCodeOf(error)] ?? verdictOfSentence(refusalText(error));
  if (said !== null) return said;
  if (textField(error, "responseStatus") === "BAD") return broken;
  if (doing.during === "login") return refusedLogin;
  return doing.during === "mailbox" ? noMailbox : tryLater;
};

const verdictOf = (error: object, doing: Doing): Verdict | null => {
  const code = textField(error, "code");
  // A throttled answer is a BAD by its status; its code says more.
  if (code === "ETHROTTLE") return slowDown;
  if (textField(error, "responseStatus") !== "") return verdictOfRefusal(error, doing);
  const known = byLibraryCode[code] ?? verdictOfCode(code);
  // A connection that ended with a BYE ended for the reason it gave.
  if (known === lost) return verdictOfGoodbye(textField(error, "reason")) ?? lost;
  if (known !== null) return known;
  if ((error as { tlsFailed?: unknown }).tlsFailed === true) return badTls;
  if (code.startsWith("ParserError")) return broken;
  const message = textField(error, "message");
  if (/User is authenticated but not connected/i.test(`${message} ${textField(error, "response")}`)) return tryLater;
  return byOwnWords.find(([pattern]) => pattern.test(message))?.[1] ?? null;
};

/** How long the server asked us to stay away, in milliseconds, where it said so (Microsoft 365 does). */
const retryAfterOf = (error: object): number | null => {
  const said = (error as { throttleReset?: unknown }).throttleReset;
  if (typeof said === "number" && said > 0) return said;
  const match = /backoff time[:=\s]+(\d{1,9})/i.exec(refusalText(error));
  return match === null ? null : Number(match[1]);
};

/**
 * The SyncError for whatever an IMAP call threw. A SyncError is returned as it is; an error that is none of the protocol's
 * (a fault of our own) becomes a `bug` that keeps it as its cause.
 */
export const classify = (error: unknown, during: Doing): SyncError => {
  if (error instanceof SyncError) return error;
  const doing = { ...during, protocol: "IMAP" };
  const subject: object = typeof error === "object" && error !== null ? error : new Error(String(error));
  const known = verdictOf(subject, during);
  const verdict = known ?? brokenConnection;
  const retryAfterMs = verdict.kind === "throttle" ? retryAfterOf(subject) : null;
  const codes = [textField(subject, "responseStatus"), responseCodeOf(subject), textField(subject, "code")];
  return failureOf(verdict, doing, { retryAfterMs, cause: known === null ? error : causeOfCodes(codes) });
};
