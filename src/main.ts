/** Starts the rooms by role, and stops them in reverse. */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import closeWithGrace from "close-with-grace";
import pLimit from "p-limit";
import { startApi } from "./api/server.ts";
import { type Config, ConfigError, readConfig } from "./config.ts";
import { makeDataFolder } from "./embedded/data-folder.ts";
import { keepSecret } from "./embedded/kept-secret.ts";
import { startEmbeddedPostgres } from "./embedded/postgres.ts";
import { DomainDiscoverer } from "./endpoints/discovery/discover.ts";
import { driversFor, examinerFor } from "./endpoints/registry.ts";
import { openSpoolFolder } from "./endpoints/spool-folder.ts";
import { openFactsReader } from "./mime/facts-reader.ts";
import { openParser } from "./mime/parser.ts";
import type { Bell } from "./queue/bell.ts";
import { openPostgresBell } from "./queue/postgres.ts";
import { openRedisBell } from "./queue/redis.ts";
import { purgeDeletedAccounts } from "./store/account-purge.ts";
import { forgetActions } from "./store/audit.ts";
import { forgetInputs } from "./store/inputs.ts";
import { type ChangeListener, openChangeListener } from "./store/change-listener.ts";
import { type Database, openDatabase } from "./store/database.ts";
import { rotateSecrets, tellOfUnknownKeys } from "./store/key-rotation.ts";
import { ensureInstallation } from "./store/leases.ts";
import { migrate } from "./store/migrate.ts";
import { createSealer, type Sealer } from "./store/sealing.ts";
import { isUnavailable } from "./store/unavailable.ts";
import { armFailpoint } from "./telemetry/failpoint.ts";
import { createLogger, type Logger } from "./telemetry/log.ts";
import { buildInfo, collectProcessMetrics } from "./telemetry/metrics.ts";
import { defaultRetryTimes } from "./workers/backoff.ts";
import { ParseQueue } from "./workers/parsing.ts";
import { AccountPolicies } from "./workers/policies.ts";
import { IntentWrites } from "./workers/intents.ts";
import { MailboxIntentWrites } from "./workers/mailbox-intents.ts";
import { WorkerProber } from "./workers/prober.ts";
import { Supervisor } from "./workers/supervisor.ts";
import { WebhookSender } from "./workers/webhooks.ts";

/** Accounts read in bulk at once; each may hold some 30 MB of mail in memory. */
const bulkTurns = 2;
/** Connections to mail servers opened at once. */
const connectTurns = 20;
const parserThreads = 1;
const stopDeadlineMs = 20_000;

type Stop = () => Promise<void>;

/** What has been started, stopped in reverse order; one failure never keeps the rest running. */
class Started {
  private readonly stops: { what: string; stop: Stop }[] = [];
  private readonly log: Logger;
  /** Set once this process is to end, even while it is still starting. */
  stopping = false;

  constructor(log: Logger) {
    this.log = log;
  }

  /** @throws Error when the start is to go no further; what was added is stopped all the same. */
  add(what: string, stop: Stop): void {
    this.stops.push({ what, stop });
    if (this.stopping) throw new Error("Told to stop while starting.");
  }

  async stop(): Promise<void> {
    for (const { what, stop } of this.stops.splice(0).toReversed())
      await stop().catch((err: unknown) => this.log.warn({ err, what }, "did not stop cleanly"));
  }
}

const openBell = (config: Config, databaseUrl: string, log: Logger): Promise<Bell> =>
  config.redisUrl === null
    ? openPostgresBell({ databaseUrl, concurrency: 16, log })
    : openRedisBell({ url: config.redisUrl, concurrency: 8, log });

interface Rooms {
  readonly config: Config;
  readonly log: Logger;
  readonly db: Database;
  readonly bell: Bell;
  readonly sealer: Sealer;
  readonly shards: number;
  readonly parser: ReturnType<typeof openParser>;
  readonly parsing: ParseQueue;
  readonly limits: Parameters<typeof driversFor>[0];
  readonly changes: ChangeListener;
}

