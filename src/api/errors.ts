/** Every failure as problem details: thrown by handlers, raised by the framework, or found before there was a request. */
import { randomUUID } from "node:crypto";
import type { Socket } from "node:net";
import type { FastifyError, FastifyReply, FastifyRequest } from "fastify";
import { isUnavailable } from "../store/unavailable.ts";
import { type Fault, type ProblemCode, ProblemError, problemType, toProblem } from "./problem.ts";

/** One finding of Ajv, as Fastify hands it on. */
interface Finding {
  readonly keyword: string;
  readonly instancePath: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly message?: string;
}

const places: Readonly<Record<string, Fault["in"]>> = { body: "body", querystring: "query", params: "path", headers: "header" };

/** RFC 6901 §3; a name is the caller's own and may be of any length. */
const escape = (name: unknown): string => String(name).slice(0, 100).replaceAll("~", "~0").replaceAll("/", "~1");

const toFault = (finding: Finding, place: Fault["in"]): Fault => {
  const { instancePath: at, params } = finding;
  switch (finding.keyword) {
    case "additionalProperties":
      return {
        in: place,
        pointer: `${at}/${escape(params["additionalProperty"])}`,
        detail: place === "query" ? "is not a known parameter" : "is not a known field",
      };
    case "required":
      return { in: place, pointer: `${at}/${escape(params["missingProperty"])}`, detail: "is required" };
    case "discriminator":
      return { in: place, pointer: `${at}/${escape(params["tag"])}`, detail: "is missing or not one of the known values" };
    case "enum":
      return { in: place, pointer: at, detail: `must be one of ${JSON.stringify(params["allowedValues"])}` };
    default:
      return { in: place, pointer: at, detail: finding.message ?? "is not valid" };
  }
};

const mostFaults = 20;

const fromValidation = (findings: readonly Finding[], context: string | undefined): ProblemError => {
  const errors = findings.slice(0, mostFaults).map((finding) => toFault(finding, places[context ?? ""] ?? "body"));
  const first = errors[0];
  return new ProblemError(
    "invalid_request",
    first === undefined ? "The request is not valid." : `${first.pointer || "The body"} ${first.detail}.`,
    { errors },
  );
};

/** What the framework refuses, in our words: its own may repeat a piece of the body, which may be a password. */
const byFrameworkCode: Readonly<Record<string, readonly [ProblemCode, string]>> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: [
    "unsupported_media_type",
    "Send application/json; a message that is imported as message/rfc822.",
  ],
  FST_ERR_CTP_BODY_TOO_LARGE: ["payload_too_large", "The body is larger than this route takes."],
  FST_ERR_CTP_INVALID_JSON_BODY: ["invalid_request", "The body is not valid JSON."],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: ["invalid_request", "The body's length is not what Content-Length says."],
  FST_ERR_BAD_URL: ["invalid_request", "The path is not a valid URL path."],
  FST_ERR_MAX_PARAM_LENGTH: ["not_found", "There is no such path."],
};

const byStatus: Readonly<Record<number, readonly [ProblemCode, string]>> = {
  400: ["invalid_request", "The request could not be read."],
  408: ["request_timeout", "The request took too long to arrive."],
  413: ["payload_too_large", "The body is larger than this route takes."],
  415: ["unsupported_media_type", "Send application/json; a message that is imported as message/rfc822."],
  429: ["rate_limited", "Too many requests."],
};

const fromError = (error: unknown): ProblemError => {
  if (error instanceof ProblemError) return error;
  if (error instanceof SyntaxError) return new ProblemError("invalid_request", "The body is not valid JSON.", { cause: error });
  const { validation, validationContext, code, statusCode } = (error instanceof Error ? error : {}) as Partial<FastifyError>;
  if (validation !== undefined) return fromValidation(validation, validationContext);
  const known = byFrameworkCode[code ?? ""] ?? byStatus[statusCode ?? 0];
  if (known !== undefined) return new ProblemError(known[0], known[1], { cause: error });
  if (isUnavailable(error))
    return new ProblemError("unavailable", "The database cannot answer just now. Try again soon.", {
      cause: error,
      headers: { "retry-after": "5" },
    });
  return new ProblemError("internal_error", "The request failed on our side. Its id is in X-Request-Id.", { cause: error });
};

/** Fastify's error handler. Only failures of our own are logged with what happened: a caller's error may carry a secret. */
export const answerError = (error: unknown, request: FastifyRequest, reply: FastifyReply): void => {
  const problem = fromError(error);
  if (problem.code === "internal_error") request.log.error({ err: error }, "request failed");
  if (problem.code === "unavailable") request.log.warn({ err: error }, "database unavailable");
  void reply.code(problem.status).headers(problem.headers).type(problemType).send(toProblem(problem, request.id));
};

/** For what is not even HTTP: there is no request, so the answer is written by hand and the connection ends. */
export const answerBrokenRequest = (error: Error & { code?: string }, socket: Socket): void => {
  if (error.code === "ECONNRESET" || !socket.writable) {
    socket.destroy();
    return;
  }
  const code: ProblemCode =
    error.code === "HPE_HEADER_OVERFLOW"
      ? "headers_too_large"
      : error.code === "ERR_HTTP_REQUEST_TIMEOUT"
        ? "request_timeout"
        : "invalid_request";
  const problem = new ProblemError(
    code,
    code === "invalid_request" ? "This is not valid HTTP/1.1." : "The request's head was refused.",
  );
  const requestId = randomUUID();
  const body = JSON.stringify(toProblem(problem, requestId));
  const head = [
    `HTTP/1.1 ${problem.status} Bad Request`,
    `content-type: ${problemType}`,
    `content-length: ${Buffer.byteLength(body)}`,
    `x-request-id: ${requestId}`,
    "connection: close",
  ];
  socket.end(`${head.join("\r\n")}\r\n\r\n${body}`);
};
