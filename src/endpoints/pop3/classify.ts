/**
 * Any error of a POP3 connection as one SyncError (reliability 1.5): first response codes (RFC 2449 §8, RFC 3206), then what
 * every connection shares, and last what a refusal without a code says in plain English.
 */
import { SyncError } from "../../model/failure.ts";
import {
  brokenConnection,
  causeOfCodes,
  type Doing as AnyDoing,
  failureOf,
  needsPerson,
  refusedLogin,
  slowDown,
  type Table,
  tryLater,
  type Verdict,
  verdictOfCode,
  verdictOfGoodbye,
  verdictOfSentence,
} from "../verdict.ts";

/** What was being done; and how long this server wants to be left alone between two logins, in milliseconds. */
export interface Doing extends Pick<AnyDoing, "host" | "user"> {
  readonly during: "login" | "message" | "work";
  readonly loginDelayMs?: number | null;
}

/** The server answered `-ERR`. Its text stays in here: it might echo a secret. */
export class Refusal extends Error {
  override readonly name = "Refusal";
  /** In capitals, e.g. `IN-USE`; empty where there is none. */
  readonly responseCode: string;
  readonly text: string;

  constructor(text: string) {
    super("the server refused a command");
    this.text = text;
    this.responseCode = /^\[([\w/.-]{1,64})\]/.exec(text)?.[1]?.toUpperCase() ?? "";
  }
}

const notNow: Verdict = { ...tryLater, scope: "endpoint" };

const byResponseCode: Table = {
  AUTH: refusedLogin,
  "IN-USE": notNow,
  "LOGIN-DELAY": notNow,
  "SYS/TEMP": notNow,
  "SYS/PERM": { ...needsPerson, scope: "endpoint" },
};

const verdictOfRefusal = ({ responseCode, text }: Refusal, doing: Doing): Verdict => {
  // The maildrop is locked, or too many connections are open: some servers say both with one code.
  if (responseCode === "IN-USE" && verdictOfGoodbye(text) !== null) return slowDown;
  const said = byResponseCode[responseCode] ?? verdictOfSentence(text);
  if (said !== null) return said;
  return doing.during === "login" ? refusedLogin : tryLater;
};

const codeOf = (error: Error): string => ("code" in error && typeof error.code === "string" ? error.code : "");

/** No mechanism that both sides know, or none that is allowed. */
export class NoMechanism extends Error {
  override readonly name = "NoMechanism";
}

/** The server lacks STLS or refuses it, where the endpoint asks for it. */
export class NoProtection extends Error {
  override readonly name = "NoProtection";
  readonly code = "ERR_TLS_NOT_OFFERED";
}

/**
 * The SyncError for whatever a POP3 call threw. A SyncError is returned as it is; an error that is none of the protocol's
 * (a fault of our own) becomes a `bug` that keeps it as its cause. The response code of a refusal stays readable through
 * {@link responseCodeOf}.
 */
export const classify = (thrown: unknown, during: Doing): SyncError => {
  if (thrown instanceof SyncError) return thrown;
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  const doing: AnyDoing = { during: during.during, host: during.host, user: during.user, protocol: "POP3" };
  if (error instanceof Refusal) {
    const { responseCode } = error;
    const cause = Object.assign(causeOfCodes(["ERR", responseCode]), { responseCode });
    const retryAfterMs = responseCode === "LOGIN-DELAY" ? (during.loginDelayMs ?? null) : null;
    return failureOf(verdictOfRefusal(error, during), doing, { retryAfterMs, cause });
  }
  if (error instanceof NoMechanism) return failureOf(needsPerson, doing, { retryAfterMs: null, cause: causeOfCodes([]) });
  const known = verdictOfCode(codeOf(error));
  const cause = known === null ? error : causeOfCodes([codeOf(error)]);
  return failureOf(known ?? brokenConnection, doing, { retryAfterMs: null, cause });
};

/** The response code behind a SyncError, in capitals: `IN-USE` tells that another client is in the maildrop. Else empty. */
export const responseCodeOf = (error: SyncError): string => {
  const { cause } = error;
  return cause instanceof Error && "responseCode" in cause && typeof cause.responseCode === "string" ? cause.responseCode : "";
};
