/** Servers that are wrong, rude or broken: the account says in plain words what is the matter, and nobody else notices. */
import { randomBytes } from "node:crypto";
import { createServer } from "node:tls";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { mailboxesOf, messagesOf, statusOf } from "../support/account-view.ts";
import { testCertificates } from "../support/certificates.ts";
import { type Daemon, dovecotAccount, liveAccount, startDaemon, waitLive } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { type EventStream, openEvents } from "../support/event-stream.ts";
import { startFaultProxy } from "../support/fault-proxy.ts";
import type { ImapDevice } from "../support/imap-device.ts";
import { freePorts } from "../support/ports.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";
import { type ScriptedServer, startScripted } from "../support/scripted-server.ts";
import type { Script } from "../support/script.ts";

let server: Dovecot;
let fresh: FreshDatabase;
let daemon: Daemon;
let healthy: EventStream;
let device: ImapDevice;
let delivered = 0;

beforeAll(async () => {
  [server, fresh] = await Promise.all([startDovecot({ users: 3 }), freshDatabase()]);
  daemon = await startDaemon({ env: { DATABASE_URL: fresh.url, SAMEBOX_POLL_SECONDS: "1" } });
  const id = await liveAccount(daemon, dovecotAccount(server, 1));
  healthy = await openEvents(daemon, id);
  device = await server.device(1);
});

afterAll(async () => {
  await healthy[Symbol.asyncDispose]();
  await device.close();
  await daemon.stop();
  await server.stop();
  await fresh.drop();
});

/** The account beside goes on: its new mail comes as on any other day, and its state never changes. */
afterEach(async () => {
  delivered += 1;
  const subject = `healthy ${delivered}`;
  const raw = Buffer.from(`Subject: ${subject}\r\n\r\n${subject}\r\n`);
  await device.append("INBOX", raw);
  await healthy.next(({ event }) => event === "message.created", 5_000);
  expect(healthy.seen.filter(({ event }) => event === "account.state")).toEqual([]);
});

type Overrides = Readonly<Record<string, unknown>>;

const create = async (overrides: Overrides, n = 2): Promise<string> => {
  const { status, body } = await daemon.call<{ id: string }>("POST", "/v1/accounts", dovecotAccount(server, n, overrides));
  expect(status, JSON.stringify(body)).toBe(201);
  return body.id;
};

const remove = (id: string): Promise<unknown> => daemon.call("DELETE", `/v1/accounts/${id}`);

interface Complaint {
  readonly code: string;
  readonly syncState: "connecting" | "needs_attention" | "needs_reauth";
  readonly message: RegExp;
  readonly action: RegExp;
}

const complains = (id: string, { code, syncState, message, action }: Complaint, timeoutMs = 20_000): Promise<true> =>
  eventually(
    `the account complains of ${code}`,
    async () => {
      const status = await statusOf(daemon, id);
      const { endpoint } = status;
      expect(endpoint.lastError).toMatchObject({
        code,
        message: expect.stringMatching(message),
        action: expect.stringMatching(action),
      });
      expect({ account: status.syncState, endpoint: endpoint.syncState }).toEqual({ account: syncState, endpoint: syncState });
      expect(Date.parse(endpoint.nextAttemptAt ?? "")).toBeGreaterThan(Date.now() - 60_000);
      expect(endpoint.watching).toEqual([]);
      return true as const;
    },
    { timeoutMs },
  );

const unreachable: Complaint = {
  code: "endpoint_unreachable",
  syncState: "connecting",
  message: /^No connection to \S+ could be made\.$/,
  action: /^Check host and port/,
};
const badTls: Complaint = {
  code: "endpoint_tls_failed",
  syncState: "needs_attention",
  message: /^A protected connection to \S+ could not be made\.$/,
  action: /certificate .* Nothing was sent unprotected\.$/,
};
const byItself = /tried again/;
const throttled: Complaint = {
  code: "endpoint_throttled",
  syncState: "connecting",
  message: /asks for fewer or slower requests/,
  action: byItself,
};
const unavailable: Complaint = {
  code: "endpoint_unavailable",
  syncState: "connecting",
  message: /cannot serve/,
  action: byItself,
};
const closed: Complaint = { code: "endpoint_closed", syncState: "connecting", message: /ended the connection/, action: byItself };
const broken: Complaint = {
  code: "endpoint_protocol_error",
  syncState: "connecting",
  message: /answered in a way that is not IMAP/,
  action: byItself,
};
const tooMuch: Complaint = {
  code: "endpoint_limit_exceeded",
  syncState: "connecting",
  message: /sent more than this installation accepts/,
  action: byItself,
};

