/** When messages that a mailbox lists and does not give (G7) are asked for again: each time later, until they are whole. */
import type { MailboxId } from "../model/ids.ts";
import { type ItemStub, listItemStubs } from "../store/stubs.ts";
import type { LaneContext, StubTurns } from "./lane-state.ts";

/** First wait before it is asked for again, in ms; it doubles from round to round. */
const firstMs = 60_000;
const mostMs = 3_600_000;

/** A round that begins at once. */
export const stubTurns = (): StubTurns => ({ dueAt: 0, waitMs: firstMs, after: null });

const begin = (turns: StubTurns, waitMs: number): void => {
  turns.waitMs = firstMs;
  turns.dueAt = Math.min(turns.dueAt, Date.now() + waitMs);
};

/** Something was just listed and not given. */
export const expectStubs = ({ stubs, headless }: LaneContext): void => {
  begin(stubs, firstMs);
  begin(headless, 0);
};

/** Somebody asks: what is listed and was not given is asked for at once. */
export const hurryStubs = ({ stubs, headless }: LaneContext): void => {
  for (const turns of [stubs, headless]) turns.dueAt = Math.min(turns.dueAt, Date.now());
};

/** What is to be asked for now, by mailbox: the next page. When the one after it is due is set, after a wait where this is the last. */
export const dueStubs = async (
  context: LaneContext,
  of: "stubs" | "headless",
): Promise<ReadonlyMap<MailboxId, readonly ItemStub[]>> => {
  const { db, accountId, endpointId, maxMessageBytes: largest, [of]: turns } = context;
  if (turns.dueAt > Date.now()) return new Map();
  const { after } = turns;
  const headless = of === "headless";
  // Its header block is no larger for that.
  const page = { headless, after, largest: headless ? Number.MAX_SAFE_INTEGER : largest };
  const { stubs, last } = await listItemStubs(db, accountId, endpointId, page);
  turns.after = last;
  if (last !== null) turns.dueAt = Date.now() + firstMs;
  else {
    turns.dueAt = stubs.length === 0 && after === null ? Number.POSITIVE_INFINITY : Date.now() + turns.waitMs;
    turns.waitMs = Math.min(mostMs, turns.waitMs * 2);
  }
  return Map.groupBy(stubs, ({ mailboxId }) => mailboxId);
};
