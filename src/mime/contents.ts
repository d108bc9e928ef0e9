/** Reads chosen parts of a message: octets come in chunks, in order, and each part keeps no more than it was asked for. */
import { decodeCharset } from "./charset.ts";
import { htmlToText } from "./html-text.ts";
import { transferDecoder } from "./transfer.ts";
import { type Part, type TreeFailure, TreeReader } from "./tree.ts";

/** The octets of a message, readable more than once. */
export interface Source {
  readonly size: number;
  chunks(): Iterable<Buffer> | AsyncIterable<Buffer>;
}

export const readTree = async (source: Source): Promise<Part | TreeFailure> => {
  const reader = new TreeReader();
  for await (const chunk of source.chunks()) {
    reader.push(chunk);
    if (reader.settled) break;
  }
  return reader.end(source.size) ?? reader.failure ?? "too_many_parts";
};

/** Takes the octets of one part, transfer encoding still on. */
export interface Reading {
  readonly part: Part;
  /** No more octets are needed. */
  readonly satisfied: boolean;
  push(chunk: Buffer): void;
  /** Called once, behind the last octet. */
  end(): void;
}

/** Decodes one part, counts its octets and keeps the first of them. */
export class PartReading implements Reading {
  readonly part: Part;
  /** Decoded octets so far. */
  size = 0;
  private readonly decoder;
  private readonly kept: Buffer[] = [];
  private room: number;
  private readonly counts: boolean;

  /** Keeps `keep` decoded octets. `counts`: goes on behind them, because the size is wanted too. */
  constructor(part: Part, wish: { readonly keep: number; readonly counts: boolean }) {
    this.part = part;
    this.room = wish.keep;
    this.counts = wish.counts;
    this.decoder = transferDecoder(part.headers.encoding);
  }

  get satisfied(): boolean {
    return this.room <= 0 && !this.counts;
  }

  push(chunk: Buffer): void {
    if (!this.satisfied) this.take(this.decoder.push(chunk));
  }

  end(): void {
    if (!this.satisfied) this.take(this.decoder.end());
  }

  private take(decoded: Buffer): void {
    this.size += decoded.length;
    if (this.room > 0 && decoded.length > 0) this.kept.push(decoded.subarray(0, this.room));
    this.room -= decoded.length;
  }

  /** True when more octets came than were to be kept. */
  get cut(): boolean {
    return this.room < 0 || this.satisfied;
  }

  octets(): Buffer {
    return this.kept.length === 1 ? (this.kept[0] ?? Buffer.alloc(0)) : Buffer.concat(this.kept);
  }
}

/** Reads the source once and gives each reading its octets. */
export const readParts = async (source: Source, readings: readonly Reading[]): Promise<void> => {
  const waiting = readings.filter(({ satisfied }) => !satisfied).toSorted((a, b) => a.part.bodyStart - b.part.bodyStart);
  let at = 0;
  let next = 0;
  for await (const chunk of waiting.length === 0 ? [] : source.chunks()) {
    const end = at + chunk.length;
    for (let reading = waiting[next]; reading !== undefined && reading.part.bodyStart < end; reading = waiting[next]) {
      const { bodyStart, bodyEnd } = reading.part;
      reading.push(chunk.subarray(Math.max(0, bodyStart - at), Math.max(0, Math.min(chunk.length, bodyEnd - at))));
      if (bodyEnd > end && !reading.satisfied) break;
      next += 1;
    }
    at = end;
    if (next === waiting.length) break;
  }
  for (const reading of waiting) reading.end();
};

const metaCharset = /<meta[^>]{0,200}?charset\s{0,9}=\s{0,9}["']?([a-z0-9_:.+-]{1,40})/i;
/** Octets in which HTML says its charset (HTML Standard §13.2.3.2). */
const metaWithin = 1024;

/** The text of a part that was read, line ends as LF, without NUL. */
export const textOf = (reading: PartReading): string => {
  const { contentType, charset } = reading.part.headers;
  const octets = reading.octets();
  const declared =
    charset ?? (contentType === "text/html" ? metaCharset.exec(octets.toString("latin1", 0, metaWithin))?.[1] : null) ?? null;
  return decodeCharset(octets, declared, reading.cut).replaceAll("\r\n", "\n").replaceAll("\r", "\n").replaceAll("\0", "");
};

/** The same as plain text, at most `limit` UTF-16 units. */
export const plainTextOf = (reading: PartReading, limit: number): string => {
  const text = textOf(reading);
  return reading.part.headers.contentType === "text/html" ? htmlToText(text, limit) : text.slice(0, limit).toWellFormed();
};
