/**
 * Mailbox names between the wire and Unicode: modified UTF-7 (RFC 3501 5.1.3), or UTF-8 where the session enabled it
 * (RFC 6855, RFC 9051). A name that does not survive the way there and back is kept as the server wrote it.
 */
import type { ImapFlow } from "imapflow";
import { decodePath, encodePath } from "imapflow/lib/tools.js";
import { textOf, type Token } from "./tokens.ts";

/** The path of a listed name; null when there is none. INBOX has one spelling here, as it has one meaning (RFC 9051 5.1). */
export const pathOf = (token: Token | undefined, client: ImapFlow): string | null => {
  const raw = textOf(token);
  if (raw === null || raw === "") return null;
  if (raw.toUpperCase() === "INBOX") return "INBOX";
  const path = decodePath(client, raw);
  return encodePath(client, path) === raw ? path : raw;
};

/** Quoted strings cannot carry these (RFC 9051 9, `quoted`). */
export const isNameable = (path: string): boolean => !/[\r\n\0]/.test(path);

export interface NameArgument {
  readonly type: "STRING";
  readonly value: string;
}

/**
 * How to name a mailbox in a command: the encoded name, and for names that servers are known to keep outside the encoding
 * (a bare `&`, raw UTF-8) the name as it is, to be tried when the first is refused.
 */
export const nameArguments = (path: string, client: ImapFlow): readonly NameArgument[] => {
  const encoded = encodePath(client, path);
  return [...new Set([encoded, path])].map((value) => ({ type: "STRING", value }));
};
