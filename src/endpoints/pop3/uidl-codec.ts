/**
 * What a unique-id of a POP3 listing tells about the item's IMAP side (RFC 1939 §7 says only: 1 to 70 printable characters).
 * Many servers print UID and UIDVALIDITY in it; which of the ways theirs is, they do not say. So a format is learned from items
 * that were known again by their headers, is checked again and again, and is forgotten at the first contradiction (ID-10).
 * The look of a unique-id alone proves nothing: a migrated or saved one may come from another server altogether.
 */
import type { EndpointProfile } from "../../model/endpoint.ts";
import type { PairedItem, UidlMeaning } from "../../model/maildrop.ts";

/** In the order in which they are tried. */
export const uidlFormats = [
  /** Dovecot's default `%08Xu%08Xv`. */
  "hex-uid-validity",
  /** UW ipop3d, and Dovecot set up to continue it: `%08Xv%08Xu`. */
  "hex-validity-uid",
  /** Cyrus since 2.1.4, Dovecot's `%v.%u`. */
  "validity.uid",
  /** Courier of old, Cyrus by option. */
  "validity-uid",
  /** Courier: `UID<uid>-<uidvalidity>`. */
  "UIDuid-validity",
  /** Stalwart: both numbers without anything between them. */
  "validityuid",
  /** Cyrus up to 2.1.3 and its `uidonly`: a recreated mailbox counts from 1 again, so that an old id names new mail. */
  "uid",
  /** WildDuck's `_id` (which is its EMAILID), Dovecot's `%g` (its X-GUID): the same content, not the same occurrence. */
  "object-id",
] as const;

export type UidlFormat = (typeof uidlFormats)[number];

/** A format as it was learned. It is data: it stands in the endpoint's profile. */
export interface UidlCodec {
  readonly format: UidlFormat;
  /** UIDVALIDITY of INBOX when it was learned; some formats hold for this epoch only. */
  readonly uidValidity: number;
}

export type Learned =
  | { readonly state: "learned"; readonly codec: UidlCodec }
  /** More evidence is needed; one of `formats` it may be. */
  | { readonly state: "open"; readonly formats: readonly UidlFormat[] }
  /** No format fits: hashes, file names, or a mixture. Items are known by their headers. */
  | { readonly state: "opaque" };

/** So many confirmations make a format believed, or one of every item where there are fewer. */
const confirmationsNeeded = 3;
const maxNumber = 0xffff_ffff;

const unsigned = (digits: string | undefined, radix: number): number | null => {
  const value = Number.parseInt(digits ?? "", radix);
  return value >= 1 && value <= maxNumber ? value : null;
};

interface Numbers {
  readonly uid: number;
  /** null in a format that does not print it. */
  readonly uidValidity: number | null;
}

/** Decimal numbers are printed without leading zeros, hexadecimal ones with eight digits of one case. */
const patterns: Readonly<Record<Exclude<UidlFormat, "object-id" | "validityuid">, RegExp>> = {
  "hex-uid-validity": /^(?<uid>[\da-f]{8})(?<validity>[\da-f]{8})$/,
  "hex-validity-uid": /^(?<validity>[\da-f]{8})(?<uid>[\da-f]{8})$/,
  "validity.uid": /^(?<validity>[1-9]\d{0,9})\.(?<uid>[1-9]\d{0,9})$/,
  "validity-uid": /^(?<validity>[1-9]\d{0,9})-(?<uid>[1-9]\d{0,9})$/,
  "UIDuid-validity": /^UID(?<uid>[1-9]\d{0,9})-(?<validity>[1-9]\d{0,9})$/,
  uid: /^(?<uid>[1-9]\d{0,9})$/,
};

/** Both numbers without anything between them can be read only where one of them is known. */
const readConcatenated = (uidl: string, uidValidity: number): Numbers | null => {
  const prefix = String(uidValidity);
  const rest = uidl.startsWith(prefix) ? uidl.slice(prefix.length) : "";
  const uid = patterns.uid.test(rest) ? unsigned(rest, 10) : null;
  return uid === null ? null : { uid, uidValidity };
};

