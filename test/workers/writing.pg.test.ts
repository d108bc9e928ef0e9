/** What is sent of what is owed: where a session has not seen that items are what they were (ID-11), and what changes on the way. */
import { expect, it } from "vitest";
import type { ExpungeRequest, MailboxWriter, MoveRequest, StoreRequest } from "../../src/endpoints/endpoint.ts";
import type { MailboxId } from "../../src/model/ids.ts";
import { type Database } from "../../src/store/database.ts";
import { commitItems, prepareBatch } from "../../src/workers/commit.ts";
import type { LaneContext, MailboxLane } from "../../src/workers/lane-state.ts";
import { runCommands } from "../../src/workers/writing.ts";
import { defaultTenant, itemOf, makeAccount } from "../support/shard-owner.ts";
import { useDatabase } from "../support/open-database.ts";

let db: Database;

useDatabase((opened) => {
  db = opened;
});

/** As if an app had destroyed what lies in a mailbox. */
const oweExpunge = ({ accountId }: LaneContext, { mailboxId }: MailboxLane): Promise<unknown> =>
  db.query({
    text: `with gone as (
             update placements p set lifecycle = 'removed', removed_at = now() from bindings b
             where p.account_id = $1 and p.mailbox_id = $2 and b.account_id = $1 and b.placement_id = p.id and b.active
             returning p.id, p.tenant_id, b.endpoint_id)
           insert into commands (account_id, id, tenant_id, endpoint_id, placement_id, verb, args, reason, op_id, status)
           select $1, gen_random_uuid(), tenant_id, endpoint_id, id, 'expunge', '{"named": true}', 'api_write', gen_random_uuid(), 'planned' from gone`,
    values: [accountId, mailboxId],
  });

/** Two mailboxes with a mail each. */
const begin = async () => {
  const { context, mailbox } = await makeAccount(db);
  await db.query({
    text: `insert into endpoints (account_id, id, tenant_id, protocol, host, port, security, auth_type, auth_user, credentials)
           values ($1, $2, $3, 'imap', 'mail.example.test', 993, 'tls', 'password', 'ana', 'sealed')`,
    values: [context.accountId, context.endpointId, defaultTenant],
  });
  const [first, other] = [await mailbox("First", 2), await mailbox("Other", 2)];
  for (const lane of [first, other]) {
    const batch = await prepareBatch(context, [itemOf(1, `Subject: ${lane.path}\r\n\r\n${lane.path}\r\n`)]);
    const move = lane.cursor === null ? null : { cursor: lane.cursor, backfillLow: 1 };
    await commitItems(context, lane, { batch, reason: "backfilled", move });
  }
  return { context, mailbox, first, other };
};

/** Sends what is owed to a server that does as it is told, `shown` by a session. @returns the mailboxes that something was taken from. */
const write = async (
  context: LaneContext,
  shown: Set<MailboxLane>,
  know: (items: ReadonlyMap<MailboxId, unknown>) => Promise<boolean>,
  meanwhile: () => Promise<unknown> = () => Promise.resolve(),
  flags: readonly string[] = [],
) => {
  const sent: string[] = [];
  const writer = {
    usable: true,
    expunge: async ({ path }: ExpungeRequest) => {
      sent.push(path);
      await meanwhile();
      return { kind: "expunged", facts: [], conflicts: [], onlyMarked: false };
    },
    position: () => Promise.resolve({ uidValidity: 1, uidNext: 2 }),
    move: async ({ path, uids, to }: MoveRequest) => {
      sent.push(`${path} to ${to.path}`);
      await meanwhile();
      const item = { uid: 2, flags, modseq: null, internalDate: new Date(1_700_000_001_000) };
      return { kind: "moved", items: uids.map((from) => ({ from, item })), copied: false, permanentFlags: null };
    },
    store: ({ path, change, items }: StoreRequest) => {
      sent.push(`${path} ${change}`);
      const facts = items.map(({ uid }) => ({ uid, flags: [], modseq: null }));
      return Promise.resolve({ kind: "stored", facts, conflicts: [], permanentFlags: null });
    },
    close: () => Promise.resolve(),
  } as unknown as MailboxWriter;
  const again = await runCommands({
    context,
    open: () => Promise.resolve(writer),
    know,
    isKnown: (mailbox) => shown.has(mailbox),
    retryFirstMs: 5_000,
    signal: new AbortController().signal,
    lookAround: () => undefined,
  });
  return { sent, again };
};

