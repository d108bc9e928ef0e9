import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Fence } from "../../src/model/account.ts";
import type { AccountId } from "../../src/model/ids.ts";
import { createSealer } from "../../src/store/sealing.ts";
import {
  forgetDeliveries,
  keepProgress,
  listDueLanes,
  noteFailure,
  noteTaken,
  takeWebhook,
  type WebhookLane,
} from "../../src/store/webhook-lanes.ts";
import { runWebhookLane } from "../../src/workers/webhook-lane.ts";
import { openTestApi, type TestApi } from "../support/api.ts";
import { MailRows } from "../support/mail-rows.ts";
import { fenceOf, quietLog } from "../support/shard-owner.ts";
import { accountOf, addChanges, idOf, type Made, only, range, WebhookOwner } from "../support/webhook-owner.ts";
import { startReceiver } from "../support/webhook-receiver.ts";

const sealer = createSealer(randomBytes(32));
const rules = { allowPrivateHosts: true, allowCleartext: true };
let api: TestApi;
let owner: WebhookOwner;
let fence: Fence;

beforeAll(async () => {
  api = await openTestApi({ deps: { sealer } });
  owner = new WebhookOwner(api);
  fence = await fenceOf(api.db, "01930000-0000-7000-8000-000000000000" as AccountId);
});
afterAll(() => api.close());

describe("the lanes in the database", () => {
  const failing = async () => {
    const [first, second] = [await MailRows.account(api.db), await MailRows.account(api.db)];
    // A port nobody listens on; what is sent here is counted by hand.
    const webhook = await owner.make("http://127.0.0.1:9/", {
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
    const { webhook, due } = await failing();
    const id = idOf(webhook);
    for (let n = 0; n < 4; n += 1) expect(await noteFailure(api.db, id, { gone: false, waitMs: 60_000 })).toBeNull();
    const take = () => takeWebhook(api.db, sealer, { webhookId: id, webhookVersion: 0 });
    expect(await take()).not.toBeNull();
    await noteFailure(api.db, id, { gone: false, waitMs: 60_000 });
    expect(await take()).toBeNull();
    expect((await api.request(webhook.path)).body.nextAttemptAt).toEqual(expect.any(String));
    await noteFailure(api.db, id, { gone: false, waitMs: 0 });
    const takes = await Promise.all([1, 2, 3].map(take));
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
  });

  const dueOf = async (webhook: Made, ...among: readonly MailRows[]): Promise<WebhookLane[]> =>
    (
      await listDueLanes(
        api.db,
        { shards: 1, owned: [0] },
        among.map(({ accountId }) => accountId),
      )
    ).filter(({ webhookId }) => webhookId === idOf(webhook));
  const patch = (webhook: Made, json: object) => api.request(webhook.path, { method: "PATCH", json });
  const services = { log: quietLog, sealer, rules, holds: () => true };
  const forever = new AbortController().signal;

  test("who sends as the webhook was before a change moves nothing, and brings back no account", async () => {
    const [rows, other] = [await MailRows.account(api.db), await MailRows.account(api.db)];
    const webhook = await owner.make("http://127.0.0.1:9/", { ...only(rows), kinds: ["message.moved"] });
    await addChanges(rows, 1);
    const progress = { seq: 1n, attempts: 0, waitMs: null, deliveries: [] };
    const lane = async (): Promise<WebhookLane> => {
      const [found] = await dueOf(webhook, rows);
      if (found === undefined) throw new Error("nothing is due");
      return found;
    };
    const narrow = await lane();
    await patch(webhook, { kinds: ["message.moved", "message.created"] });
    expect(await keepProgress(api.db, fence, narrow, progress)).toBe(false);
    const wide = await lane();
    await patch(webhook, only(other));
    expect(await takeWebhook(api.db, sealer, wide)).toBeNull();
    expect(await keepProgress(api.db, fence, wide, progress)).toBe(false);
    await addChanges(rows, 1);
    // Meant again, it begins at what is there now.
    await patch(webhook, only(rows));
    expect(await dueOf(webhook, rows)).toEqual([]);
  });

  test("an account that was meant all along stays where it stood, whoever else is meant", async () => {
    const tenantId = await MailRows.tenant(api.db);
    const { body: key } = await api.request("/v1/keys", {
      json: { name: "k", scopes: ["accounts", "mail:read"], tenantId: `ten_${tenantId.replaceAll("-", "")}` },
    });
    const { body } = await api.request("/v1/webhooks", { key: key.key, json: { url: "http://127.0.0.1:9/" } });
    const webhook = { ...body, path: `/v1/webhooks/${body.id}` } as Made;
    const rows = await MailRows.account(api.db, tenantId);
    await addChanges(rows, 1);
    await api.request(webhook.path, { key: key.key, method: "PATCH", json: only(rows) });
    expect(await dueOf(webhook, rows)).toMatchObject([{ seq: 0n }]);
  });

  test("of many that are due others come each time", async () => {
    const many = await Promise.all(range(1, 80).map(() => MailRows.account(api.db)));
    const webhook = await owner.make("http://127.0.0.1:9/", { accountIds: many.map(accountOf) });
    await Promise.all(many.map((rows) => addChanges(rows, 1)));
    const seen = new Set<string>();
    for (let n = 0; n < 30; n += 1) for (const { accountId } of await dueOf(webhook, ...many)) seen.add(accountId);
    expect(seen.size).toBe(80);
  });

  test("the first success of a run closes the breaker, also behind a change that is not wanted", async () => {
    await using receiver = await startReceiver();
    const rows = await MailRows.account(api.db);
    const webhook = await owner.make(receiver.url, { ...only(rows), kinds: ["message.moved"] });
    for (let n = 0; n < 5; n += 1) await noteFailure(api.db, idOf(webhook), { gone: false, waitMs: 0 });
    const run = async (): Promise<boolean[]> =>
      Promise.all((await dueOf(webhook, rows)).map((lane) => runWebhookLane({ ...services, db: api.db }, fence, lane, forever)));
    // A try that finds nothing to send gives way to the next one at once.
    await addChanges(rows, 1);
    expect(await run()).toEqual([true]);
    await addChanges(rows, 1);
    await rows.change({ kind: "message.moved" });
    expect(await run()).toEqual([true]);
    expect(receiver.seqs()).toEqual([3]);
    expect((await api.request(webhook.path)).body).toMatchObject({ failingSince: null, lastSuccessAt: expect.any(String) });
  });

  test("deliveries of more than a week are dropped, however many there are", async () => {
    const webhook = await owner.make("http://127.0.0.1:9/");
    const { rows } = await api.db.query<{ tenant_id: string }>({
      text: `insert into webhook_deliveries (webhook_id, id, tenant_id, kind, attempt, at, result, duration_ms)
             select id, gen_random_uuid(), tenant_id, 'message.moved', 1, now() - make_interval(days => case when n = 1 then 6 else 8 end), '2xx', 1
             from webhooks, generate_series(1, 20002) n where id = $1 returning tenant_id`,
      values: [idOf(webhook)],
    });
    expect(rows).toHaveLength(20_002);
    await forgetDeliveries(api.db);
    expect(await owner.deliveriesOf(webhook)).toHaveLength(1);
  });
});
