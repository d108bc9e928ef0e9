import { createHash } from "node:crypto";
import { createServer as createTcpServer, type Socket } from "node:net";
import { TLSSocket } from "node:tls";
import { describe, expect, test } from "vitest";
import { apopChallenge } from "../../../src/endpoints/pop3/login.ts";
import { responseCodeOf } from "../../../src/endpoints/pop3/classify.ts";
import type { Credentials } from "../../../src/model/endpoint.ts";
import { testCertificates } from "../../support/certificates.ts";
import { failureOf, forever, openAt, someone } from "./connection-fixture.ts";
import { lineServer, startLines } from "./line-server.ts";

const offering = (...lines: string[]): string => `+OK\r\n${lines.map((line) => `${line}\r\n`).join("")}.\r\n`;

const base64 = (text: string): string => Buffer.from(text).toString("base64");

const refusals: readonly (readonly [string, object])[] = [
  ["-ERR [AUTH] no such login", { kind: "credential", code: "endpoint_auth_failed" }],
  ["-ERR [IN-USE] maildrop is locked", { kind: "transient", code: "endpoint_unavailable" }],
  ["-ERR [IN-USE] Maximum number of connections reached", { kind: "throttle", code: "endpoint_throttled" }],
  ["-ERR [LOGIN-DELAY] too soon", { kind: "transient", code: "endpoint_unavailable" }],
  ["-ERR [SYS/TEMP] store is away", { kind: "transient", code: "endpoint_unavailable" }],
  ["-ERR [SYS/PERM] disabled", { kind: "config", code: "endpoint_refused" }],
  ["-ERR too many connections from your address", { kind: "throttle", code: "endpoint_throttled" }],
  ["-ERR try again later", { kind: "transient", code: "endpoint_unavailable" }],
  ["-ERR authentication failed", { kind: "credential", code: "endpoint_auth_failed" }],
  ["-ERR", { kind: "credential", code: "endpoint_auth_failed" }],
];

describe("a refusal is told by what it means", () => {
  test.each(refusals)("to a login: %s", async (refusal, expected) => {
    const capa = offering("USER", "LOGIN-DELAY 300");
    await using server = await lineServer({ CAPA: capa, PASS: `${refusal} of secret-of-ana\r\n` });
    const error = await failureOf(openAt(server));
    expect(error).toMatchObject({ scope: "endpoint", ...expected });
    expect(responseCodeOf(error)).toBe(/\[(.*)\]/.exec(refusal)?.[1] ?? "");
    expect(error.retryAfterMs).toBe(refusal.includes("LOGIN-DELAY") ? 300_000 : null);
    expect(JSON.stringify([error.message, error.action, error.stack, error.cause, String(error.cause)])).not.toContain("secret");
  });

  test.each(refusals.slice(0, 8))("in place of a greeting: %s", async (refusal, expected) => {
    await using server = await lineServer({}, `${refusal}\r\n`);
    expect(await failureOf(openAt(server))).toMatchObject({ scope: "endpoint", ...expected });
    expect(server.chunks).toEqual([]);
  });

  test("to a message: of the message alone, unless the code says that it is the server", async () => {
    const said = { CAPA: offering("USER"), "RETR 1": "-ERR gone\r\n", "RETR 2": "-ERR [SYS/TEMP] later\r\n" };
    await using server = await lineServer(said);
    const connection = await openAt(server);
    const gone = await failureOf(connection.retr({ number: 1, size: null }, forever));
    expect(gone).toMatchObject({ kind: "transient", scope: "message", code: "endpoint_unavailable" });
    expect(connection.usable).toBe(true);
    const later = await failureOf(connection.retr({ number: 2, size: null }, forever));
    expect(later).toMatchObject({ kind: "transient", scope: "endpoint", code: "endpoint_unavailable" });
    expect(connection.usable).toBe(false);
  });
});