it("looks also at what is owed since the run began, before it is sent", async () => {
  const { context, first, other } = await begin();
  await oweExpunge(context, first);
  const shown = new Set<MailboxLane>();
  const know = (items: ReadonlyMap<MailboxId, unknown>) => {
    const had = shown.size;
    for (const lane of [first, other]) if (items.has(lane.mailboxId)) shown.add(lane);
    return Promise.resolve(shown.size > had);
  };
  const seenBefore: boolean[] = [];
  const { sent } = await write(context, shown, know, async () => {
    seenBefore.push(shown.has(other));
    if (seenBefore.length === 1) await oweExpunge(context, other);
  });
  expect(sent).toEqual(["First", "Other"]);
  expect(seenBefore).toEqual([false, true]);
});

it("sends nothing to what cannot be looked at, nor does that hold up the rest", async () => {
  const { context, first, other } = await begin();
  await oweExpunge(context, first);
  await oweExpunge(context, other);
  const { sent, again } = await write(context, new Set([other]), () => Promise.resolve(false));
  expect(sent).toEqual(["Other"]);
  expect(again).toBeGreaterThan(Date.now());
  expect((await write(context, new Set([first]), () => Promise.resolve(false))).sent).toEqual([]);
  await db.query({ text: `update commands set due_at = null where account_id = $1`, values: [context.accountId] });
  expect((await write(context, new Set([first]), () => Promise.resolve(false))).sent).toEqual(["First"]);
});

/** As if an app had moved what lies in a mailbox. */
const oweMove = async ({ accountId }: LaneContext, from: MailboxLane, to: MailboxLane): Promise<void> => {
  await wantIn(from, to);
  await db.query({
    text: `insert into commands (account_id, id, tenant_id, endpoint_id, placement_id, verb, args, reason, op_id, status)
           select b.account_id, gen_random_uuid(), b.tenant_id, b.endpoint_id, b.placement_id, 'move', '{}', 'api_write', gen_random_uuid(), 'planned'
           from bindings b where b.account_id = $1 and b.mailbox_id = $2 and b.active`,
    values: [accountId, from.mailboxId],
  });
};

const wantIn = ({ mailboxId }: MailboxLane, to: MailboxLane): Promise<unknown> =>
  db.query({ text: `update placements set mailbox_id = $2 where mailbox_id = $1`, values: [mailboxId, to.mailboxId] });

const commandOf = async ({ accountId }: LaneContext) => {
  const text = `select status, outcome, attempts, due_at as "dueAt" from commands where account_id = $1`;
  const { rows } = await db.query<{ status: string; outcome: string | null; attempts: number; dueAt: Date | null }>({
    text,
    values: [accountId],
  });
  return rows[0];
};

const nothingNew = (): Promise<boolean> => Promise.resolve(false);

it("C2: moves on at once what is wanted elsewhere by the time it has come", async () => {
  const { context, mailbox, first, other } = await begin();
  const third = await mailbox("Third", 2);
  await oweMove(context, first, other);
  const { sent, again } = await write(context, new Set([first, other, third]), nothingNew, () => wantIn(other, third));
  expect(sent).toEqual(["First to Other", "Other to Third"]);
  expect(again).toBe(Number.POSITIVE_INFINITY);
  expect(await commandOf(context)).toMatchObject({ status: "confirmed" });
});

it("waits with a device's mark on what was moved while the mailbox cannot be written to, and takes it away then", async () => {
  const { context, first, other } = await begin();
  await oweMove(context, first, other);
  const all = new Set([first, other]);
  const park = () => Promise.resolve((other.parkedUntil = Date.now() + 3_600_000));
  const { sent, again } = await write(context, all, nothingNew, park, ["\\Deleted"]);
  expect(sent).toEqual(["First to Other"]);
  expect(again).toBeGreaterThan(Date.now() + 30_000);
  expect(await commandOf(context)).toMatchObject({ status: "unknown", outcome: "marked" });
  other.parkedUntil = 0;
  await db.query({ text: `update commands set due_at = null where account_id = $1`, values: [context.accountId] });
  expect((await write(context, all, nothingNew)).sent).toEqual(["Other remove"]);
  expect(await commandOf(context)).toMatchObject({ status: "confirmed" });
});

it("I16: asks soon, and then from time to time, whether a stranger can be written to", async () => {
  const { context, first } = await begin();
  await oweExpunge(context, first);
  first.stranger = "doubted";
  const soon = await write(context, new Set(), nothingNew);
  expect(soon.again).toBeLessThan(Date.now() + 30_000);
  await db.query({ text: `update commands set due_at = now() where account_id = $1`, values: [context.accountId] });
  const later = await write(context, new Set(), nothingNew);
  expect(later.again).toBeGreaterThan(Date.now() + 30_000);
});
