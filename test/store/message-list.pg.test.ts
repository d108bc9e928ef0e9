import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { MailboxId, MessageId } from "../../src/model/ids.ts";
import { type Database, openDatabase } from "../../src/store/database.ts";
import type { ListPosition, MessageFilter } from "../../src/store/list-query.ts";
import { listMessageRows } from "../../src/store/message-list.ts";
import { createLogger } from "../../src/telemetry/log.ts";
import { everything, MailRows } from "../support/mail-rows.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";

let fresh: FreshDatabase;
let db: Database;

beforeAll(async () => {
  fresh = await freshDatabase();
  db = openDatabase({ url: fresh.url, log: createLogger({ level: "silent" }) });
});

afterAll(async () => {
  await db.close();
  await fresh.drop();
});

const list = async (rows: MailRows, filter: Partial<MessageFilter> = {}, limit = 1000, onlyNews = false): Promise<MessageId[]> =>
  (await listMessageRows(db, rows.accountId, { ...everything, ...filter }, { after: null, limit, onlyNews })).map(
    (row) => row.messageId,
  );

/** All pages, with `between` run after each. */
const walk = async (
  rows: MailRows,
  filter: Partial<MessageFilter>,
  limit: number,
  between: () => Promise<unknown>,
): Promise<MessageId[]> => {
  const seen: MessageId[] = [];
  let after: ListPosition | null = null;
  for (;;) {
    const page: Awaited<ReturnType<typeof listMessageRows>> = await listMessageRows(
      db,
      rows.accountId,
      { ...everything, ...filter },
      { after, onlyNews: false, limit },
    );
    seen.push(...page.map((row) => row.messageId));
    const last = page.at(-1);
    if (last === undefined) return seen;
    after = last;
    await between();
  }
};

const at = (minute: number): Date => new Date(Date.UTC(2026, 0, 1) + minute * 60_000);

describe("a list of messages", () => {
  test("is newest first and holds live mail only, unless removed mail is asked for", async () => {
    const rows = await MailRows.account(db);
    const mailboxId = await rows.mailbox("INBOX");
    const old = await rows.message({ receivedAt: at(1), placements: [{ mailboxId }] });
    const young = await rows.message({ receivedAt: at(3), placements: [{ mailboxId, kept: true }] });
    const removed = await rows.message({ receivedAt: at(2), placements: [{ mailboxId, lifecycle: "removed" }] });
    await rows.message({ receivedAt: at(4), placements: [{ mailboxId, lifecycle: "purged" }] });
    expect(await list(rows)).toEqual([young.id, old.id]);
    expect(await list(rows, { mailboxId })).toEqual([young.id, old.id]);
    expect(await list(rows, { removed: true })).toEqual([young.id, removed.id, old.id]);
    expect(await list(rows, { removed: true, mailboxId })).toEqual([young.id, removed.id, old.id]);
  });

  test("never shows mail of another account", async () => {
    const [mine, other] = [await MailRows.account(db), await MailRows.account(db)];
    await other.message({
      subject: "secret plans",
      messageId: "<same@example.test>",
      placements: [{ mailboxId: await other.mailbox("INBOX"), keywords: ["$flagged"] }],
    });
    for (const filter of [
      {},
      { text: "secret" },
      { keyword: "$flagged" },
      { messageId: "<same@example.test>" },
      { removed: true },
    ])
      expect(await list(mine, filter)).toEqual([]);
  });

  test("lists a message once that lies twice in a mailbox, where its newest placement stands that passes", async () => {
    const rows = await MailRows.account(db);
    const mailboxId = await rows.mailbox("INBOX");
    const twin = await rows.message({
      placements: [
        { mailboxId, receivedAt: at(1), keywords: ["$flagged"] },
        { mailboxId, receivedAt: at(9), keywords: ["$seen"] },
      ],
    });
    const middle = await rows.message({ receivedAt: at(5), placements: [{ mailboxId, keywords: ["$flagged", "$seen"] }] });
    expect(await list(rows, { mailboxId })).toEqual([twin.id, middle.id]);
    expect(await list(rows, { mailboxId, keyword: "$flagged" })).toEqual([middle.id, twin.id]);
    expect(await list(rows, { mailboxId, before: at(6) })).toEqual([middle.id, twin.id]);
    expect(await list(rows, { mailboxId, since: at(6) })).toEqual([twin.id]);
  });

  test("takes dates as from, inclusive, to before, exclusive", async () => {
    const rows = await MailRows.account(db);
    const mailboxId = await rows.mailbox("INBOX");
    const ids: MessageId[] = [];
    for (const minute of [1, 2, 3]) ids.push((await rows.message({ receivedAt: at(minute), placements: [{ mailboxId }] })).id);
    expect(await list(rows, { since: at(2) })).toEqual([ids[2], ids[1]]);
    expect(await list(rows, { before: at(2) })).toEqual([ids[0]]);
    expect(await list(rows, { since: at(2), before: at(3), mailboxId })).toEqual([ids[1]]);
  });

  test("finds the Message-ID header exactly, also one longer than its index", async () => {
    const rows = await MailRows.account(db);
    const mailboxId = await rows.mailbox("INBOX");
    const long = `<${"a".repeat(400)}@example.test>`;
    const found = await rows.message({ messageId: long, placements: [{ mailboxId }] });
    await rows.message({ messageId: `<${"a".repeat(399)}b@example.test>`, placements: [{ mailboxId }] });
    expect(await list(rows, { messageId: long })).toEqual([found.id]);
    expect(await list(rows, { messageId: long, mailboxId })).toEqual([found.id]);
    expect(await list(rows, { messageId: long, text: "hello" })).toEqual([found.id]);
    expect(await list(rows, { messageId: long, text: "goodbye", mailboxId })).toEqual([]);
  });
});

