/**
 * Secrets go in, and nothing but the sealed credentials may remember them: the daemon runs at its most talkative through
 * good and bad days, and then everything that it said and stored is searched.
 */
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis as RedisClient } from "ioredis";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Daemon, startDaemon } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { freePorts } from "../support/ports.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";
import { type Redis, startRedis } from "../support/redis.ts";
import { startScripted } from "../support/scripted-server.ts";
import { dumpFolder, dumpRedis, dumpTables, findSecrets, type Sources } from "../support/secret-search.ts";

const canary = (): string => `Canary${randomBytes(15).toString("hex")}`;

/** Not secret: planted to prove that each search finds. */
const control = canary();
const password = canary();
const wrongPassword = canary();
const misplaced = canary();
const adminKey = `sbx_admin_${canary()}`;
const secretKey = randomBytes(32).toString("base64");
const secrets: Record<string, string> = {
  "the password": password,
  "the wrong password": wrongPassword,
  "the misplaced password": misplaced,
  "the operator's key": adminKey,
  "the sealing key": secretKey,
};

let server: Dovecot;
let redis: Redis;
let fresh: FreshDatabase;
let dataDir: string;
let daemon: Daemon;
const answers: string[] = [];

/** As a client that writes down whatever it is answered. */
const call = async (
  path: string,
  request: { method?: string; body?: unknown; raw?: string; headers?: Record<string, string>; unrecorded?: boolean } = {},
  base = daemon.url,
  // oxlint-disable-next-line typescript/no-explicit-any -- what a JSON answer holds is compared, not trusted
): Promise<{ status: number; body: any }> => {
  const { body, raw = body === undefined ? undefined : JSON.stringify(body), headers = {} } = request;
  const response = await fetch(base + path, {
    method: request.method ?? (raw === undefined ? "GET" : "POST"),
    headers: {
      authorization: `Bearer ${adminKey}`,
      ...(raw !== undefined && { "content-type": "application/json" }),
      ...headers,
    },
    ...(raw !== undefined && { body: raw }),
  });
  const text = await response.text();
  if (request.unrecorded !== true) answers.push(`${response.status} ${JSON.stringify([...response.headers])} ${text}`);
  return { status: response.status, body: /json/.test(response.headers.get("content-type") ?? "") ? JSON.parse(text) : text };
};

const env = (): Record<string, string> => ({
  DATABASE_URL: fresh.url,
  REDIS_URL: redis.url,
  SAMEBOX_DATA_DIR: dataDir,
  SAMEBOX_ADMIN_KEY: adminKey,
  SAMEBOX_SECRET_KEY: secretKey,
  LOG_LEVEL: "trace",
});

beforeAll(async () => {
  const extraConfig = `passdb {\n  driver = static\n  mechanisms = plain login\n  args = password=${password}\n}`;
  [server, redis, fresh] = await Promise.all([startDovecot({ users: 6, extraConfig }), startRedis(), freshDatabase()]);
  dataDir = await mkdtemp(join(tmpdir(), "samebox-canary-"));
  secrets["the access token"] = server.accessToken(2);
  secrets["the expired access token"] = server.accessToken(2, -60);
  for (const n of [1, 2])
    await server.deliver({
      user: server.account(n).user,
      mailbox: "INBOX",
      messages: [Buffer.from(`Subject: hello\r\nMessage-ID: <${n}@canary.test>\r\n\r\nA word: ${control}\r\n`)],
    });
  daemon = await startDaemon({ env: { ...env(), METRICS_PORT: "0" } });
});

afterAll(async () => {
  await daemon.stop();
  await Promise.all([server.stop(), redis.stop()]);
  await fresh.drop();
  await rm(dataDir, { recursive: true, force: true });
});

interface Endpoint {
  readonly host?: string;
  readonly port?: number;
  readonly security?: string;
  readonly auth: Readonly<Record<string, unknown>>;
  readonly tls?: Readonly<Record<string, unknown>>;
}

const accountBody = (endpoint: Endpoint): Record<string, unknown> => ({
  email: "ana@example.test",
  endpoints: [{ protocol: "imap", host: server.host, port: server.imapPort, security: "none", ...endpoint }],
});

const withPassword = (n: number, secret = password): { type: string; user: string; password: string } => ({
  type: "password",
  user: `user${n}`,
  password: secret,
});

const withToken = (accessToken: string | undefined): Readonly<Record<string, unknown>> => ({
  type: "oauth2",
  user: "user2",
  accessToken,
});

