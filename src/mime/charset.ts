/** Octets to text, whatever they claim to be: decoding never fails and never gives a lone surrogate. */
import { isUtf8 } from "node:buffer";
import { TextDecoder } from "node:util";
import { decode as decodeRare } from "libmime/lib/charset.js";

/** Names that say nothing, or say ASCII of octets that are not: the octets themselves are asked. */
const saysNothing = new Set([
  "",
  "us-ascii",
  "ascii",
  "unknown-8bit",
  "x-unknown",
  "unknown",
  "default",
  "7bit",
  "8bit",
  "binary",
]);
const plainName = /^[a-z0-9_:.+-]{1,40}$/;
/** Decoders by the name found in mail; null for names that ICU does not know. Bounded: names come from strangers. */
const decoders = new Map<string, TextDecoder | null>();
const decodersLimit = 200;

const decoderFor = (name: string): TextDecoder | null => {
  const known = decoders.get(name);
  if (known !== undefined) return known;
  let decoder: TextDecoder | null = null;
  try {
    decoder = new TextDecoder(name);
  } catch {
    // A RangeError is how TextDecoder says that it does not know the name.
  }
  if (decoders.size >= decodersLimit) decoders.clear();
  decoders.set(name, decoder);
  return decoder;
};

/** The octets less a UTF-8 character that was cut off at the end. */
const wholeCharacters = (octets: Buffer): Buffer => {
  for (let back = 1; back <= Math.min(3, octets.length); back += 1) {
    const octet = octets[octets.length - back] ?? 0;
    if (octet < 0x80) return octets;
    const needed = octet >= 0xf0 ? 4 : octet >= 0xe0 ? 3 : octet >= 0xc0 ? 2 : 0;
    if (needed > 0) return back < needed ? octets.subarray(0, octets.length - back) : octets;
  }
  return octets;
};

const utf8 = new TextDecoder("utf-8");
const windows1252 = new TextDecoder("windows-1252");

/** UTF-8 where the octets are, or clearly were before something damaged them; else Windows-1252, which takes any octet. */
const guess = (octets: Buffer): string => {
  if (isUtf8(octets)) return octets.toString("utf8");
  const damaged = utf8.decode(octets);
  const broken = damaged.split("\ufffd").length - 1;
  const whole = (damaged.match(/[\u0080-\uffff]/g)?.length ?? 0) - broken;
  return whole > broken * 2 ? damaged : windows1252.decode(octets);
};

const isAscii = (octets: Buffer): boolean => octets.every((octet) => octet < 0x80);

/**
 * Text in the charset that its label names (RFC 2045, WHATWG names included). Without a useful label: UTF-8 where it is valid,
 * else Windows-1252. UTF-7 is refused (it smuggles markup past filters) and read as UTF-8.
 * `cut` says that the octets may end inside a character.
 */
export const decodeCharset = (octets: Buffer, label: string | null, cut = false): string => {
  const name = (label ?? "").trim().toLowerCase();
  if (name === "utf-8" || name === "utf8") return utf8.decode(cut ? wholeCharacters(octets) : octets);
  if (saysNothing.has(name) || !plainName.test(name)) return guess(cut ? wholeCharacters(octets) : octets);
  // Octets above 127 do not exist in ISO-2022-JP: that is mostly Shift_JIS, which the second decoder finds out.
  const decoder = name.startsWith("iso-2022-jp") && !isAscii(octets) ? null : decoderFor(name);
  return (decoder === null ? decodeRare(octets, name) : decoder.decode(octets)).toWellFormed();
};
