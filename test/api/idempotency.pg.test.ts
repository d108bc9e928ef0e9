import { randomUUID } from "node:crypto";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { accountInput, openTestApi, type Reply, type Request, type TestApi } from "../support/api.ts";
import { eventually } from "../support/eventually.ts";

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi();
});
afterAll(() => api.close());

const send = (path: string, key: string, request: Request): Promise<Reply> =>
  api.request(path, { ...request, headers: { "idempotency-key": key, ...request.headers } });

/** As octets, each a character, which is how `fetch` takes them. */
const encodeHeader = (text: string): string => Buffer.from(text).toString("latin1");

const replayed = (reply: Reply): boolean => reply.headers.get("idempotent-replayed") === "true";

const accountCount = async (): Promise<number> => (await api.request("/v1/accounts?limit=500")).body.items.length;

describe("a request sent again with its Idempotency-Key", () => {
  test("has its first answer, and one effect", async () => {
    const key = randomUUID();
    const first = await send("/v1/accounts", key, { json: accountInput() });
    const before = await accountCount();
    const again = await send("/v1/accounts", key, { json: accountInput() });
    expect([again.status, again.body, replayed(first), replayed(again)]).toEqual([201, first.body, false, true]);
    expect(again.headers.get("location")).toBe(first.headers.get("location"));
    expect(await accountCount()).toBe(before);
  });

  test("but with another body, path or method is refused", async () => {
    const key = randomUUID();
    const { body } = await send("/v1/accounts", key, { json: accountInput() });
    for (const [path, request] of [
      ["/v1/accounts", { json: accountInput({ name: "other" }) }],
      ["/v1/tenants", { json: { name: key } }],
      [`/v1/accounts/${body.id}/pause`, { method: "POST" }],
      [`/v1/accounts/${body.id}`, { method: "DELETE" }],
    ] as const)
      expect((await send(path, key, request)).body).toMatchObject({ status: 422, code: "idempotency_key_reused" });
    expect((await api.request(`/v1/accounts/${body.id}`)).body).toEqual(body);
  });

  test("tells no secret from another: a changed password is another body", async () => {
    const key = randomUUID();
    await send("/v1/accounts", key, { json: accountInput() });
    const [endpoint] = accountInput()["endpoints"] as object[];
    const other = { ...endpoint, auth: { type: "password", user: "ana", password: "another" } };
    expect((await send("/v1/accounts", key, { json: accountInput({ endpoints: [other] }) })).status).toBe(422);
  });

  test("is another tenant's own business", async () => {
    const tenant = (await api.request("/v1/tenants", { json: { name: randomUUID() } })).body.id;
    const key = randomUUID();
    const first = await send("/v1/accounts", key, { json: accountInput() });
    const second = await send("/v1/accounts", key, { json: accountInput(), headers: { "x-tenant-id": tenant } });
    expect([second.status, replayed(second)]).toEqual([201, false]);
    expect(second.body.id).not.toBe(first.body.id);
  });

  test("adds one endpoint, removes an account and a key once, and says so again", async () => {
    const { id } = (await api.request("/v1/accounts", { json: accountInput() })).body;
    const [added, removed, deleted] = [randomUUID(), randomUUID(), randomUUID()];
    const patch = { method: "PATCH", json: { endpoints: accountInput()["endpoints"] } };
    const first = await send(`/v1/accounts/${id}`, added, patch);
    expect(first.body.endpoints.length).toBe(2);
    const again = await send(`/v1/accounts/${id}`, added, patch);
    expect([again.status, again.body, replayed(again)]).toEqual([200, first.body, true]);
    expect((await api.request(`/v1/accounts/${id}`)).body.endpoints.length).toBe(2);
    for (const isReplay of [false, true]) {
      const reply = await send(`/v1/accounts/${id}`, removed, { method: "DELETE" });
      expect([reply.status, reply.text, replayed(reply)]).toEqual([204, "", isReplay]);
    }
    const made = (await api.request("/v1/keys", { json: { name: "k", scopes: ["ops"] } })).body;
    for (const isReplay of [false, true]) {
      const reply = await send(`/v1/keys/${made.id}`, deleted, { method: "DELETE" });
      expect([reply.status, replayed(reply)]).toEqual([204, isReplay]);
    }
  });

  test("shows a key's secret again, which is kept sealed", async () => {
    const key = randomUUID();
    const json = { name: "k", scopes: ["ops"] };
    const first = await send("/v1/keys", key, { json });
    const again = await send("/v1/keys", key, { json });
    expect(again.body).toEqual(first.body);
    const { rows } = await api.db.query({
      text: "select body::text as body from idempotency_keys where key = $1",
      values: [key],
    });
    expect(JSON.stringify(rows)).not.toContain(first.body.key);
  });
});

test("what fails is not remembered: the key stays free", async () => {
  const key = randomUUID();
  expect((await send("/v1/accounts", key, { json: accountInput({ email: "no" }) })).status).toBe(400);
  expect((await send("/v1/tenants", key, { json: { name: "default" } })).status).toBe(409);
  expect((await send("/v1/accounts", key, { json: accountInput() })).status).toBe(201);
});

test("while the first is running the second is told to wait, and of many at once one has an effect", async () => {
  const name = randomUUID();
  const key = randomUUID();
  const other = new pg.Client({ connectionString: api.databaseUrl });
  await other.connect();
  try {
    // Somebody else is making a tenant of that name: the first request has to wait and see.
    await other.query("begin");
    await other.query("insert into tenants (id, name) values (gen_random_uuid(), $1)", [name]);
    const first = send("/v1/tenants", key, { json: { name } });
    await eventually("the first request waits", async () => {
      const { rows } = await other.query("select 1 from pg_locks where not granted");
      return rows.length > 0;
    });
    const second = await send("/v1/tenants", key, { json: { name } });
    expect(second.body).toMatchObject({ status: 409, code: "idempotency_in_progress" });
    expect(second.headers.get("retry-after")).toBe("1");
    await other.query("rollback");
    expect((await first).status).toBe(201);
  } finally {
    await other.end();
  }
  const before = await accountCount();
  const once = randomUUID();
  const replies = await Promise.all(Array.from({ length: 8 }, () => send("/v1/accounts", once, { json: accountInput() })));
  expect(new Set(replies.map(({ status }) => status)).isSubsetOf(new Set([201, 409]))).toBe(true);
  expect(new Set(replies.filter(({ status }) => status === 201).map(({ body }) => body.id)).size).toBe(1);
  expect(await accountCount()).toBe(before + 1);
});

test.each(["", " ", "ä", "x".repeat(256), "a b"])("an Idempotency-Key that is none is refused: %j", async (key) => {
  const reply = await send("/v1/accounts", encodeHeader(key), { json: accountInput() });
  expect(reply.body).toMatchObject({ status: 400, errors: [{ in: "header", pointer: "/idempotency-key" }] });
});
