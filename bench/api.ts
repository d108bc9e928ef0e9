/**
 * bench:api – how long requests take of an account with a million messages, made by SQL in the daemon's own tables, beside a raw
 * client of the same database that reads the rows of one page by the same key. One request at a time over HTTP.
 * --messages N, --requests N of each kind.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { startEmbeddedPostgres } from "../src/embedded/postgres.ts";
import { createLogger } from "../src/telemetry/log.ts";
import { type Daemon, startDaemon } from "../test/support/daemon.ts";
import { option, progress, quantile, report } from "./report.ts";

const messages = option("messages", 1_000_000);
const requests = option("requests", 200);
const warmUp = 20;
const mailboxes = 20;
const perStatement = 20_000;
const targetMs = 20;

/** The nth id of a kind, ascending with n as ids of the daemon do. */
const idOf = (n: string, kind: number): string => `(lpad(to_hex(${n}), 12, '0') || '7000800000000000000${kind}')::uuid`;
/** The newest is the last. */
const receivedOf = (n: string): string => `timestamptz '2020-01-01' + ${n} * interval '120 seconds'`;
/** More than a third of all mail is in the first. */
const mailboxOf = (n: string): string => idOf(`case when ${n} % 3 = 0 then 0 else ${n} % ${mailboxes} end`, 3);
/** A third says one word, a handful another one. */
const subjectOf = (n: string): string =>
  `concat('message ', ${n}, case when ${n} % 3 = 0 then ' report' end, case when ${n} % 50000 = 7 then ' zebra' end)`;
/** A twentieth is unread, a thousandth flagged, and a handful wears a word that nothing else does. */
const keywordsOf = (n: string): string =>
  `array_remove(array[case when ${n} % 20 <> 0 then '$seen' end, case when ${n} % 1000 = 1 then '$flagged' end, case when ${n} % 50000 = 9 then 'rare' end], null)`;

