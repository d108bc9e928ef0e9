/** What a look at a maildrop tells of real servers, and of some that nobody can be asked to run. */
import { describe, expect, test } from "vitest";
import { examinerFor } from "../../../src/endpoints/registry.ts";
import { lookOfUidls } from "../../../src/endpoints/pop3/uidl-look.ts";
import type { Diagnosis } from "../../../src/model/diagnosis.ts";
import type { EndpointSettings } from "../../../src/model/endpoint.ts";
import { type Dovecot, type DovecotOptions, startDovecot } from "../../support/dovecot.ts";
import { makeMessages } from "../../support/messages.ts";
import type { Script } from "../../support/script.ts";
import { startScripted } from "../../support/scripted-server.ts";
import { forever, limits, openDovecot, someone } from "./connection-fixture.ts";

const examine = examinerFor(limits);

const settingsOf = (rest: Partial<EndpointSettings> & { host: string; port: number }): EndpointSettings => ({
  protocol: "pop3",
  security: "none",
  tls: { caPem: null, rejectUnauthorized: true },
  ...rest,
});

const codes = ({ advice }: Diagnosis): readonly string[] => advice.map(({ code }) => code);

const atDovecot = (server: Dovecot, rest: Partial<EndpointSettings> = {}, password?: string): Promise<Diagnosis> => {
  const account = server.account(1);
  const settings = settingsOf({
    host: "localhost",
    port: server.pop3sPort,
    security: "tls",
    tls: { caPem: server.caPem, rejectUnauthorized: true },
    ...rest,
  });
  const credentials = { type: "password", user: account.user, password: password ?? account.password } as const;
  return examine({ settings, credentials }, forever);
};

const withMail = async (pop3: DovecotOptions["pop3"] = {}): Promise<Dovecot> => {
  const server = await startDovecot({ users: 1, pop3 });
  await server.deliver({ user: "user1", mailbox: "INBOX", messages: makeMessages({ count: 5, seed: 7 }) });
  return server;
};

const scripted = async (script: Script): Promise<{ readonly diagnosis: Diagnosis; readonly said: readonly string[] }> => {
  await using server = await startScripted({ protocol: "pop3", ...script });
  const settings = settingsOf({ host: server.host, port: server.port });
  const diagnosis = await examine({ settings, credentials: someone }, forever);
  return { diagnosis, said: server.received.map(({ line }) => line.split(" ", 1)[0] ?? "") };
};

