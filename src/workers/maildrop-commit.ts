/** Commits what a maildrop showed: one transaction each, decided by the reconciler. Octets are durable before. */
import { uuidv7 } from "uuidv7";
import type { ReadItem } from "../endpoints/endpoint.ts";
import { fingerprint, FingerprintReader } from "../mime/fingerprint.ts";
import { readHeaders } from "../mime/headers.ts";
import { readReceivedAt } from "../mime/received.ts";
import type { MailboxId, MessageId, PlacementId } from "../model/ids.ts";
import type { ListedItem } from "../model/maildrop.ts";
import type { Octets } from "../model/octets.ts";
import { viewPop3Devices } from "../model/pop3-devices.ts";
import { defaultMailboxCount, defaultMailboxes } from "../reconciler/default-mailboxes.ts";
import { type Identified, identify, type UnknownItem } from "../reconciler/identify.ts";
import { reconcileMaildrop } from "../reconciler/maildrop-items.ts";
import { type GoneInput, reconcileGone } from "../reconciler/maildrop-vanish.ts";
import type { PlacementView, Scope } from "../reconciler/state.ts";
import { writeProgress } from "../store/account-state.ts";
import { type AccountTx, appendChanges, inAccount } from "../store/account-tx.ts";
import { storedOctets } from "../store/blob-reads.ts";
import { storeBlobs } from "../store/blob-writes.ts";
import { readSmall } from "../store/contents.ts";
import { loadLosses } from "../store/candidates.ts";
import { closeHold, keepHold, loadHolds } from "../store/holds.ts";
import { mayRelease, withCut } from "../reconciler/holds.ts";
import { findRestoreEndpoint, planCommands } from "../store/commands.ts";
import { applyDecision, type MessageContent } from "../store/decisions.ts";
import { applyMailboxDecision } from "../store/mailbox-writes.ts";
import { listUnhashed, loadClaims, loadGone, storeHashes, type Unhashed } from "../store/claims.ts";
import { bindItems, type BoundItem, endItems, loadAlike, openMaildropEpoch } from "../store/maildrops.ts";
import { loadMailboxes } from "../store/slices.ts";
import { step } from "../telemetry/failpoint.ts";
import { messagesStored } from "../telemetry/metrics.ts";
import { type ArrivalWindow, measureArrivals } from "./arrivals.ts";
import type { LaneContext } from "./lane-state.ts";

/** Of one account's maildrop; it has no mailboxes of its own. */
export type MaildropContext = Omit<LaneContext, "tree" | "mailboxes" | "twoViews" | "modseq" | "retention">;

export const inOwnAccount = async <T>(context: MaildropContext, work: (account: AccountTx) => Promise<T>): Promise<T> => {
  step("before maildrop commit");
  const result = await inAccount(context.db, context.fence, context.accountId, work);
  step("after maildrop commit");
  return result;
};

/** K3: an account without mailboxes of its own gets the usual ones. @returns its INBOX; null where a name is in the way. */
export const makeMailboxes = (context: MaildropContext): Promise<MailboxId | null> =>
  inOwnAccount(context, async (account) => {
    const known = await loadMailboxes(account, context.endpointId);
    const freshIds = Array.from({ length: defaultMailboxCount }, () => uuidv7());
    const decision = defaultMailboxes({ endpointId: context.endpointId, known, freshIds });
    await applyMailboxDecision(account, context.endpointId, decision, new Date());
    const inbox = decision.mailboxes.find(({ role }) => role === "inbox") ?? known.find(({ role }) => role === "inbox");
    return inbox?.id ?? null;
  });

/** ID-9: every binding of the last epoch ends. @returns the scope of the new one. */
export const startEpoch = async (
  context: MaildropContext,
  scope: Scope,
  reason: "ids_replaced" | "id_reused",
): Promise<Scope> => {
  const { endpointId, mailboxId } = scope;
  context.trouble.noteEpoch();
  const epoch = await inOwnAccount(context, async (account) => {
    const next = await openMaildropEpoch(account, endpointId);
    const before = { epoch: scope.epoch };
    const after = { epoch: next };
    const rest = { messageId: null, placementId: null, deviceId: null, confidence: null, evidence: [] };
    const change = { kind: "epoch.changed", mailboxId, before, after, source: "pop3", endpointId, reason, rule: "ID-9" } as const;
    await appendChanges(account, [{ ...change, ...rest }], new Date(), null);
    return next;
  });
  return { ...scope, epoch };
};

