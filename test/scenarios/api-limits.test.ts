/** What an app wants and a limit stands in the way of: a full account, and the breaker of our own removals (C5, C8, B5). */
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { mailboxesOf, messagesOf } from "../support/account-view.ts";
import { itemsIn, moveTo, phone, settledCommands, write } from "../support/api-writes.ts";
import { type Daemon, dovecotAccount, liveAccount, startDaemon, testAdminKey } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { commandsOf } from "../support/owed-writes.ts";
import { mailOf } from "../support/pop3-account.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";

let server: Dovecot;
let fresh: FreshDatabase;
let daemon: Daemon;

beforeAll(async () => {
  // Moves are copies here: what a copy needs room for, MOVE does not (C8).
  server = await startDovecot({
    users: 4,
    extraConfig: `
imap_capability = IMAP4rev1 SASL-IR ENABLE IDLE NAMESPACE UNSELECT LIST-EXTENDED LIST-STATUS SPECIAL-USE CONDSTORE QRESYNC UIDPLUS
mail_plugins = $mail_plugins quota
plugin {
  quota = count:User quota
  quota_vsizes = yes
  quota_rule = *:storage=1M
}`,
  });
  fresh = await freshDatabase();
  daemon = await startDaemon({ env: { DATABASE_URL: fresh.url, SAMEBOX_POLL_SECONDS: "1" } });
});

afterAll(async () => {
  await daemon.stop();
  await fresh.drop();
  await server.stop();
});

const raw = (subject: string, size = 0): Buffer =>
  Buffer.concat([Buffer.from(`Subject: ${subject}\r\n\r\n.\r\n`), Buffer.alloc(size, "0123456789abcdef\r\n")]);

const account = async (n: number, subjects: readonly string[]): Promise<string> => {
  await using device = await server.device(n);
  await device.appendAll(
    "INBOX",
    subjects.map((subject) => ({ raw: raw(subject), flags: [] })),
  );
  return await liveAccount(daemon, dovecotAccount(server, n)); // Before the device is disposed.
};

const call = (accountId: string, verb: string) => daemon.call("POST", `/v1/accounts/${accountId}/${verb}`);

const numbers = (count: number): string[] => Array.from({ length: count }, (_, at) => `${at}`);

const save = async (accountId: string, replaces: string, subject: string): Promise<string> => {
  const response = await fetch(`${daemon.url}/v1/accounts/${accountId}/messages?replaces=${replaces}`, {
    method: "POST",
    headers: { authorization: `Bearer ${testAdminKey}`, "content-type": "message/rfc822", ...phone },
    body: raw(subject, 200_000),
  });
  expect(response.status).toBe(201);
  return (await messagesOf(daemon, accountId)).get(subject)?.id ?? "none";
};

