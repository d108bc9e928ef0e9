/**
 * The PostgreSQL of a test run, in the process of the test runner. It starts when the first test asks, so that a run of
 * pure tests does not wait for it, and hands out the address of a server and of a migrated template database.
 */
import { randomBytes } from "node:crypto";
import { chown, mkdir } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import pg from "pg";
import { findBinaries } from "../../src/embedded/binaries.ts";
import { runProgram } from "../../src/embedded/program.ts";
import { chooseRunner } from "../../src/embedded/runner.ts";
import { migrate } from "../../src/store/migrate.ts";
import { createLogger } from "../../src/telemetry/log.ts";
import { eventually } from "./eventually.ts";
import { type GuardedProcess, startGuarded } from "./guarded-process.ts";
import { freePorts } from "./ports.ts";
import { makeServerFolder } from "./run-folder.ts";

/** What a worker needs to make itself a database. */
export interface DatabaseServer {
  /** A connection that may create databases. */
  readonly adminUrl: string;
  /** Every database of this run begins with it. */
  readonly prefix: string;
  /** The migrated database to clone. */
  readonly template: string;
}

/** The answer of the desk: a server, or why there is none. */
export type DeskAnswer = DatabaseServer | { readonly error: string };

export const withDatabase = (url: string, database: string): string => {
  const address = new URL(url);
  address.pathname = `/${database}`;
  return address.href;
};

/** Runs one statement on a connection of its own. */
export const queryOnce = async <Row extends pg.QueryResultRow>(
  url: string,
  text: string,
  values: unknown[] = [],
): Promise<Row[]> => {
  const client = new pg.Client({ connectionString: url, application_name: "samebox test support" });
  await client.connect();
  try {
    return (await client.query<Row>(text, values)).rows;
  } finally {
    await client.end();
  }
};

/** As the embedded server is launched, but without what makes it durable and slow: nothing here must outlive a power cut. */
const launch = async (): Promise<{ server: GuardedProcess; url: string }> => {
  const { initdb, postgres } = await findBinaries();
  const folder = await makeServerFolder("postgres");
  const data = join(folder, "data");
  const { runner } = await chooseRunner({ postgres, dataDir: folder, cluster: data });
  await mkdir(data);
  if (runner.owner !== null) await chown(data, runner.owner.uid, runner.owner.gid);
  const cluster = ["-D", data, "-U", "samebox", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"];
  await runProgram(runner.wrap([initdb, ...cluster], "KILL"));
  const [port = 0] = await freePorts(1);
  const settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=300", "fsync=off"];
  // What a commit promises to other connections is untouched by these.
  settings.push("full_page_writes=off", "synchronous_commit=off", "max_wal_size=4GB", "autovacuum_naptime=10s");
  const program = [postgres, "-D", data, "-p", String(port), ...settings.flatMap((setting) => ["-c", setting])];
  // QUIT ends it at once but lets it give back its shared memory, which KILL would leave to the machine.
  const guarded = startGuarded({ folder, command: runner.wrap(program, "INT"), stopSignal: "QUIT" });
  const url = `postgresql://samebox@127.0.0.1:${port}/postgres`;
  try {
    await eventually("PostgreSQL answers", async () => !guarded.running || queryOnce(url, "select 1"), { timeoutMs: 30_000 });
    if (!guarded.running) throw new Error("PostgreSQL ended at once");
    return { server: guarded, url };
  } catch (error) {
    const output = await guarded.output();
    await guarded.end();
    throw new Error(`PostgreSQL did not start:\n${output}`, { cause: error });
  }
};

const prepareTemplate = async (adminUrl: string): Promise<DatabaseServer> => {
  const prefix = `samebox_test_${randomBytes(4).toString("hex")}`;
  const template = `${prefix}_template`;
  await queryOnce(adminUrl, `create database ${template}`);
  await migrate(withDatabase(adminUrl, template), createLogger({ level: "warn" }));
  return { adminUrl, prefix, template };
};

const dropAll = async ({ adminUrl, prefix }: DatabaseServer): Promise<void> => {
  const rows = await queryOnce<{ datname: string }>(adminUrl, "select datname from pg_database where starts_with(datname, $1)", [
    prefix,
  ]);
  for (const { datname } of rows) await queryOnce(adminUrl, `drop database if exists ${datname} with (force)`);
};

/**
 * Answers every connection to `socketPath` with one `DeskAnswer` in JSON. Uses the server of TEST_DATABASE_URL, whose user must
 * be allowed to create databases, or else starts one of its own.
 */
export const openDatabaseDesk = async (socketPath: string): Promise<{ close(): Promise<void> }> => {
  let own: GuardedProcess | undefined;
  const open = async (): Promise<DatabaseServer> => {
    const given = process.env["TEST_DATABASE_URL"];
    if (given !== undefined) return prepareTemplate(given);
    const { server, url } = await launch();
    own = server;
    return prepareTemplate(url);
  };
  let opened: Promise<DatabaseServer> | undefined;
  const desk = createServer((socket) => {
    socket.on("error", () => undefined); // A worker that gave up waiting.
    opened ??= open();
    opened.then(
      (answer) => socket.end(JSON.stringify(answer satisfies DeskAnswer)),
      (error: unknown) => socket.end(JSON.stringify({ error: String(error) } satisfies DeskAnswer)),
    );
  });
  await new Promise<void>((resolve, reject) => {
    desk.once("error", reject);
    desk.listen(socketPath, resolve);
  });
  return {
    close: async () => {
      desk.close();
      const server = await opened?.catch(() => undefined);
      if (own !== undefined) await own.end();
      else if (server !== undefined) await dropAll(server);
    },
  };
};
