/** Commits what was observed: one transaction each, decided by the reconciler, with the cursor that it stands for. */
import type { MailFacts } from "../mime/facts.ts";
import type { FetchedItem, FlagsFact, MailboxCursor } from "../model/observation.ts";
import type { Octets } from "../model/octets.ts";
import { newsAmong } from "../reconciler/flag-news.ts";
import { type Claimed, type ItemFact, reconcileItems } from "../reconciler/items.ts";
import { reconcileFlags } from "../reconciler/observed-flags.ts";
import type { PlacementView, Scope } from "../reconciler/state.ts";
import { revertEarlier } from "../reconciler/pop3-seen.ts";
import { reconcileAbsences } from "../reconciler/vanish.ts";
import { excludesStoreIn, isDeleted, learnArithmetic, type ModseqStep } from "../reconciler/vanish-evidence.ts";
import type { InputTx } from "../store/account-tx.ts";
import { storeBlobs } from "../store/blob-writes.ts";
import { loadUnshown } from "../store/claims.ts";
import { applyDecision, type MessageContent } from "../store/decisions.ts";
import { defineInput, ingest, type StoredOctets } from "../store/inputs.ts";
import { writeCursor } from "../store/mailbox-writes.ts";
import { noteRenderings } from "../store/renderings.ts";
import { loadDoomed } from "../store/epochs.ts";
import { loadBound, loadKnown, readAgreed } from "../store/slices.ts";
import { step } from "../telemetry/failpoint.ts";
import { coverageGaps, messagesStored } from "../telemetry/metrics.ts";
import { type ArrivalWindow, type ArrivedUids, measureArrivals, noteCoverageGap, noteRepair } from "./arrivals.ts";
import { confirmClaims, loadClaims, type NormalForms, readForms, type ShownItem } from "./claims.ts";
import { findMeant, type MeantAs } from "./meant.ts";
import { believedFlags } from "./flag-loss.ts";
import { loadContests } from "./contests.ts";
import { loadBoundAgainst } from "./echoes.ts";
import { forksOf } from "./forks.ts";
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
import { opinionsOn, oweOpinions } from "./opinions.ts";
import { settleRetrievals } from "./retrievals.ts";
import { expectStubs } from "./stubs.ts";
import { drainToTrash, judgeSeen, type SeenSurroundings } from "./seen.ts";
import { missUnseen } from "./unseen-placings.ts";

const octetsOf = (items: readonly ShownItem[]): Octets[] => items.flatMap((item) => (item.octets === null ? [] : [item.octets]));

export const disposeItems = async (items: readonly FetchedItem[]): Promise<void> => {
  await Promise.all(octetsOf(items).map((octets) => octets.dispose()));
};

/** A batch whose octets are durable and whose headers are read: all that does not need the account's lock. */
export interface PreparedBatch {
  readonly items: readonly ShownItem[];
  readonly facts: readonly ItemFact[];
  readonly contents: readonly MessageContent[];
  /** Hashes that may belong to messages the account has; the others were stored for the first time with this batch. */
  readonly seen: readonly Buffer[];
}

/** Normal forms of the batch, where another view of the account may have shown its mail. */
export const formsOf = ({ contents }: Pick<PreparedBatch, "contents">): Buffer[] =>
  contents.flatMap(({ fingerprint: print }) => (print?.hFull == null ? [] : [print.hFull]));

/** Makes the octets of a batch durable. Done before, and apart from, the commit that refers to them. */
export const prepareBatch = async (context: LaneContext, items: readonly FetchedItem[]): Promise<PreparedBatch> => {
  if (items.some(({ octets }) => octets === null)) expectStubs(context);
  step("before blobs");
  const stored = storeBlobs(context.db, context, octetsOf(items));
  // Read while the database writes.
  stored.catch(() => undefined);
  const told = await factsOf(context, items);
  const facts = items.map((item, index) => factOf(item, told[index] ?? null));
  const prepared = { items, facts, contents: items.map((item, index) => contentOf(item, told[index] ?? null)) };
  const seen = await stored;
  step("after blobs");
  return { ...prepared, seen };
};

/** By item; null where the server gave no octets. */
const factsOf = async ({ facts, twoViews }: LaneContext, items: readonly FetchedItem[]): Promise<(MailFacts | null)[]> => {
  const read = await facts.read(octetsOf(items), { receivedAt: false, print: twoViews });
  let at = 0;
  return items.map(({ octets }) => (octets === null ? null : (read[at++] ?? null)));
};

