/** Transfer encodings (RFC 2045 §6), decoded chunk by chunk and tolerant of everything: garbage never throws. */

export type Encoding = "base64" | "quoted-printable" | "identity";

/** Decodes one body. Chunks may be cut anywhere. */
export interface TransferDecoder {
  push(chunk: Buffer): Buffer;
  end(): Buffer;
}

const empty = Buffer.alloc(0);

class Identity implements TransferDecoder {
  push(chunk: Buffer): Buffer {
    return chunk;
  }

  end(): Buffer {
    return empty;
  }
}

const notBase64 = /[^A-Za-z0-9+/=]+/g;

/** Padding in the middle ends one piece and starts the next: some writers encode piece by piece. */
const decodePieces = (text: string): Buffer => {
  const padding = text.indexOf("=");
  if (padding < 0 || text.length - padding <= 2) return Buffer.from(text, "base64");
  return Buffer.concat(text.split(/=+/).map((piece) => Buffer.from(piece, "base64")));
};

class Base64 implements TransferDecoder {
  /** Digits that do not fill a group of four yet. */
  private rest = "";

  push(chunk: Buffer): Buffer {
    const digits = this.rest + chunk.toString("latin1").replace(notBase64, "");
    // Groups are counted from the last padding, where a new piece starts.
    const piece = digits.lastIndexOf("=") + 1;
    const whole = digits.length - ((digits.length - piece) % 4);
    this.rest = digits.slice(whole);
    return decodePieces(digits.slice(0, whole));
  }

  end(): Buffer {
    return decodePieces(this.rest);
  }
}

const equals = 61;
const newline = 10;
const carriageReturn = 13;

const isBlank = (octet: number | undefined): boolean => octet === 32 || octet === 9;

const hexDigit = (octet: number | undefined): number => {
  if (octet === undefined) return -1;
  if (octet >= 48 && octet <= 57) return octet - 48;
  const lower = octet | 32;
  return lower >= 97 && lower <= 102 ? lower - 87 : -1;
};

/** Blanks between "=" and the line end that mail gateways add; more is no soft line break. */
const blanksLimit = 80;

/** What follows "=" at `at`: offset behind a soft line break, 0 for no break, -1 when the octets end before it is clear. */
const softBreak = (octets: Buffer, at: number): number => {
  let next = at + 1;
  while (next - at <= blanksLimit && isBlank(octets[next])) next += 1;
  const isReturn = octets[next] === carriageReturn;
  if (isReturn) next += 1;
  if (next >= octets.length) return -1;
  if (octets[next] === newline) return next + 1;
  return isReturn ? next : 0;
};

class QuotedPrintable implements TransferDecoder {
  private rest: Buffer = empty;

  push(chunk: Buffer): Buffer {
    return this.decode(this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk]), false);
  }

  end(): Buffer {
    return this.decode(this.rest, true);
  }

  private decode(octets: Buffer, last: boolean): Buffer {
    this.rest = empty;
    if (!octets.includes(equals)) return octets;
    const decoded = Buffer.allocUnsafe(octets.length);
    let size = 0;
    for (let at = 0; at < octets.length; at += 1) {
      const octet = octets[at] ?? 0;
      if (octet !== equals) {
        decoded[size] = octet;
        size += 1;
        continue;
      }
      const high = hexDigit(octets[at + 1]);
      const low = hexDigit(octets[at + 2]);
      if (high >= 0 && low >= 0) {
        decoded[size] = high * 16 + low;
        size += 1;
        at += 2;
        continue;
      }
      const behind = high < 0 ? softBreak(octets, at) : 0;
      const unclear = behind < 0 || (high >= 0 && at + 2 >= octets.length);
      if (unclear && !last) {
        this.rest = Buffer.from(octets.subarray(at));
        break;
      }
      // An "=" at the very end is a soft break whose line end is missing; one that starts nothing is itself.
      if (behind < 0) break;
      if (behind > 0) at = behind - 1;
      else decoded[size++] = equals;
    }
    return decoded.subarray(0, size);
  }
}

export const transferDecoder = (encoding: Encoding): TransferDecoder => {
  if (encoding === "base64") return new Base64();
  return encoding === "quoted-printable" ? new QuotedPrintable() : new Identity();
};
