/**
 * The bell on PostgreSQL, for an installation without Redis: BullMQ's own backend in a schema of its own. All shards of a
 * process share one small pool and one connection that listens.
 */
import { EventEmitter } from "node:events";
import { PostgresConnection, PostgresQueueBackend } from "bullmq";
import type { Logger } from "../telemetry/log.ts";
import type { Bell } from "./bell.ts";
import { BullBell } from "./bullmq-bell.ts";
import type { Carrier, Pace } from "./carrier.ts";
import { complainTo } from "./complaints.ts";

const schema = "samebox_queue";
/** Connections of the pool; the listening one comes on top. */
const poolSize = 3;

const postgresPace: Pace = { drainDelaySeconds: 60, lockMs: 30_000, stalledMs: 30_000, watchMs: 30_000 };

/**
 * The URL without its `options`, and those options with ours: a connection string wins over the fields beside it, which
 * would undo the search path BullMQ needs.
 */
const withoutOptions = (databaseUrl: string): { connectionString: string; options: string } => {
  // A hint lost in a crash is found by the sweep, so its commit need not wait for the disk (18 ms become 2).
  const ours = "-c synchronous_commit=off";
  const [base = databaseUrl, query] = databaseUrl.split("?", 2);
  if (query === undefined) return { connectionString: databaseUrl, options: ours };
  const params = new URLSearchParams(query);
  const theirs = params.get("options");
  params.delete("options");
  const rest = params.size === 0 ? "" : `?${params.toString()}`;
  return { connectionString: `${base}${rest}`, options: theirs === null ? ours : `${theirs} ${ours}` };
};

type ListenClient = Awaited<ReturnType<PostgresConnection["getListenClient"]>>;

const listens = new WeakMap<ListenClient, Promise<void>>();

/** Subscribes a client to BullMQ's channel, once for all shards that wait on it. */
const listenOnce = (client: ListenClient): Promise<void> => {
  const known = listens.get(client);
  if (known !== undefined) return known;
  // Every waiting shard adds its listener to this one client.
  if (client instanceof EventEmitter) client.setMaxListeners(0);
  const listening = client.query("listen bullmq_jobs").then(() => undefined);
  listens.set(client, listening);
  listening.catch(() => listens.delete(client));
  return listening;
};

/**
 * A worker's backend on the shared connection. BullMQ foresees one listening connection a worker; sharing it saves a
 * connection a shard, and needs the two things a backend does only for a connection of its own.
 */
class SharedBackend extends PostgresQueueBackend {
  readonly #listenAgain = (): void => {
    // Ends the wait on the dead client; the worker comes back and listens on the new one.
    void this.disconnectBlocking();
    void this.reconnectBlocking();
  };

  constructor(connection: PostgresConnection, queueName: string, opts: ConstructorParameters<typeof PostgresQueueBackend>[2]) {
    super(connection, queueName, opts, false);
    connection.setMaxListeners(0);
    connection.on("listenerinvalidated", this.#listenAgain);
  }

  override async waitForJob(blockTimeout: number): ReturnType<PostgresQueueBackend["waitForJob"]> {
    await listenOnce(await this.connection.getListenClient());
    // Every backend would say LISTEN for itself, on a client that may be busy with the LISTEN of another.
    this["listening"] = true;
    return super.waitForJob(blockTimeout);
  }

  override async close(): Promise<void> {
    this.connection.off("listenerinvalidated", this.#listenAgain);
  }
}

/**
 * @throws Error when PostgreSQL is out of reach or the queue's schema cannot be made. Once open, the bell survives restarts
 * of the server. Needs a direct connection: LISTEN does not pass a pooler in transaction mode.
 */
export const openPostgresBell = async (options: {
  databaseUrl: string;
  concurrency: number;
  log: Logger;
  pace?: Partial<Pace>;
}): Promise<Bell> => {
  const complain = complainTo(options.log);
  const connection = new PostgresConnection({
    ...withoutOptions(options.databaseUrl),
    schema,
    // Without this a worker on an empty database retries in a hot loop until memory is gone.
    migrate: true,
    max: poolSize,
    min: 1,
    idleTimeoutMillis: 60_000,
    connectionTimeoutMillis: 2_000,
    statement_timeout: 10_000,
    query_timeout: 15_000,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    application_name: "samebox queue",
  });
  connection.on("error", complain);
  try {
    await connection.waitUntilReady();
  } catch (error) {
    await connection.close();
    throw error;
  }
  const carrier: Carrier = {
    pace: { ...postgresPace, ...options.pace },
    produce: (name, opts) => new PostgresQueueBackend(connection, name, { ...opts, connection: {} }, false),
    consume: (name, opts) => new SharedBackend(connection, name, { ...opts, connection: {} }),
    close: () => connection.close(),
  };
  return new BullBell({ carrier, concurrency: options.concurrency, log: options.log, complain });
};
