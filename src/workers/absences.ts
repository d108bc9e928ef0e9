/** Absence candidates after a consistent cut: moved, removed, kept or held (semantics 4). */
import type { EndpointProfile } from "../model/endpoint.ts";
import type { EndpointId, MailboxId, PlacementId } from "../model/ids.ts";
import type { Survey } from "../model/observation.ts";
import { viewPop3Devices } from "../model/pop3-devices.ts";
import { withCut } from "../reconciler/holds.ts";
import { usable } from "../reconciler/mailboxes.ts";
import { keyOf } from "../reconciler/maildrop.ts";
import { type CutView, lostBeforeDurable as lostReason, type Resolution, resolveCandidates } from "../reconciler/vanish.ts";
import { isGuarded } from "../reconciler/vanish-breaker.ts";
import { type Batch, hasBatchShape } from "../reconciler/vanish-evidence.ts";
import { retentionDaysOf, retentionShape } from "../reconciler/vanish-retention.ts";
import type { AccountTx, InputTx } from "../store/account-tx.ts";
import { endUnheard, hasOlder, listInMaildrop, loadLosses, type Losses } from "../store/candidates.ts";
import { applyDecision } from "../store/decisions.ts";
import { closeHold, keepHold, loadHolds, type OpenHold } from "../store/holds.ts";
import { notePop3Sign } from "../store/pop3-evidence.ts";
import { type CandidateGroup, loadCandidates } from "../store/absence-slices.ts";
import { defineInput, ingest } from "../store/inputs.ts";
import { loadUnread } from "../store/stubs.ts";
import { loadPresent } from "../store/slices.ts";
import { step } from "../telemetry/failpoint.ts";
import { lostBeforeDurable, messagesStored } from "../telemetry/metrics.ts";
import { backfillDone, hasMoved, type LaneContext, type LaneFacts, laneFacts } from "./lane-state.ts";
import { type AskedItem, type MaildropWitness, type Testimony, testify } from "./maildrop-witness.ts";

/**
 * V0: the survey is the second collect, our cursors are the first. Equal everywhere means that nothing is under way
 * between mailboxes: what is missing now is nowhere.
 */
export const isConsistentCut = (context: LaneContext, survey: Survey): boolean => {
  if (!survey.complete) return false;
  const known = new Set([...context.mailboxes.values()].map(({ path }) => path));
  // So might one that nobody has looked into yet.
  for (const [path, { status }] of usable(survey.mailboxes)) if (status !== null && !known.has(path)) return false;
  const byPath = new Map(survey.mailboxes.map((mailbox) => [mailbox.path, mailbox]));
  for (const mailbox of context.mailboxes.values()) {
    if (!mailbox.selectable) continue;
    const status = byPath.get(mailbox.path)?.status ?? null;
    // A mailbox that cannot be read might hold what we miss.
    if (status === null || !(backfillDone(mailbox) || mailbox.held > 0) || hasMoved(mailbox, status)) return false;
  }
  return true;
};

/** What INBOX lost in this cut, against what it still shows. */
const batchOf = async (
  account: AccountTx,
  endpointId: EndpointId,
  groups: readonly CandidateGroup[],
  at: number,
): Promise<Batch | null> => {
  const lost = groups.flatMap(({ candidates }) => candidates).filter(({ markedDeleted }) => !markedDeleted);
  const inbox = lost.filter(({ role }) => role === "inbox");
  const [first] = inbox;
  if (first === undefined) return null;
  const messages = new Set(inbox.map(({ messageId }) => messageId));
  const vanished = inbox.map((item) => ({
    uid: item.binding?.uid ?? 0,
    receivedAt: item.receivedAt,
    stronglySeen: item.keywords.includes("$seen"),
  }));
  const uids = vanished.map(({ uid }) => uid);
  const known = inbox.every(({ trace }) => trace !== null);
  const below = known ? Math.max(...inbox.map(({ trace }) => trace?.newBelow ?? 0)) : Number.MAX_SAFE_INTEGER;
  const [lowest, highest] = uids.reduce(([low, high], uid) => [Math.min(low, uid), Math.max(high, uid)], [Infinity, 0]);
  const rest = await loadPresent(account, endpointId, first.mailboxId, { lowest, highest, below });
  // What went with a copy in INBOX went by the same hand (Stalwart removes a mail everywhere).
  const elsewhere = lost.filter(({ role, messageId }) => role !== "inbox" && !messages.has(messageId)).length;
  return { vanished, elsewhere, ...rest, at };
};

