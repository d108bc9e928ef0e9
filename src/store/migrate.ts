/**
 * Applies prisma/migrations/*\/migration.sql at start, in order, each in its own transaction, and writes Prisma's own
 * table, so that `prisma migrate status` agrees. Two daemons that start together: one applies, the other waits.
 */
import { createHash, randomUUID } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import pg from "pg";
import type { Logger } from "../telemetry/log.ts";
import { ensureTenantRole } from "./tenant-role.ts";

/** Prisma's own lock number, so that `prisma migrate deploy` and this runner never work at once. */
const advisoryLock = 72_707_369;

const historyTable = `create table if not exists _prisma_migrations (
  id varchar(36) primary key not null, checksum varchar(64) not null, finished_at timestamptz,
  migration_name varchar(255) not null, logs text, rolled_back_at timestamptz,
  started_at timestamptz not null default now(), applied_steps_count integer not null default 0)`;

export const migrationsDir = fileURLToPath(new URL("../../prisma/migrations", import.meta.url));

interface Migration {
  readonly name: string;
  readonly sql: string;
  readonly checksum: string;
}

const readMigrations = async (dir: string): Promise<Migration[]> => {
  const names = (await readdir(dir, { withFileTypes: true })).filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  return Promise.all(
    names.sort().map(async (name) => {
      const sql = await readFile(join(dir, name, "migration.sql"), "utf8");
      return { name, sql, checksum: createHash("sha256").update(sql).digest("hex") };
    }),
  );
};

interface HistoryRow {
  readonly migration_name: string;
  readonly checksum: string;
  readonly finished_at: Date | null;
}

/** Refuses a history that these files cannot have made. */
const checkHistory = (history: readonly HistoryRow[], migrations: readonly Migration[]): void => {
  const known = new Map(migrations.map((migration) => [migration.name, migration]));
  for (const row of history) {
    const migration = known.get(row.migration_name);
    if (migration === undefined)
      throw new Error(
        `The database was migrated by a newer version (it knows ${row.migration_name}). Start that version, or restore a backup.`,
      );
    if (migration.checksum !== row.checksum)
      throw new Error(`Migration ${row.migration_name} was edited after it was applied. Put the original file back.`);
    if (row.finished_at === null)
      throw new Error(
        `Migration ${row.migration_name} began and never ended. Look at its logs in _prisma_migrations, then remove the row.`,
      );
  }
};

const apply = async (client: pg.Client, migration: Migration): Promise<void> => {
  await client.query("begin");
  try {
    await client.query(migration.sql);
    await client.query(
      `insert into _prisma_migrations (id, checksum, migration_name, finished_at, applied_steps_count) values ($1, $2, $3, now(), 1)`,
      [randomUUID(), migration.checksum, migration.name],
    );
    await client.query("commit");
  } catch (error) {
    await client.query("rollback");
    throw new Error(`Migration ${migration.name} failed: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
};

/**
 * Brings the database behind `url` to the newest schema; returns the names applied.
 * @throws Error in plain words when the history was edited, is newer than this program, or a migration fails.
 */
export const migrate = async (url: string, log: Logger, dir = migrationsDir): Promise<string[]> => {
  const migrations = await readMigrations(dir);
  const client = new pg.Client({ connectionString: url, application_name: "samebox migrate", connectionTimeoutMillis: 10_000 });
  await client.connect();
  try {
    const version = await client.query<{ v: number }>("select current_setting('server_version_num')::int as v");
    if ((version.rows[0]?.v ?? 0) < 150_000) throw new Error("PostgreSQL 15 or newer is needed.");
    await client.query("select pg_advisory_lock($1)", [advisoryLock]);
    await client.query(historyTable);
    const history = await client.query<HistoryRow>(
      "select migration_name, checksum, finished_at from _prisma_migrations where rolled_back_at is null",
    );
    checkHistory(history.rows, migrations);
    const done = new Set(history.rows.map((row) => row.migration_name));
    const pending = migrations.filter((migration) => !done.has(migration.name));
    for (const migration of pending) {
      await apply(client, migration);
      log.info({ migration: migration.name }, "migration applied");
    }
    await ensureTenantRole(client, log);
    return pending.map((migration) => migration.name);
  } finally {
    await client.end();
  }
};
