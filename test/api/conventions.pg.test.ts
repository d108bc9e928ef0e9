import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { accountInput, adminKey, openTestApi, type Reply, type TestApi } from "../support/api.ts";
import { eventually } from "../support/eventually.ts";

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi();
});
afterAll(() => api.close());

const isProblem = {
  type: expect.stringMatching(/^urn:samebox:problem:/),
  title: expect.any(String),
  detail: expect.any(String),
  instance: expect.any(String),
};

/** Writes octets to the port, and reads what comes back until the server hangs up. */
const raw = async (request: string): Promise<string> => {
  const { hostname, port } = new URL(api.url);
  const socket = connect(Number(port), hostname);
  socket.end(request);
  return text(socket);
};

describe("errors are problem details", () => {
  test.each([
    ["an unknown path", "/v1/nothing", {}, 404, "not_found"],
    ["an unknown path outside of the API", "/", { key: null }, 404, "not_found"],
    ["a path that is not one", "/v1/%zz", {}, 400, "invalid_request"],
    ["a known path with another method", "/v1/accounts", { method: "PUT" }, 405, "method_not_allowed"],
    [
      "a body that is not JSON",
      "/v1/accounts",
      { raw: '{"name": canary-secret', headers: { "content-type": "application/json" } },
      400,
      "invalid_request",
    ],
    [
      "a body with a prototype in it",
      "/v1/accounts",
      { raw: '{"__proto__":{"a":1}}', headers: { "content-type": "application/json" } },
      400,
      "invalid_request",
    ],
    [
      "a body of another type",
      "/v1/accounts",
      { raw: "a=b", headers: { "content-type": "application/x-www-form-urlencoded" } },
      415,
      "unsupported_media_type",
    ],
    [
      "a body that is not UTF-8",
      "/v1/tenants",
      { raw: new Uint8Array(Buffer.from('{"name":"\xff"}', "latin1")), headers: { "content-type": "application/json" } },
      400,
      "invalid_request",
    ],
    [
      "a packed body",
      "/v1/tenants",
      { raw: '{"name":"packed"}', headers: { "content-type": "application/json", "content-encoding": "gzip" } },
      415,
      "unsupported_media_type",
    ],
    [
      "a device that nobody could tell from another",
      "/v1/accounts",
      { json: accountInput(), headers: { "x-device-id": "my phone" } },
      400,
      "invalid_request",
    ],
    ["a text body", "/v1/accounts", { raw: "hello", headers: { "content-type": "text/plain" } }, 415, "unsupported_media_type"],
    ["a body of a megabyte", "/v1/accounts", { json: { name: "x".repeat(1_100_000) } }, 413, "payload_too_large"],
    ["no body where one is needed", "/v1/accounts", { method: "POST" }, 400, "invalid_request"],
    [
      "an empty body where one is needed",
      "/v1/accounts",
      { method: "POST", headers: { "content-type": "application/json" } },
      400,
      "invalid_request",
    ],
    ["an array for a body", "/v1/accounts", { json: [] }, 400, "invalid_request"],
  ])("%s", async (_name, path, request, status, code) => {
    const reply = await api.request(path, request);
    expect(reply.status).toBe(status);
    expect(reply.headers.get("content-type")).toBe("application/problem+json; charset=utf-8");
    expect(reply.body).toMatchObject({ ...isProblem, status, code });
    expect(reply.text).not.toContain("canary");
    expect(reply.text).not.toContain("    at ");
  });

  test("405 says what the path offers", async () => {
    expect((await api.request("/v1/accounts", { method: "PUT" })).headers.get("allow")).toBe("GET, HEAD, POST");
    expect((await api.request("/v1/accounts/acc_1/status", { method: "DELETE" })).headers.get("allow")).toBe("GET, HEAD");
  });

  test("what is not HTTP gets a problem too, and the connection ends", async () => {
    const answer = await raw("this is not http\r\n\r\n");
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(answer).toContain("content-type: application/problem+json; charset=utf-8");
    expect(JSON.parse(answer.split("\r\n\r\n")[1] ?? "")).toMatchObject({ ...isProblem, status: 400, code: "invalid_request" });
    expect(await raw(`GET /livez HTTP/1.1\r\nhost: x\r\nx-long: ${"x".repeat(20_000)}\r\n\r\n`)).toMatch(/^HTTP\/1\.1 431 /);
  });

  test("every fault is named by its JSON pointer", async () => {
    const endpoint = {
      protocol: "imap",
      host: "h",
      auth: { type: "password", user: "u\r\nA1 LOGOUT", pasword: "x" },
      "odd/na~me": 1,
    };
    const reply = await api.request("/v1/accounts", {
      json: { name: 5, email: "nobody", endpoints: [endpoint, { ...endpoint, auth: { type: "magic" } }] },
    });
    expect(reply.status).toBe(400);
    const pointers = reply.body.errors.map((fault: { pointer: string }) => fault.pointer);
    expect(pointers).toEqual(
      expect.arrayContaining([
        "/name",
        "/email",
        "/endpoints/0/auth/password",
        "/endpoints/0/auth/pasword",
        "/endpoints/0/auth/user",
        "/endpoints/0/odd~1na~0me",
        "/endpoints/1/auth/type",
      ]),
    );
  });

  test("nothing is converted: a number in quotes is not a number", async () => {
    const [endpoint] = accountInput()["endpoints"] as object[];
    const reply = await api.request("/v1/accounts", { json: accountInput({ endpoints: [{ ...endpoint, port: "993" }] }) });
    expect(reply.body.errors).toEqual([{ in: "body", pointer: "/endpoints/0/port", detail: "must be integer" }]);
  });

  test.each([
    "limit=0",
    "limit=501",
    "limit=1.5",
    "limit=",
    "limit=1e2",
    "limit=0x10",
    "limit=5&limit=6",
    "cursor=nonsense",
    "cursor=WyJ4Il0",
    "%6Cimit=a",
  ])("the query ?%s is refused by name", async (query) => {
    const reply = await api.request(`/v1/accounts?${query}`);
    expect(reply.status).toBe(400);
    expect(reply.body.errors).toMatchObject([{ in: "query", pointer: query.startsWith("cursor") ? "/cursor" : "/limit" }]);
  });
});

