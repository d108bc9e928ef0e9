/**
 * The one way to change an account's canonical state: a transaction that holds the shard's fence and the account's row,
 * and writes the change log beside the state, so that `seq` is gapless and in commit order (I10).
 */
import type { Fence, Policy } from "../model/account.ts";
import type { DecidedChange } from "../model/change.ts";
import type { AccountId, TenantId } from "../model/ids.ts";
import type { Pop3Evidence } from "../model/pop3-devices.ts";
import { CopyRows } from "./copy-binary.ts";
import { chainHash } from "./change-chain.ts";
import type { Database, Tx } from "./database.ts";
import { checkFence } from "./leases.ts";

export interface AccountTx {
  readonly tx: Tx;
  readonly accountId: AccountId;
  readonly tenantId: TenantId;
  readonly policy: Policy;
  pop3Evidence: Pop3Evidence;
  readonly stateEpoch: number;
  /** The last number given out; changes recorded in this transaction come after it. */
  headSeq: bigint;
  /** The hash of the change of that number: store/change-chain.ts. */
  headHash: string;
}

/** Of the input that is being decided: which it is, and all that its decision may take from outside of its facts and the state. */
export interface InputStamp {
  readonly id: string;
  /** What counts as now. */
  readonly at: Date;
  /** The next id for what is made; the same ones in the same order when the input is replayed. */
  freshId(): string;
}

/** An account in a transaction that decides about an input: only this writes the log, so that no entry is anonymous (I9). */
export interface InputTx extends AccountTx {
  readonly input: InputStamp;
}

/** The account is deleted; whoever works on it must stop. */
export class AccountGoneError extends Error {
  override readonly name = "AccountGoneError";
}

interface LockedRow {
  readonly tenant_id: TenantId;
  readonly head_seq: bigint;
  readonly head_hash: Buffer;
  readonly state_epoch: number;
  readonly policy: Policy;
  readonly pop3_evidence: Pop3Evidence;
}

const lockedColumns = "a.tenant_id, a.head_seq, a.head_hash, a.state_epoch, a.policy, a.pop3_evidence";

const toAccountTx = (tx: Tx, accountId: AccountId, row: LockedRow): AccountTx => ({
  tx,
  accountId,
  tenantId: row.tenant_id,
  policy: row.policy,
  pop3Evidence: row.pop3_evidence,
  stateEpoch: row.state_epoch,
  headSeq: row.head_seq,
  headHash: row.head_hash.toString("hex"),
});

/** @throws FencedError, AccountGoneError; whatever `work` throws. Nothing is written then. */
export const inAccount = <T>(
  db: Database,
  fence: Fence,
  accountId: AccountId,
  work: (account: AccountTx) => Promise<T>,
): Promise<T> =>
  db.transaction(async (tx) => {
    const { rows } = await tx.query<LockedRow>({
      name: "account_lock",
      text: `select ${lockedColumns} from shards s, accounts a
             where s.id = $1 and s.owner = $2 and s.epoch = $3 and a.id = $4 and a.deleted_at is null
             for share of s for update of a`,
      values: [fence.shard, fence.owner, fence.epoch, accountId],
    });
    const row = rows[0];
    if (row === undefined) {
      await checkFence(tx, fence);
      throw new AccountGoneError("The account was deleted.");
    }
    return work(toAccountTx(tx, accountId, row));
  });

/**
 * The account of a tenant, locked for the rest of the transaction; null when the tenant has none of that id. For what its owner
 * wants: no shard's fence is needed, because the row's lock alone makes it one among the passes of the lane.
 */
export const lockOwned = async (
  tx: Tx,
  owner: { readonly tenantId: TenantId; readonly accountId: AccountId },
): Promise<AccountTx | null> => {
  const { rows } = await tx.query<LockedRow>({
    name: "account_lock_owned",
    text: `select ${lockedColumns} from accounts a where a.id = $1 and a.tenant_id = $2 and a.deleted_at is null for update`,
    values: [owner.accountId, owner.tenantId],
  });
  const row = rows[0];
  return row === undefined ? null : toAccountTx(tx, owner.accountId, row);
};

/**
 * The account of a tenant as it is at this moment, and so is all that is read after it: the passes of the lane go on meanwhile. To be
 * asked for first in its transaction, which can then write nothing.
 */
export const readOwned = async (
  tx: Tx,
  owner: { readonly tenantId: TenantId; readonly accountId: AccountId },
): Promise<AccountTx | null> => {
  await tx.query({ text: "set transaction isolation level repeatable read, read only" });
  const { rows } = await tx.query<LockedRow>({
    name: "account_read_owned",
    text: `select ${lockedColumns} from accounts a where a.id = $1 and a.tenant_id = $2 and a.deleted_at is null`,
    values: [owner.accountId, owner.tenantId],
  });
  const row = rows[0];
  return row === undefined ? null : toAccountTx(tx, owner.accountId, row);
};

const columns =
  "account_id, seq, tenant_id, state_epoch, at, kind, message_id, mailbox_id, placement_id, before, after, source, endpoint_id, device_id, input_id, reason, rule, confidence, evidence, hash";

/**
 * Appends changes to the log and wakes its readers when the transaction commits.
 * @returns the number before the first one: change `i` has the number `base + i + 1`.
 */
export const appendChanges = async (account: InputTx, changes: readonly DecidedChange[]): Promise<bigint> => {
  const { id: inputId, at } = account.input;
  const base = account.headSeq;
  if (changes.length === 0) return base;
  const rows = new CopyRows();
  const { accountId, stateEpoch } = account;
  let { headSeq: seq, headHash } = account;
  for (const change of changes) {
    seq += 1n;
    headHash = chainHash(headHash, { ...change, accountId, seq, stateEpoch, at });
    rows
      .row(20)
      .uuid(accountId)
      .int8(seq)
      .uuid(account.tenantId)
      .int4(stateEpoch)
      .timestamp(at)
      .text(change.kind)
      .uuid(change.messageId)
      .uuid(change.mailboxId)
      .uuid(change.placementId)
      .jsonb(change.before)
      .jsonb(change.after)
      .text(change.source)
      .uuid(change.endpointId)
      .text(change.deviceId)
      .uuid(inputId)
      .text(change.reason)
      .text(change.rule)
      .float8(change.confidence)
      .jsonb(change.evidence)
      .bytes(Buffer.from(headHash, "hex"));
  }
  // Taken before the first wait: whatever is prepared meanwhile stands after these.
  account.headSeq = seq;
  account.headHash = headHash;
  await account.tx.copy(`copy changes (${columns}) from stdin (format binary)`, rows.chunks());
  await account.tx.query({
    name: "account_advance",
    text: `with advanced as (update accounts set head_seq = $2, head_hash = $3 where id = $1) select pg_notify('samebox_changes', $4)`,
    values: [accountId, seq, Buffer.from(headHash, "hex"), accountId],
  });
  return base;
};
