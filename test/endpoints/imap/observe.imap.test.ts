import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Session } from "../../../src/endpoints/endpoint.ts";
import type { MailboxCursor, MailboxObservation } from "../../../src/model/observation.ts";
import { type Dovecot, startDovecot } from "../../support/dovecot.ts";
import { startScripted } from "../../support/scripted-server.ts";
import { forever, openAt, openDovecot } from "./session-fixture.ts";

const mail = (subject: string): Buffer => Buffer.from(`Subject: ${subject}\r\n\r\n${subject}\r\n`);
const mails = (count: number): Buffer[] => Array.from({ length: count }, (_, index) => mail(`mail ${index + 1}`));

const look = (
  session: Session,
  path: string,
  since: MailboxCursor | null = null,
  boundCount: number | null = null,
): Promise<MailboxObservation> => session.observe({ path, since, boundCount }, forever);

interface Kind {
  readonly name: "qresync" | "condstore" | "full";
  readonly withoutCapabilities: readonly string[];
}

const kinds: readonly Kind[] = [
  { name: "qresync", withoutCapabilities: [] },
  { name: "condstore", withoutCapabilities: ["QRESYNC"] },
  { name: "full", withoutCapabilities: ["QRESYNC", "CONDSTORE", "ESEARCH"] },
];

