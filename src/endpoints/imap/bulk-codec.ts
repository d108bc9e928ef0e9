/**
 * The little of IMAP's grammar that bulk reads need: how names, passwords and tokens are written in a command, and how a
 * FETCH line is read. Text is latin-1: one character is one octet.
 */
import type { Octets } from "../../model/octets.ts";
import { ProtocolFault } from "../protocol-fault.ts";
import { internalDateOf, isLasting, objectIdOf, uint32Of } from "./tokens.ts";

/** A literal that was passed over, octet by octet, without being kept. */
export interface Skipped {
  readonly skipped: number;
}

/** The octets of one literal: small ones as they are, large ones spooled and hashed already. */
export type Literal = Buffer | Octets | Skipped;

export const isSkipped = (literal: Literal): literal is Skipped => "skipped" in literal;

/** Removes the spool files of literals nobody wants. */
export const disposeLiterals = (literals: readonly Literal[]): void => {
  for (const literal of literals) {
    // A file that cannot be removed now is removed at the next start.
    if ("dispose" in literal) literal.dispose().catch(() => undefined);
  }
};

/** One whole response of the server. Each literal stands as `{size}` in the text, the CRLF after it is left out. */
export interface Response {
  readonly text: string;
  readonly literals: readonly Literal[];
}

/** A quoted string (RFC 9051 §9). @throws ProtocolFault on CR, LF and NUL, which no quoted string can carry. */
const quoted = (text: string): string => {
  if (/[\r\n\0]/.test(text)) throw new ProtocolFault("ResponseProcessingFailed", "a name contains a line break");
  return `"${text.replaceAll(/["\\]/g, "\\$&")}"`;
};

/** Modified UTF-7 (RFC 3501 §5.1.3). */
const modifiedUtf7 = (name: string): string =>
  name.replaceAll(/&|[^\x20-\x7e]+/g, (run) => {
    if (run === "&") return "&-";
    const base64 = Buffer.from(run, "utf16le").swap16().toString("base64");
    return `&${base64.replaceAll("/", ",").replace(/=+$/, "")}-`;
  });

/**
 * How to name a mailbox in a command: encoded, and, where that differs, as it stands, for names that servers keep outside
 * the encoding; to be tried when the first is refused.
 */
export const mailboxArguments = (path: string): readonly string[] => {
  const encoded = modifiedUtf7(path);
  return encoded === path || /[\r\n\0]/.test(path) ? [quoted(encoded)] : [quoted(encoded), quoted(path)];
};

/**
 * LOGIN in the pieces it must be sent in: what is not plain ASCII goes as a literal, and after each piece but the last the
 * server's `+` is to be awaited (RFC 9051 §4.3).
 */
export const loginPieces = (tag: string, user: string, password: string): readonly string[] => {
  let command = `${tag} LOGIN`;
  const pieces: string[] = [];
  for (const argument of [user, password]) {
    if (/^[\x20-\x7e]*$/.test(argument)) {
      command += ` ${quoted(argument)}`;
      continue;
    }
    pieces.push(`${command} {${Buffer.byteLength(argument)}}\r\n`);
    command = argument;
  }
  return [...pieces, `${command}\r\n`];
};

/** What one FETCH line said of one message. */
export interface FetchFacts {
  readonly uid: number | null;
  /** Null: not in the line. */
  readonly flags: readonly string[] | null;
  /** Null: not in the line, or not a date. */
  readonly internalDate: Date | null;
  /** Undefined: not in the line; null: NIL. */
  readonly body: Literal | null | undefined;
  /** Null: not in the line. */
  readonly modseq: bigint | null;
  /** Null: not in the line. */
  readonly objectId: string | null;
  /** In octets; null: not in the line. */
  readonly size: number | null;
}

const noFlags: readonly string[] = [];
const flagsOf = (list: string): readonly string[] =>
  list === "" ? noFlags : list.split(" ").filter((flag) => flag !== "" && isLasting(flag));

const space = 32;
const doubleQuote = 34;
const openParen = 40;
const closeParen = 41;
const openBracket = 91;
const backslash = 92;
const openBrace = 123;
const tilde = 126;

