/**
 * Reads the token trees that imapflow's parser makes of server lines. Everything here distrusts the server: a value that
 * is not what the grammar says (RFC 9051 9) is null, never NaN and never a huge number.
 */
import type { UidRange } from "../../model/observation.ts";

export type Token = null | Atom | readonly Token[];

export interface Atom {
  readonly type: string;
  readonly value?: string | Buffer;
  /** What stood in brackets behind the atom: `BODY[…]`, `OK [UIDNEXT 7]`. */
  readonly section?: readonly Token[];
}

/** One parsed server line. `command` is the number of `* 7 EXISTS`; `EXISTS` is then the first attribute. */
export interface Line {
  readonly tag: string;
  readonly command: string;
  readonly attributes?: readonly Token[];
  /** Set instead of `attributes` for `* SEARCH 1 2 3`. */
  readonly numbers?: readonly number[];
}

/** \Recent is the session's, not the message's: whoever selects next takes it away (RFC 3501 2.3.2). */
export const isLasting = (flag: string): boolean => flag.toLowerCase() !== "\\recent";

/** What one FETCH line said; absent items are null. */
export interface FetchLine {
  readonly uid: number | null;
  readonly flags: readonly string[] | null;
  readonly modseq: bigint | null;
  readonly size: number | null;
  readonly internalDate: Date | null;
  readonly objectId: string | null;
  /** `undefined`: not in the line; null: NIL, or not to be had byte-exact. */
  readonly body: Buffer | null | undefined;
}

/** UIDs one answer may expand to; a server that says more is not believed. */
const maxExpanded = 2_000_000;

export const listOf = (token: Token | undefined): readonly Token[] | null =>
  Array.isArray(token) ? (token as readonly Token[]) : null;

export const textOf = (token: Token | undefined): string | null => {
  if (token === null || token === undefined || !("value" in token)) return null;
  return token.value === undefined ? null : token.value.toString();
};

/** Texts of a list; anything else in it is left out. */
export const textsOf = (token: Token | undefined): string[] =>
  (listOf(token) ?? []).map(textOf).filter((text): text is string => text !== null && text !== "");

/** Unsigned 32-bit (RFC 9051 `number`), from a token or a plain text. */
export const uint32Of = (token: Token | string | undefined): number | null => {
  const text = typeof token === "string" ? token : textOf(token);
  if (text === null || !/^\d{1,10}$/.test(text)) return null;
  const value = Number(text);
  return value <= 0xffffffff ? value : null;
};

/** MODSEQ: unsigned 63-bit (RFC 7162 3.1); 0 and anything unusable is null. */
export const bigintOf = (token: Token | undefined): bigint | null => {
  const text = textOf(token);
  if (text === null || !/^\d{1,19}$/.test(text)) return null;
  const value = BigInt(text);
  return value > 0n ? value : null;
};

/**
 * The UIDs of a sequence set that lie within `bounds`, ascending and unique; null when the set is unreadable or too large
 * to be believed. The bounds come first: a few bytes can name four thousand million UIDs.
 */
export const uidsOf = (token: Token | undefined, bounds: UidRange): number[] | null => {
  const text = textOf(token);
  if (text === null || !/^[\d:,*]+$/.test(text)) return null;
  const found = new Set<number>();
  for (const element of text.split(",")) {
    const [first = "", last = first] = element.split(":");
    const one = first === "*" ? bounds.to : uint32Of(first);
    const other = last === "*" ? bounds.to : uint32Of(last);
    if (one === null || other === null) return null;
    const from = Math.max(Math.min(one, other), bounds.from);
    const to = Math.min(Math.max(one, other), bounds.to);
    if (found.size + Math.max(0, to - from + 1) > maxExpanded) return null;
    for (let uid = from; uid <= to; uid++) found.add(uid);
  }
  return [...found].sort((a, b) => a - b);
};

const months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/** INTERNALDATE, e.g. `17-Jul-1996 02:44:25 -0700` (RFC 9051 9, `date-time`); null when it is none. */
export const internalDateOf = (text: string | null): Date | null => {
  const match = /^\s?(\d{1,2})-([a-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)$/i.exec(text ?? "");
  if (match === null) return null;
  const [, day, month = "", year, hours, minutes, seconds, sign, zoneHours, zoneMinutes] = match;
  const at = Date.UTC(
    Number(year),
    months.indexOf(month.toLowerCase()),
    Number(day),
    Number(hours),
    Number(minutes),
    Number(seconds),
  );
  const zone = (Number(zoneHours) * 60 + Number(zoneMinutes)) * 60_000;
  const date = new Date(sign === "-" ? at + zone : at - zone);
  return months.includes(month.toLowerCase()) && !Number.isNaN(date.getTime()) ? date : null;
};

/** Longer ones are not kept: RFC 8474 4 allows 255. */
const longestObjectId = 255;

/** An id of the server's own, as it may be kept; null: it is none. */
export const objectIdOf = (text: string | null | undefined): string | null =>
  text != null && text.length <= longestObjectId && /^[\x21-\x7e]+$/.test(text) && text.toUpperCase() !== "NIL" ? text : null;

/** The octets of a body item. A quoted string is only believed where decoding it cannot have lost a byte. */
const octetsOf = (token: Token | undefined): Buffer | null => {
  if (token === null || token === undefined || !("value" in token) || token.value === undefined) return null;
  if (Buffer.isBuffer(token.value)) return token.value;
  return token.value.includes("\uFFFD") ? null : Buffer.from(token.value);
};

/** Reads `* 12 FETCH (…)`. Unknown items are passed over; a value out of its range is null. */
export const fetchLineOf = (line: Line): FetchLine => {
  const items = listOf(line.attributes?.[1]) ?? [];
  let uid: number | null = null;
  let flags: string[] | null = null;
  let modseq: bigint | null = null;
  let size: number | null = null;
  let internalDate: Date | null = null;
  let objectId: string | null = null;
  let body: Buffer | null | undefined;
  for (let index = 0; index + 1 < items.length; index += 2) {
    const value = items[index + 1];
    switch (textOf(items[index])?.toUpperCase()) {
      case "UID":
        uid = uint32Of(value) || null;
        break;
      case "FLAGS":
        flags = listOf(value) === null ? null : textsOf(value).filter(isLasting);
        break;
      case "MODSEQ":
        modseq = bigintOf(listOf(value)?.[0]);
        break;
      case "RFC822.SIZE":
        size = uint32Of(value);
        break;
      case "INTERNALDATE":
        internalDate = internalDateOf(textOf(value));
        break;
      case "EMAILID":
      case "X-GM-MSGID":
      case "X-GUID":
        objectId = objectIdOf(textOf(listOf(value)?.[0] ?? value));
        break;
      case "BODY":
        body = octetsOf(value);
        break;
      default: // Items that were not asked for are no concern of ours.
    }
  }
  return { uid, flags, modseq, size, internalDate, objectId, body };
};
