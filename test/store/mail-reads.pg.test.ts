import { createHash, randomBytes } from "node:crypto";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { AccountId } from "../../src/model/ids.ts";
import { partSize } from "../../src/model/octets.ts";
import { readOctets, storedOctets } from "../../src/store/blob-reads.ts";
import { readChanges, readMessageChanges } from "../../src/store/change-reads.ts";
import { type Database, openDatabase } from "../../src/store/database.ts";
import { findMailboxByRole, listMailboxes, mailboxExists } from "../../src/store/mailbox-reads.ts";
import { readMessage, readMessages } from "../../src/store/message-reads.ts";
import { createLogger } from "../../src/telemetry/log.ts";
import { MailRows } from "../support/mail-rows.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";

let fresh: FreshDatabase;
let db: Database;

beforeAll(async () => {
  fresh = await freshDatabase();
  db = openDatabase({ url: fresh.url, log: createLogger({ level: "silent" }) });
});

afterAll(async () => {
  await db.close();
  await fresh.drop();
});

const gather = async (parts: AsyncIterable<Buffer> | Iterable<Buffer>): Promise<Buffer> => {
  const all: Buffer[] = [];
  for await (const part of parts) all.push(part);
  return Buffer.concat(all);
};

describe("mailboxes", () => {
  test("have paths from the root, counters of live placements, and what upstream shows of them", async () => {
    const rows = await MailRows.account(db);
    const inbox = await rows.mailbox("INBOX", { role: "inbox" });
    const work = await rows.mailbox("Work", { upstream: false });
    const reports = await rows.mailbox("Reports", { parentId: work, readWhole: false });
    await rows.message({
      placements: [
        { mailboxId: inbox, keywords: ["$seen"] },
        { mailboxId: reports, kept: true },
      ],
    });
    await rows.message({ placements: [{ mailboxId: inbox }, { mailboxId: inbox, lifecycle: "removed" }] });
    expect(await listMailboxes(db, rows.accountId)).toEqual([
      {
        id: inbox,
        name: "INBOX",
        path: "INBOX",
        parentId: null,
        role: "inbox",
        totalMessages: 2,
        unreadMessages: 1,
        sync: "synced",
      },
      {
        id: work,
        name: "Work",
        path: "Work",
        parentId: null,
        role: null,
        totalMessages: 0,
        unreadMessages: 0,
        sync: "canonical_only",
      },
      {
        id: reports,
        name: "Reports",
        path: "Work/Reports",
        parentId: work,
        role: null,
        totalMessages: 1,
        unreadMessages: 1,
        sync: "pending",
      },
    ]);
    expect(await findMailboxByRole(db, rows.accountId, "inbox")).toBe(inbox);
    expect(await findMailboxByRole(db, rows.accountId, "trash")).toBeNull();
    const other = await MailRows.account(db);
    expect(await mailboxExists(db, other.accountId, inbox)).toBe(false);
    expect(await mailboxExists(db, rows.accountId, inbox)).toBe(true);
  });
});

describe("messages", () => {
  test("come in the order asked for, with all placements and their bindings", async () => {
    const rows = await MailRows.account(db);
    const [inbox, archive] = [await rows.mailbox("INBOX"), await rows.mailbox("Archive")];
    const first = await rows.message({
      placements: [
        { mailboxId: inbox, keywords: ["$seen", "work"], uid: 17 },
        { mailboxId: archive, lifecycle: "removed" },
      ],
    });
    const second = await rows.message({ octets: null, placements: [{ mailboxId: inbox }] });
    const purged = await rows.message({ placements: [{ mailboxId: inbox, lifecycle: "purged" }] });
    const found = await readMessages(db, rows.accountId, [second.id, purged.id, first.id]);
    expect(found.map((message) => message.id)).toEqual([second.id, first.id]);
    expect(found[0]).toMatchObject({ sha256: null, size: 0, contents: null });
    expect(found[1]?.sha256).toEqual(createHash("sha256").update(first.octets).digest());
    expect(found[1]?.placements).toMatchObject([
      {
        id: first.placements[0],
        state: "live",
        sync: "synced",
        recoverableUntil: null,
        bindings: [{ endpointId: rows.endpointId, protocol: "imap", uid: 17, uidValidity: 77 }],
      },
      { id: first.placements[1], state: "removed", sync: "synced", recoverableUntil: expect.any(Date), bindings: [] },
    ]);
  });

  test("are in step with upstream only where the binding shows the same keywords", async () => {
    const rows = await MailRows.account(db);
    const inbox = await rows.mailbox("INBOX");
    const message = await rows.message({
      placements: [
        { mailboxId: inbox, keywords: ["$flagged", "$seen"], uid: 1, shadowFlags: ["\\Seen", "\\Flagged", "\\Recent"] },
        { mailboxId: inbox, keywords: ["$flagged"], uid: 2, shadowFlags: ["\\Seen"] },
        { mailboxId: inbox, kept: true },
        { mailboxId: inbox, lifecycle: "removed", uid: 4 },
      ],
    });
    const read = await readMessage(db, rows.accountId, message.id);
    expect(read?.placements.map(({ state, sync }) => `${state} ${sync}`)).toEqual([
      "live synced",
      "live pending",
      "kept canonical_only",
      "removed pending",
    ]);
  });

  test("of a page cost two statements, whatever its size", async () => {
    const rows = await MailRows.account(db);
    const inbox = await rows.mailbox("INBOX");
    const ids = [];
    for (let n = 1; n <= 30; n += 1) ids.push((await rows.message({ placements: [{ mailboxId: inbox, uid: n }] })).id);
    let statements = 0;
    const counting = {
      query: <Row>(statement: Parameters<Database["query"]>[0]) => ((statements += 1), db.query<Row>(statement)),
    };
    expect(await readMessages(counting, rows.accountId, ids)).toHaveLength(30);
    expect(statements).toBe(2);
  });

  test("of another account do not exist", async () => {
    const [mine, other] = [await MailRows.account(db), await MailRows.account(db)];
    const message = await other.message({ placements: [{ mailboxId: await other.mailbox("INBOX") }] });
    expect(await readMessage(db, mine.accountId, message.id)).toBeNull();
  });
});

