/** What STAT, LIST and UIDL answer, read without belief: servers leave numbers out, repeat ids and round sizes. */
import { ProtocolFault } from "../protocol-fault.ts";

export interface Stat {
  /** Null where the answer is none. */
  readonly count: number | null;
  /** In bytes; a hint. Null where the answer has no number there. */
  readonly octets: number | null;
}

export interface ListedMessage {
  readonly number: number;
  /** In bytes; a hint, the octets of the message count. Null where the line has no number there. */
  readonly size: number | null;
}

export interface ListedUid {
  readonly number: number;
  /** In Latin-1, so that all octets stay apart; of any length, with blanks inside; null where the line has none. */
  readonly uidl: string | null;
}

/** One answer, known to be whole: it ended with the line with a dot. */
export interface Listing<T> {
  /** As they came: numbers and ids may occur twice. */
  readonly messages: readonly T[];
  /** Lines that name no message. */
  readonly unreadable: number;
}

const integer = (text: string | undefined): number | null =>
  text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : null;

export const statOf = (text: string): Stat => {
  const [count, octets] = text.trim().split(/ +/);
  return { count: integer(count), octets: integer(octets) };
};

/** Blanks around are the server's; blanks within are part of an id. Not a pattern: a hostile line is long. */
const withoutBlanksAround = (text: string): string => {
  let from = 0;
  let to = text.length;
  while (from < to && text[from] === " ") from += 1;
  while (to > from && text[to - 1] === " ") to -= 1;
  return text.slice(from, to);
};

/** No maildrop has more; a server that lists more of them fills the memory. */
const maxMessages = 1_000_000;

const listingOf = <T>(body: Buffer, read: (number: number, rest: string) => T): Listing<T> => {
  const messages: T[] = [];
  let unreadable = 0;
  for (let at = 0, next = 0; at < body.length; at = next) {
    const lineEnd = body.indexOf("\n", at);
    const end = lineEnd < 0 ? body.length : lineEnd;
    next = end + 1;
    // Line by line: an id that was cut from the whole text would hold all of it in memory.
    const line = withoutBlanksAround(body.toString("latin1", at, end > at && body[end - 1] === 13 ? end - 1 : end));
    if (line === "") continue;
    const [, number] = /^([1-9]\d{0,8})(?: |$)/.exec(line) ?? [];
    if (number === undefined) unreadable += 1;
    else messages.push(read(Number(number), withoutBlanksAround(line.slice(number.length))));
    if (messages.length > maxMessages) throw new ProtocolFault("ResponseTooLarge", "a listing is longer than is accepted");
  }
  return { messages, unreadable };
};

/** `body`: the lines of LIST (RFC 1939 §5). What follows the size is not looked at. @throws ProtocolFault above a million */
export const sizesOf = (body: Buffer): Listing<ListedMessage> =>
  listingOf(body, (number, rest) => ({ number, size: integer(rest.split(" ", 1)[0]) }));

/** `body`: the lines of UIDL (RFC 1939 §7). @throws ProtocolFault above a million */
export const uidsOf = (body: Buffer): Listing<ListedUid> =>
  listingOf(body, (number, rest) => ({ number, uidl: rest === "" ? null : rest }));
