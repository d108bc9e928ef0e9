/** Read, or only retrieved: what a POP3 device's RETR does to `\Seen` and what becomes of it (semantics Z1 to Z7). */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { forever, openDovecot } from "../endpoints/pop3/connection-fixture.ts";
import { changesOf, messagesOf, type SeenChange } from "../support/account-view.ts";
import { type Daemon, dovecotAccount, liveAccount, startDaemon, waitLive } from "../support/daemon.ts";
import { type Dovecot, startDovecot } from "../support/dovecot.ts";
import { eventually } from "../support/eventually.ts";
import { sweep } from "../support/pop3-account.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";

let server: Dovecot;
let fresh: FreshDatabase;
let daemon: Daemon;
const env = (): Record<string, string> => ({
  DATABASE_URL: fresh.url,
  SAMEBOX_POLL_SECONDS: "1",
  SAMEBOX_LEASE_SECONDS: "2",
});

beforeAll(async () => {
  server = await startDovecot({ users: 8 });
  fresh = await freshDatabase();
  daemon = await startDaemon({ env: env() });
});

afterAll(async () => {
  await daemon.stop();
  await fresh.drop();
  await server.stop();
});

const mail = (subject: string): Buffer =>
  Buffer.from(`Subject: ${subject}\r\nMessage-ID: <${subject}@seen.test>\r\n\r\nbody of ${subject}\r\n`);

const deliver = (to: Dovecot, n: number, subjects: readonly string[], mailbox = "INBOX"): Promise<number> =>
  to.deliver({ user: to.account(n).user, mailbox, messages: subjects.map(mail) });

/** An account read over IMAP beside which a POP3 device is at work. */
const watched = async (from: Dovecot, n: number, policy: Record<string, unknown>): Promise<string> =>
  liveAccount(daemon, { ...dovecotAccount(from, n), policy });

/** A POP3 device reads some messages and takes some, all in one session. */
const device = async (at: Dovecot, n: number, { retr, dele = [] }: { retr: number[]; dele?: number[] }): Promise<void> => {
  const connection = await openDovecot(at, n);
  for (const number of retr) {
    const octets = await connection.retr({ number, size: null }, forever);
    expect(octets.size).toBeGreaterThan(0);
    await octets.dispose();
  }
  for (const number of dele) await connection.dele(number, forever);
  expect(await connection.quit(forever)).toBe(true);
};

const imap = async <T>(
  at: Dovecot,
  n: number,
  work: (device: Awaited<ReturnType<Dovecot["device"]>>) => Promise<T>,
): Promise<T> => {
  await using one = await at.device(n);
  await one.select("INBOX");
  return await work(one);
};

/** UIDs that have `\Seen` upstream. */
const seenUpstream = (at: Dovecot, n: number): Promise<number[]> =>
  imap(at, n, async (one) => [...(await one.flags())].filter(([, flags]) => flags.includes("\\Seen")).map(([uid]) => uid));

const untilSeenUpstream = (n: number, uids: readonly number[], at = server): Promise<unknown> =>
  eventually(
    "flags upstream",
    async () => {
      expect(await seenUpstream(at, n)).toEqual(uids);
      return true;
    },
    { timeoutMs: 30_000, everyMs: 100 },
  );

const readIn = async (accountId: string): Promise<string[]> =>
  [...(await messagesOf(daemon, accountId))]
    .filter(([, { keywords }]) => keywords.includes("$seen"))
    .map(([subject]) => subject)
    .toSorted();

const keywordChanges = (accountId: string, count: number): Promise<readonly SeenChange[]> =>
  eventually(
    `${count} changes of keywords`,
    async () => {
      const found = (await changesOf(daemon, accountId)).filter(({ kind }) => kind === "message.keywords");
      expect(found.length).toBe(count);
      return found;
    },
    { timeoutMs: 30_000 },
  );

const told = (changes: readonly SeenChange[]): string[] => changes.map(({ reason, rule }) => `${reason} ${rule}`);

interface Hinted {
  readonly hints: readonly { readonly hint: string; readonly count: number }[];
}

