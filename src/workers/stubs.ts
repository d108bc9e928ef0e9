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
import { type LaneContext, type MailboxLane, scopeOf } from "./lane-state.ts";

/** First wait before it is asked for again, in ms; it doubles. */
export const stubFirstMs = 60_000;
const mostMs = 3_600_000;

/** Something was just listed and not given. */
export const expectStubs = ({ stubs }: LaneContext): void => {
  stubs.waitMs = stubFirstMs;
  stubs.dueAt = Math.min(stubs.dueAt, Date.now() + stubFirstMs);
};

/** What is to be asked for now, by mailbox; the next time is set. */
export const dueStubs = async (context: LaneContext): Promise<ReadonlyMap<MailboxId, readonly ItemStub[]>> => {
  const { db, accountId, endpointId, stubs } = context;
  if (stubs.dueAt > Date.now()) return new Map();
  const found = await listItemStubs(db, accountId, endpointId, { headless: false });
  stubs.dueAt = found.length === 0 ? Number.POSITIVE_INFINITY : Date.now() + stubs.waitMs;
  stubs.waitMs = Math.min(mostMs, stubs.waitMs * 2);
  return Map.groupBy(found, ({ mailboxId }) => mailboxId);
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
