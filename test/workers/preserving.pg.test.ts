/** Copies of mail that a POP3 device may take (V21), where it comes into INBOX by other ways than being read whole. */
import { uuidv7 } from "uuidv7";
import { expect, it } from "vitest";
import type { Session } from "../../src/endpoints/endpoint.ts";
import { defaultPolicy } from "../../src/model/account.ts";
import type { EndpointId } from "../../src/model/ids.ts";
import type { FetchedItem, HeadItem } from "../../src/model/observation.ts";
import { type Database } from "../../src/store/database.ts";
import { listItemStubs } from "../../src/store/stubs.ts";
import { commitItems, prepareBatch } from "../../src/workers/commit.ts";
import { joinKnown } from "../../src/workers/join.ts";
import type { LaneContext, MailboxLane } from "../../src/workers/lane-state.ts";
import { readStubs } from "../../src/workers/stub-reads.ts";
import { defaultTenant, itemOf, makeAccount } from "../support/shard-owner.ts";
import { useDatabase } from "../support/open-database.ts";

let db: Database;

useDatabase((opened) => {
  db = opened;
});

const signal = new AbortController().signal;
const headOf = (name: string): string => `Subject: ${name}\r\nMessage-ID: <${name}@example.test>\r\n\r\n`;
const mailOf = (uid: number, name: string, flags: readonly string[] = []): FetchedItem =>
  itemOf(uid, `${headOf(name)}body of ${name}\r\n`, flags);

const begin = async (): Promise<{ context: LaneContext; inbox: MailboxLane; work: MailboxLane }> => {
  const { context: made, mailbox } = await makeAccount(db);
  const context = { ...made, twoViews: true };
  await db.query({
    text: `insert into endpoints (account_id, id, tenant_id, protocol, host, port, security, auth_type, auth_user, credentials)
           values ($1, $2, $3, 'imap', 'mail.example.test', 993, 'tls', 'password', 'ana', 'sealed')`,
    values: [context.accountId, context.endpointId, defaultTenant],
  });
  await db.query({
    text: `update accounts set policy = $2 where id = $1`,
    values: [context.accountId, JSON.stringify({ ...defaultPolicy, pop3Devices: "declared", preserveAhead: true })],
  });
  const inbox = await mailbox("INBOX", 1);
  inbox.role = "inbox";
  return { context, inbox, work: await mailbox("Work", 1) };
};

/** Subjects of what is to be copied. */
const copied = async ({ accountId }: LaneContext): Promise<readonly string[]> => {
  const { rows } = await db.query<{ subject: string }>({
    text: `select m.subject from commands c join placements p on p.account_id = c.account_id and p.id = c.placement_id
           join messages m on m.account_id = p.account_id and m.id = p.message_id
           where c.account_id = $1 and c.verb = 'append' and c.reason = 'preserved_ahead' order by m.subject`,
    values: [accountId],
  });
  return rows.map(({ subject }) => subject);
};

const take = async (
  context: LaneContext,
  box: MailboxLane,
  items: readonly FetchedItem[],
  reason: "backfilled" | "delivered",
): Promise<void> => {
  await commitItems(context, box, { batch: await prepareBatch(context, items), reason, move: null });
};

it("V21: what a server lists and gives later is copied when it gives it, and not what had lain there", async () => {
  const { context, inbox, work } = await begin();
  const given = [mailOf(1, "old"), mailOf(2, "new"), mailOf(3, "draft", ["\\Draft"]), mailOf(4, "filed")];
  const stubs = given.map((item) => ({ ...item, octets: null }));
  await take(context, work, [mailOf(1, "filed")], "backfilled");
  await take(context, inbox, stubs.slice(0, 1), "backfilled");
  await take(context, inbox, stubs.slice(1), "delivered");
  expect(await copied(context)).toEqual([]);
  const listed = {
    uidValidity: 1,
    uidNext: work.cursor?.uidNext,
    highestModseq: 1n,
    exists: 1,
    present: [1],
    vanished: [],
    flags: [],
  };
  const session = {
    // What lies elsewhere as well is there still.
    observe: () => Promise.resolve({ method: "full", ...listed, startedAt: new Date(), endedAt: new Date() }),
    async *fetch() {
      yield await Promise.resolve({ items: given });
    },
  } as unknown as Session;
  const page = { headless: false, after: null, largest: 1_000 };
  const due = await listItemStubs(db, context.accountId, context.endpointId, page);
  await readStubs(context, session, { mailbox: inbox, stubs: due.stubs }, signal);
  expect(await copied(context)).toEqual(["new"]);
});

it.each(["delivered", "backfilled"] as const)(
  "V21: what POP3 showed first is copied as %s mail, unless it is elsewhere",
  async (reason) => {
    const { context, inbox, work } = await begin();
    const maildrop = { ...context, endpointId: uuidv7() as EndpointId };
    const shown = [mailOf(1, "one"), mailOf(2, "filed")];
    await take(context, work, [mailOf(1, "filed")], "backfilled");
    await take(maildrop, inbox, shown, "delivered");
    const session = {
      async *heads() {
        yield await Promise.resolve(
          shown.map(({ octets: _octets, unavailable: _unavailable, ...item }, at): HeadItem => {
            const name = ["one", "filed"][at] ?? "";
            const size = Buffer.byteLength(`${headOf(name)}body of ${name}\r\n`);
            return { ...item, size, head: Buffer.from(headOf(name)) };
          }),
        );
      },
    } as unknown as Session;
    inbox.exists = 2;
    const bound = await joinKnown(context, session, inbox, { ranges: [{ from: 1, to: 2 }], reason }, signal);
    expect(bound).toEqual([1, 2]);
    expect(await copied(context)).toEqual(reason === "delivered" ? ["one"] : []);
  },
);
