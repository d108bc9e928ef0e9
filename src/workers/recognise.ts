/**
 * A mailbox that its server numbers anew (semantics G5, ID-8, B4): its mail is known again by header blocks, so that ids stay and no
 * body is read twice. The same way a mailbox is known that a new endpoint shows.
 */
import type { Session } from "../endpoints/endpoint.ts";
import type { MailboxId, PlacementId } from "../model/ids.ts";
import type { Role } from "../model/mail.ts";
import type { UidRange } from "../model/observation.ts";
import { acceptsEpoch, countFound, type Rebound, recognisable } from "../reconciler/epoch.ts";
import { isRebuilt } from "../reconciler/mailboxes.ts";
import type { Scope } from "../reconciler/state.ts";
import { inAccount, type InputTx } from "../store/account-tx.ts";
import { countRebound } from "../store/epochs.ts";
import { closeHold, epochDecision, type HoldOutcome, keepHold, loadHolds } from "../store/holds.ts";
import { defineInput, ingest } from "../store/inputs.ts";
import { readObjectId, writeObjectId } from "../store/mailbox-writes.ts";
import { loadBoundUids, loadMailboxes } from "../store/slices.ts";
import { commitItems, emptyBatch } from "./commit.ts";
import { epochHeld, settleLeftOver } from "./epoch-holds.ts";
import { emptyConfirmMs, type LaneContext, type MailboxLane, scopeOf } from "./lane-state.ts";
import { commitPairs } from "./rebinding.ts";
import { Recognition } from "./recognition.ts";

/** Items bound in one transaction. */
const batchSize = 2_000;

interface RecognisedFacts {
  readonly scope: Scope;
  readonly role: Role | null;
  /** By which the server knows what it lists now; null: it does not tell. */
  readonly objectId: string | null;
  /** The same of all mailboxes. */
  readonly ids: readonly (readonly [MailboxId, string | null])[];
  /** Placements that were in it, and how many of them were found again among what is listed. */
  readonly old: number;
  readonly found: number;
  readonly listed: number;
}

/** `held`: so many placements wait for somebody to say what it is. `replaced`: it is another mailbox (D9). */
type Recognised = Pick<MailboxLane, "held" | "replaced">;

/**
 * ID-8, B4, D9: what it holds says that it is the mailbox that it was, whatever id it has now, for servers that lose their indexes
 * give new ones. Where it does not, another id says that it is another mailbox; of INBOX there is only one (D12), and where most
 * have other ids the server may still be filled again: then nothing ends.
 */
const decideRecognised = async (
  account: InputTx,
  { scope, role, objectId, ids, ...seen }: RecognisedFacts,
): Promise<Recognised> => {
  const { endpointId, mailboxId, epoch } = scope;
  const already = await countRebound(account.tx, account.accountId, scope);
  const counts = { before: already + seen.old, rebound: already + seen.found, listed: seen.listed };
  const open = (await loadHolds(account, epochHeld)).get(mailboxId) ?? null;
  const end = async (outcome: HoldOutcome): Promise<void> =>
    open === null ? undefined : closeHold(account, endpointId, open, { reason: epochHeld, outcome, rule: "B4" });
  const known = await readObjectId(account, scope);
  const isOther = objectId !== null && known !== null && objectId !== known;
  if (acceptsEpoch(counts) || (await epochDecision(account, mailboxId, epoch)) !== null) {
    await end("rebound");
    if (isOther) await writeObjectId(account, scope, objectId);
    return { held: 0, replaced: false };
  }
  if (isOther && role !== "inbox" && !isRebuilt(await loadMailboxes(account, endpointId), new Map(ids))) {
    await end("released");
    return { held: 0, replaced: true };
  }
  const history = { epoch, from: account.input.at.getTime(), cuts: [] };
  const count = counts.before - counts.rebound;
  await keepHold(account, endpointId, open, { mailboxId, reason: epochHeld, count, history, rule: "B4" });
  return { held: count, replaced: false };
};

const mailboxRecognised = defineInput("observation", "imap.recognised", decideRecognised);

