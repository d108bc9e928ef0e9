/** Endpoints changed by several at once. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { accountInput, openTestApi, type TestApi } from "../support/api.ts";
import { eventually } from "../support/eventually.ts";

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi();
});
afterAll(() => api.close());

/** Statements that wait until somebody else's transaction ends. */
const waiting = async (): Promise<number> => {
  const { rows } = await api.db.query<{ n: bigint }>({
    text: "select count(*) as n from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
  });
  return Number(rows[0]?.n);
};

test("two who change the same endpoint both get what they changed", async () => {
  const { body: account } = await api.request("/v1/accounts", { json: accountInput() });
  const id = (account["endpoints"] as { id: string }[])[0]?.id;
  const patch = (change: Record<string, unknown>) =>
    api.request(`/v1/accounts/${account.id}`, { method: "PATCH", json: { endpoints: [{ id, ...change }] } });
  const [port, security] = await api.db.transaction(async (tx) => {
    await tx.query({ text: "select from accounts for update" });
    const both = [patch({ port: 1993 }), patch({ tls: { rejectUnauthorized: false } })] as const;
    await eventually("both have read what there is", async () => (await waiting()) === 2);
    return both.map((one) => ({ answer: one }));
  });
  expect([(await port?.answer)?.status, (await security?.answer)?.status]).toEqual([200, 200]);
  const { body: after } = await api.request(`/v1/accounts/${account.id}`);
  expect(after["endpoints"]).toMatchObject([{ port: 1993, tls: { rejectUnauthorized: false } }]);
});
