import { createHash } from "node:crypto";
import { uuidv7 } from "uuidv7";
import { describe, expect, it } from "vitest";
import { memoryOctets } from "../../src/endpoints/octets.ts";
import { storedOctets } from "../../src/store/blob-reads.ts";
import { type Database } from "../../src/store/database.ts";
import { listInputs, readFacts, type RecordedInput, replayInput } from "../../src/store/inputs.ts";
import { FencedError } from "../../src/store/leases.ts";
import { commitItems, commitObservation, prepareBatch } from "../../src/workers/commit.ts";
import type { LaneContext, MailboxLane } from "../../src/workers/lane-state.ts";
import { findMeant } from "../../src/workers/meant.ts";
import { fenceOf, itemOf, makeAccount } from "../support/shard-owner.ts";
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

const count = async (context: LaneContext, table: string): Promise<number> => {
  const { rows } = await db.query<{ n: bigint }>({
    text: `select count(*) as n from ${table} where account_id = $1`,
    values: [context.accountId],
  });
  return Number(rows[0]?.n);
};

describe("a committed batch", () => {
  it("joins a message that another batch made of the same octets after they were looked for", async () => {
    const { context, mailbox } = await makeAccount(db);
    const [inbox, archive] = [await mailbox("INBOX", 2), await mailbox("Archive", 2)];
    const early = await prepareBatch(context, [itemOf(1, message(1), [])]);
    expect(early.seen).toEqual([]);
    expect(await take(context, archive, [itemOf(1, message(1), [])], 1)).toBe(1);
    expect(await commitItems(context, inbox, { batch: early, reason: "backfilled", move: null, unbound: true })).toBe(0);
    expect(await count(context, "messages")).toBe(1);
    expect(await count(context, "placements")).toBe(2);
    expect(await seqs(context)).toEqual([1n, 2n]);
  });

  it("keeps every octet, numbers every change and moves the cursor in one step", async () => {
    const { context, mailbox } = await makeAccount(db);
    const inbox = await mailbox("INBOX", 101);
    const items = Array.from({ length: 100 }, (_, at) =>
      itemOf(at + 1, message(at + 1), at % 2 === 0 ? ["\\Seen", "Custom"] : []),
    );
    expect(await take(context, inbox, items, 1)).toBe(100);
    expect(await seqs(context)).toEqual(Array.from({ length: 100 }, (_, at) => BigInt(at + 1)));
    const { rows } = await db.query<{ sha256: Buffer; data: Buffer }>({
      text: `select m.sha256, b.data from messages m join blobs b on b.account_id = m.account_id and b.sha256 = m.sha256 where m.account_id = $1`,
      values: [context.accountId],
    });
    expect(rows).toHaveLength(100);
    for (const row of rows) expect(createHash("sha256").update(row.data).digest()).toEqual(row.sha256);
    const cursor = await db.query({
      text: `select backfill_low from upstream_mailboxes where account_id = $1`,
      values: [context.accountId],
    });
    expect(cursor.rows).toEqual([{ backfill_low: 1n }]);
    const keywords = await db.query({
      text: `select keywords from placements p join bindings b on b.account_id = p.account_id and b.placement_id = p.id where p.account_id = $1 and b.uid = 1`,
      values: [context.accountId],
    });
    expect(keywords.rows).toEqual([{ keywords: ["$seen", "custom"] }]);
  });

  it("that is committed again writes no change and no row", async () => {
    const { context, mailbox } = await makeAccount(db);
    const inbox = await mailbox("INBOX", 11);
    const items = () => Array.from({ length: 10 }, (_, at) => itemOf(at + 1, message(at + 1)));
    await take(context, inbox, items(), 1);
    const before = [await seqs(context), await count(context, "placements"), await count(context, "blobs"), inbox.bound];
    await take(context, inbox, items(), 1);
    expect([await seqs(context), await count(context, "placements"), await count(context, "blobs"), inbox.bound]).toEqual(before);
  });

  it("shows equal octets as one message with two placements, also inside one batch", async () => {
    const { context, mailbox } = await makeAccount(db);
    const inbox = await mailbox("INBOX", 10);
    expect(await take(context, inbox, [itemOf(1, message(1)), itemOf(2, message(1)), itemOf(3, message(2))], null)).toBe(2);
    expect([await count(context, "messages"), await count(context, "placements"), await count(context, "blobs")]).toEqual([
      2, 3, 2,
    ]);
  });

  it("stores a large message in parts that give the same octets", async () => {
    const { context, mailbox } = await makeAccount(db);
    const inbox = await mailbox("INBOX", 10);
    const large = Buffer.alloc(3 * 1024 * 1024 + 17, "x");
    await take(context, inbox, [{ ...itemOf(1, ""), octets: memoryOctets(large) }], null);
    const { rows } = await db.query<{ whole: Buffer }>({
      text: `select string_agg(data, ''::bytea order by part) as whole from blobs where account_id = $1`,
      values: [context.accountId],
    });
    expect(rows[0]?.whole.equals(large)).toBe(true);
    expect(await count(context, "blobs")).toBe(4);
  });

  it("is decided again without octets that were destroyed since, though they were held against what we put there", async () => {
    const { context, mailbox } = await makeAccount(db);
    const { accountId, tenantId, endpointId } = context;
    const inbox = await mailbox("INBOX", 3);
    await take(context, inbox, [itemOf(1, message(1))], null);
    const fence = { mailboxId: inbox.mailboxId, epoch: 0, uidValidity: 1, uidNext: 2, hFull: "00" };
    await db.query({
      text: `insert into commands (account_id, id, tenant_id, endpoint_id, placement_id, verb, args, reason, op_id, fence, status, sent_at)
             select $1, $2, $3, $4, p.id, 'append', '{}', 'api_write', 'op', $5, 'sent', now() from placements p where p.account_id = $1`,
      values: [accountId, uuidv7(), tenantId, endpointId, JSON.stringify(fence)],
    });
    await take(context, inbox, [itemOf(2, message(2))], null);
    await db.query({ text: `delete from blobs where account_id = $1`, values: [accountId] });
    const [, second] = await listInputs(db, accountId, 0n);
    await db.transaction(async (tx) => {
      await replayInput(tx, { tenantId, accountId }, second as RecordedInput, (blob) => storedOctets(tx, accountId, blob));
    });
    expect(await count(context, "inputs")).toBe(3);
  });

  it("survives NUL and lone surrogates in headers", async () => {
    const { context, mailbox } = await makeAccount(db);
    const inbox = await mailbox("INBOX", 10);
    expect(await take(context, inbox, [itemOf(1, "Subject: a\0b \ud800\r\nFrom: \0 <\0@x>\r\n\r\nx")], null)).toBe(1);
  });
});

