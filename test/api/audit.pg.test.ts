import { afterAll, beforeAll, expect, test } from "vitest";
import { accountInput, openTestApi, type TestApi } from "../support/api.ts";
import { eventually } from "../support/eventually.ts";

interface Action {
  readonly keyId: string | null;
  readonly method: string;
  readonly route: string;
  readonly accountId: string | null;
  readonly objects: Readonly<Record<string, string>>;
  readonly fields: Readonly<Record<string, string | null>>;
  readonly status: number;
  readonly requestId: string;
}

let api: TestApi;
let ops: { readonly id: string; readonly key: string };
beforeAll(async () => {
  api = await openTestApi();
  ops = (await api.request("/v1/keys", { json: { name: "ops", scopes: ["ops", "accounts", "mail:read"] } })).body;
});
afterAll(() => api.close());

const actions = async (key = ops.key): Promise<Action[]> => (await api.request("/v1/audit?limit=200", { key })).body.items;

/** The entry of a request. What had no effect is noted after its answer. */
const entryOf = (requestId: string): Promise<Action> =>
  eventually("it is noted", async () => (await actions()).find((one) => one.requestId === requestId) ?? false);

test("a write is noted with its key, what it made and what it was about", async () => {
  const made = await api.request("/v1/accounts", { json: accountInput(), key: ops.key, headers: { "x-request-id": "make" } });
  expect(await entryOf("make")).toMatchObject({
    keyId: ops.id,
    method: "POST",
    route: "/v1/accounts",
    accountId: made.body.id,
    objects: { created: made.body.id },
    status: 201,
  });
  const path = `/v1/accounts/${made.body.id}`;
  await api.request(path, { method: "DELETE", headers: { "x-request-id": "delete" } });
  expect(await entryOf("delete")).toMatchObject({ keyId: null, method: "DELETE", accountId: made.body.id, status: 204 });
});

test("a write tells what it set, by digests that only tell values apart, and nothing of a secret", async () => {
  const { id } = (await api.request("/v1/accounts", { json: accountInput(), headers: { "x-request-id": "fields" } })).body;
  const { fields: made } = await entryOf("fields");
  expect(Object.keys(made)).toEqual(expect.arrayContaining(["/name", "/endpoints/0/host", "/endpoints/0/auth"]));
  expect(made["/endpoints/0/auth"]).toBeNull();
  const told = async (json: object, name: string): Promise<Action["fields"]> => {
    await api.request(`/v1/accounts/${id}`, { method: "PATCH", json, headers: { "x-request-id": name } });
    return (await entryOf(name)).fields;
  };
  const first = await told({ name: "Eve", policy: { retentionDays: 10 } }, "first");
  const second = await told({ name: "Eve", policy: { retentionDays: 11 } }, "second");
  expect(Object.keys(first).toSorted()).toEqual(["/name", "/policy/retentionDays"]);
  expect(first["/name"]).toMatch(/^[0-9a-f]{16}$/);
  expect(second["/name"]).toBe(first["/name"]);
  expect(second["/policy/retentionDays"]).not.toBe(first["/policy/retentionDays"]);
  const { rows } = await api.db.query<{ line: string }>({ text: "select a::text as line from audit_log a" });
  for (const { line } of rows) expect(line).not.toMatch(/Eve|secret|password/);
});

test("stands or falls with its effect, and a repeated answer is no second effect", async () => {
  const one = { json: { name: "k", scopes: ["mail:read"] }, key: ops.key };
  const headers = (id: string): Record<string, string> => ({ "idempotency-key": "same", "x-request-id": id });
  const key = await api.request("/v1/keys", { ...one, headers: headers("first") });
  await api.request("/v1/keys", { ...one, headers: headers("again") });
  expect((await entryOf("first")).objects).toEqual({ created: key.body.id });
  expect((await entryOf("again")).objects).toEqual({});
  await api.db.query({ text: "alter table audit_log add constraint planted check (request_id <> 'planted')" });
  const failed = await api.request("/v1/keys", { ...one, headers: { "x-request-id": "planted" } });
  await api.db.query({ text: "alter table audit_log drop constraint planted" });
  expect(failed.status).toBe(500);
  expect((await api.request("/v1/keys", { key: ops.key })).body.items).toHaveLength(2);
});

test("what was refused is noted, without what was said; what was only read is not", async () => {
  const secret = "Canary0123456789";
  await api.request(`/v1/keys/${secret}`, { method: "DELETE", key: ops.key, headers: { "x-request-id": "unknown" } });
  await api.request("/v1/accounts", { json: { email: secret }, key: ops.key, headers: { "x-request-id": "invalid" } });
  await api.request("/v1/tenants", { json: { name: secret }, key: ops.key, headers: { "x-request-id": "forbidden" } });
  await api.request("/v1/accounts", { key: ops.key, headers: { "x-request-id": "read" } });
  expect(await entryOf("unknown")).toMatchObject({ status: 404, objects: {}, fields: {}, route: "/v1/keys/:keyId" });
  expect(await entryOf("invalid")).toMatchObject({ status: 400 });
  expect(await entryOf("forbidden")).toMatchObject({ status: 403 });
  expect((await actions()).map(({ requestId }) => requestId)).not.toContain("read");
  const { rows } = await api.db.query({ text: "select * from audit_log" });
  expect(JSON.stringify(rows)).not.toContain(secret);
});

test("every tenant reads its own, a limited key what is about its accounts, and nobody without the scope", async () => {
  const tenant = await api.request("/v1/tenants", { json: { name: "the others" } });
  const theirs = await api.request("/v1/keys", { json: { name: "theirs", scopes: ["ops"], tenantId: tenant.body.id } });
  expect(await actions(theirs.body.key)).toEqual([]);
  const { id } = (await api.request("/v1/accounts", { json: accountInput() })).body;
  const limited = await api.request("/v1/keys", { json: { name: "one", scopes: ["ops"], accountIds: [id] } });
  expect((await actions(limited.body.key)).map(({ accountId }) => accountId)).toEqual([id]);
  const reader = await api.request("/v1/keys", { json: { name: "reader", scopes: ["mail:read"] } });
  expect((await api.request("/v1/audit", { key: reader.body.key })).status).toBe(403);
});

test("is read in pages, and nothing can be taken out of it as the role of the API", async () => {
  const all = await actions();
  const first = await api.request("/v1/audit?limit=2", { key: ops.key });
  const next = await api.request(`/v1/audit?limit=2&cursor=${first.body.nextCursor}`, { key: ops.key });
  expect([...first.body.items, ...next.body.items]).toEqual(all.slice(0, 4));
  for (const text of ["delete from audit_log", "update audit_log set status = 0", "truncate audit_log"])
    await expect(
      api.db.transaction(async (tx) => {
        await tx.query({ text: "set local role samebox_api" });
        await tx.query({ text });
      }),
    ).rejects.toMatchObject({ code: "42501" });
});
