/** Raw octets out of the store, part by part: no caller ever holds a whole message because of us. */
import { invariant } from "../model/failure.ts";
import type { AccountId } from "../model/ids.ts";
import { type Octets, partSize } from "../model/octets.ts";
import type { Queryable } from "./database.ts";

/** What a durable message says about its octets. */
export interface BlobRef {
  readonly sha256: Buffer;
  readonly size: number;
}

/** Enough for any header block that is read without the body (octets.ts). */
const headBytes = 256 * 1024;

const readPart = async (
  db: Queryable,
  accountId: AccountId,
  blob: BlobRef,
  slice: { part: number; from: number; count: number },
): Promise<Buffer> => {
  const { rows } = await db.query<{ data: Buffer }>({
    name: "blob_part",
    // The column is stored external and uncompressed, so PostgreSQL reads only the pages of the slice.
    text: `select substring(data from $4 for $5) as data from blobs where account_id = $1 and sha256 = $2 and part = $3`,
    values: [accountId, blob.sha256, slice.part, slice.from + 1, slice.count],
  });
  const data = rows[0]?.data;
  invariant(data !== undefined && data.length === slice.count, "A durable message has all its octets.");
  return data;
};

/**
 * Octets `from` to `to` (both included, from 0) in order, in buffers of at most one stored part. One statement per part, none
 * ahead of the reader: a reader that stops costs nothing more.
 * @throws InvariantError when a part is missing or short.
 */
export async function* readOctets(
  db: Queryable,
  accountId: AccountId,
  blob: BlobRef,
  range: { readonly from: number; readonly to: number },
): AsyncGenerator<Buffer> {
  for (let at = range.from; at <= range.to;) {
    const from = at % partSize;
    const count = Math.min(partSize - from, range.to - at + 1);
    yield await readPart(db, accountId, blob, { part: Math.floor(at / partSize), from, count });
    at += count;
  }
}

/** Stored octets as the parser takes them; a small message costs one statement. `dispose` does nothing: the store keeps them. */
export const storedOctets = async (db: Queryable, accountId: AccountId, { sha256, size }: BlobRef): Promise<Octets> => {
  const blob = { sha256, size };
  const count = Math.min(size, headBytes);
  const head = count === 0 ? Buffer.alloc(0) : await readPart(db, accountId, blob, { part: 0, from: 0, count });
  return {
    size,
    sha256,
    head,
    parts: () => (count === size ? [head] : readOctets(db, accountId, blob, { from: 0, to: size - 1 })),
    dispose: () => Promise.resolve(),
  };
};