describe("a login", () => {
  const password = (user: string, secret: string): Credentials => ({ type: "password", user, password: secret });
  const token: Credentials = { type: "oauth2", user: "ana", accessToken: "t".repeat(20) };
  const longToken: Credentials = { type: "oauth2", user: "ana", accessToken: "t".repeat(2000) };
  const xoauth2 = (secret: string): string => base64(`user=ana\x01auth=Bearer ${secret}\x01\x01`);

  test.each<[string, Credentials, string, string[]]>([
    ["by USER and PASS, blanks and all", password("ana", " pass word "), offering("USER"), ["USER ana", "PASS  pass word "]],
    ["by USER and PASS where nothing is known", someone, "-ERR what?\r\n", ["USER ana", "PASS secret-of-ana"]],
    ["by PLAIN", password("ana", "ä b "), offering("SASL LOGIN PLAIN"), [`AUTH PLAIN ${base64("\0ana\0ä b ")}`]],
    ["by XOAUTH2, told or not", token, offering("SASL PLAIN", "USER"), [`AUTH XOAUTH2 ${xoauth2("t".repeat(20))}`]],
    ["by XOAUTH2 with a long token", longToken, offering("SASL XOAUTH2"), ["AUTH XOAUTH2", xoauth2("t".repeat(2000))]],
  ])("is said in the server's way: %s", async (_, credentials, capa, lines) => {
    const said: string[] = [];
    await using server = await startLines("+OK\r\n", (line) => {
      if (line === "CAPA") return capa;
      said.push(line);
      return line === "AUTH XOAUTH2" ? "+ \r\n" : "+OK\r\n";
    });
    const connection = await openAt(server, { credentials });
    expect(said).toEqual(lines);
    connection.close();
  });

  test("by XOAUTH2 that is refused is refused, by whichever way", async () => {
    for (const challenge of [`+ ${base64('{"status":"401"}')}\r\n`, null]) {
      const said: string[] = [];
      await using server = await startLines("+OK\r\n", (line) => {
        said.push(line);
        if (line === "CAPA") return offering("SASL XOAUTH2");
        return line === "" ? "-ERR [AUTH] no\r\n" : (challenge ?? "-ERR [AUTH] no\r\n");
      });
      expect(await failureOf(openAt(server, { credentials: token }))).toMatchObject({ kind: "credential" });
      expect(said.at(-1)).toBe(challenge === null ? `AUTH XOAUTH2 ${xoauth2("t".repeat(20))}` : "");
    }
  });

  test("by OAUTHBEARER where it is told, and refused in its way", async () => {
    const said: string[] = [];
    await using server = await startLines("+OK\r\n", (line) => {
      if (line === "CAPA") return offering("SASL XOAUTH2 OAUTHBEARER");
      said.push(line);
      return line === "AQ==" ? "-ERR [AUTH] no\r\n" : "+ e30=\r\n";
    });
    expect(await failureOf(openAt(server, { credentials: token }))).toMatchObject({ kind: "credential" });
    const message = `n,a=ana,\x01host=127.0.0.1\x01port=${server.port}\x01auth=Bearer ${"t".repeat(20)}\x01\x01`;
    expect(said).toEqual([`AUTH OAUTHBEARER ${base64(message)}`, "AQ=="]);
  });

  const timestamp = "<1896.697170952@dbc.mtview.ca.us>";
  const digest = createHash("md5").update(`${timestamp}secret-of-ana`).digest("hex");

  test("by APOP where anybody may listen, and by nothing else when that is refused", async () => {
    const said: string[] = [];
    await using server = await startLines(`+OK ready ${timestamp}\r\n`, (line) => {
      if (line === "CAPA") return offering("USER", "SASL PLAIN");
      said.push(line);
      return said.length === 1 ? "+OK\r\n" : "-ERR [AUTH] no\r\n";
    });
    (await openAt(server)).close();
    expect(await failureOf(openAt(server))).toMatchObject({ kind: "credential" });
    expect(said).toEqual([`APOP ana ${digest}`, `APOP ana ${digest}`]);
  });

  test.each([
    [`+OK ${timestamp}`, timestamp],
    ["+OK <with blank@host>", null],
    ["+OK <no-host>", null],
    ["+OK <é@host>", null],
    ["+OK", null],
  ])("by APOP is offered by a whole msg-id only: %s", (greeting, challenge) => {
    expect(apopChallenge(greeting)).toBe(challenge);
  });

  test.each([
    password("bob\r\nDELE 1", "x"),
    password("bob", "x\nDELE 1"),
    password("bob\0", "x"),
    password("b".repeat(300), "x"),
    { type: "oauth2", user: "bob", accessToken: "x\r\nDELE 1" } as const,
  ])("cannot say more than a login", async (credentials) => {
    await using server = await lineServer({ CAPA: offering("USER") });
    expect(await failureOf(openAt(server, { credentials }))).toMatchObject({ kind: "config", code: "endpoint_auth_failed" });
    expect(server.chunks.join("")).toBe("CAPA\r\n");
  });

  test("is not tried where there is no way", async () => {
    await using server = await lineServer({ CAPA: offering("SASL GSSAPI") });
    expect(await failureOf(openAt(server))).toMatchObject({ kind: "config", code: "endpoint_refused" });
    expect(server.chunks.join("")).toBe("CAPA\r\n");
  });
});

