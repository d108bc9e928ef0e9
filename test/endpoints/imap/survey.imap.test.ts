import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Dovecot, startDovecot } from "../../support/dovecot.ts";
import { startScripted } from "../../support/scripted-server.ts";
import { byPath, forever, openAt, openDovecot } from "./session-fixture.ts";

const mail = (subject: string): Buffer => Buffer.from(`Subject: ${subject}\r\n\r\n${subject}\r\n`);

describe("a survey of a server with LIST-STATUS", () => {
  let dovecot: Dovecot;
  beforeAll(async () => {
    dovecot = await startDovecot();
  });
  afterAll(() => dovecot.stop());

  test("shows every mailbox with its counters, roles and subscription", async () => {
    await dovecot.deliver({ user: "user1", mailbox: "INBOX", messages: [mail("one"), { raw: mail("two"), flags: ["\\Seen"] }] });
    await dovecot.deliver({ user: "user1", mailbox: "Entwürfe & <Ideen>", messages: [mail("three")] });
    const session = await openDovecot(dovecot, 1);
    const { complete, mailboxes, startedAt, endedAt } = await session.survey(forever);
    expect(complete).toBe(true);
    expect(startedAt <= endedAt).toBe(true);
    const asked = ["INBOX", "Nowhere", "Entwürfe & <Ideen>"];
    expect(await session.answering(asked, forever)).toEqual(["INBOX", "Entwürfe & <Ideen>"]);
    expect(mailboxes.map(({ path }) => path).sort()).toEqual([
      "Archive",
      "Drafts",
      "Entwürfe & <Ideen>",
      "INBOX",
      "Junk",
      "Sent",
      "Trash",
    ]);
    expect(byPath(mailboxes, "INBOX")).toMatchObject({
      role: "inbox",
      selectable: true,
      status: { messages: 2, uidNext: 3, unseen: 1 },
    });
    expect(byPath(mailboxes, "INBOX").status?.highestModseq).toBeTypeOf("bigint");
    expect(byPath(mailboxes, "Sent")).toMatchObject({ role: "sent", roleSource: "special_use", subscribed: true });
    expect(byPath(mailboxes, "Entwürfe & <Ideen>")).toMatchObject({ role: null, status: { messages: 1 }, statusError: null });
    expect(session.profile.listStatus).toBe(true);
    await session.close();
  });

  test("reads a mailbox whose name needs encoding under that name", async () => {
    const session = await openDovecot(dovecot, 1);
    const seen = await session.observe({ path: "Entwürfe & <Ideen>", since: null, boundCount: null }, forever);
    expect(seen.present).toEqual([1]);
    await session.close();
  });

  test("names a parent that holds no messages as not selectable", async () => {
    await using device = await dovecot.device(2);
    await device.create("Work/Reports");
    const session = await openDovecot(dovecot, 2);
    const { mailboxes } = await session.survey(forever);
    expect(byPath(mailboxes, "Work/Reports").selectable).toBe(true);
    const parent = mailboxes.find(({ path }) => path === "Work");
    expect(parent === undefined || (!parent.selectable && parent.status === null && parent.statusError === null)).toBe(true);
    await session.close();
  });
});

describe("a survey of a server without extensions", () => {
  let dovecot: Dovecot;
  beforeAll(async () => {
    const withoutCapabilities = ["LIST-STATUS", "LIST-EXTENDED", "SPECIAL-USE", "CONDSTORE", "QRESYNC", "NOTIFY", "ENABLE"];
    dovecot = await startDovecot({ withoutCapabilities });
  });
  afterAll(() => dovecot.stop());

  test("asks each mailbox by STATUS", async () => {
    await dovecot.deliver({ user: "user1", mailbox: "INBOX", messages: [mail("one")] });
    await dovecot.deliver({ user: "user1", mailbox: "Gelöschte Elemente", messages: [mail("two")] });
    const session = await openDovecot(dovecot, 1);
    const { complete, mailboxes } = await session.survey(forever);
    expect(complete).toBe(true);
    expect(byPath(mailboxes, "INBOX").status).toMatchObject({ messages: 1, uidNext: 2, highestModseq: null });
    expect(byPath(mailboxes, "Sent")).toMatchObject({ role: "sent", status: { messages: 0 } });
    expect(byPath(mailboxes, "Trash").role).toBe("trash");
    expect(byPath(mailboxes, "Gelöschte Elemente").role).toBeNull();
    expect(byPath(mailboxes, "Drafts").subscribed).toBe(true);
    expect(session.profile).toMatchObject({ listStatus: false, changeDetection: "full" });
    await session.close();
  });
});

