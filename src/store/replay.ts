/**
 * Replays the inputs of an account into an empty database and holds the result against what is stored (I5). The database is one of
 * its own beside the daemon's, whose clock says what it said when the input was recorded; nothing is written anywhere else.
 */
import type { AccountId, TenantId } from "../model/ids.ts";
import type { NewAccountFacts } from "./account-writes.ts";
import { storedOctets } from "./blob-reads.ts";
import type { Database, Queryable, Tx } from "./database.ts";
import { listInputs, readFacts, type RecordedInput, replayInput } from "./inputs.ts";
import { virtualShardOf } from "./leases.ts";
import { compareAccounts, type Difference } from "./likeness.ts";
import type { Scratch } from "./scratch.ts";

/** It cannot be replayed, or came out otherwise; the message says why in plain words. */
export class ReplayError extends Error {
  override readonly name = "ReplayError";
}

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
    return { inputs, differences: await compareAccounts(tx, scratch.db, accountId) };
  });