describe.each(kinds)("observing a mailbox with $name", ({ name, withoutCapabilities }) => {
  let dovecot: Dovecot;
  beforeAll(async () => {
    dovecot = await startDovecot({ withoutCapabilities });
  });
  afterAll(() => dovecot.stop());

  test("lists everything when nothing is known", async () => {
    await dovecot.deliver({
      user: "user1",
      mailbox: "INBOX",
      messages: [...mails(3), { raw: mail("four"), flags: ["\\Seen", "$Work"] }],
    });
    const session = await openDovecot(dovecot, 1);
    const seen = await look(session, "INBOX");
    expect(seen).toMatchObject({ method: "full", exists: 4, uidNext: 5, present: [1, 2, 3, 4], vanished: [] });
    expect(seen.flags.map(({ uid }) => uid)).toEqual([1, 2, 3, 4]);
    expect((seen.flags[3]?.flags ?? []).filter((flag) => flag !== "\\Recent").sort()).toEqual(["$Work", "\\Seen"]);
    expect(seen.highestModseq === null).toBe(name === "full");
    expect(session.profile.changeDetection).toBe(name);
    await session.close();
  });

  test("tells changed flags, removals and that there is new mail, and nothing when nothing happened", async () => {
    await dovecot.deliver({ user: "user2", mailbox: "INBOX", messages: mails(10) });
    const session = await openDovecot(dovecot, 2);
    const first = await look(session, "INBOX");
    const quiet = await look(session, "INBOX", first, 10);
    expect(quiet).toMatchObject({ method: name, exists: 10, uidNext: 11, vanished: [] });
    if (name !== "full") expect(quiet).toMatchObject({ flags: [], present: null });

    await using device = await dovecot.device(2);
    await device.select("INBOX");
    await device.store([2, 5], "+", ["\\Flagged"]);
    await device.expunge([7, 8]);
    await dovecot.deliver({ user: "user2", mailbox: "INBOX", messages: mails(2) });
    await device.command("NOOP");

    const changed = await look(session, "INBOX", first, 10);
    expect(changed).toMatchObject({ method: name, exists: 10, uidNext: 13 });
    const flagged = changed.flags.filter(({ flags }) => flags.includes("\\Flagged")).map(({ uid }) => uid);
    expect(flagged).toEqual([2, 5]);
    if (name !== "full") expect(changed.flags.map(({ uid }) => uid)).toEqual([2, 5]);
    expect(changed.flags.every(({ uid }) => uid < first.uidNext)).toBe(true);
    if (name === "qresync") expect(changed).toMatchObject({ vanished: [7, 8], present: null });
    else expect(changed.present).toEqual([1, 2, 3, 4, 5, 6, 9, 10, 11, 12]);

    const after = await look(session, "INBOX", changed, 10);
    expect(after).toMatchObject({ method: name, exists: 10, uidNext: 13, vanished: [] });
    if (name !== "full") expect(after).toMatchObject({ flags: [], present: null });
    await session.close();
  });

  test("proves an arrival that is gone again to be no loss", async () => {
    await dovecot.deliver({ user: "user3", mailbox: "INBOX", messages: mails(3) });
    const session = await openDovecot(dovecot, 3);
    const first = await look(session, "INBOX");
    await dovecot.deliver({ user: "user3", mailbox: "INBOX", messages: mails(2) });
    await using device = await dovecot.device(3);
    await device.select("INBOX");
    await device.expunge([4]);
    const seen = await look(session, "INBOX", first, 3);
    expect(seen).toMatchObject({ method: name, exists: 4, uidNext: 6, present: [1, 2, 3, 5] });
    expect(seen.vanished.filter((uid) => uid < first.uidNext)).toEqual([]);
    await session.close();
  });

  test("lists everything anew when our count says that something was missed (G6)", async () => {
    await dovecot.deliver({ user: "user4", mailbox: "INBOX", messages: mails(5) });
    const session = await openDovecot(dovecot, 4);
    const first = await look(session, "INBOX");
    const seen = await look(session, "INBOX", first, 9);
    expect(seen.present).toEqual([1, 2, 3, 4, 5]);
    if (name === "qresync") expect(seen).toMatchObject({ method: "full" });
    // Where not everything has been read yet, counts prove nothing.
    const unread = await look(session, "INBOX", first, null);
    if (name !== "full") expect(unread).toMatchObject({ method: name, flags: [], present: null });
    await session.close();
  });

  test("tells a new epoch by a whole listing (G5)", async () => {
    await dovecot.deliver({ user: "user5", mailbox: "INBOX", messages: mails(4) });
    const session = await openDovecot(dovecot, 5);
    const first = await look(session, "INBOX");
    const other = await look(session, "INBOX", { ...first, uidValidity: first.uidValidity - 1 }, 4);
    expect(other).toMatchObject({ method: "full", present: [1, 2, 3, 4], uidValidity: first.uidValidity });
    expect(other.flags).toHaveLength(4);
    const regressed = await look(session, "INBOX", { ...first, uidNext: 50 }, 4);
    expect(regressed).toMatchObject({ method: "full", uidNext: 5, present: [1, 2, 3, 4] });
    if (first.highestModseq !== null) {
      const future = await look(session, "INBOX", { ...first, highestModseq: first.highestModseq + 100n }, 4);
      expect(future).toMatchObject({ method: "full", present: [1, 2, 3, 4], highestModseq: first.highestModseq });
    }
    await session.close();
  });

  test("sees an empty mailbox as one that is empty", async () => {
    const session = await openDovecot(dovecot, 6);
    const seen = await look(session, "INBOX");
    expect(seen).toMatchObject({ exists: 0, uidNext: 1, flags: [], present: [], vanished: [] });
    expect(await look(session, "INBOX", seen, 0)).toMatchObject({ exists: 0, flags: [], vanished: [] });
    await session.close();
  });

  test("changes nothing in the mailbox, which a change by another device would show", async () => {
    await dovecot.deliver({ user: "user7", mailbox: "INBOX", messages: mails(3) });
    await using device = await dovecot.device(7);
    const state = async (): Promise<string> => {
      const { untagged } = await device.command("STATUS INBOX (UNSEEN RECENT HIGHESTMODSEQ)");
      await device.select("INBOX");
      const flags = (await device.command("FETCH 1:* (UID FLAGS)")).untagged.map(({ line }) => line);
      await device.command("UNSELECT");
      return [...untagged.map(({ line }) => line), ...flags].filter((line) => /STATUS|FETCH/.test(line)).join("\n");
    };
    await state();
    const before = await state();
    const session = await openDovecot(dovecot, 7);
    await session.survey(forever);
    const first = await look(session, "INBOX");
    await look(session, "INBOX", first, 3);
    await session.close();
    expect(await state()).toBe(before);
    await device.select("INBOX");
    await device.store(1, "+", ["\\Seen"]);
    await device.command("UNSELECT");
    expect(await state()).not.toBe(before);
  });

  test("fails for a mailbox that is not there, and only for that", async () => {
    const session = await openDovecot(dovecot, 8);
    await expect(look(session, "no such mailbox")).rejects.toMatchObject({ scope: "mailbox", code: "mailbox_unavailable" });
    expect(session.usable).toBe(true);
    expect((await look(session, "INBOX")).exists).toBe(0);
    await session.close();
  });
});

