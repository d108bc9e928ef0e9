/**
 * The way to PostgreSQL: one pool with deadlines on everything, shared by set-based statements and by Prisma's typed
 * client for the control plane. Only this room speaks SQL.
 */
import { once } from "node:events";
import { PrismaPg } from "@prisma/adapter-pg";
import pg from "pg";
import { from as copyFrom } from "pg-copy-streams";
import type { Logger } from "../telemetry/log.ts";
import { dbErrors, dbPoolConnections } from "../telemetry/metrics.ts";
import { type Copy, CopyBurst } from "./copy-burst.ts";
import { PrismaClient } from "./generated/client.ts";
import { isUnavailable } from "./unavailable.ts";

export interface Statement {
  /** Prepared once per connection under this name; the same name must always mean the same text. */
  readonly name?: string;
  readonly text: string;
  readonly values?: readonly unknown[];
}

export interface Queryable {
  query<Row = Record<string, unknown>>(statement: Statement): Promise<{ rows: Row[]; rowCount: number }>;
}

declare const inTransaction: unique symbol;

/** A connection inside a transaction. Whatever writes asks for one, so that nothing is written by halves. */
export interface Tx extends Queryable {
  readonly [inTransaction]: true;
  /**
   * Runs `copy … from stdin (format binary)` with the given bytes, header and trailer included. Arrays asked for one behind
   * the other go in one round trip; their bytes stand in memory until then.
   */
  copy(text: string, chunks: readonly Buffer[] | AsyncIterable<Buffer>): Promise<void>;
}

export interface Transactor extends Queryable {
  /** Commits what `work` did, or nothing. Repeats the whole on a serialisation failure or deadlock, at most 5 times. */
  transaction<T>(work: (tx: Tx) => Promise<T>): Promise<T>;
}

/** Sees the rows of every tenant. */
export interface Database extends Transactor {
  readonly url: string;
  readonly prisma: PrismaClient;
  /** A transaction that begins with other words than `begin`, in one round trip. */
  transactionFrom<T>(begin: string, work: (tx: Tx) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

const int8Oid = 20;
const retryable = new Set(["40001", "40P01"]);

/** Only what PostgreSQL or the way to it has done: what `work` throws of its own is no error of the database. */
const countError = (error: unknown): void => {
  const state = sqlState(error);
  if (error instanceof pg.DatabaseError && /^[0-9A-Z]{5}$/.test(state)) dbErrors.inc({ class: state.slice(0, 2) });
  else if (isUnavailable(error)) dbErrors.inc({ class: "connection" });
};

const parsers: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: "text" | "binary") =>
    oid === int8Oid ? BigInt : (pg.types.getTypeParser(oid, format) as unknown)) as typeof pg.types.getTypeParser,
};

const sqlState = (error: unknown): string =>
  typeof error === "object" && error !== null && "code" in error && typeof error.code === "string" ? error.code : "";

const runOn = async <Row>(runner: pg.Pool | pg.PoolClient, statement: Statement): Promise<{ rows: Row[]; rowCount: number }> => {
  const result = await runner.query({
    text: statement.text,
    ...(statement.name !== undefined && { name: statement.name }),
    values: [...(statement.values ?? [])],
  });
  return { rows: result.rows as Row[], rowCount: result.rowCount ?? 0 };
};

const copyInto = async (client: pg.PoolClient, text: string, chunks: AsyncIterable<Buffer>): Promise<void> => {
  const stream = client.query(copyFrom(text));
  const finished = once(stream, "finish");
  // Without a listener a failing server would raise the error a second time, outside the promise.
  finished.catch(() => undefined);
  for await (const chunk of chunks) if (!stream.write(chunk)) await Promise.race([once(stream, "drain"), finished]);
  stream.end();
  await finished;
};

