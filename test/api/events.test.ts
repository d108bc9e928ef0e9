import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { formatId } from "../../src/model/ids.ts";
import type { Database, Tx } from "../../src/store/database.ts";
import { registry } from "../../src/telemetry/metrics.ts";
import { adminKey, openTestApi, type TestApi } from "../support/api.ts";
import { EventClient } from "../support/event-client.ts";
import { eventually } from "../support/eventually.ts";
import { MailRows } from "../support/mail-rows.ts";

let api: TestApi;

beforeAll(async () => {
  api = await openTestApi();
});

afterAll(() => api.close());

const eventsUrl = (rows: MailRows, query = ""): string =>
  `${api.url}/v1/accounts/${formatId("acc", rows.accountId)}/events${query}`;

const follow = (rows: MailRows, query = "", headers: Record<string, string> = {}): Promise<EventClient> =>
  EventClient.open(eventsUrl(rows, query), adminKey, headers);

const seqs = (client: EventClient): number[] => client.events.map((event) => event.data.seq as number);

const streamsOpen = async (): Promise<number> =>
  (await registry.getSingleMetric("samebox_sse_clients")?.get())?.values[0]?.value ?? 0;

test("a stream begins now, and carries each change with its state as id and its kind as event", async () => {
  const rows = await MailRows.account(api.db);
  const message = await rows.message();
  await rows.change({ after: { n: "before" } });
  const client = await follow(rows);
  expect(client.status).toBe(200);
  expect(client.headers).toMatchObject({
    "content-type": "text/event-stream",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
  });
  expect(client.headers["x-request-id"]).toBeDefined();
  await rows.change({ kind: "message.moved", messageId: message.id });
  await client.reached(1);
  expect(client.events[0]).toMatchObject({
    id: "0.2",
    event: "message.moved",
    data: {
      seq: 2,
      state: "0.2",
      kind: "message.moved",
      accountId: formatId("acc", rows.accountId),
      messageId: formatId("msg", message.id),
      cause: { source: "imap" },
    },
  });
  client.leave();
});

test("fifty follow an account at once, and no more until one leaves; another account has its own", async () => {
  const [rows, other] = [await MailRows.account(api.db), await MailRows.account(api.db)];
  const clients = await Promise.all(Array.from({ length: 50 }, () => follow(rows)));
  const refused = await follow(rows);
  expect([refused.status, refused.headers["retry-after"]]).toEqual([429, "60"]);
  clients.push(await follow(other));
  expect(clients.every(({ status }) => status === 200)).toBe(true);
  clients.shift()?.leave();
  await eventually("there is room", async () => {
    const next = await follow(rows);
    clients.push(next);
    return next.status === 200;
  });
  for (const client of clients) client.leave();
  await eventually("all have left", async () => (await streamsOpen()) === 0);
});

test("a client that lost us before the first event resumes from where it began", async () => {
  const rows = await MailRows.account(api.db);
  await rows.change();
  const client = await follow(rows);
  await eventually("the stream has an id", () => client.lastEventId === "0.1");
  client.leave();
  await rows.change();
  const again = await follow(rows, "", { "last-event-id": client.lastEventId });
  await again.reached(1);
  expect(seqs(again)).toEqual([2]);
  again.leave();
});

test("Last-Event-ID comes before ?since, and ?since before now", async () => {
  const rows = await MailRows.account(api.db);
  for (let n = 0; n < 3; n += 1) await rows.change();
  const since = await follow(rows, "?since=0.1");
  await since.reached(2);
  expect(seqs(since)).toEqual([2, 3]);
  since.leave();
  const resumed = await follow(rows, "?since=0.1", { "last-event-id": "0.2" });
  await resumed.reached(1);
  expect(seqs(resumed)).toEqual([3]);
  resumed.leave();
});

test("a state that cannot be followed is a problem before the stream begins", async () => {
  const rows = await MailRows.account(api.db);
  await rows.change();
  await rows.change();
  await api.db.query({ text: "delete from changes where account_id = $1 and seq = 1", values: [rows.accountId] });
  const path = `/v1/accounts/${formatId("acc", rows.accountId)}/events`;
  for (const since of ["0.0", "0.9", "1.2"]) {
    const answer = await api.request(`${path}?since=${since}`);
    expect([answer.status, answer.body.code]).toEqual([409, "cannot_calculate_changes"]);
    expect(answer.body.detail).toContain("0.2");
  }
  expect((await api.request(`${path}?since=yesterday`)).body).toMatchObject({
    code: "invalid_request",
    errors: [{ in: "query", pointer: "/since" }],
  });
  expect((await api.request(path, { headers: { "last-event-id": "x" } })).status).toBe(400);
  expect((await api.request(path, { method: "HEAD" })).status).toBe(405);
  const foreign = await MailRows.account(api.db, await MailRows.tenant(api.db));
  expect((await api.request(`/v1/accounts/${formatId("acc", foreign.accountId)}/events`)).status).toBe(404);
});

