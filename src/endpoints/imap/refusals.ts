/** What a server says no with, as the caller of a writer knows it (semantics C5). */
import type { Refused, WriteRefusal } from "../endpoint.ts";
import type { Answer } from "./asking.ts";

/** Response codes of a NO (RFC 5530, RFC 9051 §7.1, RFC 4469); others mean that it may go better later. */
const refusals: Readonly<Record<string, WriteRefusal>> = {
  OVERQUOTA: "over_quota",
  NOPERM: "no_permission",
  "READ-ONLY": "no_permission",
  CANNOT: "unsupported",
  TOOBIG: "unsupported",
  BADCHARSET: "unsupported",
  TRYCREATE: "no_mailbox",
  NONEXISTENT: "no_mailbox",
};

export const refused = (why: WriteRefusal): Refused => ({ kind: "refused", why });

export const refusalOf = ({ status, code, text }: Answer): Refused => {
  if (status === "BAD") return refused("unsupported");
  const said = refusals[code?.[0] ?? ""];
  if (said !== undefined) return refused(said);
  if (/quota/i.test(text)) return refused("over_quota");
  if (/doesn't exist|does not exist|no such mailbox|unknown mailbox/i.test(text)) return refused("no_mailbox");
  return refused(/permission|denied|read-only/i.test(text) ? "no_permission" : "try_later");
};
