/** Mailboxes that are numbered anew, and what comes between before they are read to their end. */
import { afterAll, afterEach, beforeAll, expect, it, vi } from "vitest";
import type { Role } from "../../src/model/mail.ts";
import { SyncError } from "../../src/model/failure.ts";
import type { HeadItem, SurveyedMailbox } from "../../src/model/observation.ts";
import { keepHold } from "../../src/store/holds.ts";
import { type Database, openDatabase } from "../../src/store/database.ts";
import { loadCandidates } from "../../src/store/absence-slices.ts";
import { inAccount, type InputTx } from "../../src/store/account-tx.ts";
import type { Session } from "../../src/endpoints/endpoint.ts";
import { settleCandidates } from "../../src/workers/absences.ts";
import { settleLeftOver } from "../../src/workers/epoch-holds.ts";
import { forgetReleased, maybeHeld } from "../../src/workers/held-mail.ts";
import { loadBound } from "../../src/store/slices.ts";
import { MaildropWitness } from "../../src/workers/maildrop-witness.ts";
import { readStubs } from "../../src/workers/stub-reads.ts";
import { listItemStubs } from "../../src/store/stubs.ts";
import { recognise } from "../../src/workers/recognise.ts";
import { defineInput, ingest } from "../../src/store/inputs.ts";
import { commitItems, commitObservation, prepareBatch } from "../../src/workers/commit.ts";
import { beginEpoch } from "../../src/workers/epoch.ts";
import { backfillDone, type LaneContext, type MailboxLane, scopeOf } from "../../src/workers/lane-state.ts";
import { applySurvey } from "../../src/workers/tree.ts";
import { type FreshDatabase, freshDatabase } from "../support/postgres.ts";
import { defaultTenant, itemOf, makeAccount, quietLog } from "../support/shard-owner.ts";

let fresh: FreshDatabase;
let db: Database;

beforeAll(async () => {
  fresh = await freshDatabase();
  db = openDatabase({ url: fresh.url, log: quietLog });
});

afterEach(() => void vi.useRealTimers());

afterAll(async () => {
  await db.close();
  await fresh.drop();
});

const textOf = (name: string): string => `Subject: ${name}\r\nMessage-ID: <${name}@example.test>\r\n\r\n${name}\r\n`;

/** INBOX and Work, in which there are three mails that were read to the end. */
const begin = async () => {
  const { context, mailbox } = await makeAccount(db);
  await db.query({
    text: `insert into endpoints (account_id, id, tenant_id, protocol, host, port, security, auth_type, auth_user, credentials)
           values ($1, $2, $3, 'imap', 'mail.example.test', 993, 'tls', 'password', 'ana', 'sealed')`,
    values: [context.accountId, context.endpointId, defaultTenant],
  });
  const [inbox, work] = [await mailbox("INBOX", 1), await mailbox("Work", 4)];
  const items = ["one", "two", "three"].map((name, at) => itemOf(at + 1, textOf(name)));
  const { cursor } = work;
  await commitItems(context, work, {
    batch: await prepareBatch(context, items),
    reason: "backfilled",
    move: cursor === null ? null : { cursor, backfillLow: 1, audited: true },
  });
  return { context, inbox, work };
};

const renumber = (context: LaneContext, mailbox: MailboxLane, uidValidity: number, exists: number): Promise<void> =>
  beginEpoch(context, mailbox, {
    path: mailbox.path,
    startedAt: new Date(),
    endedAt: new Date(),
    uidValidity,
    uidNext: exists + 1,
    highestModseq: 1n,
    exists,
    permanentFlags: [],
    numbersLast: true,
    method: "full",
    flags: [],
    vanished: [],
    present: null,
  });

const listedAt = (path: string, role: Role | null): SurveyedMailbox => ({
  path,
  delimiter: "/",
  selectable: true,
  subscribed: true,
  role,
  roleSource: role === null ? null : "special_use",
  objectId: null,
  status: { messages: 0, uidNext: 1, uidValidity: 1, highestModseq: 1n, unseen: 0 },
  statusError: null,
});

