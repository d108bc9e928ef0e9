/** What the store has of mail that is shown again, and of what was said of it: found one by one. */
import { createHash } from "node:crypto";
import { expect, it } from "vitest";
import type { AccountId, MessageId, PlacementId } from "../../src/model/ids.ts";
import { type AccountTx, lockOwned } from "../../src/store/account-tx.ts";
import { type Database } from "../../src/store/database.ts";
import { loadOpinions } from "../../src/store/intent-slices.ts";
import { loadAlike } from "../../src/store/maildrops.ts";
import { MailRows } from "../support/mail-rows.ts";
import { useDatabase } from "../support/open-database.ts";

let db: Database;

useDatabase((opened) => {
  db = opened;
});

const inAccount = <T>({ tenantId, accountId }: MailRows, work: (account: AccountTx) => Promise<T>): Promise<T> =>
  db.transaction(async (tx) => work((await lockOwned(tx, { tenantId, accountId })) as AccountTx));

const hashOf = (octets: Buffer | string): Buffer => createHash("sha256").update(octets).digest();

it("a message is known by its octets and by its normal form", async () => {
  const rows = await MailRows.account(db);
  const [worded, plain, other] = [await rows.message(), await rows.message(), await rows.message()];
  const full = hashOf("normal form");
  await db.query({
    text: `update messages set h_full = $3 where account_id = $1 and id = $2`,
    values: [rows.accountId, worded.id, full],
  });
  const unknown = hashOf("nobody's");
  const known = await inAccount(rows, (account) => loadAlike(account, [full, hashOf(plain.octets), unknown]));
  const found = (hash: Buffer): MessageId | undefined => known.get(hash.toString("hex"));
  expect([found(full), found(hashOf(plain.octets))]).toEqual([worded.id, plain.id]);
  expect([found(unknown), found(hashOf(other.octets))]).toEqual([undefined, undefined]);
});

interface Said {
  readonly opId: string;
  readonly messageId: MessageId;
  readonly placementId?: PlacementId;
  readonly seq: number;
  readonly changes?: number;
  readonly status?: string;
  readonly ago: string;
}

const say = (
  accountId: AccountId,
  tenantId: string,
  { opId, messageId, placementId, seq, changes = 1, status = "applied", ago }: Said,
) =>
  db.query({
    text: `insert into intents (account_id, op_id, tenant_id, device_id, base_seq, kind, message_id, args, said, status, reason, seq, changes, created_at)
           values ($1, $2, $3, 'phone', 1, 'keywords', $4, '{}', $5, $6, 'keywords_set', $7, $8, now() - $9::interval)`,
    values: [
      ...[accountId, opId, tenantId, messageId],
      JSON.stringify({ placementId: placementId ?? null, keywords: { $seen: true }, places: [] }),
      ...[status, seq, changes, ago],
    ],
  });

it("what was said of a placement since nobody looked is found, and nothing else", async () => {
  const rows = await MailRows.account(db);
  const { accountId, tenantId, endpointId } = rows;
  const mailboxId = await rows.mailbox("INBOX");
  const two = await rows.message({
    placements: [
      { mailboxId, uid: 1 },
      { mailboxId, uid: 2 },
    ],
  });
  const other = await rows.message({ placements: [{ mailboxId, uid: 3 }] });
  const [first, second] = two.placements as [PlacementId, PlacementId];
  const messageId = two.id;
  // What a look and its binding agreed on stands at entry 1.
  await say(accountId, tenantId, { opId: "agreed", messageId, seq: 1, ago: "1 minute" });
  await say(accountId, tenantId, { opId: "of no effect", messageId, seq: 1, changes: 0, ago: "1 minute" });
  await say(accountId, tenantId, { opId: "of all", messageId, seq: 2, ago: "1 minute" });
  await say(accountId, tenantId, { opId: "of one", messageId, placementId: second, seq: 3, ago: "1 minute" });
  await say(accountId, tenantId, { opId: "refused", messageId, seq: 4, status: "rejected", ago: "1 minute" });
  await say(accountId, tenantId, { opId: "before the look", messageId, seq: 5, ago: "1 hour" });
  await say(accountId, tenantId, { opId: "of another", messageId: other.id, seq: 6, ago: "1 minute" });
  const since = new Date(Date.now() - 600_000);
  const found = await inAccount(rows, (account) => loadOpinions(account, { endpointId, placementIds: [first, second], since }));
  expect(Object.fromEntries([...found].map(([id, said]) => [id, said.map(({ opId, silent }) => [opId, silent])]))).toEqual({
    [first]: [
      ["of no effect", true],
      ["of all", false],
    ],
    [second]: [
      ["of no effect", true],
      ["of all", false],
      ["of one", false],
    ],
  });
  // An endpoint that never was looked at with success is nobody to say that it had not shown it.
  expect(await inAccount(rows, (account) => loadOpinions(account, { endpointId, placementIds: [first], since: null }))).toEqual(
    new Map(),
  );
});
