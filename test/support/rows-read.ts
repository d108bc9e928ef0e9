/** What statements read, as PostgreSQL counts it, in accounts of any size made at once. */
import { createHash } from "node:crypto";
import pg from "pg";
import { uuidv7 } from "uuidv7";
import type { EndpointId, MailboxId } from "../../src/model/ids.ts";
import type { Database, Queryable } from "../../src/store/database.ts";
import { MailRows } from "./mail-rows.ts";

export interface ManyMails {
  readonly rows: MailRows;
  readonly pop3: EndpointId;
  readonly inbox: MailboxId;
}

export const headOf = (count: number): string => createHash("sha256").update(`head ${count}`).digest("hex");

/** INBOX has `count` mails that IMAP shows; POP3 shows none of them, or all but the last. */
export const manyMails = async (db: Database, count: number, bound: boolean): Promise<ManyMails> => {
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

/** PostgreSQL makes no statistics by itself from here on. */
export const forbidStatistics = (db: Database): Promise<unknown> =>
  db.query({
    text: `do $$ declare leaf regclass; begin
             for leaf in select oid from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace loop
               execute format('alter table %s set (autovacuum_enabled = off)', leaf);
             end loop;
           end $$`,
  });

export type Work = (queryable: Queryable, account: ManyMails) => Promise<unknown>;

/** Rows that one execution reads, of tables and of indexes, as PostgreSQL counts them. */
export const rowsRead = async (
  url: string,
  work: Work,
  { account, planMode }: { readonly account: ManyMails; readonly planMode: string },
): Promise<number> => {
  const client = new pg.Client({ connectionString: url });
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
