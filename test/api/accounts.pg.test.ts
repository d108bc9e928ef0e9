import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AccountId, formatId, parseId } from "../../src/model/ids.ts";
import { accountInput, openTestApi, type Reply, type Request, type TestApi } from "../support/api.ts";
import { testCertificates } from "../support/certificates.ts";
import { MailRows } from "../support/mail-rows.ts";

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi();
});
afterAll(() => api.close());

const create = async (overrides: Readonly<Record<string, unknown>> = {}): Promise<Reply["body"]> => {
  const { status, body } = await api.request("/v1/accounts", { json: accountInput(overrides) });
  expect(status).toBe(201);
  return body;
};

const patch = (id: string, json: unknown, rest: Request = {}): Promise<Reply> =>
  api.request(`/v1/accounts/${id}`, { method: "PATCH", json, ...rest });

const [input] = accountInput()["endpoints"] as [Record<string, unknown>];

const uuidOf = (id: string): AccountId => {
  const uuid = parseId<AccountId>("acc", id);
  if (uuid === null) throw new Error(`${id} is no account`);
  return uuid;
};

describe("a new account", () => {
  test("is answered at once as it will be read, without its secret, and the workers are rung", async () => {
    const reply = await api.request("/v1/accounts", { json: accountInput({ policy: { onPop3Drain: "mirror" } }) });
    expect(reply.status).toBe(201);
    expect(reply.headers.get("location")).toBe(`/v1/accounts/${reply.body.id}`);
    expect(reply.body).toEqual({
      id: expect.stringMatching(/^acc_[0-9a-f]{32}$/),
      name: "Ana",
      email: "ana@example.test",
      state: "0.0",
      syncState: "connecting",
      endpoints: [
        {
          id: expect.stringMatching(/^end_[0-9a-f]{32}$/),
          protocol: "imap",
          host: "mail.example.test",
          port: 993,
          security: "tls",
          auth: { type: "password", user: "ana" },
          tls: { caPem: null, rejectUnauthorized: true },
          syncState: "connecting",
          lastError: null,
          profile: {},
        },
      ],
      policy: {
        pop3Devices: "unknown",
        onPop3Drain: "mirror",
        preserveAhead: false,
        onUserExpunge: "mirror",
        onUnknownVanish: "auto",
        pop3Seen: "auto",
        serverCopy: "leave",
        serverCopyDays: 30,
        retentionDays: 30,
      },
      createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
    });
    expect((await api.request(`/v1/accounts/${reply.body.id}`)).body).toEqual(reply.body);
    expect(api.rings.at(-1)?.hint).toEqual({ accountId: uuidOf(reply.body.id), because: "created" });
  });

  test("takes the usual transport and port where nothing is said", async () => {
    const { port: _port, security: _security, ...bare } = input;
    const body = await create({
      name: undefined,
      endpoints: [bare, { ...bare, protocol: "pop3" }, { ...bare, security: "starttls" }, { ...bare, security: "none" }],
    });
    expect(body.name).toBe("ana@example.test");
    const shown = body.endpoints.map((one: { security: string; port: number }) => [one.security, one.port]);
    expect(shown).toEqual([
      ["tls", 993],
      ["tls", 995],
      ["starttls", 143],
      ["none", 143],
    ]);
  });

  test("may bring a private authority, which is a certificate or refused", async () => {
    const { caPem } = await testCertificates();
    const body = await create({ endpoints: [{ ...input, tls: { caPem } }] });
    expect(body.endpoints[0].tls).toEqual({ caPem, rejectUnauthorized: true });
    const reply = await api.request("/v1/accounts", { json: accountInput({ endpoints: [{ ...input, tls: { caPem: "no" } }] }) });
    expect(reply.body).toMatchObject({ status: 400, errors: [{ pointer: "/endpoints/0/tls/caPem" }] });
  });

  test("without protection, or on a private host, is refused by name unless the operator allows it", async () => {
    await using strict = await openTestApi({ config: { allowPrivateHosts: false, allowCleartext: false } });
    const refusal = async (change: object): Promise<unknown[]> => {
      const { status, body } = await strict.request("/v1/accounts", {
        json: accountInput({ endpoints: [{ ...input, ...change }] }),
      });
      return [status, body.code, body.errors[0].pointer];
    };
    expect(await refusal({ security: "none" })).toEqual([422, "cleartext_not_allowed", "/endpoints/0/security"]);
    expect(await refusal({ tls: { rejectUnauthorized: false } })).toEqual([
      422,
      "cleartext_not_allowed",
      "/endpoints/0/tls/rejectUnauthorized",
    ]);
    for (const host of ["127.0.0.1", "::1", "10.0.0.1", "169.254.169.254", "localhost", "0x7f.1", "[::ffff:127.0.0.1]"])
      expect(await refusal({ host })).toEqual([422, "host_not_allowed", "/endpoints/0/host"]);
  });
});

