/** How many rows a page of a search looks at. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Database, openDatabase, type Queryable } from "../../src/store/database.ts";
import type { MessageFilter } from "../../src/store/list-query.ts";
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

const at = (minute: number): Date => new Date(Date.UTC(2026, 0, 1) + minute * 60_000);

/** Rows that plans took from tables, those thrown away included. */
interface Plan {
  readonly "Relation Name"?: string;
  readonly "Actual Rows"?: number;
  readonly "Actual Loops"?: number;
  readonly "Rows Removed by Filter"?: number;
  readonly Plans?: readonly Plan[];
}
const looks = (plan: Plan): number =>
  (plan["Relation Name"] === undefined
    ? 0
    : ((plan["Actual Rows"] ?? 0) + (plan["Rows Removed by Filter"] ?? 0)) * (plan["Actual Loops"] ?? 0)) +
  (plan.Plans ?? []).reduce((sum, child) => sum + looks(child), 0);

test("a page looks at few rows where a word that much mail has is no more, and at the named mail for words in it", async () => {
  const rows = await MailRows.account(db);
  const [inbox, archive] = [await rows.mailbox("INBOX"), await rows.mailbox("Archive")];
  // Newest first: 20,500 with the word in the inbox, and five weeks before them 6,000 without it, one in three of them in the archive.
  await db.query({
    text: `with made as (select gen_random_uuid() as id, n, $5::timestamptz - n * interval '5 minutes' - case when n > 20500 then interval '5 weeks' else '0' end as at
                         from generate_series(1, 26500) n),
             messages as (insert into messages (account_id, id, tenant_id, size, durability, received_at, thread_id, created_seq, message_id, sha256)
                          select $1, id, $2, 0, 'durable', at, id, 1, concat('<', n, '@example.test>'), sha256(n::text::bytea) from made),
             contents as (insert into message_contents (account_id, message_id, tenant_id, status, search)
                          select $1, id, $2, 'parsed', to_tsvector('simple', case when n <= 20500 then 'needle' else 'hay' end) || samebox_week(at) from made)
           insert into placements (account_id, id, tenant_id, message_id, mailbox_id, keywords, lifecycle, reason, received_at, created_seq, changed_seq)
           select $1, id, $2, id, case when n > 20500 and n % 3 = 0 then $4::uuid else $3::uuid end, '{$seen}', 'live', 'delivered', at, 1, 1 from made`,
    values: [rows.accountId, rows.tenantId, inbox, archive, at(0)],
  });
  await db.query({ text: `analyze messages, message_contents, placements` });
  let looked = 0;
  const counted: Queryable = {
    query: async (query) => {
      const { rows: plans } = await db.query<{ "QUERY PLAN": readonly { readonly Plan: Plan }[] }>({
        text: `explain (analyze, format json) ${query.text}`,
        values: query.values ?? [],
      });
      looked += looks(plans[0]?.["QUERY PLAN"][0]?.Plan ?? {});
      return db.query(query);
    },
  };
  const ask = async (filter: Partial<MessageFilter>, after: Date | null): Promise<number> => {
    looked = 0;
    const page = {
      after: after === null ? null : { at: BigInt(after.getTime()) * 1000n, id: "00000000-0000-7000-8000-000000000000" },
      limit: 51,
      onlyNews: true,
    };
    return (await listMessageRows(counted, rows.accountId, { ...everything, ...filter }, page)).length;
  };
  const last = at(-20_500 * 5);
  expect(await ask({ text: "needle" }, at(-20_490 * 5))).toBe(10);
  expect(await ask({ text: "needle" }, last)).toBe(0);
  expect(looked).toBeLessThan(4_000);
  expect(await ask({ text: "needle", mailboxId: archive }, null)).toBe(0);
  expect(await ask({ text: "hay", mailboxId: inbox }, null)).toBe(51);
  expect(await ask({ text: "hay", messageId: "<26000@example.test>" }, null)).toBe(1);
  expect(looked).toBeLessThan(20);
  expect(await ask({ text: "needle", messageId: "<26000@example.test>", mailboxId: inbox }, null)).toBe(0);
  expect(looked).toBeLessThan(20);
});