/** What is held of the account's mailboxes, by reason. */
interface Held {
  readonly masses: ReadonlyMap<MailboxId, OpenHold>;
  readonly disputes: ReadonlyMap<MailboxId, OpenHold>;
}

/** What the maildrop is asked about: the candidates that it had (V4). */
const askedOf = async (
  account: AccountTx,
  { endpointId }: Testimony,
  groups: readonly CandidateGroup[],
  { disputes }: Pick<Held, "disputes">,
): Promise<readonly AskedItem[]> => {
  if (endpointId === null) return [];
  const candidates = new Map(groups.flatMap((group) => group.candidates).map((candidate) => [candidate.id, candidate]));
  const items = await listInMaildrop(account, endpointId, [...candidates.keys()]);
  return items.flatMap(({ placementId, ...item }) => {
    const candidate = candidates.get(placementId);
    if (candidate === undefined) return [];
    const { absentSince, mailboxId } = candidate;
    return [{ placementId, key: keyOf(item), absentSince, disputed: disputes.get(mailboxId)?.decided === null }];
  });
};

/** A hold lasts while something is pending for its reason, and while it is not known whether something is. */
const settleHold = async (
  account: InputTx,
  endpointId: EndpointId,
  open: OpenHold | null,
  now: Parameters<typeof keepHold>[3] & { readonly unknown: boolean },
): Promise<void> => {
  if (now.count > 0) await keepHold(account, endpointId, open, now);
  else if (open !== null && !now.unknown)
    await closeHold(account, endpointId, open, { ...now, outcome: open.decided?.as ?? "released" });
};

const settleGroup = async (
  account: InputTx,
  endpointId: EndpointId,
  group: CandidateGroup,
  {
    masses,
    disputes,
    cut,
    lost,
    mayRestore,
  }: Held & {
    readonly cut: CutView;
    readonly lost: Losses["byMailbox"];
    readonly mayRestore: boolean;
  },
): Promise<Resolution> => {
  const { mailboxId, epoch, candidates, live } = group;
  const { policy } = account;
  const pop3Devices = viewPop3Devices(policy, account.pop3Evidence).state;
  const mass = masses.get(mailboxId) ?? null;
  const torn = disputes.get(mailboxId) ?? null;
  const hold = mass?.history ?? null;
  const decided = mass?.decided?.as ?? null;
  const dispute = torn === null ? null : (torn.decided?.as ?? ("open" as const));
  const lately = lost.get(mailboxId) ?? 0;
  const surroundings = { endpointId, live, lately, epoch, hold, decided, dispute, cut, policy, pop3Devices, mayRestore };
  const decision = resolveCandidates({ candidates, ...surroundings });
  const scope = { endpointId, mailboxId, epoch };
  await applyDecision(account, decision, { scope, contents: [], existing: new Set() });
  const { held, disputed, awaited } = decision;
  // No cut is complete that is blind: a hold may begin with it, and comes no nearer to its end.
  const counts = hold === null || cut.blind !== true;
  const history = held === 0 ? null : counts ? withCut(hold, { epoch, at: cut.at }) : hold;
  const massive = { mailboxId, reason: "mass_vanish", rule: "B1", count: held, history };
  await settleHold(account, endpointId, mass, { ...massive, unknown: disputed + awaited > 0 });
  const inconsistent = { mailboxId, reason: "inconsistent_views", rule: "V4", count: disputed, history: null };
  await settleHold(account, endpointId, torn, { ...inconsistent, unknown: awaited > 0 });
  return decision;
};

/** What was held and misses nothing any more. */
const closeReappeared = async (
  account: InputTx,
  endpointId: EndpointId,
  missing: ReadonlySet<MailboxId>,
  { masses, disputes }: Held,
): Promise<void> => {
  for (const [reason, rule, holds] of [
    ["mass_vanish", "B1", masses],
    ["inconsistent_views", "V4", disputes],
  ] as const)
    for (const hold of holds.values())
      if (!missing.has(hold.mailboxId)) await closeHold(account, endpointId, hold, { reason, rule, outcome: "reappeared" });
};

/** V10: what the server does with Trash and Junk, where a mailbox lost what looks like it and keeps nothing older. */
const learnRetention = async (
  account: AccountTx,
  before: number | null,
  groups: readonly CandidateGroup[],
  at: number,
): Promise<number | null> => {
  let days = before;
  for (const { mailboxId, candidates } of groups) {
    const last = retentionShape(candidates, at);
    if (last !== null && !(await hasOlder(account, mailboxId, new Date(last)))) days = retentionDaysOf(last, at);
  }
  return days;
};