test("C5: a sync asked for has tried at once what waits for room, and nothing else: every other try counts", async () => {
  const account = await create();
  const [endpoint] = account["endpoints"] as { id: string }[];
  await api.db.query({
    text: `insert into commands (account_id, id, tenant_id, endpoint_id, placement_id, verb, args, reason, op_id, status, outcome, due_at)
           select a.id, gen_random_uuid(), a.tenant_id, $2, gen_random_uuid(), 'append', '{}', 'api_write', 'op', 'planned', w, now() + interval '1 hour'
           from accounts a, unnest(array['over_quota', 'try_later', 'no_effect']) w where a.id = $1`,
    values: [uuidOf(account["id"]), parseId("end", endpoint?.id ?? "")],
  });
  expect((await api.request(`/v1/accounts/${account["id"]}/sync`, { method: "POST" })).status).toBe(202);
  const { rows } = await api.db.query<{ outcome: string }>({
    text: "select outcome from commands where account_id = $1 and due_at is null",
    values: [uuidOf(account["id"])],
  });
  expect(rows).toEqual([{ outcome: "over_quota" }]);
});

test("accounts are listed in pages, oldest first, each once; a limited key sees its own only", async () => {
  await using other = await openTestApi();
  const ids: string[] = [];
  for (let n = 0; n < 5; n += 1)
    ids.push((await other.request("/v1/accounts", { json: accountInput({ name: `n${n}` }) })).body.id);
  const seen: string[] = [];
  let cursor: string | null = null;
  do {
    const { body }: Reply = await other.request(`/v1/accounts?limit=2${cursor === null ? "" : `&cursor=${cursor}`}`);
    expect(body.items.length).toBeLessThanOrEqual(2);
    seen.push(...body.items.map((item: { id: string }) => item.id));
    cursor = body.nextCursor;
  } while (cursor !== null);
  expect(seen).toEqual(ids);
  const key = { name: "k", scopes: ["accounts"], accountIds: [ids[3]] };
  const limited = (await other.request("/v1/keys", { json: key })).body.key;
  const { body } = await other.request("/v1/accounts", { key: limited });
  expect(body.items.map((item: { id: string }) => item.id)).toEqual([ids[3]]);
  expect((await other.request("/v1/accounts", { key: limited, json: accountInput() })).body.code).toBe("forbidden");
});

