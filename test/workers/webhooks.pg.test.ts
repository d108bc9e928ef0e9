import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Fence } from "../../src/model/account.ts";
import type { AccountId, WebhookId } from "../../src/model/ids.ts";
import { parseId } from "../../src/model/ids.ts";
import { type ChangeListener, openChangeListener } from "../../src/store/change-listener.ts";
import { createSealer } from "../../src/store/sealing.ts";
import { keepProgress, listDueLanes, noteFailure, noteTaken, takeWebhook } from "../../src/store/webhook-lanes.ts";
import { WebhookSender } from "../../src/workers/webhooks.ts";
import { openTestApi, type TestApi } from "../support/api.ts";
import { eventually } from "../support/eventually.ts";
import { MailRows } from "../support/mail-rows.ts";
import { fenceOf, quietLog } from "../support/shard-owner.ts";
import { isSigned, startReceiver, status } from "../support/webhook-receiver.ts";

const sealer = createSealer(randomBytes(32));
const soon = { timeoutMs: 30_000, everyMs: 5 };
let api: TestApi;
let changes: ChangeListener;
let fence: Fence;
let sender: WebhookSender;
const rules = { allowPrivateHosts: true, allowCleartext: true };

beforeAll(async () => {
  api = await openTestApi({ deps: { sealer } });
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

interface Made {
  readonly id: string;
  readonly secret: string;
  readonly path: string;
}

const make = async (url: string, input: Readonly<Record<string, unknown>> = {}): Promise<Made> => {
  const { status: code, body } = await api.request("/v1/webhooks", { json: { url, ...input } });
  expect(code, JSON.stringify(body)).toBe(201);
  return { ...body, path: `/v1/webhooks/${body.id}` };
};

const accountOf = (rows: MailRows): string => `acc_${rows.accountId.replaceAll("-", "")}`;
const only = (rows: MailRows): { accountIds: string[] } => ({ accountIds: [accountOf(rows)] });
const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, n) => from + n);
const addChanges = async (rows: MailRows, count: number): Promise<void> => {
  for (let n = 0; n < count; n += 1) await rows.change();
};
const idOf = ({ id }: Made): WebhookId => parseId<WebhookId>("whk", id) as WebhookId;
const deliveriesOf = async ({
  path,
}: Made): Promise<{ id: string; seq: number | null; result: string; attempt: number; kind: string }[]> =>
  (await api.request(`${path}/deliveries?limit=500`)).body.items;

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
  await eventually("deliveries are listed", async () => (await deliveriesOf(webhook)).length === 120, soon);
  expect(JSON.stringify((await api.request(webhook.path)).body)).not.toContain(webhook.secret);
});

