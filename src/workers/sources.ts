/** Where mail that arrives may have come from: looked at before it is taken for something new. */
import type { Session } from "../endpoints/endpoint.ts";
import type { MailboxId, PlacementId } from "../model/ids.ts";
import type { MailboxObservation, UidRange } from "../model/observation.ts";
import type { PlacementView } from "../reconciler/state.ts";
import { inAccount } from "../store/account-tx.ts";
import { markMissing } from "../store/candidates.ts";
import { listSentTo } from "../store/commands.ts";
import { defineInput, ingest } from "../store/inputs.ts";
import { loadBoundUids, loadKnown } from "../store/slices.ts";
import { commitObservation, formsOf, type PreparedBatch } from "./commit.ts";
import { beginEpoch, epochBreakOf, isStranger, strangerAfter } from "./epoch.ts";
import { auditIsDue, backfillDone, type LaneContext, type MailboxLane, scopeOf } from "./lane-state.ts";
import { lackedBy } from "./recognise.ts";
import { applyListing } from "./renames.ts";
import { isStillKnown } from "./sample.ts";
import { placingsUnseen, unheardFrom } from "./unseen-placings.ts";

/** What a whole listing says against what is bound: UIDs gone, and UIDs that should have been read and were not. */
export const compare = async (
  context: LaneContext,
  mailbox: MailboxLane,
  present: readonly number[],
): Promise<{ gone: number[]; missed: number[] }> => {
  const bound = await inAccount(context.db, context.fence, context.accountId, (account) =>
    loadBoundUids(account, scopeOf(context, mailbox)),
  );
  const listed = new Set(present);
  const held = new Set(bound);
  const low = mailbox.backfillLow ?? 1;
  const next = mailbox.cursor?.uidNext ?? 1;
  mailbox.bound = bound.length;
  return {
    gone: bound.filter((uid) => !listed.has(uid)),
    missed: present.filter((uid) => uid >= low && uid < next && !held.has(uid)),
  };
};

/** With what sources are looked at. */
export interface SourceLook {
  readonly session: Session;
  readonly signal: AbortSignal;
  /** Mailboxes that showed all that they are known to have since the place in question was first seen: not to be asked again. */
  readonly settled?: Set<MailboxId>;
}

/** Where mod-sequences went backwards they do not tell what is gone, and all of it is looked at (G5). */
const observeSource = (session: Session, source: MailboxLane, signal: AbortSignal): Promise<MailboxObservation> => {
  const { path, cursor, bound } = source;
  const boundCount = backfillDone(source) ? bound : null;
  return session.observe({ path, since: auditIsDue(source) ? null : cursor, boundCount }, signal);
};

/** Is it what it was, so that what was seen of it may be believed? If not, what follows from that is done. */
const admits = async (
  context: LaneContext,
  { session, signal }: SourceLook,
  { source, uids }: { readonly source: MailboxLane; readonly uids: readonly number[] },
  seen: MailboxObservation,
): Promise<boolean> => {
  const broken = epochBreakOf(source, seen);
  if (broken === "renumbered") await beginEpoch(context, source, seen);
  return broken !== "renumbered" && isStillKnown(context, session, source, { seen, full: auditIsDue(source), uids }, signal);
};

interface Difference {
  readonly gone: readonly number[];
  readonly missed: readonly number[];
  /** Of all that is bound; else only of what was asked for. */
  readonly listed: boolean;
}

const none: Difference = { gone: [], missed: [], listed: false };

/** @param uids Ascending. */
export const toRanges = (uids: readonly number[]): UidRange[] => {
  const ranges: { from: number; to: number }[] = [];
  for (const uid of uids) {
    const last = ranges.at(-1);
    if (last !== undefined && uid === last.to + 1) last.to = uid;
    else ranges.push({ from: uid, to: uid });
  }
  return ranges;
};

/**
 * Of a mailbox whose first reading is not done: what is bound and not there any more. It is asked for these UIDs first, for a listing
 * of all there is would be long; but that an answer lacks one says less than a listing that does (G1).
 */