const factOf = ({ internalDate, octets, unavailable: _why, ...listed }: FetchedItem, told: MailFacts | null): ItemFact => ({
  ...listed,
  receivedAt: internalDate.getTime(),
  sha256: octets?.sha256.toString("hex") ?? null,
  ...(told?.print != null && { hFull: told.print.hFull.toString("hex") }),
});

const contentOf = (item: FetchedItem, told: MailFacts | null): MessageContent => ({
  receivedAt: item.internalDate,
  headers: told?.headers ?? null,
  octets: item.octets,
  ...(told?.print != null && { fingerprint: told.print }),
});

export interface CursorMove {
  /** What a complete listing showed of the UIDs that the move passes; null: there was none. */
  readonly arrived?: ArrivedUids | null;
  readonly cursor: MailboxCursor;
  readonly backfillLow: number;
  readonly audited?: boolean;
  readonly permanentFlags?: readonly string[];
}

const remember = (mailbox: MailboxLane, move: CursorMove): void => {
  mailbox.cursor = move.cursor;
  mailbox.backfillLow = move.backfillLow;
  mailbox.failures = 0;
  mailbox.parkedUntil = 0;
  if (move.audited === true) mailbox.auditedAt = Date.now();
};

const cursorWrite = (mailbox: MailboxFacts, move: CursorMove) => ({
  mailboxId: mailbox.mailboxId,
  epoch: mailbox.epoch,
  ...move.cursor,
  backfillLow: move.backfillLow,
  audited: move.audited ?? false,
  permanentFlags: move.permanentFlags ?? null,
});

export const emptyBatch: PreparedBatch = { items: [], facts: [], contents: [], seen: [] };

/** Moves the cursor, and says what its move passes. @returns how much mail came and went unseen. */
const moveCursor = async (
  account: InputTx,
  lane: LaneFacts,
  { mailbox, move }: { readonly mailbox: MailboxFacts; readonly move: CursorMove },
): Promise<number> => {
  const { arrived } = move;
  const scope = scopeOf(lane, mailbox);
  const unseen = arrived == null ? 0 : await noteCoverageGap(account, scope, arrived);
  await writeCursor(account, lane.endpointId, cursorWrite(mailbox, move));
  return unseen;
};

export interface ItemsCommit {
  readonly batch: PreparedBatch;
  readonly reason: "backfilled" | "delivered";
  readonly move: CursorMove | null;
  /** No UID of the batch was ever bound in this epoch, so that nobody has to look for bindings. */
  readonly unbound?: boolean;
  /** When the read ended that first showed the items, in ms since 1970; absent: just now. */
  readonly readAt?: number;
  /** Of mail that is news: when it may have come. */
  readonly came?: ArrivalWindow;
}

/** Somebody made a message of the same octets after its octets were looked for. */
const isLateTwin = (error: unknown): boolean =>
  error instanceof Error &&
  "code" in error &&
  error.code === "23505" &&
  "table" in error &&
  String(error.table).startsWith("messages");

interface ItemsFacts {
  readonly lane: LaneFacts;
  readonly mailbox: MailboxFacts;
  readonly batch: Omit<PreparedBatch, "items">;
  readonly reason: ItemsCommit["reason"];
  readonly move: CursorMove | null;
  readonly unbound: boolean;
  readonly readAt: number | null;
  readonly meant: readonly MeantAs[];
  readonly forms: NormalForms;
}

/** Those of them that are still what they were when they were compared; the others are mail of its own. */
const claimedOf = async (
  account: InputTx,
  { endpointId, mailboxId }: Scope,
  meant: readonly MeantAs[],
): Promise<ReadonlyMap<number, Claimed>> => {
  if (meant.length === 0) return new Map();
  const ids = meant.map(({ placementId }) => placementId);
  const { views } = await loadUnshown(account.tx, { accountId: account.accountId, endpointId, mailboxId }, { ids });
  return new Map(
    meant.flatMap(({ uid, placementId, confidence }) => {
      const placement = views.get(placementId);
      return placement === undefined ? [] : [[uid, { placement, confidence }] as const];
    }),
  );
};