interface Owner {
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
     select ${owner}, ${idOf("n", 1)}, 'parsed', 'A few words of the text', to_tsvector('simple', ${subjectOf("n")}) ${each}`,
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

/** A mailbox of that many messages, as the daemon would leave it. */
const fill = async (db: pg.Client, accountId: string): Promise<Owner> => {
  const { rows } = await db.query<Owner>(
    `select a.id as account, a.tenant_id as tenant, e.id as endpoint from accounts a join endpoints e on e.account_id = a.id
     where replace(a.id::text, '-', '') = $1`,
    [accountId.slice(4)],
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
  await db.query(`vacuum (analyze) messages, message_contents, placements, bindings, changes`);
  return owner;
};

interface Timed {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
}

const time = async (what: string, ask: (n: number) => Promise<void>): Promise<Timed> => {
  const taken: number[] = [];
  for (let n = 0; n < warmUp + requests; n += 1) {
    const began = performance.now();
    await ask(n);
    if (n >= warmUp) taken.push(performance.now() - began);
  }
  const timed = { p50: quantile(taken, 0.5), p95: quantile(taken, 0.95), p99: quantile(taken, 0.99) };
  progress(`${what}: p50 ${timed.p50.toFixed(1)}, p95 ${timed.p95.toFixed(1)}, p99 ${timed.p99.toFixed(1)} ms`);
  return timed;
};

const mailboxId = (n: number): string => `mbx_${n.toString(16).padStart(12, "0")}70008000000000000003`;
const messageId = (n: number): string => `msg_${n.toString(16).padStart(12, "0")}70008000000000000001`;
/** Somewhere in the account, elsewhere each time. */
const somewhere = (n: number): number => 1 + ((n * 7919) % messages);
const dateOf = (n: number): string => new Date(Date.UTC(2020, 0, 1) + n * 120_000).toISOString();

const measure = async (daemon: Daemon, accountId: string): Promise<Record<string, Timed>> => {
  const get = async <Body>(path: string): Promise<Body> => {
    const { status, body } = await daemon.call<Body>("GET", `/v1/accounts/${accountId}${path}`);
    if (status !== 200) throw new Error(`${path}: ${status} ${JSON.stringify(body)}`);
    return body;
  };
  const list = (query: string) => get<{ items: unknown[]; nextCursor: string | null }>(`/messages?${query}`);
  const cursors = new Map<string, string[]>([
    ["", []],
    [`&mailboxId=${mailboxId(0)}`, []],
  ]);
  for (const [filter, found] of cursors)
    for (let n = 1; n <= 20; n += 1) {
      const { nextCursor } = await list(`limit=1&before=${dateOf(somewhere(n) / 2 + messages / 4)}${filter}`);
      if (nextCursor !== null) found.push(nextCursor);
    }
  const deep =
    (filter: string) =>
    async (n: number): Promise<void> => {
      const all = cursors.get(filter) ?? [];
      await list(`cursor=${all[n % all.length] ?? ""}${filter}`);
    };
  const listed = (query: string) => async (): Promise<void> => void (await list(query));
  const inMailbox = `mailboxId=${mailboxId(0)}`;
  const kinds: Readonly<Record<string, (n: number) => Promise<void>>> = {
    first: listed(""),
    deep: deep(""),
    mailbox: listed(inMailbox),
    mailboxDeep: deep(`&${inMailbox}`),
    unread: listed("notKeyword=$seen"),
    flagged: listed("keyword=$flagged"),
    rareKeyword: listed("keyword=rare"),
    unreadInMailbox: listed(`notKeyword=$seen&${inMailbox}`),
    flaggedInMailbox: listed(`keyword=$flagged&mailboxId=${mailboxId(1)}`),
    rareKeywordInMailbox: listed(`keyword=rare&mailboxId=${mailboxId(9)}`),
    seen: listed("keyword=$seen"),
    commonWord: listed("text=report"),
    rareWord: listed("text=zebra"),
    noWord: listed("text=unheard"),
    messageIdHeader: async (n) => void (await list(`messageId=${encodeURIComponent(`<${somewhere(n)}@bench.test>`)}`)),
    one: async (n) => void (await get(`/messages/${messageId(somewhere(n))}`)),
    changes: async (n) => void (await get(`/changes?since=0.${somewhere(n)}&limit=500`)),
    status: async () => void (await get("/status")),
  };
  const timed: Record<string, Timed> = {};
  for (const [kind, ask] of Object.entries(kinds)) timed[kind] = await time(kind, ask);
  return timed;
};

/** The rows of one page by the same key, and nothing else. */
const rawPage =
  (db: pg.Client, { account }: Owner) =>
  async (n: number): Promise<void> => {
    await db.query({
      name: "raw_page",
      text: `select id, sha256, size, subject, from_addresses, received_at from messages
           where account_id = $1 and received_at < $2 order by received_at desc, id desc limit 51`,
      values: [account, dateOf(somewhere(n))],
    });
  };

const dataDir = await mkdtemp(join(tmpdir(), "samebox-bench-"));
const postgres = await startEmbeddedPostgres({ dataDir, log: createLogger({ level: "fatal" }) });
try {
  await using daemon = await startDaemon({ built: true, env: { DATABASE_URL: postgres.url, SAMEBOX_ROLES: "api" } });
  const { body } = await daemon.call<{ id: string }>("POST", "/v1/accounts", {
    name: "Ana",
    email: "ana@example.test",
    endpoints: [
      {
        protocol: "imap",
        host: "127.0.0.1",
        port: 1,
        security: "none",
        auth: { type: "password", user: "ana", password: "ana" },
      },
    ],
  });
  const db = new pg.Client({ connectionString: postgres.url });
  await db.connect();
  const { raw, timed } = await (async () => {
    try {
      const owner = await fill(db, body.id);
      return { raw: await time("raw page", rawPage(db, owner)), timed: await measure(daemon, body.id) };
    } finally {
      await db.end();
    }
  })();
  const slow = Object.entries(timed).filter(([, { p95 }]) => p95 >= targetMs);
  report(
    "api",
    { messages, requests, targetMs, raw, ...timed, ratioP50: (timed["first"]?.p50 ?? 0) / raw.p50 },
    `of ${messages} messages the first page takes ${timed["first"]?.p50.toFixed(1)} ms at the median, a raw page ${raw.p50.toFixed(1)} ms; p95 of ${targetMs} ms or more: ${
      slow.map(([kind, { p95 }]) => `${kind} ${p95.toFixed(0)}`).join(", ") || "none"
    }.`,
  );
} finally {
  await postgres.stop();
  await rm(dataDir, { recursive: true, force: true });
}
