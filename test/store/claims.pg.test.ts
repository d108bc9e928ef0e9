/** What a look asks of the store grows with what is new in it, and not with the account. */
import { createHash, randomUUID } from "node:crypto";
import pg from "pg";
import { uuidv7 } from "uuidv7";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { EndpointId, MailboxId, MessageId } from "../../src/model/ids.ts";
import {
  type ClaimKeys,
  countUnshown,
  hasSetAside,
  listUnhashed,
  loadBoundFacts,
  loadClaims,
  loadUnshown,
} from "../../src/store/claims.ts";
import { type Database, openDatabase, type Queryable } from "../../src/store/database.ts";
import { createLogger } from "../../src/telemetry/log.ts";
import { MailRows } from "../support/mail-rows.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";

const sizes = { small: 50, large: 5_000 };
/** Rows that differ by chance of where a page ends. */
const slack = 5;

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

interface Account {
  readonly rows: MailRows;
  readonly pop3: EndpointId;
  readonly inbox: MailboxId;
}

const headOf = (count: number): string => createHash("sha256").update(`head ${count}`).digest("hex");

/** INBOX has `count` mails that IMAP shows; POP3 shows none of them, or all but the last. */
const makeAccount = async (count: number, bound: boolean): Promise<Account> => {
  const rows = await MailRows.account(db);
  const inbox = await rows.mailbox("INBOX", { role: "inbox" });
  const pop3 = uuidv7() as EndpointId;
  await db.query({
    text: `insert into endpoints (account_id, id, tenant_id, protocol, host, port, security, auth_type, auth_user, credentials)
           values ($1, $2, $3, 'pop3', 'mail.example.test', 995, 'tls', 'password', 'ana', 'sealed')`,
    values: [rows.accountId, pop3, rows.tenantId],
  });
  await db.query({
    text: `with mail as (select n, gen_random_uuid() as message, gen_random_uuid() as placement from generate_series(1, $6::integer) n),
             m as (insert into messages (account_id, id, tenant_id, sha256, size, durability, received_at, thread_id, h_full, h_head, normal_size, created_seq)
                   select $1, message, $2, sha256(('octets ' || n)::bytea), 1000, 'durable', now() - n * interval '1 minute', message,
                     sha256(('full ' || n)::bytea), sha256(('head ' || n)::bytea), 1000, 1 from mail),
             p as (insert into placements (account_id, id, tenant_id, message_id, mailbox_id, keywords, lifecycle, reason, received_at, created_seq, changed_seq)
                   select $1, placement, $2, message, $5, '{}', 'live', 'delivered', now() - n * interval '1 minute', 1, 1 from mail),
             i as (insert into bindings (account_id, endpoint_id, mailbox_id, epoch, uid, tenant_id, placement_id, shadow_flags, synced_seq)
                   select $1, $3, $5, 1, n, $2, placement, '{}', 1 from mail)
           insert into bindings (account_id, endpoint_id, mailbox_id, epoch, uidl, listed_size, tenant_id, placement_id, shadow_flags, synced_seq)
           select $1, $4, $5, 0, 'uidl' || n, 1000, $2, placement, '{}', 1 from mail where $7 and n < $6`,
    values: [rows.accountId, rows.tenantId, rows.endpointId, pop3, inbox, count, bound],
  });
  return { rows, pop3, inbox };
};

type Work = (queryable: Queryable, account: Account) => Promise<unknown>;

/** Rows that one execution reads, of tables and of indexes, as PostgreSQL counts them. */
const rowsRead = async (work: Work, account: Account, planMode: string): Promise<number> => {
  const client = new pg.Client({ connectionString: fresh.url });
  await client.connect();
  const read = async (): Promise<number> => {
    await client.query("select pg_stat_force_next_flush()");
    const { rows } = await client.query<{ read: string }>(
      `select (select sum(seq_tup_read) from pg_stat_user_tables) + (select sum(idx_tup_read) from pg_stat_user_indexes) as read`,
    );
    return Number(rows[0]?.read);
  };
  const queryable: Queryable = {
    query: async (statement) => {
      const { rows, rowCount } = await client.query({ ...statement, values: [...(statement.values ?? [])] });
      return { rows: rows as never[], rowCount: rowCount ?? 0 };
    },
  };
  try {
    await client.query(`set plan_cache_mode = ${planMode}`);
    const before = await read();
    await work(queryable, account);
    return (await read()) - before;
  } finally {
    await client.end();
  }
};