describe("a change of an account", () => {
  test("touches what it names and nothing else", async () => {
    const before = await create();
    const { status, body } = await patch(before.id, { name: "Bea", policy: { retentionDays: 7 } });
    expect(status).toBe(200);
    expect(body).toEqual({ ...before, name: "Bea", policy: { ...before.policy, retentionDays: 7 } });
    expect((await api.request(`/v1/accounts/${before.id}`)).body).toEqual(body);
  });

  test("of an endpoint tries it anew; new credentials are sealed and not shown", async () => {
    const { id, endpoints } = await create();
    const [endpoint] = endpoints;
    await api.db.query({
      text: `update endpoints set sync_state = 'needs_reauth', attempts = 3, last_error = '{"code":"endpoint_auth_failed","message":"m","action":"a","at":"2026-01-01T00:00:00Z"}' where account_id = $1`,
      values: [uuidOf(id)],
    });
    const auth = { type: "oauth2", user: "bea", accessToken: "canary-token" };
    const { body, text } = await patch(id, { endpoints: [{ id: endpoint.id, security: "starttls", auth }] });
    expect(text).not.toContain("canary");
    expect(body.endpoints).toEqual([{ ...endpoint, security: "starttls", port: 143, auth: { type: "oauth2", user: "bea" } }]);
    expect(api.rings.at(-1)?.hint).toEqual({ accountId: uuidOf(id), because: "changed" });
  });

  test("adds an endpoint where none is named, and names what it lacks", async () => {
    const { id } = await create();
    const { body } = await patch(id, { endpoints: [{ ...input, protocol: "pop3", port: 995 }] });
    expect(body.endpoints.map((one: { protocol: string }) => one.protocol)).toEqual(["imap", "pop3"]);
    const { protocol: _protocol, ...noProtocol } = input;
    const { auth: _auth, ...noAuth } = input;
    for (const [json, pointer] of [
      [noProtocol, "/endpoints/0/protocol"],
      [noAuth, "/endpoints/0/auth"],
      [{ ...input, id: "end_1" }, "/endpoints/0/id"],
      [{ id: body.endpoints[0].id, protocol: "pop3" }, "/endpoints/0/protocol"],
      [{ id: body.endpoints[0].id, host: "no host" }, "/endpoints/0/host"],
    ] as const) {
      const reply = await patch(id, { endpoints: [json] });
      expect([reply.status, reply.body.errors[0].pointer]).toEqual([400, pointer]);
    }
    expect((await api.request(`/v1/accounts/${id}`)).body.endpoints.length).toBe(2);
  });

  test("cannot add more endpoints than a new account may have", async () => {
    const { id } = await create({ endpoints: Array.from({ length: 7 }, () => input) });
    expect((await patch(id, { endpoints: [input] })).body.endpoints.length).toBe(8);
    expect((await patch(id, { endpoints: [input] })).body).toMatchObject({ status: 400, errors: [{ pointer: "/endpoints" }] });
  });

  test("sends no stored secret to another host: the credentials come with it", async () => {
    const { id, endpoints } = await create();
    const move = { id: endpoints[0].id, host: "other.example.test" };
    expect((await patch(id, { endpoints: [move] })).body).toMatchObject({
      status: 400,
      errors: [{ pointer: "/endpoints/0/auth" }],
    });
    const same = { id: endpoints[0].id, host: "MAIL.example.test.", port: 1993 };
    expect((await patch(id, { endpoints: [same] })).body.endpoints[0]).toMatchObject({ host: "mail.example.test", port: 1993 });
    const { status, body } = await patch(id, { endpoints: [{ ...move, auth: input["auth"] }] });
    expect([status, body.endpoints[0].host]).toEqual([200, "other.example.test"]);
  });

  test("cannot name an endpoint of another account", async () => {
    const [one, other] = [await create(), await create()];
    const reply = await patch(one.id, { endpoints: [{ id: other.endpoints[0].id, host: "evil.example.test" }] });
    expect(reply.body).toMatchObject({ status: 400, errors: [{ pointer: "/endpoints/0/id" }] });
    expect((await api.request(`/v1/accounts/${other.id}`)).body).toEqual(other);
  });
});

test("a removed account is gone at once, with all that is below it, and its data key with it", async () => {
  const { id } = await create();
  const reply = await api.request(`/v1/accounts/${id}`, { method: "DELETE" });
  expect([reply.status, reply.text]).toEqual([204, ""]);
  for (const path of ["", "/status", "/mailboxes", "/messages", "/changes?since=0.0"])
    expect((await api.request(`/v1/accounts/${id}${path}`)).status).toBe(404);
  expect((await api.request(`/v1/accounts/${id}`, { method: "DELETE" })).status).toBe(404);
  expect((await patch(id, { name: "x" })).status).toBe(404);
  const { rows } = await api.db.query({ text: "select 1 from data_keys where account_id = $1", values: [uuidOf(id)] });
  expect(rows).toEqual([]);
});

describe("an account can be told", () => {
  test("to pause and to go on, which the log shows and syncState says", async () => {
    const { id } = await create();
    const post = (action: string): Promise<Reply> => api.request(`/v1/accounts/${id}/${action}`, { method: "POST" });
    const paused = await post("pause");
    expect([paused.status, paused.body.syncState, paused.body.endpoints[0].syncState]).toEqual([202, "paused", "paused"]);
    expect((await post("sync")).body).toMatchObject({ status: 409, code: "conflict" });
    expect((await post("pause")).body.state).toBe(paused.body.state);
    const resumed = await post("resume");
    expect([resumed.status, resumed.body.syncState]).toEqual([202, "connecting"]);
    const { body } = await api.request(`/v1/accounts/${id}/changes?since=0.0`);
    expect(body.items).toMatchObject([
      {
        kind: "account.state",
        before: { syncState: "connecting" },
        after: { syncState: "paused" },
        cause: { source: "api", deviceId: "operator" },
      },
      { kind: "account.state", after: { syncState: "connecting" }, reason: "resumed" },
    ]);
    expect(body.newState).toBe(resumed.body.state);
  });

  test("to look now, which cuts a wait short", async () => {
    const { id } = await create();
    await api.db.query({
      text: `update endpoints set next_attempt_at = now() + interval '1 hour' where account_id = $1`,
      values: [uuidOf(id)],
    });
    expect((await api.request(`/v1/accounts/${id}/sync`, { method: "POST", headers: { "x-device-id": "phone" } })).status).toBe(
      202,
    );
    expect(api.rings.at(-1)?.hint.because).toBe("api");
    const [endpoint] = (await api.request(`/v1/accounts/${id}/status`)).body.endpoints;
    expect(Date.parse(endpoint.nextAttemptAt)).toBeLessThanOrEqual(Date.now());
  });
});

