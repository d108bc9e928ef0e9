/** Promises that hold for every route there is, found in the description and not in a list that somebody has to keep. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { accountInput, openTestApi, type Reply, type Request, type TestApi } from "../support/api.ts";
import { bodies, type Described, type Operation, operationsOf, otherMedia, pathOf } from "../support/routes.ts";

const allScopes = ["mail:read", "mail:write", "accounts", "ops"];

let api: TestApi;
let operations: Operation[];
/** An account of the default tenant, and a key of another tenant with every scope. */
let accountId: string;
let foreignKey: string;
/** A webhook of the default tenant, for all accounts. */
let webhookId: string;

const makeKey = async (input: Readonly<Record<string, unknown>>): Promise<{ id: string; key: string }> =>
  (await api.request("/v1/keys", { json: { name: "test", ...input } })).body;

beforeAll(async () => {
  api = await openTestApi({ config: { wrongKeysPerMinute: 10_000 } });
  operations = operationsOf((await api.request("/openapi.json", { key: null })).body);
  accountId = (await api.request("/v1/accounts", { json: accountInput() })).body.id;
  webhookId = (await api.request("/v1/webhooks", { json: bodies["post /v1/webhooks"] })).body.id;
  const tenant = await api.request("/v1/tenants", { json: { name: "the others" } });
  foreignKey = (await makeKey({ tenantId: tenant.body.id, scopes: allScopes })).key;
});
afterAll(() => api.close());

const send = (operation: Operation, ids: Readonly<Record<string, string>>, request: Request): Promise<Reply> => {
  const { method, path } = operation;
  const json = bodies[`${method} ${path}`];
  return api.request(pathOf(operation, ids), {
    method: method.toUpperCase(),
    ...(json !== undefined && { json }),
    ...request,
  });
};

const named = ({ method, path }: Operation): string => `${method.toUpperCase()} ${path}`;

/** Sends to all, and answers those that did not answer `status` and `code`. */
const exceptions = async (
  chosen: readonly Operation[],
  wanted: { readonly status: number; readonly code: string },
  ask: (operation: Operation) => Promise<Reply>,
): Promise<string[]> => {
  const found: string[] = [];
  for (const operation of chosen) {
    const reply = await ask(operation);
    const isProblem = reply.headers.get("content-type") === "application/problem+json; charset=utf-8";
    if (reply.status !== wanted.status || reply.body?.code !== wanted.code || !isProblem)
      found.push(`${named(operation)}: ${reply.status} ${reply.text}`);
  }
  return found;
};

