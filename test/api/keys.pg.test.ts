import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { accountInput, openTestApi, type Reply, type TestApi } from "../support/api.ts";

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi();
});
afterAll(() => api.close());

const makeKey = (json: Readonly<Record<string, unknown>>, key?: string): Promise<Reply> =>
  api.request("/v1/keys", { json: { name: "test", ...json }, ...(key !== undefined && { key }) });

const keyOf = async (json: Readonly<Record<string, unknown>>, key?: string): Promise<string> =>
  (await makeKey(json, key)).body.key;

const makeTenant = async (name: string): Promise<string> => (await api.request("/v1/tenants", { json: { name } })).body.id;

const makeAccount = async (key?: string): Promise<string> =>
  (await api.request("/v1/accounts", { json: accountInput(), ...(key !== undefined && { key }) })).body.id;

const allScopes = ["mail:read", "mail:write", "accounts", "ops"];

describe("a key", () => {
  test("is shown once, and listed without its secret, newest first", async () => {
    const made = await makeKey({ name: "shown", scopes: ["mail:read"] });
    expect(made.status).toBe(201);
    expect(made.body).toMatchObject({
      name: "shown",
      scopes: ["mail:read"],
      accountIds: null,
      expiresAt: null,
      lastUsedAt: null,
    });
    expect(made.body.key).toMatch(/^sbx_[0-9a-f]{32}_[\w-]{43}$/);
    const { text, body } = await api.request("/v1/keys?limit=1");
    expect(text).not.toContain(made.body.key);
    const { key: _secret, ...rest } = made.body;
    expect(body.items).toEqual([rest]);
  });

  test("says when it was used, and stops to work when it is deleted or runs out", async () => {
    const made = (await makeKey({ scopes: ["accounts"], expiresAt: new Date(Date.now() + 3_600_000).toISOString() })).body;
    expect((await api.request("/v1/accounts", { key: made.key })).status).toBe(200);
    const [listed] = (await api.request("/v1/keys?limit=1")).body.items;
    expect(Date.parse(listed.lastUsedAt)).toBeGreaterThan(Date.now() - 60_000);
    await api.db.query({
      text: "update api_keys set expires_at = now() where name = 'test' and id = $1::uuid",
      values: [made.id.slice(4)],
    });
    expect((await api.request("/v1/accounts", { key: made.key })).status).toBe(401);
    expect((await api.request(`/v1/keys/${made.id}`, { method: "DELETE" })).status).toBe(204);
    expect((await api.request(`/v1/keys/${made.id}`, { method: "DELETE" })).status).toBe(404);
  });

  test.each([
    [{ scopes: [] }, "/scopes"],
    [{ scopes: ["root"] }, "/scopes/0"],
    [{ scopes: ["ops", "ops"] }, "/scopes"],
    [{ scopes: ["ops"], expiresAt: "2020-01-01T00:00:00Z" }, "/expiresAt"],
    [{ scopes: ["ops"], expiresAt: "soon" }, "/expiresAt"],
    [{ scopes: ["ops"], accountIds: [] }, "/accountIds"],
    [{ scopes: ["ops"], accountIds: ["acc_00000000000000000000000000000000"] }, "/accountIds/0"],
    [{ scopes: ["ops"], tenantId: "ten_00000000000000000000000000000000" }, "/tenantId"],
    [{ scopes: ["ops"], name: "a\nb" }, "/name"],
  ])("is not made of %j", async (json, pointer) => {
    const { body } = await makeKey(json);
    expect([body.status, body.errors[0].pointer]).toEqual([400, pointer]);
  });

  test("cannot make one that may do more: no other scope, account or tenant", async () => {
    const [mine, other] = [await makeAccount(), await makeAccount()];
    const tenantId = await makeTenant("more");
    const ops = await keyOf({ scopes: ["ops", "accounts"] });
    for (const json of [{ scopes: ["mail:read"] }, { scopes: allScopes }, { scopes: ["ops"], tenantId }])
      expect((await makeKey(json, ops)).body).toMatchObject({ status: 403, code: "forbidden" });
    const limited = await keyOf({ scopes: ["ops", "accounts"], accountIds: [mine] });
    expect((await makeKey({ scopes: ["accounts"] }, limited)).status).toBe(403);
    expect((await makeKey({ scopes: ["accounts"], accountIds: [other] }, limited)).body.errors[0].pointer).toBe("/accountIds/0");
    const child = await keyOf({ scopes: ["accounts"], accountIds: [mine] }, limited);
    expect((await api.request(`/v1/accounts/${mine}`, { key: child })).status).toBe(200);
    expect((await api.request(`/v1/accounts/${other}`, { key: child })).status).toBe(404);
  });

  test("that is limited to accounts cannot delete or see keys that are not", async () => {
    const mine = await makeAccount();
    const whole = (await makeKey({ scopes: ["accounts"] })).body;
    const limited = await keyOf({ scopes: ["ops"], accountIds: [mine] });
    expect((await api.request(`/v1/keys/${whole.id}`, { method: "DELETE", key: limited })).status).toBe(404);
    expect((await api.request("/v1/accounts", { key: whole.key })).status).toBe(200);
    const { items } = (await api.request("/v1/keys", { key: limited })).body;
    expect(items.map((item: { accountIds: string[] }) => item.accountIds)).toEqual([[mine]]);
    expect((await api.request("/v1/status", { key: limited })).body.accounts).toEqual({ connecting: 1 });
  });
});

describe("tenants", () => {
  test("are the operator's to make and see, by a name that is not taken", async () => {
    const made = await api.request("/v1/tenants", { json: { name: "Blue" } });
    expect(made.body).toEqual({ id: expect.stringMatching(/^ten_[0-9a-f]{32}$/), name: "Blue", createdAt: expect.any(String) });
    expect((await api.request("/v1/tenants", { json: { name: "Blue" } })).body).toMatchObject({ status: 409, code: "conflict" });
    const { items } = (await api.request("/v1/tenants")).body;
    expect(items.map((item: { name: string }) => item.name)).toEqual(expect.arrayContaining(["default", "Blue"]));
    const key = await keyOf({ scopes: allScopes });
    for (const request of [{ key }, { key, json: { name: "Red" } }])
      expect((await api.request("/v1/tenants", request)).status).toBe(403);
  });

  test("do not see each other's accounts and keys; the operator acts in the one that X-Tenant-Id names", async () => {
    const tenantId = await makeTenant("Green");
    const key = await keyOf({ scopes: allScopes, tenantId });
    const id = await makeAccount(key);
    expect((await api.request(`/v1/accounts/${id}`)).status).toBe(404);
    for (const name of [tenantId, "Green"])
      expect((await api.request(`/v1/accounts/${id}`, { headers: { "x-tenant-id": name } })).status).toBe(200);
    expect((await api.request("/v1/accounts", { headers: { "x-tenant-id": "nobody" } })).status).toBe(404);
    expect((await api.request("/v1/accounts", { key })).body.items.map((item: { id: string }) => item.id)).toEqual([id]);
    expect((await api.request("/v1/keys", { key })).body.items.length).toBe(1);
    const { items } = (await api.request("/v1/keys?limit=500")).body;
    expect(items.filter((item: { tenantId: string }) => item.tenantId === tenantId)).toEqual([]);
    expect((await api.request("/v1/accounts", { key, headers: { "x-tenant-id": tenantId } })).status).toBe(200);
    expect((await api.request("/v1/accounts", { key, headers: { "x-tenant-id": "default" } })).status).toBe(403);
  });
});