/** Is it the mailbox that it was? If not, nothing of it is believed until somebody says so, or the next survey sets it right. */
const accept = async (
  context: LaneContext,
  mailbox: MailboxLane,
  known: Recognition,
  pairs: readonly Rebound[],
): Promise<boolean> => {
  const { before, rebound } = countFound(known.old, recognisable(known.old, known.items, pairs));
  const { role, objectId } = mailbox;
  const recognised = await ingest(context, mailboxRecognised, {
    scope: scopeOf(context, mailbox),
    role,
    objectId,
    ids: [...context.mailboxes.values()].map((one) => [one.mailboxId, one.objectId] as const),
    old: before,
    found: rebound,
    listed: mailbox.bound + known.items.length,
  });
  // B2: that one mailbox has taken the place of another is nothing wrong with the server.
  if (mailbox.epoch > 0 && mailbox.held === 0 && !recognised.replaced) context.trouble.noteEpoch();
  Object.assign(mailbox, recognised);
  return recognised.held === 0 && !recognised.replaced;
};

/** Everything that is listed is known: there is no octet to read. */
const endReading = async (context: LaneContext, mailbox: MailboxLane): Promise<void> => {
  const { cursor } = mailbox;
  if (cursor === null) return;
  await commitItems(context, mailbox, {
    batch: emptyBatch,
    reason: "backfilled",
    move: { cursor, backfillLow: 1, audited: true },
  });
};

const bindAll = async (context: LaneContext, mailbox: MailboxLane, known: Recognition, until: number): Promise<boolean> => {
  const pairs = known.pairs ?? [];
  const byUid = new Map(known.items.map((item) => [item.uid, item]));
  while (known.committed < pairs.length) {
    const found = pairs.slice(known.committed, known.committed + batchSize).flatMap((pair) => {
      const item = byUid.get(pair.uid);
      return item === undefined ? [] : [{ pair, item }];
    });
    mailbox.bound += (await commitPairs(context, mailbox, found)).length;
    known.committed += batchSize;
    if (Date.now() >= until) return false;
  }
  return true;
};

/** Header blocks of mail that was never here are worth a look where they may save one body of so many. */
const worthIt = 10;

interface Turn {
  readonly context: LaneContext;
  readonly session: Session;
  readonly mailbox: MailboxLane;
  /** In ms since 1970. */
  readonly until: number;
  readonly signal: AbortSignal;
}

/** Reads what is to be compared. `nothing`: there is nothing that it would pay to compare. `later`: the turn is over. */
const readBoth = async (turn: Turn, known: Recognition): Promise<"read" | "nothing" | "later"> => {
  const { context, session, mailbox, until, signal } = turn;
  const { db, accountId } = context;
  const load = (): Promise<boolean> => known.loadMore(db, accountId, scopeOf(context, mailbox));
  const inTime = async (more: () => Promise<boolean>): Promise<boolean> => {
    while (await more()) if (Date.now() >= until) return false;
    return true;
  };
  const { path, cursor } = mailbox;
  const source = { session, mailbox: { path, uidValidity: cursor?.uidValidity ?? 0 }, until, signal };
  // The first of them tell whether it was numbered anew; then nothing has to wait for the other side.
  if (known.old.length === 0) await load();
  if (!known.old.some(({ lost }) => lost)) {
    if (!(await inTime(load))) return "later";
    if (known.old.length === 0 || known.old.length * worthIt < mailbox.exists) return "nothing";
  }
  const listed = await Promise.all([inTime(load), known.listItems(source)]);
  if (!listed.every(Boolean)) return "later";
  const read = await Promise.all([inTime(() => known.loadHeads(db, accountId)), known.readHeads(source)]);
  return read.every(Boolean) ? "read" : "later";
};

/**
 * G4: what was in it was all to be removed, so that nothing holds it when it shows nothing. A server that has lost its indexes for a
 * moment looks the same.
 */
const isEmptied = ({ bound }: MailboxLane, { old, items }: Recognition): boolean => {
  const lost = old.filter((one) => one.lost);
  return bound + items.length === 0 && lost.length > 0 && lost.every(({ doomed }) => doomed === true);
};

/** Puts it aside until it is seen again. @returns whether it has to be. */
const waitsToBeSeenAgain = (mailbox: MailboxLane, known: Recognition, ranges: () => readonly UidRange[]): boolean => {
  if (!isEmptied(mailbox, known)) return false;
  const emptySince = known.emptySince || Date.now();
  const againAt = emptySince + emptyConfirmMs;
  if (Date.now() >= againAt) return false;
  mailbox.parkedUntil = againAt;
  mailbox.recognition = Object.assign(new Recognition(ranges()), { emptySince });
  return true;
};