describe("a server that cannot be reached", () => {
  it("at its port is named, and tried again", async () => {
    const [port] = await freePorts(1);
    const id = await create({ port });
    await complains(id, unreachable);
    await remove(id);
  });

  it("by its name is named, and tried again", async () => {
    const id = await create({ host: "mail.nowhere.invalid" });
    await complains(id, { ...unreachable, message: /no host named mail\.nowhere\.invalid/, action: /spelling of the host/ });
    await remove(id);
  });

  it("because it drips one octet a second is given up", { timeout: 300_000 }, async () => {
    await using proxy = await startFaultProxy({
      port: server.imapPort,
      faults: { toClient: { drip: { bytes: 1, everyMs: 1000 } } },
    });
    const id = await create({ port: proxy.port });
    await complains(
      id,
      { code: "endpoint_timeout", syncState: "connecting", message: /did not answer in time/, action: byItself },
      80_000,
    );
    await remove(id);
  });
});

describe("a refused login", () => {
  it("is tried twice, then waits for new credentials", { timeout: 180_000 }, async () => {
    await using proxy = await startFaultProxy({ port: server.imapPort });
    const auth = { type: "password", ...server.account(2) };
    const id = await create({ port: proxy.port, auth: { ...auth, password: "wrong" } });
    const refused = { code: "endpoint_auth_failed", message: /refused the login of user2/, action: /password/ } as const;
    await complains(id, { ...refused, syncState: "connecting" });
    const wait = Date.parse((await statusOf(daemon, id)).endpoint.nextAttemptAt ?? "") - Date.now();
    expect(wait).toBeGreaterThan(4 * 60_000);
    expect(proxy.attempts).toBe(1);
    // Somebody asks: that is the second try, and the last.
    await daemon.call("POST", `/v1/accounts/${id}/sync`);
    await eventually("it is parked", async () => (await statusOf(daemon, id)).syncState === "needs_reauth");
    expect((await statusOf(daemon, id)).endpoint).toMatchObject({ nextAttemptAt: null, lastError: { code: refused.code } });
    const events = await openEvents(daemon, id, "0.0");
    await daemon.call("POST", `/v1/accounts/${id}/sync`);
    await daemon.call("POST", `/v1/accounts/${id}/sync`);
    const endpoint = (await daemon.call<{ endpoints: { id: string }[] }>("GET", `/v1/accounts/${id}`)).body.endpoints[0]?.id;
    expect(proxy.attempts).toBe(2);
    const { status } = await daemon.call("PATCH", `/v1/accounts/${id}`, { endpoints: [{ id: endpoint, auth }] });
    expect(status).toBe(200);
    await waitLive(daemon, id);
    expect((await statusOf(daemon, id)).endpoint.lastError).toBeNull();
    const states = events.seen.filter(({ event }) => event === "account.state").map(({ data }) => data["after"]);
    expect(states).toContainEqual({ syncState: "needs_reauth", error: refused.code });
    await events[Symbol.asyncDispose]();
    await remove(id);
  });

  it("after a server that could not be reached still has its two tries", async () => {
    const rules = [
      { on: /^(LOGIN|AUTHENTICATE)/i, nth: 1, reply: ["{tag} NO [UNAVAILABLE] later\r\n"] },
      { on: /^(LOGIN|AUTHENTICATE)/i, reply: ["{tag} NO [AUTHENTICATIONFAILED] no\r\n"] },
    ];
    await using scripted = await startScripted({ rules });
    const id = await create({ port: scripted.port });
    await complains(id, unavailable);
    await daemon.call("POST", `/v1/accounts/${id}/sync`);
    await complains(id, {
      code: "endpoint_auth_failed",
      syncState: "connecting",
      message: /refused the login/,
      action: /password/,
    });
    await remove(id);
  });
});

