import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Fence } from "../../src/model/account.ts";
import { type AccountId, formatId } from "../../src/model/ids.ts";
import { type ChangeListener, openChangeListener } from "../../src/store/change-listener.ts";
import { createSealer } from "../../src/store/sealing.ts";
import { WebhookSender } from "../../src/workers/webhooks.ts";
import { openTestApi, type TestApi } from "../support/api.ts";
import { eventually } from "../support/eventually.ts";
import { MailRows } from "../support/mail-rows.ts";
import { fenceOf, quietLog } from "../support/shard-owner.ts";
import { accountOf, addChanges, type Made, only, range, WebhookOwner } from "../support/webhook-owner.ts";
import { isSigned, startReceiver, status } from "../support/webhook-receiver.ts";

const sealer = createSealer(randomBytes(32));
const soon = { timeoutMs: 30_000, everyMs: 5 };
let api: TestApi;
let owner: WebhookOwner;
const make = (url: string, input?: Readonly<Record<string, unknown>>): Promise<Made> => owner.make(url, input);
let changes: ChangeListener;
let fence: Fence;
let sender: WebhookSender;
const rules = { allowPrivateHosts: true, allowCleartext: true };

beforeAll(async () => {
  api = await openTestApi({ deps: { sealer } });
  owner = new WebhookOwner(api);
  fence = await fenceOf(api.db, "01930000-0000-7000-8000-000000000000" as AccountId);
  changes = openChangeListener({ url: api.db.url, log: quietLog });
  await changes.listening;
  sender = new WebhookSender({
    db: api.db,
    log: quietLog,
    sealer,
    changes,
    rules,
    shards: 1,
    fences: () => [fence],
    holds: () => true,
  });
  sender.start();
});
afterAll(async () => {
  await sender.stop();
  await changes.close();
  await api.close();
});

test("what happens is sent once each, in order, signed, as the feed gives it", async () => {
  await using receiver = await startReceiver();
  const rows = await MailRows.account(api.db);
  await addChanges(rows, 3);
  const webhook = await make(receiver.url, only(rows));
  await addChanges(rows, 120);
  await eventually("all came", () => receiver.received.length >= 120, soon);
  expect(receiver.seqs()).toEqual(range(4, 123));
  const { body } = await api.request(`/v1/accounts/${accountOf(rows)}/changes?since=0.3&limit=500`);
  expect(receiver.received.map(({ event }) => event.data)).toEqual(body.items);
  expect(receiver.received.every((message) => isSigned(message, webhook.secret))).toBe(true);
  expect(new Set(receiver.received.map(({ id }) => id)).size).toBe(120);
  await eventually("deliveries are listed", async () => (await owner.deliveriesOf(webhook)).length === 120, soon);
  expect(JSON.stringify((await api.request(webhook.path)).body)).not.toContain(webhook.secret);
});

test("what is not taken is sent again under its id before anything else; redirects are failures", async () => {
  await using elsewhere = await startReceiver();
  await using receiver = await startReceiver();
  receiver.answer(status(302, { location: elsewhere.url }));
  const rows = await MailRows.account(api.db);
  const webhook = await make(receiver.url, only(rows));
  await addChanges(rows, 3);
  await eventually("it failed", async () => (await owner.deliveriesOf(webhook)).some(({ result }) => result === "3xx"), soon);
  const shown = () => api.request(webhook.path).then(({ body }) => body);
  await eventually("it is noted as failing", async () => (await shown()).failingSince !== null, soon);
  expect(await shown()).toMatchObject({ state: "enabled" });
  receiver.answer(null);
  await eventually("all came", () => receiver.received.length >= 4, soon);
  expect(receiver.seqs()).toEqual([1, 1, 2, 3]);
  expect(receiver.received[0]?.id).toBe(receiver.received[1]?.id);
  expect(elsewhere.received).toEqual([]);
  await eventually("all is listed", async () => (await owner.deliveriesOf(webhook)).length === 4, soon);
  expect((await owner.deliveriesOf(webhook)).map(({ seq, result, attempt }) => [seq, result, attempt])).toEqual([
    [3, "2xx", 1],
    [2, "2xx", 1],
    [1, "2xx", 2],
    [1, "3xx", 1],
  ]);
  expect((await api.request(webhook.path)).body).toMatchObject({ failingSince: null, lastSuccessAt: expect.any(String) });
});

