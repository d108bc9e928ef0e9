/**
 * bench:api – how long requests take of an account with a million messages, made by SQL in the daemon's own tables, beside a raw
 * client of the same database that reads the rows of one page by the same key. One request at a time over HTTP.
 * --messages N, --requests N of each kind, --keep FOLDER to make the account once and find it there the next time.
 */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { startEmbeddedPostgres } from "../src/embedded/postgres.ts";
import { createLogger } from "../src/telemetry/log.ts";
import { type Daemon, startDaemon } from "../test/support/daemon.ts";
import { type Filled, filledAccount, type Owner, wordless } from "./api-account.ts";
import { namedOption, option, progress, quantile, report } from "./report.ts";

const messages = option("messages", 1_000_000);
const requests = option("requests", 200);
const kept = namedOption("keep");
const warmUp = 20;
const targetMs = 20;

interface Timed {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
}

type Ask = (n: number) => Promise<void>;

const time = async (what: string, ask: Ask): Promise<Timed> => {
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

const timeAll = async (kinds: Readonly<Record<string, Ask>>): Promise<Record<string, Timed>> => {
  const timed: Record<string, Timed> = {};
  for (const [kind, ask] of Object.entries(kinds)) timed[kind] = await time(kind, ask);
  return timed;
};

const mailboxId = (n: number): string => `mbx_${n.toString(16).padStart(12, "0")}70008000000000000003`;
const messageId = (n: number): string => `msg_${n.toString(16).padStart(12, "0")}70008000000000000001`;
/** Somewhere in the account, elsewhere each time. */
const somewhere = (n: number): number => 1 + ((n * 7919) % messages);
const dateOf = (n: number): string => new Date(Date.UTC(2020, 0, 1) + n * 120_000).toISOString();

const caller =
  (daemon: Daemon, base: string) =>
  async <Body>(path: string, change?: { method: string; body?: unknown }): Promise<Body> => {
    const { status, body } = await daemon.call<Body>(change?.method ?? "GET", `/v1${base}${path}`, change?.body);
    if (status >= 300) throw new Error(`${path}: ${status} ${JSON.stringify(body)}`);
    return body;
  };

const lists = async (daemon: Daemon, { accountId, webhookId }: Filled): Promise<Record<string, Ask>> => {
  const get = caller(daemon, `/accounts/${accountId}`);
  const ofTenant = caller(daemon, "");
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
  const threeFilters = `text=report&notKeyword=$seen&since=${dateOf(messages / 2)}`;
  return {
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
    wordOfAHundredth: listed("text=invoice"),
    wordOfThreeHundredths: listed("text=letter"),
    afterTheLastOfIt: listed(`text=letter&before=${dateOf(wordless)}`),
    wordOfAThousandth: listed("text=budget"),
    rareWordInMailbox: listed(`text=zebra&${inMailbox}`),
    wordOfAHundredthInMailbox: listed(`text=invoice&${inMailbox}`),
    commonWordInAnotherMailbox: listed(`text=report&mailboxId=${mailboxId(5)}`),
    wordOfANamedMessage: listed(`text=message&messageId=${encodeURIComponent("<1@bench.test>")}`),
    threeFilters: listed(threeFilters),
    removedToo: listed("include=removed&keyword=$flagged"),
    messageIdHeader: async (n) => void (await list(`messageId=${encodeURIComponent(`<${somewhere(n)}@bench.test>`)}`)),
    one: async (n) => void (await get(`/messages/${messageId(somewhere(n))}`)),
    changes: async (n) => void (await get(`/changes?since=0.${somewhere(n)}&limit=500`)),
    mailboxes: async () => void (await get("/mailboxes")),
    holds: async () => void (await get("/holds")),
    status: async () => void (await get("/status")),
    accounts: async () => void (await ofTenant("/accounts")),
    audit: async () => void (await ofTenant("/audit")),
    deliveries: async () => void (await ofTenant(`/webhooks/${webhookId}/deliveries`)),
  };
};

/** Of messages elsewhere each time, and always something that changes. */
const writes = (daemon: Daemon, { accountId }: Filled): Record<string, Ask> => {
  const write = caller(daemon, `/accounts/${accountId}`);
  const ofRun = `run-${Date.now()}`;
  const batch = (n: number) =>
    Array.from({ length: 100 }, (_, at) => ({
      op: "patch",
      messageId: messageId(somewhere(n * 100 + at)),
      keywords: { [ofRun]: true },
    }));
  return {
    patch: async (n) => {
      const body = { keywords: { [`${ofRun}-${n}`]: true } };
      await write(`/messages/${messageId(somewhere(n))}`, { method: "PATCH", body });
    },
    batchOf100: async (n) => void (await write("/batch", { method: "POST", body: { ops: batch(n) } })),
  };
};

const table = (timed: Readonly<Record<string, Timed>>, target: number): string =>
  Object.entries(timed)
    .map(([kind, { p50, p95 }]) => {
      const figures = [p50, p95].map((ms) => ms.toFixed(1).padStart(8)).join("");
      return `${kind.padEnd(28)}${figures}${p95 < target ? "" : "  missed"}`;
    })
    .join("\n");

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

const dataDir = kept ?? (await mkdtemp(join(tmpdir(), "samebox-bench-")));
await mkdir(dataDir, { recursive: true });
const postgres = await startEmbeddedPostgres({ dataDir, log: createLogger({ level: "fatal" }) });
const db = new pg.Client({ connectionString: postgres.url });
try {
  await using daemon = await startDaemon({ built: true, env: { DATABASE_URL: postgres.url, SAMEBOX_ROLES: "api" } });
  await db.connect();
  const filled = await filledAccount(daemon, db, messages);
  const raw = await time("raw page", rawPage(db, filled.owner));
  const listed = await timeAll(await lists(daemon, filled));
  const written = await timeAll(writes(daemon, filled));
  process.stdout.write(
    `${"ms of a request".padEnd(28)}     p50     p95\n${table(listed, targetMs)}\nwrites\n${table(written, Infinity)}\n`,
  );
  const slow = Object.entries(listed).filter(([, { p95 }]) => p95 >= targetMs);
  report(
    "api",
    { messages, requests, targetMs, raw, ...listed, writes: written, ratioP50: (listed["first"]?.p50 ?? 0) / raw.p50 },
    `of ${messages} messages the first page takes ${listed["first"]?.p50.toFixed(1)} ms at the median, a raw page ${raw.p50.toFixed(1)} ms; lists of a p95 of ${targetMs} ms or more: ${
      slow.map(([kind, { p95 }]) => `${kind} ${p95.toFixed(0)}`).join(", ") || "none"
    }.`,
  );
} finally {
  await db.end();
  await postgres.stop();
  if (kept === null) await rm(dataDir, { recursive: true, force: true });
}
