import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { formatId, type MailboxId, type MessageId } from "../../src/model/ids.ts";
import { openTestApi, type Reply, type TestApi } from "../support/api.ts";
import { MailRows } from "../support/mail-rows.ts";

let api: TestApi;
let rows: MailRows;
let inbox: MailboxId;

beforeAll(async () => {
  api = await openTestApi();
  rows = await MailRows.account(api.db);
  inbox = await rows.mailbox("INBOX", { role: "inbox" });
});
afterAll(() => api.close());

const account = (): string => `/v1/accounts/${formatId("acc", rows.accountId)}`;
const mail = async (...keywords: string[]): Promise<MessageId> =>
  (await rows.message({ placements: [{ mailboxId: inbox, keywords, uid: Math.ceil(Math.random() * 1e9) }] })).id;

const patch = (
  id: MessageId,
  keywords: Record<string, boolean | null>,
  { device = "A1", base, ...headers }: { device?: string; base?: string; [header: string]: string | undefined } = {},
): Promise<Reply> =>
  api.request(`${account()}/messages/${formatId("msg", id)}`, {
    method: "PATCH",
    json: { keywords },
    headers: {
      "x-device-id": device,
      ...(base !== undefined && { "if-match": `"${base}"` }),
      ...(headers as Record<string, string>),
    },
  });
const state = async (): Promise<string> => (await api.request(account())).body.state;
const changesSince = async (since: string) => (await api.request(`${account()}/changes?since=${since}`)).body.items;

describe("keywords set over the API", () => {
  test("are durable and logged before they are answered, and the workers are rung", async () => {
    const id = await mail("$seen");
    const before = await state();
    const rings = api.rings.length;
    const reply = await patch(id, { $flagged: true, $seen: null, "Project-X": true }, { device: "phone" });
    expect(reply.body).toMatchObject({
      status: "applied",
      reason: "updated",
      message: { keywords: { $flagged: true, "project-x": true } },
    });
    expect(reply.headers.get("etag")).toBe(`"${reply.body.state}"`);
    expect(reply.body.message.placements[0]).toMatchObject({ sync: "pending", keywords: { $flagged: true } });
    expect(await changesSince(before)).toMatchObject([
      {
        kind: "message.keywords",
        before: { keywords: ["$seen"] },
        after: { keywords: ["$flagged", "project-x"] },
        cause: { source: "api", endpointId: null, deviceId: "phone" },
        reason: "api_keywords",
        rule: "F2",
      },
    ]);
    expect(api.rings.length).toBe(rings + 1);
  });

  test("that it has already change nothing", async () => {
    const id = await mail("$seen");
    const before = await state();
    expect((await patch(id, { $seen: true })).body).toMatchObject({ status: "applied", reason: "unchanged", state: before });
  });

  test("are set on every live placement (Q5)", async () => {
    const work = await rows.mailbox("Work");
    const { id } = await rows.message({
      placements: [{ mailboxId: inbox }, { mailboxId: work }, { mailboxId: work, lifecycle: "removed" }],
    });
    const { placements } = (await patch(id, { $flagged: true })).body.message;
    const flagged = placements.map((placement: { state: string; keywords: object }) => [placement.state, placement.keywords]);
    expect(flagged).toEqual([
      ["live", { $flagged: true }],
      ["live", { $flagged: true }],
      ["removed", {}],
    ]);
  });

  test("that only servers set are rejected, whole", async () => {
    const id = await mail();
    for (const keyword of ["$recent", "\\Deleted", "$submitted", "$phishing", "\\Custom"])
      expect((await patch(id, { [keyword]: true, $flagged: true })).body).toMatchObject({
        status: "rejected",
        reason: "keyword_read_only",
        message: { keywords: {} },
      });
  });

  test("that no keyword can be are invalid", async () => {
    expect((await patch(await mail(), { "two words": true })).body).toMatchObject({
      code: "invalid_request",
      errors: [{ in: "body", pointer: "/keywords/two words" }],
    });
    const many = Object.fromEntries(Array.from({ length: 101 }, (_, n) => [`word-${n}`, true]));
    expect((await patch(await mail(), many)).body).toMatchObject({ status: 400, errors: [{ pointer: "/keywords" }] });
  });
});

