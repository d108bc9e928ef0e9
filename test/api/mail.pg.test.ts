import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { formatId, type MailboxId, type MessageId } from "../../src/model/ids.ts";
import { openParser, type Parser } from "../../src/mime/parser.ts";
import { createLogger } from "../../src/telemetry/log.ts";
import { openTestApi, type Reply, type Request, type TestApi } from "../support/api.ts";
import { MailRows } from "../support/mail-rows.ts";

let api: TestApi;
let parser: Parser;
let rows: MailRows;
let inbox: MailboxId;
let work: MailboxId;
let account: string;

const crlf = (lines: readonly string[]): Buffer => Buffer.from(lines.join("\r\n"));

const rich = crlf([
  "From: Bob <bob@example.test>",
  "Subject: rich",
  'Content-Type: multipart/mixed; boundary="b"',
  "",
  "--b",
  "Content-Type: text/html; charset=utf-8",
  "",
  '<p onclick="evil()">Grüße<script>evil()</script></p>',
  "--b",
  "Content-Type: text/plain; name=notes.txt",
  "Content-Disposition: attachment; filename*=utf-8''..%2F%E2%80%AEgr%C3%BC%C3%9Fe.txt",
  "Content-Transfer-Encoding: base64",
  "",
  Buffer.from("0123456789").toString("base64"),
  "--b--",
  "",
]);

const day = (n: number): Date => new Date(Date.UTC(2026, 0, n));
const plain = new Map<string, { id: MessageId; octets: Buffer }>();
let richId: MessageId;

beforeAll(async () => {
  parser = openParser({ threads: 1, timeoutMs: 10_000, maxHeapMb: 256, log: createLogger({ level: "silent" }) });
  api = await openTestApi({ deps: { parser } });
  rows = await MailRows.account(api.db);
  account = `/v1/accounts/${formatId("acc", rows.accountId)}`;
  inbox = await rows.mailbox("INBOX", { role: "inbox" });
  work = await rows.mailbox("Work", { parentId: inbox });
  const put = async (subject: string, input: Parameters<MailRows["message"]>[0]): Promise<void> => {
    plain.set(subject, await rows.message({ subject, ...input }));
  };
  await put("one", {
    receivedAt: day(1),
    messageId: "<one@example.test>",
    placements: [{ mailboxId: inbox, keywords: ["$seen"], uid: 1 }],
    parsed: { preview: "hello", words: "quick brown fox" },
  });
  await put("two", {
    receivedAt: day(2),
    placements: [
      { mailboxId: inbox, keywords: ["$flagged", "$seen"], uid: 2 },
      { mailboxId: work, uid: 3 },
    ],
  });
  await put("gone", { receivedAt: day(3), placements: [{ mailboxId: inbox, lifecycle: "removed" }] });
  await put("stub", { receivedAt: day(4), octets: null, placements: [{ mailboxId: work, uid: 4 }] });
  richId = (await rows.message({ subject: "rich", octets: rich, receivedAt: day(5), placements: [{ mailboxId: work, uid: 5 }] }))
    .id;
});
afterAll(async () => {
  await api.close();
  await parser[Symbol.asyncDispose]();
});

const get = (path: string, request: Request = {}): Promise<Reply> => api.request(account + path, request);
const ofMessage = (subject: string): string => `/messages/${formatId("msg", plain.get(subject)?.id ?? "")}`;
const ofRich = (): string => `/messages/${formatId("msg", richId)}`;

test("mailboxes have role, path, parent, counters and the state of what upstream shows", async () => {
  const { body, headers } = await get("/mailboxes");
  expect(headers.get("etag")).toBe(`"${body.state}"`);
  expect(body.items).toEqual([
    {
      id: formatId("mbx", inbox),
      name: "INBOX",
      path: "INBOX",
      parentId: null,
      role: "inbox",
      totalMessages: 2,
      unreadMessages: 0,
      sync: "synced",
    },
    {
      id: formatId("mbx", work),
      name: "Work",
      path: "INBOX/Work",
      parentId: formatId("mbx", inbox),
      role: null,
      totalMessages: 3,
      unreadMessages: 3,
      sync: "synced",
    },
  ]);
});

