/** What many things are asked of at once is looked for one by one, whatever is known of the tables. */
import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { MessageId, PlacementId } from "../../src/model/ids.ts";
import type { InputTx } from "../../src/store/account-tx.ts";
import { listInMaildrop, markMissing } from "../../src/store/candidates.ts";
import { loadBoundFacts, loadGone } from "../../src/store/claims.ts";
import { readSmall } from "../../src/store/contents.ts";
import { type Database, openDatabase, type Queryable } from "../../src/store/database.ts";
import { listUnwanted, loadDoomed, readStoredHeads } from "../../src/store/epochs.ts";
import { loadHistory, loadHomes, loadMessagePlacements } from "../../src/store/intent-slices.ts";
import { loadIntents } from "../../src/store/intents.ts";
import { loadLastPlaces } from "../../src/store/pending-moves.ts";
import { loadReverted } from "../../src/store/pop3-seen.ts";
import { loadBound, loadKnown, loadPlacements, readAgreed } from "../../src/store/slices.ts";
import { loadSuccessions } from "../../src/store/successors.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";
import { forbidStatistics, type ManyMails, manyMails, rowsRead } from "../support/rows-read.ts";
import { quietLog } from "../support/shard-owner.ts";

const count = 20_000;
const asked = 300;

let fresh: FreshDatabase;
let db: Database;
let account: ManyMails;
let placementIds: readonly PlacementId[];
let messageIds: readonly MessageId[];
const uids = Array.from({ length: asked }, (_, at) => at + 1);
const hashes = uids.map((n) => createHash("sha256").update(`octets ${n}`).digest());

beforeAll(async () => {
  fresh = await freshDatabase();
  db = openDatabase({ url: fresh.url, log: quietLog });
  await forbidStatistics(db);
  account = await manyMails(db, count, true);
  const { accountId, tenantId } = account.rows;
  const { rows } = await db.query<{ id: PlacementId; messageId: MessageId }>({
    text: `select p.id, p.message_id as "messageId" from placements p join bindings b on b.account_id = p.account_id and b.placement_id = p.id
           where p.account_id = $1 and b.uid between 1 and ${asked}`,
    values: [accountId],
  });
  placementIds = rows.map(({ id }) => id);
  messageIds = rows.map(({ messageId }) => messageId);
  await db.query({
    text: `insert into changes (account_id, seq, tenant_id, state_epoch, at, kind, message_id, mailbox_id, placement_id, before, after, source, reason, hash)
           select $1, n, $2, 1, now(), 'message.moved', p.message_id, p.mailbox_id, p.id, '{}', '{}', 'imap', 'upstream_move', sha256('')
           from (select *, row_number() over () as n from placements where account_id = $1) as p`,
    values: [accountId, tenantId],
  });
  await db.query({
    text: `insert into blobs (account_id, sha256, part, tenant_id, data) select account_id, sha256, 0, tenant_id, 'a: b\r\n\r\n' from messages where account_id = $1`,
    values: [accountId],
  });
  await db.query({
    text: `insert into intents (account_id, op_id, tenant_id, device_id, base_seq, kind, message_id, args, said, status, reason, seq)
           select $1, 'op ' || n, $2, 'phone', 1, 'keywords', p.message_id, '{}', '{"placementId":null,"keywords":{},"places":[]}', 'applied', 'keywords_set', n
           from (select *, row_number() over () as n from placements where account_id = $1) as p`,
    values: [accountId, tenantId],
  });
  await db.query({
    text: `insert into commands (account_id, id, tenant_id, endpoint_id, placement_id, verb, args, reason, op_id, status, sent_at, ended_at)
           select $1, gen_random_uuid(), $2, $3, p.id, 'store', '{}', 'api_write', 'op ' || n, 'confirmed', now(), now()
           from (select *, row_number() over () as n from placements where account_id = $1) as p`,
    values: [accountId, tenantId, account.rows.endpointId],
  });
}, 120_000);

afterAll(async () => {
  await db.close();
  await fresh.drop();
});

const inside = (tx: Queryable): InputTx =>
  ({ tx, accountId: account.rows.accountId, input: { at: new Date() } }) as unknown as InputTx;
const endpoint = () => account.rows.endpointId;
const scope = () => ({ endpointId: endpoint(), mailboxId: account.inbox, epoch: 1 });
const placements = () => placementIds.map((id, at) => ({ id, messageId: messageIds[at] })) as never[];

const unbound = () => placementIds.map((id) => ({ id, lifecycle: "removed", binding: { closedReason: "epoch" } })) as never[];

const reads: Readonly<Record<string, (tx: Queryable) => Promise<unknown>>> = {
  "items by their UIDs": (tx) => loadBound(inside(tx), scope(), uids),
  "what was agreed on them": (tx) => readAgreed(tx, account.rows.accountId, scope(), uids),
  "messages by their octets": (tx) => loadKnown(inside(tx), endpoint(), hashes),
  placements: (tx) => loadPlacements(inside(tx), endpoint(), placementIds),
  "placements of messages": (tx) => loadMessagePlacements(inside(tx), endpoint(), messageIds),
  "what was said and seen": (tx) => loadHistory(inside(tx), placements(), 1n),
  "where they were before": (tx) => loadHomes(inside(tx), messageIds),
  "where operations wanted them": (tx) => loadLastPlaces(inside(tx), placements()),
  "operations by their ids": (tx) =>
    loadIntents(
      inside(tx),
      uids.map((n) => `op ${n}`),
    ),
  octets: (tx) =>
    readSmall(
      tx,
      account.rows.accountId,
      hashes.map((sha256) => ({ sha256 })),
    ),
  "header blocks": (tx) => readStoredHeads(tx, account.rows.accountId, hashes),
  "items of a maildrop": (tx) => listInMaildrop(inside(tx), account.pop3, placementIds),
  "what is bound": (tx) =>
    loadBoundFacts(tx, account.rows.accountId, { endpointId: account.pop3, inbox: account.inbox, ids: placementIds }),
  "what was reverted": (tx) => loadReverted(inside(tx), placementIds, "pop3_seen_reverted"),
  successors: (tx) => loadSuccessions(tx, account.rows.accountId, endpoint(), placementIds),
  "what a maildrop shows no more": (tx) => loadGone(inside(tx), account.pop3, placementIds),
  "what is to be removed, of what a new epoch unbound": (tx) => loadDoomed(inside(tx), endpoint(), unbound()),
  "what a new epoch unbound and nobody wants": (tx) => listUnwanted(tx, account.rows.accountId, scope()),
  "what a new epoch does not show": (tx) => markMissing(inside(tx), placementIds),
};

describe.each(["force_custom_plan", "force_generic_plan"])("without statistics (%s)", (planMode) => {
  test.each(Object.entries(reads))("%s are read one by one", async (_name, work) => {
    expect(await rowsRead(fresh.url, work, { account, planMode })).toBeLessThan(20 * asked);
  });
});
