/** Marks and counters follow the placements, whatever statement writes them, and lists by keyword show what the placements say. */
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { MailboxId, MessageId, PlacementId } from "../../src/model/ids.ts";
import { type Database, openDatabase } from "../../src/store/database.ts";
import { listMailboxes } from "../../src/store/mailbox-reads.ts";
import type { ListPosition, MessageFilter } from "../../src/store/list-query.ts";
import { listMessageRows } from "../../src/store/message-list.ts";
import { createLogger } from "../../src/telemetry/log.ts";
import { MailRows } from "../support/mail-rows.ts";
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

const words = ["$seen", "$flagged", "work"];
const minute = fc.nat({ max: 2 });
const at = (after: number): Date => new Date(Date.UTC(2026, 0, 1) + after * 60_000);
const state = fc.record({
  box: fc.nat({ max: 1 }),
  // Nothing writes a keyword twice; it would count once.
  keywords: fc.array(fc.constantFrom(...words), { maxLength: 4 }),
  lifecycle: fc.constantFrom<"live" | "removed" | "purged">("live", "live", "removed", "purged"),
});
type State = typeof state extends fc.Arbitrary<infer T> ? T : never;
/** Few instants, so that ids decide, too; those of a placement are not those of its message. */
const oneMail = fc.record({ minute, placements: fc.array(fc.record({ state, minute }), { minLength: 1, maxLength: 3 }) });
const mails = fc.array(oneMail, { minLength: 1, maxLength: 6 });
type Mail = typeof oneMail extends fc.Arbitrary<infer T> ? T : never;
const filters = fc.array(
  fc.record({
    inBox: fc.boolean(),
    keyword: fc.option(fc.constantFrom(...words)),
    notKeyword: fc.option(fc.constantFrom(...words)),
    removed: fc.boolean(),
  }),
  { minLength: 6, maxLength: 6 },
);

interface Placed extends State {
  readonly id: PlacementId;
  readonly message: { readonly id: MessageId; readonly minute: number };
  readonly minute: number;
}

const fill = async (rows: MailRows, boxes: readonly MailboxId[], made: readonly Mail[]): Promise<Placed[]> => {
  const placed: Placed[] = [];
  for (const mail of made) {
    const placements = mail.placements.map(({ state: { box, ...rest }, ...own }) => ({
      ...rest,
      mailboxId: boxes[box] as MailboxId,
      receivedAt: at(own.minute),
    }));
    const { id, placements: ids } = await rows.message({ receivedAt: at(mail.minute), placements });
    const message = { id, minute: mail.minute };
    for (const [n, own] of mail.placements.entries())
      placed.push({ ...own.state, id: ids[n] as PlacementId, minute: own.minute, message });
  }
  return placed;
};

/** All change in one statement, and all that go go in one. */
const change = async (
  { accountId }: MailRows,
  boxes: readonly MailboxId[],
  placed: readonly Placed[],
  fates: readonly (State | null)[],
): Promise<Placed[]> => {
  const after = placed.flatMap((placement, n) => {
    const fate = fates[n % fates.length] ?? null;
    return fate === null ? [] : [{ ...placement, ...fate }];
  });
  await db.query({
    text: `update placements p set mailbox_id = w.mailbox_id, keywords = w.keywords, lifecycle = w.lifecycle,
             removed_at = case when w.lifecycle <> 'live' then now() end
           from jsonb_to_recordset($2::jsonb) as w(id uuid, mailbox_id uuid, keywords text[], lifecycle text)
           where p.account_id = $1 and p.id = w.id`,
    values: [accountId, JSON.stringify(after.map(({ box, ...to }) => ({ ...to, mailbox_id: boxes[box] })))],
  });
  await db.query({
    text: `delete from placements where account_id = $1 and not id = any($2::uuid[])`,
    values: [accountId, after.map(({ id }) => id)],
  });
  return after;
};

const newestFirst = (a: { minute: number; id: string }, b: { minute: number; id: string }): number =>
  b.minute - a.minute || (a.id < b.id ? 1 : -1);

/** What api.md says of a list, of the account or of the first mailbox. */
const expected = (
  placed: readonly Placed[],
  { inBox, keyword, notKeyword, removed }: { inBox: boolean } & Pick<MessageFilter, "keyword" | "notKeyword" | "removed">,
): MessageId[] => {
  const shown = placed.filter(({ lifecycle }) => lifecycle === "live" || (removed && lifecycle === "removed"));
  if (inBox) {
    const passing = shown.filter(
      ({ box, keywords }) =>
        box === 0 && (keyword === null || keywords.includes(keyword)) && (notKeyword === null || !keywords.includes(notKeyword)),
    );
    return [...new Set(passing.toSorted(newestFirst).map(({ message }) => message.id))];
  }
  const has = (own: readonly Placed[], word: string): boolean =>
    word === "$seen" ? own.every(({ keywords }) => keywords.includes(word)) : own.some(({ keywords }) => keywords.includes(word));
  return [...Map.groupBy(shown, ({ message }) => message).entries()]
    .filter(([, own]) => (keyword === null || has(own, keyword)) && (notKeyword === null || !has(own, notKeyword)))
    .map(([message]) => message)
    .sort(newestFirst)
    .map(({ id }) => id);
};

/** All pages of two. */
const listed = async ({ accountId }: MailRows, filter: MessageFilter): Promise<MessageId[]> => {
  const found: MessageId[] = [];
  for (let after: ListPosition | null = null; ;) {
    const page: Awaited<ReturnType<typeof listMessageRows>> = await listMessageRows(db, accountId, filter, {
      after,
      limit: 2,
      onlyNews: false,
    });
    found.push(...page.map(({ messageId }) => messageId));
    after = page.at(-1) ?? null;
    if (after === null) return found;
  }
};

test("whatever is written, counters count the placements and lists by keyword show them, in order", async () => {
  await fc.assert(
    fc.asyncProperty(mails, fc.array(fc.option(state, { freq: 4 }), { minLength: 1 }), filters, async (made, fates, asked) => {
      const rows = await MailRows.account(db);
      const boxes = [await rows.mailbox("INBOX"), await rows.mailbox("Archive")];
      const placed = await change(rows, boxes, await fill(rows, boxes, made), fates);
      const live = placed.filter(({ lifecycle }) => lifecycle === "live");
      const counters = (await listMailboxes(db, rows.accountId)).map(({ id, totalMessages, unreadMessages }) => {
        const own = live.filter(({ box }) => boxes[box] === id);
        const unread = own.filter(({ keywords }) => !keywords.includes("$seen"));
        return [totalMessages - own.length, unreadMessages - unread.length];
      });
      expect(counters).toEqual([
        [0, 0],
        [0, 0],
      ]);
      for (const { inBox, ...filter } of asked)
        expect(
          await listed(rows, {
            messageId: null,
            text: null,
            since: null,
            before: null,
            mailboxId: inBox ? (boxes[0] ?? null) : null,
            ...filter,
          }),
        ).toEqual(expected(placed, { inBox, ...filter }));
      const { rows: left } = await db.query<{ n: bigint }>({
        text: `with marks as (select placement_id, keyword from placement_marks where account_id = $1),
                 meant as (select p.id, k.keyword from placements p cross join unnest($2::text[]) as k(keyword)
                           where account_id = $1 and lifecycle = 'live' and (keyword = any(keywords)) <> (keyword = '$seen'))
               select count(*) as n from ((table marks except table meant) union all (table meant except table marks)) unlike`,
        values: [rows.accountId, words],
      });
      expect(left[0]?.n).toBe(0n);
    }),
    { numRuns: 25 },
  );
});
