/** Words for mail that every room shares (RFC 9051, RFC 8621). */

/** Mailbox roles as JMAP names them (RFC 8621 §2). */
export type Role = "inbox" | "archive" | "drafts" | "sent" | "junk" | "trash";

/** Where a role was taken from, strongest first (semantics D10). */
export type RoleSource = "api" | "special_use" | "xlist" | "name";

export interface Address {
  readonly name: string | null;
  readonly email: string;
}

/** What the header block of a message says; every field is null or empty where the header is missing or unreadable. */
export interface MessageHeaders {
  /** With its angle brackets, as written. A hint, never an identity (semantics L6). */
  readonly messageId: string | null;
  readonly inReplyTo: string | null;
  readonly references: readonly string[];
  readonly subject: string | null;
  readonly from: readonly Address[];
  readonly to: readonly Address[];
  readonly cc: readonly Address[];
  readonly bcc: readonly Address[];
  readonly sentAt: Date | null;
}

/** One decoded leaf part offered as a download. */
export interface AttachmentInfo {
  /** IMAP part number, e.g. "2" or "1.2" (RFC 9051 §6.4.5.1). */
  readonly partId: string;
  readonly filename: string | null;
  readonly contentType: string;
  /** Decoded size in bytes. */
  readonly size: number;
  readonly contentId: string | null;
  readonly inline: boolean;
}

/** What parsing the whole message gave. `failed` keeps the raw octets readable and says why. */
export type ParsedMessage =
  | {
      readonly status: "parsed";
      /** The first 256 characters of readable text, white space folded. */
      readonly preview: string;
      readonly attachments: readonly AttachmentInfo[];
      /** Words for the text search: decoded text, at most 64 KiB. */
      readonly searchText: string;
    }
  | { readonly status: "failed"; readonly reason: string };

/**
 * The keyword (JMAP spelling, lower case) of an upstream flag, or null for session state that is not kept:
 * `\Seen` → `$seen`, `$Forwarded` → `$forwarded`, `\Recent` → null. `\Deleted` is a pending removal of one binding,
 * not a keyword (semantics 3.1). Unknown system flags keep their backslash.
 */
export const keywordOfFlag = (flag: string): string | null => {
  const lower = flag.toLowerCase();
  switch (lower) {
    case "\\seen":
    case "\\flagged":
    case "\\answered":
    case "\\draft":
      return `$${lower.slice(1)}`;
    case "\\recent":
    case "\\deleted":
      return null;
    default:
      return lower;
  }
};

/** No object: a keyword may be called `constructor`. */
const systemFlags: ReadonlyMap<string, string> = new Map([
  ["$seen", "\\Seen"],
  ["$flagged", "\\Flagged"],
  ["$answered", "\\Answered"],
  ["$draft", "\\Draft"],
]);

/** The upstream flag of a keyword: as one of `spellings` writes it (F6), else the system flag's name, else the keyword itself. */
export const flagOfKeyword = (keyword: string, spellings: readonly string[] = []): string => {
  const spelt = spellings.find((flag) => keywordOfFlag(flag) === keyword);
  if (spelt !== undefined) return spelt;
  return systemFlags.get(keyword) ?? keyword;
};

/** Does a mailbox of these PERMANENTFLAGS keep the flag (RFC 9051 §7.1)? null: it did not say, which means that it keeps all. */
export const keepsFlag = (permanentFlags: readonly string[] | null, flag: string): boolean =>
  permanentFlags === null ||
  permanentFlags.some((kept) => kept.toLowerCase() === flag.toLowerCase() || (kept === "\\*" && !flag.startsWith("\\")));

/** Keywords of a flag list: unique and sorted, so that equal sets are equal arrays. */
export const keywordsOfFlags = (flags: readonly string[]): string[] => {
  const found = new Set<string>();
  for (const flag of flags) {
    const keyword = keywordOfFlag(flag);
    if (keyword !== null) found.add(keyword);
  }
  return [...found].sort();
};
