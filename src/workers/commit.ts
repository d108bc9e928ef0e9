/** Commits what was observed: one transaction each, decided by the reconciler, with the cursor that it stands for. */
import { uuidv7 } from "uuidv7";
import { type Fingerprint, fingerprint } from "../mime/fingerprint.ts";
import { readHeaders } from "../mime/headers.ts";
import type { FetchedItem, FlagsFact, MailboxCursor } from "../model/observation.ts";
import type { Octets } from "../model/octets.ts";
import { type ItemFact, reconcileFlags, reconcileItems } from "../reconciler/items.ts";
import type { PlacementView } from "../reconciler/state.ts";
import { revertEarlier } from "../reconciler/pop3-seen.ts";
import { reconcileAbsences } from "../reconciler/vanish.ts";
import { excludesStoreIn, isDeleted, learnArithmetic, type ModseqStep } from "../reconciler/vanish-evidence.ts";
import { type AccountTx, inAccount } from "../store/account-tx.ts";
import { storeBlobs } from "../store/blob-writes.ts";
import { applyDecision, type MessageContent } from "../store/decisions.ts";
import { writeCursor } from "../store/mailbox-writes.ts";
import { loadBound, loadKnown } from "../store/slices.ts";
import { step } from "../telemetry/failpoint.ts";
import { coverageGaps, messagesStored } from "../telemetry/metrics.ts";
import { type ArrivalWindow, type ArrivedUids, measureArrivals, noteCoverageGap, noteRepair } from "./arrivals.ts";
import { confirmClaims, loadClaims } from "./claims.ts";
import { believedFlags } from "./flag-loss.ts";
import { loadContests } from "./contests.ts";
import { loadBoundAgainst } from "./echoes.ts";
import { type LaneContext, type MailboxLane, scopeOf } from "./lane-state.ts";
import { opinionsOn, oweOpinions } from "./opinions.ts";
import { settleRetrievals } from "./retrievals.ts";
import { drainToTrash, judgeSeen, type SeenSurroundings } from "./seen.ts";

const octetsOf = (items: readonly FetchedItem[]): Octets[] =>
  items.flatMap((item) => (item.octets === null ? [] : [item.octets]));

export const disposeItems = async (items: readonly FetchedItem[]): Promise<void> => {
  await Promise.all(octetsOf(items).map((octets) => octets.dispose()));
};

/** A batch whose octets are durable and whose headers are read: all that does not need the account's lock. */
export interface PreparedBatch {
  readonly items: readonly FetchedItem[];
  readonly facts: readonly ItemFact[];
  readonly contents: readonly MessageContent[];
  /** Hashes that may belong to messages the account has; the others were stored for the first time with this batch. */
  readonly seen: readonly Buffer[];
}

/** Normal forms of the batch, where another view of the account may have shown its mail. */
export const formsOf = ({ contents }: PreparedBatch): Buffer[] =>
  contents.flatMap(({ fingerprint: print }) => (print?.hFull == null ? [] : [print.hFull]));

/** Makes the octets of a batch durable. Done before, and apart from, the commit that refers to them. */
export const prepareBatch = async (context: LaneContext, items: readonly FetchedItem[]): Promise<PreparedBatch> => {
  step("before blobs");
  const stored = storeBlobs(context.db, context, octetsOf(items));
  // Read while the database writes.
  stored.catch(() => undefined);
  const prints = context.twoViews ? await Promise.all(items.map(fingerprintOf)) : [];
  const facts = items.map((item, index) => factOf(item, prints[index] ?? null));
  const prepared = { items, facts, contents: items.map((item, index) => contentOf(item, prints[index] ?? null)) };
  const seen = await stored;
  step("after blobs");
  return { ...prepared, seen };
};

const fingerprintOf = async (item: FetchedItem): Promise<Fingerprint | null> =>
  item.octets === null ? null : fingerprint(item.octets.parts());

const factOf = (item: FetchedItem, print: Fingerprint | null): ItemFact => ({
  uid: item.uid,
  flags: item.flags,
  modseq: item.modseq,
  receivedAt: item.internalDate.getTime(),
  sha256: item.octets?.sha256.toString("hex") ?? null,
  ...(print !== null && { hFull: print.hFull.toString("hex") }),
});

