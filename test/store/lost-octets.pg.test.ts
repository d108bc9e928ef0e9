/** Octets that the store has lost, stored once more. */
import { expect, it } from "vitest";
import { memoryOctets } from "../../src/endpoints/octets.ts";
import { type AccountTx, type InputStamp, lockOwned } from "../../src/store/account-tx.ts";
import { type Database } from "../../src/store/database.ts";
import { erasePurged } from "../../src/store/intents.ts";
import { listLostOctets, type LostOctets, restoreOctets } from "../../src/store/resync.ts";
import { MailRows } from "../support/mail-rows.ts";
import { useDatabase } from "../support/open-database.ts";

let db: Database;

useDatabase((opened) => {
  db = opened;
});

const inAccount = <T>({ tenantId, accountId }: MailRows, work: (account: AccountTx) => Promise<T>): Promise<T> =>
  db.transaction(async (tx) => work((await lockOwned(tx, { tenantId, accountId })) as AccountTx));

const blobsOf = async ({ accountId }: MailRows): Promise<number> => {
  const { rows } = await db.query<{ n: bigint }>({
    text: `select count(*) as n from blobs where account_id = $1`,
    values: [accountId],
  });
  return Number(rows[0]?.n);
};

const lostOf = async ({ accountId, endpointId }: MailRows): Promise<LostOctets[]> => {
  const lost: LostOctets[] = [];
  for await (const page of listLostOctets(db, accountId, endpointId)) lost.push(...page);
  return lost;
};

const input: InputStamp = { id: "purge", at: new Date(), freshId: () => "unused" };

it("are there again, unless what they belong to was purged while they were read", async () => {
  const rows = await MailRows.account(db);
  const mailboxId = await rows.mailbox("INBOX");
  const kept = await rows.message({ placements: [{ mailboxId, uid: 1 }] });
  const purged = await rows.message({ placements: [{ mailboxId, uid: 2, lifecycle: "purged" }] });
  await db.query({ text: `delete from blobs where account_id = $1`, values: [rows.accountId] });
  const [first, second] = await lostOf(rows);
  expect([first?.messageId, second?.messageId]).toEqual([kept.id, purged.id]);
  if (first === undefined || second === undefined) return;
  await inAccount(rows, (account) => erasePurged({ ...account, input }, [purged.id]));
  expect(await inAccount(rows, (account) => restoreOctets(account, second, memoryOctets(purged.octets)))).toBe(false);
  expect(await blobsOf(rows)).toBe(0);
  expect(await inAccount(rows, (account) => restoreOctets(account, first, memoryOctets(kept.octets)))).toBe(true);
  expect(await lostOf(rows)).toEqual([]);
});
