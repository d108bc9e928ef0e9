/** An empty database beside the daemon's, to decide again in. */
import pg from "pg";
import { uuidv7 } from "uuidv7";
import type { Logger } from "../telemetry/log.ts";
import { type Database, openDatabase } from "./database.ts";
import { migrate } from "./migrate.ts";

/** Found before those of PostgreSQL, by defaults of columns, too. Several of one transaction keep their order. */
const clock = `
  create schema replay;
  create sequence replay.ticks;
  create function replay.now() returns timestamptz language sql stable as
    $$ select coalesce(nullif(current_setting('samebox.now', true), '')::timestamptz, pg_catalog.now()) $$;
  create function replay.clock_timestamp() returns timestamptz language sql volatile as
    $$ select replay.now() + nextval('replay.ticks') * interval '1 microsecond' $$;`;

const connect = async (url: string, name = "samebox replay"): Promise<pg.Client> => {
  const client = new pg.Client({ connectionString: url, application_name: name });
  await client.connect();
  // Whoever drops the database ends it; without a listener that would end the process.
  client.on("error", () => undefined);
  return client;
};

const run = async (url: string, ...statements: readonly string[]): Promise<void> => {
  const client = await connect(url);
  try {
    for (const statement of statements) await client.query(statement);
  } finally {
    await client.end();
  }
};

const prefix = "samebox_replay_";
const objectInUse = "55006";

/** Younger ones may belong to somebody who has not connected to it yet. */
const leftBehindAfterMs = 60_000;

/** Names end in a UUID of version 7, which begins with the time. */
const bornAt = (name: string): number => Number.parseInt(name.slice(prefix.length, prefix.length + 12), 16);

/** A process that was killed drops nothing; whoever still works in one is connected to it. */
const dropLeftBehind = async (url: string): Promise<void> => {
  const client = await connect(url);
  try {
    const { rows } = await client.query<{ datname: string }>(`select datname from pg_database where datname like '${prefix}%'`);
    for (const { datname } of rows) {
      if (!(bornAt(datname) < Date.now() - leftBehindAfterMs)) continue;
      await client.query(`drop database if exists ${datname}`).catch((error: unknown) => {
        if (!(error instanceof pg.DatabaseError && error.code === objectInUse)) throw error;
      });
    }
  } finally {
    await client.end();
  }
};

/** Whoever is at work in it when it is disposed of fails. */
export interface Scratch extends AsyncDisposable {
  readonly db: Database;
}

/** An empty database on the same server; whoever runs it needs the right to make one. What earlier ones left behind goes. */
export const openScratch = async (source: Database, log: Logger): Promise<Scratch> => {
  await dropLeftBehind(source.url);
  const name = prefix + uuidv7().replaceAll("-", "");
  const url = new URL(source.url);
  url.pathname = `/${name}`;
  const drop = (): Promise<void> => run(source.url, `drop database if exists ${name} with (force)`);
  await run(source.url, `create database ${name}`);
  try {
    await run(url.href, clock, `alter database ${name} set search_path = replay, public, pg_catalog`);
    await migrate(url.href, log);
    const holder = await connect(url.href, `samebox replay of${new URL(source.url).pathname.replace("/", " ")}`);
    const db = openDatabase({ url: url.href, max: 2, log, deadlines: false });
    const dispose = async (): Promise<void> => {
      await drop();
      await Promise.all([holder.end(), db.close()]);
    };
    return { db, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await drop();
    throw error;
  }
};