describe("observing a mailbox of an odd server", () => {
  test("learns UIDNEXT elsewhere when EXAMINE does not tell it", async () => {
    await using server = await startScripted({ state: { no_uidnext: true } });
    const session = await openAt(server);
    const seen = await look(session, "INBOX");
    expect(seen).toMatchObject({ uidNext: 104, present: [101, 102, 103] });
    expect(await look(session, "INBOX", seen, 3)).toMatchObject({ uidNext: 104, present: [101, 102, 103] });
    await session.close();
  });

  test("does not lose a message above a UIDNEXT that is too low", async () => {
    await using server = await startScripted({ state: { uidnext: 102 } });
    const session = await openAt(server);
    expect(await look(session, "INBOX")).toMatchObject({ uidNext: 104, present: [101, 102, 103] });
    await session.close();
  });

  test("concludes nothing from a listing with fewer messages than EXISTS said", async () => {
    await using server = await startScripted({
      rules: [{ on: /^UID FETCH 1:\* /, reply: ["* 1 FETCH (UID 101 FLAGS ())\r\n{ok}"] }],
    });
    const session = await openAt(server);
    expect(await look(session, "INBOX")).toMatchObject({ exists: 3, present: null });
    await session.close();
  });

  test("S129: concludes nothing from what it does not see where numbers do not last (RFC 4315)", async () => {
    const said = { on: /^EXAMINE/, reply: ["* NO [UIDNOTSTICKY] numbers are made up\r\n{baseline}{ok}"] };
    await using server = await startScripted({ rules: [said] });
    const session = await openAt(server);
    expect(await look(session, "INBOX")).toMatchObject({ numbersLast: false, vanished: [], present: null });
    await session.close();
  });

  test("concludes nothing from a listing that the server cut short with OK (RFC 9738)", async () => {
    await using server = await startScripted({
      rules: [{ on: /^UID FETCH /, reply: ["{baseline}{tag} OK [MESSAGELIMIT 3 101] done\r\n"] }],
    });
    const session = await openAt(server);
    expect(await look(session, "INBOX")).toMatchObject({ exists: 3, present: null });
    await session.close();
  });

  test("S21: goes on below where a server stopped, and concludes nothing before it has heard all (RFC 9738)", async () => {
    const uids = Array.from({ length: 5000 }, (_, index) => index + 1);
    const condstore = [
      { on: /^ENABLE/, reply: ["* ENABLED CONDSTORE\r\n{ok}"] },
      { on: /^EXAMINE/, reply: ["{baseline}* OK [HIGHESTMODSEQ 9] ok\r\n{ok}"] },
    ];
    const page = (first: number, asked: string) => ({
      on: new RegExp(`^UID SEARCH ${asked}$`),
      reply: [`* SEARCH{seq: %d:${first}:${first + 999}}\r\n{tag} OK [MESSAGELIMIT 1000 ${first}] done\r\n`],
    });
    const pages = [page(4001, "ALL"), ...[3001, 2001, 1001].map((first) => page(first, `ALL UID 1:${first + 999}`))];
    await using server = await startScripted({
      capability: "IMAP4rev1 CONDSTORE ENABLE",
      messages: uids.map(() => Buffer.from("Subject: x\r\n\r\n")),
      state: { uids, uidnext: 5001 },
      rules: [...condstore, ...pages],
    });
    const session = await openAt(server);
    const since = { uidValidity: 1717488672, uidNext: 5001, highestModseq: 5n };
    const seen = await look(session, "INBOX", since, 5001);
    expect(seen).toMatchObject({ method: "condstore", exists: 5000, present: uids });
    expect(server.received.filter(({ line }) => line.includes("UID SEARCH"))).toHaveLength(5);
    // One that stops at the same place each time is not heard to its end.
    server.become({ rules: [...condstore, { ...page(4001, ".*") }] });
    const other = await openAt(server);
    expect(await look(other, "INBOX", since, 5001)).toMatchObject({ present: null, vanished: [] });
    for (const one of [session, other]) await one.close();
  });

  test("lists once more when somebody expunges in the middle of a listing", async () => {
    await using server = await startScripted({
      rules: [{ on: /^UID FETCH 1:\* /, nth: 1, reply: ["{baseline}* 2 EXPUNGE\r\n{ok}"] }],
    });
    const session = await openAt(server);
    expect(await look(session, "INBOX")).toMatchObject({ present: [101, 102, 103] });
    expect(server.received.filter(({ line }) => line.includes("EXAMINE"))).toHaveLength(2);
    await session.close();
  });

  test("refuses a mailbox without UIDVALIDITY or without EXISTS, and goes on with others", async () => {
    await using server = await startScripted({
      rules: [
        { on: /^EXAMINE "a"/, reply: ["* 3 EXISTS\r\n* OK [UIDNEXT 104] ok\r\n{ok}"] },
        { on: /^EXAMINE "b"/, reply: ["* OK [UIDVALIDITY 7] ok\r\n* OK [UIDNEXT 104] ok\r\n{ok}"] },
      ],
    });
    const session = await openAt(server);
    for (const path of ["a", "b"]) await expect(look(session, path)).rejects.toMatchObject({ kind: "bug", scope: "mailbox" });
    expect(await look(session, "INBOX")).toMatchObject({ exists: 3 });
    await session.close();
  });

  test("keeps mod-sequences exact past what a double can hold", async () => {
    const modseq = 9_007_199_254_740_993n;
    await using server = await startScripted({
      capability: "IMAP4rev1 CONDSTORE ENABLE",
      rules: [
        { on: /^ENABLE/, reply: ["* ENABLED CONDSTORE\r\n{ok}"] },
        { on: /^EXAMINE/, reply: [`{baseline}* OK [HIGHESTMODSEQ ${modseq}] ok\r\n{ok}`] },
      ],
    });
    const session = await openAt(server);
    expect(await look(session, "INBOX")).toMatchObject({ highestModseq: modseq });
    await session.close();
  });

  test("S139: takes a server at its count when it reports more vanished than it can know (VANISHED 1:4294967295)", async () => {
    const qresync = [
      { on: /^ENABLE/, reply: ["* ENABLED QRESYNC\r\n{ok}"] },
      { on: /^EXAMINE.*QRESYNC/, reply: ["{baseline}* OK [HIGHESTMODSEQ 9] ok\r\n* VANISHED (EARLIER) 1:4294967295\r\n{ok}"] },
      { on: /^EXAMINE/, reply: ["{baseline}* OK [HIGHESTMODSEQ 9] ok\r\n{ok}"] },
    ];
    await using server = await startScripted({ capability: "IMAP4rev1 CONDSTORE QRESYNC ENABLE", rules: qresync });
    const session = await openAt(server);
    const seen = await look(session, "INBOX", { uidValidity: 1717488672, uidNext: 104, highestModseq: 5n }, 3);
    expect(seen).toMatchObject({ method: "full", present: [101, 102, 103], vanished: [] });
    await session.close();
  });

  test("ends the session when the server breaks off", async () => {
    await using server = await startScripted({ rules: [{ on: /^EXAMINE/, reply: ["* 3 EXI"], ending: "reset" }] });
    const session = await openAt(server);
    await expect(look(session, "INBOX")).rejects.toMatchObject({ kind: "transient", scope: "endpoint", code: "endpoint_closed" });
    expect(session.usable).toBe(false);
    await expect(session.survey(forever)).rejects.toMatchObject({ scope: "endpoint" });
    await session.close();
  });
});