describe("the list of messages", () => {
  test.each([
    ["", ["rich", "stub", "two", "one"]],
    ["?include=removed", ["rich", "stub", "gone", "two", "one"]],
    ["?mailboxId={inbox}", ["two", "one"]],
    ["?role=inbox", ["two", "one"]],
    ["?role=inbox&mailboxId={work}", []],
    ["?role=trash", []],
    ["?keyword=$flagged", ["two"]],
    ["?keyword=$Flagged", ["two"]],
    ["?keyword=$seen", ["one"]],
    ["?notKeyword=$seen&mailboxId={work}", ["rich", "stub", "two"]],
    ["?messageId=<one@example.test>", ["one"]],
    ["?text=brown", ["one"]],
    ['?text="brown quick"', []],
    ["?text=two", ["two"]],
    ["?since=2026-01-02T00:00:00Z&before=2026-01-05T00:00:00Z", ["stub", "two"]],
    ["?since=2026-01-04T01:00:00%2B01:00&before=2026-01-04T00:00:01Z", ["stub"]],
    ["?include=removed&role=inbox&notKeyword=$seen", ["gone"]],
    ["?limit=500&mailboxId={work}&keyword=$draft", []],
  ])("with %j holds %j", async (query, subjects) => {
    const filled = query.replace("{inbox}", formatId("mbx", inbox)).replace("{work}", formatId("mbx", work));
    const { status, body, headers } = await get(`/messages${filled}`);
    expect(status).toBe(200);
    expect(body.items.map((item: { subject: string }) => item.subject)).toEqual(subjects);
    expect([body.nextCursor, headers.get("etag")]).toEqual([null, `"${body.state}"`]);
  });

  test("comes in pages", async () => {
    const seen: string[] = [];
    for (let cursor = ""; ;) {
      const { body } = await get(`/messages?limit=1${cursor}`);
      seen.push(...body.items.map((item: { subject: string }) => item.subject));
      if (body.nextCursor === null) break;
      cursor = `&cursor=${body.nextCursor}`;
    }
    expect(seen).toEqual(["rich", "stub", "two", "one"]);
  });

  test.each([
    ["?role=boss", 400, "/role"],
    ["?include=all", 400, "/include"],
    ["?since=yesterday", 400, "/since"],
    ["?before=2026-01-01", 400, "/before"],
    ["?since=2026-06-30T23:59:60Z", 400, "/since"],
    ["?mailboxId=inbox", 400, "/mailboxId"],
    ["?mailboxId=mbx_00000000000000000000000000000000", 404, null],
    ["?keyword=", 400, "/keyword"],
    ["?text=%00", 400, "/text"],
    ["?cursor=WyIxIiwiMiJd", 400, "/cursor"],
    ["?cursor=WyJhIiwiYiJd", 400, "/cursor"],
    ["?Keyword=x", 400, "/Keyword"],
  ])("refuses %j with %i", async (query, status, pointer) => {
    const { body } = await get(`/messages${query}`);
    expect([body.status, body.errors?.[0]?.pointer ?? null]).toEqual([status, pointer]);
  });
});

describe("one message", () => {
  test("has all fields of the contract, its placements and their bindings", async () => {
    const { body, headers } = await get(ofMessage("two"));
    expect(headers.get("etag")).toBe('"0.0"');
    expect(body).toMatchObject({
      subject: "two",
      blobId: `sha256-${createHash("sha256")
        .update(plain.get("two")?.octets ?? "")
        .digest("hex")}`,
      threadId: expect.stringMatching(/^thr_/),
      receivedAt: day(2).toISOString(),
      from: [{ name: null, email: "bob@example.test" }],
      to: [],
      cc: [],
      bcc: [],
      mailboxIds: { [formatId("mbx", inbox)]: true, [formatId("mbx", work)]: true },
      keywords: { $flagged: true },
      state: "0.0",
    });
    expect(body.placements).toMatchObject([
      {
        mailboxId: formatId("mbx", inbox),
        keywords: { $flagged: true, $seen: true },
        state: "live",
        sync: "synced",
        reason: "delivered",
        recoverableUntil: null,
      },
      {
        mailboxId: formatId("mbx", work),
        keywords: {},
        bindings: [{ endpointId: formatId("end", rows.endpointId), protocol: "imap", uid: 3, uidValidity: 77 }],
      },
    ]);
  });

  test("that was removed can be read while it can be brought back", async () => {
    const { body } = await get(ofMessage("gone"));
    expect(body).toMatchObject({ mailboxIds: {}, placements: [{ state: "removed", recoverableUntil: expect.any(String) }] });
  });

  test("is parsed when it is asked for, if the workers have not come to it", async () => {
    expect((await get(ofRich())).body).toMatchObject({
      parseStatus: "parsed",
      hasAttachment: true,
      attachments: [{ filename: expect.any(String), contentType: "text/plain", size: 10, inline: false }],
    });
  });
});