test("a receiver that hangs holds up no other, nor another account's changes to itself", async () => {
  await using hanging = await startReceiver();
  await using receiver = await startReceiver();
  const [slow, quick] = [await MailRows.account(api.db), await MailRows.account(api.db)];
  hanging.answer((message, response) => {
    if (message.event.data.accountId === accountOf(quick)) response.writeHead(204).end();
  });
  const both = { accountIds: [accountOf(slow), accountOf(quick)] };
  await make(hanging.url, both);
  await make(receiver.url, both);
  await addChanges(slow, 2);
  await addChanges(quick, 2);
  await eventually("the others came", () => receiver.received.length === 4 && hanging.received.length === 3, soon);
  expect(hanging.seqs().sort()).toEqual([1, 1, 2]);
});

test("a tenant with many receivers that hang leaves another one its turn", async () => {
  await using hanging = await startReceiver();
  await using receiver = await startReceiver();
  hanging.answer(() => undefined);
  const tenantId = await MailRows.tenant(api.db);
  const headers = { "x-tenant-id": formatId("ten", tenantId) };
  const theirs = await Promise.all(range(1, 4).map(() => MailRows.account(api.db, tenantId)));
  const hung: string[] = [];
  for (const n of range(1, 18)) {
    const made = await api.request("/v1/webhooks", { json: { url: `${hanging.url}&n=${n}` }, headers });
    hung.push(`/v1/webhooks/${made.body.id}`);
  }
  for (const rows of theirs) await addChanges(rows, 1);
  await eventually("they have their share of the turns", () => hanging.received.length >= 28, soon);
  const rows = await MailRows.account(api.db);
  await make(receiver.url, only(rows));
  await addChanges(rows, 3);
  await eventually("the other one is served", () => receiver.received.length === 3, { timeoutMs: 10_000, everyMs: 5 });
  expect(hanging.received.length).toBeLessThanOrEqual(32);
  for (const path of hung) await api.request(path, { method: "DELETE", headers });
});

test("410 disables; enabled again it goes on where it stood", async () => {
  await using receiver = await startReceiver();
  const rows = await MailRows.account(api.db);
  const webhook = await make(receiver.url, only(rows));
  receiver.answer(status(410));
  await addChanges(rows, 2);
  const shown = () => api.request(webhook.path).then(({ body }) => body);
  await eventually("it is disabled", async () => (await shown()).state === "disabled", soon);
  expect(await shown()).toMatchObject({ disabledBecause: "gone" });
  await addChanges(rows, 1);
  expect(receiver.seqs()).toEqual([1]);
  receiver.answer(null);
  await api.request(webhook.path, { method: "PATCH", json: { enabled: true } });
  await addChanges(rows, 1);
  await eventually("all came", () => receiver.received.length >= 5, soon);
  expect(receiver.seqs()).toEqual([1, 1, 2, 3, 4]);
});

test("after a rotation both secrets sign, and only the new one where the old has ended", async () => {
  await using receiver = await startReceiver();
  const rows = await MailRows.account(api.db);
  const webhook = await make(receiver.url, only(rows));
  const rotate = async (json: object): Promise<string> => (await api.request(`${webhook.path}/secret`, { json })).body.secret;
  const second = await rotate({});
  await addChanges(rows, 1);
  await eventually("it came", () => receiver.received.length === 1, soon);
  const third = await rotate({ overlapHours: 0 });
  await addChanges(rows, 1);
  await eventually("the next came", () => receiver.received.length === 2, soon);
  const signedBy = receiver.received.map((message) => [webhook.secret, second, third].map((secret) => isSigned(message, secret)));
  expect(signedBy).toEqual([
    [true, true, false],
    [false, false, true],
  ]);
});

test("a change breaks off what is under way: it goes on at the new address, under the new secret alone, or not at all", async () => {
  await using hanging = await startReceiver();
  await using receiver = await startReceiver();
  const hang = (): void => undefined;
  hanging.answer(hang);
  const rows = await MailRows.account(api.db);
  const webhook = await make(hanging.url, only(rows));
  await addChanges(rows, 3);
  await eventually("it hangs", () => hanging.received.length === 1, soon);
  const began = Date.now();
  receiver.answer(hang);
  await api.request(webhook.path, { method: "PATCH", json: { url: receiver.url } });
  await eventually("it goes on elsewhere", () => receiver.received.length === 1, soon);
  const { secret } = (await api.request(`${webhook.path}/secret`, { json: { overlapHours: 0 } })).body;
  await eventually("it is signed anew", () => receiver.received.length === 2, soon);
  await api.request(webhook.path, { method: "PATCH", json: { enabled: false } });
  receiver.answer(null);
  await api.request(webhook.path, { method: "PATCH", json: { enabled: true } });
  await eventually("all came", () => receiver.seqs().at(-1) === 3, soon);
  // None of it waited for an answer that never comes (15 s each).
  expect(Date.now() - began).toBeLessThan(14_000);
  expect(receiver.seqs().filter((seq) => seq > 1)).toEqual([2, 3]);
  expect(
    new Set([...hanging.received, ...receiver.received].filter(({ event }) => event.data.seq === 1).map(({ id }) => id)).size,
  ).toBe(1);
  const signedBy = receiver.received.map((message) => [webhook.secret, secret].map((one) => isSigned(message, one)));
  expect(signedBy.slice(0, 2)).toEqual([
    [true, false],
    [false, true],
  ]);
  await eventually("none of it is a failure", async () => (await owner.deliveriesOf(webhook)).length === 3, soon);
  expect((await owner.deliveriesOf(webhook)).map(({ result }) => result)).toEqual(["2xx", "2xx", "2xx"]);
  await api.request(webhook.path, { method: "DELETE" });
});

