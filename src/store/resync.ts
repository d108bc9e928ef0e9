/** Wishes to read everything of an account anew: each is kept with its endpoints until their lanes have done it. */
import type { AccountId, EndpointId, MailboxId, MessageId } from "../model/ids.ts";
import { type Octets, partSize } from "../model/octets.ts";
import type { AccountTx } from "./account-tx.ts";
import { requestSync } from "./account-writes.ts";
import { storeBlobsIn } from "./blob-writes.ts";
import type { Queryable, Tx } from "./database.ts";

/** Asks all endpoints. One that is at it already reads to its end and then once more, for what it had passed before. */
export const requestResync = async (tx: Tx, accountId: AccountId): Promise<void> => {
  await requestSync(tx, accountId);
  await tx.query({
    name: "resync_wish",
    // As precise as a Date is, for the lane answers with what it was told.
    text: `update endpoints set resync_asked_at = date_trunc('milliseconds', clock_timestamp()) where account_id = $1`,
    values: [accountId],
  });
};

/** Everything was read since `askedAt`. @returns false where somebody has asked again. */
export const endResync = async (account: AccountTx, endpointId: EndpointId, askedAt: Date): Promise<boolean> => {
  const { rowCount } = await account.tx.query({
    name: "resync_done",
    text: `update endpoints set resync_asked_at = null where account_id = $1 and id = $2 and resync_asked_at <= $3`,
    values: [account.accountId, endpointId, askedAt],
  });
  return rowCount > 0;
};

/** An item whose message is stored by name only: octets of it are missing from the store. */
export interface LostOctets {
  readonly messageId: MessageId;
  readonly mailboxId: MailboxId;
  /** IMAP; 0: an item of a maildrop. */
  readonly uid: number;
  readonly uidl: string;
  readonly occurrence: number;
  readonly sha256: Buffer;
}

/** Messages looked through by one statement. */
const pageMessages = 5_000;

/** Lost octets that the endpoint shows an item of, page by page. */
export async function* listLostOctets(
  db: Queryable,
  accountId: AccountId,
  endpointId: EndpointId,
): AsyncGenerator<readonly LostOctets[]> {
  for (let after: MessageId | null = null; ;) {
    const { rows }: { rows: { id: MessageId; sha256: Buffer; lost: boolean }[] } = await db.query({
      name: "octets_lost",
      text: `with page as materialized (select id, sha256, size from messages
               where account_id = $1 and durability = 'durable' and ($2::uuid is null or id > $2) order by id limit $3),
             judged as (select id, sha256, (select count(*) from blobs b where b.account_id = $1 and b.sha256 = page.sha256)
                          < greatest(1, ceil(size::numeric / $4)) as lost from page)
             select id, sha256, lost from judged where lost or id = (select id from page order by id desc limit 1) order by id`,
      values: [accountId, after, pageMessages, partSize],
    });
    const last = rows.at(-1);
    if (last === undefined) return;
    after = last.id;
    const lost = rows.filter((row) => row.lost);
    if (lost.length > 0) yield await itemsOf(db, accountId, endpointId, lost);
  }
}

const itemsOf = async (
  db: Queryable,
  accountId: AccountId,
  endpointId: EndpointId,
  lost: readonly { readonly id: MessageId; readonly sha256: Buffer }[],
): Promise<readonly LostOctets[]> => {
  const { rows } = await db.query<LostOctets & { uid: bigint }>({
    name: "octets_lost_items",
    text: `select distinct on (w.id) w.id as "messageId", b.mailbox_id as "mailboxId", b.uid, b.uidl, b.occurrence, w.sha256
           from unnest($3::uuid[], $4::bytea[]) as w(id, sha256)
           join placements p on p.account_id = $1 and p.message_id = w.id
           join bindings b on b.account_id = $1 and b.placement_id = p.id and b.endpoint_id = $2 and b.active
           order by w.id`,
    values: [accountId, endpointId, lost.map(({ id }) => id), lost.map(({ sha256 }) => sha256)],
  });
  return rows.map((row) => ({ ...row, uid: Number(row.uid) }));
};

/** Stores lost octets again. @returns whether they were still wanted: what was purged since is not brought back. */
export const restoreOctets = async (
  account: AccountTx,
  { messageId, sha256 }: Pick<LostOctets, "messageId" | "sha256">,
  octets: Octets,
): Promise<boolean> => {
  const { rowCount } = await account.tx.query({
    name: "octets_lost_wanted",
    text: `select from messages where account_id = $1 and id = $2 and sha256 = $3 and durability = 'durable'`,
    values: [account.accountId, messageId, sha256],
  });
  if (rowCount === 0) return false;
  await storeBlobsIn(account.tx, account, [octets]);
  return true;
};