/** ID-9b: bindings whose ids the server only numbered anew. */
export const renameItems = async (
  context: MaildropContext,
  scope: Scope,
  pairs: readonly { readonly from: BoundItem; readonly to: ListedItem }[],
): Promise<void> => {
  if (pairs.length === 0) return;
  await inOwnAccount(context, async (account) => {
    const ended = pairs.map(({ from }) => ({ ...from, reason: "renamed" }));
    await endItems(account, scope, ended);
    const bound = pairs.map(({ from, to }) => ({ ...to, placementId: from.placementId }));
    await bindItems(account, scope, bound);
  });
};

/** What the octets of an item tell. */
export interface PreparedItem {
  readonly item: UnknownItem;
  readonly content: MessageContent;
  readonly hashes: readonly Buffer[];
}

/** Items whose octets are durable: all that does not need the account's lock. */
export type PreparedItems = readonly PreparedItem[];

export const prepareItem = async ({ item, octets }: ReadItem & { octets: Octets }, now: Date): Promise<PreparedItem> => {
  const reader = new FingerprintReader();
  for await (const part of octets.parts()) reader.push(part);
  const { hFull, hHead, size, dropped } = reader.end();
  const headers = readHeaders(octets.head);
  const said = readReceivedAt(octets.head) ?? headers.sentAt;
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
  const prepared = await Promise.all(whole.map((item) => prepareItem(item, at)));
  await stored;
  return prepared;
};

export interface BatchRequest {
  readonly scope: Scope;
  readonly reason: "backfilled" | "delivered";
  /** False: an item is bound to what is there or left; mail is made from IMAP only. */
  readonly mayCreate: boolean;
  /** How far the first reading is with this batch; null: it is over. */
  readonly progress: { readonly done: number; readonly total: number } | null;
  readonly came: ArrivalWindow;
}