describe("devices that were offline", () => {
  test.each([
    ["unstar, then star", [null, true], { $flagged: true }],
    ["star, then unstar", [true, null], { $flagged: true }],
  ] as const)("S42 %s from one base: the star stays, and the other is told", async (_, [first, second], expected) => {
    const id = await mail(...(first === null ? ["$flagged"] : []));
    const base = await state();
    await patch(id, { $flagged: first }, { device: "A1", base });
    const reply = await patch(id, { $flagged: second }, { device: "A2", base });
    expect(reply.body.status).toBe(second === null ? "superseded" : "applied");
    expect(reply.body.message.keywords).toEqual(expected);
    expect((await changesSince(base)).at(-1)).toMatchObject({
      kind: "conflict.resolved",
      rule: "F4",
      evidence: [{ keyword: "$flagged", loser: "clear", source: first === null ? "device A1" : "device A2" }],
    });
  });

  test("S41 the same device changes its mind: its own order counts", async () => {
    const id = await mail();
    const base = await state();
    await patch(id, { $flagged: true }, { base });
    const reply = await patch(id, { $flagged: null }, { base });
    expect(reply.body).toMatchObject({ status: "applied", message: { keywords: {} } });
    expect((await changesSince(base)).map(({ kind }: { kind: string }) => kind)).toEqual([
      "message.keywords",
      "message.keywords",
    ]);
  });

  test("keep what they want unread, though an IMAP device read it meanwhile", async () => {
    const { id, placements } = await rows.message({ placements: [{ mailboxId: inbox }] });
    const base = await state();
    await rows.change({
      messageId: id,
      placementId: placements[0] as NonNullable<(typeof placements)[0]>,
      before: { keywords: [] },
      after: { keywords: ["$seen"] },
    });
    await rows.db.query({ text: `update placements set keywords = '{$seen}' where message_id = $1`, values: [id] });
    expect((await patch(id, { $seen: null }, { base })).body).toMatchObject({ status: "applied", message: { keywords: {} } });
    expect((await patch(id, { $seen: true }, { device: "A2", base })).body).toMatchObject({
      status: "superseded",
      reason: "concurrent_keywords",
    });
    // Who has seen all that comes after all.
    expect((await patch(id, { $seen: true }, { device: "A2" })).body).toMatchObject({ status: "applied", reason: "updated" });
  });

  test("an opinion that changed nothing is one all the same (F2)", async () => {
    const id = await mail("$seen");
    const before = await state();
    await patch(await mail(), { $flagged: true });
    await patch(id, { $seen: true }, { device: "A1" });
    expect((await patch(id, { $seen: null }, { device: "A2", base: before })).body.status).toBe("applied");
    expect((await changesSince(before)).at(-1)).toMatchObject({ kind: "conflict.resolved", evidence: [{ loser: "set" }] });
  });

  test("S122 a base older than the log still merges, and may destroy nothing", async () => {
    const id = await mail();
    const base = await state();
    await patch(id, { $flagged: true });
    await rows.db.query({ text: `delete from changes where account_id = $1`, values: [rows.accountId] });
    expect((await api.request(`${account()}/changes?since=${base}`)).body).toMatchObject({ code: "cannot_calculate_changes" });
    expect((await patch(id, { $flagged: null, $seen: true }, { device: "A2", base })).body).toMatchObject({
      status: "applied",
      message: { keywords: { $flagged: true, $seen: true } },
    });
    const purge = { method: "DELETE", headers: { "if-match": `"${base}"` } };
    expect((await api.request(`${account()}/messages/${formatId("msg", id)}?purge=true`, purge)).body.code).toBe(
      "state_mismatch",
    );
  });

  test("a state that the account was never in is a mismatch", async () => {
    const id = await mail();
    for (const base of ["0.999999", "7.0"])
      expect((await patch(id, { $seen: true }, { base })).body).toMatchObject({ status: 409, code: "state_mismatch" });
    expect((await patch(id, { $seen: true }, { base: "yesterday" })).status).toBe(400);
  });
});

describe("who may write", () => {
  test("a key of another tenant finds nothing, a key that may only read is refused", async () => {
    const id = await mail();
    const path = `${account()}/messages/${formatId("msg", id)}`;
    const tenant = (await api.request("/v1/tenants", { json: { name: "other" } })).body.id;
    const keyOf = async (json: object): Promise<string> =>
      (await api.request("/v1/keys", { json: { name: "k", ...json } })).body.key;
    const foreign = await keyOf({ scopes: ["mail:write"], tenantId: tenant });
    const reader = await keyOf({ scopes: ["mail:read"] });
    const send = (key: string): Promise<Reply> =>
      api.request(path, { method: "PATCH", json: { keywords: { $seen: true } }, key });
    expect((await send(foreign)).body).toMatchObject({ status: 404, code: "not_found" });
    expect((await send(reader)).body).toMatchObject({ status: 403, code: "forbidden" });
    const writer = await keyOf({ scopes: ["mail:write"] });
    expect((await send(writer)).body).toMatchObject({ status: "applied", message: null });
    const [, seq] = /\.(\d+)"$/.exec((await send(writer)).headers.get("etag") ?? "") ?? [];
    expect((await api.request(`${account()}/changes/${seq}/undo`, { method: "POST", key: writer })).body).toMatchObject({
      status: "applied",
      message: null,
    });
    const made = await api.request(`${account()}/mailboxes`, { method: "POST", json: { name: "Bills" } });
    const [, madeAt] = /\.(\d+)"$/.exec(made.headers.get("etag") ?? "") ?? [];
    const undone = await api.request(`${account()}/changes/${madeAt}/undo`, { method: "POST", key: writer });
    expect(undone.body).toMatchObject({ status: "applied", mailbox: null });
  });

  test("a message that is not there is not found", async () => {
    const { id } = await (await MailRows.account(api.db)).message();
    expect((await patch(id, { $seen: true })).body).toMatchObject({ status: 404, code: "not_found" });
  });
});

describe("S114 an operation that comes twice", () => {
  test("has its first answer and one effect", async () => {
    const id = await mail();
    const before = await state();
    const first = await patch(id, { $flagged: true }, { "idempotency-key": "op-1" });
    const again = await patch(id, { $flagged: true }, { "idempotency-key": "op-1" });
    expect(again.body).toEqual(first.body);
    expect(await changesSince(before)).toHaveLength(1);
    expect((await patch(id, { $flagged: null }, { "idempotency-key": "op-1" })).status).toBe(422);
  });

  test("also when the answer itself was forgotten", async () => {
    const id = await mail();
    await patch(id, { $flagged: true }, { "idempotency-key": "op-2" });
    await patch(id, { $flagged: null });
    await api.db.query({ text: `delete from idempotency_keys` });
    const again = await patch(id, { $flagged: true }, { "idempotency-key": "op-2" });
    expect(again.body).toMatchObject({ status: "applied", reason: "updated", message: { keywords: {} } });
    await api.db.query({ text: `delete from idempotency_keys` });
    expect((await patch(id, { $flagged: null }, { "idempotency-key": "op-2" })).body).toMatchObject({
      code: "idempotency_key_reused",
    });
  });
});