describe("a POP3 device that retrieves and keeps mail on the server", () => {
  it("S29 S35: leaves it unread where it is declared, once; who reads it then has read it", { timeout: 270_000 }, async () => {
    await deliver(server, 1, ["a", "b", "c", "d"]);
    const accountId = await watched(server, 1, { pop3Devices: "declared" });
    await device(server, 1, { retr: [1, 2, 3] });
    const weak = await keywordChanges(accountId, 3);
    expect(told(weak)).toEqual(Array(3).fill("weak_seen Z2"));
    expect(weak[0]?.evidence).toEqual([
      expect.objectContaining({ strength: "weak", because: "retrieval_order", items: 3, highWater: 0, besideDrain: false }),
    ]);
    expect(await readIn(accountId)).toEqual([]);
    await untilSeenUpstream(1, []);
    await sweep(daemon, accountId);
    await imap(server, 1, (one) => one.store("1:3", "+", ["\\Seen"]));
    expect(told((await keywordChanges(accountId, 6)).slice(3))).toEqual(Array(3).fill("upstream_flags I14"));
    expect(await readIn(accountId)).toEqual(["a", "b", "c"]);
    // Nothing comes of it any more.
    await sweep(daemon, accountId);
    expect(await seenUpstream(server, 1)).toEqual([1, 2, 3]);
    await keywordChanges(accountId, 6);
  });

  it("S30: counts as read where nobody knows of it, and the owner is told", { timeout: 180_000 }, async () => {
    await deliver(server, 2, ["a", "b", "c"]);
    const accountId = await watched(server, 2, {});
    await device(server, 2, { retr: [1, 2, 3] });
    const found = await keywordChanges(accountId, 3);
    expect(told(found)).toEqual(Array(3).fill("upstream_flags Z5"));
    for (const { evidence } of found) expect(evidence[0]).toMatchObject({ hint: "suspected_pop3_seen", suspected: true });
    expect(await readIn(accountId)).toEqual(["a", "b", "c"]);
    const { body } = await daemon.call<Hinted>("GET", `/v1/accounts/${accountId}/status`);
    expect(body.hints).toMatchObject([{ hint: "suspected_pop3_seen", count: 3 }]);
    await sweep(daemon, accountId);
    expect(await seenUpstream(server, 2)).toEqual([1, 2, 3]);
  });

  it("S31: does nothing where the server marks nothing", { timeout: 180_000 }, async () => {
    await using quiet = await startDovecot({ users: 3, pop3: { noFlagUpdates: true } });
    await deliver(quiet, 3, ["a", "b", "c"]);
    const accountId = await watched(quiet, 3, { pop3Devices: "declared" });
    await device(quiet, 3, { retr: [1, 2, 3] });
    expect(await seenUpstream(quiet, 3)).toEqual([]);
    await sweep(daemon, accountId);
    await keywordChanges(accountId, 0);
  });

  it("S34 Z3: a person's reading is none of it, also after a restart", { timeout: 270_000 }, async () => {
    await deliver(server, 4, ["a", "b", "c", "d", "e"]);
    const accountId = await watched(server, 4, { pop3Devices: "declared" });
    await device(server, 4, { retr: [1, 2] });
    await keywordChanges(accountId, 2);
    await untilSeenUpstream(4, []);
    await sweep(daemon, accountId);
    await daemon.stop();
    daemon = await startDaemon({ env: env() });
    await waitLive(daemon, accountId);
    await imap(server, 4, (one) => one.store("2:4", "+", ["\\Seen"]));
    const all = await keywordChanges(accountId, 5);
    expect(told(all.slice(2)).toSorted()).toEqual(["upstream_flags I14", "upstream_flags Z3", "upstream_flags Z3"]);
    expect(all.at(-1)?.evidence).toEqual([expect.objectContaining({ because: "older_than_high_water", highWater: 2 })]);
    expect(await readIn(accountId)).toEqual(["b", "c", "d"]);
  });

  it("Z4: one mail alone is read; beside mail that the device took it is not", { timeout: 270_000 }, async () => {
    await deliver(server, 5, ["a", "b", "c", "d"]);
    const accountId = await watched(server, 5, { pop3Devices: "declared" });
    await device(server, 5, { retr: [1] });
    expect(told(await keywordChanges(accountId, 1))).toEqual(["upstream_flags Z4"]);
    await device(server, 5, { retr: [2, 3], dele: [2] });
    expect(told((await keywordChanges(accountId, 2)).slice(1))).toEqual(["weak_seen Z4"]);
    await untilSeenUpstream(5, [1]);
    expect(await readIn(accountId)).toEqual(["a"]);
  });

  it("S33: a download that two looks split is one, where the server counts no steps", { timeout: 270_000 }, async () => {
    await using courier = await startDovecot({ users: 9, withoutCapabilities: ["CONDSTORE", "QRESYNC"] });
    await deliver(courier, 9, ["a", "b", "c", "d"]);
    const accountId = await watched(courier, 9, { pop3Devices: "declared" });
    await device(courier, 9, { retr: [1] });
    await keywordChanges(accountId, 1);
    expect(await readIn(accountId)).toEqual(["a"]);
    await device(courier, 9, { retr: [2, 3] });
    expect(told(await keywordChanges(accountId, 4)).toSorted()).toEqual(["upstream_flags Z4", ...Array(3).fill("weak_seen Z2")]);
    expect(await readIn(accountId)).toEqual([]);
    await untilSeenUpstream(9, [], courier);
    // What the daemon said is read back: a mark between the two is taken for an answer that did nothing.
    await sweep(daemon, accountId);
    // Who reads it now has read it (I14).
    await imap(courier, 9, (one) => one.command("UID STORE 1 +FLAGS (\\Seen)"));
    await keywordChanges(accountId, 5);
    expect(await readIn(accountId)).toEqual(["a"]);
  });

  it("accept: its reading counts, and nothing is suspected", { timeout: 180_000 }, async () => {
    await deliver(server, 6, ["a", "b"]);
    const accountId = await watched(server, 6, { pop3Devices: "declared", pop3Seen: "accept" });
    await device(server, 6, { retr: [1, 2] });
    expect(told(await keywordChanges(accountId, 2))).toEqual(Array(2).fill("upstream_flags Z5"));
    expect(await readIn(accountId)).toEqual(["a", "b"]);
    const { body } = await daemon.call<Hinted>("GET", `/v1/accounts/${accountId}/status`);
    expect(body.hints).toEqual([]);
  });
});
