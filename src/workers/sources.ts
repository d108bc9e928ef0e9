/** Where mail that arrives may have come from: looked at before it is taken for something new. */
import type { Session } from "../endpoints/endpoint.ts";
import type { MailboxId, PlacementId } from "../model/ids.ts";
import type { MailboxObservation } from "../model/observation.ts";
import type { PlacementView } from "../reconciler/state.ts";
import { inAccount } from "../store/account-tx.ts";
import { markMissing } from "../store/candidates.ts";
import { defineInput, ingest } from "../store/inputs.ts";
import { loadBoundUids, loadKnown } from "../store/slices.ts";
import { commitObservation, formsOf, type PreparedBatch } from "./commit.ts";
import { beginEpoch, epochBreakOf, isStranger, strangerAfter } from "./epoch.ts";
import { auditIsDue, backfillDone, type LaneContext, type MailboxLane, scopeOf } from "./lane-state.ts";
import { lackedBy } from "./recognise.ts";
import { applyListing } from "./renames.ts";
import { isStillKnown } from "./sample.ts";
import { goneUnread, mayGoUnseen, placingsUnseen } from "./unseen-placings.ts";

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

/** Those of the UIDs that are bound and not there any more. What the first reading has not come to is no mail that was missed. */
const goneUnderWay = async (
  { session, signal }: SourceLook,
  { path, cursor }: MailboxLane,
  uids: readonly number[],
): Promise<number[]> => {
  const ranges = uids.map((uid) => ({ from: uid, to: uid }));
  const there = new Set<number>();
  for await (const lines of session.heads({ path, uidValidity: cursor?.uidValidity ?? 0, ranges, bare: true }, signal))
    for (const { uid } of lines) there.add(uid);
  return uids.filter((uid) => !there.has(uid));
};

const differenceOf = async (
  context: LaneContext,
  look: SourceLook,
  { source, uids }: { readonly source: MailboxLane; readonly uids: readonly number[] },
  { present, vanished }: MailboxObservation,
): Promise<{ gone: readonly number[]; missed: readonly number[] }> => {
  if (present !== null) return compare(context, source, present);
  return { gone: backfillDone(source) ? vanished : await goneUnderWay(look, source, uids), missed: [] };
};

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
  const isRead = backfillDone(source);
  const { gone, missed } = await differenceOf(context, look, { source, uids }, seen);
  // News of its own waits for its own look, as does what follows from lost mod-sequences (G5). Then, and in a mailbox that seems
  // empty (G4), only what is here again is missed.
  const whole =
    isRead && seen.exists > 0 && seen.uidNext === cursor.uidNext && missed.length === 0 && epochBreakOf(source, seen) === null;
  const absent = whole ? gone : gone.filter((uid) => uids.includes(uid));
  if (whole) settled?.add(source.mailboxId);
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

type Claimed = Pick<PlacementView, "id" | "mailboxId" | "lifecycle" | "absent" | "binding">;

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

/** Where we put it, and nobody has seen it: if it went from there, this is where it went. */
const missUnseenIn = async (context: LaneContext, look: SourceLook, source: MailboxLane): Promise<boolean> => {
  if (source.cursor === null || !backfillDone(source)) return false;
  const scope = scopeOf(context, source);
  if (!(await mayGoUnseen(context, scope, source.cursor.uidNext))) return false;
  const seen = await observeSource(look.session, source, look.signal);
  const isKnown = epochBreakOf(source, seen) === null && (await admits(context, look, { source, uids: [] }, seen));
  const arrived = isKnown ? goneUnread(source, seen) : null;
  return arrived !== null && (await ingest(context, placingsUnseen, { scope, arrived })) > 0;
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
  const unshown = new Set(placements.flatMap((placement) => (isUnshown(placement) ? [placement.mailboxId] : [])));
  for (const id of unshown) {
    const source = context.mailboxes.get(id);
    if (id === mailbox.mailboxId || source?.selectable !== true || source.parkedUntil > Date.now()) continue;
    missing = (await missUnseenIn(context, look, source)) || missing;
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