const held = defineInput(
  "observation",
  "test.held",
  (
    account: InputTx,
    {
      endpointId,
      mailboxId,
      reason,
    }: { readonly reason: string } & Pick<LaneContext, "endpointId"> & Pick<MailboxLane, "mailboxId">,
  ) => keepHold(account, endpointId, null, { mailboxId, reason, count: 3, history: { epoch: 1, from: 0, cuts: [] } }),
);

const boundTo = async (context: LaneContext, mailbox: MailboxLane) =>
  (await inAccount(db, context.fence, context.accountId, (account) => loadBound(account, scopeOf(context, mailbox), null))).bound;

const candidatesOf = async ({ fence, accountId, endpointId }: LaneContext): Promise<number> => {
  const later = new Date(Date.now() + 3_600_000);
  const groups = await inAccount(db, fence, accountId, (account) => loadCandidates(account, endpointId, later));
  return groups.flatMap(({ candidates }) => candidates).length;
};

it("B3, B4: nothing is asked of a mailbox that is gone, and what was in it is decided", async () => {
  const { context, work } = await begin();
  const { accountId, endpointId } = context;
  await renumber(context, work, 2, 3);
  for (const reason of ["epoch", "mass_flag_loss"])
    await ingest(context, held, { endpointId, mailboxId: work.mailboxId, reason });
  const listed = ["INBOX", "Archive", "Sent"].map((path) => listedAt(path, path === "INBOX" ? "inbox" : null));
  for (const minute of [1, 2, 3]) {
    const at = new Date(Date.now() + minute * 60_000);
    const survey = { complete: true, mailboxes: listed, startedAt: at, endedAt: at };
    await applySurvey(context, survey, { proven: [], answering: [] });
  }
  expect(context.mailboxes.has(work.mailboxId)).toBe(false);
  const { rows } = await db.query({
    text: `select reason, outcome from holds where account_id = $1 order by reason`,
    values: [accountId],
  });
  expect(rows).toEqual([
    { reason: "epoch", outcome: "released" },
    { reason: "mass_flag_loss", outcome: "released" },
  ]);
  expect(await candidatesOf(context)).toBe(3);
});

/** A server that shows nothing. */
const showingNothing = { profile: {}, async *heads() {} } as unknown as Session;

it("B4: a mailbox that is numbered anew once more, and is empty then, is compared with what was in it", async () => {
  const { context, work } = await begin();
  await renumber(context, work, 2, 3);
  await renumber(context, work, 3, 0);
  expect(backfillDone(work)).toBe(false);
  const turn = { ranges: () => [{ from: 1, to: 1 }], until: Date.now() + 60_000 };
  await recognise(context, showingNothing, work, turn, new AbortController().signal);
  expect(work.held).toBe(3);
});

const placementsOf = async ({ accountId }: LaneContext): Promise<readonly Record<string, unknown>[]> => {
  const { rows } = await db.query({
    text: `select p.id, p.message_id, p.lifecycle, p.keywords, m.subject, p.absent_since is not null as missing
           from placements p join messages m on m.account_id = p.account_id and m.id = p.message_id where p.account_id = $1 order by p.id`,
    values: [accountId],
  });
  return rows;
};

