/**
 * What the header block of a message says. On the hot path of ingest: one pass over the block, and nothing is decoded that does
 * not need it. Never throws, whatever the octets; the time is linear in them.
 */
import type { Address, MessageHeaders } from "../model/mail.ts";
import { readAddresses } from "./addresses.ts";
import { readDate } from "./dates.ts";
import { headerText, scanFields, wantedFields } from "./fields.ts";
import { cleanLine, decodeRaw, decodeWords } from "./words.ts";

const subjectLimit = 2_000;
const addressLimit = 500;
/** RFC 5322 §2.1.1: no line is longer. */
const messageIdLimit = 998;
const referencesLimit = 100;
/** Chars of a References field that can hold 100 ids; the newest stand last. */
const referencesTail = 128 * 1024;
/** Nearly every header block ends within; the rest of the octets is not even looked at then. */
const firstLook = 16 * 1024;
/** Longer blocks are read to here; what follows is taken for part of no field. */
const blockLimit = 4 * 1024 * 1024;

const wanted = wantedFields(
  "message-id",
  "in-reply-to",
  "references",
  "subject",
  "from",
  "to",
  "cc",
  "bcc",
  "date",
  "content-type",
);

/** The first value of each field that may stand once only, all values of those that list addresses. */
type Found = ReadonlyMap<string, string>;

const collect = (text: string): { found: Map<string, string>; ended: boolean } => {
  const found = new Map<string, string>();
  const end = scanFields(text, wanted, (name, value) => {
    const earlier = found.get(name);
    if (earlier === undefined || earlier === "") found.set(name, value);
    // A list that was split over two fields is one list; two authors' lines are not (the first is what readers show).
    else if (name === "to" || name === "cc" || name === "bcc") found.set(name, `${earlier}, ${value}`);
  });
  return { found, ended: end >= 0 };
};

const readBlock = (head: Buffer): Found => {
  const first = head.toString("latin1", 0, Math.min(head.length, firstLook));
  if (head.length <= firstLook || first.includes("\n")) {
    const look = collect(headerText(first));
    if (look.ended || head.length <= firstLook) return look.found;
  }
  return collect(headerText(head.toString("latin1", 0, Math.min(head.length, blockLimit)))).found;
};

/** The first id in angle brackets, with them; null when there is none. */
const firstId = (value: string): string | null => {
  const open = value.indexOf("<");
  if (open < 0) return null;
  const close = value.indexOf(">", open);
  return idOf(value.slice(open, close < 0 ? value.length : close + 1));
};

const idOf = (text: string): string | null => {
  const id = cleanLine(text, messageIdLimit);
  return id === "" || id === "<>" ? null : id;
};

const references = (value: string): readonly string[] => {
  const tail = value.length > referencesTail ? value.slice(-referencesTail) : value;
  // Each piece is looked at once: a pattern for "anything@anything" would look at one long piece from each of its characters.
  const ids = tail.includes("<") ? (tail.match(/<[^<>]+>/g) ?? []) : tail.split(/[ \t]+/).filter((piece) => piece.includes("@"));
  return ids.slice(-referencesLimit).flatMap((text) => idOf(text) ?? []);
};

const charsetOf = (contentType: string): string | null =>
  /charset\s{0,9}=\s{0,9}"?([a-z0-9_:.+-]{1,40})/i.exec(contentType)?.[1] ?? null;

/**
 * Reads the fields that the canonical store keeps. `head` is the message or its start; what follows the empty line is ignored.
 * All strings are one printable line each: no control characters, NUL, lone surrogates; their lengths and numbers are bounded.
 */
export const readHeaders = (head: Buffer): MessageHeaders => {
  const found = readBlock(head);
  const raw = (name: string): string | null => {
    const value = found.get(name);
    return value === undefined ? null : decodeRaw(value, charset);
  };
  const charset = charsetOf(found.get("content-type") ?? "");
  const addresses = (name: string): readonly Address[] => {
    const value = raw(name);
    return value === null || value === "" ? [] : readAddresses(value, addressLimit);
  };
  const subject = raw("subject");
  const messageId = raw("message-id") ?? "";
  const inReplyTo = raw("in-reply-to") ?? "";
  return {
    messageId: firstId(messageId) ?? idOf(messageId),
    // Prose stands here too ("Your message of Monday"); one word without brackets is an id all the same.
    inReplyTo: firstId(inReplyTo) ?? (/[ \t]/.test(inReplyTo) ? null : idOf(inReplyTo)),
    references: references(raw("references") ?? ""),
    subject: subject === null ? null : cleanLine(decodeWords(subject), subjectLimit),
    from: addresses("from"),
    to: addresses("to"),
    cc: addresses("cc"),
    bcc: addresses("bcc"),
    sentAt: readDate(found.get("date") ?? ""),
  };
};
