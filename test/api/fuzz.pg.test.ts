/**
 * Whatever is sent to whatever route, the answer is one that the description knows, and never that something went wrong on our
 * side. Requests are made of the description itself; a failure prints its seed.
 */
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openParser, type Parser } from "../../src/mime/parser.ts";
import { formatId } from "../../src/model/ids.ts";
import { createLogger } from "../../src/telemetry/log.ts";
import { openTestApi, type Reply, type TestApi } from "../support/api.ts";
import { MailRows } from "../support/mail-rows.ts";
import { type Schema, valuesOf } from "../support/schema-arbitrary.ts";

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required?: boolean;
  readonly schema: Schema;
}

interface Operation {
  readonly method: string;
  readonly path: string;
  readonly parameters: readonly Parameter[];
  readonly body: { readonly media: string; readonly schema: Schema } | null;
}

interface Document {
  readonly paths: Readonly<
    Record<string, Record<string, { parameters?: Parameter[]; requestBody?: { content: Record<string, { schema?: Schema }> } }>>
  >;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

/** Requests to each route; a long run asks for more. */
const runsEach = Number(process.env["FUZZ_RUNS"] ?? 12);
/** An endless answer. */
const left = new Set(["GET /v1/accounts/{accountId}/events"]);

/** After it there is nothing left to ask about. */
const endsAll = ({ method, path }: Operation): boolean => `${method} ${path}` === "DELETE /v1/accounts/{accountId}";

let parser: Parser;
let api: TestApi;
let operations: Operation[];
let document: Document;
let ids: Readonly<Record<string, readonly string[]>>;

const read = ({ paths }: Document): Operation[] =>
  Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { parameters = [], requestBody }]) => {
      const [content] = Object.entries(requestBody?.content ?? {});
      const body = content === undefined ? null : { media: content[0], schema: content[1].schema ?? {} };
      return { method: method.toUpperCase(), path, parameters, body };
    }),
  );

beforeAll(async () => {
  parser = openParser({ threads: 1, timeoutMs: 10_000, maxHeapMb: 256, log: createLogger({ level: "silent" }) });
  // A key may ask for more than anybody would.
  const config = { requestsPerMinute: 1_000_000, newAccountsPerMinute: 1_000_000, probesPerMinute: 1_000_000 };
  api = await openTestApi({ deps: { parser }, config });
  document = (await api.request("/openapi.json", { key: null })).body;
  operations = read(document)
    .filter(({ method, path }) => !left.has(`${method} ${path}`))
    .toSorted((a, b) => Number(endsAll(a)) - Number(endsAll(b)));
  const rows = await MailRows.account(api.db);
  const inbox = await rows.mailbox("INBOX", { role: "inbox" });
  const messages = [];
  for (let uid = 1; uid <= 3; uid += 1) messages.push(await rows.message({ placements: [{ mailboxId: inbox, uid }] }));
  ids = {
    accountId: [formatId("acc", rows.accountId)],
    mailboxId: [formatId("mbx", inbox)],
    messageId: messages.map(({ id }) => formatId("msg", id)),
  };
});
afterAll(async () => {
  await api.close();
  await parser[Symbol.asyncDispose]();
});

const idsOf = (name: string): fc.Arbitrary<string> => {
  const known = ids[name] ?? [];
  const others = fc.oneof(
    fc.uuid().map((id) => `${name.slice(0, 3)}_${id.replaceAll("-", "")}`),
    fc.string({ minLength: 1, maxLength: 30 }),
  );
  return known.length === 0
    ? others
    : fc.oneof({ weight: 6, arbitrary: fc.constantFrom(...known) }, { weight: 1, arbitrary: others });
};

interface Sent {
  readonly ids: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, unknown>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: unknown;
}

const requestsFor = ({ parameters, body }: Operation): fc.Arbitrary<Sent> => {
  const lookup = (name: string): Schema => document.components.schemas[name] ?? {};
  const named = (place: string): Parameter[] => parameters.filter((one) => one.in === place);
  const query = fc.record(
    Object.fromEntries(
      named("query").map(({ name, schema }) => [
        name,
        name in ids ? fc.oneof(idsOf(name), valuesOf(schema, lookup)) : valuesOf(schema, lookup),
      ]),
    ),
    {
      requiredKeys: named("query")
        .filter((one) => one.required === true)
        .map(({ name }) => name),
    },
  );
  const headers = fc.record(
    {
      "if-match": fc.constantFrom('"0.0"', '"0.3"', "*", "nothing"),
      "x-device-id": fc.stringMatching(/^[\w-]{1,80}$/),
      "idempotency-key": fc.stringMatching(/^[\w-]{1,40}$/),
    },
    { requiredKeys: [] },
  );
  return fc.record({
    ids: fc.record(Object.fromEntries(named("path").map(({ name }) => [name, idsOf(name)]))),
    query,
    headers,
    body:
      body === null
        ? fc.constant(undefined)
        : fc.oneof(
            { weight: 5, arbitrary: valuesOf(body.schema, lookup) },
            { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 3 }) },
          ),
  });
};

const send = ({ method, path, body }: Operation, sent: Sent): Promise<Reply> => {
  const filled = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(sent.ids[name] ?? "x"));
  const query = new URLSearchParams(Object.entries(sent.query).map(([name, value]): [string, string] => [name, String(value)]));
  const isJson = body?.media.includes("json") ?? true;
  return api.request(`${filled}?${query.toString()}`, {
    method,
    headers: { ...sent.headers, ...(!isJson && { "content-type": body?.media ?? "" }) },
    ...(sent.body !== undefined && (isJson ? { json: sent.body } : { raw: `Subject: x\r\n\r\n${JSON.stringify(sent.body)}` })),
  });
};

test("no request is answered with a fault of ours, or with what the description does not know", async () => {
  const answered = new Map<number, number>();
  for (const operation of operations)
    await fc.assert(
      fc.asyncProperty(requestsFor(operation), async (sent) => {
        const { status, text } = await send(operation, sent);
        answered.set(status, (answered.get(status) ?? 0) + 1);
        // Nobody is there to probe, which is said as it would be with too many at it.
        if (operation.path === "/v1/probe" && status === 503) return;
        expect(status, `${operation.method} ${operation.path}: ${text}`).toBeLessThan(500);
      }),
      { numRuns: runsEach },
    );
  // Requests that are refused at the door alone would prove nothing.
  expect(answered.get(200) ?? 0).toBeGreaterThan(operations.length);
  expect([...answered.keys()]).toEqual(expect.arrayContaining([201, 400, 404]));
}, 300_000);