const contentOf = (item: FetchedItem, print: Fingerprint | null): MessageContent => ({
  receivedAt: item.internalDate,
  headers: item.octets === null ? null : readHeaders(item.octets.head),
  octets: item.octets,
  ...(print !== null && { fingerprint: print }),
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

const cursorWrite = (mailbox: MailboxLane, move: CursorMove) => ({
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
  account: AccountTx,
  context: LaneContext,
  { mailbox, move, at }: { readonly mailbox: MailboxLane; readonly move: CursorMove; readonly at: Date },
): Promise<number> => {
  const { arrived } = move;
  const scope = scopeOf(context, mailbox);
  const unseen = arrived == null ? 0 : await noteCoverageGap(account, scope, arrived, at);
  await writeCursor(account, context.endpointId, cursorWrite(mailbox, move), at);
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

const writeItems = (context: LaneContext, mailbox: MailboxLane, request: ItemsCommit, seen: readonly Buffer[]) => {
  const { move } = request;
  const { items, facts, contents } = request.batch;
  const at = new Date();
  const scope = scopeOf(context, mailbox);
  const uids = request.unbound === true ? [] : items.map((item) => item.uid);
  return inAccount(context.db, context.fence, context.accountId, async (account) => {
    const { bound, closed } = await loadBound(account, scope, uids);
    const known = await loadKnown(account, context.endpointId, seen, formsOf(request.batch));
    const claims = await loadClaims(account, scope, items);
    const decision = reconcileItems({
      scope,
      items: facts,
      bound,
      known,
      claims,
      permanentFlags: mailbox.permanentFlags,
      toTrash: await drainToTrash(account, context, mailbox, known),
      contests: await loadContests(account, context, {
        placements: [...known.values()].flatMap(({ placements }) => placements),
        readAt: request.readAt ?? at.getTime(),
      }),
      freshIds: Array.from({ length: 2 * items.length }, () => uuidv7()),
      reason: request.reason,
    });
    const existing = new Set([...bound.keys(), ...closed]);
    await applyDecision(account, decision, { scope, contents, existing, at, inputId: null });
    await confirmClaims(account, claims, decision, at);
    if (context.twoViews) await settleRetrievals(account, at);
    const unseen = move === null ? 0 : await moveCursor(account, context, { mailbox, move, at });
    const created = decision.newMessages.map(({ item }) => contents[item]?.receivedAt ?? at);
    return { created, unseen, bound: decision.bindings.filter((binding) => !bound.has(binding.uid)).length };
  });
};

/** New items whose octets are stored: identity, rows, log, and the cursor. Answers how many messages are new. */
export const commitItems = async (context: LaneContext, mailbox: MailboxLane, request: ItemsCommit): Promise<number> => {
  const { batch, move } = request;
  if (batch.items.length === 0 && move === null) return 0;
  step("before commit");
  const outcome = await writeItems(context, mailbox, request, batch.seen).catch((error: unknown) => {
    if (!isLateTwin(error)) throw error;
    return writeItems(
      context,
      mailbox,
      request,
      octetsOf(batch.items).map((octets) => octets.sha256),
    );
  });
  step("after commit");
  mailbox.bound += outcome.bound;
  if (move !== null) remember(mailbox, move);
  const { created } = outcome;
  coverageGaps.inc(outcome.unseen);
  messagesStored.inc({ op: "created" }, created.length);
  if (request.came !== undefined) measureArrivals("imap", created, request.came);
  return created.length;
};

export interface ObservationCommit {
  readonly flags: readonly FlagsFact[];
  readonly absent: readonly number[];
  readonly move: CursorMove;
  readonly around?: SeenSurroundings;
  /** `flags` are those of every item of the mailbox. */
  readonly whole?: boolean;
  /** The server had told of no change. */
  readonly audit?: boolean;
  /** Mod-sequences ran backwards: what is not there any more may have been lost (G5). */
  readonly regressed?: boolean;
  /** The read that showed it all; null: what it says of mod-sequences does not belong to what is committed. */
  readonly counts?: { readonly uidNext: number; readonly highestModseq: bigint | null };
}

/** What the reads before and after say of mod-sequences, with all that was seen to change between them. */
const stepOf = (
  { cursor }: MailboxLane,
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

/** Flags and absences of known items, and the cursor: one transaction. */
export const commitObservation = async (
  context: LaneContext,
  mailbox: MailboxLane,
  request: ObservationCommit,
): Promise<void> => {
  const at = new Date();
  const scope = scopeOf(context, mailbox);
  step("before commit");
  const done = await inAccount(context.db, context.fence, context.accountId, async (account) => {
    const uids = [...request.flags.map((fact) => fact.uid), ...request.absent];
    const { bound, closed, echoes } = await loadBoundAgainst(account, scope, { uids, facts: request.flags });
    const surroundings = { scope, contents: [], existing: new Set<number>([...bound.keys(), ...closed]), at, inputId: null };
    const seen = await judgeSeen(account, context, mailbox, { ...request, around: request.around, bound, at });
    const { whole = false, regressed = false } = request;
    const facts = await believedFlags(account, context, mailbox, { flags: request.flags, bound, whole, regressed, at });
    const opinions = await opinionsOn(account, context, mailbox, { bound, facts });
    const flags = reconcileFlags({ scope, facts, bound, seen, echoes, opinions });
    await applyDecision(account, flags, surroundings);
    if (seen?.earlier != null) {
      const { uid } = seen.earlier;
      const placement = (await loadBound(account, scope, [uid])).bound.get(uid);
      if (placement !== undefined) await applyDecision(account, revertEarlier(scope, seen, placement), surroundings);
    }
    await oweOpinions(account, context, flags, opinions);
    messagesStored.inc({ op: "updated" }, flags.placements.length);
    const counted = stepOf(mailbox, request, bound);
    const known = context.modseq.known;
    const trace = { newBelow: mailbox.cursor?.uidNext ?? 0, storeExcluded: counted !== null && excludesStoreIn(known, counted) };
    const absences = reconcileAbsences({ scope, uids: request.absent, bound, trace });
    await applyDecision(account, absences, surroundings);
    if (request.audit === true) await noteRepair(account, scope, flags.bindings.length + absences.closed.length, at);
    if (context.twoViews) await settleRetrievals(account, at);
    const unseen = await moveCursor(account, context, { mailbox, move: request.move, at });
    return { closed: absences.closed.length, unseen, modseq: counted === null ? known : learnArithmetic(known, counted) };
  });
  step("after commit");
  context.modseq.known = done.modseq;
  coverageGaps.inc(done.unseen);
  mailbox.bound -= done.closed;
  remember(mailbox, request.move);
};