describe("every answer", () => {
  test("carries the caller's request id, or a new one", async () => {
    expect((await api.request("/v1/accounts", { headers: { "x-request-id": "abc-123" } })).headers.get("x-request-id")).toBe(
      "abc-123",
    );
    const reply = await api.request("/v1/nothing", { headers: { "x-request-id": "no spaces please" } });
    const id = reply.headers.get("x-request-id");
    expect(id).toMatch(/^[0-9a-f-]{36}$/);
    expect(reply.body.instance).toBe(`urn:samebox:request:${id}`);
    expect((await api.request("/v1/%zz")).headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
  });

  test("is not kept by caches and not taken for something else by browsers", async () => {
    for (const path of ["/v1/accounts", "/v1/nothing"]) {
      const { headers } = await api.request(path);
      expect(headers.get("cache-control")).toBe("no-store");
      expect(headers.get("x-content-type-options")).toBe("nosniff");
      expect(headers.get("content-security-policy")).toContain("default-src 'none'");
      expect(headers.get("x-powered-by")).toBeNull();
    }
  });

  test("tells how much of the minute's share is left", async () => {
    const { headers } = await api.request("/v1/accounts");
    expect(Number(headers.get("ratelimit-limit"))).toBeGreaterThan(0);
    expect(Number(headers.get("ratelimit-remaining"))).toBeLessThan(Number(headers.get("ratelimit-limit")));
    expect(headers.get("ratelimit-reset")).toMatch(/^\d+$/);
  });
});

describe("figures", () => {
  test("count requests by route pattern, never by path", async () => {
    await api.request("/v1/accounts/acc_1/status");
    await api.request("/v1/nothing/at/all");
    const { text: figures, headers } = await api.request("/metrics", { key: null });
    expect(headers.get("content-type")).toContain("text/plain");
    expect(figures).toContain('samebox_http_requests_total{method="GET",route="/v1/accounts/:accountId/status",status="404"}');
    expect(figures).toContain('route="none",status="404"');
    expect(figures).not.toContain("acc_1");
  });
});

describe("logs", () => {
  test("hold no key, no body and no query", async () => {
    await api.request("/v1/accounts?cursor=canary-query", { headers: { authorization: `Bearer ${adminKey}` } });
    await api.request("/v1/accounts", { json: accountInput() });
    await api.request("/v1/accounts", { json: { ...accountInput(), "canary-field": 1 } });
    const lines = api.log.join("");
    expect(lines).toContain("/v1/accounts");
    for (const secret of [adminKey, "canary"]) expect(lines).not.toContain(secret);
  });
});

test("a limit is per key, answers 429 with Retry-After, and leaves health and other keys alone", async () => {
  await using limited = await openTestApi({ config: { requestsPerMinute: 3, newAccountsPerMinute: 1 } });
  const makeKey = async (): Promise<string> =>
    (await limited.request("/v1/keys", { json: { name: "k", scopes: ["accounts"] } })).body.key;
  const [key, other] = [await makeKey(), await makeKey()];
  for (const path of ["/v1/accounts", "/v1/accounts", "/v1/accounts?limit=1"])
    expect((await limited.request(path, { key })).status).toBe(200);
  const refused = await limited.request("/v1/accounts", { key });
  expect(refused.status).toBe(429);
  expect(refused.body).toMatchObject({ ...isProblem, code: "rate_limited" });
  expect(refused.headers.get("content-type")).toBe("application/problem+json; charset=utf-8");
  expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
  expect(refused.headers.get("ratelimit-remaining")).toBe("0");
  expect((await limited.request("/v1/accounts", { key: other })).status).toBe(200);
  expect((await limited.request("/v1/accounts", { key: other, json: accountInput() })).status).toBe(201);
  expect((await limited.request("/v1/accounts", { key: other, json: accountInput() })).status).toBe(429);
  expect((await limited.request("/livez", { key: null })).status).toBe(200);
});

test("a tenant's keys have a limit together, which other tenants do not feel", async () => {
  await using limited = await openTestApi({ config: { requestsPerMinute: 2 } });
  const tenant = (await limited.request("/v1/tenants", { json: { name: "others" } })).body.id;
  const makeKey = async (owner: object): Promise<string> =>
    (await limited.request("/v1/keys", { json: { name: "k", scopes: ["accounts"], ...owner } })).body.key;
  const statuses: number[] = [];
  for (let made = 0; made < 6; made += 1) {
    const key = await makeKey({});
    for (let asked = 0; asked < 2; asked += 1) statuses.push((await limited.request("/v1/accounts", { key })).status);
  }
  expect(statuses).toEqual([...Array<number>(10).fill(200), 429, 429]);
  expect((await limited.request("/v1/accounts", { key: await makeKey({ tenantId: tenant }) })).status).toBe(200);
});

test("an address that tries wrong keys is told to wait, and right keys from there still work", async () => {
  await using limited = await openTestApi({ config: { wrongKeysPerMinute: 3 } });
  const ask = (key: string | null): Promise<Reply> => limited.request("/v1/accounts", { key });
  for (let tried = 0; tried < 3; tried += 1) expect((await ask(`sbx_wrong_${tried}`)).status).toBe(401);
  const refused = await ask("sbx_wrong_4");
  expect([refused.status, refused.body.code]).toEqual([429, "rate_limited"]);
  expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
  expect((await ask(null)).status).toBe(401);
  expect((await ask(adminKey)).status).toBe(200);
});

test("behind a proxy that is trusted, and only there, an address is what it tells; one of IPv6 counts as its network", async () => {
  await using behind = await openTestApi({ config: { wrongKeysPerMinute: 2, trustedProxies: ["127.0.0.0/8"] } });
  const tryFrom = (address: string, to: TestApi = behind): Promise<number> =>
    to.request("/v1/accounts", { key: "sbx_wrong", headers: { "x-forwarded-for": address } }).then(({ status }) => status);
  for (const [address, statuses] of [
    ["203.0.113.7", [401, 401, 429]],
    ["203.0.113.8", [401, 401, 429]],
    // What a client makes up itself stands further left.
    ["198.51.100.1, 203.0.113.8", [429]],
    ["2001:db8::1", [401]],
    ["2001:db8::2", [401]],
    ["2001:db8:0:0:ffff::3", [429]],
    ["2001:db8:0:1::1", [401]],
  ] as const)
    for (const status of statuses) expect(await tryFrom(address)).toBe(status);
  await behind.request("/v1/tenants", { json: { name: "noted" }, headers: { "x-forwarded-for": "203.0.113.9" } });
  const { rows } = await behind.db.query({ text: "select address from audit_log" });
  expect(rows).toEqual([{ address: "203.0.113.9" }]);
  await using plain = await openTestApi({ config: { wrongKeysPerMinute: 2 } });
  const seen: number[] = [];
  for (const n of [1, 2, 3]) seen.push(await tryFrom(`203.0.113.${n}`, plain));
  expect(seen).toEqual([401, 401, 429]);
});

test("keys from such an address are looked up one at a time", async () => {
  await using limited = await openTestApi({ config: { wrongKeysPerMinute: 2 } });
  const ask = (key: string): Promise<Reply> => limited.request("/v1/accounts", { key });
  const made = await limited.request("/v1/keys", { json: { name: "k", scopes: ["ops"] } });
  for (let tried = 0; tried < 2; tried += 1) await ask(`sbx_wrong_${tried}`);
  await limited.db.transaction(async (tx) => {
    await tx.query({ text: "lock table api_keys in access exclusive mode" });
    // Well-formed: others are told by their looks.
    const asked = Array.from({ length: 5 }, (_, n) => ask(`${made.body.key.slice(0, -4)}000${n}`));
    // Only one of them waits for the table.
    const answers = asked.map((answer) => answer.then(({ status }) => status));
    const quick: number[] = [];
    for (const answer of answers) void answer.then((status) => quick.push(status));
    await eventually("the others are refused", () => quick.length === 4, { timeoutMs: 20_000, everyMs: 5 });
    expect(quick).toEqual([429, 429, 429, 429]);
  });
  const right = async (): Promise<number> => (await limited.request("/v1/status", { key: made.body.key })).status;
  await eventually("a right key is let in", async () => (await right()) === 200, { timeoutMs: 20_000, everyMs: 5 });
});
