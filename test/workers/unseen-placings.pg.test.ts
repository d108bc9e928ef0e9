/** What a server took from us without saying where, and what of it is missed when a UID there was never seen (C3, V20). */
import { expect, it } from "vitest";
import { type Database } from "../../src/store/database.ts";
import { commitItems, commitObservation, prepareBatch } from "../../src/workers/commit.ts";
import type { LaneContext, MailboxLane } from "../../src/workers/lane-state.ts";
import { itemOf, makeAccount } from "../support/shard-owner.ts";
import { useDatabase } from "../support/open-database.ts";

let db: Database;

useDatabase((opened) => {
  db = opened;
});

const mailOf = (uid: number, id: string | null, body: string) =>
  itemOf(uid, `${id === null ? "" : `Message-ID: <${id}@example.test>\r\n`}Subject: ${body}\r\n\r\n${body}\r\n`);

const take = async (context: LaneContext, lane: MailboxLane, item: ReturnType<typeof itemOf>): Promise<void> => {
  await commitItems(context, lane, { batch: await prepareBatch(context, [item]), reason: "backfilled", move: null });
};

/** As if an app had brought the mail of `from`, and the server had said OK to it for `to`, where `uidNext` was next. */
const bring = async ({ accountId }: LaneContext, from: MailboxLane, to: MailboxLane, uidNext: number): Promise<void> => {
  const said = { change: "add", flags: ["\\Flagged"] };
  const fence = { mailboxId: to.mailboxId, epoch: to.epoch, uidValidity: 1, modseq: null, uidNext, answered: true, said };
  await db.query({
    text: `with unshown as (delete from bindings where account_id = $1 and mailbox_id = $2 returning placement_id, endpoint_id),
             brought as (update placements p set mailbox_id = $3 from unshown u where p.account_id = $1 and p.id = u.placement_id
                         returning p.id, p.tenant_id, u.endpoint_id)
           insert into commands (account_id, id, tenant_id, endpoint_id, placement_id, verb, args, reason, op_id, status, fence, sent_at)
           select $1, gen_random_uuid(), tenant_id, endpoint_id, id, 'append', '{}', 'api_write', gen_random_uuid(), 'unknown', $4, now() from brought`,
    values: [accountId, from.mailboxId, to.mailboxId, JSON.stringify(fence)],
  });
};

const statesOf = async ({ accountId }: LaneContext): Promise<unknown> =>
  (
    await db.query({
      text: `select c.status, c.outcome, p.absent_since is not null as absent, b.uid::int, b.shadow_flags
             from commands c join placements p on p.account_id = c.account_id and p.id = c.placement_id
             left join bindings b on b.account_id = p.account_id and b.placement_id = p.id and not b.active where c.account_id = $1 and c.verb = 'append'`,
      values: [accountId],
    })
  ).rows;

const missed = [{ status: "confirmed", outcome: "gone", absent: true, uid: 2, shadow_flags: ["\\Flagged"] }];
const open = [{ status: "unknown", outcome: null, absent: false, uid: null, shadow_flags: null }];

it.each([
  { what: "is missed where only other mail is there", there: "other", uidNext: 1, result: missed },
  { what: "is not missed where what is there may be it, changed", there: "ours", uidNext: 1, result: open },
  { what: "is not missed where nobody knows what is there", there: null, uidNext: 1, result: open },
  { what: "is missed where what is there was there before", there: "ours", uidNext: 2, result: missed },
  { what: "is not missed for what went before it was sent", there: "other", uidNext: 3, result: open },
])("what was put there $what", async ({ there, uidNext, result }) => {
  const { context, mailbox } = await makeAccount(db);
  const [aside, archive] = [await mailbox("Aside", 2), await mailbox("Archive", 1)];
  await take(context, aside, mailOf(1, "ours", "as it was sent"));
  await bring(context, aside, archive, uidNext);
  await take(context, archive, mailOf(1, there, "with a footer"));
  const cursor = { uidValidity: 1, uidNext: 3, highestModseq: 2n };
  const look = {
    flags: [],
    absent: [],
    move: { cursor, backfillLow: 1 },
    unheard: { from: Math.min(1, uidNext), to: 3, shown: [1] },
  };
  expect(await commitObservation(context, archive, look)).toBe(result === missed);
  expect(await statesOf(context)).toEqual(result);
});

it("nothing is missed where it was not said to be taken (C3, C9)", async () => {
  const { context, mailbox } = await makeAccount(db);
  const [aside, archive] = [await mailbox("Aside", 2), await mailbox("Archive", 1)];
  await take(context, aside, mailOf(1, "ours", "as it was sent"));
  await bring(context, aside, archive, 1);
  await db.query({ text: `update commands set fence = fence - 'answered' where account_id = $1`, values: [context.accountId] });
  const cursor = { uidValidity: 1, uidNext: 2, highestModseq: 2n };
  const look = { flags: [], absent: [], move: { cursor, backfillLow: 1 }, unheard: { from: 1, to: 2, shown: [] } };
  expect(await commitObservation(context, archive, look)).toBe(false);
  expect(await statesOf(context)).toEqual(open);
});