const goneUnderWay = async (
  context: LaneContext,
  { session, signal }: SourceLook,
  { source, uids }: { readonly source: MailboxLane; readonly uids: readonly number[] },
): Promise<Difference> => {
  const { path, cursor } = source;
  const ranges = toRanges(uids.toSorted((a, b) => a - b));
  const there = new Set<number>();
  for await (const lines of session.heads({ path, uidValidity: cursor?.uidValidity ?? 0, ranges, bare: true }, signal))
    for (const { uid } of lines) there.add(uid);
  if (uids.every((uid) => there.has(uid))) return none;
  const seen = await session.observe({ path, since: null, boundCount: null }, signal);
  if (seen.present === null || epochBreakOf(source, seen) !== null) return none;
  return { ...(await compare(context, source, seen.present)), listed: true };
};

const differenceOf = async (
  context: LaneContext,
  look: SourceLook,
  asked: { readonly source: MailboxLane; readonly uids: readonly number[] },
  { present, vanished }: MailboxObservation,
): Promise<Difference> => {
  if (present !== null) return { ...(await compare(context, asked.source, present)), listed: true };
  return backfillDone(asked.source) ? { gone: vanished, missed: [], listed: true } : goneUnderWay(context, look, asked);
};

/** It has what it had, and nothing else. */
const isQuiet = (source: MailboxLane, seen: MailboxObservation): boolean =>
  seen.exists > 0 && seen.uidNext === source.cursor?.uidNext && epochBreakOf(source, seen) === null;

const missSource = async (
  context: LaneContext,
  look: SourceLook,
  { source, uids }: { readonly source: MailboxLane; readonly uids: readonly number[] },
): Promise<boolean> => {
  const { session, signal, settled } = look;
  const { cursor, backfillLow } = source;
  if (cursor === null || backfillLow === null) return false;
  const seen = await observeSource(session, source, signal);
  if (epochBreakOf(source, seen) === "renumbered" && isStranger(source, seen)) {
    const survey = await session.survey(signal);
    const { gone } = await applyListing(context, session, survey, signal);
    source.stranger = strangerAfter(survey);
    if (isStranger(source, seen)) return gone;
    return (context.mailboxes.has(source.mailboxId) && (await missSource(context, look, { source, uids }))) || gone;
  }
  if (!(await admits(context, look, { source, uids }, seen))) return false;
  const { gone, missed, listed } = await differenceOf(context, look, { source, uids }, seen);
  // News of its own waits for its own look, as does what follows from lost mod-sequences (G5). Then, and in a mailbox that seems
  // empty (G4), only what is here again is missed.
  const isComplete = listed && isQuiet(source, seen) && missed.length === 0;
  const whole = isComplete && backfillDone(source);
  const absent = isComplete ? gone : gone.filter((uid) => uids.includes(uid));
  if (isComplete) settled?.add(source.mailboxId);
  if (absent.length === 0) return false;
  const { uidValidity, uidNext, highestModseq } = seen;
  const move = { cursor: whole ? { uidValidity, uidNext, highestModseq } : cursor, backfillLow };
  // It arrived where this look began: what is gone here was moved, and no POP3 device took it.
  const around = { elsewhere: false, arrived: true };
  const facts = { flags: whole ? seen.flags : [], absent, around };
  await commitObservation(context, source, { ...facts, move, ...(whole && { counts: seen }) });
  return true;
};

const placementsLacked = defineInput(
  "observation",
  "imap.lacked",
  (account, { placementIds }: { readonly placementIds: readonly PlacementId[] }) => markMissing(account, placementIds),
);

/** What a new epoch of its mailbox does not show any more has gone before anybody asks whether that is the old mailbox (B4). */
const missRenumbered = async (
  context: LaneContext,
  { session, signal }: SourceLook,
  { source, ids }: { readonly source: MailboxLane; readonly ids: readonly PlacementId[] },
): Promise<boolean> => {
  const lacked = await lackedBy(context, session, source, ids, signal);
  if (lacked.length === 0) return false;
  const marked = await ingest(context, placementsLacked, { placementIds: lacked });
  // Without them it may be what it was.
  if (marked > 0 && source.held > 0) Object.assign(source, { held: 0, compared: false });
  return marked > 0;
};

