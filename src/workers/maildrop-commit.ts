/** Commits what a maildrop showed: one transaction each, decided by the reconciler. Octets are durable before. */
import type { ReadItem } from "../endpoints/endpoint.ts";
import type { MailFacts } from "../mime/facts.ts";
import { fingerprint } from "../mime/fingerprint.ts";
import { invariant } from "../model/failure.ts";
import type { EndpointId, MailboxId, MessageId, PlacementId } from "../model/ids.ts";
import type { ListedItem } from "../model/maildrop.ts";
import type { Octets } from "../model/octets.ts";
import { defaultMailboxCount, defaultMailboxes } from "../reconciler/default-mailboxes.ts";
import { type Identified, identify, type UnknownItem } from "../reconciler/identify.ts";
import { reconcileMaildrop } from "../reconciler/maildrop-items.ts";
import type { PlacementView, Scope } from "../reconciler/state.ts";
import { writeProgress } from "../store/account-state.ts";
import { appendChanges, inAccount, type InputTx } from "../store/account-tx.ts";
import { storedOctets } from "../store/blob-reads.ts";
import { storeBlobs } from "../store/blob-writes.ts";
import { readSmall } from "../store/contents.ts";
import { applyDecision, type MessageContent } from "../store/decisions.ts";
import { applyMailboxDecision } from "../store/mailbox-writes.ts";
import { listUnhashed, loadClaims, storeHashes, type Unhashed } from "../store/claims.ts";
import { bindItems, type BoundItem, endItems, loadAlike, openMaildropEpoch } from "../store/maildrops.ts";
import { noteRenderings } from "../store/renderings.ts";
import { defineInput, ingest, type Input } from "../store/inputs.ts";
import { loadMailboxes } from "../store/slices.ts";
import { step } from "../telemetry/failpoint.ts";
import { messagesStored } from "../telemetry/metrics.ts";
import { type ArrivalWindow, measureArrivals } from "./arrivals.ts";
import { keepContent, reviveContent } from "./kept-contents.ts";
import type { LaneContext } from "./lane-state.ts";
import { type Meant, readMeanings, unread } from "./meant.ts";

/** Of one account's maildrop; it has no mailboxes of its own. */
export type MaildropContext = Omit<
  LaneContext,
  "tree" | "stubs" | "headless" | "maxMessageBytes" | "mailboxes" | "twoViews" | "modseq" | "retention"
>;

export const ingestMaildrop = async <Facts, Result>(
  context: MaildropContext,
  input: Input<Facts, Result>,
  facts: Facts,
): Promise<Result> => {
  step("before maildrop commit");
  const result = await ingest(context, input, facts);
  step("after maildrop commit");
  return result;
};

const mailboxesWanted = defineInput(
  "observation",
  "pop3.mailboxes",
  async (account, { endpointId }: { readonly endpointId: EndpointId }) => {
    const known = await loadMailboxes(account, endpointId);
    const freshIds = Array.from({ length: defaultMailboxCount }, () => account.input.freshId());
    const decision = defaultMailboxes({ endpointId, known, freshIds });
    await applyMailboxDecision(account, endpointId, decision);
    const inbox = decision.mailboxes.find(({ role }) => role === "inbox") ?? known.find(({ role }) => role === "inbox");
    return inbox?.id ?? null;
  },
);

/** K3: an account without mailboxes of its own gets the usual ones. @returns its INBOX; null where a name is in the way. */
export const makeMailboxes = (context: MaildropContext): Promise<MailboxId | null> =>
  ingestMaildrop(context, mailboxesWanted, { endpointId: context.endpointId });

const epochSeen = defineInput(
  "observation",
  "pop3.epoch",
  async (account, { scope, reason }: { readonly scope: Scope; readonly reason: "ids_replaced" | "id_reused" }) => {
    const { endpointId, mailboxId } = scope;
    const next = await openMaildropEpoch(account, endpointId);
    const before = { epoch: scope.epoch };
    const after = { epoch: next };
    const rest = { messageId: null, placementId: null, deviceId: null, confidence: null, evidence: [] };
    const change = { kind: "epoch.changed", mailboxId, before, after, source: "pop3", endpointId, reason, rule: "ID-9" } as const;
    await appendChanges(account, [{ ...change, ...rest }]);
    return next;
  },
);

/** ID-9: every binding of the last epoch ends. @returns the scope of the new one. */
export const startEpoch = async (
  context: MaildropContext,
  scope: Scope,
  reason: "ids_replaced" | "id_reused",
): Promise<Scope> => {
  context.trouble.noteEpoch();
  return { ...scope, epoch: await ingestMaildrop(context, epochSeen, { scope, reason }) };
};

interface Renamed {
  readonly scope: Scope;
  readonly pairs: readonly { readonly from: BoundItem; readonly to: ListedItem }[];
}

const idsRenamed = defineInput("observation", "pop3.renamed", async (account, { scope, pairs }: Renamed) => {
  const ended = pairs.map(({ from }) => ({ ...from, reason: "renamed" }));
  await endItems(account, scope, ended);
  const bound = pairs.map(({ from, to }) => ({ ...to, placementId: from.placementId }));
  await bindItems(account, scope, bound);
});

