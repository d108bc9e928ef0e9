/** Who may probe what. What a probe tells is tested where it looks: test/endpoints and test/scenarios. */
import { describe, expect, test } from "vitest";
import type { Diagnosis, Prober, ProbeRequest } from "../../src/model/diagnosis.ts";
import { openTestApi, type TestApi } from "../support/api.ts";
import { markWrites, rowsWrittenSince } from "../support/canonical-dump.ts";

const endpoint = {
  protocol: "pop3",
  host: "mail.example.test",
  auth: { type: "password", user: "ana", password: "canary-secret-7391" },
};

const nothingThere: Diagnosis = {
  reachable: false,
  failed: { step: "connect", code: "endpoint_unreachable", message: "No connection could be made.", action: "Check the host." },
  tls: null,
  login: "not_tried",
  server: { kind: "unknown", name: null },
  capabilities: { beforeLogin: null, afterLogin: null },
  imap: null,
  pop3: null,
  advice: [
    { code: "port_wants_tls", severity: "problem", message: "Port 995 is meant for TLS.", action: "Set security to tls." },
  ],
};

/** Answers at once, and remembers what was asked. */
class InstantProber implements Prober {
  readonly asked: ProbeRequest[] = [];
  readonly #answer: Diagnosis | null;

  constructor(answer: Diagnosis | null) {
    this.#answer = answer;
  }

  probe(request: ProbeRequest): Promise<Diagnosis | null> {
    this.asked.push(request);
    return Promise.resolve(this.#answer);
  }
}

const keyWith = async (api: TestApi, scopes: readonly string[]): Promise<string> => {
  const { body } = await api.request("/v1/keys", { json: { name: scopes.join(" "), scopes } });
  return body.key;
};

describe("a probe", () => {
  test("settles the endpoint as an account's, asks, and answers 200 whatever the server does", async () => {
    const prober = new InstantProber(nothingThere);
    await using api = await openTestApi({ deps: { prober } });
    const { status, body } = await api.request("/v1/probe", { json: { ...endpoint, host: "Mail.Example.test." } });
    expect(status).toBe(200);
    expect(body).toEqual({
      protocol: "pop3",
      host: "mail.example.test",
      port: 995,
      security: "tls",
      ...nothingThere,
    });
    expect(prober.asked).toEqual([
      {
        settings: {
          protocol: "pop3",
          host: "mail.example.test",
          port: 995,
          security: "tls",
          tls: { caPem: null, rejectUnauthorized: true },
        },
        credentials: endpoint.auth,
      },
    ]);
  });

  test("writes no row, and its secret is in no log", async () => {
    await using api = await openTestApi({ deps: { prober: new InstantProber(nothingThere) } });
    await api.request("/v1/probe", { json: endpoint });
    const mark = await markWrites(api.databaseUrl);
    await api.request("/v1/probe", { json: endpoint, headers: { "idempotency-key": "one" } });
    expect(await rowsWrittenSince(api.databaseUrl, mark)).toBe(0n);
    expect(api.log.join("\n")).not.toContain("canary-secret-7391");
  });

  test("takes the scope accounts", async () => {
    await using api = await openTestApi({ deps: { prober: new InstantProber(nothingThere) } });
    const ask = async (key: string | null) => (await api.request("/v1/probe", { json: endpoint, key })).status;
    expect(await ask(await keyWith(api, ["accounts"]))).toBe(200);
    expect(await ask(await keyWith(api, ["mail:read", "mail:write", "ops"]))).toBe(403);
    expect(await ask(null)).toBe(401);
  });

  test("of what is not allowed is not even asked", async () => {
    const prober = new InstantProber(nothingThere);
    await using api = await openTestApi({ deps: { prober }, config: { allowPrivateHosts: false, allowCleartext: false } });
    for (const [change, status, code, pointer] of [
      [{ host: "127.0.0.1" }, 422, "host_not_allowed", "/host"],
      [{ host: "169.254.169.254" }, 422, "host_not_allowed", "/host"],
      [{ host: "localhost" }, 422, "host_not_allowed", "/host"],
      [{ host: "a b" }, 400, "invalid_request", "/host"],
      [{ security: "none" }, 422, "cleartext_not_allowed", "/security"],
      [{ tls: { rejectUnauthorized: false } }, 422, "cleartext_not_allowed", "/tls/rejectUnauthorized"],
      [{ tls: { caPem: "x" } }, 400, "invalid_request", "/tls/caPem"],
      [{ email: "ana@example.test" }, 400, "invalid_request", "/email"],
      [{ protocol: "jmap" }, 400, "invalid_request", "/protocol"],
    ] as const) {
      const { status: got, body } = await api.request("/v1/probe", { json: { ...endpoint, ...change } });
      expect({ got, code: body.code, pointer: body.errors[0].pointer }).toEqual({ got: status, code, pointer });
    }
    expect(prober.asked).toEqual([]);
  });

  test("is refused while too many are under way", async () => {
    await using busy = await openTestApi({ deps: { prober: new InstantProber(null) } });
    const reply = await busy.request("/v1/probe", { json: endpoint });
    expect(reply).toMatchObject({ status: 503, body: { code: "unavailable" } });
    expect(reply.headers.get("retry-after")).toBe("10");
  });

  test("is limited by its own rate", async () => {
    await using api = await openTestApi({ deps: { prober: new InstantProber(nothingThere) }, config: { probesPerMinute: 2 } });
    const key = await keyWith(api, ["accounts"]);
    const statuses: number[] = [];
    for (let times = 0; times < 3; times += 1) statuses.push((await api.request("/v1/probe", { json: endpoint, key })).status);
    expect(statuses).toEqual([200, 200, 429]);
    expect((await api.request("/v1/accounts", { key })).status).toBe(200);
  });
});
