/** Every route with ids that are real and belong to somebody else, and with text that would end a line of a mail protocol. */
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { formatId } from "../../src/model/ids.ts";
import { accountInput, openTestApi, type TestApi } from "../support/api.ts";
import { bodies, type Operation, operationsOf, otherMedia, pathOf } from "../support/routes.ts";
import { WrittenMail } from "../support/written-mail.ts";

const scopes = ["mail:read", "mail:write", "accounts", "ops"];

let api: TestApi;
let operations: Operation[];
/** What the default tenant has. */
let theirs: Readonly<Record<string, string>>;
/** Of another tenant: its key, and an account of its own. */
let key: string;
let ownAccount: string;

beforeAll(async () => {
  api = await openTestApi({ config: { probesPerMinute: 10_000 } });
  operations = operationsOf((await api.request("/openapi.json", { key: null })).body);
  const box = await WrittenMail.account(api);
  const inbox = await box.rows.mailbox("INBOX", { role: "inbox" });
  const mail = await api.request(`${box.account}/messages?mailboxId=${formatId("mbx", inbox)}`, {
    raw: new TextEncoder().encode("Message-ID: <one@example.test>\r\nSubject: one\r\n\r\nx\r\n"),
    headers: { "content-type": "message/rfc822" },
  });
  const webhook = await api.request("/v1/webhooks", { json: { url: "https://hooks.example.test/" } });
  const hold = "01a20000-0000-7000-8000-000000000001";
  await api.db.query({
    text: `insert into holds (account_id, id, tenant_id, reason, count) values ($1, $2, $3, 'mass_vanish', 1)`,
    values: [box.rows.accountId, hold, box.rows.tenantId],
  });
  theirs = {
    accountId: formatId("acc", box.rows.accountId),
    messageId: mail.body.message.id,
    mailboxId: formatId("mbx", inbox),
    keyId: (await api.request("/v1/keys", { json: { name: "k", scopes } })).body.id,
    holdId: formatId("hld", hold),
    webhookId: webhook.body.id,
    seq: "1",
    partId: "1",
  };
  const tenant = await api.request("/v1/tenants", { json: { name: "the others" } });
  ({ key } = (await api.request("/v1/keys", { json: { name: "k", scopes, tenantId: tenant.body.id } })).body);
  ownAccount = (await api.request("/v1/accounts", { json: accountInput(), key })).body.id;
});
afterAll(() => api.close());

const ask = async (operation: Operation, ids: Readonly<Record<string, string>>, json = bodies[nameOf(operation)]) => {
  const raw = operation.method === "post" && operation.path in otherMedia;
  return api.request(pathOf(operation, ids), {
    key,
    method: operation.method.toUpperCase(),
    ...(raw ? { raw: "Subject: x\r\n\r\n", headers: { "content-type": "message/rfc822" } } : json !== undefined && { json }),
  });
};

const nameOf = ({ method, path }: Operation): string => `${method} ${path}`;

/** All that the default tenant has, but for what is noted of use and of requests. */
const dump = async (): Promise<string> => {
  const { rows: tables } = await api.db.query<{ name: string }>({
    text: `select c.relname as name from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
           where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
             and c.relname not in ('audit_log') order by 1`,
  });
  const rows = tables.map(
    ({ name }) => `select '${name} ' || t::text as row from ${name} t where tenant_id = '00000000-0000-7000-8000-000000000001'`,
  );
  const all = await api.db.query<{ row: string }>({ text: `${rows.join(" union all ")} order by 1` });
  return all.rows.map(({ row }) => row).join("\n");
};

test("whoever asks about another tenant's things is told that there are none, and changes none", async () => {
  const before = await dump();
  const found: string[] = [];
  const names = ["messageId", "mailboxId", "keyId", "holdId", "webhookId"];
  for (const operation of operations.filter(({ path }) => path.includes("{"))) {
    const ways = [theirs];
    // Real ids of others below an account of one's own.
    if (names.some((name) => operation.path.includes(`{${name}}`))) ways.push({ ...theirs, accountId: ownAccount });
    for (const ids of ways) {
      const reply = await ask(operation, ids);
      if (reply.status !== 404) found.push(`${nameOf(operation)}: ${reply.status} ${reply.text}`);
    }
  }
  expect(found).toEqual([]);
  expect(await dump()).toBe(before);
});

type Path = readonly (string | number)[];

/** Where strings stand in the body. */
const stringsOf = (value: unknown, at: Path = []): Path[] =>
  typeof value === "string"
    ? [at]
    : typeof value === "object" && value !== null
      ? Object.entries(value).flatMap(([name, inner]) => stringsOf(inner, [...at, Array.isArray(value) ? Number(name) : name]))
      : [];

const changed = (value: unknown, [first, ...rest]: Path, change: (text: string) => string): unknown => {
  if (first === undefined) return change(String(value));
  const copy = structuredClone(value) as Record<string | number, unknown>;
  copy[first] = changed(copy[first], rest, change);
  return copy;
};

test("no string of any body may end a line or hold half a character: it is refused before anything is done with it", async () => {
  const targets = operations.flatMap((operation) =>
    operation.path in otherMedia || operation.scopes.includes("operator")
      ? []
      : stringsOf(bodies[nameOf(operation)]).map((at) => ({ operation, at })),
  );
  expect(targets.length).toBeGreaterThan(15);
  const line = fc.record({
    target: fc.constantFrom(...targets),
    end: fc.constantFrom("\r\n", "\n", "\r", "\0", "\ud800"),
    text: fc.constantFrom("A1 LOGOUT", "QUIT", "", "x: y"),
    infix: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(line, async ({ target: { operation, at }, end, text, infix }) => {
      const json = changed(bodies[nameOf(operation)], at, (was) =>
        infix ? `${was[0]}${end}${text}${was.slice(1)}` : was + end + text,
      );
      const reply = await ask(operation, { accountId: ownAccount }, json);
      expect({
        at: `${nameOf(operation)} ${at.join("/")}`,
        refused: [400, 404, 422].includes(reply.status),
        reply: reply.text,
      }).toMatchObject({ refused: true });
    }),
    { numRuns: 300 },
  );
});
