/**
 * The one way to change what an account holds: an input is decided in a transaction that holds the account's row, and kept
 * beside what it changed. Facts, the state that earlier inputs left, the recorded clock and ids made from the input's own are all
 * that a decision is made of, so that replaying the inputs rebuilds the account (I5).
 */
import { deserialize, serialize } from "node:v8";
import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { uuidv7 } from "uuidv7";
import type { Fence } from "../model/account.ts";
import { invariant } from "../model/failure.ts";
import type { AccountId, TenantId } from "../model/ids.ts";
import type { Octets } from "../model/octets.ts";
import { type AccountTx, inAccount, type InputStamp, type InputTx, lockOwned } from "./account-tx.ts";
import type { BlobRef } from "./blob-reads.ts";
import type { Database, Queryable, Statement, Tx } from "./database.ts";

export type InputKind = "observation" | "intent" | "outcome" | "tick";

/** Stored octets of the account, wherever its inputs are replayed. */
export type StoredOctets = (blob: BlobRef) => Promise<Octets>;

/** How facts are kept that have more in them than data, as octets have, which the store keeps already. */
interface Keeping<Facts, Kept> {
  readonly keep: (facts: Facts) => Kept;
  readonly revive: (kept: Kept, stored: StoredOctets) => Promise<Facts>;
}

/** Decides about facts. Its own reads are of the account's rows; clock and ids come from `account.input`. */
export interface Input<Facts, Result> {
  readonly kind: InputKind;
  readonly name: string;
  readonly ingest: (account: InputTx, facts: Facts) => Promise<Result>;
  readonly keep: (facts: Facts) => unknown;
  readonly revive: (kept: unknown, stored: StoredOctets) => Promise<Facts>;
}

const known = new Map<string, Input<unknown, unknown>>();

/**
 * `name` is kept with what is recorded: it means the same in all later versions. Facts are data, and nothing secret is among
 * them; `keeping` makes data of what is more.
 */
export const defineInput = <Facts, Result, Kept = Facts>(
  kind: InputKind,
  name: string,
  ingest: (account: InputTx, facts: Facts) => Promise<Result>,
  keeping?: Keeping<Facts, Kept>,
): Input<Facts, Result> => {
  invariant(!known.has(name), `two inputs are called ${name}`);
  const input: Input<Facts, Result> = {
    kind,
    name,
    ingest,
    keep: keeping?.keep ?? ((facts) => facts),
    revive: (kept, stored) => keeping?.revive(kept as Kept, stored) ?? Promise.resolve(kept as Facts),
  };
  known.set(name, input as Input<unknown, unknown>);
  return input;
};

const tailDigits = 12;

/** Ids that follow an input's own, in its random part. */
const stampOf = (id: string, at: Date): InputStamp => {
  const head = id.slice(0, -tailDigits);
  let tail = BigInt(`0x${id.slice(-tailDigits)}`);
  const freshId = (): string => {
    tail = BigInt.asUintN(4 * tailDigits, tail + 1n);
    return head + tail.toString(16).padStart(tailDigits, "0");
  };
  return { id, at, freshId };
};

const writes = /\binsert into\b|\bdelete from\b|(?<!\bfor )(?<!\bfor no key )\bupdate\b/;

/** The transaction as its input sees it, with a note of whether anything was written. */
const noting = (tx: Tx): { readonly tx: Tx; wrote: boolean } => {
  const noted = {
    wrote: false,
    tx: {
      query: async (statement: Statement) => {
        const result = await tx.query(statement);
        if (result.rowCount > 0 && writes.test(statement.text)) noted.wrote = true;
        return result;
      },
      copy: (...args: Parameters<Tx["copy"]>) => {
        noted.wrote = true;
        return tx.copy(...args);
      },
    } as unknown as Tx,
  };
  return noted;
};

const decide = async <Result>(
  account: AccountTx,
  input: InputStamp,
  work: (inside: InputTx) => Promise<Result>,
): Promise<{ readonly result: Result; readonly wrote: boolean }> => {
  const { tx } = account;
  const noted = noting(tx);
  const result = await work(Object.assign(account, { input, tx: noted.tx }));
  Object.assign(account, { tx });
  return { result, wrote: noted.wrote };
};

type NewInput = Omit<RecordedInput, "ordinal" | "beganAt">;

const keepInput = async ({ tx, accountId, tenantId }: AccountTx, input: NewInput): Promise<void> => {
  const { id, kind, name, at, seqBefore, seqAfter, facts } = input;
  await tx.query({
    name: "input_keep",
    text: `insert into inputs (account_id, ordinal, tenant_id, id, kind, name, at, seq_before, seq_after, facts)
           select $1, coalesce((select max(ordinal) from inputs where account_id = $1), 0) + 1, $2, $3, $4, $5, $6, $7, $8, $9`,
    values: [accountId, tenantId, id, kind, name, at, seqBefore, seqAfter, facts],
  });
};

