/** The doctor, through the real daemon: it tells, and leaves no trace in the mailbox, the database or the log. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { forever, openDovecot } from "../endpoints/pop3/connection-fixture.ts";
import { type Daemon, startDaemon } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { makeMessages } from "../support/messages.ts";
import { upstreamOf } from "../support/pop3-account.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";
import { startScripted } from "../support/scripted-server.ts";
import { dumpTables, findSecrets } from "../support/secret-search.ts";

let server: Dovecot;
let database: FreshDatabase;
let daemon: Daemon;

beforeAll(async () => {
  [server, database] = await Promise.all([startDovecot({ users: 2 }), freshDatabase()]);
  await server.deliver({ user: "user1", mailbox: "INBOX", messages: makeMessages({ count: 20, seed: 3, meanBytes: 2000 }) });
  daemon = await startDaemon({ env: { DATABASE_URL: database.url, LOG_LEVEL: "trace" } });
});
afterAll(async () => {
  await daemon.stop();
  await Promise.all([server.stop(), database.drop()]);
});

interface Probe {
  readonly login: string;
  readonly failed: { readonly code: string } | null;
  readonly imap: { readonly condstore: { readonly verdict: string } } | null;
  readonly pop3: { readonly messages: number; readonly top: { readonly usable: boolean } } | null;
}

const bodyFor = (protocol: "imap" | "pop3", auth: object) => ({
  protocol,
  host: "localhost",
  port: protocol === "imap" ? server.imapsPort : server.pop3sPort,
  security: "tls",
  auth,
  tls: { caPem: server.caPem },
});

const probe = async (protocol: "imap" | "pop3", auth: object): Promise<Probe> => {
  const { status, body } = await daemon.call<Probe>("POST", "/v1/probe", bodyFor(protocol, auth));
  expect(status).toBe(200);
  return body;
};

test("leaves flags, mod-sequences and the POP3 listing as they were", async () => {
  const before = await upstreamOf(server, 1);
  const account = { type: "password", ...server.account(1) };
  expect(await probe("imap", account)).toMatchObject({ failed: null, imap: { condstore: { verdict: "honest" } } });
  expect(await probe("pop3", account)).toMatchObject({ failed: null, pop3: { messages: 20, top: { usable: true } } });
  expect(await upstreamOf(server, 1)).toEqual(before);
  // The comparison can fail: this is what a device does.
  const device = await openDovecot(server, 1);
  await (await device.retr({ number: 20, size: null }, forever)).dispose();
  await device.quit(forever);
  expect(await upstreamOf(server, 1)).not.toEqual(before);
});

/** Of heartbeats, sweeps and use of keys there are always some; that somebody asked is in the audit log. */
const alive = /^(?:table|octets of) (?:public\.(?:processes|shards|audit_log)|bullmq)/;

const rowsOf = async (): Promise<Record<string, string>> =>
  Object.fromEntries(Object.entries(await dumpTables(database.url)).filter(([name]) => !alive.test(name)));

test("writes no row but that it was asked for", async () => {
  const before = await rowsOf();
  expect(Object.keys(before)).toContain("table public.endpoints");
  await probe("imap", { type: "password", ...server.account(1) });
  await probe("pop3", { type: "password", ...server.account(1) });
  expect(await rowsOf()).toEqual(before);
});

test("its secrets are in no answer, no log and no table", async () => {
  const secrets = {
    "a password": "never-to-be-seen-again-1",
    "a token": server.accessToken(2),
    "an expired token": server.accessToken(2, -60),
  };
  const answers = [
    await probe("imap", { type: "password", user: "user1", password: secrets["a password"] }),
    await probe("pop3", { type: "password", user: "user1", password: secrets["a password"] }),
    await probe("imap", { type: "oauth2", user: "user2", accessToken: secrets["a token"] }),
    await probe("pop3", { type: "oauth2", user: "user2", accessToken: secrets["a token"] }),
    await probe("imap", { type: "oauth2", user: "user2", accessToken: secrets["an expired token"] }),
  ];
  expect(answers.map(({ login }) => login)).toEqual(["refused", "refused", "accepted", "accepted", "refused"]);
  const log = daemon.lines.map((line) => JSON.stringify(line)).join("\n");
  expect(log).toContain("endpoint probed");
  const sources = { "the answers": JSON.stringify(answers), "the log": log, ...(await dumpTables(database.url)) };
  expect(findSecrets(sources, secrets)).toEqual([]);
});

test("a daemon that only serves the API looks, too", async () => {
  await using api = await startDaemon({ env: { DATABASE_URL: database.url, SAMEBOX_ROLES: "api" } });
  for (const protocol of ["imap", "pop3"] as const) {
    const body = bodyFor(protocol, { type: "password", ...server.account(1) });
    expect(await api.call("POST", "/v1/probe", body)).toMatchObject({ status: 200, body: { login: "accepted", failed: null } });
  }
});

test("who waits for a probe when the daemon stops is answered", async () => {
  await using stopping = await startDaemon({ env: { DATABASE_URL: database.url } });
  await using silent = await startScripted({ protocol: "pop3", greeting: "" });
  const body = {
    protocol: "pop3",
    host: silent.host,
    port: silent.port,
    security: "none",
    auth: { type: "password", user: "a", password: "b" },
  };
  const asked = stopping.call("POST", "/v1/probe", body);
  await eventually("it looks", () => silent.sessions > 0);
  await stopping.stop();
  expect((await asked).status).toBe(503);
});
