/** What the octets of a message tell before it is parsed: its headers, when it came, and what it is known by in another view. */
import type { MessageHeaders } from "../model/mail.ts";
import { type Fingerprint, FingerprintReader, type HeadFingerprint } from "./fingerprint.ts";
import { readHeaders } from "./headers.ts";
import { readReceivedAt } from "./received.ts";

export type Print = Fingerprint & HeadFingerprint;

export interface MailFacts {
  readonly headers: MessageHeaders;
  /** When the last server took it in, by its own word; null: none says so. */
  readonly receivedAt: Date | null;
  /** Null where it was not asked for. */
  readonly print: Print | null;
}

/** Of which facts somebody wants to know. */
export interface FactsWanted {
  readonly receivedAt: boolean;
  readonly print: boolean;
}

/** Of a header block; `print` is what was made of all octets. */
export const factsOf = (head: Buffer, print: Print | null, wanted: FactsWanted): MailFacts => ({
  headers: readHeaders(head),
  receivedAt: wanted.receivedAt ? readReceivedAt(head) : null,
  print,
});

/** Of octets that come in parts; they are read synchronously where they can be. */
export const printOf = async (parts: AsyncIterable<Buffer> | Iterable<Buffer>): Promise<Print> => {
  const reader = new FingerprintReader();
  if (Symbol.iterator in parts) for (const part of parts) reader.push(part);
  else for await (const part of parts) reader.push(part);
  return reader.end();
};