const decideItems = async (account: InputTx, items: ItemsFacts) => {
  const { lane, mailbox, batch, meant, forms, reason, move, unbound, readAt } = items;
  const { facts, contents, seen } = batch;
  const scope = scopeOf(lane, mailbox);
  const { bound, closed } = await loadBound(account, scope, unbound ? [] : facts.map(({ uid }) => uid));
  const known = await loadKnown(account, lane.endpointId, seen, formsOf(batch));
  const claims = facts.length === 0 ? [] : await loadClaims(account, scope, forms);
  const claimed = await claimedOf(account, scope, meant);
  const placements = [...known.values()].flatMap((message) => message.placements);
  const decision = reconcileItems({
    scope,
    items: facts,
    bound,
    known,
    claims,
    claimed,
    doomed: await loadDoomed(account, scope.endpointId, placements),
    sharedMailbox: lane.sharedMailbox,
    permanentFlags: mailbox.permanentFlags,
    forks: await forksOf(account, scope, items),
    toTrash: await drainToTrash(account, lane, mailbox, known),
    preserves: await isPreserving(account, items),
    contests: await loadContests(account, lane, { placements, readAt: readAt ?? account.input.at.getTime() }),
    freshIds: Array.from({ length: 2 * facts.length }, () => account.input.freshId()),
    reason,
  });
  await applyDecision(account, decision, { scope, contents, existing: new Set([...bound.keys(), ...closed]) });
  const places = new Map(facts.map(({ uid }, item) => [uid, item]));
  const shown = decision.bindings.map(({ uid, placementId }) => ({ item: places.get(uid) ?? -1, placementId }));
  await noteRenderings(account, contents, { shown, newMessages: decision.newMessages });
  await confirmClaims(account, claims, decision);
  if (lane.twoViews) await settleRetrievals(account);
  const unseen = move === null ? 0 : await moveCursor(account, lane, { mailbox, move });
  const created = decision.newMessages.map(({ item }) => contents[item]?.receivedAt ?? account.input.at);
  return { created, unseen, bound: decision.bindings.filter((binding) => !bound.has(binding.uid)).length };
};

/** UIDs, flags and hashes; not what is read from the octets again. */
const keepBatch = ({ facts, contents, seen }: ItemsFacts["batch"]) => ({
  items: facts.map(({ sha256: _sha256, hFull: _hFull, ...fact }) => fact),
  contents: contents.map(keepContent),
  seen,
});

const reviveBatch = async (kept: ReturnType<typeof keepBatch>, stored: StoredOctets): Promise<ItemsFacts["batch"]> => {
  const contents = await Promise.all(kept.contents.map((content) => reviveContent(content, stored)));
  const facts = kept.items.map((item, index) => {
    const { octets: blob, fingerprint: print } = contents[index] ?? { octets: null };
    const sha256 = blob === null ? null : blob.sha256.toString("hex");
    return { ...item, sha256, ...(print?.hFull != null && { hFull: print.hFull.toString("hex") }) };
  });
  return { facts, contents, seen: kept.seen };
};

const itemsSeen = defineInput("observation", "imap.items", decideItems, {
  keep: ({ batch, ...rest }: ItemsFacts) => ({ ...rest, kept: keepBatch(batch) }),
  revive: async ({ kept, ...rest }, stored) => ({ ...rest, batch: await reviveBatch(kept, stored) }),
});

/** New items whose octets are stored: identity, rows, log, and the cursor. Answers how many messages are new. */
export const commitItems = async (context: LaneContext, mailbox: MailboxLane, request: ItemsCommit): Promise<number> => {
  const { batch, move } = request;
  if (batch.items.length === 0 && move === null) return 0;
  step("before commit");
  const { reason, unbound = false, readAt = null } = request;
  const news = batch.items.map(({ uid, octets }, at) => ({
    uid,
    octets,
    messageId: batch.contents[at]?.headers?.messageId ?? null,
  }));
  const meant = await findMeant(context, mailbox, news);
  const forms = await readForms(context, scopeOf(context, mailbox), batch.items);
  const write = (seen: readonly Buffer[]) => {
    const facts = { lane: laneFacts(context), mailbox: mailboxFacts(mailbox), reason, move, unbound, readAt, meant, forms };
    return ingest(context, itemsSeen, { ...facts, batch: { facts: batch.facts, contents: batch.contents, seen } });
  };
  const outcome = await write(batch.seen).catch((error: unknown) => {
    if (!isLateTwin(error)) throw error;
    return write(octetsOf(batch.items).map((octets) => octets.sha256));
  });
  step("after commit");
  mailbox.bound += outcome.bound;
  if (move !== null) remember(mailbox, move);
  coverageGaps.inc(outcome.unseen);
  messagesStored.inc({ op: "created" }, outcome.created.length);
  if (request.came !== undefined) measureArrivals("imap", outcome.created, request.came);
  return outcome.created.length;
};

export interface ObservationCommit {
  readonly flags: readonly FlagsFact[];
  readonly absent: readonly number[];
  readonly move: CursorMove;
  readonly around?: SeenSurroundings;
  /** `flags` are of every item of the mailbox, those that say something new. */
  readonly whole?: boolean;
  /** All that came since something was sent there of which nobody has heard, and has been read; null: there is nothing. */
  readonly unheard?: ArrivedUids | null;
  /** The server had told of no change. */
  readonly audit?: boolean;
  /** Mod-sequences ran backwards: what is not there any more may have been lost (G5). */
  readonly regressed?: boolean;
  /** The read that showed it all; null: what it says of mod-sequences does not belong to what is committed. */
  readonly counts?: { readonly uidNext: number; readonly highestModseq: bigint | null };
}