/** Creates an account and waits for what becomes of it. */
const becomes = async (outcome: string, endpoint: Endpoint): Promise<string> => {
  const created = await call("/v1/accounts", { body: accountBody(endpoint), headers: { "idempotency-key": canary() } });
  expect(created.status).toBe(201);
  await settles(created.body.id as string, outcome);
  return created.body.id;
};

const settles = (id: string, outcome: string): Promise<true> =>
  eventually(
    `the account is ${outcome}`,
    async () => {
      const { body } = await call(`/v1/accounts/${id}/status`);
      const [endpoint] = body.endpoints;
      if (endpoint.syncState !== outcome && endpoint.lastError?.code !== outcome) throw new Error(JSON.stringify(body));
      return true as const;
    },
    { timeoutMs: 30_000 },
  );

test("accounts whose login works are read, over every kind of connection and with a token", async () => {
  const { caPem } = server;
  await becomes("live", { auth: withPassword(1) });
  await becomes("live", { auth: withPassword(3), security: "starttls", tls: { caPem } });
  await becomes("live", { auth: withPassword(4), security: "tls", port: server.imapsPort, tls: { caPem } });
  await becomes("live", { auth: withToken(secrets["the access token"]) });
});

test("accounts whose login fails say why, without the secret", async () => {
  await becomes("endpoint_auth_failed", { auth: withPassword(1, wrongPassword) });
  await becomes("endpoint_auth_failed", { auth: withToken(secrets["the expired access token"]) });
  await becomes("endpoint_tls_failed", { auth: withPassword(1), security: "tls", port: server.imapsPort });
  await becomes("endpoint_tls_failed", { auth: withPassword(1), security: "tls", port: server.imapPort });
  const [free = 0] = await freePorts(1);
  await becomes("endpoint_unreachable", { auth: withPassword(1), port: free });
});

/** What a server may have heard of the secret, in all the ways in which it can say it again. */
const echo = (secret: string): string =>
  `you said LOGIN user1 "${secret}" or ${Buffer.from(`\0user1\0${secret}`).toString("base64")} or ${Buffer.from(`user=user1\x01auth=Bearer ${secret}\x01\x01`).toString("base64")}`;

test.each([
  ["a refusal", `{tag} NO ${echo(password)}\r\n`, "endpoint_auth_failed"],
  ["a refusal with a code", `{tag} NO [AUTHENTICATIONFAILED] ${echo(password)}\r\n`, "endpoint_auth_failed"],
  ["a code that it makes up", `{tag} NO [${password}] no\r\n`, "endpoint_auth_failed"],
  ["a BAD", `{tag} BAD ${echo(password)}\r\n`, "endpoint_protocol_error"],
  ["an alert before it", `* OK [ALERT] ${echo(password)}\r\n{tag} NO no\r\n`, "endpoint_auth_failed"],
  ["a farewell", `* BYE ${echo(password)}\r\n!close`, "endpoint_closed"],
  ["a challenge", `+ ${Buffer.from(echo(password)).toString("base64")}\r\n{tag} NO no\r\n`, "endpoint_auth_failed"],
  ["something that is not IMAP", `${echo(password)}\r\n!close`, "*"],
])("a server that echoes the login in %s is not repeated", async (_how, reply, outcome) => {
  await using scripted = await startScripted({ rules: [{ on: /^(LOGIN|AUTHENTICATE)/i, reply: [reply] }] });
  const { body } = await call("/v1/accounts", { body: accountBody({ port: scripted.port, auth: withPassword(1) }) });
  const { lastError } = await eventually("it failed", async () => {
    const [endpoint] = (await call(`/v1/accounts/${body.id}/status`)).body.endpoints;
    return endpoint.lastError !== null && (endpoint as { lastError: { code: string } });
  });
  if (outcome !== "*") expect(lastError.code).toBe(outcome);
  expect((await call(`/v1/accounts/${body.id}`, { method: "DELETE" })).status).toBe(204);
});

test.each(["LIST", "EXAMINE", "UID FETCH", "IDLE"])(
  "a server that echoes the login when it is asked for %s is not repeated",
  async (verb) => {
    const rules = [{ on: new RegExp(`^${verb}`, "i"), reply: [`{tag} NO [UNAVAILABLE] ${echo(password)}\r\n`] }];
    await using scripted = await startScripted({ rules });
    const { body } = await call("/v1/accounts", { body: accountBody({ port: scripted.port, auth: withPassword(1) }) });
    await eventually("it was asked", () => scripted.received.some(({ line }) => new RegExp(verb, "i").test(line)));
    for (const part of ["", "/status", "/mailboxes", "/messages", "/changes?since=0.0"])
      await call(`/v1/accounts/${body.id}${part}`);
    expect((await call(`/v1/accounts/${body.id}`, { method: "DELETE" })).status).toBe(204);
  },
);

