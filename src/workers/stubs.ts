/** Messages that a mailbox lists and does not give (G7): asked for again, each time later, until they are whole. */
import type { Session } from "../endpoints/endpoint.ts";
import { fingerprint } from "../mime/fingerprint.ts";
import { readHeaders } from "../mime/headers.ts";
import { invariant } from "../model/failure.ts";
import type { MailboxId } from "../model/ids.ts";
import type { FetchedItem } from "../model/observation.ts";
import type { Scope } from "../reconciler/state.ts";
import { storeBlobs } from "../store/blob-writes.ts";
import type { MessageContent } from "../store/decisions.ts";
import { defineInput, ingest } from "../store/inputs.ts";
import { completeStub, type ItemStub, listItemStubs } from "../store/stubs.ts";
import { keepContent, reviveContent } from "./kept-contents.ts";
import { type LaneContext, type MailboxLane, scopeOf, type StubTurns } from "./lane-state.ts";

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

interface WholeFacts {
  readonly scope: Scope;
  readonly stub: ItemStub;
  readonly content: MessageContent;
}

const stubRead = defineInput(
  "observation",
  "imap.stub-read",
  async (account, { scope, stub, content }: WholeFacts) => {
    const { receivedAt, headers, octets, fingerprint: print } = content;
    invariant(octets !== null && print !== undefined, "what was read whole has octets");
    await completeStub(account, scope, { stub, source: "imap", receivedAt, headers, octets, fingerprint: print });
  },
  {
    keep: (facts: WholeFacts) => ({ ...facts, content: keepContent(facts.content) }),
    revive: async (kept, stored) => ({ ...kept, content: await reviveContent(kept.content, stored) }),
  },
);

const complete = async (context: LaneContext, mailbox: MailboxLane, stub: ItemStub, item: FetchedItem): Promise<boolean> => {
  const { octets } = item;
  if (octets === null) return false;
  await storeBlobs(context.db, context, [octets]);
  const print = await fingerprint(octets.parts());
  const { sha256, size } = octets;
  const content = {
    receivedAt: item.internalDate,
    headers: readHeaders(octets.head),
    octets: { sha256, size },
    fingerprint: print,
  };
  await ingest(context, stubRead, { scope: scopeOf(context, mailbox), stub, content });
  return true;
};

/** Asks for stubs of one mailbox. @returns whether some of it was had. */
export const readStubs = async (
  context: LaneContext,
  session: Session,
  { mailbox, stubs }: { readonly mailbox: MailboxLane; readonly stubs: readonly ItemStub[] },
  signal: AbortSignal,
): Promise<boolean> => {
  const byUid = new Map(stubs.map((stub) => [stub.uid, stub]));
  const ranges = [...byUid.keys()].map((uid) => ({ from: uid, to: uid }));
  const request = { path: mailbox.path, uidValidity: mailbox.cursor?.uidValidity ?? 0, ranges };
  let had = false;
  for await (const { items } of session.fetch(request, signal))
    for (const item of items) {
      const stub = byUid.get(item.uid);
      try {
        if (stub !== undefined) had = (await complete(context, mailbox, stub, item)) || had;
      } finally {
        await item.octets?.dispose();
      }
    }
  return had;
};