/** By name: is the mail bound over POP3, too, and what is asked. */
const looks: Readonly<Record<string, { readonly bound: boolean; readonly work: Work }>> = {
  "what a new item may be, by its header block": {
    bound: false,
    work: (queryable, { rows, pop3: endpointId, inbox }) =>
      loadClaims(queryable, rows.accountId, { endpointId, inbox, keys: { uids: [], heads: [headOf(7)] } }),
  },
  "what a new item may be, by its UID": {
    bound: false,
    work: (queryable, { rows, pop3: endpointId, inbox }) =>
      loadClaims(queryable, rows.accountId, { endpointId, inbox, keys: { uids: [7], heads: [] } }),
  },
  "what a new item may be, where most is bound": {
    bound: true,
    work: (queryable, { rows, pop3: endpointId, inbox }) =>
      loadClaims(queryable, rows.accountId, { endpointId, inbox, keys: { uids: [7], heads: [headOf(7), headOf(8)] } }),
  },
  "what a new item of IMAP may be": {
    bound: false,
    work: (queryable, { rows: { accountId }, pop3: endpointId, inbox: mailboxId }) =>
      loadUnshown(queryable, { accountId, endpointId, mailboxId }, { heads: [headOf(7)] }),
  },
  "whether anything is set aside": {
    bound: false,
    work: (queryable, { rows, inbox }) => hasSetAside(queryable, rows.accountId, inbox),
  },
  "whether anything new is to be hashed": {
    bound: false,
    work: (queryable, { rows, inbox }) => listUnhashed(queryable, rows.accountId, inbox, { after: null, since: 1n }),
  },
  "what is bound": {
    bound: true,
    work: (queryable, { rows, pop3: endpointId, inbox }) =>
      loadBoundFacts(queryable, rows.accountId, { endpointId, inbox, ids: [randomUUID() as never] }),
  },
};

describe("what a look asks for", () => {
  test("is there by header block, by UID and by message, unless it is bound", async () => {
    const { rows, pop3: endpointId, inbox } = await makeAccount(9, true);
    const find = async (keys: ClaimKeys): Promise<unknown[]> =>
      (await loadClaims(db, rows.accountId, { endpointId, inbox, keys })).claimable.map(({ uid, standing }) => [uid, standing]);
    const last = [[9, "imap"]];
    const heads = [headOf(7), headOf(8), headOf(9)];
    expect(await find({ uids: [], heads })).toEqual(last);
    expect(await find({ uids: [7, 8, 9], heads })).toEqual(last);
    const { rows: messages } = await db.query<{ id: MessageId }>({
      text: "select id from messages where account_id = $1",
      values: [rows.accountId],
    });
    expect(await find({ messages: messages.map(({ id }) => id) })).toEqual(last);
    const unshown = { accountId: rows.accountId, endpointId, mailboxId: inbox };
    expect((await loadUnshown(db, unshown, { heads })).claimable.map(({ hHead }) => hHead)).toEqual([headOf(9)]);
    expect(await countUnshown(db, unshown)).toBe(1);
  });
});

describe("the rows that a look reads", () => {
  const accounts = new Map<string, Account>();
  beforeAll(async () => {
    for (const [size, count] of Object.entries(sizes))
      for (const bound of [true, false]) accounts.set(`${size} ${bound}`, await makeAccount(count, bound));
  });

  describe.each(["without statistics", "with statistics"])("%s", (statistics) => {
    beforeAll(async () => {
      if (statistics === "with statistics") await db.query({ text: "analyze" });
    });

    test.each(
      Object.entries(looks).flatMap(([name, look]) =>
        ["force_custom_plan", "force_generic_plan"].map((mode) => [name, mode, look] as const),
      ),
    )("for %s are as few in a large account (%s)", async (_name, mode, { bound, work }) => {
      const [small, large] = [accounts.get(`small ${bound}`) as Account, accounts.get(`large ${bound}`) as Account];
      expect(await rowsRead(work, large, mode)).toBeLessThanOrEqual((await rowsRead(work, small, mode)) + slack);
    });
  });
});