/** What this process may do at mail servers, whichever of its roles speaks to them. */
const openLimits = async (
  { dataDir, allowPrivateHosts, allowCleartext, maxMessageBytes }: Config,
  started: Started,
): Promise<Parameters<typeof driversFor>[0]> => {
  const spool = await openSpoolFolder(join(dataDir, "spool"));
  started.add("spool folder", () => spool.remove());
  return { allowPrivateHosts, allowCleartext, maxMessageBytes, spoolDir: spool.dir };
};

const startWorkers = async (rooms: Rooms, started: Started): Promise<void> => {
  const { config, log, db, bell, sealer, shards, parsing, limits, changes } = rooms;
  const facts = openFactsReader(log);
  started.add("reading thread", async () => facts[Symbol.asyncDispose]());
  const supervisor = new Supervisor({
    bell,
    shards,
    leaseSeconds: config.leaseSeconds,
    alone: config.databaseUrl === null,
    housekeeping: async () => {
      await purgeDeletedAccounts(db);
      await forgetInputs(db, config.inputDays);
      await forgetActions(db, config.auditDays);
      await webhooks.housekeeping();
      await rotateSecrets(db, sealer, { log });
    },
    services: {
      db,
      log,
      facts,
      drivers: driversFor(limits),
      unseal: (account, endpoint) =>
        sealer.openCredentials(
          db,
          { tenantId: account.tenantId, accountId: account.id, endpointId: endpoint.id },
          endpoint.sealedCredentials,
        ),
      retryTimes: defaultRetryTimes,
      maxMessageBytes: config.maxMessageBytes,
      pollMs: config.pollSeconds * 1000,
      bulkTurn: pLimit(bulkTurns),
      connectTurn: pLimit(connectTurns),
      onUnparsed: (account) => parsing.add(account),
    },
  });
  const webhooks = new WebhookSender({
    db,
    log,
    sealer,
    changes,
    shards,
    rules: limits,
    fences: () => supervisor.fences(),
    holds: (fence) => supervisor.holds(fence),
  });
  started.add("workers", () => supervisor.stop());
  await supervisor.start();
  started.add("webhooks", () => webhooks.stop());
  webhooks.start();
};

const startApiRoom = async (rooms: Rooms, adminKey: string, started: Started): Promise<void> => {
  const { config, log, db, bell, sealer, shards, parser, parsing, limits, changes } = rooms;
  const prober = new WorkerProber({ examine: examinerFor(limits), log });
  const { host, port, metricsPort, allowPrivateHosts, allowCleartext, trustedProxies, version } = config;
  const api = await startApi({
    config: { host, port, metricsPort, adminKey, allowPrivateHosts, allowCleartext, trustedProxies, version },
    db,
    sealer,
    bell,
    shardOf: (virtualShard) => virtualShard % shards,
    parser,
    changes,
    prober,
    discoverer: new DomainDiscoverer({ allowPrivateHosts }),
    writes: new IntentWrites(limits),
    policies: new AccountPolicies(),
    mailboxWrites: new MailboxIntentWrites(),
    onUnparsed: (account) => parsing.add(account),
    log,
    draining: () => started.stopping,
  });
  started.add("api", () => api.close());
  // Stopped before the API, which waits for the answers it owes.
  started.add("prober", () => prober.stop());
  log.info({ url: api.url, metricsUrl: api.metricsUrl }, "api listening");
};

