import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { formatId, type MailboxId } from "../../src/model/ids.ts";
import { openTestApi, type Reply, type TestApi } from "../support/api.ts";
import { kinds, placesOf, shown, WrittenMail } from "../support/written-mail.ts";

let api: TestApi;
let box: WrittenMail;
let inbox: MailboxId;
let work: MailboxId;
let unparsed: string[];

beforeAll(async () => {
  api = await openTestApi({ deps: { onUnparsed: ({ id }) => void unparsed.push(id) } });
});
afterAll(() => api.close());

beforeEach(async () => {
  unparsed = [];
  box = await WrittenMail.account(api);
  inbox = await box.rows.mailbox("INBOX", { role: "inbox" });
  work = await box.rows.mailbox("Work");
});

const octetsOf = (subject: string, size = 10): Buffer<ArrayBuffer> =>
  Buffer.from(
    `From: Bob <bob@example.test>\r\nMessage-ID: <${subject}@example.test>\r\nSubject: ${subject}\r\n\r\n${"x".repeat(size)}\r\n`,
  );

const bring = (octets: Uint8Array<ArrayBuffer>, query = "", headers: Record<string, string> = {}): Promise<Reply> =>
  api.request(`${box.account}/messages${query}`, {
    method: "POST",
    raw: octets,
    headers: { "content-type": "message/rfc822", "x-device-id": "A1", ...headers },
  });

test("a message is stored with its octets, keywords and time before it is answered", async () => {
  const before = await box.state();
  const octets = octetsOf("one");
  const reply = await bring(octets, `?mailboxId=${shown(work)}&keywords=$seen,Project-X&receivedAt=2026-01-02T03:04:05Z`);
  expect(reply.status).toBe(201);
  expect(reply.body).toMatchObject({
    status: "applied",
    reason: "imported",
    message: {
      subject: "one",
      messageId: "<one@example.test>",
      receivedAt: "2026-01-02T03:04:05.000Z",
      keywords: { $seen: true, "project-x": true },
      mailboxIds: { [shown(work)]: true },
      placements: [{ sync: "pending" }],
    },
  });
  expect(reply.headers.get("location")).toBe(`${box.account}/messages/${reply.body.message.id}`);
  expect((await api.request(`${reply.headers.get("location")}/raw`)).text).toBe(octets.toString());
  expect(kinds(await box.changesSince(before))).toEqual(["message.created(api_import,ID-7)"]);
  expect(unparsed).toEqual([box.rows.accountId]);
});

test("octets that are here already make no second message", async () => {
  const octets = octetsOf("twice");
  const first = await bring(octets);
  expect(placesOf(first)).toEqual([[shown(inbox), "live"]]);
  const again = await bring(octets, "?keywords=$flagged");
  expect([again.status, again.body.reason]).toEqual([200, "updated"]);
  expect(again.body.message).toMatchObject({ id: first.body.message.id, keywords: { $flagged: true } });
  expect((await bring(octets)).body.reason).toBe("unchanged");
  const elsewhere = await bring(octets, `?mailboxId=${shown(work)}&keywords=$seen&keywords=$draft`);
  expect(elsewhere.body).toMatchObject({ reason: "updated", message: { id: first.body.message.id } });
  expect(placesOf(elsewhere)).toEqual([
    [shown(inbox), "live"],
    [shown(work), "live"],
  ]);
  const { body } = await api.request(`${box.account}/messages`);
  expect(body.items).toHaveLength(1);
});

test("what was purged comes as a message of its own", async () => {
  const octets = octetsOf("purged");
  const { message, state } = (await bring(octets)).body;
  const id = message.id.replace("msg_", "").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  expect((await box.purge({ id }, { base: state })).body.status).toBe("applied");
  const again = await bring(octets);
  expect(again.status).toBe(201);
  expect(again.body.message.id).not.toBe(message.id);
});

test("sent again with its Idempotency-Key it has its first answer, with other octets it is refused", async () => {
  const octets = octetsOf("once");
  const key = { "idempotency-key": "import-1" };
  const first = await bring(octets, "", key);
  expect((await bring(octets, "", key)).body).toEqual(first.body);
  expect((await bring(octetsOf("other"), "", key)).body).toMatchObject({ status: 422, code: "idempotency_key_reused" });
  await api.db.query({ text: `delete from idempotency_keys` });
  expect((await bring(octetsOf("other"), "", key)).body).toMatchObject({ status: 422, code: "idempotency_key_reused" });
});

test("a large one goes through the spool, byte for byte; one larger than mail may be is refused", async () => {
  const octets = octetsOf("large", 3 * 1024 * 1024);
  const { message } = (await bring(octets)).body;
  expect((await api.request(`${box.account}/messages/${message.id}/raw`)).text).toBe(octets.toString());
  expect((await bring(octetsOf("too large", 5 * 1024 * 1024))).body).toMatchObject({ status: 413, code: "payload_too_large" });
});

test("what is no message, no mailbox or no keyword is named", async () => {
  expect((await bring(Buffer.alloc(0))).status).toBe(400);
  expect((await bring(octetsOf("m"), "?mailboxId=mbx_1")).body).toMatchObject({
    errors: [{ in: "query", pointer: "/mailboxId" }],
  });
  expect((await bring(octetsOf("m"), "?keywords=two%20words")).body).toMatchObject({
    errors: [{ in: "query", pointer: "/keywords/two words" }],
  });
  expect((await bring(octetsOf("m"), "?keywords=$recent")).body).toMatchObject({
    status: "rejected",
    reason: "keyword_read_only",
    message: null,
  });
  const foreign = await (await WrittenMail.account(api)).rows.mailbox("Foreign");
  expect((await bring(octetsOf("m"), `?mailboxId=${formatId("mbx", foreign)}`)).body).toMatchObject({
    reason: "mailbox_not_found",
  });
  const json = await api.request(`${box.account}/messages`, { json: {} });
  expect([json.status, json.body.code]).toEqual([415, "unsupported_media_type"]);
});
