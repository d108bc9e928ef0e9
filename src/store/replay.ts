/**
 * Replays the inputs of an account into an empty database and holds the result against what is stored (I5). The database is one of
 * its own beside the daemon's, whose clock says what it said when the input was recorded; nothing is written anywhere else.
 */
import pg from "pg";
import { uuidv7 } from "uuidv7";
import type { AccountId, TenantId } from "../model/ids.ts";
import type { Logger } from "../telemetry/log.ts";
import type { NewAccountFacts } from "./account-writes.ts";
import { storedOctets } from "./blob-reads.ts";
import { type Database, openDatabase, type Queryable, type Tx } from "./database.ts";
import { listInputs, readFacts, type RecordedInput, replayInput } from "./inputs.ts";
import { virtualShardOf } from "./leases.ts";
import { migrate } from "./migrate.ts";

/** It cannot be replayed, or came out otherwise; the message says why in plain words. */
export class ReplayError extends Error {
  override readonly name = "ReplayError";
}

/** Found before those of PostgreSQL, by defaults of columns, too. Several of one transaction keep their order. */
const clock = `
  create schema replay;
  create sequence replay.ticks;
  create function replay.now() returns timestamptz language sql stable as
    $$ select coalesce(nullif(current_setting('samebox.now', true), '')::timestamptz, pg_catalog.now()) $$;
  create function replay.clock_timestamp() returns timestamptz language sql volatile as
    $$ select replay.now() + nextval('replay.ticks') * interval '1 microsecond' $$;`;

const run = async (url: string, ...statements: readonly string[]): Promise<void> => {
  const client = new pg.Client({ connectionString: url, application_name: "samebox replay" });
  await client.connect();
  try {
    for (const statement of statements) await client.query(statement);
  } finally {
    await client.end();
  }
};

export interface Scratch extends AsyncDisposable {
  readonly db: Database;
}

/** An empty database on the same server; whoever runs it needs the right to make one. */
export const openScratch = async (source: Database, log: Logger): Promise<Scratch> => {
  const name = `samebox_replay_${uuidv7().replaceAll("-", "")}`;
  const url = new URL(source.url);
  url.pathname = `/${name}`;
  await run(source.url, `create database ${name}`);
  try {
    await run(url.href, clock, `alter database ${name} set search_path = replay, public, pg_catalog`);
    await migrate(url.href, log);
  } catch (error) {
    await run(source.url, `drop database ${name}`);
    throw error;
  }
  const db = openDatabase({ url: url.href, max: 2, log });
  const dispose = async (): Promise<void> => {
    await db.close();
    await run(source.url, `drop database ${name} with (force)`);
  };
  return { db, [Symbol.asyncDispose]: dispose };
};

interface Owner {
  readonly tenantId: TenantId;
  readonly accountId: AccountId;
}

/** What is there before anything is decided. */
const makeAccount = async (tx: Tx, { tenantId, accountId }: Owner, { name, email, policy }: NewAccountFacts): Promise<void> => {
  await tx.query({ text: `insert into tenants (id, name) values ($1, 'replay') on conflict do nothing`, values: [tenantId] });
  await tx.query({
    text: `insert into accounts (id, tenant_id, name, email, virtual_shard, policy) values ($1, $2, $3, $4, $5, $6)`,
    values: [accountId, tenantId, name, email, virtualShardOf(accountId), JSON.stringify(policy)],
  });
};

async function* inputsOf(source: Queryable, accountId: AccountId): AsyncGenerator<RecordedInput> {
  for (let after = 0n; ;) {
    const page = await listInputs(source, accountId, after);
    yield* page;
    after = page.at(-1)?.ordinal ?? after;
    if (page.length === 0) return;
  }
}

const madeBefore = "it was made before inputs were kept.";

const missingBeginning = ({ ordinal, at }: RecordedInput): string =>
  ordinal === 1n
    ? `The account cannot be replayed: ${madeBefore}`
    : `The account cannot be replayed from its beginning: the first input that is kept is of ${at.toISOString()} (SAMEBOX_INPUT_DAYS).`;

