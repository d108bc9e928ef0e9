/**
 * The normal form N of a message (semantics 2.2): what is left of its octets when everything is taken out in which two views of
 * one mail may differ, such as its IMAP and its POP3 rendering. Line ends are LF, final line ends are gone, fields that servers
 * and clients add are gone. N(N(x)) = N(x). Octets come in chunks of any size and are not kept; nothing is decoded to text.
 *
 * Octets here are the message itself: what a protocol wraps around it (dot-stuffing, the final ".") is undone before (step 1).
 */

/**
 * Fields that differ between the views of one mail: Dovecot's list for matching IMAP against POP3 at live providers
 * (its pop3-migration plugin), and X-TUID, with which isync marks what it is about to upload.
 */
const skippedFields = new Set([
  "content-length",
  "return-path",
  "status",
  "x-imap",
  "x-imapbase",
  "x-keywords",
  "x-message-flag",
  "x-status",
  "x-tuid",
  "x-uid",
  "x-uidl",
  "x-yahoo-newman-property",
]);
/** Names of other fields are not even made to text. */
const skippedInitials = new Set([...skippedFields].flatMap((name) => [name.charCodeAt(0), name.charCodeAt(0) - 32]));

/**
 * An IMAP literal holds no NUL (RFC 9051 §4.3): Dovecot 2.3.19 puts 0x80 in its place, and shows it as it is over POP3. Other
 * octets are the same in both views.
 */
const nul = 0;
const shownNul = 0x80;
const tab = 9;
const newline = 10;
const carriageReturn = 13;
const space = 32;
const colon = 58;
/** RFC 5322 §2.1.1: no line is longer; a name or a blank line that is longer is taken for content. */
const lineLimit = 998;
/** Octets of lines without a field name that are held until a field shows that they stand in a header block. */
const unnamedLimit = 64 * 1024;

/** Shared by all messages: used within one synchronous call only, never across an await. */
const scratch = Buffer.allocUnsafeSlow(64 * 1024);
const empty = Buffer.alloc(0);
const newlines = Buffer.alloc(1024, newline);

export interface NormalFormSink {
  /** The next octets of the normal form. The buffer is valid during the call only. */
  octets(octets: Buffer): void;
  /** Called once, behind the last octet of the header block. */
  headEnded(): void;
}

type Fate = "keep" | "skip" | "unnamed";

const isBlank = (octet: number | undefined): boolean => octet === space || octet === tab;

const lineLength = (octets: Buffer): number => (octets.at(-1) === newline ? octets.length - 1 : octets.length);

/** What becomes of a line that starts with a name; null when more of it has to be seen. */
const fateOfField = (line: Buffer, whole: boolean): Fate | null => {
  const end = line.indexOf(colon);
  if (end < 0) return whole || line.length > lineLimit ? "unnamed" : null;
  let length = end;
  while (length > 0 && isBlank(line[length - 1])) length -= 1;
  if (length === 0 || length > lineLimit) return "unnamed";
  for (let at = 0; at < length; at += 1) {
    const octet = line[at] ?? 0;
    if (octet <= space || octet >= 127) return "unnamed";
  }
  if (!skippedInitials.has(line[0] ?? 0)) return "keep";
  return skippedFields.has(line.toString("latin1", 0, length).toLowerCase()) ? "skip" : "keep";
};

export class NormalForm {
  /** Octets so far with every bare LF counted as CR LF: what a server lists that has the same line ends. */
  total = 0;
  /** Of those, octets of fields and lines that the normal form lacks. */
  dropped = 0;
  private readonly sink: NormalFormSink;
  private inHeader = true;
  /** CRs that were pushed and may turn out to belong to a line end. */
  private returns = 0;
  /** Line ends that are not given out until something follows them. */
  private pendingNewlines = 0;
  /** Octets of the scratch that are to be handed on. */
  private runFrom = 0;
  private runTo = 0;
  /** The start of a header line whose fate is open; null while the rest of a line shares the fate of its start. */
  private lineStart: Buffer | null = empty;
  /** Of the line being read, and of the field to which continuation lines belong. */
  private line: Fate = "unnamed";
  private field: Fate = "unnamed";
  /** Lines without a name, before the first field. null once it is known: they are dropped, or kept when `bare`. */
  private unnamed: Buffer[] | null = [];
  private unnamedLength = 0;
  /** A block without a single field is no header block: nothing is dropped from it but what the list names. */
  private bare = false;

  constructor(sink: NormalFormSink) {
    this.sink = sink;
  }

  /** The next octets of the message. On the hot path of ingest: whole lines are copied, not octets. */
  push(chunk: Buffer): void {
    let filled = 0;
    for (let at = 0; at < chunk.length;) {
      if (chunk[at] === carriageReturn) {
        this.returns += 1;
        at += 1;
        continue;
      }
      if (this.returns > 0) {
        if (chunk[at] === newline) this.total += this.returns - 1;
        else filled = this.loneReturns(filled);
        this.returns = 0;
      }
      const found = chunk.indexOf(carriageReturn, at);
      for (const end = found < 0 ? chunk.length : found; at < end;) {
        const copied = chunk.copy(scratch, filled, at, end);
        at += copied;
        filled += copied;
        if (filled === scratch.length) filled = this.flush(filled);
      }
    }
    this.flush(filled);
  }

