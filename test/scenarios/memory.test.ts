/** Memory stays what it is, however much mail there is: the built daemon, as users run it, watched while it reads. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Daemon, dovecotAccount, liveAccount, startDaemon, testAdminKey } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";

const mebibyte = 1024 * 1024;
const limit = 350 * mebibyte;
const many = 100_000;
const huge = 60 * mebibyte;

let server: Dovecot;
let database: FreshDatabase;
let daemon: Daemon;

function* smallMessages(): Generator<Buffer> {
  for (let n = 0; n < many; n += 1)
    yield Buffer.from(
      `Subject: message ${n}\r\nMessage-ID: <${n}@memory.test>\r\nFrom: a@memory.test\r\n\r\n${"text ".repeat(40)}${n}\r\n`,
    );
}

const hugeMessage = (): Buffer => {
  const head = Buffer.from(
    "Subject: huge\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n",
  );
  return Buffer.concat([head, Buffer.alloc(huge, `${"QUJD".repeat(19)}\r\n`)]);
};

/** The most the daemon's process ever held in memory, in bytes, as the kernel noted it. */
const peak = async (): Promise<number> => {
  const status = await readFile(`/proc/${daemon.pid}/status`, "utf8");
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? Number.NaN) * 1024;
};

beforeAll(async () => {
  server = await startDovecot({ users: 2 });
  database = await freshDatabase();
  daemon = await startDaemon({ built: true, env: { DATABASE_URL: database.url } });
}, 120_000);

afterAll(async () => {
  await daemon.stop();
  await server.stop();
  await database.drop();
  // A hundred thousand files are removed, beside whatever else runs.
}, 300_000);

it("a message of 60 MB is read, stored and given out again within the bound", { timeout: 540_000 }, async () => {
  const raw = hugeMessage();
  const sha256 = createHash("sha256").update(raw).digest("hex");
  await server.deliver({ user: server.account(2).user, mailbox: "INBOX", messages: [raw] });
  const id = await liveAccount(daemon, dovecotAccount(server, 2), 120_000);
  const { body } = await daemon.call<{ items: { id: string }[] }>("GET", `/v1/accounts/${id}/messages`);
  const answer = await fetch(`${daemon.url}/v1/accounts/${id}/messages/${body.items[0]?.id}/raw`, {
    headers: { authorization: `Bearer ${testAdminKey}` },
  });
  const hash = createHash("sha256");
  if (answer.body === null) throw new Error("no body");
  for await (const chunk of answer.body) hash.update(chunk);
  expect(hash.digest("hex")).toBe(sha256);
  expect(await peak()).toBeLessThan(limit);
});

it("a mailbox of 100,000 messages is read within the bound", { timeout: 720_000 }, async () => {
  await server.deliver({ user: server.account(1).user, mailbox: "INBOX", messages: smallMessages() });
  const id = await liveAccount(daemon, dovecotAccount(server, 1), 400_000);
  // Parsing comes behind the reading and counts, too; a page of it shows that it is under way.
  await eventually(
    "messages are parsed",
    async () => {
      const { body } = await daemon.call<{ items: { parseStatus: string }[] }>("GET", `/v1/accounts/${id}/messages?limit=1`);
      return body.items[0]?.parseStatus === "parsed";
    },
    { timeoutMs: 180_000 },
  );
  expect(await peak()).toBeLessThan(limit);
});