describe("every route that is not public", () => {
  test("is known to this test", () => {
    expect(operations.map(named)).toEqual(
      expect.arrayContaining([
        "POST /v1/accounts",
        "GET /v1/accounts/{accountId}/status",
        "GET /v1/accounts/{accountId}/messages",
        "DELETE /v1/keys/{keyId}",
      ]),
    );
  });

  test("answers 401 without a key, with a wrong one and with a half one", async () => {
    const unauthorized = { status: 401, code: "unauthorized" };
    expect(await exceptions(operations, unauthorized, (operation) => send(operation, { accountId }, { key: null }))).toEqual([]);
    for (const key of [`sbx_${"0".repeat(32)}_${"a".repeat(43)}`, foreignKey.slice(0, -1), "'; drop table accounts"])
      expect(await exceptions(operations, unauthorized, (operation) => send(operation, { accountId }, { key }))).toEqual([]);
  });

  test("says which scopes open it, and answers 403 to a key with all the others", async () => {
    for (const operation of operations) {
      expect(operation.scopes, named(operation)).not.toEqual([]);
      const others = allScopes.filter((scope) => !operation.scopes.includes(scope));
      const { key } = await makeKey({ scopes: others });
      expect(
        await exceptions([operation], { status: 403, code: "forbidden" }, (one) => send(one, { accountId }, { key })),
      ).toEqual([]);
    }
  });

  test("answers 404 about an account or a webhook of another tenant, whatever it is asked", async () => {
    const about = operations.filter(({ path }) => /\{(?:account|webhook)Id\}/.test(path));
    expect(about.length).toBeGreaterThan(10);
    expect(
      await exceptions(about, { status: 404, code: "not_found" }, (operation) =>
        send(operation, { accountId, webhookId }, { key: foreignKey }),
      ),
    ).toEqual([]);
  });

  test("answers 404 about a webhook that is told of accounts that the key is not for", async () => {
    const { key } = await makeKey({ scopes: allScopes, accountIds: [accountId] });
    const about = operations.filter(({ path }) => path.includes("{webhookId}"));
    expect(about.length).toBeGreaterThan(5);
    expect(
      await exceptions(about, { status: 404, code: "not_found" }, (operation) => send(operation, { webhookId }, { key })),
    ).toEqual([]);
  });

  test("answers 404 about an account that the key is not for, and about what is no id", async () => {
    const other = await api.request("/v1/accounts", { json: accountInput({ name: "Bo" }) });
    const { key } = await makeKey({ scopes: allScopes, accountIds: [other.body.id] });
    const about = operations.filter(({ path }) => path.includes("{accountId}"));
    const wanted = { status: 404, code: "not_found" };
    expect(await exceptions(about, wanted, (operation) => send(operation, { accountId }, { key }))).toEqual([]);
    for (const id of ["acc_", "acc_zz", accountId.replace("acc_", "msg_"), "%00", "..%2f"])
      expect(await exceptions(about, wanted, (operation) => send(operation, { accountId: id }, {}))).toEqual([]);
  });

  test("answers 404 about a key of another tenant, and leaves it alone", async () => {
    const { id, key } = await makeKey({ scopes: ["accounts"] });
    expect((await api.request(`/v1/keys/${id}`, { method: "DELETE", key: foreignKey })).status).toBe(404);
    expect((await api.request("/v1/accounts", { key })).status).toBe(200);
  });

  test("answers 405 to a method it does not offer, and names those it does", async () => {
    const byPath = Map.groupBy(operations, ({ path }) => path);
    for (const [path, offered] of byPath) {
      const methods = offered.map(({ method }) => method.toUpperCase());
      for (const method of ["GET", "PUT", "POST", "PATCH", "DELETE"].filter((one) => !methods.includes(one))) {
        const reply = await send({ method, path, scopes: [] }, { accountId }, {});
        expect([path, method, reply.status, reply.body.code]).toEqual([path, method, 405, "method_not_allowed"]);
        expect(
          reply.headers
            .get("allow")
            ?.split(", ")
            .filter((one) => one !== "HEAD"),
        ).toEqual(methods.toSorted());
      }
    }
  });

  test("that takes a body takes JSON only, whole, and no more than a megabyte", async () => {
    const json = { "content-type": "application/json" };
    for (const [request, status, code] of [
      [{ raw: "{", headers: json }, 400, "invalid_request"],
      [{ raw: '{"a":1}{', headers: json }, 400, "invalid_request"],
      [{ raw: "<a/>", headers: { "content-type": "application/xml" } }, 415, "unsupported_media_type"],
      [{ raw: " ".repeat(1_100_000), headers: json }, 413, "payload_too_large"],
    ] as const)
      expect(
        await exceptions(
          operations.filter(({ method, path }) => method !== "get" && !(path in otherMedia)),
          { status, code },
          ({ method, path }) => send({ method, path, scopes: [] }, { accountId }, { ...request, json: undefined }),
        ),
      ).toEqual([]);
  });

  test("that lists refuses a cursor that it did not give out", async () => {
    const { paths } = (await api.request("/openapi.json", { key: null })).body as {
      paths: Record<string, Record<string, { parameters?: { name: string }[] }>>;
    };
    const lists = operations.filter(({ method, path }) =>
      paths[path]?.[method]?.parameters?.some(({ name }) => name === "cursor"),
    );
    expect(lists.length).toBeGreaterThan(4);
    for (const cursor of [
      "x",
      "bnVsbA",
      "W10",
      Buffer.from('["acc_1"]').toString("base64url"),
      Buffer.from('[-1,{"a":1}]').toString("base64url"),
    ])
      for (const list of lists) {
        const json = bodies[`${list.method} ${list.path}`];
        const reply = await send({ ...list, path: `${list.path}?cursor=${cursor}` }, { accountId, webhookId }, { json });
        expect([named(list), reply.status, reply.body.errors?.[0]?.pointer]).toEqual([named(list), 400, "/cursor"]);
      }
  });

  test("refuses a query parameter it does not know, by name", async () => {
    const found: string[] = [];
    for (const operation of operations) {
      const reply = await send(
        { ...operation, path: `${operation.path}?bogus=1` },
        { accountId },
        { json: bodies[`${operation.method} ${operation.path}`] },
      );
      const names = reply.body?.errors?.some(
        (fault: { in: string; pointer: string }) => fault.in === "query" && fault.pointer === "/bogus",
      );
      if (reply.status !== 400 || names !== true) found.push(`${named(operation)}: ${reply.status} ${reply.text}`);
    }
    expect(found).toEqual([]);
  });

  test("refuses a body field it does not know, by name", async () => {
    const found: string[] = [];
    for (const operation of operations.filter(({ method, path }) => method !== "get" && !(path in otherMedia))) {
      const json = { ...(bodies[`${operation.method} ${operation.path}`] as object | undefined), bogus: 1 };
      const reply = await send(operation, { accountId }, { json });
      const names = reply.body?.errors?.some(
        (fault: { in: string; pointer: string }) => fault.in === "body" && fault.pointer === "/bogus",
      );
      if (reply.status !== 400 || names !== true) found.push(`${named(operation)}: ${reply.status} ${reply.text}`);
    }
    expect(found).toEqual([]);
  });
});