describe("keywords of a message", () => {
  test("are there when any placement has them, except that $seen needs all", async () => {
    const rows = await MailRows.account(db);
    const [inbox, archive] = [await rows.mailbox("INBOX"), await rows.mailbox("Archive")];
    const half = await rows.message({
      placements: [{ mailboxId: inbox, keywords: ["$seen", "$flagged"] }, { mailboxId: archive }],
    });
    const whole = await rows.message({
      placements: [
        { mailboxId: inbox, keywords: ["$seen"] },
        { mailboxId: archive, keywords: ["$seen"] },
      ],
    });
    expect(await list(rows, { keyword: "$seen" })).toEqual([whole.id]);
    expect(await list(rows, { notKeyword: "$seen" })).toEqual([half.id]);
    expect(await list(rows, { keyword: "$flagged" })).toEqual([half.id]);
    expect(await list(rows, { notKeyword: "$flagged" })).toEqual([whole.id]);
    expect(await list(rows, { keyword: "$flagged", notKeyword: "$seen" })).toEqual([half.id]);
    expect(await list(rows, { mailboxId: archive, keyword: "$flagged" })).toEqual([]);
    expect(await list(rows, { mailboxId: inbox, keyword: "$seen" })).toEqual([whole.id, half.id]);
  });

  test("are found behind more newer mail than a probe looks through", async () => {
    const rows = await MailRows.account(db);
    const mailboxId = await rows.mailbox("INBOX");
    const old = await rows.message({
      subject: "needle",
      receivedAt: at(-5),
      placements: [{ mailboxId, keywords: ["$flagged"] }],
    });
    const parsed = await rows.message({
      receivedAt: at(-4),
      parsed: { words: "needle" },
      placements: [{ mailboxId, keywords: ["$flagged"] }],
    });
    await db.query({
      text: `with made as (select gen_random_uuid() as id, n from generate_series(1, 1100) n),
               messages as (insert into messages (account_id, id, tenant_id, size, durability, received_at, thread_id, created_seq)
                            select $1, id, $2, 0, 'stub', $4::timestamptz + n * interval '1 second', id, 1 from made)
             insert into placements (account_id, id, tenant_id, message_id, mailbox_id, keywords, lifecycle, reason, received_at, created_seq, changed_seq)
             select $1, id, $2, id, $3, '{$seen}', 'live', 'delivered', $4::timestamptz + n * interval '1 second', 1, 1 from made`,
      values: [rows.accountId, rows.tenantId, mailboxId, at(0)],
    });
    for (const filter of [
      { keyword: "$flagged" },
      { notKeyword: "$seen" },
      { text: "needle" },
      { text: "needle", keyword: "$flagged" },
    ]) {
      expect(await list(rows, filter)).toEqual([parsed.id, old.id]);
      expect(await list(rows, { ...filter, mailboxId })).toEqual([parsed.id, old.id]);
      expect(await list(rows, filter, 1)).toEqual([parsed.id]);
    }
    // Where only news may be unparsed, what is old and unparsed is not looked for, save where it cannot be parsed.
    const needle = { text: "needle" };
    expect(await list(rows, needle, 1000, true)).toEqual([parsed.id]);
    await db.query({
      text: `update messages set durability = 'stub', sha256 = null where account_id = $1 and id = $2`,
      values: [rows.accountId, old.id],
    });
    expect(await list(rows, needle, 1000, true)).toEqual([parsed.id, old.id]);
    expect(await list(rows, { ...needle, mailboxId }, 1000, true)).toEqual([parsed.id, old.id]);
  });
});

describe("words", () => {
  test("are found in what was parsed, and in subject and addresses of what was not", async () => {
    const rows = await MailRows.account(db);
    const mailboxId = await rows.mailbox("INBOX");
    const parsed = await rows.message({
      subject: "Lunch",
      parsed: { words: "the quarterly report" },
      placements: [{ mailboxId }],
    });
    const waiting = await rows.message({ subject: "Quarterly numbers", from: "carla@example.test", placements: [{ mailboxId }] });
    expect(await list(rows, { text: "quarterly" })).toEqual([waiting.id, parsed.id]);
    expect(await list(rows, { text: "Quarterly -report", mailboxId })).toEqual([waiting.id]);
    expect(await list(rows, { text: "carla@example.test" })).toEqual([waiting.id]);
    expect(await list(rows, { text: '"quarterly report"' })).toEqual([parsed.id]);
    for (const nothing of ["absent", "!!", '"'] as const) expect(await list(rows, { text: nothing })).toEqual([]);
  });
});