/** Walks over the items of one response; every step forward is checked, so that no line can hold it for ever. */
class ItemScanner {
  readonly #text: string;
  readonly #literals: readonly Literal[];
  #at: number;
  #taken = 0;

  constructor(response: Response, start: number) {
    this.#text = response.text;
    this.#literals = response.literals;
    this.#at = start;
  }

  /** The next item's name in upper case, or null at the closing parenthesis. Servers put a space too many here and there. */
  name(): string | null {
    const text = this.#text;
    while (text.charCodeAt(this.#at) === space) this.#at += 1;
    if (text.charCodeAt(this.#at) === closeParen) return null;
    const start = this.#at;
    let end = start;
    for (; end < text.length; end += 1) {
      const code = text.charCodeAt(end);
      if (code === openBracket) end = this.#find("]", end);
      else if (code === space || code === openParen || code === closeParen) break;
    }
    if (end === start || end >= text.length)
      throw new ProtocolFault("ResponseProcessingFailed", "an item of a FETCH has no value");
    this.#at = text.charCodeAt(end) === space ? end + 1 : end;
    return text.slice(start, end).toUpperCase();
  }

  /** The next value as it is written, or the literal that stands for it; a quoted string comes without its quotes. */
  value(): string | Literal {
    const text = this.#text;
    const start = this.#at;
    const code = text.charCodeAt(start);
    if (code === doubleQuote) return this.#quoted();
    if (code === openBrace || (code === tilde && text.charCodeAt(start + 1) === openBrace)) return this.#literal();
    if (code === openParen) {
      this.#skipList();
      return text.slice(start, this.#at);
    }
    while (this.#at < text.length && text.charCodeAt(this.#at) !== space && text.charCodeAt(this.#at) !== closeParen)
      this.#at += 1;
    return text.slice(start, this.#at);
  }

  text(): string | undefined {
    const value = this.value();
    return typeof value === "string" ? value : undefined;
  }

  /** A list of atoms without its parentheses, empty for NIL. Keywords hold odd characters, but never a parenthesis. */
  flatList(): string {
    if (this.#text.charCodeAt(this.#at) !== openParen) {
      this.value();
      return "";
    }
    const start = this.#at + 1;
    const end = this.#find(")", start);
    this.#at = end + 1;
    return this.#text.slice(start, end);
  }

  /** `nstring` (RFC 9051 §9): a literal, NIL, or for something short a quoted string. */
  octets(): Literal | null {
    const isQuoted = this.#text.charCodeAt(this.#at) === doubleQuote;
    const value = this.value();
    if (typeof value !== "string") return value;
    if (isQuoted) return Buffer.from(value, "latin1");
    if (value.toUpperCase() === "NIL") return null;
    throw new ProtocolFault("ResponseProcessingFailed", "the octets of a message are neither a string nor NIL");
  }

  #find(character: string, from: number): number {
    const at = this.#text.indexOf(character, from);
    if (at < 0) throw new ProtocolFault("ResponseProcessingFailed", "a FETCH line ends in the middle");
    return at;
  }

  #quoted(): string {
    const start = this.#at + 1;
    let end = this.#find('"', start);
    const simple = this.#text.slice(start, end);
    if (!simple.includes("\\")) {
      this.#at = end + 1;
      return simple;
    }
    end = start;
    while (this.#text.charCodeAt(end) !== doubleQuote) {
      end += this.#text.charCodeAt(end) === backslash ? 2 : 1;
      if (end >= this.#text.length) throw new ProtocolFault("ResponseProcessingFailed", "a quoted string does not end");
    }
    this.#at = end + 1;
    return this.#text.slice(start, end).replaceAll(/\\(.)/g, "$1");
  }

  #literal(): Literal {
    this.#at = this.#find("}", this.#at) + 1;
    const literal = this.#literals[this.#taken];
    if (literal === undefined)
      throw new ProtocolFault("ResponseProcessingFailed", "a literal is announced in the middle of a line");
    this.#taken += 1;
    return literal;
  }

  #skipList(): void {
    let depth = 0;
    do {
      const code = this.#text.charCodeAt(this.#at);
      if (Number.isNaN(code)) throw new ProtocolFault("ResponseProcessingFailed", "a list does not end");
      if (code === doubleQuote) this.#quoted();
      else if (code === openBrace) this.#literal();
      else {
        if (code === openParen) depth += 1;
        if (code === closeParen) depth -= 1;
        this.#at += 1;
      }
    } while (depth > 0);
  }
}

const months = "JanFebMarAprMayJunJulAugSepOctNovDec";
const twoDigits = (text: string, at: number): number => (text.charCodeAt(at) - 48) * 10 + text.charCodeAt(at + 1) - 48;

const plainDate = /^[ \d]\d-[A-Z][a-z]{2}-\d{4} \d\d:\d\d:\d\d [+-]\d{4}$/;
const minus = 45;

/** INTERNALDATE as nearly every server writes it is read by position, there being as many as messages; else by pattern. */
const dateOf = (text: string): Date | null => {
  const month = months.indexOf(text.slice(3, 6));
  if (month % 3 !== 0 || !plainDate.test(text)) return internalDateOf(text);
  const day = text.charCodeAt(0) === space ? text.charCodeAt(1) - 48 : twoDigits(text, 0);
  const year = twoDigits(text, 7) * 100 + twoDigits(text, 9);
  const zone = twoDigits(text, 22) * 60 + twoDigits(text, 24);
  const minutes = twoDigits(text, 15) + (text.charCodeAt(21) === minus ? zone : -zone);
  return new Date(Date.UTC(year, month / 3, day, twoDigits(text, 12), minutes, twoDigits(text, 18)));
};

/** Unsigned 63-bit (RFC 7162 §3.1). */
export const modseqOf = (text: string): bigint | null => (/^\d{1,19}$/.test(text) && text !== "0" ? BigInt(text) : null);

const fetchStart = /^\* \d{1,10} FETCH \(/i;

/** Reads `* 12 FETCH (…)`; null when the response is another. Unknown items are passed over. @throws ProtocolFault */
export const fetchFactsOf = (response: Response): FetchFacts | null => {
  const start = fetchStart.exec(response.text);
  if (start === null) return null;
  const scanner = new ItemScanner(response, start[0].length);
  let uid: number | null = null;
  let flags: readonly string[] | null = null;
  let internalDate: Date | null = null;
  let body: Literal | null | undefined;
  let modseq: bigint | null = null;
  let objectId: string | null = null;
  let size: number | null = null;
  for (let name = scanner.name(); name !== null; name = scanner.name()) {
    if (name === "BODY[]") body = scanner.octets();
    else if (name === "FLAGS") flags = flagsOf(scanner.flatList());
    else if (name === "UID") uid = uint32Of(scanner.text());
    else if (name === "INTERNALDATE") internalDate = dateOf(scanner.text() ?? "");
    else if (name === "RFC822.SIZE") size = uint32Of(scanner.text());
    else if (name === "MODSEQ") modseq = modseqOf(scanner.flatList());
    else if (name === "X-GUID" || name === "X-GM-MSGID" || name === "EMAILID")
      objectId = objectIdOf(scanner.text()?.replaceAll(/[()]/g, ""));
    else scanner.value();
  }
  return { uid, flags, internalDate, body, modseq, objectId, size };
};

/** Numbers of `* SEARCH 1 2 3`; none when the response is another. */
export const searchedUidsOf = (text: string): readonly number[] =>
  /^\* SEARCH( \d+)* *$/i.test(text)
    ? text
        .slice("* SEARCH".length)
        .split(" ")
        .filter((word) => word !== "")
        .map(Number)
    : [];

/** Does this text end with the announcement of a message's octets? */
export const announcesBody = (text: string): boolean => /BODY\[\] ~?\{\d+\+?\}$/i.test(text);

/** The response code of a status line, e.g. `["UIDVALIDITY", "7"]` of `* OK [UIDVALIDITY 7] …`; null when it has none. */
export const responseCodeOf = (text: string): readonly [name: string, rest: string] | null => {
  const match = /^\S+ (?:OK|NO|BAD|BYE|PREAUTH) \[([^\s\]]{1,64})(?: ([^\]]*))?\]/i.exec(text);
  return match === null ? null : [String(match[1]).toUpperCase(), match[2] ?? ""];
};