describe("the description of the API", () => {
  interface Parameter {
    readonly name: string;
    readonly in: string;
    readonly required?: boolean;
    readonly schema?: object;
  }
  interface FullOperation extends Described {
    readonly summary?: string;
    readonly tags?: readonly string[];
    readonly parameters?: readonly Parameter[];
    readonly responses: Record<string, { description?: string; content?: Record<string, { schema: object }> }>;
  }
  interface Document {
    readonly openapi: string;
    readonly info: { readonly title: string; readonly version: string };
    readonly tags: readonly { readonly name: string }[];
    readonly paths: Record<string, Record<string, FullOperation>>;
    readonly components: { readonly schemas: Record<string, unknown> };
  }

  test("is OpenAPI 3.1: templates and parameters agree, every answer is described, nothing refers to nowhere", async () => {
    const document = (await api.request("/openapi.json", { key: null })).body as Document;
    expect(document.openapi).toMatch(/^3\.1\.\d+$/);
    expect(document.info).toMatchObject({ title: "Samebox", version: "0.0.0-test" });
    const tags = document.tags.map(({ name }) => name);
    for (const [path, methods] of Object.entries(document.paths)) {
      const templated = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]);
      for (const [method, operation] of Object.entries(methods)) {
        const where = `${method} ${path}`;
        const parameters = operation.parameters ?? [];
        expect(
          parameters.filter((one) => one.in === "path" && one.required === true).map(({ name }) => name),
          where,
        ).toEqual(templated);
        expect(new Set(parameters.map((one) => `${one.in} ${one.name}`)).size, where).toBe(parameters.length);
        for (const parameter of parameters) expect(parameter.schema, where).toBeTypeOf("object");
        expect(operation.summary, where).toBeTypeOf("string");
        expect(tags, where).toEqual(expect.arrayContaining([...(operation.tags ?? [])]));
        for (const [status, answer] of Object.entries(operation.responses)) {
          expect(status, where).toMatch(/^([1-5]\d\d|[1-5]XX|default)$/);
          expect(answer.description, where).toBeTypeOf("string");
        }
        expect(operation.responses["4XX"]?.content?.["application/problem+json"]?.schema, where).toEqual({
          $ref: "#/components/schemas/Problem",
        });
      }
    }
    const text = JSON.stringify(document);
    expect(text).not.toContain('"nullable"');
    const names = Object.keys(document.components.schemas);
    const referred = [...text.matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"/g)].map(([, name]) => name);
    expect(new Set(referred)).toEqual(new Set(names));
    expect(text.match(/"\$ref"/g)).toHaveLength(referred.length);
  });

  test("is shown on a page that loads nothing from elsewhere", async () => {
    const page = await api.request("/docs", { key: null });
    expect(page.status).toBe(200);
    expect(page.headers.get("content-security-policy")).toContain("default-src 'none'");
    expect(page.text).not.toMatch(/https?:/);
    for (const [, path] of page.text.matchAll(/src="([^"]+)"/g)) {
      const script = await api.request(`/${path}`, { key: null });
      expect(script.status).toBe(200);
      expect(script.headers.get("content-type")).toBe("text/javascript; charset=utf-8");
    }
  });
});
