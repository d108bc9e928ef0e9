/**
 * The root logger. Vocabulary of the fields: `account, tenant, endpoint, mailbox, message, protocol, pass, because,
 * failure, scope, durationMs, count, err`. Messages are lower-case clauses without values. Subjects, addresses, bodies and
 * secrets are never logged; the redaction below is the second wall, not the first.
 */
import { type DestinationStream, type Logger, pino, stdSerializers } from "pino";

export type { Logger } from "pino";

const secretFields = ["password", "pass", "accessToken", "credentials", "authorization", "key", "secret", "wrapped"];

/** An error as it may be logged: no own fields of protocol libraries, which have been seen to carry commands and tokens. */
const serializeError = (err: Error): Record<string, unknown> => {
  const { type, message, stack } = stdSerializers.err(err);
  const code = "code" in err && typeof err.code === "string" ? err.code : undefined;
  const kind = "kind" in err && typeof err.kind === "string" ? err.kind : undefined;
  return { type, message, ...(code !== undefined && { code }), ...(kind !== undefined && { kind }), stack };
};

export const createLogger = (options: { level: string; destination?: DestinationStream }): Logger => {
  const config = {
    level: options.level,
    base: null,
    redact: { paths: secretFields.flatMap((field) => [field, `*.${field}`, `*.*.${field}`]), censor: "[redacted]" },
    serializers: { err: serializeError },
    formatters: { level: (label: string) => ({ level: label }) },
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
  };
  return options.destination === undefined ? pino(config) : pino(config, options.destination);
};
