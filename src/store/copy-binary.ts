/**
 * Rows in PostgreSQL's binary COPY format: the fastest way in, and the only one that does not turn octets into text.
 * Source: PostgreSQL documentation, "COPY", section "Binary Format".
 */
const signature = Buffer.from("PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0", "latin1");
const trailer = Buffer.from([0xff, 0xff]);
/** 2000-01-01, PostgreSQL's zero, in milliseconds since 1970. */
const postgresEpochMs = 946_684_800_000;
const largestChunk = 256 * 1024;
/** Most streams are a row or two; a large chunk for each of them is what the garbage collector would be busy with. */
const firstChunk = 2 * 1024;
const textOid = 25;

/** Value of a hexadecimal digit by its character code. */
const nibbles = new Uint8Array(128);
for (let digit = 0; digit < 16; digit += 1) nibbles[digit.toString(16).charCodeAt(0)] = digit;

/** Positions of the first digit of each octet in the text form of a UUID. */
const uuidPositions = Uint8Array.of(0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34);

/** Decodes a UUID in place: five of them stand in every message's rows, and a Buffer each costs more than all the rest. */
const writeUuid = (target: Buffer, at: number, uuid: string): void => {
  for (let octet = 0; octet < 16; octet += 1) {
    const from = uuidPositions[octet] as number;
    target[at + octet] = ((nibbles[uuid.charCodeAt(from)] as number) << 4) | (nibbles[uuid.charCodeAt(from + 1)] as number);
  }
};

/** A NUL inside a JSON string is spelled \u0000, which jsonb refuses. Behind an odd backslash the same letters are just text. */
const escapedNul = /(?<!\\)((?:\\\\)*)\\u0000/g;

/** Writes rows field by field; `chunks()` gives the finished stream. Every row must have the same number of fields. */
export class CopyRows {
  private readonly done: Buffer[] = [signature];
  private size = firstChunk;
  private chunk = Buffer.allocUnsafe(firstChunk);
  private at = 0;
  rows = 0;

  private room(bytes: number): void {
    if (this.at + bytes <= this.chunk.length) return;
    if (this.at > 0) this.done.push(this.chunk.subarray(0, this.at));
    this.size = Math.min(largestChunk, 8 * this.size);
    this.chunk = Buffer.allocUnsafe(Math.max(this.size, bytes));
    this.at = 0;
  }

  row(fields: number): this {
    this.room(2);
    this.at = this.chunk.writeInt16BE(fields, this.at);
    this.rows += 1;
    return this;
  }

  null(): this {
    this.room(4);
    this.at = this.chunk.writeInt32BE(-1, this.at);
    return this;
  }

  uuid(value: string | null): this {
    if (value === null) return this.null();
    this.room(20);
    this.at = this.chunk.writeInt32BE(16, this.at);
    writeUuid(this.chunk, this.at, value);
    this.at += 16;
    return this;
  }

  /** UTF-8 text. NUL, which PostgreSQL refuses, is left out. */
  text(value: string | null): this {
    if (value === null) return this.null();
    const clean = value.includes("\0") ? value.replaceAll("\0", "") : value;
    // Three octets per UTF-16 unit is the most that UTF-8 needs.
    this.room(4 + clean.length * 3);
    const length = this.chunk.write(clean, this.at + 4, "utf8");
    this.chunk.writeInt32BE(length, this.at);
    this.at += 4 + length;
    return this;
  }

  jsonb(value: unknown): this {
    if (value === null || value === undefined) return this.null();
    const json = JSON.stringify(value).replaceAll(escapedNul, "$1");
    this.room(5 + json.length * 3);
    this.chunk.writeUInt8(1, this.at + 4);
    const length = this.chunk.write(json, this.at + 5, "utf8");
    this.chunk.writeInt32BE(length + 1, this.at);
    this.at += 5 + length;
    return this;
  }

  bytes(value: Uint8Array | null): this {
    if (value === null) return this.null();
    this.room(4 + value.length);
    this.at = this.chunk.writeInt32BE(value.length, this.at);
    this.chunk.set(value, this.at);
    this.at += value.length;
    return this;
  }

  int2(value: number): this {
    this.room(6);
    this.at = this.chunk.writeInt32BE(2, this.at);
    this.at = this.chunk.writeInt16BE(value, this.at);
    return this;
  }

  int4(value: number): this {
    this.room(8);
    this.at = this.chunk.writeInt32BE(4, this.at);
    this.at = this.chunk.writeInt32BE(value, this.at);
    return this;
  }

  /** A number must be a safe integer. */
  int8(value: bigint | number | null): this {
    if (value === null) return this.null();
    this.room(12);
    this.at = this.chunk.writeInt32BE(8, this.at);
    if (typeof value === "bigint") {
      this.at = this.chunk.writeBigInt64BE(value, this.at);
      return this;
    }
    // By halves: a BigInt for each of many numbers costs more than writing them.
    this.at = this.chunk.writeInt32BE(Math.floor(value / 0x1_0000_0000), this.at);
    this.at = this.chunk.writeUInt32BE(value >>> 0, this.at);
    return this;
  }

  float8(value: number | null): this {
    if (value === null) return this.null();
    this.room(12);
    this.at = this.chunk.writeInt32BE(8, this.at);
    this.at = this.chunk.writeDoubleBE(value, this.at);
    return this;
  }

  bool(value: boolean): this {
    this.room(5);
    this.at = this.chunk.writeInt32BE(1, this.at);
    this.at = this.chunk.writeUInt8(value ? 1 : 0, this.at);
    return this;
  }

  timestamp(value: Date | number | null): this {
    if (value === null) return this.null();
    const ms = Math.trunc(Number(value)) - postgresEpochMs;
    // Past the year 2255 microseconds are no safe integer any more, and mail claims to be of any year.
    return this.int8(Number.isSafeInteger(ms * 1000) ? ms * 1000 : BigInt(ms) * 1000n);
  }

  textArray(values: readonly string[]): this {
    const longest = values.reduce((sum, value) => sum + 4 + value.length * 3, 24);
    this.room(longest);
    const start = this.at;
    this.at += 4;
    this.at = this.chunk.writeInt32BE(values.length === 0 ? 0 : 1, this.at);
    this.at = this.chunk.writeInt32BE(0, this.at);
    this.at = this.chunk.writeInt32BE(textOid, this.at);
    if (values.length > 0) {
      this.at = this.chunk.writeInt32BE(values.length, this.at);
      this.at = this.chunk.writeInt32BE(1, this.at);
      for (const value of values) this.text(value);
    }
    this.chunk.writeInt32BE(this.at - start - 4, start);
    return this;
  }

  /** The whole stream so far, closed by the trailer. Call once, at the end. */
  chunks(): Buffer[] {
    if (this.at > 0) this.done.push(this.chunk.subarray(0, this.at));
    this.at = 0;
    this.done.push(trailer);
    return this.done;
  }
}