describe("raw octets", () => {
  const etag = `"${createHash("sha256").update(rich).digest("hex")}"`;

  test("are those first read, as a download that no browser runs", async () => {
    const reply = await get(`${ofRich()}/raw`);
    expect(reply.text).toBe(rich.toString());
    expect(Object.fromEntries(reply.headers)).toMatchObject({
      "content-type": "message/rfc822",
      "content-length": String(rich.length),
      "accept-ranges": "bytes",
      etag,
      "content-disposition": `attachment; filename=${formatId("msg", richId)}.eml`,
      "content-security-policy": "sandbox; default-src 'none'",
      "cache-control": "private, no-cache",
    });
  });

  test.each([
    ["bytes=0-3", 206, [0, 3]],
    ["bytes=5-", 206, [5, rich.length - 1]],
    ["bytes=-4", 206, [rich.length - 4, rich.length - 1]],
    [`bytes=0-${rich.length * 2}`, 206, [0, rich.length - 1]],
    ["bytes=0-1,3-4", 200, null],
    ["lines=0-1", 200, null],
    ["bytes=x", 200, null],
  ] as const)("in the range %s answer %i", async (range, status, ends) => {
    const reply = await get(`${ofRich()}/raw`, { headers: { range } });
    expect(reply.status).toBe(status);
    const [from, to] = ends ?? [0, rich.length - 1];
    expect(reply.text).toBe(rich.subarray(from, to + 1).toString());
    expect(reply.headers.get("content-range")).toBe(ends === null ? null : `bytes ${from}-${to}/${rich.length}`);
  });

  test("beyond the end are not there", async () => {
    const reply = await get(`${ofRich()}/raw`, { headers: { range: `bytes=${rich.length}-` } });
    expect(reply.body).toMatchObject({ status: 416, code: "range_not_satisfiable" });
    expect(reply.headers.get("content-range")).toBe(`bytes */${rich.length}`);
  });

  test("are not sent to who has them, and a range of what has changed is the whole", async () => {
    for (const known of [etag, `W/${etag}`, `"x", ${etag}`, "*"]) {
      const reply = await get(`${ofRich()}/raw`, { headers: { "if-none-match": known } });
      expect([reply.status, reply.text, reply.headers.get("etag")]).toEqual([304, "", etag]);
    }
    expect((await get(`${ofRich()}/raw`, { headers: { "if-none-match": '"x"' } })).status).toBe(200);
    expect((await get(`${ofRich()}/raw`, { headers: { range: "bytes=0-3", "if-range": '"x"' } })).status).toBe(200);
    expect((await get(`${ofRich()}/raw`, { headers: { range: "bytes=0-3", "if-range": etag } })).status).toBe(206);
    const head = await get(`${ofRich()}/raw`, { method: "HEAD" });
    expect([head.status, head.text, head.headers.get("content-length")]).toEqual([200, "", String(rich.length)]);
  });

  test("of a stub are not had yet, which is said", async () => {
    for (const part of ["raw", "body", "attachments/1"])
      expect((await get(`${ofMessage("stub")}/${part}`)).body).toMatchObject({ status: 409, code: "body_not_available" });
  });
});

test("the body is readable text and HTML that does nothing", async () => {
  const { body } = await get(`${ofRich()}/body`);
  expect(body).toMatchObject({ truncated: false, state: "0.0", html: expect.stringContaining("Grüße") });
  expect(body.html).not.toMatch(/script|onclick|evil/);
  expect((await get(`${ofMessage("one")}/body`)).body).toMatchObject({ text: expect.stringContaining("Message"), html: null });
});

test("an attachment is its decoded octets under a harmless name, in ranges too", async () => {
  const [{ partId }] = (await get(ofRich())).body.attachments;
  const path = `${ofRich()}/attachments/${partId}`;
  const reply = await get(path);
  expect([reply.text, reply.headers.get("content-type"), reply.headers.get("x-content-type-options")]).toEqual([
    "0123456789",
    "text/plain",
    "nosniff",
  ]);
  const name = decodeURIComponent(reply.headers.get("content-disposition") ?? "");
  expect(name).toContain("attachment;");
  expect(name).toContain("grüße.txt");
  expect(name).not.toMatch(/[/\\]|\u202E/u);
  const part = await get(path, { headers: { range: "bytes=3-5" } });
  expect([part.status, part.text, part.headers.get("content-range")]).toEqual([206, "345", "bytes 3-5/10"]);
  expect((await get(path, { headers: { "if-none-match": reply.headers.get("etag") ?? "" } })).status).toBe(304);
  for (const none of ["99", "x", "..%2f..", "1".repeat(200)])
    expect((await get(`${ofRich()}/attachments/${none}`)).status).toBe(404);
});