test("what is not taken is sent again under its id before anything else; redirects are failures", async () => {
  await using elsewhere = await startReceiver();
  await using receiver = await startReceiver();
  receiver.answer(status(302, { location: elsewhere.url }));
  const rows = await MailRows.account(api.db);
  const webhook = await make(receiver.url, only(rows));
  await addChanges(rows, 3);
  await eventually("it failed", async () => (await deliveriesOf(webhook)).some(({ result }) => result === "3xx"), soon);
  expect((await api.request(webhook.path)).body).toMatchObject({ state: "enabled", failingSince: expect.any(String) });
  receiver.answer(null);
  await eventually("all came", () => receiver.received.length >= 4, soon);
  expect(receiver.seqs()).toEqual([1, 1, 2, 3]);
  expect(receiver.received[0]?.id).toBe(receiver.received[1]?.id);
  expect(elsewhere.received).toEqual([]);
  await eventually("all is listed", async () => (await deliveriesOf(webhook)).length === 4, soon);
  expect((await deliveriesOf(webhook)).map(({ seq, result, attempt }) => [seq, result, attempt])).toEqual([
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
  await eventually("it is listed", async () => (await deliveriesOf(webhook)).length === 1, soon);
  expect(await deliveriesOf(webhook)).toMatchObject([{ id: body.deliveryId, kind: "webhook.test", result: "2xx", seq: null }]);
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

test("a log that was cut is not skipped over in silence; a later state gets past it", async () => {
  await using receiver = await startReceiver();
  const rows = await MailRows.account(api.db);
  await addChanges(rows, 4);
  const webhook = await make(receiver.url, only(rows));
  await api.db.query({ text: `delete from changes where account_id = $1 and seq <= 2`, values: [rows.accountId] });
  const replay = (since: string) => api.request(`${webhook.path}/replay`, { json: { accountId: accountOf(rows), since } });
  await replay("0.1");
  await eventually("it is told", async () => (await deliveriesOf(webhook)).some(({ result }) => result === "cut"), soon);
  expect(receiver.received).toEqual([]);
  await replay("0.2");
  await eventually("the rest came", () => receiver.received.length === 2, soon);
  expect(receiver.seqs()).toEqual([3, 4]);
});

describe("the lanes in the database", () => {
  const failing = async () => {
    const [first, second] = [await MailRows.account(api.db), await MailRows.account(api.db)];
    // A port nobody listens on; what is sent here is counted by hand.
    const webhook = await make("http://127.0.0.1:9/", {
      accountIds: [accountOf(first), accountOf(second)],
      kinds: ["message.moved"],
    });
    await api.db.query({
      text: `update webhook_lanes set due_at = now() + interval '1 hour' where webhook_id = $1`,
      values: [idOf(webhook)],
    });
    await addChanges(first, 1);
    await addChanges(second, 1);
    const due = async () =>
      (await listDueLanes(api.db, { shards: 1, owned: [0] }, [first.accountId, second.accountId])).filter(
        ({ webhookId }) => webhookId === idOf(webhook),
      );
    return { webhook, due };
  };

  test("five failures in a row open the breaker; then one tries, and success lets all go on", async () => {
    await sender.stop();
    const { webhook, due } = await failing();
    const id = idOf(webhook);
    for (let n = 0; n < 4; n += 1) expect(await noteFailure(api.db, id, { gone: false, waitMs: 60_000 })).toBeNull();
    expect(await takeWebhook(api.db, sealer, id)).not.toBeNull();
    await noteFailure(api.db, id, { gone: false, waitMs: 60_000 });
    expect(await takeWebhook(api.db, sealer, id)).toBeNull();
    expect((await api.request(webhook.path)).body.nextAttemptAt).toEqual(expect.any(String));
    await noteFailure(api.db, id, { gone: false, waitMs: 0 });
    const takes = await Promise.all([1, 2, 3].map(() => takeWebhook(api.db, sealer, id)));
    expect(takes.filter((taken) => taken !== null)).toHaveLength(1);
    expect(await due()).toEqual([]);
    await noteTaken(api.db, id);
    expect(await due()).toHaveLength(2);
  });

  test("it is disabled after five days without a success, and not before", async () => {
    const { webhook } = await failing();
    const id = idOf(webhook);
    const age = (days: number) =>
      api.db.query({
        text: `update webhooks set failing_since = now() - make_interval(days => $2) where id = $1`,
        values: [id, days],
      });
    await age(4);
    expect(await noteFailure(api.db, id, { gone: false, waitMs: 0 })).toBeNull();
    await age(6);
    expect(await noteFailure(api.db, id, { gone: false, waitMs: 0 })).toBe("failing");
  });

  test("who lost the shard, or sends from before a replay, moves nothing", async () => {
    const { webhook, due } = await failing();
    await api.db.query({ text: `update webhook_lanes set due_at = null where webhook_id = $1`, values: [idOf(webhook)] });
    const [lane] = await due();
    if (lane === undefined) throw new Error("nothing is due");
    const progress = { seq: 1n, attempts: 0, waitMs: null, deliveries: [] };
    expect(await keepProgress(api.db, { ...fence, epoch: fence.epoch - 1n }, lane, progress)).toBe(false);
    expect(await keepProgress(api.db, fence, { ...lane, generation: lane.generation + 1 }, progress)).toBe(false);
    expect(await due()).toHaveLength(2);
    expect(await keepProgress(api.db, fence, lane, progress)).toBe(true);
    expect(await due()).toHaveLength(1);
    // What was sent to a webhook that is disabled meanwhile was sent all the same; more is not.
    await api.request(webhook.path, { method: "PATCH", json: { enabled: false } });
    expect(await keepProgress(api.db, fence, lane, progress)).toBe(false);
  });
});