const readNumbers = (format: Exclude<UidlFormat, "object-id">, uidl: string, uidValidity: number): Numbers | null => {
  if (format === "validityuid") return readConcatenated(uidl, uidValidity);
  const inHex = format.startsWith("hex");
  const groups = patterns[format].exec(inHex && uidl === uidl.toUpperCase() ? uidl.toLowerCase() : uidl)?.groups;
  const uid = unsigned(groups?.["uid"], inHex ? 16 : 10);
  if (uid === null) return null;
  if (format === "uid") return { uid, uidValidity: null };
  const printed = unsigned(groups?.["validity"], inHex ? 16 : 10);
  return printed === null ? null : { uid, uidValidity: printed };
};

/** Does the unique-id say of the item what the item is? */
const confirms = (format: UidlFormat, { uidl, uid, uidValidity, objectId }: PairedItem): boolean => {
  if (format === "object-id") return objectId !== null && objectId === uidl;
  const numbers = readNumbers(format, uidl, uidValidity);
  return numbers !== null && numbers.uid === uid && (numbers.uidValidity ?? uidValidity) === uidValidity;
};

/**
 * The format that all evidence confirms (ID-10). `items` is the number of items in the maildrop. PairedItem from another INBOX
 * epoch than that of the last piece is not counted: epochs are never mixed (I12).
 */
export const learnCodec = (evidence: readonly PairedItem[], items: number): Learned => {
  const uidValidity = evidence.at(-1)?.uidValidity;
  if (uidValidity === undefined) return { state: "open", formats: uidlFormats };
  const current = evidence.filter((one) => one.uidValidity === uidValidity);
  const formats = uidlFormats.filter((format) => current.every((one) => confirms(format, one)));
  const [format, ...others] = formats;
  if (format === undefined) return { state: "opaque" };
  const confirmations = new Set(current.map((one) => one.uidl)).size;
  if (others.length > 0 || confirmations < Math.min(confirmationsNeeded, Math.max(1, items))) return { state: "open", formats };
  return { state: "learned", codec: { format, uidValidity } };
};

/**
 * Does the codec hold while INBOX has `uidValidity`? A bare UID names other mail in every epoch, and where both numbers stand
 * without anything between them, an old id may read like a new one: those two are learned anew in each epoch.
 */
const holds = ({ format, uidValidity: learnedIn }: UidlCodec, uidValidity: number): boolean =>
  (format !== "uid" && format !== "validityuid") || learnedIn === uidValidity;

/** The codec after one more item was known again by its headers: itself, or null at the first contradiction (ID-10). */
export const reverifyCodec = (codec: UidlCodec, evidence: PairedItem): UidlCodec | null =>
  holds(codec, evidence.uidValidity) && confirms(codec.format, evidence) ? codec : null;

/**
 * What a unique-id says under a learned codec while INBOX has `uidValidity`; null when it says nothing and its item has to be
 * known by its headers. Object ids are not judged by their look: any string may be one.
 */
export const decodeUidl = (codec: UidlCodec, uidl: string, uidValidity: number): UidlMeaning | null => {
  if (codec.format === "object-id") return { kind: "content", objectId: uidl };
  const numbers = holds(codec, uidValidity) ? readNumbers(codec.format, uidl, uidValidity) : null;
  if (numbers === null) return null;
  return (numbers.uidValidity ?? uidValidity) === uidValidity ? { kind: "item", uid: numbers.uid } : { kind: "foreign" };
};

const isFormat = (name: string): name is UidlFormat => (uidlFormats as readonly string[]).includes(name);

/** The codec that stands in a profile; null: none, or one that this version does not know. */
export const codecOf = ({ uidlFormat }: EndpointProfile): UidlCodec | null =>
  uidlFormat !== undefined && isFormat(uidlFormat.name) ? { format: uidlFormat.name, uidValidity: uidlFormat.uidValidity } : null;

/** The codec after more items were known again by their headers: kept, learned, or null (ID-10). */
export const nextCodec = (codec: UidlCodec | null, evidence: readonly PairedItem[], items: number): UidlCodec | null => {
  if (codec !== null && evidence.every((one) => reverifyCodec(codec, one) !== null)) return codec;
  const learned = learnCodec(evidence, items);
  return learned.state === "learned" ? learned.codec : null;
};
