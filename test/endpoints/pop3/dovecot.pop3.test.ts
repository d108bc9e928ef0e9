import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { responseCodeOf } from "../../../src/endpoints/pop3/classify.ts";
import { type Dovecot, startDovecot } from "../../support/dovecot.ts";
import { makeMessages } from "../../support/messages.ts";
import { failureOf, forever, openAt, openDovecot, wholeOf } from "./connection-fixture.ts";

const crlf = (lines: readonly string[]): Buffer => Buffer.from(lines.map((line) => `${line}\r\n`).join(""), "latin1");

/** Mail that breaks framings that are not made of octets. */
const odd: readonly Buffer[] = [
  crlf(["Subject: dots", "", ".", "..", ".a", "...", "a.", ".", "", "."]),
  crlf(["Subject: one line", "", "x".repeat(5000), `.${"y".repeat(5000)}`]),
  Buffer.concat([crlf(["Subject: all octets", ""]), Buffer.from(Array.from({ length: 256 }, (_, at) => at)), crlf(["", "end"])]),
  Buffer.from("Subject: no final newline\r\n\r\nlast line"),
  crlf(["Subject: no body", ""]),
];

/** As Dovecot sends it: lone CR and LF kept or completed by its storage, an unended last line ended. */
const asSent = (raw: Buffer): string => {
  const text = raw.toString("latin1").replaceAll(/(?<!\r)\n/g, "\r\n");
  return text.endsWith("\r\n") ? text : `${text}\r\n`;
};

describe("a real maildrop", () => {
  let dovecot: Dovecot;
  const made = [...makeMessages({ count: 200, seed: 7, meanBytes: 3000 })].map(({ raw }) => raw);
  const large = Buffer.concat([
    crlf(["Subject: large", ""]),
    Buffer.alloc(60_000_000, `${"z".repeat(98)}\r\n`),
    crlf(["", ".end"]),
  ]);
  const delivered = [...odd, ...made];

  beforeAll(async () => {
    dovecot = await startDovecot({ users: 4 });
    await dovecot.deliver({ user: "user1", mailbox: "INBOX", messages: delivered });
    await dovecot.deliver({ user: "user2", mailbox: "INBOX", messages: [large, ...made.slice(0, 3)] });
    await dovecot.deliver({ user: "user3", mailbox: "INBOX", messages: made.slice(0, 5) });
  });
  afterAll(() => dovecot.stop());

  test.each([
    ["tls", 64],
    ["tls", 1],
    ["starttls", 64],
    ["none", 64],
    ["none", 1],
  ] as const)("gives what was delivered, octet by octet: %s, %i under way", async (security, window) => {
    const port = security === "tls" ? dovecot.pop3sPort : dovecot.pop3Port;
    const connection = await openDovecot(dovecot, 1, { settings: { security, port }, window });
    expect(connection.capabilities.has("PIPELINING")).toBe(true);
    expect(connection.capabilities.has("TOP")).toBe(true);
    const listed = await connection.list(forever);
    const stat = await connection.stat(forever);
    const uids = await connection.uidl(forever);
    expect([stat.count, listed.messages.length, uids?.messages.length]).toEqual([205, 205, 205]);
    expect([listed.unreadable, uids?.unreadable]).toEqual([0, 0]);
    expect(uids?.messages[4]?.uidl).toMatch(/^00000005[0-9a-f]{8}$/);
    const read = async (many: ReturnType<typeof connection.retrMany>): Promise<string[]> => {
      const texts: string[] = [];
      for await (const { octets, number } of many) {
        expect(number).toBe(texts.length + 1);
        texts.push(octets === null ? "none" : (await wholeOf(octets)).toString("latin1"));
      }
      return texts;
    };
    const sent = delivered.map(asSent);
    expect(await read(connection.topMany(listed.messages, 100_000_000, forever))).toEqual(sent);
    expect(await read(connection.retrMany(listed.messages, forever))).toEqual(sent);
    expect(await connection.quit(forever)).toBe(true);
    expect(connection.usable).toBe(false);
  });

  test("gives 60 MB through a file, and the next message after it", async () => {
    const connection = await openDovecot(dovecot, 2);
    const numbers = [1, 2, 3, 4].map((number) => ({ number, size: null }));
    const read: Buffer[] = [];
    for await (const { octets } of connection.retrMany(numbers, forever)) if (octets !== null) read.push(await wholeOf(octets));
    expect(read.length).toBe(4);
    expect(read[0]?.equals(large)).toBe(true);
    expect(read[3]?.toString("latin1")).toBe(asSent(made[2] ?? Buffer.alloc(0)));
    await connection.quit(forever);
  });

  test("is asked for nothing above the limit, and goes on after what turned out to be above it", async () => {
    const connection = await openDovecot(dovecot, 2, { limits: { maxMessageBytes: 1_500_000 } });
    const tooLarge = { kind: "bug", scope: "message", code: "endpoint_limit_exceeded" };
    expect(await failureOf(connection.retr({ number: 1, size: 60_000_000 }, forever))).toMatchObject(tooLarge);
    expect(await failureOf(connection.retr({ number: 1, size: null }, forever))).toMatchObject(tooLarge);
    expect((await connection.stat(forever)).count).toBe(4);
    const header = await wholeOf(await connection.top({ number: 1, size: null }, 0, forever));
    expect(header.toString()).toBe("Subject: large\r\n\r\n");
    await connection.quit(forever);
  });

  test("loses what was marked when the session is ended by QUIT, and only then", async () => {
    const dropped = await openDovecot(dovecot, 3);
    await dropped.dele(1, forever);
    dropped.close();
    const taken = await openDovecot(dovecot, 3);
    expect((await taken.stat(forever)).count).toBe(5);
    await taken.dele(2, forever);
    await taken.rset(forever);
    await taken.dele(1, forever);
    expect(await failureOf(taken.dele(1, forever))).toMatchObject({ kind: "transient", scope: "message" });
    expect(await failureOf(taken.retr({ number: 99, size: null }, forever))).toMatchObject({ scope: "message" });
    await taken.noop(forever);
    expect(await taken.quit(forever)).toBe(true);
    const after = await openDovecot(dovecot, 3);
    expect((await after.list(forever)).messages.length).toBe(4);
    await after.quit(forever);
  });

  test("is opened by an access token too, of any length", async () => {
    const token = (seconds?: number) => ({
      type: "oauth2" as const,
      user: "user4",
      accessToken: dovecot.accessToken(4, seconds),
    });
    const connection = await openDovecot(dovecot, 4, { credentials: token() });
    expect((await connection.stat(forever)).count).toBe(0);
    await connection.quit(forever);
    const refused = { kind: "credential", scope: "endpoint", code: "endpoint_auth_failed" };
    expect(await failureOf(openDovecot(dovecot, 4, { credentials: token(-60) }))).toMatchObject(refused);
    const wrong = { type: "password", user: "user4", password: "not this " } as const;
    expect(await failureOf(openDovecot(dovecot, 4, { credentials: wrong }))).toMatchObject(refused);
  });

  test("is not spoken to where its certificate is not that of the host", async () => {
    const settings = { tls: { caPem: null, rejectUnauthorized: true } };
    for (const security of ["tls", "starttls"] as const) {
      const port = security === "tls" ? dovecot.pop3sPort : dovecot.pop3Port;
      const opening = openDovecot(dovecot, 1, { settings: { ...settings, security, port } });
      expect(await failureOf(opening)).toMatchObject({ kind: "tls", scope: "endpoint", code: "endpoint_tls_failed" });
    }
  });

  test("is not spoken to where the operator does not allow it", async () => {
    const at = { host: "localhost", port: dovecot.pop3Port };
    const cleartext = openAt(at, { limits: { allowCleartext: false } });
    expect(await failureOf(cleartext)).toMatchObject({ kind: "config", code: "endpoint_cleartext_refused" });
    const inside = openDovecot(dovecot, 1, { limits: { allowPrivateHosts: false } });
    expect(await failureOf(inside)).toMatchObject({ kind: "config", code: "host_not_allowed" });
  });
});

