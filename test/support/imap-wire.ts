/** Cuts what an IMAP server sends into responses: a line and the literals in it (RFC 3501 §4.3). */
export interface ImapResponse {
  /** The line without its CRLF; a literal is spelled `{n}` in place. Latin-1: one character is one octet. */
  readonly line: string;
  readonly literals: readonly Buffer[];
  /** When its last octet arrived, as `performance.now()` tells it. */
  readonly at: number;
}

const literalAtEnd = /\{(\d+)\}$/;

export class ImapResponseReader {
  #chunks: Buffer[] = [];
  #length = 0;
  /** Nothing can be complete before this many octets have come; spares joining the chunks of a large literal again and again. */
  #needed = 1;
  #line = "";
  #literals: Buffer[] = [];

  /** Responses completed by this chunk. */
  read(chunk: Buffer): ImapResponse[] {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    if (this.#length < this.#needed) return [];
    const found: ImapResponse[] = [];
    let rest = Buffer.concat(this.#chunks, this.#length);
    this.#needed = 1;
    for (let end = rest.indexOf("\r\n"); end !== -1; end = rest.indexOf("\r\n")) {
      const line = rest.toString("latin1", 0, end);
      const literal = literalAtEnd.exec(line);
      const size = literal === null ? 0 : Number(literal[1]);
      if (rest.length < end + 2 + size) {
        this.#needed = end + 2 + size;
        break;
      }
      this.#line += line;
      if (literal !== null) this.#literals.push(rest.subarray(end + 2, end + 2 + size));
      rest = rest.subarray(end + 2 + size);
      if (literal !== null) continue;
      found.push({ line: this.#line, literals: this.#literals, at: performance.now() });
      this.#line = "";
      this.#literals = [];
    }
    this.#chunks = [rest];
    this.#length = rest.length;
    return found;
  }
}

/** A quoted string; names go in modified UTF-7 before. */
export const quote = (text: string): string => `"${text.replaceAll(/["\\]/g, "\\$&")}"`;

const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const two = (n: number): string => String(n).padStart(2, "0");

/** date-time of RFC 3501 §9, in UTC, quoted. */
export const imapDateTime = (date: Date): string => {
  const day = String(date.getUTCDate()).padStart(2, " ");
  const time = `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}:${two(date.getUTCSeconds())}`;
  return `"${day}-${months[date.getUTCMonth()] ?? ""}-${date.getUTCFullYear()} ${time} +0000"`;
};
