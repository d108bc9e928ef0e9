/** Header values as text that may go anywhere: into PostgreSQL, JSON, a log or a terminal. */
import { isUtf8 } from "node:buffer";
import libmime from "libmime";
import { decodeCharset } from "./charset.ts";

/** An encoded word of 2,000 readable characters fits in; what is longer is cut before it costs anything. */
const encodedLimit = 32 * 1024;
const eightBit = /[\u0080-\u00ff]/;
/** C0, DEL, C1, line and paragraph separators, bidirectional overrides and isolates, surrogates that may stand alone. */
const suspect = /[\0-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069\ud800-\udfff]/;
const unprintableRuns = /[\0-\u001f\u007f-\u009f\u2028\u2029]+/g;
const bidiOverrides = /[\u202a-\u202e\u2066-\u2069]/g;

/** The first `limit` UTF-16 units, never half a surrogate pair. */
export const cutText = (text: string, limit: number): string => {
  if (text.length <= limit) return text;
  const last = text.charCodeAt(limit - 1);
  return text.slice(0, last >= 0xd800 && last <= 0xdbff ? limit - 1 : limit);
};

/** One printable line: no control characters, NUL, lone surrogates or bidirectional overrides; at most `limit` UTF-16 units. */
export const cleanLine = (text: string, limit: number): string => {
  if (text.length <= limit && !suspect.test(text)) return text.trim();
  const line = text.replace(bidiOverrides, "").replace(unprintableRuns, " ");
  return cutText(line.trim(), limit).trimEnd().toWellFormed();
};

/** Raw octets of a header (one char each) as characters: ASCII, UTF-8 (RFC 6532), else the message's own charset. */
export const decodeRaw = (latin1: string, charset: string | null): string => {
  if (!eightBit.test(latin1)) return latin1;
  const octets = Buffer.from(latin1, "latin1");
  return isUtf8(octets) ? octets.toString("utf8") : decodeCharset(octets, charset);
};

/** Decodes encoded words (RFC 2047); anything else stays as it is. */
export const decodeWords = (text: string): string => {
  if (!text.includes("=?")) return text;
  return libmime.decodeWords(text.length > encodedLimit ? text.slice(0, encodedLimit) : text);
};
