/** The bell on Redis: one connection to ring, one for the workers' commands, and one more per answered shard to block on. */
import { once } from "node:events";
import { createRedisBackend } from "bullmq";
import { Redis, type RedisOptions } from "ioredis";
import type { Logger } from "../telemetry/log.ts";
import type { Bell } from "./bell.ts";
import { BullBell } from "./bullmq-bell.ts";
import type { Carrier, Pace } from "./carrier.ts";
import { type Complain, complainTo } from "./complaints.ts";

const startMs = 10_000;

const redisPace: Pace = { drainDelaySeconds: 30, lockMs: 30_000, stalledMs: 30_000, watchMs: 30_000 };

const common = {
  retryStrategy: (times: number): number => Math.min(times * 100, 1_000),
  // After a failover the old primary answers READONLY for a while; asking it again on the same connection never helps.
  reconnectOnError: (err: Error): 2 | false => (err.message.startsWith("READONLY") ? 2 : false),
  keepAlive: 10_000,
} satisfies RedisOptions;

/** Where Redis is, without the credentials of the URL. */
const placeOf = (url: string): string => {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  return parsed === null ? "the address in REDIS_URL" : `${parsed.hostname}:${parsed.port || "6379"}`;
};

const connect = async (url: string, complain: Complain): Promise<Redis> => {
  let last: Error | undefined;
  // Rings must not wait for a Redis that is away: no offline queue, one retry, and a deadline on every command.
  const client = new Redis(url, {
    ...common,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 1,
    commandTimeout: 2_000,
    socketTimeout: 5_000,
  });
  client.on("error", (err: Error) => {
    last = err;
    complain(err);
  });
  try {
    await new Promise<void>((resolve, reject) => {
      const late = setTimeout(() => reject(last ?? new Error("no answer")), startMs);
      client.once("ready", () => {
        clearTimeout(late);
        resolve();
      });
    });
  } catch (cause) {
    client.disconnect();
    throw new Error(`Redis at ${placeOf(url)} cannot be reached within ${startMs / 1_000} s. Check REDIS_URL.`, { cause });
  }
  return client;
};

/** The value of `maxmemory-policy`; null when the server tells it to nobody (some managed ones forbid both ways to ask). */
const evictionPolicy = async (client: Redis): Promise<string | null> => {
  const told = await client.info("memory").catch(() => "");
  const policy = /^maxmemory_policy:(\S+)/m.exec(told)?.[1];
  if (policy !== undefined) return policy;
  const answer: unknown = await client.config("GET", "maxmemory-policy").catch(() => null);
  return Array.isArray(answer) && typeof answer[1] === "string" ? answer[1] : null;
};

const refuseEviction = async (client: Redis, url: string, log: Logger): Promise<void> => {
  const policy = await evictionPolicy(client);
  if (policy === "noeviction") return;
  if (policy === null) {
    log.warn("maxmemory-policy of Redis cannot be read; it must be noeviction");
    return;
  }
  throw new Error(
    `Redis at ${placeOf(url)} may drop queued work when its memory is full (maxmemory-policy is ${policy}). ` +
      "Set maxmemory-policy to noeviction.",
  );
};

const disconnect = async (client: Redis): Promise<void> => {
  // A client that is between two attempts to connect stops there and never says that it has ended.
  const ended = client.status === "ready" ? once(client, "end") : null;
  client.disconnect();
  await ended;
};

/**
 * @throws Error in plain words when Redis is out of reach for 10 s or may evict keys. Once open, the bell survives the loss
 * of the server and of all it held.
 */
export const openRedisBell = async (options: {
  url: string;
  concurrency: number;
  log: Logger;
  pace?: Partial<Pace>;
}): Promise<Bell> => {
  const complain = complainTo(options.log);
  const producer = await connect(options.url, complain);
  try {
    await refuseEviction(producer, options.url, options.log);
  } catch (error) {
    producer.disconnect();
    throw error;
  }
  const pace: Pace = { ...redisPace, ...options.pace };
  // Inherited by the blocking connections: a half-open one is noticed soon after an idle worker's block should have ended.
  const commands = new Redis(options.url, {
    ...common,
    maxRetriesPerRequest: null,
    socketTimeout: pace.drainDelaySeconds * 1_000 + 10_000,
  });
  commands.on("error", complain);
  const root = createRedisBackend("root", { connection: producer, skipVersionCheck: true });
  root.on("error", complain);
  const carrier: Carrier = {
    pace,
    produce: (name, opts) => root.forQueue(name, "prefix" in opts ? String(opts.prefix) : undefined),
    consume: (name, opts, extra) => createRedisBackend(name, { ...opts, connection: commands }, extra),
    async close() {
      await Promise.all([producer, commands].map(disconnect));
    },
  };
  return new BullBell({ carrier, concurrency: options.concurrency, log: options.log, complain });
};