  /** Call once, behind the last octet. CRs at the very end are part of a line end that one of the views completes. */
  end(): void {
    this.total += this.returns;
    if (!this.inHeader) return;
    if (this.lineStart !== null && this.lineStart.length > 0) this.judge(this.lineStart, true);
    this.endHeader();
  }

  /** Puts CRs that end no line behind the first `length` octets of the scratch; answers the new length. */
  private loneReturns(length: number): number {
    let filled = length;
    for (let left = this.returns; left > 0; left -= 1) {
      scratch[filled] = carriageReturn;
      filled += 1;
      if (filled === scratch.length) filled = this.flush(filled);
    }
    return filled;
  }

  /** Hands the first `length` octets of the scratch on; they have LF line ends. Always 0, the new length. */
  private flush(length: number): 0 {
    const octets = scratch.subarray(0, length);
    for (let found = octets.indexOf(nul); found >= 0; found = octets.indexOf(nul, found + 1)) octets[found] = shownNul;
    this.total += length;
    let at = 0;
    for (let found = octets.indexOf(newline); found >= 0; found = octets.indexOf(newline, found + 1)) {
      this.total += 1;
      if (!this.inHeader) continue;
      this.headerPiece(octets.subarray(at, found + 1), true);
      at = found + 1;
    }
    if (at < length && this.inHeader) this.headerPiece(octets.subarray(at), false);
    else if (at < length) this.give(octets.subarray(at));
    this.settle();
    return 0;
  }

  /** A line of the header block or part of one; `ends` when its line end is in it. */
  private headerPiece(piece: Buffer, ends: boolean): void {
    if (this.lineStart === null) this.dispose(piece);
    else {
      const line = this.lineStart.length === 0 ? piece : Buffer.concat([this.lineStart, piece]);
      if (line[0] === newline) {
        this.endHeader();
        this.give(line);
        return;
      }
      // A copy: the piece lies in the scratch.
      this.lineStart = this.judge(line, ends) ? null : Buffer.from(line);
    }
    if (ends) this.lineStart = empty;
  }

  /** Decides a line by its start and disposes of it; false when more of it has to be seen. */
  private judge(line: Buffer, whole: boolean): boolean {
    if (isBlank(line[0])) {
      let blanks = 0;
      while (isBlank(line[blanks])) blanks += 1;
      const onlyBlank = blanks === lineLength(line);
      if (onlyBlank && !whole && blanks <= lineLimit) return false;
      // Zimbra's BODY[HEADER] lacks continuation lines of blanks only (same source as the list).
      this.line = onlyBlank && blanks <= lineLimit ? "skip" : this.field;
    } else {
      const fate = fateOfField(line, whole);
      if (fate === null) return false;
      this.field = fate;
      this.line = fate;
    }
    if (this.line === "keep" && this.unnamed !== null) {
      for (const octets of this.unnamed) this.drop(octets);
      this.unnamed = null;
    }
    this.dispose(line);
    return true;
  }

  /** Octets of a header line whose fate is known. */
  private dispose(octets: Buffer): void {
    if (this.line === "keep" || (this.line === "unnamed" && this.bare)) this.give(octets);
    else if (this.line === "unnamed" && this.unnamed !== null) {
      this.unnamed.push(Buffer.from(octets));
      this.unnamedLength += octets.length;
      if (this.unnamedLength > unnamedLimit) this.giveUnnamed();
    } else this.drop(octets);
  }

  private drop(octets: Buffer): void {
    this.dropped += octets.length + (octets.at(-1) === newline ? 1 : 0);
  }

  private giveUnnamed(): void {
    this.bare = true;
    const held = this.unnamed ?? [];
    this.unnamed = null;
    for (const octets of held) this.give(octets);
  }

  private endHeader(): void {
    if (this.unnamed !== null) this.giveUnnamed();
    this.inHeader = false;
    this.lineStart = null;
    this.settle();
    this.sink.headEnded();
  }

  /** Lines that stand together in the scratch are handed on together. */
  private give(octets: Buffer): void {
    const inScratch = octets.buffer === scratch.buffer;
    if (!inScratch || octets.byteOffset !== this.runTo) this.settle();
    if (!inScratch) this.put(octets);
    else {
      if (this.runFrom === this.runTo) this.runFrom = octets.byteOffset;
      this.runTo = octets.byteOffset + octets.length;
    }
  }

  private settle(): void {
    if (this.runFrom < this.runTo) this.put(scratch.subarray(this.runFrom, this.runTo));
    this.runFrom = 0;
    this.runTo = 0;
  }

  /** Final line ends wait until something follows: POP3 and mbox add some that IMAP does not show. */
  private put(octets: Buffer): void {
    let end = octets.length;
    while (end > 0 && octets[end - 1] === newline) end -= 1;
    if (end > 0) {
      for (; this.pendingNewlines > 0; this.pendingNewlines -= Math.min(this.pendingNewlines, newlines.length))
        this.sink.octets(newlines.subarray(0, Math.min(this.pendingNewlines, newlines.length)));
      this.sink.octets(octets.subarray(0, end));
    }
    this.pendingNewlines += octets.length - end;
  }
}
