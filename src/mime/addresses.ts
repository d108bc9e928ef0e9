/** Address lists (RFC 5322 §3.4, §4.4) as they are found: unquoted commas in encoded words, groups, comments, no brackets. */
import type { Address } from "../model/mail.ts";
import { cleanLine, decodeWords } from "./words.ts";

const nameLimit = 500;
const emailLimit = 998;
/** What needs no thought, up to the next char that does. */
const plain = /[^"(<,;:[=]+/y;
/** Its text may hold commas and brackets: many writers do not encode them. */
const encodedWord = /=\?[^?\s]{1,80}\?[bq]\?[^?]{0,1000}\?=/iy;

/** Offset behind the quoted string that opens at `at`, or -1 when it never closes. */
const quoteEnd = (text: string, at: number): number => {
  for (let i = at + 1; i < text.length; i += 1) {
    const char = text.charCodeAt(i);
    if (char === 92) i += 1;
    else if (char === 34) return i + 1;
  }
  return -1;
};

/** Offset behind the comment that opens at `at` (they nest), or -1 when it never closes. */
const commentEnd = (text: string, at: number): number => {
  let depth = 0;
  for (let i = at; i < text.length; i += 1) {
    const char = text.charCodeAt(i);
    if (char === 92) i += 1;
    else if (char === 40) depth += 1;
    else if (char === 41) {
      depth -= 1;
      if (depth === 0) return i + 1;
    }
  }
  return -1;
};

const unescape = (text: string): string => (text.includes("\\") ? text.replace(/\\(.)/gs, "$1") : text);
const fold = (text: string): string => (/[\t\r\n]| {2}/.test(text) ? text.replace(/[ \t\r\n]+/g, " ") : text).trim();

class AddressReader {
  readonly found: Address[] = [];
  private readonly text: string;
  private readonly limit: number;
  private at = 0;
  private phrase = "";
  private comment = "";
  private email: string | null = null;
  /** What stood before a comma without an address: perhaps the first half of an unquoted "Doe, Ana <ana@example.com>". */
  private carried = "";
  /** An opening that was seen never to close: the search for its end is not repeated for the next one. */
  private openQuote = false;
  private openComment = false;
  private openAngle = false;
  private openLiteral = false;

  constructor(text: string, limit: number) {
    this.text = text;
    this.limit = limit;
  }

  read(): readonly Address[] {
    while (this.at < this.text.length && this.found.length < this.limit) this.step();
    this.flush();
    return this.found;
  }

  private step(): void {
    switch (this.text[this.at]) {
      case '"':
        return this.quoted();
      case "(":
        return this.commented();
      case "<":
        return this.bracketed();
      case "[":
        return this.literal();
      case "=":
        return this.take(encodedWord);
      case ",":
      case ";":
        this.flush();
        this.at += 1;
        return undefined;
      case ":":
        // A group's name; its members follow. "mailto:" goes the same way.
        this.phrase = "";
        this.comment = "";
        this.at += 1;
        return undefined;
      default:
        return this.take(plain);
    }
  }

  private take(pattern: RegExp): void {
    pattern.lastIndex = this.at;
    const [taken = this.text.charAt(this.at)] = pattern.exec(this.text) ?? [];
    this.phrase += taken;
    this.at += taken.length;
  }

  private quoted(): void {
    const end = this.openQuote ? -1 : quoteEnd(this.text, this.at);
    if (end < 0) {
      this.openQuote = true;
      this.at += 1;
      return;
    }
    const content = this.text.slice(this.at, end);
    // A quoted local part keeps its quotes: "john doe"@example.com.
    this.phrase += this.text[end] === "@" ? content : unescape(content.slice(1, -1));
    this.at = end;
  }

  private commented(): void {
    const end = this.openComment ? -1 : commentEnd(this.text, this.at);
    if (end < 0) {
      this.openComment = true;
      this.at += 1;
      return;
    }
    this.comment ||= unescape(this.text.slice(this.at + 1, end - 1));
    this.phrase += " ";
    this.at = end;
  }

  private bracketed(): void {
    const close = this.openAngle ? -1 : this.text.indexOf(">", this.at);
    this.openAngle = close < 0;
    const comma = close < 0 ? this.text.indexOf(",", this.at) : close;
    const end = comma < 0 ? this.text.length : comma;
    this.email ??= this.text.slice(this.at + 1, end);
    this.at = close < 0 ? end : close + 1;
  }

  /** A domain literal, e.g. [IPv6:::1], whose colons start no group. */
  private literal(): void {
    const close = this.openLiteral ? -1 : this.text.indexOf("]", this.at);
    this.openLiteral = close < 0;
    const next = close < 0 ? this.at + 1 : close + 1;
    this.phrase += this.text.slice(this.at, next);
    this.at = next;
  }

  private flush(): void {
    const text = fold(this.phrase);
    const isName = this.email === null && text !== "" && !text.includes("@");
    if (isName && this.text[this.at] === ",") {
      this.carried += `${text}, `;
    } else if (this.carried !== "" && this.email !== null && text !== "") {
      this.add(toAddress(this.carried + text, this.comment, this.email));
      this.carried = "";
    } else {
      this.flushCarried();
      this.add(toAddress(text, this.comment, this.email));
    }
    this.phrase = "";
    this.comment = "";
    this.email = null;
  }

  private flushCarried(): void {
    if (this.carried === "") return;
    for (const name of this.carried.slice(0, -2).split(", ")) this.add(toAddress(name, "", null));
    this.carried = "";
  }

  private add(address: Address | null): void {
    if (address !== null && this.found.length < this.limit) this.found.push(address);
  }
}

const nameOf = (text: string): string | null => {
  const name = text === "" ? "" : cleanLine(decodeWords(text), nameLimit);
  return name === "" ? null : name;
};

/** An address without blanks and without the obsolete route before it (RFC 5322 §4.4: "@a,@b:user@c"). */
const emailOf = (text: string): string => {
  const bare = text.includes("(") ? text.replace(/\([^()]*\)/g, "") : text;
  const route = bare.startsWith("@") ? bare.slice(bare.indexOf(":") + 1) : bare;
  return cleanLine(route.includes('"') ? route : route.replace(/[ \t\r\n]+/g, ""), emailLimit);
};

const toAddress = (text: string, comment: string, inBrackets: string | null): Address | null => {
  if (inBrackets !== null) {
    const email = emailOf(inBrackets.trim());
    const name = nameOf(text) ?? nameOf(fold(comment));
    return email === "" && name === null ? null : { name, email };
  }
  if (text === "") return null;
  if (text.startsWith('"') && text.includes("@")) return { name: nameOf(fold(comment)), email: emailOf(text) };
  const joined = text.replaceAll(" @", "@").replaceAll("@ ", "@").split(" ");
  const index = joined.findIndex((word) => word.includes("@") && !word.startsWith("=?"));
  if (index >= 0) {
    const rest = joined.filter((_, at) => at !== index).join(" ");
    return { name: nameOf(rest) ?? nameOf(fold(comment)), email: emailOf(joined[index] ?? "") };
  }
  // One word without a domain is a local user ("root"); several are a name.
  if (joined.length === 1 && !text.includes("=?")) return { name: nameOf(fold(comment)), email: emailOf(text) };
  const name = nameOf(text);
  return name === null ? null : { name, email: "" };
};

/** One mailbox as nearly all are written; anything else takes the long way, which gives the same for these. */
const usual = /^(?:"([^"\\=@]*)" ?|([^"\\(),:;<>[\]=@]*))<([^"\\(),:;<>[\]\s@]+@[^"\\(),:;<>[\]\s@]+)>$/;
const unnamed = /^[^"\\(),:;<>[\]\s@]+@[^"\\(),:;<>[\]\s@]+$/;

const readUsual = (value: string): Address | null => {
  if (!value.endsWith(">"))
    return unnamed.test(value) && !value.startsWith("=?") ? { name: null, email: cleanLine(value, emailLimit) } : null;
  const [, quoted, unquoted, email] = usual.exec(value) ?? [];
  return email === undefined ? null : { name: nameOf(fold(quoted ?? unquoted ?? "")), email: cleanLine(email, emailLimit) };
};

/** The addresses of one field value, at most `limit`, groups flattened. The value is unfolded; its words are not yet decoded. */
export const readAddresses = (value: string, limit: number): readonly Address[] => {
  const single = readUsual(value);
  return single === null ? new AddressReader(value, limit).read() : [single];
};