test("requests with the secret in the wrong place are refused without repeating it", async () => {
  const endpoint = { protocol: "imap", host: server.host, auth: withPassword(1, misplaced) };
  const send = async (body: unknown): Promise<void> => {
    const { status } = await call("/v1/accounts", { body });
    expect(status, JSON.stringify(body)).toBeGreaterThanOrEqual(400);
    expect(status).toBeLessThan(500);
  };
  const accountOf = (change: Record<string, unknown>): unknown => ({
    email: "a@example.test",
    endpoints: [{ ...endpoint, ...change }],
  });
  for (const change of [
    { password: misplaced },
    { auth: misplaced },
    { auth: [misplaced] },
    { auth: { type: misplaced, user: "u" } },
    { auth: { type: "password", user: "u", password: { value: misplaced } } },
    { auth: { type: "password", user: "u", password: [misplaced] } },
    { auth: { type: "password", user: "u", password: `${misplaced}\r\nA1 LOGOUT` } },
    { auth: { type: "password", user: "u", password: misplaced.repeat(40) } },
    { auth: { type: "password", user: "u", pasword: misplaced } },
    { auth: { type: "oauth2", user: "u", accessToken: `${misplaced} ${misplaced}` } },
    { auth: { type: "oauth2", user: "u", password: misplaced } },
    { protocol: misplaced },
    { security: misplaced },
    { port: misplaced },
    { host: { value: misplaced } },
    { host: `${misplaced} ` },
    { tls: { caPem: misplaced } },
    { tls: { rejectUnauthorized: misplaced } },
  ])
    await send(accountOf(change));
  for (const body of [
    misplaced,
    [misplaced],
    { email: misplaced, endpoints: [endpoint] },
    { email: "a@example.test", endpoints: misplaced },
    { email: "a@example.test", endpoints: [misplaced] },
    { email: "a@example.test", endpoints: [endpoint], password: misplaced },
    { email: "a@example.test", endpoints: [endpoint], policy: { onPop3Drain: misplaced } },
    { email: "a@example.test", endpoints: [endpoint], policy: misplaced },
  ])
    await send(body);
  for (const request of [
    { raw: `{"password": ${misplaced}` },
    { raw: `{"password": "${misplaced}"`, headers: { "content-type": "text/plain" } },
    { raw: `password=${misplaced}`, headers: { "content-type": "application/x-www-form-urlencoded" } },
    { raw: `{"password": "${misplaced}"}`, headers: { "content-type": misplaced } },
    { body: accountOf({}), headers: { "idempotency-key": `${misplaced} ${misplaced}` } },
    { headers: { authorization: `Basic ${Buffer.from(`user1:${misplaced}`).toString("base64")}` } },
    { headers: { authorization: `Bearer ${misplaced}` } },
    { headers: { authorization: `Bearer ${misplaced} ${misplaced}` } },
    { headers: { "x-tenant-id": misplaced } },
  ])
    expect((await call("/v1/accounts", request)).status).toBeGreaterThanOrEqual(400);
  for (const path of [
    `/v1/accounts?cursor=${misplaced}`,
    `/v1/accounts?limit=${misplaced}`,
    `/v1/accounts/${misplaced}`,
    `/v1/${misplaced}`,
    `/${misplaced}%zz`,
  ])
    expect((await call(path)).status).toBeGreaterThanOrEqual(400);
});

test("a host that is not allowed is refused, and its password forgotten", async () => {
  await using strict = await startDaemon({
    env: { ...env(), SAMEBOX_ROLES: "api", SAMEBOX_ALLOW_PRIVATE_HOSTS: "false", SAMEBOX_ALLOW_CLEARTEXT: "false" },
  });
  for (const [change, code] of [
    [{}, "cleartext_not_allowed"],
    [{ security: "tls" }, "host_not_allowed"],
    [{ security: "tls", host: "localhost" }, "host_not_allowed"],
  ] as const) {
    const reply = await call("/v1/accounts", { body: accountBody({ auth: withPassword(1, misplaced), ...change }) }, strict.url);
    expect(reply).toMatchObject({ status: 422, body: { code } });
  }
  await strict.stop();
  expect(findSecrets({ "its log": strict.lines.map((line) => JSON.stringify(line)).join("\n") }, secrets)).toEqual([]);
});