describe("octets", () => {
  test("come back byte for byte, whole and in any range, across stored parts", async () => {
    const rows = await MailRows.account(db);
    const octets = randomBytes(2 * partSize + 12_345);
    await rows.message({ octets });
    const blob = { sha256: createHash("sha256").update(octets).digest(), size: octets.length };
    const whole = await storedOctets(db, rows.accountId, blob);
    expect(
      createHash("sha256")
        .update(await gather(whole.parts()))
        .digest(),
    ).toEqual(blob.sha256);
    expect(whole.head.equals(octets.subarray(0, 256 * 1024))).toBe(true);
    const edge = fc.oneof(
      fc.integer({ min: 0, max: octets.length - 1 }),
      fc.constantFrom(0, partSize - 1, partSize, 2 * partSize, octets.length - 1),
    );
    await fc.assert(
      fc.asyncProperty(edge, edge, async (a, b) => {
        const range = { from: Math.min(a, b), to: Math.max(a, b) };
        expect(
          (await gather(readOctets(db, rows.accountId, blob, range))).equals(octets.subarray(range.from, range.to + 1)),
        ).toBe(true);
      }),
      { numRuns: 20 },
    );
  });

  test("of a small message are read in one statement, also when there are none", async () => {
    const rows = await MailRows.account(db);
    for (const octets of [Buffer.from("small"), Buffer.alloc(0)]) {
      const { octets: stored } = await rows.message({ octets });
      const read = await storedOctets(db, rows.accountId, {
        sha256: createHash("sha256").update(stored).digest(),
        size: stored.length,
      });
      expect((await gather(read.parts())).equals(octets)).toBe(true);
    }
  });

  test("that are not there are an error, not an empty message", async () => {
    const rows = await MailRows.account(db);
    await expect(storedOctets(db, rows.accountId, { sha256: randomBytes(32), size: 10 })).rejects.toThrow("all its octets");
  });
});

describe("changes", () => {
  test("come in order from any state on, and say whether there are more", async () => {
    const rows = await MailRows.account(db);
    const message = await rows.message();
    for (let n = 1; n <= 5; n += 1) await rows.change({ messageId: message.id, after: { n } });
    const page = await readChanges(db, rows.accountId, { epoch: 0, seq: 1n }, 3);
    expect(page).toMatchObject({ outcome: "changes", head: { epoch: 0, seq: 5n }, hasMore: true });
    expect(page.outcome === "changes" && page.changes.map((change) => [change.seq, change.after])).toEqual([
      [2n, { n: 2 }],
      [3n, { n: 3 }],
      [4n, { n: 4 }],
    ]);
    expect(await readChanges(db, rows.accountId, { epoch: 0, seq: 5n }, 3)).toEqual({
      outcome: "changes",
      head: { epoch: 0, seq: 5n },
      changes: [],
      hasMore: false,
    });
    expect(
      (await readMessageChanges(db, rows.accountId, message.id, { after: 3n, limit: 10 })).map((change) => change.seq),
    ).toEqual([4n, 5n]);
  });

  test("cannot be told from the future, from another epoch, or from before what is kept", async () => {
    const rows = await MailRows.account(db);
    for (let n = 1; n <= 4; n += 1) await rows.change();
    const outcome = async (epoch: number, seq: bigint) => (await readChanges(db, rows.accountId, { epoch, seq }, 10)).outcome;
    expect(await outcome(0, 5n)).toBe("cannot_calculate");
    expect(await outcome(1, 2n)).toBe("cannot_calculate");
    expect(await outcome(0, 0n)).toBe("changes");
    await db.query({ text: `delete from changes where account_id = $1 and seq <= 2`, values: [rows.accountId] });
    expect(await outcome(0, 1n)).toBe("cannot_calculate");
    expect(await outcome(0, 2n)).toBe("changes");
    await db.query({ text: `delete from changes where account_id = $1`, values: [rows.accountId] });
    expect(await outcome(0, 3n)).toBe("cannot_calculate");
    expect(await outcome(0, 4n)).toBe("changes");
  });

  test("end with their account", async () => {
    const rows = await MailRows.account(db);
    await db.query({ text: `update accounts set deleted_at = now() where id = $1`, values: [rows.accountId] });
    expect(await readChanges(db, rows.accountId, { epoch: 0, seq: 0n }, 10)).toEqual({ outcome: "account_gone" });
    expect(await readChanges(db, "0192f3a1-0000-7000-8000-00000000ffff" as AccountId, { epoch: 0, seq: 0n }, 10)).toEqual({
      outcome: "account_gone",
    });
  });
});
