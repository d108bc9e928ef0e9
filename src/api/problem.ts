/** Errors as answers: RFC 9457 problem details, one stable `code` for each kind. */
import { type Static, Type } from "typebox";
import { Words } from "./schemas.ts";

/** Every code of the API with its status and title. Codes are a promise: they may be added, never renamed. */
const kinds = {
  invalid_request: [400, "The request is not valid."],
  unauthorized: [401, "A valid key is needed."],
  forbidden: [403, "The key may not do this."],
  not_found: [404, "There is no such thing."],
  method_not_allowed: [405, "This method is not offered here."],
  request_timeout: [408, "The request took too long to arrive."],
  conflict: [409, "The request contradicts what is stored."],
  idempotency_in_progress: [409, "A request with this Idempotency-Key is still running."],
  idempotency_answer_lost: [409, "The first answer to this Idempotency-Key cannot be read any more."],
  cannot_calculate_changes: [409, "The changes since that state are not kept any more."],
  mailbox_not_empty: [409, "The mailbox still holds messages."],
  mailbox_exists: [409, "There is a mailbox of this name."],
  mailbox_has_children: [409, "Other mailboxes lie in the mailbox."],
  mailbox_cycle: [409, "A mailbox cannot lie in itself."],
  inbox_fixed: [409, "INBOX stays as it is."],
  body_not_available: [409, "The message's octets are not stored yet."],
  state_mismatch: [409, "The state has moved on."],
  payload_too_large: [413, "The body is too large."],
  unsupported_media_type: [415, "The body's media type is not accepted here."],
  range_not_satisfiable: [416, "The range lies outside of the content."],
  host_not_allowed: [422, "This host may not be connected to."],
  cleartext_not_allowed: [422, "Unprotected connections are not allowed."],
  idempotency_key_reused: [422, "This Idempotency-Key was used for another request."],
  message_not_parsable: [422, "The message could not be parsed."],
  headers_too_large: [431, "The request's headers are too large."],
  rate_limited: [429, "Too many requests."],
  internal_error: [500, "Something went wrong on our side."],
  unavailable: [503, "The service cannot answer just now."],
  not_ready: [503, "The service is not ready."],
} as const satisfies Record<string, readonly [number, string]>;

export type ProblemCode = keyof typeof kinds;

const Fault = Type.Object({
  in: Words(["body", "query", "path", "header"]),
  pointer: Type.String({ description: "JSON pointer (RFC 6901) to the offending value." }),
  detail: Type.String(),
});

export type Fault = Static<typeof Fault>;

export const Problem = Type.Object(
  {
    type: Type.String({ format: "uri" }),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String(),
    code: Type.String({ description: "Stable, for programs." }),
    instance: Type.String({ description: "The request's id, as in X-Request-Id." }),
    errors: Type.Optional(Type.Array(Fault)),
  },
  { title: "Problem" },
);

interface ProblemOptions {
  readonly errors?: readonly Fault[];
  readonly headers?: Readonly<Record<string, string>>;
  readonly cause?: unknown;
}

/** Thrown by handlers; the error handler turns it into the answer. `detail` is shown to the caller: no secrets, no internals. */
export class ProblemError extends Error {
  override readonly name = "ProblemError";
  readonly code: ProblemCode;
  readonly status: number;
  readonly errors: readonly Fault[];
  readonly headers: Readonly<Record<string, string>>;

  constructor(code: ProblemCode, detail: string, options: ProblemOptions = {}) {
    super(detail, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.status = kinds[code][0];
    this.errors = options.errors ?? [];
    this.headers = options.headers ?? {};
  }
}

export const notFound = (what: string): ProblemError => new ProblemError("not_found", `There is no such ${what}.`);

/** One fault of the request, named. */
export const invalid = (where: Fault["in"], pointer: string, detail: string): ProblemError =>
  new ProblemError("invalid_request", detail, { errors: [{ in: where, pointer, detail }] });

export const problemType = "application/problem+json; charset=utf-8";

export const toProblem = (error: ProblemError, requestId: string): Static<typeof Problem> => ({
  type: `urn:samebox:problem:${error.code}`,
  title: kinds[error.code][1],
  status: error.status,
  detail: error.message,
  code: error.code,
  instance: `urn:samebox:request:${encodeURIComponent(requestId)}`,
  ...(error.errors.length > 0 && { errors: [...error.errors] }),
});
