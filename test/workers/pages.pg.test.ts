/** What is read page by page: mail that a server lists without giving it, and all that is in a mailbox. */
import { describe, expect, it } from "vitest";
import type { Session } from "../../src/endpoints/endpoint.ts";
import type { MessageId, MailboxId, PlacementId } from "../../src/model/ids.ts";
import { inAccount } from "../../src/store/account-tx.ts";
import { type Database } from "../../src/store/database.ts";
import { livePlacements } from "../../src/store/slices.ts";
import { commitItems, prepareBatch } from "../../src/workers/commit.ts";
import type { LaneContext, MailboxLane } from "../../src/workers/lane-state.ts";
import { readStubs } from "../../src/workers/stub-reads.ts";
import { dueStubs } from "../../src/workers/stubs.ts";
import { itemOf, makeAccount } from "../support/shard-owner.ts";
import { useDatabase } from "../support/open-database.ts";

let db: Database;

useDatabase((opened) => {
  db = opened;
});

const message = (n: number): string => `Subject: message ${n}\r\nMessage-ID: <${n}@example.test>\r\n\r\nbody ${n}\r\n`;

const take = async (
  context: LaneContext,
  mailbox: MailboxLane,
  items: ReturnType<typeof itemOf>[],
  low: number | null,
): Promise<number> => {
  const batch = await prepareBatch(context, items);
  const move = low === null || mailbox.cursor === null ? null : { cursor: mailbox.cursor, backfillLow: low };
  return commitItems(context, mailbox, { batch, reason: "backfilled", move });
};

const seqs = async (context: LaneContext): Promise<bigint[]> => {
  const { rows } = await db.query<{ seq: bigint }>({
    text: `select seq from changes where account_id = $1 order by seq`,
    values: [context.accountId],
  });
  return rows.map((row) => row.seq);
};

describe("stubs that are asked for again", () => {
  it("are all had in turn, a page at a time, but for what is larger than is taken", async () => {
    const { context, mailbox } = await makeAccount(db);
    const inbox = await mailbox("INBOX", 603);
    const items = Array.from({ length: 602 }, (_, at) => ({ ...itemOf(at + 1, message(at + 1)), octets: null }));
    await take(context, inbox, items, 1);
    await db.query({
      text: `update messages set size = $2 where account_id = $1 and id = (select message_id from placements p join bindings b
               on b.account_id = p.account_id and b.placement_id = p.id where p.account_id = $1 and b.uid = 7)`,
      values: [context.accountId, context.maxMessageBytes + 1],
    });
    const asked: number[][] = [];
    for (const of of ["stubs", "stubs", "stubs", "headless", "headless", "headless"] as const) {
      context[of].dueAt = 0;
      const due = await dueStubs(context, of);
      asked.push((due.get(inbox.mailboxId) ?? []).map(({ uid }) => uid));
    }
    const [first = [], second = [], again, firstHead = [], secondHead = [], againHead] = asked;
    const all = items.map(({ uid }) => uid);
    const sorted = (uids: readonly number[]) => uids.toSorted((a, b) => a - b);
    expect(sorted([...first, ...second])).toEqual(all.filter((uid) => uid !== 7));
    expect(sorted([...firstHead, ...secondHead])).toEqual(all);
    expect([again, againHead]).toEqual([first, firstHead]);
  });
});

describe("a stub whose octets come", () => {
  it("stays as it is, and nothing is told, where it was purged meanwhile", async () => {
    const { context, mailbox } = await makeAccount(db);
    const inbox = await mailbox("INBOX", 2);
    await take(context, inbox, [{ ...itemOf(1, message(1)), octets: null }], 1);
    const { rows } = await db.query<{ messageId: MessageId; placementId: PlacementId; mailboxId: MailboxId }>({
      text: `select message_id as "messageId", id as "placementId", mailbox_id as "mailboxId" from placements where account_id = $1`,
      values: [context.accountId],
    });
    await db.query({
      text: `update messages set durability = 'purged' where account_id = $1`,
      values: [context.accountId],
    });
    const before = await seqs(context);
    const session = {
      async *fetch() {
        yield await Promise.resolve({ items: [itemOf(1, message(1))] });
      },
    } as unknown as Session;
    const stubs = rows.map((row) => ({ ...row, uid: 1 }));
    await readStubs(context, session, { mailbox: inbox, stubs }, new AbortController().signal);
    expect(await seqs(context)).toEqual(before);
  });
});

describe("all that is in a mailbox", () => {
  it("is read page by page from where the last one ended, oldest first, and each once", async () => {
    const { context, mailbox } = await makeAccount(db);
    const inbox = await mailbox("INBOX", 2);
    await take(context, inbox, [itemOf(1, message(1))], 1);
    // Many of one time, which is finer than a millisecond.
    await db.query({
      text: `insert into placements (account_id, id, tenant_id, message_id, mailbox_id, keywords, lifecycle, reason, received_at, created_seq, changed_seq)
             select p.account_id, gen_random_uuid(), p.tenant_id, p.message_id, p.mailbox_id, '{}', 'live', 'copied',
               p.received_at + n / 400 * interval '7 microseconds', 1, 1
             from placements p, generate_series(1, 1200) n where p.account_id = $1`,
      values: [context.accountId],
    });
    const { rows } = await db.query<{ id: string }>({
      text: `select id from placements where account_id = $1 and mailbox_id = $2 order by received_at, id`,
      values: [context.accountId, inbox.mailboxId],
    });
    const read = await inAccount(db, context.fence, context.accountId, async (account) => {
      const ids: string[] = [];
      for await (const page of livePlacements(account, context.endpointId, inbox.mailboxId))
        ids.push(...page.map(({ id }) => id));
      return ids;
    });
    expect(read).toHaveLength(1201);
    expect(read).toEqual(rows.map(({ id }) => id));
  });
});