/** What the reads before and after say of mod-sequences, with all that was seen to change between them. */
const stepOf = (
  { cursor }: MailboxFacts,
  { flags, absent, counts }: ObservationCommit,
  bound: ReadonlyMap<number, PlacementView>,
): ModseqStep | null => {
  if (cursor === null || counts === undefined) return null;
  const vanished = absent.flatMap((uid) => bound.get(uid) ?? []);
  return {
    before: cursor.highestModseq,
    after: counts.highestModseq,
    arrived: counts.uidNext - cursor.uidNext,
    changed: flags,
    vanished: vanished.length,
    vanishedMarked: vanished.filter(({ binding }) => binding?.shadowFlags.some(isDeleted)).length,
  };
};

interface LookFacts {
  readonly lane: LaneFacts;
  readonly mailbox: MailboxFacts;
  readonly look: ObservationCommit;
}

const decideLook = async (account: InputTx, { lane, mailbox, look }: LookFacts) => {
  const scope = scopeOf(lane, mailbox);
  const uids = [...look.flags.map((fact) => fact.uid), ...look.absent];
  const { bound, closed, echoes } = await loadBoundAgainst(account, scope, { uids, facts: look.flags });
  const surroundings = { scope, contents: [], existing: new Set<number>([...bound.keys(), ...closed]) };
  const seen = await judgeSeen(account, lane, mailbox, { ...look, around: look.around, bound });
  const { whole = false, regressed = false } = look;
  const { facts, held } = await believedFlags(account, lane, mailbox, { flags: look.flags, bound, whole, regressed });
  const opinions = await opinionsOn(account, lane, mailbox, { bound, facts });
  const flags = reconcileFlags({ scope, facts, bound, seen, echoes, opinions });
  await applyDecision(account, flags, surroundings);
  if (seen?.earlier != null) {
    const { uid } = seen.earlier;
    const placement = (await loadBound(account, scope, [uid])).bound.get(uid);
    if (placement !== undefined) await applyDecision(account, revertEarlier(scope, seen, placement), surroundings);
  }
  await oweOpinions(account, lane, flags, opinions);
  const counted = stepOf(mailbox, look, bound);
  const storeExcluded = counted !== null && excludesStoreIn(lane.modseq, counted);
  const trace = { newBelow: mailbox.cursor?.uidNext ?? 0, storeExcluded };
  const absences = reconcileAbsences({ scope, uids: look.absent, bound, trace });
  await applyDecision(account, absences, surroundings);
  if (look.audit === true) await noteRepair(account, scope, flags.bindings.length + absences.closed.length);
  if (lane.twoViews) await settleRetrievals(account);
  const unseen = await moveCursor(account, lane, { mailbox, move: look.move });
  const missing = look.unheard == null ? 0 : await missUnseen(account, scope, look.unheard);
  const modseq = counted === null ? lane.modseq : learnArithmetic(lane.modseq, counted);
  return { closed: absences.closed.length, updated: flags.placements.length, unseen, missing, modseq, held };
};

const flagsSeen = defineInput("observation", "imap.flags", decideLook);

/**
 * Flags and absences of known items, and the cursor: one transaction.
 * @returns whether something is missed that was never seen there.
 */
export const commitObservation = async (
  context: LaneContext,
  mailbox: MailboxLane,
  look: ObservationCommit,
): Promise<boolean> => {
  step("before commit");
  const { counts, flags, ...rest } = look;
  const uids = flags.map(({ uid }) => uid);
  const agreed = await readAgreed(context.db, context.accountId, scopeOf(context, mailbox), uids);
  const news = newsAmong(flags, agreed, mailbox.cursor?.highestModseq ?? null);
  const done = await ingest(context, flagsSeen, {
    lane: laneFacts(context),
    mailbox: mailboxFacts(mailbox),
    // Whoever hands over a whole look means no more of it than its counts.
    look: { ...rest, flags: news, ...(counts && { counts: { uidNext: counts.uidNext, highestModseq: counts.highestModseq } }) },
  });
  step("after commit");
  context.modseq.known = done.modseq;
  mailbox.flagsHeld = done.held;
  messagesStored.inc({ op: "updated" }, done.updated);
  coverageGaps.inc(done.unseen);
  mailbox.bound -= done.closed;
  remember(mailbox, look.move);
  return done.missing > 0;
};