describe("a look at Dovecot", () => {
  test("tells how it is protected, what it offers, and what POP3 devices do to the others", async () => {
    await using server = await withMail();
    const diagnosis = await atDovecot(server);
    expect(diagnosis).toMatchObject({
      reachable: true,
      failed: null,
      login: "accepted",
      server: { kind: "dovecot" },
      tls: {
        mode: "implicit",
        version: "TLSv1.3",
        forwardSecrecy: true,
        certificate: { valid: true, problem: null, subject: "localhost" },
      },
      imap: null,
      pop3: {
        messages: 5,
        listingComplete: true,
        uidl: { offered: true, look: "hex-uid-validity", seen: 5, duplicates: 0, tooLong: 0 },
        top: { offered: true, usable: true },
        pipelining: true,
        retrSetsSeen: { verdict: "session_end" },
        deleEffect: "expunge",
        listingWindow: { verdict: "none_seen" },
        expireDays: null,
        loginDelaySeconds: null,
        sessions: "parallel",
      },
    });
    expect(diagnosis.capabilities.beforeLogin).toContain("UIDL");
    expect(diagnosis.capabilities.afterLogin).toContain("PIPELINING");
    expect(diagnosis.tls?.certificate?.expiresAt?.getTime()).toBeGreaterThan(Date.now());
    expect(codes(diagnosis)).toEqual(["leave_on_server", "declare_devices", "retr_marks_read"]);
    for (const { message, action } of diagnosis.advice) expect(message.length * action.length).toBeGreaterThan(0);
  });

  test.each([
    ["%v.%u", "validity.uid"],
    ["%08Xv%08Xu", "hex-validity-uid"],
    ["UID%u-%v", "UIDuid-validity"],
    ["%v-%u", "validity-uid"],
    ["%v%u", "validityuid"],
    ["%u", "uid"],
    // In a Maildir the GUID is the name of the file.
    ["%g", "file-name"],
    ["%f", "file-name"],
  ])("sees unique-ids printed as %s", async (uidlFormat, look) => {
    await using server = await withMail({ uidlFormat });
    const { pop3, advice } = await atDovecot(server);
    expect(pop3?.uidl).toMatchObject({ look, seen: 5 });
    expect(advice.some(({ code }) => code === "uidl_reused")).toBe(look === "uid");
  });

  test("sees that one session keeps out another, and leaves the maildrop open", async () => {
    await using server = await withMail({ lockSession: true });
    const diagnosis = await atDovecot(server);
    expect(diagnosis).toMatchObject({ failed: null, pop3: { sessions: "exclusive" } });
    expect(codes(diagnosis)).toContain("one_session");
    // Nobody is left in it.
    const device = await openDovecot(server, 1);
    expect(await device.quit(forever)).toBe(true);
  });

  test("says that another client is in the maildrop", { timeout: 120_000 }, async () => {
    await using server = await withMail({ lockSession: true });
    const device = await openDovecot(server, 1);
    const diagnosis = await atDovecot(server);
    await device.quit(forever);
    expect(diagnosis).toMatchObject({ reachable: true, login: "busy", failed: { step: "login", code: "maildrop_in_use" } });
    expect(codes(diagnosis)).toEqual(["maildrop_in_use"]);
  });

  test("is over at a wrong password, and repeats none of it", async () => {
    await using server = await withMail();
    const password = "not-the-password-4711";
    const diagnosis = await atDovecot(server, {}, password);
    expect(diagnosis).toMatchObject({
      reachable: true,
      login: "refused",
      failed: { step: "login", code: "endpoint_auth_failed" },
    });
    expect(codes(diagnosis)).toEqual(["login_refused"]);
    expect(JSON.stringify(diagnosis)).not.toContain(password);
  });

  test("by STARTTLS, and in the clear", async () => {
    await using server = await withMail();
    const protectedBy = await atDovecot(server, { port: server.pop3Port, security: "starttls" });
    expect(protectedBy).toMatchObject({
      failed: null,
      tls: { mode: "starttls", version: "TLSv1.3", certificate: { valid: true } },
    });
    const clear = await atDovecot(server, { port: server.pop3Port, security: "none" });
    expect(clear).toMatchObject({ failed: null, tls: null });
    expect(clear.advice[0]).toMatchObject({ code: "cleartext", action: expect.stringContaining("starttls") });
  });

  test("says no name and no secret where the certificate is not good", async () => {
    await using server = await withMail();
    const strangers = await atDovecot(server, { tls: { caPem: null, rejectUnauthorized: true } });
    expect(strangers).toMatchObject({
      reachable: true,
      login: "not_tried",
      failed: { step: "tls", code: "endpoint_tls_failed" },
      tls: { certificate: { valid: false, problem: "incomplete_chain", subject: "localhost" } },
    });
    expect(codes(strangers)).toEqual(["certificate_incomplete_chain"]);
    expect(await server.log()).not.toMatch(/user1/);
    const unchecked = await atDovecot(server, { tls: { caPem: null, rejectUnauthorized: false } });
    expect(unchecked).toMatchObject({ failed: null, login: "accepted" });
    expect(codes(unchecked)).toContain("certificate_incomplete_chain");
  });

  test("names the setting where the port is another one's", async () => {
    await using server = await withMail();
    const plainPort = await atDovecot(server, { port: server.pop3Port });
    expect(plainPort).toMatchObject({ reachable: false, tls: null, failed: { step: "tls", code: "endpoint_tls_failed" } });
    const nobody = await atDovecot(server, { port: 1 });
    expect(nobody).toMatchObject({
      reachable: false,
      failed: { step: "connect", code: "endpoint_unreachable" },
      login: "not_tried",
    });
  });
});

describe("the look of unique-ids", () => {
  test.each([
    ["nothing", [], null],
    ["one id as Dovecot prints it", ["0000000165f0c1aa"], "hex-uid-validity"],
    ["object ids", ["65f0c1aa9b1e8a0012345678", "65f0c1aa9b1e8a0012345679"], "object-id"],
    ["hashes of one length", ["0123456789abcdef0123456789abcdef", "f123456789abcdef0123456789abcde0"], "object-id"],
    ["numbers of two epochs", ["1717488672.1", "1717488673.1"], "opaque"],
    ["a mixture", ["1717488672.1", "0000000165F0C1AA"], "opaque"],
    ["anything", ["a b", "GmailId18f0"], "opaque"],
  ])("of %s", (_, uidls, look) => expect(lookOfUidls(uidls)).toBe(look));
});