test("the change feed and the story of a message tell the same changes, page by page", async () => {
  const own = await MailRows.account(api.db);
  const { id } = await own.message();
  for (let n = 0; n < 5; n += 1) await own.change(n % 2 === 0 ? { messageId: id } : {});
  const base = `/v1/accounts/${formatId("acc", own.accountId)}`;
  const first = (await api.request(`${base}/changes?since=0.0&limit=2`)).body;
  expect(first).toMatchObject({ oldState: "0.0", newState: "0.2", hasMore: true, items: [{ seq: 1 }, { seq: 2 }] });
  const rest = (await api.request(`${base}/changes?since=${first.newState}&limit=500`)).body;
  expect(rest).toMatchObject({ oldState: "0.2", newState: "0.5", hasMore: false });
  expect((await api.request(`${base}/changes?since=0.5`)).body).toMatchObject({ newState: "0.5", hasMore: false, items: [] });
  for (const since of ["0.6", "1.0"])
    expect((await api.request(`${base}/changes?since=${since}`)).body).toMatchObject({
      status: 409,
      code: "cannot_calculate_changes",
    });
  expect((await api.request(`${base}/changes`)).body.errors).toMatchObject([
    { in: "query", pointer: "/since", detail: "is required" },
  ]);
  const story = (await api.request(`${base}/messages/${formatId("msg", id)}/explain?limit=2`)).body;
  const end = (await api.request(`${base}/messages/${formatId("msg", id)}/explain?cursor=${story.nextCursor}`)).body;
  const all = [...first.items, ...rest.items].filter((change: { messageId: string | null }) => change.messageId !== null);
  expect([...story.items, ...end.items]).toMatchObject(all);
  expect(end.nextCursor).toBeNull();
});

test("what belongs to another account is not found through one's own, tenant or no tenant", async () => {
  const foreign = await MailRows.account(api.db, await MailRows.tenant(api.db));
  const sibling = await MailRows.account(api.db);
  for (const other of [foreign, sibling]) {
    const mailboxId = await other.mailbox("Theirs", { role: "archive" });
    const { id } = await other.message({ messageId: "<theirs@example.test>", subject: "theirs", placements: [{ mailboxId }] });
    await other.change({ messageId: id });
    for (const part of ["", "/raw", "/body", "/attachments/1", "/explain"])
      expect((await get(`/messages/${formatId("msg", id)}${part}`)).body).toMatchObject({ status: 404, code: "not_found" });
    expect((await get(`/messages?mailboxId=${formatId("mbx", mailboxId)}`)).status).toBe(404);
    for (const query of ["messageId=<theirs@example.test>", "text=theirs", "role=archive"])
      expect((await get(`/messages?${query}`)).body.items).toEqual([]);
    const list = await api.request(`/v1/accounts/${formatId("acc", other.accountId)}/messages`);
    expect(list.status).toBe(other === sibling ? 200 : 404);
    // A place in their list is no key to it.
    const cursor = Buffer.from(JSON.stringify([String(BigInt(day(9).getTime()) * 1000n), id])).toString("base64url");
    const shown = (await get(`/messages?cursor=${cursor}`)).body.items.map((item: { subject: string }) => item.subject);
    expect(shown).toEqual(["rich", "stub", "two", "one"]);
  }
});

test.each(["msg_", "msg_1", "acc_00000000000000000000000000000000", "msg_00000000000000000000000000000000", "%00", "-"])(
  "%s is no message",
  async (id) => {
    for (const part of ["", "/raw", "/body", "/attachments/1", "/explain"])
      expect((await get(`/messages/${id}${part}`)).body).toMatchObject({ status: 404, code: "not_found" });
  },
);

test("an account id in another spelling is another id", async () => {
  const id = formatId("acc", rows.accountId);
  for (const other of [id.toUpperCase(), id.slice(0, -1), `${id}0`, rows.accountId])
    expect((await api.request(`/v1/accounts/${other}/messages`)).status).toBe(404);
});
