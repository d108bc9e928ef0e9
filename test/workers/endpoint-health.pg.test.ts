/** How a pass went is said of the settings and credentials that it was made with, and of no others. */
import { expect, it } from "vitest";
import { SyncError } from "../../src/model/failure.ts";
import { type EndpointState, readAccountState } from "../../src/store/account-state.ts";
import { type Database } from "../../src/store/database.ts";
import { defaultRetryTimes } from "../../src/workers/backoff.ts";
import { HealthBook } from "../../src/workers/endpoint-health.ts";
import type { LaneServices } from "../../src/workers/lane-services.ts";
import { defaultTenant, makeAccount, quietLog } from "../support/shard-owner.ts";
import { useDatabase } from "../support/open-database.ts";

let db: Database;

useDatabase((opened) => {
  db = opened;
});

const refused = new SyncError("credential", "endpoint", { code: "endpoint_auth_failed", message: "No.", action: "Mend it." });

/** What a change of an endpoint says of its health. */
const forgiven = `attempts = 0, next_attempt_at = null, sync_state = 'connecting', last_error = null`;

const begin = async () => {
  const { context } = await makeAccount(db);
  const { accountId, endpointId, fence } = context;
  await db.query({
    text: `insert into endpoints (account_id, id, tenant_id, protocol, host, port, security, auth_type, auth_user, credentials)
           values ($1, $2, $3, 'imap', 'mail.example.test', 993, 'tls', 'password', 'ana', 'sealed')`,
    values: [accountId, endpointId, defaultTenant],
  });
  const stored = async (): Promise<EndpointState> => {
    const endpoint = (await readAccountState(db, accountId))?.endpoints[0];
    if (endpoint === undefined) throw new Error("no endpoint");
    return endpoint;
  };
  const change = (set: string): Promise<unknown> =>
    db.query({ text: `update endpoints set ${set} where account_id = $1`, values: [accountId] });
  const services = { db, retryTimes: defaultRetryTimes } as LaneServices;
  const book = new HealthBook({ accountId, fence, services, log: quietLog });
  book.take(await stored());
  return { book, stored, change };
};

const others = [
  "credentials_version = 2",
  "host = 'other.example.test'",
  "port = 143",
  "security = 'starttls'",
  "tls_ca_pem = 'x'",
];

it.each(others)("a pass that was under way when somebody set %s says nothing of that", async (other) => {
  const { book, stored, change } = await begin();
  await book.failed(refused);
  await change(`${other}, ${forgiven}`);
  const reset = await stored();
  // The second refusal in a row parks an endpoint.
  expect(await book.failed(refused)).toBeLessThanOrEqual(Date.now());
  expect(await stored()).toEqual(reset);
  await book.succeeded("live", { loginDelayMs: 1 });
  expect(await stored()).toEqual(reset);
  expect(book.profile).toEqual({});
  expect(book.take(reset)).toBe(true);
  expect(book.mayRunAt(false, "write")).toBe(0);
});

it("with the settings that there are it is said", async () => {
  const { book, stored } = await begin();
  await book.failed(refused);
  expect(await book.failed(refused)).toBe(Number.POSITIVE_INFINITY);
  expect(await stored()).toMatchObject({ syncState: "needs_reauth", attempts: 2 });
  expect(book.take(await stored())).toBe(false);
  expect(book.mayRunAt(false, "api")).toBe(Number.POSITIVE_INFINITY);
  await book.succeeded("live", { loginDelayMs: 1 });
  expect(await stored()).toMatchObject({ syncState: "live", attempts: 0, profile: { loginDelayMs: 1 } });
});

it.each(others)("where %s is news a parked endpoint is tried once, whatever the hint", async (other) => {
  const { book, stored, change } = await begin();
  await book.failed(refused);
  await book.failed(refused);
  await change(other);
  expect(book.take(await stored())).toBe(true);
  expect(book.take(await stored())).toBe(false);
  expect(book.mayRunAt(false, "push")).toBe(0);
  expect(book.mayRunAt(true, "push")).toBe(Number.POSITIVE_INFINITY);
  await book.failed(refused);
  expect(book.mayRunAt(false, "push")).toBe(Number.POSITIVE_INFINITY);
});

it("another time to come back is news, too", async () => {
  const { book, stored, change } = await begin();
  await book.failed(refused);
  expect(book.take(await stored())).toBe(false);
  await change(forgiven);
  expect(book.take(await stored())).toBe(true);
});