/** What changes nothing is not kept: it would change nothing again. */
const record = async <Facts, Result>(account: AccountTx, input: Input<Facts, Result>, facts: Facts): Promise<Result> => {
  const { kind, name } = input;
  const { headSeq: seqBefore } = account;
  const stamp = stampOf(uuidv7(), new Date());
  // Before it is decided: what the caller keeps in memory of the account may change with it.
  const kept = serialize(input.keep(facts));
  const { result, wrote } = await decide(account, stamp, (inside) => input.ingest(inside, facts));
  if (!wrote) return result;
  const { id, at } = stamp;
  await keepInput(account, { id, kind, name, at, seqBefore, seqAfter: account.headSeq, facts: zstdCompressSync(kept) });
  return result;
};

/** Which account, and who may write of it. */
export interface Lane {
  readonly db: Database;
  readonly fence: Fence;
  readonly accountId: AccountId;
}

/** @throws FencedError, AccountGoneError; whatever the input throws. Nothing is written then. */
export const ingest = <Facts, Result>(
  { db, fence, accountId }: Lane,
  input: Input<Facts, Result>,
  facts: Facts,
): Promise<Result> => inAccount(db, fence, accountId, (account) => record(account, input, facts));

/** For what its owner wants, in a transaction that holds more; null: the tenant has no such account. */
export const ingestOwned = async <Facts, Result>(
  tx: Tx,
  owner: { readonly tenantId: TenantId; readonly accountId: AccountId },
  input: Input<Facts, Result>,
  facts: Facts,
): Promise<Result | null> => {
  const account = await lockOwned(tx, owner);
  return account === null ? null : record(account, input, facts);
};

export interface RecordedInput {
  readonly ordinal: bigint;
  readonly id: string;
  readonly kind: InputKind;
  readonly name: string;
  readonly at: Date;
  /** As PostgreSQL writes it, to the microsecond. */
  readonly beganAt: string;
  readonly seqBefore: bigint;
  readonly seqAfter: bigint;
  readonly facts: Buffer;
}

/** In their order, a page after `after`. */
export const listInputs = async (db: Queryable, accountId: AccountId, after: bigint): Promise<RecordedInput[]> => {
  const { rows } = await db.query<RecordedInput>({
    name: "inputs_list",
    text: `select ordinal, id, kind, name, at, began_at::text as "beganAt", seq_before as "seqBefore", seq_after as "seqAfter", facts
           from inputs where account_id = $1 and ordinal > $2 order by ordinal limit 100`,
    values: [accountId, after],
  });
  return rows;
};

/** Facts are large, and a statement has seconds. */
const forgottenAtOnce = 200;

/**
 * Forgets what is older, for `budgetMs` at each call; the last input of an account stays, so that the next one follows it.
 */
export const forgetInputs = async (db: Database, days: number, { budgetMs = 5_000 } = {}): Promise<void> => {
  const until = Date.now() + budgetMs;
  for (let forgotten = forgottenAtOnce; forgotten === forgottenAtOnce && Date.now() < until;) {
    const { rowCount } = await db.query({
      name: "inputs_forget",
      text: `delete from inputs using (
               select i.account_id, i.ordinal from inputs i where i.at < now() - make_interval(days => $1)
                 and exists (select from inputs n where n.account_id = i.account_id and n.ordinal > i.ordinal)
               order by i.at limit $2) old
             where inputs.account_id = old.account_id and inputs.ordinal = old.ordinal`,
      values: [days, forgottenAtOnce],
    });
    forgotten = rowCount;
  }
};

/** What an input was decided of, as it was kept. */
export const readFacts = ({ facts }: Pick<RecordedInput, "facts">): unknown => deserialize(zstdDecompressSync(facts));

/**
 * Decides again about what was recorded, as it was decided then; PostgreSQL's own clock has to say `beganAt`.
 * @throws InvariantError where nothing of this version decides about inputs of this name.
 */
export const replayInput = async (
  tx: Tx,
  owner: { readonly tenantId: TenantId; readonly accountId: AccountId },
  recorded: RecordedInput,
  stored: StoredOctets,
): Promise<void> => {
  const { id, kind, name, at, facts } = recorded;
  const input = known.get(name);
  invariant(input !== undefined, `no input is called ${name}`);
  const account = await lockOwned(tx, owner);
  invariant(account !== null, "an account that is replayed is there");
  const { headSeq: seqBefore } = account;
  const revived = await input.revive(readFacts(recorded), stored);
  await decide(account, stampOf(id, at), (inside) => input.ingest(inside, revived));
  await keepInput(account, { id, kind, name, at, seqBefore, seqAfter: account.headSeq, facts });
};
