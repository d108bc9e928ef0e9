/** bench:api's account: rows made by SQL in the daemon's own tables, as many as wanted in minutes, the same in every run. */
import type pg from "pg";
import type { Daemon } from "../test/support/daemon.ts";
import { progress } from "./report.ts";

const mailboxes = 20;
const perStatement = 20_000;
const logged = 200_000;

/** The nth id of a kind, ascending with n as ids of the daemon do. */
const idOf = (n: string, kind: number): string => `(lpad(to_hex(${n}), 12, '0') || '7000800000000000000${kind}')::uuid`;
/** The newest is the last. */
const receivedOf = (n: string): string => `timestamptz '2020-01-01' + ${n} * interval '120 seconds'`;
/** More than a third of all mail is in the first. */
const mailboxOf = (n: string): string => idOf(`case when ${n} % 3 = 0 then 0 else ${n} % ${mailboxes} end`, 3);
/** The oldest messages, none of which says the word that three in a hundred of the others say. */
export const wordless = 100_000;
/** A third says one word, others say one of which there are 3, 1 and 0.1 in a hundred, a handful one that nothing else says. */
const subjectOf = (n: string): string =>
  `concat('message ', ${n}, case when ${n} % 3 = 0 then ' report' end, case when ${n} % 100 = 11 then ' invoice' end,
     case when ${n} % 33 = 5 and ${n} > ${wordless} then ' letter' end, case when ${n} % 1000 = 13 then ' budget' end, case when ${n} % 50000 = 7 then ' zebra' end)`;
/** A twentieth is unread, a thousandth flagged, and a handful wears a word that nothing else does. */
const keywordsOf = (n: string): string =>
  `array_remove(array[case when ${n} % 20 <> 0 then '$seen' end, case when ${n} % 1000 = 1 then '$flagged' end, case when ${n} % 50000 = 9 then 'rare' end], null)`;

export interface Owner {
  readonly account: string;
  readonly tenant: string;
  readonly endpoint: string;
}

const fillRange = async (db: pg.Client, { account, tenant, endpoint }: Owner, from: number, to: number): Promise<void> => {
  const owner = `'${account}'::uuid, '${tenant}'::uuid`;
  const each = `from generate_series(${from}, ${to}) n`;
  const flags = `array_remove(array[case when n % 20 <> 0 then '\\Seen' end, case when n % 1000 = 1 then '\\Flagged' end], null)`;
  for (const text of [
    `insert into messages (account_id, tenant_id, id, sha256, size, durability, message_id, subject, from_addresses, received_at, thread_id, created_seq)
     select ${owner}, ${idOf("n", 1)}, sha256(n::text::bytea), 4000, 'durable', concat('<', n, '@bench.test>'), ${subjectOf("n")},
       '[{"name":"Ana","email":"ana@example.test"}]', ${receivedOf("n")}, ${idOf("n", 1)}, n ${each}`,
    `insert into message_contents (account_id, tenant_id, message_id, status, preview, search)
     select ${owner}, ${idOf("n", 1)}, 'parsed', 'A few words of the text', to_tsvector('simple', ${subjectOf("n")}) || samebox_week(${receivedOf("n")}) ${each}`,
    `insert into placements (account_id, tenant_id, id, message_id, mailbox_id, keywords, lifecycle, reason, received_at, created_seq, changed_seq)
     select ${owner}, ${idOf("n", 2)}, ${idOf("n", 1)}, ${mailboxOf("n")}, ${keywordsOf("n")}, 'live', 'backfilled', ${receivedOf("n")}, n, n ${each}`,
    `insert into bindings (account_id, tenant_id, endpoint_id, mailbox_id, epoch, uid, placement_id, shadow_flags, synced_seq)
     select ${owner}, '${endpoint}', ${mailboxOf("n")}, 0, n, ${idOf("n", 2)}, ${flags}, n ${each}`,
    `insert into changes (account_id, tenant_id, seq, state_epoch, at, kind, message_id, mailbox_id, placement_id, after, source, endpoint_id, reason, rule, hash)
     select ${owner}, n, 0, ${receivedOf("n")}, 'message.created', ${idOf("n", 1)}, ${mailboxOf("n")}, ${idOf("n", 2)}, '{"keywords":[]}', 'imap',
       '${endpoint}', 'backfilled', 'ID-7', sha256(n::text::bytea) ${each}`,
  ])
    await db.query(text);
};