test("of a word that thousands of old messages have, the newest are found, page by page, of the account and of a mailbox", async () => {
  const rows = await MailRows.account(db);
  const [inbox, archive] = [await rows.mailbox("INBOX"), await rows.mailbox("Archive")];
  // Of six weeks, newest first: 1,100 without the word, then 2,100 that have it and one in three of them unread in the archive.
  await db.query({
    text: `with made as (select gen_random_uuid() as id, n from generate_series(1, 3200) n),
             messages as (insert into messages (account_id, id, tenant_id, size, durability, received_at, thread_id, created_seq)
                          select $1, id, $2, 0, 'stub', $5::timestamptz - n * interval '20 minutes', id, 1 from made),
             contents as (insert into message_contents (account_id, message_id, tenant_id, status, search)
                          select $1, id, $2, 'parsed', to_tsvector('simple', case when n <= 1100 then 'news' else 'needle' end) || samebox_week($5::timestamptz - n * interval '20 minutes') from made)
           insert into placements (account_id, id, tenant_id, message_id, mailbox_id, keywords, lifecycle, reason, received_at, created_seq, changed_seq)
           select $1, id, $2, id, case when n % 3 = 0 then $4::uuid else $3::uuid end, case when n % 3 = 0 then '{}'::text[] else '{$seen}' end,
             'live', 'delivered', $5::timestamptz - n * interval '20 minutes', 1, 1 from made`,
    values: [rows.accountId, rows.tenantId, inbox, archive, at(0)],
  });
  const { rows: stored } = await db.query<{ id: MessageId; n: number }>({
    text: `select id, extract(epoch from $2::timestamptz - received_at)::int / 1200 as n from messages where account_id = $1 order by received_at desc`,
    values: [rows.accountId, at(0)],
  });
  const old = stored.filter(({ n }) => n > 1100);
  const archived = old.filter(({ n }) => n % 3 === 0).map(({ id }) => id);
  for (const [filter, expected] of [
    [{}, old.map(({ id }) => id)],
    [{ mailboxId: archive }, archived],
    [{ notKeyword: "$seen" }, archived],
    [{ notKeyword: "$seen", mailboxId: inbox }, []],
  ] as const) {
    const wanted = { text: "needle", ...filter };
    let after: ListPosition | null = null;
    const found: MessageId[] = [];
    // Filled by the weeks next to it, by those of a year, by all there is.
    for (const limit of [5, 1200, 3000]) {
      const page = await listMessageRows(db, rows.accountId, { ...everything, ...wanted }, { after, limit, onlyNews: true });
      found.push(...page.map(({ messageId }) => messageId));
      expect(found).toEqual(expected.slice(0, found.length));
      after = page.at(-1) ?? after;
    }
    expect(found).toHaveLength(expected.length);
  }
});

test("pages give every message that was there exactly once, whatever is written between them", async () => {
  await fc.assert(
    fc.asyncProperty(
      // Few instants, so that many messages share one and the id decides.
      fc.array(fc.record({ minute: fc.integer({ min: 0, max: 3 }), box: fc.boolean(), flagged: fc.boolean() }), {
        maxLength: 14,
      }),
      fc.integer({ min: 1, max: 5 }),
      fc.constantFrom<"account" | "mailbox" | "keyword" | "text">("account", "mailbox", "keyword", "text"),
      async (mails, limit, kind) => {
        const rows = await MailRows.account(db);
        const boxes: MailboxId[] = [await rows.mailbox("INBOX"), await rows.mailbox("Archive")];
        const insert = (mail: (typeof mails)[number]) =>
          rows.message({
            receivedAt: at(mail.minute),
            subject: mail.flagged ? "wanted" : "other",
            placements: [{ mailboxId: boxes[mail.box ? 0 : 1] as MailboxId, keywords: mail.flagged ? ["$flagged"] : [] }],
          });
        const filters = {
          account: {},
          mailbox: { mailboxId: boxes[0] ?? null },
          keyword: { keyword: "$flagged" },
          text: { text: "wanted" },
        };
        for (const mail of mails) await insert(mail);
        const before = await list(rows, filters[kind]);
        let next = 0;
        const walked = await walk(rows, filters[kind], limit, async () => {
          next += 1;
          if (next <= 4) await insert({ minute: next - 1, box: true, flagged: true });
        });
        expect(new Set(walked).size).toBe(walked.length);
        expect(walked.filter((id) => before.includes(id))).toEqual(before);
      },
    ),
    { numRuns: 12 },
  );
});
