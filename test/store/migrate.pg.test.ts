import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { migrate, migrationsDir } from "../../src/store/migrate.ts";
import { ensureTenantRole } from "../../src/store/tenant-role.ts";
import { createLogger } from "../../src/telemetry/log.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";
import { quietLog } from "../support/shard-owner.ts";

let fresh: FreshDatabase;
let dir: string;

beforeEach(async () => {
  fresh = await freshDatabase({ empty: true });
  dir = await mkdtemp(join(tmpdir(), "samebox-migrations-"));
  await cp(migrationsDir, dir, { recursive: true });
});

afterEach(async () => {
  await fresh.drop();
  await rm(dir, { recursive: true });
});

const addMigration = async (name: string, sql: string): Promise<void> => {
  await cp(join(dir, "20261124000000_canonical_store"), join(dir, name), { recursive: true });
  await writeFile(join(dir, name, "migration.sql"), sql);
};

describe("migrations at start", () => {
  it("are applied once, whoever starts together", async () => {
    const applied = await Promise.all([migrate(fresh.url, quietLog, dir), migrate(fresh.url, quietLog, dir)]);
    expect(applied.flat()).toEqual(["20261124000000_canonical_store"]);
    expect(await migrate(fresh.url, quietLog, dir)).toEqual([]);
  });

  it("refuse a file that was edited after it was applied", async () => {
    await migrate(fresh.url, quietLog, dir);
    await writeFile(join(dir, "20261124000000_canonical_store", "migration.sql"), "select 1;");
    await expect(migrate(fresh.url, quietLog, dir)).rejects.toThrow(/20261124000000_canonical_store was edited/);
  });

  it("refuse a database of a newer version", async () => {
    await addMigration("29990101000000_later", "create table later (id int);");
    await migrate(fresh.url, quietLog, dir);
    await expect(migrate(fresh.url, quietLog, migrationsDir)).rejects.toThrow(/newer version \(it knows 29990101000000_later\)/);
  });

  it("leave nothing of one that fails, and say which", async () => {
    await addMigration("29990101000000_broken", "create table half (id int); select no_such_column;");
    await expect(migrate(fresh.url, quietLog, dir)).rejects.toThrow(/29990101000000_broken failed: column "no_such_column"/);
    await rm(join(dir, "29990101000000_broken"), { recursive: true });
    expect(await migrate(fresh.url, quietLog, dir)).toEqual([]);
  });
});

it("a role samebox_api that was there is refused where it goes around the policies, and may not change the audit log", async () => {
  await migrate(fresh.url, quietLog);
  const lines: string[] = [];
  const log = createLogger({ level: "error", destination: { write: (line) => void lines.push(line) } });
  const client = new pg.Client(fresh.url);
  await client.connect();
  try {
    // Rolled back: the role is every database's.
    await client.query("begin; alter role samebox_api bypassrls");
    await expect(ensureTenantRole(client, log)).rejects.toThrow(/goes around row-level security/);
    await client.query("alter role samebox_api nobypassrls login; grant all on audit_log to samebox_api");
    await ensureTenantRole(client, log);
    expect(lines.join("")).toContain("nologin");
    const { rows } = await client.query<{ may: boolean }>(
      "select has_table_privilege('samebox_api', 'audit_log', 'update, delete, truncate') as may",
    );
    expect(rows).toEqual([{ may: false }]);
  } finally {
    await client.query("rollback");
    await client.end();
  }
});