/** What was done over the API, and what a webhook was told, in as many rows as a busy tenant has of a few weeks. */
const fillLogs = async (db: pg.Client, { account, tenant }: Owner, webhook: string): Promise<void> => {
  const each = `from generate_series(1, ${logged}) n`;
  await db.query(
    `insert into audit_log (id, tenant_id, method, route, account_id, objects, fields, status, address, request_id)
     select ${idOf("n", 4)}, $2, 'PATCH', '/v1/accounts/:accountId/messages/:messageId', $1::uuid, '{}', '{}', 200, '127.0.0.1', n ${each}`,
    [account, tenant],
  );
  await db.query(
    `insert into webhook_deliveries (webhook_id, id, tenant_id, account_id, seq, kind, attempt, at, result, status, duration_ms)
     select $3::uuid, ${idOf("n", 5)}, $2, $1::uuid, n, 'message.created', 1, now(), 'taken', 200, 5 ${each}`,
    [account, tenant, webhook],
  );
  await db.query(`vacuum (analyze) audit_log, webhook_deliveries`);
};

const uuidOf = (id: string): string => id.slice(4).replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");

/** Mail, as the daemon would leave it. */
const fillMail = async (db: pg.Client, accountId: string, messages: number): Promise<Owner> => {
  const { rows } = await db.query<Owner>(
    `select a.id as account, a.tenant_id as tenant, e.id as endpoint from accounts a join endpoints e on e.account_id = a.id
     where a.id = $1`,
    [uuidOf(accountId)],
  );
  const [owner] = rows;
  if (owner === undefined) throw new Error("there is no account");
  const { account, tenant, endpoint } = owner;
  await db.query(`set synchronous_commit = off`);
  await db.query(
    `insert into mailboxes (account_id, tenant_id, id, name, role, role_source, created_seq, changed_seq)
     select $1, $2, ${idOf("n", 3)}, concat('mailbox ', n), case n when 0 then 'inbox' end, case n when 0 then 'name' end, 0, 0 from generate_series(0, ${mailboxes - 1}) n`,
    [account, tenant],
  );
  await db.query(
    `insert into upstream_mailboxes (account_id, tenant_id, endpoint_id, mailbox_id, path, selectable, uid_validity, uid_next)
     select $1, $2, $3, ${idOf("n", 3)}, concat('mailbox ', n), true, 1, ${messages + 1} from generate_series(0, ${mailboxes - 1}) n`,
    [account, tenant, endpoint],
  );
  for (let from = 1; from <= messages; from += perStatement) {
    await fillRange(db, owner, from, Math.min(messages, from + perStatement - 1));
    if ((from - 1) % 100_000 === 0) progress(`${from - 1} messages are made`);
  }
  await db.query(`update accounts set head_seq = $2, sync_state = 'live' where id = $1`, [account, messages]);
  await db.query(`vacuum (analyze) messages, message_contents, placements, placement_marks, bindings, changes, mailboxes`);
  return owner;
};

const endpoint = {
  protocol: "imap",
  host: "127.0.0.1",
  port: 1,
  security: "none",
  auth: { type: "password", user: "ana", password: "ana" },
};

export interface Filled {
  readonly owner: Owner;
  /** As the API names them. */
  readonly accountId: string;
  readonly webhookId: string;
}

/** The account of an earlier run where there is one. @throws Error when that has another number of messages. */
export const filledAccount = async (daemon: Daemon, db: pg.Client, messages: number): Promise<Filled> => {
  const { rows } = await db.query<Owner & { webhook: string; newest: boolean }>(
    `select a.id as account, a.tenant_id as tenant, e.id as endpoint, w.id as webhook,
       exists (select from messages where account_id = a.id and id = ${idOf(String(messages), 1)})
         and not exists (select from messages where account_id = a.id and id = ${idOf(String(messages + 1), 1)}) as newest
     from accounts a join endpoints e on e.account_id = a.id join webhooks w on w.tenant_id = a.tenant_id`,
  );
  const [known] = rows;
  if (known !== undefined) {
    if (!known.newest) throw new Error("what was kept has another number of messages");
    const named = (prefix: string, id: string) => `${prefix}_${id.replaceAll("-", "")}`;
    return { owner: known, accountId: named("acc", known.account), webhookId: named("whk", known.webhook) };
  }
  const account = await daemon.call<{ id: string }>("POST", "/v1/accounts", {
    name: "Ana",
    email: "ana@example.test",
    endpoints: [endpoint],
  });
  const owner = await fillMail(db, account.body.id, messages);
  const webhook = await daemon.call<{ id: string }>("POST", "/v1/webhooks", { url: "https://192.0.2.1/hook" });
  await fillLogs(db, owner, uuidOf(webhook.body.id));
  return { owner, accountId: account.body.id, webhookId: webhook.body.id };
};