it("G7: mail that a new epoch lists and does not give is waited for, and is what it was when it is given", async () => {
  const { context, work } = await begin();
  const { accountId } = context;
  await db.query({
    text: `update placements p set keywords = '{$flagged}' from messages m where p.account_id = $1 and m.account_id = $1 and m.id = p.message_id and m.subject = 'two'`,
    values: [accountId],
  });
  const before = await placementsOf(context);
  await renumber(context, work, 2, 3);
  const { cursor } = work;
  const given = { ...itemOf(2, textOf("two")), size: 60 };
  const batch = await prepareBatch(context, [itemOf(1, textOf("one")), { ...given, octets: null }, itemOf(3, textOf("three"))]);
  const move = cursor === null ? null : { cursor, backfillLow: 1, audited: true };
  await commitItems(context, work, { batch, reason: "backfilled", move });
  await settleLeftOver(context, work);
  const at = new Date(Date.now() + 60_000);
  const survey = { complete: true, mailboxes: [], startedAt: at, endedAt: at };
  const left = await settleCandidates(context, survey, {}, { witness: new MaildropWitness(() => null), unread: [] });
  expect(left).toEqual({ held: false, awaited: true });
  const waiting = (await placementsOf(context)).filter(({ missing }) => missing);
  expect(waiting).toMatchObject([{ subject: "two", lifecycle: "live" }]);
  const session = {
    async *fetch() {
      yield { items: [given] };
    },
  } as unknown as Session;
  const { stubs } = await listItemStubs(db, accountId, context.endpointId, { headless: false, after: null, largest: 100 });
  await readStubs(context, session, { mailbox: work, stubs }, new AbortController().signal);
  expect(await placementsOf(context)).toEqual(before);
  expect(work.bound).toBe(3);
});

it("G7: an item that nobody can read hides nothing that had its number in the same epoch", async () => {
  const { context, work } = await begin();
  const unreadable = { ...itemOf(4, ""), octets: null, internalDate: new Date(0) };
  await commitItems(context, work, { batch: await prepareBatch(context, [unreadable]), reason: "delivered", move: null });
  const around = { elsewhere: false, arrived: false };
  const { cursor } = work;
  if (cursor === null) throw new Error("no cursor");
  await commitObservation(context, work, { flags: [], absent: [1], around, move: { cursor, backfillLow: 1 } });
  const at = new Date(Date.now() + 60_000);
  const survey = { complete: true, mailboxes: [], startedAt: at, endedAt: at };
  const left = await settleCandidates(context, survey, {}, { witness: new MaildropWitness(() => null), unread: [] });
  expect(left).toEqual({ held: false, awaited: false });
  expect((await placementsOf(context)).filter(({ subject }) => subject === "one")).toMatchObject([{ lifecycle: "removed" }]);
});

it("V0: what may lie in a mailbox that is held waits while that cannot be asked, and is told by its header block then", async () => {
  const { context, inbox, work } = await begin();
  await db.query({
    text: `update placements set absent_since = now() where account_id = $1`,
    values: [context.accountId],
  });
  Object.assign(inbox, { held: 1, exists: 1, cursor: { uidValidity: 2, uidNext: 2, highestModseq: 1n }, backfillLow: 2 });
  let asked = 0;
  const session = (answer: () => HeadItem[]): Session =>
    ({
      usable: true,
      async *heads() {
        asked += 1;
        yield answer();
      },
    }) as unknown as Session;
  const { signal } = new AbortController();
  const refusing = session(() => {
    throw new SyncError("bug", "mailbox", { code: "mailbox_unavailable", message: "It cannot be read.", action: "Nothing." });
  });
  expect(await maybeHeld(context, refusing, signal)).toBe("all");
  expect(await maybeHeld(context, refusing, signal)).toBe("all");
  expect(asked).toBe(1);
  inbox.parkedUntil = 0;
  const text = Buffer.from(textOf("two"));
  const size = text.length;
  const head = text.subarray(0, text.indexOf("\r\n\r\n") + 4);
  const shown = { uid: 1, flags: [], modseq: null, internalDate: new Date(1), objectId: null, size, head };
  const two = (await boundTo(context, work)).get(2)?.id;
  let headsRead = 0;
  const query = ((statement: Parameters<Database["query"]>[0]) => {
    if (statement.name?.startsWith("blob_heads_") === true) headsRead += 1;
    return db.query(statement);
  }) as Database["query"];
  // Each pass has a context of its own; the mailboxes are the same.
  for (let look = 0; look < 2; look += 1)
    expect(
      await maybeHeld(
        { ...context, db: { ...db, query } },
        session(() => [shown]),
        signal,
      ),
    ).toEqual([two]);
  expect(asked).toBe(2);
  expect(headsRead).toBe(1);
  inbox.held = 0;
  forgetReleased(context);
  inbox.held = 1;
  await maybeHeld(
    context,
    session(() => [shown]),
    signal,
  );
  expect(asked).toBe(3);
  inbox.epoch += 1;
  expect(
    await maybeHeld(
      context,
      session(() => [{ ...shown, size: size + 1 }]),
      signal,
    ),
  ).toEqual([]);
});

