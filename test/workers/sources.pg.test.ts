/** Mail that is seen where it arrived before it is missed where it was. */
import { expect, it } from "vitest";
import type { Session } from "../../src/endpoints/endpoint.ts";
import type { HeadsRequest, MailboxObservation } from "../../src/model/observation.ts";
import { inAccount } from "../../src/store/account-tx.ts";
import { type Database } from "../../src/store/database.ts";
import { loadBound } from "../../src/store/slices.ts";
import { commitItems, prepareBatch } from "../../src/workers/commit.ts";
import { type LaneContext, type MailboxLane, scopeOf } from "../../src/workers/lane-state.ts";
import { missSources } from "../../src/workers/sources.ts";
import { itemOf, makeAccount } from "../support/shard-owner.ts";
import { useDatabase } from "../support/open-database.ts";

let db: Database;

useDatabase((opened) => {
  db = opened;
});

const uids = [1, 2, 3, 4];

/** INBOX with four mails that were read to the end, and another mailbox, in which they may arrive. */
const begin = async () => {
  const { context, mailbox } = await makeAccount(db);
  const [inbox, work] = [await mailbox("INBOX", 5), await mailbox("Work", 1)];
  const batch = await prepareBatch(
    context,
    uids.map((uid) => itemOf(uid, `Subject: ${uid}\r\n\r\n${uid}\r\n`)),
  );
  const { cursor } = inbox;
  await commitItems(context, inbox, {
    batch,
    reason: "backfilled",
    move: cursor === null ? null : { cursor, backfillLow: 1, audited: true },
  });
  inbox.backfillLow = 1;
  return { context, inbox, work };
};

/** A server that shows INBOX without any of them and, where something came meanwhile, with one more. It may have lost mod-sequences. */
const showing = (looked: string[], cameMeanwhile: boolean, highestModseq = 2n): Session => {
  const seen: Partial<MailboxObservation> = {
    method: "full",
    uidValidity: 1,
    uidNext: cameMeanwhile ? 6 : 5,
    highestModseq,
    exists: 1,
    present: cameMeanwhile ? [5] : [4],
    vanished: [],
    flags: [],
    startedAt: new Date(),
    endedAt: new Date(),
  };
  const observe = ({ path }: { readonly path: string }): Promise<Partial<MailboxObservation>> => {
    looked.push(path);
    return Promise.resolve(seen);
  };
  return { observe } as unknown as Session;
};

const boundTo = async (context: LaneContext, mailbox: MailboxLane) =>
  (await inAccount(db, context.fence, context.accountId, (account) => loadBound(account, scopeOf(context, mailbox), uids))).bound;

/** A server that gives the numbers of INBOX to other mail, which all is flagged. */
const swapped = (): Session => {
  const later = new Date(1_800_000_000_000);
  const seen: Partial<MailboxObservation> = {
    method: "full",
    uidValidity: 1,
    uidNext: 5,
    highestModseq: 2n,
    exists: 3,
    numbersLast: true,
    permanentFlags: [],
    present: uids.slice(1),
    vanished: [],
    flags: uids.slice(1).map((uid) => ({ uid, flags: ["\\Flagged"], modseq: null })),
    startedAt: later,
    endedAt: later,
  };
  return {
    profile: {},
    observe: () => Promise.resolve(seen),
    heads: async function* heads({ ranges }: HeadsRequest) {
      yield ranges.map(({ from: uid }) => ({
        uid,
        flags: [],
        modseq: null,
        internalDate: later,
        size: 5,
        head: Buffer.alloc(0),
      }));
    },
  } as unknown as Session;
};

it("a source that gives its numbers to other mail begins an epoch, and nothing of the look is believed (ID-11)", async () => {
  const { context, inbox, work } = await begin();
  const held = await boundTo(context, inbox);
  const look = { session: swapped(), signal: new AbortController().signal };
  await missSources(context, look, work, [...held.values()].slice(0, 1));
  expect([inbox.epoch, (await boundTo(context, inbox)).size]).toEqual([1, 0]);
  const { rows } = await db.query({
    text: `select keywords from placements where account_id = $1`,
    values: [context.accountId],
  });
  expect(rows).toEqual(uids.map(() => ({ keywords: [] })));
});

it.each([
  ["is asked again for what comes next, where news of its own waits there", true, 2],
  ["that showed all it has is not asked again", false, 1],
] as const)("a source %s", async (_name, cameMeanwhile, looks) => {
  const { context, inbox, work } = await begin();
  const held = await boundTo(context, inbox);
  const of = (...which: number[]) => which.flatMap((uid) => held.get(uid) ?? []);
  const looked: string[] = [];
  const look = { session: showing(looked, cameMeanwhile), signal: new AbortController().signal, settled: new Set<never>() };
  expect(await missSources(context, look, work, of(1, 2))).toBe(true);
  expect(await missSources(context, look, work, of(3))).toBe(cameMeanwhile);
  expect(looked).toEqual(Array.from({ length: looks }, () => "INBOX"));
  expect([...(await boundTo(context, inbox)).keys()]).toEqual([4]);
});

it("a source that lost its mod-sequences lacks what is asked for, and the rest of it waits for its own look (G5)", async () => {
  const { context, inbox, work } = await begin();
  const held = await boundTo(context, inbox);
  const of = (...which: number[]) => which.flatMap((uid) => held.get(uid) ?? []);
  const looked: string[] = [];
  const look = { session: showing(looked, false, 0n), signal: new AbortController().signal, settled: new Set<never>() };
  expect(await missSources(context, look, work, of(1, 2))).toBe(true);
  expect([...(await boundTo(context, inbox)).keys()]).toEqual([3, 4]);
  expect(await missSources(context, look, work, of(3))).toBe(true);
  expect(looked).toEqual(["INBOX", "INBOX"]);
  const { rows } = await db.query({
    text: `select highest_modseq from upstream_mailboxes where account_id = $1 and mailbox_id = $2`,
    values: [context.accountId, inbox.mailboxId],
  });
  expect([inbox.cursor?.highestModseq, rows]).toEqual([1n, [{ highest_modseq: 1n }]]);
});

it("a source whose first reading is not done, and that listed all it has, is not asked again, and its cursor stays", async () => {
  const { context, inbox, work } = await begin();
  const held = await boundTo(context, inbox);
  const of = (...which: number[]) => which.flatMap((uid) => held.get(uid) ?? []);
  inbox.backfillLow = 2;
  const looked: string[] = [];
  const look = { session: showing(looked, false), signal: new AbortController().signal, settled: new Set<never>() };
  expect(await missSources(context, look, work, of(1))).toBe(true);
  expect(await missSources(context, look, work, of(3))).toBe(false);
  expect(looked).toEqual(["INBOX"]);
  expect([...(await boundTo(context, inbox)).keys()]).toEqual([4]);
  expect(inbox.cursor?.highestModseq).toBe(1n);
});