/** Commits items that were read, in one transaction. @returns how many were bound, and how many messages are new. */
export const commitRead = async (
  context: MaildropContext,
  prepared: PreparedItems,
  request: BatchRequest,
): Promise<{ readonly bound: number; readonly created: number }> => {
  const { scope } = request;
  const at = new Date();
  const hashes = prepared.flatMap((item) => item.hashes);
  const outcome = await inOwnAccount(context, async (account) => {
    const known = await loadAlike(account, hashes);
    const { claimable, views } = await loadClaims(account.tx, account.accountId, {
      endpointId: scope.endpointId,
      inbox: scope.mailboxId,
      keys: { messages: [...new Set(known.values())] },
    });
    const items = prepared.map(({ item }) => item);
    const { items: identified } = identify({ items, claimable, known, imap: "none", regenerated: false });
    const decision = reconcileMaildrop({
      scope,
      identified: request.mayCreate ? identified : identified.map(onlyBound),
      receivedAt: prepared.map(({ content }) => content.receivedAt.getTime()),
      views,
      freshIds: Array.from({ length: 2 * prepared.length }, () => uuidv7()),
      reason: request.reason,
    });
    const contents = prepared.map(({ content }) => content);
    await applyDecision(account, decision, { scope, contents, existing: new Set(), at, inputId: null });
    await bindItems(account, scope, boundOf(items, decision.items));
    if (request.progress !== null) await writeProgress(account, scope.endpointId, { ...request.progress, startedAt: at });
    return { bound: decision.items.length, created: decision.newMessages.map(({ item }) => contents[item]?.receivedAt ?? at) };
  });
  const { bound, created } = outcome;
  messagesStored.inc({ op: "created" }, created.length);
  if (request.reason === "delivered") measureArrivals("pop3", created, request.came);
  return { bound, created: created.length };
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

/** Binds items that are known by less than their octets; answers that ask for more are passed over. */
export const commitKnown = async (
  context: MaildropContext,
  scope: Scope,
  known: {
    readonly items: readonly ListedItem[];
    readonly identified: readonly Identified[];
    readonly views: ReadonlyMap<PlacementId, PlacementView>;
  },
): Promise<number> => {
  if (!known.identified.some(({ kind }) => kind === "bind")) return 0;
  return inOwnAccount(context, async (account) => {
    const decision = reconcileMaildrop({
      scope,
      identified: known.identified.map(onlyBound),
      receivedAt: [],
      views: known.views,
      freshIds: [],
      reason: "delivered",
    });
    await applyDecision(account, decision, { scope, contents: [], existing: new Set(), at: new Date(), inputId: null });
    await bindItems(account, scope, boundOf(known.items, decision.items));
    return decision.items.length;
  });
};

export interface GoneOutcome {
  /** Some are left undecided. */
  readonly open: boolean;
  /** Some are to be put back over IMAP. */
  readonly owed: boolean;
}

/** Decides about items that are gone; none ends what was held. */
export const commitGone = (
  context: MaildropContext,
  scope: Scope,
  { gone, ...rest }: { readonly gone: readonly BoundItem[] } & Pick<GoneInput, "bound" | "outsideWindow" | "doubtful">,
): Promise<GoneOutcome> =>
  inOwnAccount(context, async (account) => {
    const at = new Date();
    const seen = await loadGone(
      account,
      scope.endpointId,
      gone.map(({ placementId }) => placementId),
    );
    const items = gone.flatMap((item) => {
      const found = seen.get(item.placementId);
      return found === undefined ? [] : [{ item, found }];
    });
    const { policy } = account;
    const { state: pop3Devices } = viewPop3Devices(policy, account.pop3Evidence);
    const { mailboxId, endpointId, epoch } = scope;
    const reason = "mass_drain";
    const unwell = context.trouble.isRecent || (await loadHolds(account, "inconsistent_views")).size > 0;
    const open = (await loadHolds(account, reason)).get(mailboxId) ?? null;
    const past = open?.history ?? null;
    const since = { epoch, absentSince: past?.from ?? at.getTime(), at: at.getTime() };
    const hold = open === null ? "none" : (open.decided?.as ?? (mayRelease(past, since) ? "released" : "held"));
    const restoreTo = policy.onPop3Drain === "restore" ? await findRestoreEndpoint(account) : null;
    const found = items.map((item) => ({ ...item.found, restorable: item.found.restorable && restoreTo !== null }));
    const losses = await loadLosses(account, found.filter(({ imap }) => imap === "none").length, at);
    const lately = { mailbox: losses.byMailbox.get(mailboxId) ?? 0, account: losses.account };
    const { commands, ...decision } = reconcileGone({ scope, gone: found, policy, pop3Devices, hold, unwell, lately, ...rest });
    await applyDecision(account, { ...decision, commands: [] }, { scope, contents: [], existing: new Set(), at, inputId: null });
    if (restoreTo !== null) await planCommands(account, restoreTo, commands);
    const ended = decision.ended.flatMap(({ item, reason: because }) => {
      const entry = items[item];
      return entry === undefined ? [] : [{ ...entry.item, reason: because }];
    });
    await endItems(account, scope, ended);
    if (!rest.outsideWindow) {
      const history = withCut(past, { epoch, at: at.getTime() });
      if (decision.held > 0) await keepHold(account, endpointId, open, { mailboxId, reason, count: decision.held, history, at });
      else if (open !== null) {
        const outcome = gone.length === 0 ? "reappeared" : (open.decided?.as ?? "released");
        await closeHold(account, endpointId, open, { reason, outcome, at });
      }
    }
    messagesStored.inc({ op: "removed" }, decision.placements.length);
    return { open: decision.held + decision.waiting > 0, owed: commands.length > 0 };
  });

/** The first reading has come to its end: what is there was read. */
export const endFirstReading = async (context: MaildropContext, scope: Scope, total: number): Promise<void> => {
  await inOwnAccount(context, (account) =>
    writeProgress(account, scope.endpointId, { done: total, total, startedAt: new Date() }),
  );
};

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
    await inOwnAccount(context, (account) => storeHashes(account, hashed));
  }
};
