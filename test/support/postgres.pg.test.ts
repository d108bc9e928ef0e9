import pg from "pg";
import { describe, expect, it } from "vitest";
import { queryOnce } from "./database-server.ts";
import { freshDatabase } from "./postgres.ts";

describe("a fresh database", () => {
  it("is migrated, and its own", async () => {
    await using first = await freshDatabase();
    await using second = await freshDatabase();
    await queryOnce(first.url, "create table only_here ()");
    const tables = (url: string) =>
      queryOnce<{ name: string | null }>(
        url,
        "select to_regclass(name)::text as name from unnest(array['only_here', '_prisma_migrations']) as name",
      );
    expect(await tables(first.url)).toEqual([{ name: "only_here" }, { name: "_prisma_migrations" }]);
    expect(await tables(second.url)).toEqual([{ name: null }, { name: "_prisma_migrations" }]);
  });

  it("tells who forgot to close a connection", async () => {
    const database = await freshDatabase({ empty: true });
    const forgotten = new pg.Client({ connectionString: database.url, application_name: "forgotten" });
    forgotten.on("error", () => undefined); // It is cut off by the drop.
    await forgotten.connect();
    await expect(database.drop()).rejects.toThrow("connections left open: forgotten");
  });
});