describe("a real maildrop set up otherwise", () => {
  test("marks nothing, prints ids in another way, hides what is deleted and lets one session in at a time", async () => {
    const pop3 = { noFlagUpdates: true, lockSession: true, deletedFlag: "$POP3Deleted", uidlFormat: "%v-%u" };
    await using dovecot = await startDovecot({ users: 1, pop3 });
    const messages = [...makeMessages({ count: 3, seed: 9, meanBytes: 1000 })].map(({ raw }) => raw);
    await dovecot.deliver({ user: "user1", mailbox: "INBOX", messages });
    const first = await openDovecot(dovecot, 1);
    expect((await first.uidl(forever))?.messages[1]?.uidl).toMatch(/^\d+-2$/);
    await wholeOf(await first.retr({ number: 1, size: null }, forever));
    await first.dele(2, forever);
    const inUse = await failureOf(openDovecot(dovecot, 1));
    expect(inUse).toMatchObject({ kind: "transient", scope: "endpoint", code: "endpoint_unavailable" });
    expect(responseCodeOf(inUse)).toBe("IN-USE");
    expect(await first.quit(forever)).toBe(true);
    const second = await openDovecot(dovecot, 1);
    expect((await second.stat(forever)).count).toBe(2);
    await second.quit(forever);
    const flags = await dovecot.doveadm("fetch", "-u", "user1", "flags", "mailbox", "INBOX", "all");
    expect(flags).toContain("$POP3Deleted");
    expect(flags).not.toContain("Seen");
  });

  test("is opened by APOP, so that nobody hears the password", async () => {
    await using dovecot = await startDovecot({ users: 1, pop3: { apop: true } });
    const inClear = { settings: { security: "none", port: dovecot.pop3Port } } as const;
    const connection = await openDovecot(dovecot, 1, inClear);
    expect((await connection.stat(forever)).count).toBe(0);
    await connection.quit(forever);
    const wrong = { ...inClear, credentials: { type: "password", user: "user1", password: "wrong" } } as const;
    expect(await failureOf(openDovecot(dovecot, 1, wrong))).toMatchObject({ kind: "credential" });
  });
});