describe("a look at a scripted server", () => {
  const numbered = (count: number): Pick<Script, "messages"> => ({
    messages: Array.from({ length: count }, (_, at) => Buffer.from(`Subject: ${at}\r\n\r\nbody ${at}\r\n`)),
  });

  test("never says what would mark or remove mail", async () => {
    const { said } = await scripted({});
    expect(said).toEqual(expect.arrayContaining(["STAT", "LIST", "UIDL", "TOP", "QUIT"]));
    expect(said.filter((verb) => !["CAPA", "USER", "PASS", "STAT", "LIST", "UIDL", "TOP", "QUIT"].includes(verb))).toEqual([]);
  });

  test("knows WildDuck's window, and what its DELE does", async () => {
    const { diagnosis } = await scripted({
      ...numbered(300),
      greeting: "+OK WDPop ready for requests from 127.0.0.1\r\n",
      state: { window: 250 },
    });
    expect(diagnosis).toMatchObject({
      server: { kind: "wildduck" },
      pop3: { messages: 250, listingWindow: { verdict: "newest_only" }, deleEffect: "move_to_trash" },
    });
    expect(codes(diagnosis)).toContain("listing_window");
  });

  test("suspects a list that ends at a round number", async () => {
    const cut = await scripted({ ...numbered(300), state: { window: 250 } });
    expect(cut.diagnosis).toMatchObject({ server: { kind: "unknown" }, pop3: { listingWindow: { verdict: "suspected" } } });
    const whole = await scripted(numbered(251));
    expect(whole.diagnosis.pop3?.listingWindow.verdict).toBe("none_seen");
  });

  test("without CAPA everything is tried, and nothing is taken for sure", async () => {
    const { diagnosis } = await scripted({ rules: [{ on: /^CAPA$/i, reply: ["-ERR what\r\n"] }] });
    expect(diagnosis).toMatchObject({
      failed: null,
      capabilities: { beforeLogin: null, afterLogin: null },
      pop3: {
        uidl: { offered: true },
        top: { offered: true, usable: true },
        pipelining: false,
        retrSetsSeen: { verdict: "unknown" },
      },
    });
  });

  test("without UIDL and TOP there is reason to use IMAP", async () => {
    const { diagnosis } = await scripted({
      rules: [
        { on: /^CAPA$/i, reply: ["+OK\r\nUSER\r\nEXPIRE 0\r\nLOGIN-DELAY 300\r\n.\r\n"] },
        { on: /^UIDL/i, reply: ["-ERR what\r\n"] },
      ],
    });
    expect(diagnosis).toMatchObject({
      failed: null,
      pop3: {
        uidl: { offered: false, look: null },
        top: { offered: false, usable: false },
        expireDays: 0,
        loginDelaySeconds: 300,
        sessions: "not_tried",
      },
    });
    expect(codes(diagnosis)).toEqual(expect.arrayContaining(["uidl_missing", "top_missing", "server_expires", "login_delay"]));
  });

  test("keeps what it saw when the connection is lost on the way", async () => {
    const { diagnosis } = await scripted({ rules: [{ on: /^UIDL/i, reply: ["+OK\r\n1 abc\r\n"], ending: "close" }] });
    expect(diagnosis).toMatchObject({
      reachable: true,
      login: "accepted",
      failed: { step: "look", code: "endpoint_closed" },
      pop3: null,
    });
    expect(diagnosis.capabilities.afterLogin).toContain("UIDL");
  });

  test.each([
    [
      "turns everybody away",
      { greeting: "-ERR [SYS/TEMP] come back later\r\n" },
      { step: "greeting", code: "endpoint_unavailable" },
    ],
    [
      "speaks something else",
      { greeting: "220 smtp.example.test ESMTP\r\n" },
      { step: "greeting", code: "endpoint_protocol_error" },
    ],
  ] as const)("a server that %s", async (_, script, failed) => {
    const { diagnosis } = await scripted(script);
    expect(diagnosis).toMatchObject({ reachable: false, failed, login: "not_tried" });
  });

  test("a secret that the server echoes is not in the answer", async () => {
    const secret = someone.type === "password" ? someone.password : "";
    const { diagnosis } = await scripted({ rules: [{ on: /^PASS /i, reply: [`-ERR [AUTH] ${secret} is wrong\r\n`] }] });
    expect(diagnosis.login).toBe("refused");
    expect(JSON.stringify(diagnosis)).not.toContain(secret);
  });
});