/** Candidates that a cut leaves undecided. */
export interface LeftOpen {
  readonly held: boolean;
  /** The maildrop has to be listed, or a held mailbox to be read, first. */
  readonly awaited: boolean;
}

/** What of that which is missed may be where nobody has read what there is. */
export type Unread = readonly PlacementId[] | "all";

interface CutFacts {
  readonly lane: LaneFacts;
  /** What was missing before then is decided. */
  readonly surveyedAt: Date;
  /** Gmail: its POP3 tells nothing of single items, and its mailboxes are labels. */
  readonly pop3ShowsAll: boolean;
  readonly testimony: Testimony;
  /** What may be in a mailbox that is held. */
  readonly unread: Unread;
}

const decideCut = async (account: InputTx, { lane, surveyedAt, pop3ShowsAll, testimony, unread }: CutFacts) => {
  const { endpointId } = lane;
  const at = account.input.at.getTime();
  const groups = await loadCandidates(account, endpointId, surveyedAt);
  const masses = await loadHolds(account, "mass_vanish");
  const disputes = await loadHolds(account, "inconsistent_views");
  const batch = await batchOf(account, endpointId, groups, at);
  const all = groups.flatMap(({ candidates }) => candidates);
  const lost = all.filter(({ role }) => role === "inbox");
  const trashDays = await learnRetention(account, lane.trashDays, groups, at);
  const stubs = all.length === 0 ? [] : await loadUnread(account, endpointId);
  const notRead = new Set([...(unread === "all" ? [] : unread), ...stubs]);
  const counted = all.filter((one) => isGuarded(one) && !notRead.has(one.id)).length;
  const losses = await loadLosses(account, counted, account.input.at);
  const asked = pop3ShowsAll ? null : await askedOf(account, testimony, groups, { disputes });
  const secondViews = testify(testimony, asked ?? [], at);
  const cut: CutView = {
    batchShape: batch !== null && hasBatchShape(batch),
    inboxLost: new Set(lost.map(({ messageId }) => messageId)),
    secondViews,
    unread: notRead,
    blind: unread === "all",
    unwell: lane.unwell || disputes.size > 0 || [...secondViews.values()].includes("shown"),
    account: losses.account,
    keepsLabels: pop3ShowsAll,
    trashDays,
    at,
  };
  const surroundings = { masses, disputes, cut, lost: losses.byMailbox, mayRestore: !pop3ShowsAll };
  const settled: Resolution[] = [];
  for (const group of groups) settled.push(await settleGroup(account, endpointId, group, surroundings));
  if (settled.some(({ hinted }) => hinted)) await notePop3Sign(account, "drained");
  const written = settled.flatMap(({ placements }) => placements);
  const removed = written.flatMap(({ id, lifecycle }) => (lifecycle === "removed" ? [id] : []));
  const unheard = removed.filter((id) => secondViews.get(id) === "unheard");
  if (testimony.endpointId !== null) await endUnheard(account, testimony.endpointId, unheard);
  await closeReappeared(account, endpointId, new Set(groups.map(({ mailboxId }) => mailboxId)), { masses, disputes });
  return { settled, asked, trashDays };
};

const cutMade = defineInput("observation", "imap.cut", decideCut);

/** Decides every candidate that was missing before the survey began. */
export const settleCandidates = async (
  context: LaneContext,
  { startedAt: surveyedAt }: Survey,
  { pop3ShowsAll = false }: EndpointProfile,
  { witness, unread }: { readonly witness: MaildropWitness; readonly unread: Unread },
): Promise<LeftOpen> => {
  step("before settle");
  const { testimony } = witness;
  const { settled, asked, trashDays } = await ingest(context, cutMade, {
    lane: laneFacts(context),
    surveyedAt,
    pop3ShowsAll,
    testimony,
    unread,
  });
  step("after settle");
  context.retention.days = trashDays;
  if (asked !== null && testimony.endpointId !== null) witness.ask(asked);
  const written = settled.flatMap(({ placements }) => placements);
  const changes = settled.flatMap((decision) => decision.changes);
  messagesStored.inc({ op: "removed" }, written.length);
  lostBeforeDurable.inc(changes.filter(({ reason }) => reason === lostReason).length);
  return {
    held: settled.some(({ held, disputed }) => held + disputed > 0),
    awaited: settled.some(({ awaited }) => awaited > 0),
  };
};