it("G4: an empty mailbox in which all was to be removed is empty when it is seen so again a minute later", async () => {
  const { context, work } = await begin();
  const { accountId, endpointId } = context;
  await db.query({
    text: `with gone as (update placements set lifecycle = 'removed', removed_at = now() where account_id = $1 returning id)
           insert into commands (account_id, id, tenant_id, endpoint_id, placement_id, op_id, verb, args, reason, status)
           select $1, gen_random_uuid(), $2, $3, id, 'op', 'expunge', '{}', 'api_write', 'planned' from gone`,
    values: [accountId, defaultTenant, endpointId],
  });
  await renumber(context, work, 2, 0);
  const turn = { ranges: () => [{ from: 1, to: 1 }], until: Number.POSITIVE_INFINITY };
  const look = async (): Promise<readonly unknown[]> => {
    const ended = await recognise(context, showingNothing, work, turn, new AbortController().signal);
    if (ended) await settleLeftOver(context, work);
    const { rows } = await db.query<{ reason: string }>({
      text: `select distinct closed_reason as reason from bindings where account_id = $1`,
      values: [accountId],
    });
    return rows.map(({ reason }) => reason);
  };
  const now = Date.now();
  vi.useFakeTimers({ toFake: ["Date"], now });
  expect([await look(), work.parkedUntil]).toEqual([["epoch"], now + 60_000]);
  vi.setSystemTime(now + 59_999);
  expect(await look()).toEqual(["epoch"]);
  vi.setSystemTime(now + 60_000);
  expect(await look()).toEqual(["absent"]);
});

it("B1 B4: many that may all lie in a mailbox that tells nothing are told of, and gone only when it was read", async () => {
  const { context, work } = await begin();
  const { accountId } = context;
  const { cursor } = work;
  if (cursor === null) throw new Error("no cursor");
  const items = Array.from({ length: 12 }, (_, at) => itemOf(at + 4, textOf(`more ${at}`)));
  await commitItems(context, work, { batch: await prepareBatch(context, items), reason: "delivered", move: null });
  const uids = [...(await boundTo(context, work)).keys()];
  const around = { elsewhere: false, arrived: false };
  await commitObservation(context, work, { flags: [], absent: uids, around, move: { cursor, backfillLow: 1 } });
  const settle = (unread: "all" | []) => {
    const at = new Date(Date.now() + 60_000);
    const survey = { complete: true, mailboxes: [], startedAt: at, endedAt: at };
    return settleCandidates(context, survey, {}, { witness: new MaildropWitness(() => null), unread });
  };
  const told = async (): Promise<readonly unknown[]> => {
    const text = `select reason, count, evidence, closed_at is null as open from holds where account_id = $1`;
    return (await db.query({ text, values: [accountId] })).rows;
  };
  const live = async (): Promise<number> => (await placementsOf(context)).filter(({ lifecycle }) => lifecycle === "live").length;
  expect(await settle("all")).toEqual({ held: true, awaited: false });
  const first = await told();
  expect(first).toMatchObject([{ reason: "mass_vanish", count: 15, open: true }]);
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 3_600_000 });
  await settle("all");
  expect(await told()).toEqual(first);
  const text = `update holds set decision = 'approved', decided_by = 'dev' where account_id = $1`;
  await db.query({ text, values: [accountId] });
  expect(await settle("all")).toEqual({ held: false, awaited: true });
  expect(await live()).toBe(15);
  expect(await settle([])).toEqual({ held: false, awaited: false });
  expect([await live(), await told()]).toMatchObject([0, [{ open: false }]]);
});