const makeTx = (client: pg.PoolClient): Tx => {
  let last: Promise<unknown> = Promise.resolve();
  /** One statement after the other, in the order asked for; so a caller may prepare the next while one is under way. */
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const result = last.then(work);
    last = result;
    // Whoever asked for the failed statement is told; those queued behind it fail with the same error.
    result.catch(() => undefined);
    return result;
  };
  /** Copies that wait for their turn together; null when the next one has to wait for a turn of its own. */
  let waiting: Copy[] | null = null;
  let burst: Promise<void> = Promise.resolve();
  const joinBurst = (copy: Copy): Promise<void> => {
    if (waiting !== null) {
      waiting.push(copy);
      return burst;
    }
    const copies = [copy];
    waiting = copies;
    burst = inTurn(() => {
      waiting = null;
      return client.query(new CopyBurst(copies)).done;
    });
    return burst;
  };
  const apart = <T>(work: () => Promise<T>): Promise<T> => {
    waiting = null;
    return inTurn(work);
  };
  return {
    query: (statement: Statement) => apart(() => runOn(client, statement)),
    copy: (text: string, chunks: readonly Buffer[] | AsyncIterable<Buffer>) =>
      Array.isArray(chunks)
        ? joinBurst({ text, chunks: chunks as readonly Buffer[] })
        : apart(() => copyInto(client, text, chunks as AsyncIterable<Buffer>)),
  } as unknown as Tx;
};

const transactOnce = async <T>(pool: pg.Pool, begin: string, work: (tx: Tx) => Promise<T>): Promise<T> => {
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    await client.query(begin);
    const tx = makeTx(client);
    const result = await work(tx);
    await tx.query({ text: "commit" });
    return result;
  } catch (error) {
    await client.query("rollback").catch((failure: Error) => {
      broken = failure;
    });
    // After a query timeout the connection still waits for the old answer: never reuse it.
    if (sqlState(error) === "" && error instanceof Error && /timeout|Connection terminated/i.test(error.message)) broken = error;
    throw error;
  } finally {
    client.release(broken);
  }
};

const transact = async <T>(pool: pg.Pool, begin: string, work: (tx: Tx) => Promise<T>): Promise<T> => {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await transactOnce(pool, begin, work);
    } catch (error) {
      countError(error);
      if (attempt >= 5 || !retryable.has(sqlState(error))) throw error;
    }
  }
};

/**
 * Opens the pool; connects on first use. `max` is the number of connections this process may hold (default 10). `deadlines: false`:
 * of statements and of transactions that wait, for work on a whole account that nobody waits for.
 */
export const openDatabase = (options: { url: string; max?: number; log: Logger; deadlines?: false }): Database => {
  const pool = new pg.Pool({
    connectionString: options.url,
    max: options.max ?? 10,
    connectionTimeoutMillis: 5_000,
    idleTimeoutMillis: 30_000,
    maxLifetimeSeconds: 3_600,
    ...(options.deadlines !== false && {
      statement_timeout: 30_000,
      query_timeout: 40_000,
      idle_in_transaction_session_timeout: 60_000,
    }),
    lock_timeout: 10_000,
    keepAlive: true,
    application_name: "samebox",
    types: parsers,
  });
  pool.on("error", (err) => {
    countError(err);
    options.log.warn({ err }, "idle database connection lost");
  });
  const showPool = (): void => {
    dbPoolConnections.set({ state: "used" }, pool.totalCount - pool.idleCount);
    dbPoolConnections.set({ state: "idle" }, pool.idleCount);
    dbPoolConnections.set({ state: "waiting" }, pool.waitingCount);
  };
  pool.on("acquire", showPool);
  pool.on("release", showPool);
  const prisma = new PrismaClient({ adapter: new PrismaPg(pool) });
  let closing: Promise<void> | undefined;
  return {
    url: options.url,
    prisma,
    query: <Row>(statement: Statement) =>
      runOn<Row>(pool, statement).catch((error: unknown) => {
        countError(error);
        throw error;
      }),
    transaction: (work) => transact(pool, "begin", work),
    transactionFrom: (begin, work) => transact(pool, begin, work),
    close: () =>
      (closing ??= (async () => {
        await prisma.$disconnect();
        // Prisma leaves a pool it was given open.
        if (!pool.ended) await pool.end();
      })()),
  };
};