/** ID-9b: bindings whose ids the server only numbered anew. */
export const renameItems = async (context: MaildropContext, scope: Scope, pairs: Renamed["pairs"]): Promise<void> => {
  if (pairs.length > 0) await ingestMaildrop(context, idsRenamed, { scope, pairs });
};

/** What the octets of an item tell. */
export interface PreparedItem {
  readonly item: UnknownItem;
  readonly content: MessageContent;
  readonly hashes: readonly Buffer[];
}

/** Items whose octets are durable: all that does not need the account's lock. */
export type PreparedItems = readonly PreparedItem[];

const prepareItem = ({ item, octets }: WholeItem, { headers, receivedAt, print }: MailFacts, now: Date): PreparedItem => {
  invariant(print !== null, "it was asked for");
  const { hFull, hHead, size, dropped } = print;
  const said = receivedAt ?? headers.sentAt;
  const { uidl, occurrence, size: listedSize } = item;
  return {
    item: {
      uidl,
      occurrence,
      size: listedSize,
      meaning: null,
      head: { hHead: hHead.toString("hex"), dropped },
      body: { sha256: octets.sha256.toString("hex"), hFull: hFull.toString("hex"), hSem: null },
    },
    content: {
      // A clock that runs ahead must not keep mail on top for ever.
      receivedAt: said === null || said > now ? now : said,
      headers,
      octets: { sha256: octets.sha256, size: octets.size },
      fingerprint: { hFull, hHead, size },
    },
    hashes: [octets.sha256, hFull],
  };
};

export type WholeItem = ReadItem & { octets: Octets };

/** Makes the octets durable where mail may be made of them, and reads what they tell. */
export const prepareItems = async (
  context: MaildropContext,
  whole: readonly WholeItem[],
  mayCreate: boolean,
): Promise<PreparedItems> => {
  const at = new Date();
  step("before maildrop blobs");
  const octets = whole.map((item) => item.octets);
  const stored = mayCreate ? storeBlobs(context.db, context, octets) : Promise.resolve();
  // Read while the database writes.
  stored.catch(() => undefined);
  const facts = await context.facts.read(octets, { receivedAt: true, print: true });
  await stored;
  return whole.map((item, index) => prepareItem(item, facts[index] as MailFacts, at));
};

export interface BatchRequest {
  readonly scope: Scope;
  readonly reason: "backfilled" | "delivered";
  /** False: an item is bound to what is there or left; mail is made from IMAP only. */
  readonly mayCreate: boolean;
  /** IMAP does not show it: what may be known already, in another mailbox or as removed, is left alone. */
  readonly onlyNews: boolean;
  /** IMAP shows this mail as a rule, and is down. */
  readonly besideImap: boolean;
  /** What the listing lacks: mail that comes under another id in the same listing has not gone (ID-5b). */
  readonly lacked: readonly BoundItem[];
  /** How far the first reading is with this batch; null: it is over. */
  readonly progress: { readonly done: number; readonly total: number } | null;
  readonly came: ArrivalWindow;
}

interface ReadFacts extends Omit<BatchRequest, "came" | "besideImap"> {
  readonly prepared: PreparedItems;
  readonly meant: Meant;
}

const decideRead = async (account: InputTx, facts: ReadFacts) => {
  const { prepared, meant, scope, mayCreate, onlyNews, reason, progress, lacked } = facts;
  const { at } = account.input;
  const known = await loadAlike(
    account,
    prepared.flatMap((item) => item.hashes),
  );
  const { claimable, views } = await loadClaims(account.tx, account.accountId, {
    endpointId: scope.endpointId,
    inbox: scope.mailboxId,
    keys: { messages: [...new Set([...known.values(), ...meant.messages])] },
    lacked: lacked.map(({ placementId }) => placementId),
  });
  const items = prepared.map(({ item }) => item);
  const saying = claimable.map((one) => ({ ...one, hSem: meant.said.get(one.id) ?? null }));
  const regenerated = meant.said.size > 0;
  const { items: identified } = identify({ items, claimable: saying, known, imap: "none", regenerated });
  const decision = reconcileMaildrop({
    scope,
    identified: onlyNews ? identified.map(onlyNew) : mayCreate ? identified : identified.map(onlyBound),
    receivedAt: prepared.map(({ content }) => content.receivedAt.getTime()),
    views,
    freshIds: Array.from({ length: 2 * prepared.length }, () => account.input.freshId()),
    reason,
  });
  const contents = prepared.map(({ content }) => content);
  await applyDecision(account, decision, { scope, contents, existing: new Set() });
  const continued = new Set(decision.items.map(({ placementId }) => placementId));
  const left = lacked.filter(({ placementId }) => continued.has(placementId));
  await endItems(
    account,
    scope,
    left.map((item) => ({ ...item, reason: "renumbered" })),
  );
  await bindItems(account, scope, boundOf(items, decision.items));
  // What makes no mail here was not stored.
  if (mayCreate) await noteRenderings(account, contents, { shown: decision.items, newMessages: decision.newMessages });
  if (progress !== null) await writeProgress(account, scope.endpointId, { ...progress, startedAt: at });
  return { bound: decision.items.length, created: decision.newMessages.map(({ item }) => contents[item]?.receivedAt ?? at) };
};

