/** The hashes by which one mail is known again in another view of the account (semantics 2.1, levels L3 and L4). */
import { createHash } from "node:crypto";
import { NormalForm } from "./normal-form.ts";

export interface Fingerprint {
  /** SHA-256 of the normal form of the whole message, 32 bytes. */
  readonly hFull: Buffer;
  /** SHA-256 of the normal form of the header block, 32 bytes; the same from `TOP n 0` and from the whole message. */
  readonly hHead: Buffer;
  /**
   * Octets with every bare LF counted as CR LF and without the dropped fields, final line ends included: what views of one
   * server differ in by the final line ends only.
   */
  readonly size: number;
}

/** What the header block alone tells. */
export interface HeadFingerprint {
  readonly hHead: Buffer;
  /** Octets of dropped fields: the size that the server lists less this is the `size` of a `Fingerprint`. */
  readonly dropped: number;
}

/** Takes the octets of one message as they arrive. */
export class FingerprintReader {
  private readonly hash = createHash("sha256");
  private hHead: Buffer | null = null;
  private readonly form = new NormalForm({
    octets: (octets) => {
      this.hash.update(octets);
    },
    headEnded: () => {
      this.hHead = this.hash.copy().digest();
    },
  });

  push(chunk: Buffer): void {
    this.form.push(chunk);
  }

  /** Call once, behind the last octet. */
  end(): Fingerprint & HeadFingerprint {
    this.form.end();
    const hFull = this.hash.digest();
    return { hFull, hHead: this.hHead ?? hFull, size: this.form.total - this.form.dropped, dropped: this.form.dropped };
  }
}

/** Of a whole message, read part by part. Rejects when reading does. */
export const fingerprint = async (parts: AsyncIterable<Buffer> | Iterable<Buffer>): Promise<Fingerprint> => {
  const reader = new FingerprintReader();
  for await (const part of parts) reader.push(part);
  const { hFull, hHead, size } = reader.end();
  return { hFull, hHead, size };
};

/** Of a header block as `TOP n 0` gives it, or of a message's start that holds all of it. */
export const fingerprintOfHead = (head: Buffer): HeadFingerprint => {
  const reader = new FingerprintReader();
  reader.push(head);
  const { hHead, dropped } = reader.end();
  return { hHead, dropped };
};
