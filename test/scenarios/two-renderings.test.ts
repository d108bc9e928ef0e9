/** A server that makes up a message anew for each protocol (Exchange does): two renderings, one mail. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { changesOf } from "../support/account-view.ts";
import { type Daemon, dovecotAccount, liveAccount, startDaemon } from "../support/daemon.ts";
import { parseId } from "../../src/model/ids.ts";
import { queryOnce } from "../support/database-server.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { type FaultProxy, startFaultProxy } from "../support/fault-proxy.ts";
import { mailOf, pop3Endpoint, rawOf, sweep } from "../support/pop3-account.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";

let imap: Dovecot;
let pop3: Dovecot;
let proxy: FaultProxy;
let fresh: FreshDatabase;
let daemon: Daemon;

beforeAll(async () => {
  [imap, pop3] = await Promise.all([startDovecot({ users: 2 }), startDovecot({ users: 2 })]);
  proxy = await startFaultProxy({ port: imap.imapPort });
  fresh = await freshDatabase();
  daemon = await startDaemon({ env: { DATABASE_URL: fresh.url, SAMEBOX_POLL_SECONDS: "1" } });
});

afterAll(async () => {
  await daemon.stop();
  await fresh.drop();
  await proxy.stop();
  await pop3.stop();
  await imap.stop();
});

/** The same said with another boundary, another encoding and folded otherwise. */
const rendering = (subject: string, boundary: string, encoding: "base64" | "quoted-printable"): Buffer => {
  const text = `Grüße an ${subject}`;
  const quoted = text.replaceAll("ü", "=C3=BC").replaceAll("ß", "=C3=9F");
  return Buffer.from(
    [
      `Message-ID: <${subject}@exchange.test>`,
      encoding === "base64" ? `From: Ana <ana@example.test>` : `From: "Ana"\r\n <ana@example.test>`,
      `Subject: ${subject}`,
      "Date: Tue, 04 Jun 2024 10:10:00 +0200",
      `Content-Type: multipart/mixed; boundary="${boundary}"`,
      "",
      `--${boundary}`,
      "Content-Type: text/plain; charset=utf-8",
      `Content-Transfer-Encoding: ${encoding}`,
      "",
      encoding === "base64" ? Buffer.from(text).toString("base64") : quoted,
      `--${boundary}--`,
      "",
    ].join("\r\n"),
  );
};

const inImap = (subject: string): Buffer => rendering(subject, "000_imap_", "quoted-printable");
const inPop3 = (subject: string): Buffer => rendering(subject, "000_pop3_", "base64");

const deliver = async (server: Dovecot, messages: readonly Buffer[], n = 1): Promise<unknown> =>
  server.deliver({ user: server.account(n).user, mailbox: "INBOX", messages });

const patience = { timeoutMs: 60_000, everyMs: 250 };

const viewsOf = async (accountId: string) =>
  (await mailOf(daemon, accountId)).map(({ subject, placements }) => [
    subject,
    ...placements.flatMap(({ bindings }) => bindings.map(({ protocol }) => protocol)).toSorted(),
  ]);

/** Asked again and again, for of several rings during a pass the last is heard. */
const brings = (accountId: string, subject: string): Promise<unknown> =>
  eventually(
    `${subject} is there`,
    async () => {
      await daemon.call("POST", `/v1/accounts/${accountId}/sync`);
      return (await viewsOf(accountId)).some((views) => views[0] === subject);
    },
    patience,
  );

const octetsOf = async (accountId: string): Promise<readonly string[]> => {
  const rows = await queryOnce<{ data: Buffer }>(fresh.url, `select data from blobs where account_id = $1`, [
    parseId("acc", accountId),
  ]);
  return rows.map(({ data }) => data.toString()).toSorted();
};

it("S103: are one message, whichever of them came first, and go together", { timeout: 360_000 }, async () => {
  await deliver(imap, [inImap("early")]);
  await deliver(pop3, [inPop3("early")]);
  const { endpoints, ...rest } = dovecotAccount(imap, 1, { port: proxy.port });
  const accountId = await liveAccount(daemon, { ...rest, endpoints: [...endpoints, pop3Endpoint(pop3, 1)] });
  await sweep(daemon, accountId, 2);
  const [early, ...others] = await mailOf(daemon, accountId);
  expect(others).toEqual([]);
  expect(await rawOf(daemon, accountId, early?.id ?? "")).toEqual(inImap("early"));
  proxy.change({ onConnect: "reset" });
  proxy.resetAll();
  await deliver(imap, [inImap("late"), inImap("other")]);
  // The other one is not there: it is mail of its own.
  await deliver(pop3, [inPop3("late")]);
  await brings(accountId, "late");
  proxy.change({});
  await brings(accountId, "other");
  await sweep(daemon, accountId, 2);
  expect((await viewsOf(accountId)).toSorted()).toEqual([
    ["early", "imap", "pop3"],
    ["late", "imap", "pop3"],
    ["other", "imap"],
  ]);
  expect((await changesOf(daemon, accountId)).filter(({ kind }) => kind === "message.created")).toHaveLength(3);
  // Nobody is shown the other rendering of any of them.
  expect(await octetsOf(accountId)).toHaveLength(5);
  for (const { id, subject } of await mailOf(daemon, accountId)) {
    if (subject === "other") continue;
    const { body } = await daemon.call<{ state: string }>("GET", `/v1/accounts/${accountId}`);
    await daemon.call("DELETE", `/v1/accounts/${accountId}/messages/${id}?purge=true`, undefined, {
      "if-match": `"${body.state}"`,
      "x-device-id": "phone",
    });
  }
  expect(await octetsOf(accountId)).toEqual([inImap("other").toString()]);
});

it("L5: are two mails where the views show the same octets of what both have", { timeout: 360_000 }, async () => {
  const same = ["one", "two", "three"].map(inImap);
  await Promise.all([deliver(imap, same, 2), deliver(pop3, same, 2)]);
  const { endpoints, ...rest } = dovecotAccount(imap, 2, { port: proxy.port });
  const accountId = await liveAccount(daemon, { ...rest, endpoints: [...endpoints, pop3Endpoint(pop3, 2)] });
  await sweep(daemon, accountId, 2);
  expect((await viewsOf(accountId)).map(([, ...views]) => views)).toEqual(same.map(() => ["imap", "pop3"]));
  proxy.change({ onConnect: "reset" });
  proxy.resetAll();
  await deliver(imap, [inImap("direct"), inImap("after")], 2);
  await deliver(pop3, [inPop3("direct")], 2);
  await brings(accountId, "direct");
  proxy.change({});
  await brings(accountId, "after");
  await sweep(daemon, accountId, 2);
  expect((await viewsOf(accountId)).filter(([subject]) => subject === "direct").toSorted()).toEqual([
    ["direct", "imap"],
    ["direct", "pop3"],
  ]);
});