const start = async (config: Config, log: Logger, started: Started): Promise<void> => {
  await makeDataFolder(config.dataDir);
  let databaseUrl = config.databaseUrl;
  if (databaseUrl === null) {
    const postgres = await startEmbeddedPostgres({ dataDir: config.dataDir, log });
    started.add("embedded PostgreSQL", () => postgres.stop());
    databaseUrl = postgres.url;
  }
  await migrate(databaseUrl, log).catch((cause: unknown) => {
    throw config.databaseUrl === null ? cause : databaseTrouble(cause);
  });
  const db = openDatabase({ url: databaseUrl, max: 16, log });
  started.add("database", () => db.close());
  const shards = await ensureInstallation(db, config.shards ?? (config.redisUrl === null ? 4 : 64));
  const secretKey =
    config.secretKey ??
    Buffer.from((await keepSecret(config.dataDir, "secret-key", () => randomBytes(32).toString("base64"))).secret, "base64");
  const sealer = createSealer(secretKey, config.otherSecretKeys);
  await tellOfUnknownKeys(db, sealer, log);
  const bell = await openBell(config, databaseUrl, log);
  started.add("queue", () => bell.close());
  const parser = openParser({ threads: parserThreads, timeoutMs: 10_000, maxHeapMb: 256, log });
  started.add("parser", async () => parser[Symbol.asyncDispose]());
  const parsing = new ParseQueue({ db, parser, log });
  started.add("parsing", () => parsing.stop());
  const limits = await openLimits(config, started);
  const changes = openChangeListener({ url: db.url, log });
  started.add("change listener", () => changes.close());
  await changes.listening;
  const rooms: Rooms = {
    config,
    log,
    db,
    bell,
    sealer,
    shards,
    parser,
    parsing,
    limits,
    changes,
  };
  if (config.roles.has("worker")) await startWorkers(rooms, started);
  if (config.roles.has("api")) await startApiRoom(rooms, await readAdminKey(config, log), started);
};

/** Out of reach, or refused: a wrong user or password (class 28), no such database (class 3D). */
const databaseTrouble = (cause: unknown): unknown => {
  if (!(cause instanceof Error)) return cause;
  const { code = "" } = cause as NodeJS.ErrnoException;
  if (!isUnavailable(cause) && !/^(?:28|3D)/.test(code)) return cause;
  // A name with several addresses fails at each of them, and then has no message of its own.
  const first = cause instanceof AggregateError ? (cause.errors[0] as Error | undefined) : cause;
  return new Error(
    `The PostgreSQL of DATABASE_URL cannot be used: ${first?.message || code}. Check its host, port, user, password and name.`,
    { cause },
  );
};

const readAdminKey = async (config: Config, log: Logger): Promise<string> => {
  if (config.adminKey !== null) return config.adminKey;
  const { secret, made, path } = await keepSecret(
    config.dataDir,
    "admin-key",
    () => `sbx_admin_${randomBytes(32).toString("base64url")}`,
  );
  // The one time it is shown; from now on it is read from the file.
  if (made) process.stderr.write(`\nThe operator's key (kept in ${path}):\n\n    ${secret}\n\n`);
  else log.info({ path }, "operator's key read from its file");
  return secret;
};

/** Why it did not start and what to do, for the person at the terminal. */
const inPlainWords = (err: unknown): string => {
  if (!(err instanceof Error)) return String(err);
  const { code, address, port } = err as NodeJS.ErrnoException & { readonly address?: string; readonly port?: number };
  if (!("syscall" in err) || err.syscall !== "listen") return err.message || String(code);
  if (code === "EADDRINUSE")
    return `Port ${port} of ${address} is taken by another program. End that, or set PORT (or METRICS_PORT) to a free one.`;
  if (code === "EADDRNOTAVAIL") return `This machine has no address ${address}. Set HOST to one of its own.`;
  return err.message;
};

const main = async (): Promise<void> => {
  let config: Config;
  try {
    config = readConfig();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 2;
    return;
  }
  const log = createLogger({ level: config.logLevel });
  armFailpoint(config.failpoint);
  collectProcessMetrics();
  buildInfo.set({ version: config.version, node: process.version }, 1);
  const started = new Started(log);
  const starting = start(config, log, started);
  const graceful = closeWithGrace({ delay: stopDeadlineMs }, async ({ signal, err }) => {
    started.stopping = true;
    if (err !== undefined) log.fatal({ err }, "stopping after an error");
    else log.info({ signal }, "stopping");
    // What is just being made is finished first: cut off in between, it could not be stopped in order.
    await starting.catch(() => undefined);
    await started.stop();
    log.info("stopped");
  });
  try {
    await starting;
    log.info({ version: config.version, roles: [...config.roles] }, "started");
  } catch (err) {
    if (started.stopping) return;
    log.fatal({ err }, "could not start");
    await started.stop();
    graceful.uninstall();
    // The last line on the screen.
    process.stderr.write(`\nSamebox did not start: ${inPlainWords(err)}\n`);
    process.exitCode = 1;
  }
};

await main();