test("keys are shown once and then only work", async () => {
  const made = {
    body: { name: "k", scopes: ["accounts", "mail:read"] },
    headers: { "idempotency-key": canary() },
    unrecorded: true,
  };
  const first = await call("/v1/keys", made);
  const again = await call("/v1/keys", made);
  expect(again.body.key).toBe(first.body.key);
  secrets["a key"] = first.body.key;
  secrets["the secret part of a key"] = first.body.key.slice(-43);
  await call("/v1/keys");
  expect((await call("/v1/accounts", { headers: { authorization: `Bearer ${first.body.key}` } })).status).toBe(200);
  expect((await call("/v1/status", { headers: { authorization: `Bearer ${first.body.key}` } })).status).toBe(403);
  expect((await call("/v1/keys", { ...made, body: { ...made.body, name: "other" }, unrecorded: false })).status).toBe(422);
  expect((await call(`/v1/keys/${first.body.id}`, { method: "DELETE" })).status).toBe(204);
  expect((await call("/v1/accounts", { headers: { authorization: `Bearer ${first.body.key}` } })).status).toBe(401);
});

test("changed credentials are forgotten like the first ones", async () => {
  const id = await becomes("endpoint_auth_failed", { auth: withPassword(5, wrongPassword) });
  const { body: account } = await call(`/v1/accounts/${id}`);
  const change = (auth: unknown) => ({ method: "PATCH", body: { endpoints: [{ id: account.endpoints[0].id, auth }] } });
  expect((await call(`/v1/accounts/${id}`, change({ type: "password", user: "user5", passwort: misplaced }))).status).toBe(400);
  expect((await call(`/v1/accounts/${id}`, change(withPassword(5)))).status).toBe(200);
  await settles(id, "live");
});

/** Everything the daemon said, and all that the stores hold. */
const gather = async (): Promise<Sources> => {
  const { body: accounts } = await call("/v1/accounts");
  for (const { id } of accounts.items)
    for (const part of ["", "/status", "/mailboxes", "/messages", "/changes?since=0.0"]) await call(`/v1/accounts/${id}${part}`);
  for (const path of ["/v1/status", "/v1/tenants", "/livez", "/readyz", "/openapi.json", "/docs"]) await call(path);
  const metricsUrl = daemon.lines.find((line) => line["msg"] === "api listening")?.["metricsUrl"];
  const metrics = await (await fetch(`${String(metricsUrl)}/metrics`)).text();
  expect(metrics).toContain('samebox_connects_total{proto="imap",result="auth"}');
  return {
    "the log": daemon.lines.map((line) => JSON.stringify(line)).join("\n"),
    "the answers": answers.join("\n"),
    "the metrics": metrics,
    ...(await dumpRedis(redis.url)),
    ...(await dumpTables(fresh.url)),
    ...(await dumpFolder(dataDir)),
  };
};

test("the search finds what is there: in the log, in answers, in every kind of key, in rows and octets, in Base64 too", async () => {
  await call("/v1/accounts", { headers: { "x-request-id": control } });
  const client = new RedisClient(redis.url);
  const encoded = Buffer.from(`\0user1\0${control}`).toString("base64");
  await Promise.all([
    client.set("planted:string", control),
    client.set(`planted:${control}`, ""),
    client.hset("planted:hash", "a", encoded),
    client.rpush("planted:list", control),
    client.sadd("planted:set", control),
    client.zadd("planted:zset", 1, control),
    client.xadd("planted:stream", "*", "a", encoded),
  ]);
  const found = findSecrets(await gather(), { control }).join("\n");
  await client.del(...(await client.keys("planted:*")));
  client.disconnect();
  for (const where of [
    "as it is in the log",
    "as it is in the answers",
    "as it is in Redis string planted:string",
    `as it is in Redis string planted:${control}`,
    "in Base64 in Redis hash",
    "as it is in Redis list",
    "as it is in Redis set",
    "as it is in Redis zset",
    "in Base64 in Redis stream",
    "as it is in table public.message_contents",
    "in hexadecimal in table public.blobs",
    "as it is in octets of public.blobs",
  ])
    expect(found).toContain(where);
});

test("no secret is in the logs, the answers, the metrics, Redis, the database or the data directory", async () => {
  const sources = await gather();
  expect(Object.keys(sources).filter((name) => name.startsWith("Redis")).length).toBeGreaterThan(0);
  expect(sources["the log"]?.length).toBeGreaterThan(10_000);
  expect(findSecrets(sources, secrets)).toEqual([]);
});
