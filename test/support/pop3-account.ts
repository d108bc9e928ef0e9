/** Accounts that are read over POP3, and what a POP3 device and an IMAP device see of the same mail. */
import { createHash } from "node:crypto";
import { expect } from "vitest";
import { forever, openDovecot } from "../endpoints/pop3/connection-fixture.ts";
import { markWrites, dumpCanonical, rowsWrittenSince } from "./canonical-dump.ts";
import { type Daemon, testAdminKey } from "./daemon.ts";
import type { Dovecot } from "./dovecot.ts";
import { eventually } from "./eventually.ts";

export const pop3Endpoint = (server: Dovecot, n: number, rest: Record<string, unknown> = {}) => ({
  protocol: "pop3",
  host: server.host,
  port: server.pop3Port,
  security: "none",
  auth: { type: "password", ...server.account(n) },
  ...rest,
});

/** The body of `POST /v1/accounts` for an account that has POP3 only. */
export const pop3Account = (server: Dovecot, n: number, rest: Record<string, unknown> = {}) => ({
  name: `User ${n}`,
  email: `user${n}@example.test`,
  endpoints: [pop3Endpoint(server, n)],
  ...rest,
});

export interface ListedPlacement {
  readonly state: string;
  readonly reason: string;
  readonly sync: string;
  readonly keywords: Readonly<Record<string, true>>;
  readonly recoverableUntil: string | null;
  readonly bindings: readonly { readonly protocol: string; readonly uidl?: string; readonly uid?: number }[];
}

export interface ListedMail {
  readonly id: string;
  readonly subject: string | null;
  readonly receivedAt: string;
  readonly placements: readonly ListedPlacement[];
}

/** All messages, page by page. */
export const mailOf = async (daemon: Daemon, accountId: string): Promise<readonly ListedMail[]> => {
  const all: ListedMail[] = [];
  for (let cursor = ""; ;) {
    const query = `limit=500${cursor === "" ? "" : `&cursor=${encodeURIComponent(cursor)}`}`;
    const { status, body } = await daemon.call<{ items: ListedMail[]; nextCursor: string | null }>(
      "GET",
      `/v1/accounts/${accountId}/messages?${query}`,
    );
    if (status !== 200) throw new Error(JSON.stringify(body));
    all.push(...body.items);
    if (body.nextCursor === null) return all;
    cursor = body.nextCursor;
  }
};

export const rawOf = async (daemon: Daemon, accountId: string, messageId: string): Promise<Buffer> => {
  const response = await fetch(`${daemon.url}/v1/accounts/${accountId}/messages/${messageId}/raw`, {
    headers: { authorization: `Bearer ${testAdminKey}` },
  });
  // The busiest of machines answers so; it may be asked again.
  if (response.status === 503) return rawOf(daemon, accountId, messageId);
  if (response.status !== 200) throw new Error(`raw: ${response.status}`);
  return Buffer.from(await response.arrayBuffer());
};

export const sha256 = (octets: Buffer): string => createHash("sha256").update(octets).digest("hex");

/** What devices can tell apart: the POP3 listing, and every flag and the mod-sequence over IMAP. */
export const upstreamOf = async (server: Dovecot, n: number): Promise<unknown> => {
  const connection = await openDovecot(server, n);
  const uidls = await connection.uidl(forever);
  const sizes = await connection.list(forever);
  await connection.quit(forever);
  await using device = await server.device(n);
  await device.command("ENABLE CONDSTORE");
  const selected = await device.select("INBOX");
  const { untagged } = await device.command("UID FETCH 1:* (FLAGS MODSEQ)");
  return { uidls, sizes, selected, flags: untagged.map(({ line }) => line) };
};

/** Removes the first `count` messages as a POP3 device does that keeps nothing on the server. */
export const drain = async (server: Dovecot, n: number, count: number): Promise<void> => {
  const connection = await openDovecot(server, n);
  for (let number = 1; number <= count; number += 1) {
    await (await connection.retr({ number, size: null }, forever)).dispose();
    await connection.dele(number, forever);
  }
  if (!(await connection.quit(forever))) throw new Error("the server did not confirm");
};

/** Asks for a pass of each endpoint of one account, or of each of several, and waits for their end. */
export const sweep = async (daemon: Daemon, accounts: string | readonly string[], endpoints = 1): Promise<void> => {
  const asked = [accounts].flat();
  const passes = async (): Promise<number> => {
    const { body } = await daemon.call<{ text: string }>("GET", "/metrics");
    const counts = body.text.matchAll(/^samebox_sync_runs_total\{trigger="api",result="\w+"\} (\d+)$/gm);
    return [...counts].reduce((sum, [, count]) => sum + Number(count), 0);
  };
  const wanted = (await passes()) + endpoints * asked.length;
  let askAgainAt = 0;
  await eventually(
    "a pass",
    async () => {
      if ((await passes()) >= wanted) return true;
      // Of several rings during a pass the queue keeps the last: asked again until it was heard.
      if (performance.now() < askAgainAt) return false;
      for (const accountId of asked) await daemon.call("POST", `/v1/accounts/${accountId}/sync`);
      askAgainAt = performance.now() + Math.min(250 * asked.length, 2_000);
      return false;
    },
    { everyMs: 40, timeoutMs: 60_000 },
  );
};

/**
 * The rows that the last of up to three windows of three passes wrote; it ends with the first window that wrote none. A pass that had
 * begun before the first ring may still be writing down what it saw; what writes at every pass stays red. Of several accounts all
 * that the database has are watched.
 * @throws AssertionError with the lines that differ, when what is held changed.
 */
export const staysQuiet = async (
  daemon: Daemon,
  accounts: string | readonly string[],
  url: string,
  endpoints = 1,
): Promise<bigint> => {
  await sweep(daemon, accounts, endpoints);
  const one = typeof accounts === "string" ? accounts : null;
  const dump = await dumpCanonical(url, one);
  let rows = 0n;
  for (let window = 0; window < 3; window += 1) {
    const mark = await markWrites(url, one);
    for (let times = 0; times < 3; times += 1) await sweep(daemon, accounts, endpoints);
    expect(await dumpCanonical(url, one)).toEqual(dump);
    rows = await rowsWrittenSince(url, mark);
    if (rows === 0n) break;
  }
  return rows;
};