describe("an observation", () => {
  it("of a whole mailbox that is as it was is no input, and of one that is not, what changed is", async () => {
    const { context, mailbox } = await makeAccount(db);
    const inbox = await mailbox("INBOX", 101);
    const uids = Array.from({ length: 100 }, (_, at) => at + 1);
    await take(
      context,
      inbox,
      uids.map((uid) => itemOf(uid, message(uid))),
      1,
    );
    const look = async (...flagged: readonly number[]): Promise<number> => {
      const flags = uids.map((uid) => ({ uid, flags: flagged.includes(uid) ? ["\\Flagged"] : [], modseq: null }));
      const move = { cursor: { uidValidity: 1, uidNext: 101, highestModseq: null }, backfillLow: 1, audited: true };
      await commitObservation(context, inbox, { flags, absent: [], whole: true, move });
      return count(context, "inputs");
    };
    const first = await look();
    expect(await look()).toBe(first);
    expect(await look(7)).toBe(first + 1);
    expect(await look(7)).toBe(first + 1);
    const { rows } = await db.query<{ facts: Buffer }>({
      text: `select facts from inputs where account_id = $1 order by ordinal desc limit 1`,
      values: [context.accountId],
    });
    expect(rows.map((row) => (readFacts(row) as { look: { flags: unknown } }).look.flags)).toEqual([
      [{ uid: 7, flags: ["\\Flagged"], modseq: null }],
    ]);
  });

  it("merges flags, notes absences and leaves a reader's view alone until they are decided", async () => {
    const { context, mailbox } = await makeAccount(db);
    const inbox = await mailbox("INBOX", 4);
    await take(context, inbox, [itemOf(1, message(1)), itemOf(2, message(2)), itemOf(3, message(3), ["\\Seen"])], 1);
    const cursor = { uidValidity: 1, uidNext: 4, highestModseq: 9n };
    await commitObservation(context, inbox, {
      flags: [
        { uid: 1, flags: ["\\Flagged"], modseq: 8n },
        { uid: 99, flags: ["\\Seen"], modseq: 8n },
      ],
      absent: [3, 77],
      move: { cursor, backfillLow: 1 },
    });
    const { rows } = await db.query<{ uid: bigint; active: boolean; keywords: string[]; lifecycle: string; absent: boolean }>({
      text: `select b.uid, b.active, p.keywords, p.lifecycle, p.absent_since is not null as absent
             from bindings b join placements p on p.account_id = b.account_id and p.id = b.placement_id where b.account_id = $1 order by b.uid`,
      values: [context.accountId],
    });
    expect(rows).toEqual([
      { uid: 1n, active: true, keywords: ["$flagged"], lifecycle: "live", absent: false },
      { uid: 2n, active: true, keywords: [], lifecycle: "live", absent: false },
      { uid: 3n, active: false, keywords: ["$seen"], lifecycle: "live", absent: true },
    ]);
    expect(inbox.bound).toBe(2);
    expect(inbox.cursor).toEqual(cursor);
  });

  it("of 10,000 changed flags writes 10,000 changes in one transaction", async () => {
    const { context, mailbox } = await makeAccount(db);
    const inbox = await mailbox("INBOX", 10_001);
    for (let from = 1; from <= 10_000; from += 500)
      await take(
        context,
        inbox,
        Array.from({ length: 500 }, (_, at) => itemOf(from + at, message(from + at))),
        null,
      );
    await commitObservation(context, inbox, {
      flags: Array.from({ length: 10_000 }, (_, at) => ({ uid: at + 1, flags: ["\\Seen"], modseq: 2n })),
      absent: [],
      move: { cursor: { uidValidity: 1, uidNext: 10_001, highestModseq: 2n }, backfillLow: 1 },
    });
    const { rows } = await db.query({
      text: `select count(*) as n, count(distinct at) as commits from changes where account_id = $1 and kind = 'message.keywords'`,
      values: [context.accountId],
    });
    expect(rows).toEqual([{ n: 10_000n, commits: 1n }]);
  });
});