test("clients that come and go while several writers commit see every change exactly once", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 1, maxLength: 6 }),
      fc.integer({ min: 1, max: 3 }),
      async (stays, writers) => {
        const rows = await MailRows.account(api.db);
        const perWriter = 12;
        const total = writers * perWriter;
        const writing = Promise.all(
          Array.from({ length: writers }, async () => {
            for (let n = 0; n < perWriter; n += 1) await rows.change();
          }),
        );
        const seen: number[] = [];
        let lastEventId = "0.0";
        for (const stay of [...stays, total]) {
          const client = await follow(rows, "", { "last-event-id": lastEventId });
          // What it has read when it leaves counts, and no more: the rest of the page is lost on the way.
          await eventually("read enough", () => client.events.length >= Math.min(stay, total - seen.length), {
            timeoutMs: 20_000,
            everyMs: 1,
          });
          client.leave();
          seen.push(...seqs(client));
          // One that left before the first line keeps what it came with, as browsers do.
          if (client.lastEventId !== "") lastEventId = client.lastEventId;
        }
        await writing;
        expect(seen).toEqual(Array.from({ length: total }, (_, n) => n + 1));
      },
    ),
    { numRuns: 10 },
  );
});

test("more changes than a page come all, in order", async () => {
  const rows = await MailRows.account(api.db);
  await api.db.query({
    text: `with made as (insert into changes (account_id, seq, tenant_id, state_epoch, at, kind, source, reason, hash)
                         select $1, n, $2, 0, now(), 'message.created', 'imap', 'backfilled', '' from generate_series(1, 1234) n)
           update accounts set head_seq = 1234 where id = $1`,
    values: [rows.accountId, rows.tenantId],
  });
  const client = await follow(rows, "?since=0.0");
  await client.reached(1234);
  expect(seqs(client)).toEqual(Array.from({ length: 1234 }, (_, n) => n + 1));
  client.leave();
});

test("a client that does not read is sent no more than its socket holds", async () => {
  const rows = await MailRows.account(api.db);
  const count = 6_000;
  await api.db.query({
    text: `with made as (insert into changes (account_id, seq, tenant_id, state_epoch, at, kind, source, reason, hash, evidence)
                         select $1, n, $2, 0, now(), 'message.created', 'imap', 'backfilled', '', to_jsonb(array[repeat('x', 8000)]) from generate_series(1, $3::int) n)
           update accounts set head_seq = $3 where id = $1`,
    values: [rows.accountId, rows.tenantId, count],
  });
  let pages = 0;
  const { transactionFrom } = api.db;
  const counting = (tx: Tx): Tx => ({
    ...tx,
    query: (statement) => ((pages += statement.name === "tenant_changes_since" ? 1 : 0), tx.query(statement)),
  });
  const counted: Database["transactionFrom"] = (begin, work) => transactionFrom(begin, (tx) => work(counting(tx)));
  Object.assign(api.db, { transactionFrom: counted });
  const client = await follow(rows, "?since=0.0");
  client.pause();
  // The pages stop being read; 60 would be all of them.
  let before = -1;
  await eventually(
    "reading rests",
    () => {
      const rests = pages === before;
      before = pages;
      return rests && pages > 0;
    },
    { everyMs: 300 },
  );
  expect(pages).toBeLessThan(40);
  client.resume();
  await client.reached(count);
  expect(new Set(seqs(client)).size).toBe(count);
  Object.assign(api.db, { transactionFrom });
  client.leave();
});

test("streams are counted while they are open", async () => {
  const rows = await MailRows.account(api.db);
  await eventually("earlier streams are gone", async () => (await streamsOpen()) === 0);
  const client = await follow(rows);
  expect(await streamsOpen()).toBe(1);
  client.leave();
  await eventually("it is gone", async () => (await streamsOpen()) === 0);
});

test("a commit reaches the client at once", async () => {
  const rows = await MailRows.account(api.db);
  const client = await follow(rows);
  const delays: number[] = [];
  for (let n = 1; n <= 30; n += 1) {
    await rows.change();
    const committed = performance.now();
    await client.reached(n);
    delays.push((client.events[n - 1]?.at ?? Infinity) - committed);
  }
  delays.sort((a, b) => a - b);
  // A few milliseconds where nothing else runs; the polling of a lost notification would be thousands.
  expect(delays[15]).toBeLessThan(200);
  client.leave();
});

test("stopping the server ends its streams", async () => {
  const other = await openTestApi();
  const rows = await MailRows.account(other.db);
  const client = await EventClient.open(`${other.url}/v1/accounts/${formatId("acc", rows.accountId)}/events`, adminKey);
  const started = performance.now();
  await other.close();
  expect(performance.now() - started).toBeLessThan(4_000);
  await eventually("the client sees the end", () => client.ended);
});
