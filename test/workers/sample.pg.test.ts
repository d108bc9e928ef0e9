/** Whether items are still what their numbers were bound to: when that is asked, and what comes of it (ID-11). */
import { expect, it } from "vitest";
import type { Session } from "../../src/endpoints/endpoint.ts";
import type { HeadItem, HeadsRequest, MailboxObservation } from "../../src/model/observation.ts";
import { type Database } from "../../src/store/database.ts";
import { commitItems, prepareBatch } from "../../src/workers/commit.ts";
import type { LaneContext, MailboxLane } from "../../src/workers/lane-state.ts";
import { isStillKnown } from "../../src/workers/sample.ts";
import { defaultTenant, itemOf, makeAccount } from "../support/shard-owner.ts";
import { useDatabase } from "../support/open-database.ts";

let db: Database;

useDatabase((opened) => {
  db = opened;
});

const many = 200;
const items = (uidNext: number) =>
  Array.from({ length: uidNext - 1 }, (_, at) => itemOf(at + 1, `Subject: ${at}\r\n\r\n${at}\r\n`));

const bind = async (context: LaneContext, mailbox: MailboxLane): Promise<void> => {
  const { cursor } = mailbox;
  await commitItems(context, mailbox, {
    batch: await prepareBatch(context, items(many + 1)),
    reason: "backfilled",
    move: cursor === null ? null : { cursor, backfillLow: 1 },
  });
};

const begin = async () => {
  const { context, mailbox } = await makeAccount(db);
  await db.query({
    text: `insert into endpoints (account_id, id, tenant_id, protocol, host, port, security, auth_type, auth_user, credentials)
           values ($1, $2, $3, 'imap', 'mail.example.test', 993, 'tls', 'password', 'ana', 'sealed')`,
    values: [context.accountId, context.endpointId, defaultTenant],
  });
  const work = await mailbox("Work", many + 1);
  await bind(context, work);
  return { context, work };
};

/** A server on whose dates nobody can rely: they are so many seconds later at each look. */
const serverOf = (later: () => number) => {
  const asked: HeadsRequest[] = [];
  const session = {
    profile: {},
    async *heads(request: HeadsRequest) {
      asked.push(request);
      yield request.ranges.map(({ from: uid }): HeadItem => {
        const date = new Date(itemOf(uid, "").internalDate.getTime() + later() * 1000);
        return { uid, flags: [], modseq: null, internalDate: date, size: 5, head: Buffer.alloc(0) };
      });
    },
  } as unknown as Session;
  return { session, asked };
};

const seen: MailboxObservation = {
  path: "Work",
  startedAt: new Date(1_800_000_000_000),
  endedAt: new Date(1_800_000_000_000),
  uidValidity: 1,
  uidNext: many + 1,
  highestModseq: 1n,
  exists: many,
  permanentFlags: [],
  numbersLast: true,
  method: "qresync",
  flags: [],
  vanished: [],
  present: null,
};

const look = (context: LaneContext, session: Session, mailbox: MailboxLane, full = false, uids: readonly number[] = []) =>
  isStillKnown(context, session, mailbox, { seen, full, uids }, new AbortController().signal);

it("is asked once in a session and at each whole look, of the newest and of some all over the mailbox", async () => {
  const { context, work } = await begin();
  const one = serverOf(() => 0);
  const other = serverOf(() => 0);
  for (const full of [false, false, true]) expect(await look(context, one.session, work, full)).toBe(true);
  expect(await look(context, other.session, work, false, [7, 9])).toBe(true);
  expect([one.asked.length, other.asked.length]).toEqual([2, 1]);
  const [uids = []] = other.asked.map(({ ranges }) => ranges.map(({ from }) => from));
  expect(uids).toEqual(expect.arrayContaining([7, 9, ...Array.from({ length: 16 }, (_, at) => many - at)]));
  expect(uids.length).toBeGreaterThan(16 + 12);
  expect(uids.length).toBeLessThanOrEqual(16 + 16 + 2);
});

it("is not asked where numbers end with the session", async () => {
  const { context, work } = await begin();
  const { session, asked } = serverOf(() => 1);
  const looked = { seen: { ...seen, numbersLast: false }, full: true, uids: [] };
  expect(await isStillKnown(context, session, work, looked, new AbortController().signal)).toBe(true);
  expect(asked).toEqual([]);
});

it("is asked again in the same session after a mailbox was put aside", async () => {
  const { context, work } = await begin();
  let later = 0;
  const turning = serverOf(() => later).session;
  expect(await look(context, turning, work)).toBe(true);
  later = 1;
  const now = Date.now();
  work.epochsAt = [now, now, now, now, now];
  expect(await look(context, turning, work, true)).toBe(false);
  expect([work.parkedUntil > now, work.epoch]).toEqual([true, 0]);
  Object.assign(work, { parkedUntil: 0, epochsAt: [] });
  expect(await look(context, turning, work)).toBe(false);
  expect(work.epoch).toBe(1);
});

it("ends with a mailbox that is put aside where a server's dates never stay", async () => {
  const { context, work } = await begin();
  for (let round = 1; work.parkedUntil <= Date.now(); round += 1) {
    expect(round).toBeLessThanOrEqual(6);
    expect(await look(context, serverOf(() => round).session, work)).toBe(false);
    if (work.parkedUntil <= Date.now()) await bind(context, work);
  }
  const { rows } = await db.query({
    text: `select park_reason from upstream_mailboxes where account_id = $1 and mailbox_id = $2`,
    values: [context.accountId, work.mailboxId],
  });
  expect(rows).toEqual([
    { park_reason: expect.stringMatching(/other dates, sizes or ids for known mail .* again and again.*a few times an hour/u) },
  ]);
  const { rows: changes } = await db.query<{ reason: string; rule: string; evidence: unknown[] }>({
    text: `select reason, rule, evidence from changes where account_id = $1 and kind = 'epoch.changed' order by seq`,
    values: [context.accountId],
  });
  expect(changes).toHaveLength(5);
  expect(changes[0]).toMatchObject({ reason: "content_mismatch", rule: "ID-11" });
  expect(changes[0]?.evidence).toHaveLength(8);
  const told = { uid: expect.any(Number), differs: "receivedAt", known: expect.any(Number), seen: expect.any(Number) };
  expect(changes[0]?.evidence).toContainEqual(told);
});