test("a replay sends again from any state, under the same ids", async () => {
  await using receiver = await startReceiver();
  const rows = await MailRows.account(api.db);
  await addChanges(rows, 3);
  const webhook = await make(receiver.url, only(rows));
  await addChanges(rows, 1);
  await eventually("the new one came", () => receiver.received.length === 1, soon);
  const replay = (since: string) => api.request(`${webhook.path}/replay`, { json: { accountId: accountOf(rows), since } });
  expect((await replay("0.1")).status).toBe(202);
  await eventually("all came", () => receiver.received.length >= 4, soon);
  expect(receiver.seqs()).toEqual([4, 2, 3, 4]);
  expect(receiver.received[3]?.id).toBe(receiver.received[0]?.id);
  expect((await replay("0.5")).status).toBe(400);
  expect((await replay("1.1")).status).toBe(400);
});

test("a test event is sent once, also where the webhook is disabled", async () => {
  await using receiver = await startReceiver();
  const webhook = await make(receiver.url);
  await api.request(webhook.path, { method: "PATCH", json: { enabled: false } });
  const { status: code, body } = await api.request(`${webhook.path}/test`, { method: "POST" });
  expect(code).toBe(202);
  await eventually("it is listed", async () => (await owner.deliveriesOf(webhook)).length === 1, soon);
  expect(await owner.deliveriesOf(webhook)).toMatchObject([
    { id: body.deliveryId, kind: "webhook.test", result: "2xx", seq: null },
  ]);
  expect(receiver.received.map((message) => [message.event.type, isSigned(message, webhook.secret)])).toEqual([
    ["webhook.test", true],
  ]);
});

test("kinds are chosen, and an account that comes later is told of from its beginning", async () => {
  const tenantId = await MailRows.tenant(api.db);
  const { body: key } = await api.request("/v1/keys", {
    json: { name: "k", scopes: ["accounts", "mail:read"], tenantId: `ten_${tenantId.replaceAll("-", "")}` },
  });
  await using receiver = await startReceiver();
  const made = await api.request("/v1/webhooks", { key: key.key, json: { url: receiver.url, kinds: ["message.moved"] } });
  expect(made.status).toBe(201);
  const rows = await MailRows.account(api.db, tenantId);
  await addChanges(rows, 2);
  await rows.change({ kind: "message.moved" });
  await addChanges(rows, 1);
  await eventually("it came", () => receiver.received.length === 1, soon);
  expect(receiver.seqs()).toEqual([3]);
  const another = () => api.request("/v1/webhooks", { key: key.key, json: { url: receiver.url } });
  await Promise.all(range(1, 100).map(another));
  expect((await another()).status).toBe(409);
});

test("a kind that there is not is refused, not waited for", async () => {
  const json = { url: "http://127.0.0.1:9/", kinds: ["message.created", "message.keyword"] };
  const reply = await api.request("/v1/webhooks", { json });
  expect(reply.body).toMatchObject({ status: 400, errors: [{ in: "body", pointer: "/kinds/1" }] });
});

test("a log that was cut is not skipped over in silence; a later state gets past it", async () => {
  await using receiver = await startReceiver();
  const rows = await MailRows.account(api.db);
  await addChanges(rows, 4);
  const webhook = await make(receiver.url, only(rows));
  await api.db.query({ text: `delete from changes where account_id = $1 and seq <= 2`, values: [rows.accountId] });
  const replay = (since: string) => api.request(`${webhook.path}/replay`, { json: { accountId: accountOf(rows), since } });
  await replay("0.1");
  await eventually("it is told", async () => (await owner.deliveriesOf(webhook)).some(({ result }) => result === "cut"), soon);
  expect(receiver.received).toEqual([]);
  await replay("0.2");
  await eventually("the rest came", () => receiver.received.length === 2, soon);
  expect(receiver.seqs()).toEqual([3, 4]);
});
