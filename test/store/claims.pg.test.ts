/** What a look asks of the store grows with what is new in it, and not with the account. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { MessageId } from "../../src/model/ids.ts";
import {
  type ClaimKeys,
  countUnshown,
  hasSetAside,
  listUnhashed,
  loadBoundFacts,
  loadClaims,
  loadUnshown,
} from "../../src/store/claims.ts";
import { type Database, openDatabase } from "../../src/store/database.ts";
import { createLogger } from "../../src/telemetry/log.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";
import { forbidStatistics, headOf, type ManyMails, manyMails, rowsRead, type Work } from "../support/rows-read.ts";

const sizes = { small: 50, large: 5_000 };
/** Rows that differ by chance of where a page ends. */
const slack = 5;

let fresh: FreshDatabase;
let db: Database;

beforeAll(async () => {
  fresh = await freshDatabase();
  db = openDatabase({ url: fresh.url, log: createLogger({ level: "silent" }) });
  await forbidStatistics(db);
});

afterAll(async () => {
  await db.close();
  await fresh.drop();
});

/** By name: is the mail bound over POP3, too, and what is asked. */
const looks: Readonly<Record<string, { readonly bound: boolean; readonly work: Work }>> = {
  "what a new item may be, by its header block": {
    bound: false,
    work: (queryable, { rows, pop3: endpointId, inbox }) =>
      loadClaims(queryable, rows.accountId, { endpointId, inbox, keys: { uids: [], heads: [headOf(7)] } }),
  },
  "what a new item may be, by its UID": {
    bound: false,
    work: (queryable, { rows, pop3: endpointId, inbox }) =>
      loadClaims(queryable, rows.accountId, { endpointId, inbox, keys: { uids: [7], heads: [] } }),
  },
  "what a new item may be, where most is bound": {
    bound: true,
    work: (queryable, { rows, pop3: endpointId, inbox }) =>
      loadClaims(queryable, rows.accountId, { endpointId, inbox, keys: { uids: [7], heads: [headOf(7), headOf(8)] } }),
  },
  "what a new item of IMAP may be": {
    bound: false,
    work: (queryable, { rows: { accountId }, pop3: endpointId, inbox: mailboxId }) =>
      loadUnshown(queryable, { accountId, endpointId, mailboxId }, { heads: [headOf(7)] }),
  },
  "whether anything is set aside": {
    bound: false,
    work: (queryable, { rows, inbox }) => hasSetAside(queryable, rows.accountId, inbox),
  },
  "whether anything new is to be hashed": {
    bound: false,
    work: (queryable, { rows, inbox }) => listUnhashed(queryable, rows.accountId, inbox, { after: null, since: 1n }),
  },
  "what is bound": {
    bound: true,
    work: (queryable, { rows, pop3: endpointId, inbox }) =>
      loadBoundFacts(queryable, rows.accountId, { endpointId, inbox, ids: [randomUUID() as never] }),
  },
};

describe("what a look asks for", () => {
  test("is there by header block, by UID and by message, unless it is bound", async () => {
    const { rows, pop3: endpointId, inbox } = await manyMails(db, 9, true);
    const find = async (keys: ClaimKeys): Promise<unknown[]> =>
      (await loadClaims(db, rows.accountId, { endpointId, inbox, keys })).claimable.map(({ uid, standing }) => [uid, standing]);
    const last = [[9, "imap"]];
    const heads = [headOf(7), headOf(8), headOf(9)];
    expect(await find({ uids: [], heads })).toEqual(last);
    expect(await find({ uids: [7, 8, 9], heads })).toEqual(last);
    const { rows: messages } = await db.query<{ id: MessageId }>({
      text: "select id from messages where account_id = $1",
      values: [rows.accountId],
    });
    expect(await find({ messages: messages.map(({ id }) => id) })).toEqual(last);
    const unshown = { accountId: rows.accountId, endpointId, mailboxId: inbox };
    expect((await loadUnshown(db, unshown, { heads })).claimable.map(({ hHead }) => hHead)).toEqual([headOf(9)]);
    expect(await countUnshown(db, unshown)).toBe(1);
  });
});

describe("the rows that a look reads", () => {
  const accounts = new Map<string, ManyMails>();
  beforeAll(async () => {
    for (const [size, count] of Object.entries(sizes))
      for (const bound of [true, false]) accounts.set(`${size} ${bound}`, await manyMails(db, count, bound));
  });

  describe.each(["without statistics", "with statistics"])("%s", (statistics) => {
    beforeAll(async () => {
      if (statistics === "with statistics") await db.query({ text: "analyze" });
    });

    test.each(
      Object.entries(looks).flatMap(([name, look]) =>
        ["force_custom_plan", "force_generic_plan"].map((mode) => [name, mode, look] as const),
      ),
    )("for %s are as few in a large account (%s)", async (_name, mode, { bound, work }) => {
      const [small, large] = [accounts.get(`small ${bound}`) as ManyMails, accounts.get(`large ${bound}`) as ManyMails];
      const read = (account: ManyMails): Promise<number> => rowsRead(fresh.url, work, { account, planMode: mode });
      expect(await read(large)).toBeLessThanOrEqual((await read(small)) + slack);
    });
  });
});