const replayAll = async (source: Queryable, { db }: Scratch, accountId: AccountId): Promise<number> => {
  const { rows } = await source.query<{ tenant_id: TenantId }>({
    text: `select tenant_id from accounts where id = $1`,
    values: [accountId],
  });
  const tenantId = rows[0]?.tenant_id;
  if (tenantId === undefined) throw new ReplayError("There is no such account.");
  const owner = { tenantId, accountId };
  let count = 0;
  for await (const input of inputsOf(source, accountId)) {
    if (count === 0 && input.name !== "account.made") throw new ReplayError(missingBeginning(input));
    await db.transaction(async (tx) => {
      await tx.query({ name: "replay_now", text: `select set_config('samebox.now', $1, true)`, values: [input.beganAt] });
      if (count === 0) await makeAccount(tx, owner, readFacts(input) as NewAccountFacts);
      await replayInput(tx, owner, input, (blob) => storedOctets(source, accountId, blob));
    });
    count += 1;
  }
  if (count === 0) throw new ReplayError(`The account has no inputs: ${madeBefore}`);
  return count;
};

/** What the account is, table by table, without what no decision made: secrets, progress, when to look next. */
const compared: Readonly<Record<string, readonly string[]>> = {
  accounts: [],
  endpoints: (
    "credentials credentials_version auth_type auth_user next_attempt_at last_success_at " +
    "progress_done progress_total backfill_started_at created_at"
  ).split(" "),
  mailboxes: [],
  upstream_mailboxes: [],
  messages: [],
  placements: [],
  bindings: [],
  commands: ["planned_at", "due_at"],
  retrievals: [],
  intents: ["created_at"],
  holds: [],
  inputs: [],
  changes: [],
};

const linesOf = (table: string): string =>
  `select (to_jsonb(t) - '{${(compared[table] ?? []).join(",")}}'::text[])::text as line from ${table} t where t.${table === "accounts" ? "id" : "account_id"} = $1`;

const printOf = async (db: Queryable, table: string, accountId: AccountId): Promise<string> => {
  const text = `select md5(coalesce(string_agg(line, chr(10) order by line collate "C"), '')) as print from (${linesOf(table)}) lines`;
  const { rows } = await db.query<{ print: string }>({ text, values: [accountId] });
  return rows[0]?.print ?? "";
};

const readLines = async (db: Queryable, table: string, accountId: AccountId): Promise<ReadonlySet<string>> => {
  const { rows } = await db.query<{ line: string }>({ text: linesOf(table), values: [accountId] });
  return new Set(rows.map(({ line }) => line));
};

export interface Difference {
  readonly table: string;
  readonly stored: readonly string[];
  readonly replayed: readonly string[];
}

const compareAll = async (source: Queryable, { db }: Scratch, accountId: AccountId): Promise<Difference[]> => {
  const differences: Difference[] = [];
  for (const table of Object.keys(compared)) {
    if ((await printOf(source, table, accountId)) === (await printOf(db, table, accountId))) continue;
    const [stored, replayed] = [await readLines(source, table, accountId), await readLines(db, table, accountId)];
    differences.push({
      table,
      stored: [...stored.difference(replayed)].sort(),
      replayed: [...replayed.difference(stored)].sort(),
    });
  }
  return differences;
};

export interface Replayed {
  readonly inputs: number;
  /** Rows that are not the same in both; none: the inputs rebuilt the account. */
  readonly differences: readonly Difference[];
}

/**
 * Replays all inputs of an account, as it is at this moment; a daemon may go on with it.
 * @throws ReplayError where the first inputs are not kept any more.
 */
export const replayAccount = (source: Database, scratch: Scratch, accountId: AccountId): Promise<Replayed> =>
  source.transaction(async (tx) => {
    await tx.query({ text: "set transaction isolation level repeatable read, read only" });
    const inputs = await replayAll(tx, scratch, accountId);
    return { inputs, differences: await compareAll(tx, scratch, accountId) };
  });