describe("a limit in the way of a write", () => {
  it("C5 P12: a draft stays on a full server until there is room for what replaces it", { timeout: 270_000 }, async () => {
    await using device = await server.device(4);
    await device.append("Drafts", { raw: raw("v1"), flags: ["\\Draft"] });
    await device.append("INBOX", raw("filling", 950_000));
    const accountId = await liveAccount(daemon, dovecotAccount(server, 4));
    const v1 = (await messagesOf(daemon, accountId)).get("v1")?.id ?? "none";
    const v2 = await save(accountId, v1, "v2");
    const refused = async () => (await commandsOf(fresh.url, accountId)).filter(({ outcome }) => outcome === "over_quota").length;
    await eventually("v2 is refused", async () => (await refused()) === 1, { timeoutMs: 30_000 });
    await write(daemon, accountId, "v2", { body: { keywords: { $flagged: true } } });
    await call(accountId, "sync");
    // It waits for an hour again, and nobody asks for what is wanted no more.
    const again = async () =>
      (await commandsOf(fresh.url, accountId)).some(({ attempts, status }) => attempts > 1 && status === "planned");
    await eventually("v2 is refused again", again, { timeoutMs: 30_000 });
    await save(accountId, v2, "v3");
    await eventually(
      "v2 is wanted no more, v3 is refused",
      async () => {
        const open = (await commandsOf(fresh.url, accountId)).filter(({ status }) => status !== "superseded");
        expect(open.toSorted((a, b) => a.verb.localeCompare(b.verb))).toMatchObject([
          { verb: "append", status: "planned", outcome: "over_quota" },
          { verb: "expunge", status: "planned", outcome: null },
        ]);
        return true;
      },
      { timeoutMs: 30_000 },
    );
    expect(await itemsIn(server, 4, "Drafts")).toEqual(["v1 \\Draft"]);
    await device.select("INBOX");
    await device.expunge("1:*");
    await call(accountId, "sync");
    await settledCommands(fresh.url, accountId);
    expect(await itemsIn(server, 4, "Drafts")).toEqual(["v3 \\Draft \\Flagged"]);
  });

  it("C5 C8: a copy waits for room and marks nothing before, and is tried when somebody asks", { timeout: 180_000 }, async () => {
    await using device = await server.device(1);
    await device.append("INBOX", raw("one", 300_000));
    await device.create("Work");
    await device.append("Work", raw("filling", 600_000));
    const accountId = await liveAccount(daemon, dovecotAccount(server, 1));
    await moveTo(daemon, accountId, "one", "Archive");
    const waits = { verb: "move", status: "planned", outcome: "over_quota" };
    await eventually(
      "there is no room",
      async () => (await commandsOf(fresh.url, accountId)).some(({ outcome }) => outcome === waits.outcome),
      { timeoutMs: 30_000 },
    );
    expect(await commandsOf(fresh.url, accountId)).toMatchObject([waits]);
    expect([await itemsIn(server, 1, "INBOX"), await itemsIn(server, 1, "Archive")]).toEqual([["one"], []]);
    const [moved] = (await mailOf(daemon, accountId)).filter(({ subject }) => subject === "one");
    expect(moved?.placements).toMatchObject([{ sync: "pending" }]);
    await device.select("Work");
    await device.expunge("1:*");
    await call(accountId, "sync");
    const ended = await settledCommands(fresh.url, accountId);
    expect(ended.map(({ verb, status }) => [verb, status])).toEqual([
      ["move", "confirmed"],
      ["expunge", "confirmed"],
    ]);
    expect([await itemsIn(server, 1, "INBOX"), await itemsIn(server, 1, "Archive")]).toEqual([[], ["one"]]);
  });

  it("B5: of what is purged one by one fifty go in ten minutes, and the rest later", { timeout: 270_000 }, async () => {
    const accountId = await account(2, [...numbers(52), "stays"]);
    await call(accountId, "pause");
    for (const [subject, { id }] of await messagesOf(daemon, accountId)) {
      if (subject === "stays") continue;
      const path = `/v1/accounts/${accountId}/messages/${id}`;
      const { headers } = await daemon.call("GET", path);
      const answer = await daemon.call("DELETE", `${path}?purge=true`, undefined, { "if-match": headers.get("etag") ?? "" });
      expect(answer.status).toBe(200);
    }
    await call(accountId, "resume");
    const held = await eventually(
      "fifty are gone",
      async () => {
        const open = (await commandsOf(fresh.url, accountId)).filter(({ status }) => status === "planned");
        return open.every(({ outcome }) => outcome === "outbound_breaker") && open;
      },
      { timeoutMs: 30_000, everyMs: 100 },
    );
    expect(held).toHaveLength(2);
    expect(await itemsIn(server, 2, "INBOX")).toHaveLength(3);
    // As if ten minutes had passed.
    const client = new pg.Client({ connectionString: fresh.url });
    await client.connect();
    const earlier = "sent_at = sent_at - interval '10 minutes', due_at = due_at - interval '10 minutes'";
    await client.query(`update commands set ${earlier} where account_id = $1`, [accountId.replace(/^acc_/, "")]);
    await client.end();
    await call(accountId, "sync");
    await settledCommands(fresh.url, accountId);
    expect(await itemsIn(server, 2, "INBOX")).toEqual(["stays"]);
  });

  it("B5 C7: what copies leave behind is part of a move, however many they are", { timeout: 270_000 }, async () => {
    const accountId = await account(3, [...numbers(60), "stays"]);
    const mailboxes = await mailboxesOf(daemon, accountId);
    const [inbox = "", archive = ""] = [mailboxes.get("INBOX")?.id, mailboxes.get("Archive")?.id];
    const messages = [...(await messagesOf(daemon, accountId))].filter(([subject]) => subject !== "stays");
    const mailboxIds = { [inbox]: null, [archive]: true };
    const ops = messages.map(([, { id: messageId }]) => ({ op: "patch", messageId, mailboxIds }));
    const { status } = await daemon.call("POST", `/v1/accounts/${accountId}/batch`, { ops }, phone);
    expect(status).toBe(200);
    const commands = await settledCommands(fresh.url, accountId);
    expect(commands.filter(({ verb, status: end }) => verb === "expunge" && end === "confirmed")).toHaveLength(60);
    expect(await itemsIn(server, 3, "INBOX")).toEqual(["stays"]);
    expect(await itemsIn(server, 3, "Archive")).toHaveLength(60);
  });
});
