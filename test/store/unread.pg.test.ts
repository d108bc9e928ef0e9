/** What is missing and may be what a server lists and does not give (G7). */
import { expect, it } from "vitest";
import type { InputTx } from "../../src/store/account-tx.ts";
import { type Database } from "../../src/store/database.ts";
import { loadUnread } from "../../src/store/stubs.ts";
import { MailRows } from "../support/mail-rows.ts";
import { useDatabase } from "../support/open-database.ts";

let db: Database;

useDatabase((opened) => {
  db = opened;
});

const date = new Date("2026-11-01T10:00:00Z");
const days = (count: number): Date => new Date(Date.now() + count * 86_400_000);

interface Circumstances {
  readonly elsewhere: boolean;
  /** The stub is of the next epoch. */
  readonly later?: boolean;
  readonly stubDate?: Date;
  readonly stubHeader?: string;
  /** Of both, in days from when it is said. */
  readonly absentSince?: number;
  readonly now?: number;
}

const other = new Date("2026-11-01T10:00:01Z");

it.each<[string, Circumstances, boolean]>([
  ["that came elsewhere, with its date", { elsewhere: true }, true],
  ["that came elsewhere, and is known to be it", { elsewhere: true, stubHeader: "<a@example.test>" }, true],
  ["that came elsewhere, and is other mail", { elsewhere: true, stubHeader: "<b@example.test>" }, false],
  ["that came elsewhere, with another date", { elsewhere: true, stubDate: other }, false],
  ["that came elsewhere, with no date", { elsewhere: true, stubDate: new Date(0) }, false],
  ["that came elsewhere, two days before", { elsewhere: true, absentSince: 2 }, false],
  ["that came elsewhere, two days later", { elsewhere: true, absentSince: -2 }, false],
  ["that came elsewhere, and was never given in six days", { elsewhere: true, now: 6 }, true],
  ["that came elsewhere, and was never given in eight days", { elsewhere: true, now: 8 }, false],
  ["of its own mailbox and epoch", { elsewhere: false }, false],
  ["of a later epoch of its mailbox, with its date", { elsewhere: false, later: true }, true],
  ["of a later epoch of its mailbox, with no date", { elsewhere: false, later: true, stubDate: new Date(0) }, true],
  ["of a later epoch of its mailbox, with another date", { elsewhere: false, later: true, stubDate: other }, false],
  ["of a later epoch of its mailbox, never given in eight days", { elsewhere: false, later: true, now: 8 }, false],
])(
  "missing mail may be a stub %s",
  async (_name, { elsewhere, later = false, stubDate = date, stubHeader, absentSince = 0, now = 0 }, may) => {
    const rows = await MailRows.account(db);
    const { accountId } = rows;
    const inbox = await rows.mailbox("INBOX", { role: "inbox" });
    const work = await rows.mailbox("Work");
    const { placements } = await rows.message({
      receivedAt: date,
      messageId: "<a@example.test>",
      placements: [{ mailboxId: inbox, uid: 7 }],
    });
    await db.query({
      text: `update bindings set active = false, closed_reason = 'vanished' where account_id = $1`,
      values: [accountId],
    });
    await db.query({
      text: `update placements set absent_since = $2 where account_id = $1`,
      values: [accountId, days(absentSince)],
    });
    const stub = await rows.message({
      octets: null,
      receivedAt: stubDate,
      ...(stubHeader !== undefined && { messageId: stubHeader }),
      placements: [{ mailboxId: elsewhere ? work : inbox, uid: 9 }],
    });
    if (stubHeader !== undefined)
      await db.query({
        text: `update messages set h_head = '\\x00' where account_id = $1 and id = $2`,
        values: [accountId, stub.id],
      });
    if (later) await db.query({ text: `update bindings set epoch = 2 where account_id = $1 and uid = 9`, values: [accountId] });
    await rows.change({ kind: "message.created", messageId: stub.id });
    const found = await db.transaction((tx) =>
      loadUnread({ tx, accountId, input: { at: days(now) } } as unknown as InputTx, rows.endpointId),
    );
    expect(found).toEqual(may ? placements : []);
  },
);
