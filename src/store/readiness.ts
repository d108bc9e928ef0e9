/** Can PostgreSQL be used at all? Asked over a connection of its own, so that a busy pool is not taken for a dead server. */
import { readdir } from "node:fs/promises";
import pg from "pg";
import { migrationsDir } from "./migrate.ts";

export interface Readiness {
  readonly reachable: boolean;
  /** Migrations this program brings that the database has not; null when it could not be asked. */
  readonly pendingMigrations: number | null;
}

export interface ReadinessProbe {
  /** Answers within a second. Callers at the same time share one answer. */
  check(): Promise<Readiness>;
  close(): Promise<void>;
}

const deadlineMs = 1_000;

const unreachable: Readiness = { reachable: false, pendingMigrations: null };

class PgProbe implements ReadinessProbe {
  private readonly url: string;
  private client: pg.Client | null = null;
  private asking: Promise<Readiness> | null = null;
  private closed = false;

  constructor(url: string) {
    this.url = url;
  }

  check(): Promise<Readiness> {
    this.asking ??= this.ask().finally(() => {
      this.asking = null;
    });
    return this.asking;
  }

  async close(): Promise<void> {
    this.closed = true;
    await this.asking;
    await this.drop();
  }

  private async ask(): Promise<Readiness> {
    if (this.closed) return unreachable;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error("no answer in time")), deadlineMs);
    });
    try {
      return await Promise.race([this.compare(), late]);
    } catch {
      // Whatever it was: the next check begins with a new connection.
      await this.drop();
      return unreachable;
    } finally {
      clearTimeout(timer);
    }
  }

  private async compare(): Promise<Readiness> {
    const client = await this.connect();
    const [files, { rows }] = await Promise.all([
      readdir(migrationsDir, { withFileTypes: true }),
      client.query<{ name: string }>(
        "select migration_name as name from _prisma_migrations where finished_at is not null and rolled_back_at is null",
      ),
    ]);
    const applied = new Set(rows.map((row) => row.name));
    return { reachable: true, pendingMigrations: files.filter((file) => file.isDirectory() && !applied.has(file.name)).length };
  }

  private async connect(): Promise<pg.Client> {
    if (this.client !== null) return this.client;
    const client = new pg.Client({
      connectionString: this.url,
      application_name: "samebox readiness",
      connectionTimeoutMillis: deadlineMs,
      query_timeout: deadlineMs,
      keepAlive: true,
    });
    this.client = client;
    client.on("error", () => void this.drop(client));
    await client.connect();
    return client;
  }

  private async drop(client = this.client): Promise<void> {
    if (client === null) return;
    if (this.client === client) this.client = null;
    // A dead server does not answer a goodbye.
    await Promise.race([client.end().catch(() => undefined), new Promise((resolve) => setTimeout(resolve, 200).unref())]);
  }
}

export const openReadinessProbe = (url: string): ReadinessProbe => new PgProbe(url);
