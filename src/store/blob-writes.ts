/** Raw octets into the store, by content, before anything refers to them. Safe to repeat and to lose half-way. */
import type { AccountId, TenantId } from "../model/ids.ts";
import type { Octets } from "../model/octets.ts";
import { CopyRows } from "./copy-binary.ts";
import type { Database, Tx } from "./database.ts";

const columns = "account_id, sha256, part, tenant_id, data";
/** Bytes of a COPY that are gathered before they are handed to the socket. */
const gatherBytes = 4 * 1024 * 1024;

interface Owner {
  readonly accountId: AccountId;
  readonly tenantId: TenantId;
}

async function* encode(owner: Owner, blobs: readonly Octets[]): AsyncGenerator<Buffer> {
  let rows = new CopyRows();
  let gathered = 0;
  let first = true;
  const flush = function* (last: boolean): Generator<Buffer> {
    const chunks = rows.chunks();
    // Only the first stream keeps its signature and only the last one its trailer.
    for (const [index, chunk] of chunks.entries()) {
      if (index === 0 && !first) continue;
      if (index === chunks.length - 1 && !last) continue;
      yield chunk;
    }
    first = false;
    rows = new CopyRows();
    gathered = 0;
  };
  for (const blob of blobs) {
    let part = 0;
    for await (const data of blob.parts()) {
      rows.row(5).uuid(owner.accountId).bytes(blob.sha256).int4(part).uuid(owner.tenantId).bytes(data);
      part += 1;
      gathered += data.length;
      if (gathered >= gatherBytes) yield* flush(false);
    }
    if (part === 0) rows.row(5).uuid(owner.accountId).bytes(blob.sha256).int4(0).uuid(owner.tenantId).bytes(Buffer.alloc(0));
  }
  yield* flush(true);
}

/** Makes octets durable with what refers to them; those the account has already are not written again. */
export const storeBlobsIn = async (tx: Tx, owner: Owner, blobs: readonly Octets[]): Promise<void> => {
  await tx.query({ text: `create temp table blob_staging (like blobs) on commit drop` });
  await tx.query({ text: `alter table blob_staging alter column data set storage external` });
  await tx.copy(`copy blob_staging (${columns}) from stdin (format binary)`, encode(owner, blobs));
  await tx.query({ text: `insert into blobs (${columns}) select ${columns} from blob_staging on conflict do nothing` });
};

/**
 * Makes the octets durable; those the account has already are not written again. One transaction, not under the
 * account's row lock: a blob that nothing refers to is harmless.
 * @returns the hashes that may have been there before; whatever is not among them was first stored by this call.
 */
export const storeBlobs = async (db: Database, owner: Owner, blobs: readonly Octets[]): Promise<readonly Buffer[]> => {
  const unique = [...new Map(blobs.map((blob) => [blob.sha256.toString("latin1"), blob])).values()];
  if (unique.length === 0) return [];
  const { rows } = await db.query<{ sha256: Buffer }>({
    name: "blobs_present",
    text: `select b.sha256 from unnest($2::bytea[]) as w(hash), lateral
             (select sha256 from blobs where account_id = $1 and sha256 = w.hash and part = 0 offset 0) as b`,
    values: [owner.accountId, unique.map((blob) => blob.sha256)],
  });
  const seen = rows.map((row) => row.sha256);
  const present = new Set(seen.map((sha256) => sha256.toString("latin1")));
  const missing = unique.filter((blob) => !present.has(blob.sha256.toString("latin1")));
  if (missing.length === 0) return seen;
  try {
    await db.transaction((tx) => tx.copy(`copy blobs (${columns}) from stdin (format binary)`, encode(owner, missing)));
    return seen;
  } catch (error) {
    // Somebody stored one of them since we looked (an import beside the sync): take the way that lets duplicates be.
    if (!(error instanceof Error && "code" in error && error.code === "23505")) throw error;
    await db.transaction((tx) => storeBlobsIn(tx, owner, missing));
    return unique.map((blob) => blob.sha256);
  }
};