describe("the status of an account", () => {
  test("says how far the first reading is and when it ends, why an endpoint waits, and what is held", async () => {
    const rows = await MailRows.account(api.db);
    const path = `/v1/accounts/${formatId("acc", rows.accountId)}/status`;
    const fresh = await api.request(path);
    expect(fresh.body).toEqual({
      syncState: "connecting",
      state: "0.0",
      lagSeconds: null,
      progress: { done: 0, total: 0, etaSeconds: null },
      endpoints: [
        {
          id: formatId("end", rows.endpointId),
          protocol: "imap",
          syncState: "connecting",
          lastSuccessAt: null,
          lagSeconds: null,
          nextAttemptAt: null,
          watching: [],
          resyncSince: null,
          progress: { done: 0, total: 0, etaSeconds: null },
          lastError: null,
          profile: {},
          notices: [],
        },
      ],
      pop3Devices: { state: "declared", since: null, because: "policy" },
      suspectedDevices: [],
      holds: [],
      hints: [],
    });
    const error = { code: "endpoint_throttled", message: "m", action: "a", at: "2026-01-01T00:00:00.000Z" };
    await api.db.query({
      text: `update endpoints set sync_state = 'backfilling', progress_done = 250, progress_total = 1000, backfill_started_at = now() - interval '10 s',
               last_success_at = now() - interval '3 s', next_attempt_at = now() + interval '1 min', last_error = $2, profile = '{"push":"idle"}' where account_id = $1`,
      values: [rows.accountId, JSON.stringify(error)],
    });
    const mailboxId = await rows.mailbox("INBOX", { role: "inbox" });
    await api.db.query({
      text: `insert into holds (account_id, id, tenant_id, mailbox_id, reason, count) values ($1, gen_random_uuid(), $2, $3, 'mass_vanish', 80)`,
      values: [rows.accountId, rows.tenantId, mailboxId],
    });
    const { body } = await api.request(path);
    expect(body.progress).toMatchObject({ done: 250, total: 1000 });
    expect(body.progress.etaSeconds).toBeGreaterThanOrEqual(30);
    expect(body.progress.etaSeconds).toBeLessThan(60);
    expect(body.lagSeconds).toBeGreaterThanOrEqual(3);
    expect(body.endpoints[0]).toMatchObject({ watching: ["INBOX"], lastError: error, profile: { push: "idle" } });
    expect(Date.parse(body.endpoints[0].nextAttemptAt)).toBeGreaterThan(Date.now());
    expect(body.suspectedDevices).toEqual([]);
    expect(body.holds).toMatchObject([{ reason: "mass_vanish", count: 80, mailboxId: formatId("mbx", mailboxId) }]);
  });
});

test("the fleet's status counts a key's own tenant, and everything for the operator", async () => {
  const tenant = (await api.request("/v1/tenants", { json: { name: "fleet" } })).body.id;
  const { key } = (await api.request("/v1/keys", { json: { name: "ops", scopes: ["ops", "accounts"], tenantId: tenant } })).body;
  await api.request("/v1/accounts", { key, json: accountInput() });
  const own = (await api.request("/v1/status", { key })).body;
  expect(own.accounts).toEqual({ connecting: 1 });
  const all = (await api.request("/v1/status")).body;
  expect(all.accounts.connecting).toBeGreaterThan(1);
  expect(all).toMatchObject({
    version: "0.0.0-test",
    lagSeconds: { p50: expect.anything(), p95: expect.anything(), p99: expect.anything() },
    queue: { depth: { waiting: 0, active: 0, delayed: 0 }, overdueSeconds: expect.any(Number) },
    shards: expect.any(Array),
  });
});
