/**
 * The parts of a message as offsets into its octets (RFC 2046). Octets come in chunks of any size and are not kept; the cost is
 * one search for lines that start with "--" plus the header blocks. Part numbers are IMAP's (RFC 9051 §6.4.5.1).
 *
 * Tolerated: bare LF, missing and unclosed boundaries, boundaries that never appear, parts without headers or empty line.
 * message/rfc822 is one part and not entered, as in JMAP (RFC 8621 §4.1.4).
 */
import { type PartHeaders, readPartHeaders } from "./part-headers.ts";

/** More is no mail but a bomb: mailparser stops at 1,000 parts too, the deepest real mail seen has 10 levels. */
export const treeLimits = { parts: 2_000, depth: 200 } as const;

export type TreeFailure = "too_many_parts" | "too_deep";

export interface Part {
  readonly parent: Part | null;
  readonly headers: PartHeaders;
  /** Offsets of the body in the message's octets, transfer encoding still on. */
  readonly bodyStart: number;
  readonly bodyEnd: number;
  /** "1", "2.1"; "" for a root with parts. */
  readonly partId: string;
  /** Empty for a leaf. A multipart in which no part was found is a leaf of plain text. */
  readonly children: readonly Part[];
}

interface OpenPart {
  parent: OpenPart | null;
  depth: number;
  headers: PartHeaders;
  bodyStart: number;
  bodyEnd: number;
  partId: string;
  children: OpenPart[];
  /** The outer part with the same boundary, hidden while this one is open. */
  hides: OpenPart | null;
}

const newline = 10;
const carriageReturn = 13;
const delimiterStart = Buffer.from("\n--");
/** Octets of a header block that are kept; the root's is longer where mail systems wrote much before the content's fields. */
const blockLimit = 256 * 1024;
/** A delimiter line is a header's worth of boundary and blanks at most; longer lines are content. */
const delimiterLimit = 4 * 1024;
const empty = Buffer.alloc(0);
const plainText: PartHeaders = readPartHeaders("", "text/plain");

const trimLineEnd = (line: string): string => {
  let end = line.length;
  while (end > 0 && line.charCodeAt(end - 1) <= 32) end -= 1;
  return line.slice(0, end);
};

export class TreeReader {
  failure: TreeFailure | null = null;
  private readonly root: OpenPart;
  private current: OpenPart;
  private count = 1;
  private inHeader = true;
  /** The header block of `current` so far, one char per octet. */
  private block = "";
  private readonly open = new Map<string, OpenPart>();
  /** Octets that were pushed but not judged yet, and where they stand in the message. */
  private rest: Buffer = empty;
  private restAt = 0;
  /** Offset in the octets at hand of the first one not judged. */
  private at = 0;
  private readonly first = { seen: false, bareReturns: false };

  constructor() {
    this.root = { parent: null, depth: 0, headers: plainText, bodyStart: 0, bodyEnd: 0, partId: "1", children: [], hides: null };
    this.current = this.root;
  }

  /** True when no further octet can change the tree; their number is then all that `end` needs. */
  get settled(): boolean {
    return this.failure !== null || (!this.inHeader && this.open.size === 0);
  }

  push(chunk: Buffer): void {
    if (this.settled) return;
    const octets = this.rest.length === 0 ? this.withLineEnds(chunk) : Buffer.concat([this.rest, this.withLineEnds(chunk)]);
    const kept = this.judge(octets, false);
    this.rest = kept < octets.length ? octets.subarray(kept) : empty;
    this.restAt += kept;
  }

  /** The tree of a message of `size` octets; null when `failure` says why there is none. */
  end(size: number): Part | null {
    if (!this.settled) this.judge(this.rest, true);
    if (this.failure !== null) return null;
    this.closeDownTo(null, size, size);
    numberParts(this.root);
    return this.root;
  }

  /** A message whose only line ends are bare CR (old Macintosh): LF in their place moves no offset. */
  private withLineEnds(chunk: Buffer): Buffer {
    if (!this.first.seen) {
      this.first.seen = true;
      this.first.bareReturns = !chunk.includes(newline) && chunk.includes(carriageReturn);
    }
    return this.first.bareReturns ? Buffer.from(chunk.toString("latin1").replaceAll("\r", "\n"), "latin1") : chunk;
  }

  /** Judges whole lines of `octets`, which stand at `restAt`. Returns how many octets need not be seen again. */
  private judge(octets: Buffer, last: boolean): number {
    this.at = 0;
    let goOn = true;
    while (goOn && this.at < octets.length && !this.settled) {
      goOn = this.inHeader ? this.headerLine(octets, last) : this.nextDelimiter(octets, last);
    }
    return this.settled ? octets.length : this.at;
  }

