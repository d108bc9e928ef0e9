import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createLogger } from "../../src/telemetry/log.ts";
import { openDatabase } from "../../src/store/database.ts";
import { openTestApi, type TestApi } from "../support/api.ts";
import { eventually } from "../support/eventually.ts";
import { freePorts } from "../support/ports.ts";

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi({ config: { metricsPort: 0 } });
});
afterAll(() => api.close());

describe("health", () => {
  test("figures have a port of their own when one is set, and health is on both", async () => {
    if (api.metricsUrl === null) throw new Error("no port for the figures");
    expect(api.metricsUrl).not.toBe(api.url);
    expect((await api.request("/metrics", { key: null })).status).toBe(404);
    expect((await fetch(`${api.metricsUrl}/metrics`)).status).toBe(200);
    expect((await fetch(`${api.metricsUrl}/v1/accounts`)).status).toBe(404);
    for (const base of [api.url, api.metricsUrl])
      for (const path of ["/livez", "/readyz"]) expect((await fetch(`${base}${path}`)).status, `${base}${path}`).toBe(200);
  });

  test("readiness says whether the queue can be reached", async () => {
    expect((await api.request("/readyz", { key: null })).body).toEqual({ status: "ready", queue: "reachable" });
  });

  test("a database that is not migrated makes the process not ready", async () => {
    await api.db.query({ text: "update _prisma_migrations set migration_name = migration_name || '_'" });
    const reply = await api.request("/readyz", { key: null });
    expect(reply.status).toBe(503);
    expect(reply.body).toMatchObject({ code: "not_ready", detail: "The database is not migrated to this version." });
    await api.db.query({ text: "update _prisma_migrations set migration_name = rtrim(migration_name, '_')" });
    expect((await api.request("/readyz", { key: null })).status).toBe(200);
  });

  test("a lost connection is replaced at the next look", async () => {
    await api.request("/readyz", { key: null });
    await api.db.query({
      text: "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'samebox readiness' and datname = current_database()",
    });
    await eventually("ready again", async () => (await api.request("/readyz", { key: null })).status === 200);
  });

  test("a stopping process is not ready, and still alive", async () => {
    api.drain();
    expect((await api.request("/readyz", { key: null })).body).toMatchObject({
      code: "not_ready",
      detail: "The process is stopping.",
    });
    expect((await api.request("/livez", { key: null })).status).toBe(200);
  });
});

describe("without a queue", () => {
  test.each([
    ["fails", () => Promise.reject(new Error("out of reach"))],
    ["never answers", () => new Promise<never>(() => undefined)],
  ])("that %s, the process is ready and says so", async (_how, depth) => {
    await using cut = await openTestApi({ deps: { bell: { ring: async () => undefined, depth } } });
    const { status, body } = await cut.request("/readyz", { key: null });
    expect([status, body]).toEqual([200, { status: "ready", queue: "unreachable" }]);
    await cut.db.query({ text: "insert into shards (id) values (0)" });
    expect((await cut.request("/v1/status")).body.queue.depth).toBeNull();
  });
});

describe("without a database", () => {
  test("the process is alive, not ready within a second, and answers 503 instead of failing", async () => {
    const [port] = await freePorts(1);
    const nowhere = openDatabase({
      url: `postgresql://samebox@127.0.0.1:${port}/nowhere`,
      log: createLogger({ level: "silent" }),
    });
    await using cut = await openTestApi({ deps: { db: nowhere } });
    try {
      const { key } = { key: `sbx_${"0".repeat(32)}_${"a".repeat(43)}` };
      const since = performance.now();
      expect((await cut.request("/livez", { key: null })).status).toBe(200);
      expect((await cut.request("/readyz", { key: null })).body).toMatchObject({
        code: "not_ready",
        detail: "PostgreSQL did not answer within a second.",
      });
      expect(performance.now() - since).toBeLessThan(3_000);
      const reply = await cut.request("/v1/accounts", { key });
      expect(reply.status).toBe(503);
      expect(reply.body).toMatchObject({ code: "unavailable" });
      expect(reply.headers.get("retry-after")).toBe("5");
    } finally {
      await nowhere.close();
    }
  });

  test("a server that never answers costs a second, not a hang", async () => {
    const { createServer } = await import("node:net");
    const silent = createServer((socket) => socket.resume());
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const { port } = silent.address() as { port: number };
    const nowhere = openDatabase({
      url: `postgresql://samebox@127.0.0.1:${port}/nowhere`,
      log: createLogger({ level: "silent" }),
    });
    await using cut = await openTestApi({ deps: { db: nowhere } });
    try {
      const since = performance.now();
      expect((await cut.request("/readyz", { key: null })).status).toBe(503);
      expect(performance.now() - since).toBeLessThan(2_500);
    } finally {
      await nowhere.close();
      silent.close();
    }
  });
});