type Claimed = Pick<PlacementView, "id" | "lifecycle" | "absent" | "binding">;

/** By the mailbox that shows them, or showed them before it was numbered anew. */
const bySource = (placements: readonly Claimed[]): Map<MailboxId, { uids: number[]; ids: PlacementId[] }> => {
  const sources = new Map<MailboxId, { uids: number[]; ids: PlacementId[] }>();
  for (const { id, lifecycle, absent, binding } of placements) {
    if (absent || binding === null || !(binding.active || (lifecycle === "live" && binding.closedReason === "epoch"))) continue;
    const source = sources.get(binding.mailboxId) ?? { uids: [], ids: [] };
    if (binding.active) source.uids.push(binding.uid);
    source.ids.push(id);
    sources.set(binding.mailboxId, source);
  }
  return sources;
};

/**
 * Where we put it, and nobody has seen it: if it went from there, this is where it went. What is there and not read may be it, and what
 * seems empty is not believed (G4).
 */
const missUnseenIn = async (
  context: LaneContext,
  look: SourceLook,
  source: MailboxLane,
  asked: readonly PlacementId[],
): Promise<boolean> => {
  const { path, cursor, bound } = source;
  if (cursor === null || !backfillDone(source)) return false;
  const scope = scopeOf(context, source);
  const from = await unheardFrom(context, scope, asked);
  if (from === null) return false;
  const since = from < cursor.uidNext || auditIsDue(source) ? null : cursor;
  const seen = await look.session.observe({ path, since, boundCount: bound }, look.signal);
  if (epochBreakOf(source, seen) !== null || !(await admits(context, look, { source, uids: [] }, seen))) return false;
  if (seen.present === null || (seen.exists === 0 && bound > 0) || seen.present.some((uid) => uid >= cursor.uidNext))
    return false;
  const arrived = { from, to: seen.uidNext, shown: seen.present.filter((uid) => uid >= from) };
  return (await ingest(context, placingsUnseen, { scope, arrived, asked })) > 0;
};

const isUnshown = ({ lifecycle, absent, binding }: Claimed): boolean =>
  lifecycle === "live" && !absent && binding?.active !== true;

/**
 * Before a second placement is made of a message we hold: is the first one still there? Servers add before they remove
 * (RFC 6851 3.3), so a mail that was moved may be seen where it arrived before it is missed where it was.
 * @returns whether one of `placements` is missing in another mailbox than this.
 */
export const missSources = async (
  context: LaneContext,
  look: SourceLook,
  mailbox: MailboxLane,
  placements: readonly Claimed[],
): Promise<boolean> => {
  let missing = false;
  const unshown = placements.filter(isUnshown).map(({ id }) => id);
  for (const id of await listSentTo(context.db, context, unshown)) {
    const source = context.mailboxes.get(id);
    if (id === mailbox.mailboxId || source?.selectable !== true || source.parkedUntil > Date.now()) continue;
    missing = (await missUnseenIn(context, look, source, unshown)) || missing;
  }
  for (const [id, { uids, ids }] of bySource(placements)) {
    const source = context.mailboxes.get(id);
    if (id === mailbox.mailboxId || source?.selectable !== true || source.parkedUntil > Date.now() || look.settled?.has(id))
      continue;
    if (uids.length > 0) missing = (await missSource(context, look, { source, uids })) || missing;
    if (source.epoch > 0 && !backfillDone(source)) missing = (await missRenumbered(context, look, { source, ids })) || missing;
  }
  return missing;
};

/** The first of a batch of messages that we hold elsewhere may be gone there. @returns whether one is. */
export const missSourcesOf = async (
  context: LaneContext,
  look: SourceLook,
  mailbox: MailboxLane,
  batch: Pick<PreparedBatch, "items" | "contents">,
): Promise<boolean> => {
  const hashes = batch.items.flatMap(({ octets }) => (octets === null ? [] : [octets.sha256]));
  const known = await inAccount(context.db, context.fence, context.accountId, (account) =>
    loadKnown(account, context.endpointId, hashes, formsOf(batch)),
  );
  const placements = [...known.values()].flatMap((message) => message.placements);
  return missSources(context, look, mailbox, placements);
};
