/** What the header block of one part says about its content (RFC 2045, RFC 2183, RFC 2231). Never throws. */
import libmime from "libmime";
import { headerText, scanFields, wantedFields } from "./fields.ts";
import type { Encoding } from "./transfer.ts";
import { cleanLine, cutText, decodeRaw, decodeWords } from "./words.ts";

/** Chars of one structured value that are read; a name of 255 characters takes less in any encoding. */
const valueLimit = 16 * 1024;
const filenameLimit = 255;
const contentIdLimit = 998;

export interface PartHeaders {
  /** Lower case "type/subtype", always two tokens. */
  readonly contentType: string;
  readonly boundary: string | null;
  readonly charset: string | null;
  readonly encoding: Encoding;
  readonly disposition: "inline" | "attachment" | null;
  /** Without folders, control characters or bidirectional overrides; null when nothing is left. */
  readonly filename: string | null;
  /** Without its angle brackets, as `cid:` names it. */
  readonly contentId: string | null;
}

interface Structured {
  readonly value: string;
  readonly params: Readonly<Record<string, string>>;
  readonly decodedParams: readonly string[];
}

const wanted = wantedFields("content-type", "content-transfer-encoding", "content-disposition", "content-id");
const typeToken = /^[a-z0-9!#$&^_.+-]{1,64}\/[a-z0-9!#$&^_.+-]{1,64}$/;
const nothing: Structured = { value: "", params: {}, decodedParams: [] };

const structured = (value: string | undefined): Structured =>
  value === undefined || value === "" ? nothing : libmime.parseHeaderValue(value.slice(0, valueLimit), { stripComments: true });

const param = ({ params }: Structured, name: string): string | null =>
  Object.hasOwn(params, name) ? (params[name] ?? null) : null;

/** The last path segment, at most 255 characters with its extension kept. */
const cleanFilename = (name: string): string | null => {
  const path = cleanLine(name, valueLimit);
  const base = path.slice(Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\")) + 1).trim();
  if (/^\.*$/.test(base)) return null;
  if (base.length <= filenameLimit) return base;
  const dot = base.lastIndexOf(".");
  const extension = dot > 0 && base.length - dot <= 20 ? base.slice(dot) : "";
  return cutText(base, filenameLimit - extension.length) + extension;
};

/** RFC 2231 values are decoded by then; others may hold encoded words, which RFC 2047 §5 forbids and everybody writes. */
const filenameFrom = (header: Structured, name: string, charset: string | null): string | null => {
  const value = param(header, name);
  if (value === null || value === "") return null;
  return cleanFilename(header.decodedParams.includes(name) ? value : decodeWords(decodeRaw(value, charset)));
};

const typeOf = (header: Structured, present: boolean, fallback: string): string => {
  if (!present) return fallback;
  const value = (header.value.split(/[\s,]/, 1)[0] ?? "").toLowerCase();
  if (typeToken.test(value)) return value;
  // "multipart/*" and the like still have parts (RFC 2046 §5.1.3: an unknown multipart is a mixed one).
  if (value.startsWith("multipart/")) return "multipart/mixed";
  // RFC 2045 §5.2 takes mail of unreadable type for plain text; what names a file is no text to read.
  return value === "" || value === "text" ? "text/plain" : "application/octet-stream";
};

const encodingOf = (value: string): Encoding => {
  const name = value
    .replace(/\([^()]*\)/g, "")
    .trim()
    .replace(/^"(.*)"$/, "$1")
    .toLowerCase();
  if (name === "base64") return "base64";
  return name === "quoted-printable" ? "quoted-printable" : "identity";
};

/** Reads a part's header block, one char per octet. `fallbackType` is the type of a part that names none (RFC 2046 §5.1.5). */
export const readPartHeaders = (block: string, fallbackType: string): PartHeaders => {
  const found = new Map<string, string>();
  scanFields(headerText(block), wanted, (name, value) => {
    if (!found.has(name)) found.set(name, value);
  });
  const type = structured(found.get("content-type"));
  const dispositionHeader = structured(found.get("content-disposition"));
  const kind = dispositionHeader.value.trim().toLowerCase();
  const charset = param(type, "charset");
  const boundary = (param(type, "boundary") ?? "").trimEnd();
  const contentId = cleanLine((found.get("content-id") ?? "").slice(0, valueLimit), contentIdLimit)
    .replace(/^<|>$/g, "")
    .trim();
  return {
    contentType: typeOf(type, found.has("content-type"), kind === "attachment" ? "application/octet-stream" : fallbackType),
    boundary: boundary === "" ? null : boundary,
    charset,
    encoding: encodingOf((found.get("content-transfer-encoding") ?? "").slice(0, 100)),
    disposition: kind === "" ? null : kind === "inline" ? "inline" : "attachment",
    filename: filenameFrom(dispositionHeader, "filename", charset) ?? filenameFrom(type, "name", charset),
    contentId: contentId === "" ? null : contentId,
  };
};
