/**
 * A mailbox that its server numbers anew (semantics G5, ID-8, B4): its mail is known again by header blocks, so that ids stay and no
 * body is read twice. The same way a mailbox is known that a new endpoint shows.
 */
import type { Session } from "../endpoints/endpoint.ts";
import type { UidRange } from "../model/observation.ts";
import { acceptsEpoch, type Rebound } from "../reconciler/epoch.ts";
import { type Claimed, reconcileItems } from "../reconciler/items.ts";
import { inAccount } from "../store/account-tx.ts";
import { applyDecision } from "../store/decisions.ts";
import { countRebound, loadPlacements } from "../store/epochs.ts";
import { closeHold, epochDecision, keepHold, loadHolds } from "../store/holds.ts";
import { loadBound, loadBoundUids } from "../store/slices.ts";
import { step } from "../telemetry/failpoint.ts";
import { commitItems, emptyBatch } from "./commit.ts";
import { epochHeld, settleLeftOver } from "./epoch-holds.ts";
import { type LaneContext, type MailboxLane, scopeOf } from "./lane-state.ts";
import { type Listed, Recognition } from "./recognition.ts";

/** Items bound in one transaction. */
const batchSize = 2_000;

/** What was bound meanwhile, or changed, is left to be read whole. @returns how many are bound now. */
const commitPairs = (
  context: LaneContext,
  mailbox: MailboxLane,
  found: readonly { readonly pair: Rebound; readonly item: Listed }[],
): Promise<number> => {
  const scope = scopeOf(context, mailbox);
  step("before rebind");
  return inAccount(context.db, context.fence, context.accountId, async (account) => {
    const views = await loadPlacements(
      account,
      scope.endpointId,
      found.map(({ pair }) => pair.placementId),
    );
    const { bound, closed } = await loadBound(
      account,
      scope,
      found.map(({ item }) => item.uid),
    );
    const claimed = new Map<number, Claimed>();
    for (const { pair, item } of found) {
      const placement = views.get(pair.placementId);
      if (placement === undefined || placement.binding?.active === true || bound.has(item.uid)) continue;
      claimed.set(item.uid, { placement, confidence: confidenceOf[pair.level] });
    }
    const items = found.flatMap(({ item }) => (claimed.has(item.uid) ? [{ ...item, sha256: null }] : []));
    const decision = reconcileItems({ scope, items, bound, known: new Map(), claimed, freshIds: [], reason: "delivered" });
    const existing = new Set([...bound.keys(), ...closed]);
    await applyDecision(account, decision, { scope, contents: [], existing, at: new Date(), inputId: null });
    return decision.bindings.length;
  });
};

const confidenceOf = { L1: 0.99, L4: 0.9 } as const;

const isOld = (known: Recognition): ReadonlySet<string> =>
  new Set(known.old.flatMap(({ placementId, lost }) => (lost ? [placementId] : [])));

/**
 * ID-8, B4: is it the mailbox that it was? If not, nothing of it is believed until somebody says so.
 * @returns how many placements wait for that; 0: it is.
 */
const accept = async (
  context: LaneContext,
  mailbox: MailboxLane,
  known: Recognition,
  pairs: readonly Rebound[],
): Promise<number> => {
  const scope = scopeOf(context, mailbox);
  const { endpointId, mailboxId, epoch } = scope;
  const old = isOld(known);
  const found = pairs.filter(({ placementId }) => old.has(placementId)).length;
  return inAccount(context.db, context.fence, context.accountId, async (account) => {
    const at = new Date();
    const already = await countRebound(account.tx, context.accountId, scope);
    const counts = { before: already + old.size, rebound: already + found, listed: mailbox.bound + known.items.length };
    const open = (await loadHolds(account, epochHeld)).get(mailboxId) ?? null;
    if (acceptsEpoch(counts) || (await epochDecision(account, mailboxId, epoch)) !== null) {
      if (open !== null) await closeHold(account, endpointId, open, { reason: epochHeld, outcome: "rebound", rule: "B4", at });
      return 0;
    }
    const history = { epoch, from: at.getTime(), cuts: [] };
    const count = counts.before - counts.rebound;
    await keepHold(account, endpointId, open, { mailboxId, reason: epochHeld, count, history, rule: "B4", at });
    return count;
  });
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
    mailbox.bound += await commitPairs(context, mailbox, found);
    known.committed += batchSize;
    if (Date.now() >= until) return false;
  }
  return true;
};

/** Header blocks of mail that was never here are worth a look where they may save one body of so many. */
const worthIt = 10;

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
  while (await known.loadMore(context.db, context.accountId, scopeOf(context, mailbox))) if (Date.now() >= until) return false;
  const lost = known.old.filter((placement) => placement.lost).length;
  const pays = lost > 0 || known.old.length * worthIt >= mailbox.exists;
  if (known.old.length > 0 && pays) {
    const { path, cursor } = mailbox;
    if (!(await known.readItems(session, { path, uidValidity: cursor?.uidValidity ?? 0 }, until, signal))) return false;
    if (known.pairs === null) {
      const pairs = known.pair();
      mailbox.held = await accept(context, mailbox, known, pairs);
      known.pairs = mailbox.held > 0 ? [] : pairs;
    }
    if (!(await bindAll(context, mailbox, known, until))) return false;
    if (mailbox.held === 0 && known.pairs.length === known.items.length && mailbox.bound >= mailbox.exists)
      await endReading(context, mailbox);
  }
  mailbox.recognition = null;
  mailbox.compared = true;
  return true;
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
  if (mailbox.held > 0) return [];
  await settleLeftOver(context, mailbox);
  const bound = await inAccount(context.db, context.fence, context.accountId, (account) =>
    loadBoundUids(account, scopeOf(context, mailbox)),
  );
  return bound.filter((uid) => ranges.some(({ from, to }) => uid >= from && uid <= to));
};
