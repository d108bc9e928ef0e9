/** What the status of an account says of its servers and its devices. */
import { uuidv7 } from "uuidv7";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type AccountId, formatId } from "../../src/model/ids.ts";
import { openTestApi, type TestApi } from "../support/api.ts";
import { MailRows } from "../support/mail-rows.ts";

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi();
});
afterAll(() => api.close());

describe("what was learned, in plain words", () => {
  const learn = async (accountId: AccountId, protocol: "imap" | "pop3", profile: object): Promise<string[]> => {
    await api.db.query({
      text: `update endpoints set protocol = $2, profile = $3 where account_id = $1`,
      values: [accountId, protocol, JSON.stringify(profile)],
    });
    const { notices } = (await api.request(`/v1/accounts/${formatId("acc", accountId)}/status`)).body.endpoints[0];
    if (protocol === "pop3") expect(notices.shift()).toContain("on its own device only");
    return notices;
  };

  test("of a maildrop: what it lists and removes, how it is read, how often one may come", async () => {
    const { accountId } = await MailRows.account(api.db);
    const window = { kind: "newest", count: 250 };
    const profile = { wholeBy: "retr", listingWindow: window, loginDelayMs: 1500, expireDays: 0 };
    expect(await learn(accountId, "pop3", profile)).toEqual([
      expect.stringContaining("removes what any POP3 client has retrieved"),
      expect.stringContaining("newest 250 messages only"),
      expect.stringContaining("may mark them as read"),
      expect.stringContaining("2 seconds between two logins"),
    ]);
    const plain = { wholeBy: "top", listingWindow: null, uidlFormat: { name: "uid", uidValidity: 7 } };
    expect(await learn(accountId, "pop3", plain)).toEqual([
      expect.stringContaining("without being marked as read"),
      expect.stringContaining("matched without being read"),
    ]);
    expect(await learn(accountId, "pop3", {})).toEqual([]);
    expect(await learn(accountId, "imap", profile)).toEqual([]);
  });

  test("of devices: what was seen of them, and whether it is enough, whatever the owner says", async () => {
    const rows = await MailRows.account(api.db);
    const evidence = {
      maildrop_in_use: { count: 1, lastAt: Date.UTC(2026, 0, 2), learnedAt: null },
      drained: { count: 4, lastAt: Date.UTC(2026, 0, 3), learnedAt: Date.UTC(2026, 0, 1) },
    };
    await api.db.query({
      text: `update accounts set pop3_evidence = $2, policy = policy || '{"pop3Devices":"none"}' where id = $1`,
      values: [rows.accountId, JSON.stringify(evidence)],
    });
    const { body } = await api.request(`/v1/accounts/${formatId("acc", rows.accountId)}/status`);
    expect(body.pop3Devices.state).toBe("denied");
    const action = expect.stringContaining("leave copies on the server");
    expect(body.suspectedDevices).toEqual([
      {
        protocol: "pop3",
        sign: "maildrop_in_use",
        count: 1,
        lastAt: "2026-01-02T00:00:00.000Z",
        certain: false,
        message: "Once another client was in the maildrop when it was looked at.",
        action,
      },
      {
        protocol: "pop3",
        sign: "drained",
        count: 4,
        lastAt: "2026-01-03T00:00:00.000Z",
        certain: true,
        message: "4 times mail left INBOX as if a POP3 device had downloaded and deleted it.",
        action,
      },
    ]);
  });
});

test("what is asked for again and again costs few statements: who asks, the account, its endpoints", async () => {
  const rows = await MailRows.account(api.db);
  const mailboxId = await rows.mailbox("INBOX");
  const other = await rows.mailbox("Work");
  const since = new Date(Date.UTC(2026, 0, 2, 3, 4, 5, 678));
  const id = uuidv7();
  await api.db.query({
    text: `insert into holds (account_id, id, tenant_id, mailbox_id, reason, count, since) values ($1, $2, $3, $4, 'mass_vanish', 60, $5)`,
    values: [rows.accountId, id, rows.tenantId, mailboxId, since],
  });
  await api.db.query({
    text: `update upstream_mailboxes set pop3_seen = jsonb_build_object('suspected', 3, 'suspectedAt', $3::float8) where account_id = $1 and mailbox_id = $2`,
    values: [rows.accountId, other, since.getTime()],
  });
  const asked = vi.spyOn(api.db, "query");
  const { body } = await api.request(`/v1/accounts/${formatId("acc", rows.accountId)}/status`);
  expect(asked.mock.calls.length).toBeLessThanOrEqual(3);
  asked.mockRestore();
  expect(body.holds).toMatchObject([{ id: formatId("hld", id), reason: "mass_vanish", count: 60, since: since.toISOString() }]);
  expect(body.hints).toMatchObject([{ mailboxId: formatId("mbx", other), count: 3, lastAt: since.toISOString() }]);
  expect(body.endpoints).toHaveLength(1);
  const nobody = formatId("acc", uuidv7());
  expect((await api.request(`/v1/accounts/${nobody}/status`)).status).toBe(404);
});
