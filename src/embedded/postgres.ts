/** PostgreSQL in the data directory: made at the first start, served to this daemon alone, ended with it. */
import { randomBytes } from "node:crypto";
import { mkdir, realpath } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "../telemetry/log.ts";
import { findBinaries } from "./binaries.ts";
import { database, prepareCluster, superuser } from "./cluster.ts";
import { lockDataDir } from "./data-lock.ts";
import { keepSecret } from "./kept-secret.ts";
import { launchOnKeptPort } from "./port.ts";
import { chooseRunner } from "./runner.ts";
import { launchServer, type ServerProcess } from "./server-process.ts";
import { endStrays } from "./strays.ts";
import { superviseServer } from "./supervision.ts";

export interface EmbeddedPostgres {
  /** Of the database, password included. Stays the same while the daemon runs. */
  readonly url: string;
  /** Fast shutdown, by force after 10 s; then nothing of it runs. Harmless when repeated. */
  stop(): Promise<void>;
}

interface EmbeddedPostgresOptions {
  readonly dataDir: string;
  /** Default: any free one, the same at every start while it stays free. */
  readonly port?: number;
  readonly log: Logger;
}

/** Everything between a locked data directory and a served database. */
const serve = async (dataDir: string, options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> => {
  const { log } = options;
  const cluster = join(dataDir, "postgres");
  const binaries = await findBinaries();
  await endStrays(dataDir, log);
  const { runner, major } = await chooseRunner({ postgres: binaries.postgres, dataDir, cluster });
  const kept = await keepSecret(dataDir, "postgres-password", () => randomBytes(24).toString("base64url"));
  await prepareCluster({ dataDir, cluster, binaries, major, runner, password: kept.secret, passwordIsNew: kept.made, log });

  const stopping = new AbortController();
  const launch = (port: number): Promise<ServerProcess> =>
    launchServer({ postgres: binaries.postgres, cluster, runner, port, log, signal: stopping.signal });
  const { port, launched } =
    options.port === undefined
      ? await launchOnKeptPort(dataDir, launch)
      : { port: options.port, launched: await launch(options.port) };
  const relaunch = async (): Promise<ServerProcess> => {
    await endStrays(dataDir, log);
    return launch(port);
  };
  const supervised = superviseServer({ first: launched, launch: relaunch, stopping, log });
  return {
    url: `postgresql://${superuser}:${kept.secret}@127.0.0.1:${port}/${database}`,
    stop: async () => {
      await supervised.stop();
      // After a stop by force its children may need a moment, or a push.
      await endStrays(dataDir, log);
    },
  };
};

/**
 * Starts the PostgreSQL of the data directory; makes the directory and the database when there are none. Whatever a killed
 * daemon left there (a server, lock files, half a database) is cleared away first.
 * @throws Error in one line: another daemon has the directory, no PostgreSQL for this platform, another major version, a
 *   taken `port`, or what PostgreSQL itself says.
 */
export const startEmbeddedPostgres = async (options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> => {
  await mkdir(options.dataDir, { recursive: true });
  const dataDir = await realpath(options.dataDir);
  const lock = await lockDataDir(dataDir);
  try {
    const served = await serve(dataDir, options);
    return {
      url: served.url,
      stop: async () => {
        try {
          await served.stop();
        } finally {
          lock.release();
        }
      },
    };
  } catch (error) {
    lock.release();
    throw error;
  }
};
