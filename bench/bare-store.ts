/**
 * The least that makes mail durable in PostgreSQL: the raw client's octets and their SHA-256, copied as they come into one
 * table with a key, 500 in a transaction, two connections in turn. No messages, mailboxes, identity, log or resumption.
 */
import { hash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startEmbeddedPostgres } from "../src/embedded/postgres.ts";
import { CopyRows } from "../src/store/copy-binary.ts";
import { openDatabase } from "../src/store/database.ts";
import { createLogger } from "../src/telemetry/log.ts";
import type { RawRun, Taker } from "./raw-imap.ts";

const perTransaction = 500;
const mostUnderWay = 4;

/** What a reader of mail hands its octets to; `finish` settles when all of them are durable. */
interface BareStore {
  readonly take: Taker;
  finish(): Promise<void>;
}

/** A store in a database of its own, made for one run of `work`. */
const withBareStore = async <T>(work: (store: BareStore) => Promise<T>): Promise<T> => {
  const dataDir = await mkdtemp(join(tmpdir(), "samebox-bench-"));
  const log = createLogger({ level: "fatal" });
  const postgres = await startEmbeddedPostgres({ dataDir, log });
  const db = openDatabase({ url: postgres.url, max: 2, log });
  try {
    await db.query({ text: "create table octets (n bigint primary key, sha256 bytea not null, data bytea not null)" });
    await db.query({ text: "alter table octets alter column data set storage external" });
    const underWay = new Set<Promise<void>>();
    let rows = new CopyRows();
    let n = 0;
    const flush = (): void => {
      const chunks = rows.chunks();
      rows = new CopyRows();
      const stored = db.transaction((tx) => tx.copy("copy octets from stdin (format binary)", chunks));
      underWay.add(stored);
      void stored.finally(() => underWay.delete(stored));
    };
    return await work({
      take: (octets) => {
        n += 1;
        rows
          .row(3)
          .int8(n)
          .bytes(hash("sha256", octets, "buffer"))
          .bytes(octets);
        if (rows.rows < perTransaction) return undefined;
        flush();
        return underWay.size < mostUnderWay ? undefined : Promise.race(underWay);
      },
      finish: async () => {
        if (rows.rows > 0) flush();
        await Promise.all(underWay);
      },
    });
  } finally {
    await db.close();
    await postgres.stop();
    await rm(dataDir, { recursive: true, force: true });
  }
};

/** Fetches everything straight into a bare store. */
export const fetchAndStore = (fetch: (take: Taker) => Promise<RawRun>): Promise<RawRun> =>
  withBareStore(async (store) => {
    const began = performance.now();
    const { messages } = await fetch(store.take);
    await store.finish();
    return { messages, seconds: (performance.now() - began) / 1000 };
  });
