/** Messages that a mailbox listed and did not give (G7), asked for again: what becomes of them when they are given. */
import type { Session } from "../endpoints/endpoint.ts";
import { fingerprint } from "../mime/fingerprint.ts";
import { readHeaders } from "../mime/headers.ts";
import { invariant } from "../model/failure.ts";
import type { MailboxId } from "../model/ids.ts";
import type { FetchedItem } from "../model/observation.ts";
import { preserve } from "../reconciler/preserve-ahead.ts";
import { emptyDraft, type PlacementView, type Scope } from "../reconciler/state.ts";
import type { InputTx } from "../store/account-tx.ts";
import { storeBlobs } from "../store/blob-writes.ts";
import { applyDecision, type MessageContent } from "../store/decisions.ts";
import { defineInput, ingest } from "../store/inputs.ts";
import { loadKnown } from "../store/slices.ts";
import { completeStub, type ItemStub, withdrawStub } from "../store/stubs.ts";
import { commitItems, prepareBatch } from "./commit.ts";
import { keepContent, reviveContent } from "./kept-contents.ts";
import {
  type LaneContext,
  type LaneFacts,
  laneFacts,
  type MailboxFacts,
  mailboxFacts,
  type MailboxLane,
  scopeOf,
} from "./lane-state.ts";
import { isPreserving } from "./preserving.ts";
import { missSourcesOf, type SourceLook } from "./sources.ts";

interface WholeFacts {
  readonly lane: LaneFacts;
  readonly mailbox: MailboxFacts;
  readonly stub: ItemStub;
  readonly content: MessageContent;
}

/** It is live, and has no item: it is missed, or lost its item there to a new epoch. */
const isWaiting = ({ lifecycle, absent, binding }: PlacementView, { mailboxId }: Scope): boolean =>
  lifecycle === "live" &&
  binding?.active !== true &&
  (absent || (binding?.closedReason === "epoch" && binding.mailboxId === mailboxId));

/** V21: what came without its octets has them now. */
const preserveWhole = async (account: InputTx, scope: Scope, { stub, content: { octets } }: WholeFacts): Promise<void> => {
  const known = await loadKnown(account, scope.endpointId, octets === null ? [] : [octets.sha256]);
  const alike = [...known.values()];
  const placement = alike.flatMap(({ placements }) => placements).find(({ id }) => id === stub.placementId);
  if (placement === undefined) return;
  const draft = emptyDraft();
  preserve(draft, placement, { flags: placement.keywords, alike });
  await applyDecision(account, draft, { scope, contents: [], existing: new Set() });
};

/** `withdrawn`: it was the item of mail that is known, and is to be read as that. */
const stubRead = defineInput(
  "observation",
  "imap.stub-read",
  async (account, facts: WholeFacts): Promise<"whole" | "withdrawn"> => {
    const { lane, mailbox, stub, content } = facts;
    const scope = scopeOf(lane, mailbox);
    const { receivedAt, headers, octets, fingerprint: print } = content;
    invariant(octets !== null && print !== undefined, "what was read whole has octets");
    const known = await loadKnown(account, scope.endpointId, [octets.sha256]);
    const placements = [...known.values()].flatMap((message) => message.placements);
    const waiting = placements.find((placement) => isWaiting(placement, scope));
    const { size } = octets;
    if (waiting !== undefined && (await withdrawStub(account, scope, { stub, waiting, size }))) return "withdrawn";
    const completed = { stub, source: "imap", receivedAt, headers, octets, fingerprint: print } as const;
    const reason = await completeStub(account, scope, completed);
    if (reason === "delivered" && (await isPreserving(account, { lane, mailbox, reason })))
      await preserveWhole(account, scope, facts);
    return "whole";
  },
  {
    keep: (facts: WholeFacts) => ({ ...facts, content: keepContent(facts.content) }),
    revive: async (kept, stored) => ({ ...kept, content: await reviveContent(kept.content, stored) }),
  },
);

const complete = async (
  context: LaneContext,
  look: SourceLook,
  { mailbox, stub }: { readonly mailbox: MailboxLane; readonly stub: ItemStub },
  item: FetchedItem,
): Promise<{ had: boolean; missing: boolean }> => {
  const { octets } = item;
  if (octets === null) return { had: false, missing: false };
  await storeBlobs(context.db, context, [octets]);
  const print = await fingerprint(octets.parts());
  const { sha256, size } = octets;
  const content = {
    receivedAt: item.internalDate,
    headers: readHeaders(octets.head),
    octets: { sha256, size },
    fingerprint: print,
  };
  // It may be what was moved here, and is not missed yet where it was.
  const missing = await missSourcesOf(context, look, mailbox, { items: [item], contents: [content] });
  const became = await ingest(context, stubRead, { lane: laneFacts(context), mailbox: mailboxFacts(mailbox), stub, content });
  if (became === "withdrawn") {
    mailbox.bound -= 1;
    // Should this not be reached, a count of the mailbox does not add up (G6), and its item is found.
    await commitItems(context, mailbox, { batch: await prepareBatch(context, [item]), reason: "delivered", move: null });
  }
  return { had: true, missing };
};

/** Asks for stubs of one mailbox. @returns whether some of it was had, and whether placements became absence candidates for it. */
export const readStubs = async (
  context: LaneContext,
  session: Session,
  { mailbox, stubs }: { readonly mailbox: MailboxLane; readonly stubs: readonly ItemStub[] },
  signal: AbortSignal,
): Promise<{ had: boolean; missing: boolean }> => {
  const byUid = new Map(stubs.map((stub) => [stub.uid, stub]));
  const ranges = [...byUid.keys()].map((uid) => ({ from: uid, to: uid }));
  const request = { path: mailbox.path, uidValidity: mailbox.cursor?.uidValidity ?? 0, ranges };
  // What is asked for was listed long before.
  const look = { session, signal, settled: new Set<MailboxId>() };
  const read = { had: false, missing: false };
  for await (const { items } of session.fetch(request, signal))
    for (const item of items) {
      const stub = byUid.get(item.uid);
      try {
        if (stub === undefined) continue;
        const { had, missing } = await complete(context, look, { mailbox, stub }, item);
        read.had ||= had;
        read.missing ||= missing;
      } finally {
        await item.octets?.dispose();
      }
    }
  return read;
};
