/** What the server said it took from us, without saying where, and what was gone from there before anybody looked. */
import type { DecidedChange } from "../model/change.ts";
import type { CommandReason } from "../model/command.ts";
import type { PlacementId } from "../model/ids.ts";
import type { MailboxObservation } from "../model/observation.ts";
import { emptyDraft, type Scope } from "../reconciler/state.ts";
import { reconcileAbsences } from "../reconciler/vanish.ts";
import type { InputTx } from "../store/account-tx.ts";
import { loadOpenPlacings, mayBeShown, moveCommands, type OpenPlacing, planIntentCommands } from "../store/commands.ts";
import { applyDecision } from "../store/decisions.ts";
import { defineInput } from "../store/inputs.ts";
import { loadBindingsBetween, loadBound } from "../store/slices.ts";
import { commandsEnded } from "../telemetry/metrics.ts";
import type { ArrivedUids } from "./arrivals.ts";
import { type LaneContext, type MailboxLane, scopeOf } from "./lane-state.ts";

/** Rules and operations that want it in its own mailbox. */
const placing: ReadonlySet<CommandReason> = new Set(["api_write", "source_gone"]);

/**
 * What was not said to be taken is sent again where it is not found (C3), and not missed; but for those that are `asked` for because
 * they are seen elsewhere.
 */
const isUnseen = (
  { verb, status, reason, fence, placement }: OpenPlacing,
  { epoch }: Scope,
  asked: readonly PlacementId[],
): boolean =>
  verb === "append" &&
  status !== "planned" &&
  placing.has(reason) &&
  (fence.answered === true || asked.includes(placement.id)) &&
  fence.epoch === epoch &&
  placement.lifecycle === "live" &&
  !(placement.kept || placement.absent || placement.binding?.active === true);

/** From where on nobody has heard of what was sent; null: nearly always there is nothing. */
export const unheardFrom = async (
  { db, accountId }: Pick<LaneContext, "db" | "accountId">,
  scope: Scope,
  asked: readonly PlacementId[],
): Promise<number | null> => {
  const open = (await loadOpenPlacings(db, accountId, scope)).filter((one) => isUnseen(one, scope, asked));
  return open.length === 0 ? null : Math.min(...open.map(({ fence }) => fence.uidNext ?? 0));
};

/** What a whole look at a mailbox, all of which was read, says of what nobody has heard of; null: nothing. */
export const unheardIn = async (
  context: LaneContext,
  mailbox: MailboxLane,
  { present, uidNext: to }: MailboxObservation,
): Promise<ArrivedUids | null> => {
  const from = present === null ? null : await unheardFrom(context, scopeOf(context, mailbox), []);
  return from === null || present === null ? null : { from, to, shown: present.filter((uid) => uid >= from) };
};

const toldOf = ({ endpointId }: Scope, { reason, opId, placement, fence }: OpenPlacing): DecidedChange => ({
  kind: "write.applied",
  messageId: placement.messageId,
  mailboxId: placement.mailboxId,
  placementId: placement.id,
  before: null,
  after: { verb: "append", mailboxId: placement.mailboxId, keywords: placement.keywords },
  source: opId === null ? "rule" : "api",
  endpointId,
  deviceId: null,
  reason,
  rule: "C3",
  confidence: null,
  evidence: [{ because: "came_and_went_unseen", uidNext: fence.uidNext }],
});

/**
 * By UID, in the order in which they were sent, those that had one of the UIDs that nobody saw: not what may be among the items that
 * are there, in a form that nobody knows again.
 */
const unseenOf = async (
  account: InputTx,
  scope: Scope,
  { from, to, shown }: ArrivedUids,
  asked: readonly PlacementId[],
): Promise<Map<number, OpenPlacing>> => {
  const open = (await loadOpenPlacings(account.tx, account.accountId, scope)).filter((one) => isUnseen(one, scope, asked));
  const byUid = new Map<number, OpenPlacing>();
  if (open.length === 0) return byUid;
  const taken = new Set([...shown, ...(await loadBindingsBetween(account, scope, { from, to }))]);
  for (const one of open.toSorted((a, b) => (a.fence.uidNext ?? 0) - (b.fence.uidNext ?? 0))) {
    let uid = one.fence.uidNext ?? 0;
    while (taken.has(uid)) uid += 1;
    if (uid >= to || (await mayBeShown(account, scope, one))) continue;
    taken.add(uid);
    byUid.set(uid, one);
  }
  return byUid;
};

/**
 * They were items there, with the flags that they were sent with, and are missed like any other (V20): somebody moved them, or
 * removed them. `arrived`: by a whole look, all of which has been read.
 * @returns how many.
 */
export const missUnseen = async (
  account: InputTx,
  scope: Scope,
  arrived: ArrivedUids,
  asked: readonly PlacementId[] = [],
): Promise<number> => {
  const placings = await unseenOf(account, scope, arrived, asked);
  if (placings.size === 0) return 0;
  const bindings = [...placings].map(([uid, { placement, fence }]) => ({
    uid,
    placementId: placement.id,
    flags: fence.said?.flags ?? [],
    modseq: null,
  }));
  const uids = [...placings.keys()];
  await applyDecision(account, { ...emptyDraft(), bindings }, { scope, contents: [], existing: new Set() });
  const { bound } = await loadBound(account, scope, uids);
  const trace = { newBelow: arrived.from, storeExcluded: false };
  const absences = reconcileAbsences({ scope, uids, bound, trace });
  await applyDecision(account, absences, { scope, contents: [], existing: new Set(uids) });
  const ended = [...placings.values()].map((one) => ({ id: one.commandId, opId: one.opId, changes: [toldOf(scope, one)] }));
  await moveCommands(
    account,
    ended.map((one) => ({ ...one, status: "confirmed", outcome: "gone", dueAt: null })),
  );
  commandsEnded.inc({ verb: "append", status: "confirmed" }, ended.length);
  // What was wanted of them since, and is not done by their having been there, is owed still.
  for (const { opId, placement } of placings.values())
    if (opId !== null) await planIntentCommands(account, scope.endpointId, [placement.id], { opId, except: "append" });
  return ended.length;
};

interface UnseenFacts {
  readonly scope: Scope;
  readonly arrived: ArrivedUids;
  readonly asked: readonly PlacementId[];
}

export const placingsUnseen = defineInput(
  "observation",
  "imap.placings-unseen",
  (account, { scope, arrived, asked }: UnseenFacts) => missUnseen(account, scope, arrived, asked),
);