describe("a survey of an odd server", () => {
  const listStatus = "IMAP4rev1 LIST-EXTENDED LIST-STATUS SPECIAL-USE";

  test("lists five thousand mailboxes", async () => {
    const line = '* LIST (\\HasNoChildren) "/" "box %d"';
    const status = '* STATUS "box %d" (MESSAGES 1 UIDNEXT 2 UIDVALIDITY 7 UNSEEN 0)';
    await using server = await startScripted({
      capability: listStatus,
      rules: [{ on: /^LIST/, reply: [`{lines:${line}:5000}{lines:${status}:5000}{tag} OK done\r\n`] }],
    });
    const session = await openAt(server);
    const { complete, mailboxes } = await session.survey(forever);
    expect(complete).toBe(true);
    expect(mailboxes).toHaveLength(5000);
    expect(mailboxes.every(({ status: counters }) => counters?.messages === 1)).toBe(true);
    expect(server.received.filter((command) => / (LIST "" "\*"|LSUB|STATUS)/.test(command.line))).toHaveLength(1);
    await session.close();
  });

  test("asks plainly when RETURN options bring nothing (Strato) or are refused", async () => {
    for (const refusal of ["{tag} OK done\r\n", "{tag} BAD no such thing\r\n"]) {
      await using server = await startScripted({ capability: listStatus, rules: [{ on: /^LIST .*RETURN/, reply: [refusal] }] });
      const session = await openAt(server);
      const { complete, mailboxes } = await session.survey(forever);
      expect(complete).toBe(true);
      expect(byPath(mailboxes, "INBOX").status).toMatchObject({ messages: 3, uidNext: 104 });
      await session.survey(forever);
      expect(server.received.filter((command) => command.line.includes("RETURN"))).toHaveLength(1);
      await session.close();
    }
  });

  test("goes on when one mailbox refuses its STATUS", async () => {
    await using server = await startScripted({
      rules: [
        { on: /^LIST/, reply: ['* LIST () "/" INBOX\r\n* LIST () "/" locked\r\n* LIST (\\Noselect) "/" group\r\n{ok}'] },
        { on: /^STATUS "?locked/, reply: ["{tag} NO [NOPERM] not yours\r\n"] },
      ],
    });
    const session = await openAt(server);
    const { complete, mailboxes } = await session.survey(forever);
    expect(complete).toBe(true);
    expect(byPath(mailboxes, "locked")).toMatchObject({ status: null, statusError: "The server refused STATUS: NOPERM." });
    expect(byPath(mailboxes, "group")).toMatchObject({ selectable: false, status: null, statusError: null });
    expect(byPath(mailboxes, "INBOX").status?.messages).toBe(3);
    await session.close();
  });

  test("takes odd delimiters, names listed more than once and names it cannot send", async () => {
    const list = [
      '* LIST (\\Noinferiors) "\\\\" Inbox',
      "* LIST () NIL flat",
      '* LIST (\\HasChildren) "." twice',
      '* LIST (\\Noselect \\Sent) "." twice',
      '* LIST () "." {6}\r\nab\r\ncd',
      '* LIST () "." "A&B"',
      '* LIST () "." "caf&AOk-"',
    ];
    await using server = await startScripted({ rules: [{ on: /^LIST/, reply: [`${list.join("\r\n")}\r\n{ok}`] }] });
    const session = await openAt(server);
    const { mailboxes } = await session.survey(forever);
    expect(mailboxes.map(({ path }) => path)).toEqual(["INBOX", "flat", "twice", "A&B", "café"]);
    expect(byPath(mailboxes, "INBOX")).toMatchObject({ delimiter: "\\", role: "inbox" });
    expect(byPath(mailboxes, "flat").delimiter).toBeNull();
    expect(byPath(mailboxes, "twice")).toMatchObject({ selectable: true, role: "sent" });
    await session.close();
  });

  test("is not complete when the server says that it cut the list short", async () => {
    await using server = await startScripted({
      rules: [{ on: /^LIST/, reply: ['* LIST () "/" INBOX\r\n{tag} OK [LIMIT] enough\r\n'] }],
    });
    const session = await openAt(server);
    expect((await session.survey(forever)).complete).toBe(false);
    await session.close();
  });

  test("keeps the account's mail unjudged when the server is not connected behind its login (Office 365)", async () => {
    const reply = ["{tag} BAD User is authenticated but not connected.\r\n"];
    await using server = await startScripted({ rules: [{ on: /^(LIST|LSUB|STATUS|EXAMINE)/, reply }] });
    const session = await openAt(server);
    await expect(session.survey(forever)).rejects.toMatchObject({
      kind: "transient",
      scope: "endpoint",
      code: "endpoint_unavailable",
    });
    expect(session.usable).toBe(false);
    await session.close();
  });
});