describe("a writer whose shard was taken", () => {
  it("is refused, and nothing of its batch is seen", async () => {
    const { context, mailbox } = await makeAccount(db);
    const inbox = await mailbox("INBOX", 10);
    await fenceOf(db, context.accountId);
    await expect(take(context, inbox, [itemOf(1, message(1))], null)).rejects.toThrow(FencedError);
    expect([await count(context, "messages"), await count(context, "changes"), inbox.bound]).toEqual([0, 0, 0]);
  });
});

/** The same said otherwise. */
const rendering = (n: number, encoding: "7bit" | "base64"): string => {
  const text = encoding === "7bit" ? `body ${n}` : Buffer.from(`body ${n}`).toString("base64");
  return `Subject: message ${n}\r\nMessage-ID: <${n}@example.test>\r\nContent-Transfer-Encoding: ${encoding}\r\n\r\n${text}\r\n`;
};

describe("what another view of the account worded otherwise", () => {
  it("is looked for among items of the same Message-ID: octets of others are not read", async () => {
    const account = await makeAccount(db);
    const context = { ...account.context, twoViews: true };
    const inbox: MailboxLane = { ...(await account.mailbox("INBOX", 4)), role: "inbox" };
    await take(context, inbox, [itemOf(1, rendering(1, "7bit"))], 1);
    await db.query({
      text: `update bindings set active = false, closed_reason = 'absent' where account_id = $1`,
      values: [context.accountId],
    });
    inbox.unshown = 1;
    const read: number[] = [];
    const news = [2, 1].map((n) => {
      const octets = memoryOctets(Buffer.from(rendering(n, "base64")));
      const parts = octets.parts.bind(octets);
      Object.assign(octets, {
        parts: () => {
          read.push(n);
          return parts();
        },
      });
      return { uid: 10 + n, messageId: `<${n}@example.test>`, octets };
    });
    expect((await findMeant(context, inbox, news)).map(({ uid }) => uid)).toEqual([11]);
    expect(new Set(read)).toEqual(new Set([1]));
  });
});