describe("STLS", () => {
  const required = { settings: { security: "starttls", host: "localhost" } } as const;
  const badTls = { kind: "tls", scope: "endpoint", code: "endpoint_tls_failed" };
  const at = (server: { readonly port: number }) => ({ host: "localhost", port: server.port });

  test("that is refused sends nothing in the clear", async () => {
    await using server = await lineServer({ STLS: "-ERR what?\r\n" });
    expect(await failureOf(openAt(at(server), required))).toMatchObject(badTls);
    expect(server.chunks.join("")).toBe("STLS\r\n");
  });

  test.each([
    ["with the answer", "+OK go on\r\n+OK injected\r\n"],
    ["with the answer, half a line", "+OK go on\r\n+"],
    ["in place of TLS", "+OK go on\r\n!+OK injected\r\n"],
  ])("believes nothing that comes before TLS: %s", async (_, said) => {
    await using server = await startLines("+OK\r\n", (line, socket) => {
      if (line !== "STLS") return line.startsWith("USER") ? "+OK\r\n" : null;
      const [first = "", second] = said.split("!");
      socket.write(first, () => second !== undefined && setImmediate(() => socket.write(second)));
      return null;
    });
    expect(await failureOf(openAt(at(server), required))).toMatchObject(badTls);
    expect(server.chunks.join("")).not.toContain("USER");
  });

  test.each([
    [["USER", "UIDL"], "USER ana"],
    // Not by APOP, whose challenge was in the greeting before TLS.
    [["SASL GSSAPI"], null],
  ])("forgets what was said before it: %j", async (offered, first) => {
    const { caPem, certPem, keyPem } = await testCertificates();
    const protectedLines: string[] = [];
    const speak = (plain: Socket): void => {
      plain.on("error", () => undefined);
      plain.write("+OK <1.2@somewhere.test>\r\n");
      plain.once("data", () => {
        plain.write("+OK\r\n");
        const secure = new TLSSocket(plain, { isServer: true, cert: certPem, key: keyPem });
        secure.on("error", () => undefined);
        secure.on("data", (chunk: Buffer) => {
          const line = chunk.toString().trim();
          protectedLines.push(line);
          secure.write(line === "CAPA" ? offering(...offered) : "+OK\r\n");
        });
      });
    };
    const server = createTcpServer(speak);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const settings = { ...required.settings, tls: { caPem, rejectUnauthorized: true } };
    const opening = openAt({ host: "localhost", port }, { settings });
    if (first === null) {
      expect(await failureOf(opening)).toMatchObject({ kind: "config" });
      expect(protectedLines).toEqual(["CAPA"]);
    } else {
      const connection = await opening;
      expect(protectedLines).toEqual(["CAPA", first, "PASS secret-of-ana", "CAPA"]);
      expect(connection.capabilities.lines).toEqual(["UIDL", "USER"]);
      connection.close();
    }
    await new Promise<void>((resolve) => server.close(() => resolve()));
  });
});
