import { createServer as createPlainServer, type Socket } from "node:net";
import { createServer as createTlsServer, TLSSocket } from "node:tls";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { SyncError } from "../../../src/model/failure.ts";
import { testCertificates } from "../../support/certificates.ts";
import { type Dovecot, startDovecot } from "../../support/dovecot.ts";
import { startFaultProxy } from "../../support/fault-proxy.ts";
import { freePorts } from "../../support/ports.ts";
import { startScripted } from "../../support/scripted-server.ts";
import { forever, openAt, openDovecot, someone } from "./session-fixture.ts";

const failure = async (opening: Promise<unknown>): Promise<SyncError> => {
  const error = await opening.then(
    () => null,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(SyncError);
  return error as SyncError;
};

/** Everything an error would show anywhere. */
const wholeText = (error: SyncError): string =>
  JSON.stringify([error.message, error.action, error.stack, error.cause, String(error.cause)]);

const noTls = { caPem: null, rejectUnauthorized: true };

describe("logging in to a real server", () => {
  let dovecot: Dovecot;
  beforeAll(async () => {
    dovecot = await startDovecot();
  });
  afterAll(() => dovecot.stop());

  test("works over TLS, over STARTTLS and, where both sides allow it, in cleartext", async () => {
    for (const [port, security] of [
      [dovecot.imapsPort, "tls"],
      [dovecot.imapPort, "starttls"],
      [dovecot.imapPort, "none"],
    ] as const) {
      const session = await openDovecot(dovecot, 1, { settings: { port, security } });
      expect((await session.survey(forever)).complete).toBe(true);
      expect(session.profile).toMatchObject({ serverName: "Dovecot", changeDetection: "qresync", push: "notify" });
      await session.close();
      expect(session.usable).toBe(false);
    }
  });

  test("works with an access token, and tells one that has expired as a refused login", async () => {
    const token = (seconds?: number) => ({
      type: "oauth2" as const,
      user: "user1",
      accessToken: dovecot.accessToken(1, seconds),
    });
    const session = await openDovecot(dovecot, 1, { credentials: token() });
    expect((await session.survey(forever)).complete).toBe(true);
    await session.close();
    const expired = await failure(openDovecot(dovecot, 1, { credentials: token(-60) }));
    expect(expired).toMatchObject({ kind: "credential", code: "endpoint_auth_failed" });
    expect(wholeText(expired)).not.toContain(token(-60).accessToken.slice(0, 20));
  });

  test("tells a wrong password as a refused login and shows it nowhere", async () => {
    const error = await failure(
      openDovecot(dovecot, 1, { credentials: { type: "password", user: "user1", password: "canary-7f3a" } }),
    );
    expect(error).toMatchObject({ kind: "credential", scope: "endpoint", code: "endpoint_auth_failed" });
    expect(wholeText(error)).not.toContain("canary-7f3a");
  });

  test("refuses a certificate of an unknown authority and one for another name, before a login", async () => {
    const unknown = await failure(openDovecot(dovecot, 1, { settings: { tls: noTls } }));
    expect(unknown).toMatchObject({ kind: "tls", code: "endpoint_tls_failed" });
    const { caPem } = dovecot;
    const starttls = await failure(
      openDovecot(dovecot, 1, { settings: { port: dovecot.imapPort, security: "starttls", tls: noTls } }),
    );
    expect(starttls).toMatchObject({ kind: "tls", code: "endpoint_tls_failed" });
    const otherName = await failure(
      openDovecot(dovecot, 1, { settings: { host: "127.0.0.2", tls: { caPem, rejectUnauthorized: true } } }),
    );
    expect(otherName.kind === "tls" || otherName.code === "endpoint_unreachable").toBe(true);
    expect(await dovecot.log()).not.toMatch(/Login: user=<user1>.*lip=127\.0\.0\.2/);
  });

  test("uses neither cleartext nor an unchecked certificate unless the operator allows it", async () => {
    const strict = { limits: { allowCleartext: false } };
    const plain = await failure(openDovecot(dovecot, 1, { ...strict, settings: { port: dovecot.imapPort, security: "none" } }));
    expect(plain).toMatchObject({ kind: "config", code: "endpoint_cleartext_refused" });
    const unchecked = await failure(
      openDovecot(dovecot, 1, { ...strict, settings: { tls: { caPem: null, rejectUnauthorized: false } } }),
    );
    expect(unchecked.code).toBe("endpoint_cleartext_refused");
    const session = await openDovecot(dovecot, 1, strict);
    await session.close();
  });

  test("does not reach into private networks unless the operator allows it", async () => {
    const error = await failure(openDovecot(dovecot, 1, { limits: { allowPrivateHosts: false } }));
    expect(error).toMatchObject({ kind: "config", code: "host_not_allowed" });
  });

  test("frees its place when it is closed, and when it is lost", async () => {
    const profile = { connectionBudget: 1 };
    for (let round = 0; round < 3; round++) {
      const session = await openDovecot(dovecot, 2, { profile });
      await session.close();
    }
    const held = await openDovecot(dovecot, 2, { profile });
    const refused = failure(openDovecot(dovecot, 2, { profile }));
    expect(await refused).toMatchObject({ kind: "throttle", code: "endpoint_throttled" });
    const waiting = openDovecot(dovecot, 2, { profile });
    await held.close();
    await (await waiting).close();
  });

  test("ends when it is told to stop, and not later", async () => {
    await using server = await startScripted({ greeting: "!stall" });
    const stop = new AbortController();
    const opening = failure(openAt(server, { signal: stop.signal }));
    stop.abort();
    expect(await opening).toMatchObject({ kind: "stopped" });
  });

  test("is not kept by a server that drips its answers", async () => {
    await using proxy = await startFaultProxy({ host: "127.0.0.1", port: dovecot.imapPort });
    const session = await openDovecot(dovecot, 3, { settings: { port: proxy.port, security: "none" } });
    proxy.change({ toClient: { drip: { bytes: 1, everyMs: 200 } } });
    const stop = AbortSignal.timeout(300);
    await expect(session.survey(stop)).rejects.toMatchObject({ kind: "stopped" });
    await session.close();
  });
});

describe("what a server says to a login", () => {
  const cases: readonly (readonly [reply: string, kind: string, code: string])[] = [
    ["NO [AUTHENTICATIONFAILED] Invalid credentials", "credential", "endpoint_auth_failed"],
    ["NO [EXPIRED] That password is old", "credential", "endpoint_auth_failed"],
    ["NO LOGIN failed.", "credential", "endpoint_auth_failed"],
    ["NO [AUTHORIZATIONFAILED] No such authorization-ID", "config", "endpoint_refused"],
    ["NO [WEBALERT https://example.com/] Web login required", "config", "endpoint_refused"],
    ["NO [PRIVACYREQUIRED] not like this", "config", "endpoint_refused"],
    ["NO [UNAVAILABLE] User's backend is down", "transient", "endpoint_unavailable"],
    ["NO [INUSE] Mailbox is locked", "transient", "endpoint_unavailable"],
    ["NO [SERVERBUG] Server error", "transient", "endpoint_unavailable"],
    ["NO Temporary authentication failure, try again later", "transient", "endpoint_unavailable"],
    ["NO [LIMIT] Too many connections", "throttle", "endpoint_throttled"],
    ["NO [ALERT] Too many simultaneous connections. (Failure)", "throttle", "endpoint_throttled"],
    ["NO [THROTTLED] Slow down", "throttle", "endpoint_throttled"],
    ["BAD Request is throttled. Suggested Backoff Time: 92415 milliseconds", "throttle", "endpoint_throttled"],
    ["BAD I do not understand", "bug", "endpoint_protocol_error"],
  ];

  test.each(cases)("%s is %s", async (reply, kind, code) => {
    await using server = await startScripted({ rules: [{ on: /^AUTHENTICATE|^LOGIN/, reply: [`{tag} ${reply}\r\n`] }] });
    const error = await failure(openAt(server, { credentials: { ...someone, user: `ana-${code}-${reply.length}` } }));
    expect(error).toMatchObject({ kind, code, scope: "endpoint" });
    expect(wholeText(error)).not.toContain(reply.slice(reply.indexOf("]") + 2));
    if (reply.includes("92415")) expect(error.retryAfterMs).toBe(92_415);
  });

  test("a goodbye in place of a greeting is the server's, with the reason it gave", async () => {
    await using server = await startScripted({ greeting: "* BYE Too many connections from your address\r\n!close" });
    expect(await failure(openAt(server, { credentials: { ...someone, user: "ana-bye" } }))).toMatchObject({ kind: "throttle" });
    await using closing = await startScripted({ greeting: "* BYE going down\r\n!close" });
    expect(await failure(openAt(closing))).toMatchObject({ kind: "transient", code: "endpoint_closed" });
  });

  test("a port where nobody listens is unreachable", async () => {
    const [port = 0] = await freePorts(1);
    expect(await failure(openAt({ host: "127.0.0.1", port }))).toMatchObject({ kind: "transient", code: "endpoint_unreachable" });
  });

  test("something else than IMAP is no login, however much of it there is", async () => {
    await using http = await startScripted({ greeting: "HTTP/1.1 400 Bad Request\r\n\r\n!close" });
    expect((await failure(openAt(http))).scope).toBe("endpoint");
    await using endless = await startScripted({ greeting: "* OK {repeat:x:40000000}" });
    expect(await failure(openAt(endless))).toMatchObject({ kind: "bug", code: "endpoint_limit_exceeded" });
  });

  test("a password with a line end is not sent at all", async () => {
    await using server = await startScripted({ capability: "IMAP4rev1" });
    const error = await failure(
      openAt(server, { credentials: { type: "password", user: "ana\r\nA9 DELETE INBOX", password: "x" } }),
    );
    expect(error.scope).toBe("endpoint");
    expect(server.received.some(({ line }) => line.includes("DELETE"))).toBe(false);
  });
});

describe("an attacker between us and the server", () => {
  const starttls = { settings: { security: "starttls" as const } };

  test.each([
    ["takes STARTTLS away", {}],
    ["says PREAUTH", { greeting: "* PREAUTH welcome back\r\n", capability: "IMAP4rev1 STARTTLS" }],
    ["refuses STARTTLS", { capability: "IMAP4rev1 STARTTLS", rules: [{ on: /^STARTTLS/, reply: ["{tag} NO not now\r\n"] }] }],
    [
      "slips words in behind STARTTLS",
      {
        capability: "IMAP4rev1 STARTTLS",
        rules: [{ on: /^STARTTLS/, reply: ["{tag} OK go\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n"] }],
      },
    ],
    [
      "speaks plain text after STARTTLS",
      { capability: "IMAP4rev1 STARTTLS", rules: [{ on: /^STARTTLS/, reply: ["{tag} OK go\r\n!delay:50* OK\r\n"] }] },
    ],
  ])("%s, and learns nothing", async (_, script) => {
    await using server = await startScripted(script);
    const error = await failure(openAt(server, starttls));
    expect(error.scope).toBe("endpoint");
    expect(error).toMatchObject({ kind: "tls", code: "endpoint_tls_failed" });
    const sent = server.received.map(({ line }) => line).join("\n");
    expect(sent).not.toMatch(/LOGIN|AUTHENTICATE/);
    expect(sent).not.toContain(Buffer.from("secret-of-ana").toString("base64").slice(0, 10));
  });

  test("says PREAUTH where nothing asks for STARTTLS, and is not believed", async () => {
    await using server = await startScripted({ greeting: "* PREAUTH welcome back\r\n" });
    expect(await failure(openAt(server))).toMatchObject({ kind: "config", code: "endpoint_refused" });
  });

  test("offers TLS 1.1 and gets no login", async () => {
    const { keyPem, certPem, caPem } = await testCertificates();
    const seen: Buffer[] = [];
    const server = createTlsServer(
      { key: keyPem, cert: certPem, minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" },
      (socket) => {
        socket.on("data", (chunk) => seen.push(chunk));
        socket.write("* OK ready\r\n");
      },
    );
    const [port = 0] = await freePorts(1);
    await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
    const error = await failure(
      openAt({ host: "localhost", port }, { settings: { security: "tls", tls: { caPem, rejectUnauthorized: true } } }),
    );
    expect(error.kind).toBe("tls");
    expect(seen).toEqual([]);
    server.close();
  });

  test("strips capabilities before STARTTLS, which count for nothing after it", async () => {
    const { keyPem, certPem, caPem } = await testCertificates();
    const lines: string[] = [];
    const serve = (socket: Socket, capability: string): void => {
      socket.on("error", () => undefined);
      socket.on("data", (chunk: Buffer) => {
        for (const line of chunk.toString("latin1").split("\r\n").filter(Boolean)) {
          const [tag = "*", verb = ""] = line.split(" ");
          lines.push(`${socket instanceof TLSSocket ? "tls" : "plain"} ${verb}`);
          if (verb === "CAPABILITY") socket.write(`* CAPABILITY IMAP4rev1 ${capability}\r\n${tag} OK\r\n`);
          else if (verb === "STARTTLS") {
            socket.removeAllListeners("data");
            socket.write(`${tag} OK\r\n`, () =>
              serve(new TLSSocket(socket, { isServer: true, key: keyPem, cert: certPem }), "LOGINDISABLED"),
            );
          } else socket.write(`${tag} OK\r\n`);
        }
      });
    };
    const server = createPlainServer((socket) => {
      socket.write("* OK ready\r\n");
      serve(socket, "STARTTLS AUTH=PLAIN");
    });
    const [port = 0] = await freePorts(1);
    await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
    const settings = { security: "starttls" as const, tls: { caPem, rejectUnauthorized: true } };
    const error = await failure(openAt({ host: "localhost", port }, { settings }));
    expect(error).toMatchObject({ kind: "config", code: "endpoint_refused" });
    expect(lines).toEqual(["plain CAPABILITY", "plain STARTTLS", "tls CAPABILITY"]);
    server.close();
  });
});
