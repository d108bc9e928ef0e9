/** Two accounts, row by row, whatever their size: hashes are compared first, and only rows that are not the same are read. */
import type { AccountId } from "../model/ids.ts";
import type { Queryable } from "./database.ts";

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

/** Of rows that only one side has: how many there are, and the first of them. */
export interface Unlike {
  readonly count: number;
  readonly first: readonly string[];
}

export interface Difference {
  readonly table: string;
  readonly stored: Unlike;
  readonly replayed: Unlike;
}

const shown = 20;

/** Rows of the account in a table, each with its hash. `$1`: the account. */
const linesOf = (table: string): string =>
  `(select line, md5(line) as hash from
     (select (to_jsonb(t) - '{${(compared[table] ?? []).join(",")}}'::text[])::text as line
      from ${table} t where t.${table === "accounts" ? "id" : "account_id"} = $1) as l) as lines`;

/** Of each of up to 256 heaps of rows: how many, and the sum of what their hashes begin with. */
const heapsOf = async (db: Queryable, table: string, accountId: AccountId): Promise<ReadonlyMap<string, string>> => {
  const { rows } = await db.query<{ heap: string; print: string }>({
    text: `select left(hash, 2) as heap, count(*) || ' ' || sum(('x' || substr(hash, 3, 15))::bit(60)::bigint) as print from ${linesOf(table)} group by 1`,
    values: [accountId],
  });
  return new Map(rows.map(({ heap, print }) => [heap, print]));
};

const hashesOf = async (
  db: Queryable,
  { table, accountId, heaps }: { readonly table: string; readonly accountId: AccountId; readonly heaps: readonly string[] },
): Promise<ReadonlySet<string>> => {
  const { rows } = await db.query<{ hash: string }>({
    text: `select hash from ${linesOf(table)} where left(hash, 2) = any($2::text[])`,
    values: [accountId, heaps],
  });
  return new Set(rows.map(({ hash }) => hash));
};

const readUnlike = async (db: Queryable, table: string, accountId: AccountId, hashes: ReadonlySet<string>): Promise<Unlike> => {
  const some = [...hashes].slice(0, shown);
  const { rows } = await db.query<{ line: string }>({
    text: `select distinct line from ${linesOf(table)} where hash = any($2::text[]) order by line`,
    values: [accountId, some],
  });
  return { count: hashes.size, first: rows.map(({ line }) => line) };
};

/** Tables that are not the same in both. No two rows of an account are the same, for all have their key among them. */
export const compareAccounts = async (stored: Queryable, replayed: Queryable, accountId: AccountId): Promise<Difference[]> => {
  const differences: Difference[] = [];
  for (const table of Object.keys(compared)) {
    const [here, there] = [await heapsOf(stored, table, accountId), await heapsOf(replayed, table, accountId)];
    const heaps = [...new Set([...here.keys(), ...there.keys()])].filter((heap) => here.get(heap) !== there.get(heap));
    if (heaps.length === 0) continue;
    const which = { table, accountId, heaps };
    const [was, is] = [await hashesOf(stored, which), await hashesOf(replayed, which)];
    differences.push({
      table,
      stored: await readUnlike(stored, table, accountId, was.difference(is)),
      replayed: await readUnlike(replayed, table, accountId, is.difference(was)),
    });
  }
  return differences;
};
