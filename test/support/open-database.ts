/** A database of its own for the tests of a file of the store or the workers. */
import { afterAll, beforeAll } from "vitest";
import { type Database, openDatabase } from "../../src/store/database.ts";
import { freshDatabase } from "./postgres.ts";
import { quietLog } from "./shard-owner.ts";

/** Opened before the first of the tests around it, dropped after the last. */
export const useDatabase = (take: (db: Database) => void): void => {
  const ending = new AsyncDisposableStack();

  beforeAll(async () => {
    const fresh = await freshDatabase();
    ending.defer(() => fresh.drop());
    const db = openDatabase({ url: fresh.url, log: quietLog });
    ending.defer(() => db.close());
    take(db);
  });

  afterAll(() => ending.disposeAsync());
};