const itemsRead = defineInput("observation", "pop3.items", decideRead, {
  keep: ({ prepared, ...rest }: ReadFacts) => ({
    ...rest,
    kept: prepared.map((one) => ({ ...one, content: keepContent(one.content) })),
  }),
  revive: async ({ kept, ...rest }, stored): Promise<ReadFacts> => {
    const contents = await Promise.all(kept.map(({ content }) => reviveContent(content, stored)));
    return { ...rest, prepared: kept.map((one, index) => ({ ...one, content: contents[index] ?? one.content })) };
  },
});

/** Commits items that were read, in one transaction. @returns how many were bound, and how many messages are new. */
export const commitRead = async (
  context: MaildropContext,
  prepared: PreparedItems,
  { came, besideImap, ...request }: BatchRequest,
): Promise<{ readonly bound: number; readonly created: number }> => {
  const { items, meant } = besideImap ? await readMeanings(context, request.scope, prepared) : unread(prepared);
  const facts = { ...request, prepared: prepared.map((one, index) => ({ ...one, item: items[index] ?? one.item })), meant };
  const { bound, created } = await ingestMaildrop(context, itemsRead, facts);
  messagesStored.inc({ op: "created" }, created.length);
  if (request.reason === "delivered") measureArrivals("pop3", created, came);
  return { bound, created: created.length };
};

const onlyNew = (found: Identified): Identified => {
  const isKnown = found.kind === "copy" || (found.kind === "bind" && (found.rule === "ID-5c" || found.rule === "ID-5d"));
  return isKnown ? { kind: "provisional", rule: "K12" } : found;
};

const onlyBound = (found: Identified): Identified => (found.kind === "bind" ? found : { kind: "provisional", rule: "K12" });

export const boundOf = (
  items: readonly ListedItem[],
  bindings: readonly { readonly item: number; readonly placementId: PlacementId }[],
): BoundItem[] =>
  bindings.flatMap(({ item, placementId }) => {
    const listed = items[item];
    return listed === undefined ? [] : [{ ...listed, placementId }];
  });

interface KnownItems {
  readonly items: readonly ListedItem[];
  readonly identified: readonly Identified[];
  readonly views: ReadonlyMap<PlacementId, PlacementView>;
}

const itemsKnown = defineInput(
  "observation",
  "pop3.known",
  async (account, { scope, known }: { readonly scope: Scope; readonly known: KnownItems }) => {
    const identified = known.identified.map(onlyBound);
    const news = { receivedAt: [], freshIds: [], reason: "delivered" } as const;
    const decision = reconcileMaildrop({ scope, identified, views: known.views, ...news });
    await applyDecision(account, decision, { scope, contents: [], existing: new Set() });
    await bindItems(account, scope, boundOf(known.items, decision.items));
    return decision.items.length;
  },
);

/** Binds items that are known by less than their octets; answers that ask for more are passed over. */
export const commitKnown = (context: MaildropContext, scope: Scope, known: KnownItems): Promise<number> =>
  known.identified.some(({ kind }) => kind === "bind")
    ? ingestMaildrop(context, itemsKnown, { scope, known })
    : Promise.resolve(0);

/** The first reading has come to its end: what is there was read. */
export const endFirstReading = async (context: MaildropContext, scope: Scope, total: number): Promise<void> => {
  await inAccount(context.db, context.fence, context.accountId, (account) =>
    writeProgress(account, scope.endpointId, { done: total, total, startedAt: new Date() }),
  );
};

const mailHashed = defineInput("tick", "pop3.hashed", storeHashes);

/** Messages up to this size are read from the store together; in bytes. */
const smallBytes = 32 * 1024;

/**
 * Hashes mail of INBOX that came over IMAP, from the octets in the store: nothing is read upstream for it. `since`: all was hashed
 * at this entry of the log; null: not known.
 */
export const hashInbox = async (
  context: MaildropContext,
  inbox: MailboxId,
  since: bigint | null,
  signal: AbortSignal,
): Promise<void> => {
  const { db, accountId } = context;
  let after: MessageId | null = null;
  while (!signal.aborted) {
    const unhashed: Unhashed[] = await listUnhashed(db, accountId, inbox, { after, since });
    if (unhashed.length === 0) return;
    after = unhashed.at(-1)?.id ?? null;
    const small = await readSmall(
      db,
      accountId,
      unhashed.filter(({ size }) => size <= smallBytes),
    );
    const hashed: Parameters<typeof storeHashes>[1][number][] = [];
    for (const { id, ...blob } of unhashed) {
      const octets = small.get(blob.sha256.toString("hex"));
      const parts = octets === undefined ? (await storedOctets(db, accountId, blob)).parts() : [octets];
      hashed.push({ id, ...(await fingerprint(parts)) });
    }
    await ingestMaildrop(context, mailHashed, hashed);
  }
};