describe("a connection that cannot be protected", () => {
  it("because nobody vouches for the certificate is not made", async () => {
    const id = await create({ port: server.imapsPort, security: "tls" });
    await complains(id, badTls);
    await remove(id);
  });

  it("because the certificate is another host's is not made", async () => {
    const { certPem: cert, keyPem: key, caPem } = await testCertificates();
    const heard: Buffer[] = [];
    const other = createServer({ cert, key }, (socket) => {
      socket.on("error", () => undefined).on("data", (chunk: Buffer) => heard.push(chunk));
      socket.write("* OK [CAPABILITY IMAP4rev1] hello\r\n");
    });
    const [port = 0] = await freePorts(1);
    await new Promise<void>((resolve) => other.listen(port, "127.0.0.2", resolve));
    const id = await create({ host: "127.0.0.2", port, security: "tls", tls: { caPem } });
    await complains(id, badTls);
    expect(heard).toEqual([]);
    await remove(id);
    other.close();
  });

  it.each([
    ["is not offered", {}],
    ["is refused", { capability: "IMAP4rev1 STARTTLS", rules: [{ on: /^STARTTLS/i, reply: ["{tag} NO not now\r\n"] }] }],
    ["is said to be done already", { greeting: "* PREAUTH you are in\r\n", capability: "IMAP4rev1 STARTTLS" }],
  ])("because STARTTLS %s never hears the password", async (_how, script) => {
    await using scripted = await startScripted(script);
    const id = await create({ port: scripted.port, security: "starttls" });
    await complains(id, badTls);
    expect(scripted.received.filter(({ line }) => /LOGIN|AUTHENTICATE|pass2/i.test(line))).toEqual([]);
    await remove(id);
  });
});

const onLogin = (reply: string): Script => ({ rules: [{ on: /^(LOGIN|AUTHENTICATE)/i, reply: [reply] }] });
const onFetch = (reply: string): Script => ({ rules: [{ on: /^UID FETCH .*BODY/i, reply: [reply] }] });

describe("a server that", () => {
  const cases: readonly (readonly [string, Script, Complaint])[] = [
    ["asks for fewer connections by [LIMIT]", onLogin("{tag} NO [LIMIT] too many\r\n"), throttled],
    ["asks for fewer connections in words", onLogin("{tag} NO Too many simultaneous connections. (Failure)\r\n"), throttled],
    ["asks for fewer connections by a BYE", { greeting: "* BYE Too many connections from your address\r\n!close" }, throttled],
    ["is throttling", onLogin("{tag} NO [THROTTLED] slow down\r\n"), throttled],
    ["is unavailable", onLogin("{tag} NO [UNAVAILABLE] the directory is down\r\n"), unavailable],
    ["is in use", onLogin("{tag} NO [INUSE] somebody is there\r\n"), unavailable],
    ["says goodbye at once", { greeting: "* BYE not today\r\n!close" }, closed],
    ["hangs up at once", { greeting: "!close" }, closed],
    ["is none of mail", { greeting: "SSH-2.0-OpenSSH_9.6\r\n!close" }, closed],
    ["sends garbage for a listing", { rules: [{ on: /^LIST/i, reply: ["* LIST (((\r\n\u0001\u0002}{{\r\n{ok}"] }] }, broken],
    ["sends a line without an end", { rules: [{ on: /^LIST/i, reply: ["* OK {repeat:x:20000000}\r\n{ok}"] }] }, tooMuch],
    ["announces a literal of a terabyte", onFetch("* 1 FETCH (UID 101 BODY[] {1099511627776}\r\nabc"), tooMuch],
    ["hangs up within a literal", onFetch("* 1 FETCH (UID 101 BODY[] {5000}\r\nSubject: half\r\n\r\nabc!close"), closed],
  ];
  it.each(cases)("%s is described as such, and nothing is stored by halves", async (_what, script, complaint) => {
    await using scripted: ScriptedServer = await startScripted(script);
    const id = await create({ port: scripted.port });
    await complains(id, complaint);
    expect([...(await messagesOf(daemon, id)).keys()]).toEqual([]);
    await remove(id);
  });

  it("never stops talking neither fills the memory nor holds up others", { timeout: 180_000 }, async () => {
    const rules = [{ on: /^LIST/i, reply: ["{repeat:* OK and another thing\r\n:40000000}"], chunk: 20_000 }];
    await using scripted = await startScripted({ rules });
    const id = await create({ port: scripted.port });
    await eventually("it talks", () => scripted.received.some(({ line }) => /LIST/.test(line)));
    const before = await daemon.rss();
    await device.append("INBOX", randomBytes(60_000));
    await healthy.next(({ event }) => event === "message.created", 5_000);
    expect((await daemon.rss()) - before).toBeLessThan(100_000_000);
    await complains(id, tooMuch);
    await remove(id);
  });

  it("lists five thousand mailboxes is read to its end", { timeout: 360_000 }, async () => {
    const rules = [{ on: /^LIST/i, reply: ['{baseline}{lines:* LIST () "/" "box %d":5000}{ok}'] }];
    await using scripted = await startScripted({ state: { messages: 0 }, rules });
    const id = await create({ port: scripted.port });
    await waitLive(daemon, id, 100_000);
    expect((await mailboxesOf(daemon, id)).size).toBe(5001);
    await remove(id);
  });
});
