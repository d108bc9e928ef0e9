/** Tells "PostgreSQL cannot answer just now" from every other failure, whichever library raised it. */

const socketErrors = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EPIPE",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOENT",
]);

/** Connection exceptions, insufficient resources, a server that stops or starts, a lock or statement timeout, a read-only standby. */
const sqlStates = /^(08...|53...|57P0[1-3]|57014|55P03|25006)$/;

/** Prisma's words for the same: out of reach, timed out, closed by the server, no connection of the pool got free. */
const prismaCodes = new Set(["P1001", "P1002", "P1008", "P1011", "P1017", "P2024", "P2028", "P2037"]);

/** pg raises these without a code. */
const messages =
  /timeout exceeded when trying to connect|Connection terminated|Query read timeout|Client has encountered a connection error/;

const isCause = (error: Error): boolean => {
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  return socketErrors.has(code) || sqlStates.test(code) || prismaCodes.has(code) || messages.test(error.message);
};

/** Looks through the causes as well. */
export const isUnavailable = (error: unknown): boolean => {
  let current = error;
  for (let depth = 0; depth < 5 && current instanceof Error; depth += 1) {
    if (isCause(current)) return true;
    current = current.cause;
  }
  return false;
};
