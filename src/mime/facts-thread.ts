/** The thread of the facts' reader: what it is handed and what it answers. */
import { headOf } from "../model/octets.ts";
import { factsOf, type FactsWanted, type Print } from "./facts.ts";
import { FingerprintReader } from "./fingerprint.ts";

export interface FactsTask {
  /** Messages, one behind the other. */
  readonly octets: SharedArrayBuffer;
  readonly sizes: readonly number[];
  readonly wanted: FactsWanted;
}

export interface FactsAnswer {
  /** As JSON, for it is read faster than objects are copied between threads. */
  readonly headers: string;
  /** In ms since 1970; NaN: not known. */
  readonly receivedAt: Float64Array;
  /** Both hashes and both sizes, `bytesPerPrint` for each message; null: not wanted. */
  readonly prints: Uint8Array | null;
}

export const hashBytes = 32;
export const bytesPerPrint = 2 * hashBytes + 16;

const writePrint = (to: Buffer, at: number, { hFull, hHead, size, dropped }: Print): void => {
  hFull.copy(to, at);
  hHead.copy(to, at + hashBytes);
  to.writeDoubleLE(size, at + 2 * hashBytes);
  to.writeDoubleLE(dropped, at + 2 * hashBytes + 8);
};

export const read = ({ octets, sizes, wanted }: FactsTask): FactsAnswer => {
  const prints = wanted.print ? Buffer.alloc(sizes.length * bytesPerPrint) : null;
  const receivedAt = new Float64Array(sizes.length);
  let from = 0;
  const headers = sizes.map((size, index) => {
    const message = Buffer.from(octets, from, size);
    from += size;
    if (prints !== null) {
      const reader = new FingerprintReader();
      reader.push(message);
      writePrint(prints, index * bytesPerPrint, reader.end());
    }
    const facts = factsOf(headOf(message), null, wanted);
    receivedAt[index] = facts.receivedAt?.getTime() ?? Number.NaN;
    return facts.headers;
  });
  return { headers: JSON.stringify(headers), receivedAt, prints };
};
