/** What an app wants and the mail server refuses: it is said, with what to do, and done when it is wanted again (C5, I17). */
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
  server = await startDovecot({
    users: 3,
    // With a name that has a slash in it Maildir can do nothing.
    extraConfig: `
namespace inbox {
  separator = .
}
mail_plugins = $mail_plugins acl
protocol imap {
  mail_plugins = $mail_plugins acl imap_acl
}
plugin {
  acl = vfile
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

const raw = (subject: string): Buffer => Buffer.from(`Subject: ${subject}\r\n\r\nbody of ${subject}\r\n`);

/** Mail by mailbox, and what may be done there (RFC 4314). */
const account = async (
  n: number,
  mail: Readonly<Record<string, readonly string[]>>,
  rights: Readonly<Record<string, string>> = {},
): Promise<string> => {
  await using device = await server.device(n);
  for (const [path, subjects] of Object.entries(mail)) {
    if (path !== "INBOX") await device.create(path);
    for (const subject of subjects) await device.append(path, raw(subject));
  }
  for (const [path, may] of Object.entries(rights)) await device.command(`SETACL ${path} ${server.account(n).user} ${may}`);
  return await liveAccount(daemon, dovecotAccount(server, n)); // Before the device is disposed.
};

const allow = async (n: number, path: string): Promise<void> => {
  await using device = await server.device(n);
  await device.command(`SETACL ${path} ${server.account(n).user} lrwstiekxa`);
};

interface Story {
  readonly items: readonly { readonly kind: string; readonly reason: string; readonly otherwise: string | null }[];
}

/** What was told last of a message or a mailbox. */
const toldOf = async (accountId: string, thing: string) => {
  const { body } = await daemon.call<Story>("GET", `/v1/accounts/${accountId}/${thing}/explain`);
  return body.items.at(-1);
};

const syncOf = async (accountId: string, subject: string): Promise<readonly string[]> =>
  (await mailOf(daemon, accountId)).find((one) => one.subject === subject)?.placements.map(({ sync }) => sync) ?? [];

const mailboxCall = (accountId: string, method: string, rest: string, body: object) =>
  daemon.call<{ id: string }>(method, `/v1/accounts/${accountId}/mailboxes${rest}`, body, phone);

const bring = (accountId: string, mailboxId: string, subject: string) =>
  fetch(`${daemon.url}/v1/accounts/${accountId}/messages?mailboxId=${mailboxId}`, {
    method: "POST",
    headers: { authorization: `Bearer ${testAdminKey}`, "content-type": "message/rfc822", ...phone },
    body: raw(subject),
  });

describe("what a mail server refuses", () => {
  it("I17: is masked, says what to do, and is done when it is wanted again", { timeout: 180_000 }, async () => {
    const mail = { INBOX: ["in"], Fixed: ["moved", "thrown"], Full: [] };
    const accountId = await account(1, mail, { Fixed: "lra", Full: "lrwstea" });
    const full = (await mailboxesOf(daemon, accountId)).get("Full")?.id ?? "";
    await moveTo(daemon, accountId, "in", "Full");
    await moveTo(daemon, accountId, "moved", "Archive");
    await write(daemon, accountId, "thrown", { method: "DELETE" });
    expect((await bring(accountId, full, "brought")).status).toBe(201);
    const ended = await settledCommands(fresh.url, accountId);
    expect(new Set(ended.map(({ status, outcome }) => `${status} ${outcome}`))).toEqual(new Set(["masked no_permission"]));
    const ids = await messagesOf(daemon, accountId);
    for (const subject of ["in", "moved", "thrown", "brought"]) {
      expect([subject, await syncOf(accountId, subject)]).toEqual([subject, ["masked"]]);
      const told = await toldOf(accountId, `messages/${ids.get(subject)?.id}`);
      expect(told).toMatchObject({ kind: "write.failed", reason: "no_permission" });
      expect(told?.otherwise).toContain("repeat the operation");
    }
    await allow(1, "Fixed");
    await allow(1, "Full");
    await moveTo(daemon, accountId, "in", "Full");
    await moveTo(daemon, accountId, "moved", "Archive");
    await write(daemon, accountId, "thrown", { method: "DELETE" });
    expect((await bring(accountId, full, "brought")).status).toBe(200);
    await settledCommands(fresh.url, accountId);
    for (const subject of ["in", "moved", "thrown", "brought"])
      expect([subject, await syncOf(accountId, subject)]).toEqual([subject, ["synced"]]);
    expect([await itemsIn(server, 1, "Full"), await itemsIn(server, 1, "Archive"), await itemsIn(server, 1, "Trash")]).toEqual([
      ["brought", "in"],
      ["moved"],
      ["thrown"],
    ]);
  });

  it("D8: a mailbox is tried again when its name is said again", { timeout: 180_000 }, async () => {
    const accountId = await account(2, { Old: ["one"] }, { Old: "lrwstiea" });
    const id = (await mailboxesOf(daemon, accountId)).get("Old")?.id ?? "";
    await mailboxCall(accountId, "PATCH", `/${id}`, { name: "New" });
    await settledCommands(fresh.url, accountId);
    const told = await toldOf(accountId, `mailboxes/${id}`);
    expect(told).toMatchObject({ kind: "write.failed", reason: "no_permission" });
    expect(told?.otherwise).toContain("PATCH");
    await allow(2, "Old");
    await mailboxCall(accountId, "PATCH", `/${id}`, { name: "New" });
    await settledCommands(fresh.url, accountId);
    expect(await itemsIn(server, 2, "New")).toEqual(["one"]);
  });

  it("C5: mail for a mailbox that the server cannot have waits for another name of it", { timeout: 180_000 }, async () => {
    const accountId = await account(3, { INBOX: ["one"] });
    const { id } = (await mailboxCall(accountId, "POST", "", { name: "in/out" })).body;
    await settledCommands(fresh.url, accountId);
    expect((await toldOf(accountId, `mailboxes/${id}`))?.otherwise).toContain("another one");
    await moveTo(daemon, accountId, "one", "in/out");
    expect((await bring(accountId, id, "two")).status).toBe(201);
    const waiting = async () => (await commandsOf(fresh.url, accountId)).filter(({ outcome }) => outcome === "mailbox_refused");
    await eventually("both wait", async () => (await waiting()).length === 2, { timeoutMs: 20_000 });
    for (const [, message] of await messagesOf(daemon, accountId)) {
      const told = await toldOf(accountId, `messages/${message.id}`);
      expect(told).toMatchObject({ kind: "write.held", reason: "mailbox_refused" });
      expect(told?.otherwise).toContain("another name");
    }
    await mailboxCall(accountId, "PATCH", `/${id}`, { name: "in and out" });
    await settledCommands(fresh.url, accountId);
    expect([await itemsIn(server, 3, "in and out"), await itemsIn(server, 3, "INBOX")]).toEqual([["one", "two"], []]);
  });
});
