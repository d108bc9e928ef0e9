/** The two stores a bell can hang on, behind a proxy that can take them away. */
import { Redis as RedisClient } from "ioredis";
import type { Bell } from "../../src/queue/bell.ts";
import type { Pace } from "../../src/queue/carrier.ts";
import { openPostgresBell } from "../../src/queue/postgres.ts";
import { openRedisBell } from "../../src/queue/redis.ts";
import type { Logger } from "../../src/telemetry/log.ts";
import { queryOnce } from "../support/database-server.ts";
import { eventually } from "../support/eventually.ts";
import { startFaultProxy } from "../support/fault-proxy.ts";
import { freshDatabase } from "../support/postgres.ts";
import { startRedis } from "../support/redis.ts";
import { quietLog } from "../support/shard-owner.ts";

export interface OpenOptions {
  readonly concurrency?: number;
  readonly pace?: Partial<Pace>;
  readonly log?: Logger;
}

export interface Store extends AsyncDisposable {
  open(options?: OpenOptions): Promise<Bell>;
  /** All that the queue knew is gone; the server stays. */
  wipe(): Promise<void>;
  /** Connections break and no new one is let in. */
  leave(): void;
  comeBack(): void;
  /** The server itself goes away for a moment and loses, or breaks off, what it can. */
  restart(): Promise<void>;
  /** How many connections bells hold. */
  connections(): Promise<number>;
}

export const startRedisStore = async (): Promise<Store> => {
  const redis = await startRedis();
  const proxy = await startFaultProxy({ port: redis.port });
  const admin = new RedisClient(redis.url, { lazyConnect: true });
  admin.on("error", () => undefined);
  await admin.connect();
  return {
    open: ({ concurrency = 4, pace = {}, log = quietLog } = {}) =>
      openRedisBell({ url: `redis://127.0.0.1:${proxy.port}`, concurrency, pace, log }),
    wipe: async () => {
      await admin.flushall();
    },
    leave: () => {
      proxy.change({ onConnect: "reset" });
      proxy.resetAll();
    },
    comeBack: () => proxy.change({}),
    restart: () => redis.restart(),
    connections: async () =>
      String(await admin.client("LIST"))
        .trim()
        .split("\n").length - 1,
    async [Symbol.asyncDispose]() {
      admin.disconnect();
      await proxy.stop();
      await redis.stop();
    },
  };
};

export const startPostgresStore = async (): Promise<Store> => {
  const database = await freshDatabase({ empty: true });
  const address = new URL(database.url);
  const proxy = await startFaultProxy({ port: Number(address.port) });
  address.port = String(proxy.port);
  const ofBells = "from pg_stat_activity where datname = current_database() and application_name = 'samebox queue'";
  return {
    open: ({ concurrency = 4, pace = {}, log = quietLog } = {}) =>
      openPostgresBell({ databaseUrl: address.href, concurrency, pace, log }),
    wipe: async () => {
      const rows = await queryOnce<{ name: string }>(
        database.url,
        "select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname = 'samebox_queue' and tablename <> 'migration'",
      );
      // Under load this may be the victim of a deadlock.
      await eventually("the tables are empty", async () =>
        queryOnce(database.url, `truncate ${rows.map((row) => row.name).join(", ")}`),
      );
    },
    leave: () => {
      proxy.change({ onConnect: "reset" });
      proxy.resetAll();
    },
    comeBack: () => proxy.change({}),
    restart: async () => {
      await queryOnce(database.url, `select pg_terminate_backend(pid) ${ofBells}`);
    },
    connections: async () => (await queryOnce(database.url, `select pid ${ofBells}`)).length,
    async [Symbol.asyncDispose]() {
      await proxy.stop();
      await database.drop();
    },
  };
};