/**
 * Binds what is known of a mailbox that is about to be read, until `until` (in ms since 1970).
 * @returns whether it came to an end; the mailbox is held then, or left to be read.
 */
export const recognise = async (
  context: LaneContext,
  session: Session,
  mailbox: MailboxLane,
  { ranges, until }: { readonly ranges: () => readonly UidRange[]; readonly until: number },
  signal: AbortSignal,
): Promise<boolean> => {
  const known = (mailbox.recognition ??= new Recognition(ranges()));
  const read = await readBoth({ context, session, mailbox, until, signal }, known);
  if (read === "later") return false;
  if (read === "read") {
    if (known.pairs === null) {
      if (waitsToBeSeenAgain(mailbox, known, ranges)) return false;
      const pairs = known.pair();
      known.pairs = (await accept(context, mailbox, known, pairs)) ? pairs : [];
    }
    if (!(await bindAll(context, mailbox, known, until))) return false;
    if (mailbox.held === 0 && !mailbox.replaced && known.pairs.length === known.items.length && mailbox.bound >= mailbox.exists)
      await endReading(context, mailbox);
    // Nothing of it is left to wait for: what was held, if anything was, is no more.
  } else if (mailbox.epoch > 0) await accept(context, mailbox, known, []);
  mailbox.recognition = null;
  mailbox.compared = true;
  return true;
};

/** Mailboxes of so many messages at most are compared before their turn. */
const comparedAhead = 1_000;

/**
 * Of a mailbox that was numbered anew, and is not read yet or is held: which of these placements are surely not among its items.
 * None where that would take long, or header blocks do not tell.
 */
export const lackedBy = async (
  context: LaneContext,
  session: Session,
  mailbox: MailboxLane,
  ids: readonly PlacementId[],
  signal: AbortSignal,
): Promise<PlacementId[]> => {
  const { path, cursor, exists } = mailbox;
  if (cursor === null || exists > comparedAhead) return [];
  const { uidValidity, uidNext } = cursor;
  const known = new Recognition(uidNext > 1 ? [{ from: 1, to: uidNext - 1 }] : []);
  const { db, accountId } = context;
  if (await known.loadMore(db, accountId, scopeOf(context, mailbox))) return [];
  const source = { session, mailbox: { path, uidValidity }, until: Number.POSITIVE_INFINITY, signal };
  await known.listItems(source);
  await known.loadHeads(db, accountId);
  await known.readHeads(source);
  const pairs = known.pair();
  const shown = new Set<string | number | null>(pairs.flatMap(({ placementId, uid }) => [placementId, uid]));
  const others = new Set(known.items.flatMap(({ uid, head }) => (shown.has(uid) ? [] : [head])));
  const isLacked = (head: string | null): boolean => others.size === 0 || (head !== null && !others.has(head));
  const missing = known.old.filter(({ placementId, head }) => !shown.has(placementId) && isLacked(head));
  const wanted = new Set(ids);
  return missing.flatMap(({ placementId }) => (wanted.has(placementId) ? [placementId] : []));
};

/**
 * What comes into a held mailbox may be what it was waiting for, as when a lost index is mended (S19). @returns the UIDs of
 * `ranges` that are bound now, ascending.
 */
export const recogniseNews = async (
  context: LaneContext,
  session: Session,
  mailbox: MailboxLane,
  ranges: readonly UidRange[],
  signal: AbortSignal,
): Promise<readonly number[]> => {
  const count = ranges.reduce((sum, { from, to }) => sum + to - from + 1, 0);
  if (mailbox.held === 0 || count * worthIt < mailbox.held) return [];
  await recognise(context, session, mailbox, { ranges: () => ranges, until: Number.POSITIVE_INFINITY }, signal);
  if (mailbox.held > 0 || mailbox.replaced) return [];
  await settleLeftOver(context, mailbox);
  const bound = await inAccount(context.db, context.fence, context.accountId, (account) =>
    loadBoundUids(account, scopeOf(context, mailbox)),
  );
  return bound.filter((uid) => ranges.some(({ from, to }) => uid >= from && uid <= to));
};