  /** Judges one line and moves `at` behind it. False when more octets are needed. */
  private headerLine(octets: Buffer, last: boolean): boolean {
    const start = this.at;
    const found = octets.indexOf(newline, start);
    if (found < 0 && !last && octets.length - start < blockLimit) return false;
    const next = found < 0 ? octets.length : found + 1;
    this.at = next;
    const line = octets.toString("latin1", start, Math.min(next, start + blockLimit));
    if (line.startsWith("--") && this.delimiter(line, start + this.restAt, next + this.restAt)) {
      this.at = this.behind(next);
      return true;
    }
    if (this.block.length < blockLimit) this.block += line;
    if (line === "\n" || line === "\r\n") {
      this.enterBody(next + this.restAt);
      this.at = this.behind(next);
    }
    return true;
  }

  /** In a body the LF of the line before is looked at again: it may be the one before a delimiter. */
  private behind(next: number): number {
    return this.inHeader ? next : next - 1;
  }

  /** Finds the next line that may be a delimiter and moves `at` behind it. False when more octets are needed. */
  private nextDelimiter(octets: Buffer, last: boolean): boolean {
    const found = octets.indexOf(delimiterStart, this.at);
    if (found < 0) {
      // The next octets may complete CR LF "--"; its CR may stand before `at`. No line already judged is this short.
      this.at = last ? octets.length : Math.max(0, octets.length - 3);
      return false;
    }
    const start = found + 1;
    const isReturn = found > 0 && octets[found - 1] === carriageReturn;
    const contentEnd = isReturn ? found - 1 : found;
    const lineEnd = octets.indexOf(newline, start);
    if (lineEnd < 0 && !last && octets.length - start < delimiterLimit) {
      this.at = contentEnd;
      return false;
    }
    const next = lineEnd < 0 ? octets.length : lineEnd + 1;
    this.at = start;
    if (next - start <= delimiterLimit) {
      this.delimiter(octets.toString("latin1", start, next), contentEnd + this.restAt, next + this.restAt);
      this.at = lineEnd < 0 ? next : this.behind(next);
    }
    return true;
  }

  /** Takes the line for what it says, if it is a delimiter of an open multipart. */
  private delimiter(rawLine: string, contentEnd: number, next: number): boolean {
    const line = trimLineEnd(rawLine).slice(2);
    const opened = this.open.get(line);
    const closed = opened === undefined && line.endsWith("--") ? this.open.get(line.slice(0, -2)) : undefined;
    const multipart = opened ?? closed;
    // What ends before it began is a mistake of the writer; the parts may still come.
    if (multipart === undefined || (closed !== undefined && closed.children.length === 0)) return false;
    this.closeDownTo(multipart, contentEnd, next);
    if (closed === undefined) this.startPart(multipart, next);
    else this.forget(multipart);
    return true;
  }

  private startPart(parent: OpenPart, at: number): void {
    this.count += 1;
    if (this.count > treeLimits.parts) this.failure = "too_many_parts";
    const part: OpenPart = {
      parent,
      depth: parent.depth + 1,
      headers: plainText,
      bodyStart: at,
      bodyEnd: at,
      partId: "",
      children: [],
      hides: null,
    };
    if (part.depth > treeLimits.depth) this.failure = "too_deep";
    parent.children.push(part);
    this.current = part;
    this.inHeader = true;
    this.block = "";
  }

  private enterBody(at: number): void {
    const part = this.current;
    part.headers = readPartHeaders(
      this.block,
      part.parent?.headers.contentType === "multipart/digest" ? "message/rfc822" : "text/plain",
    );
    part.bodyStart = at;
    this.inHeader = false;
    this.block = "";
    const { contentType, boundary } = part.headers;
    if (!contentType.startsWith("multipart/") || boundary === null) return;
    part.hides = this.open.get(boundary) ?? null;
    this.open.set(boundary, part);
  }

  /** Ends every part inside `outer` (all, with null) at `contentEnd`. */
  private closeDownTo(outer: OpenPart | null, contentEnd: number, next: number): void {
    for (let part: OpenPart | null = this.current; part !== null && part !== outer; part = part.parent) {
      // A part that ends before its empty line has headers only.
      if (part === this.current && this.inHeader) this.enterBody(outer === null ? next : contentEnd);
      part.bodyEnd = Math.max(part.bodyStart, contentEnd);
      this.forget(part);
    }
    if (outer !== null) this.current = outer;
    this.inHeader = false;
  }

  private forget(part: OpenPart): void {
    const { boundary } = part.headers;
    if (boundary === null || this.open.get(boundary) !== part) return;
    if (part.hides === null) this.open.delete(boundary);
    else this.open.set(boundary, part.hides);
  }
}

/** Numbers the parts below `root`; a multipart without parts becomes a leaf. */
const numberParts = (root: OpenPart): void => {
  const waiting = [root];
  for (let part = waiting.pop(); part !== undefined; part = waiting.pop()) {
    if (part.headers.contentType.startsWith("multipart/") && part.children.length === 0) {
      part.headers = { ...part.headers, contentType: "text/plain" };
    }
    if (part.children.length > 0 && part.parent === null) part.partId = "";
    for (const [index, child] of part.children.entries()) {
      child.partId = part.partId === "" ? String(index + 1) : `${part.partId}.${index + 1}`;
      waiting.push(child);
    }
  }
};
