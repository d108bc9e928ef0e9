/** What the server said it took from us, without saying where, and what was gone from there before anybody looked. */
import type { DecidedChange } from "../model/change.ts";
import type { CommandReason } from "../model/command.ts";
import type { MailboxObservation } from "../model/observation.ts";
import { emptyDraft, type Scope } from "../reconciler/state.ts";
import { reconcileAbsences } from "../reconciler/vanish.ts";
import type { InputTx } from "../store/account-tx.ts";
import { loadOpenPlacings, mayBeShown, moveCommands, type OpenPlacing } from "../store/commands.ts";
import { applyDecision } from "../store/decisions.ts";
import { defineInput } from "../store/inputs.ts";
import { loadBindingsBetween, loadBound } from "../store/slices.ts";
import { commandsEnded } from "../telemetry/metrics.ts";
import { type ArrivedUids, arrivedUids } from "./arrivals.ts";
import type { LaneContext, MailboxLane } from "./lane-state.ts";

/** Rules and operations that want it in its own mailbox. */
const placing: ReadonlySet<CommandReason> = new Set(["api_write", "source_gone"]);

/** Sent since a mailbox was read up to `from`. What was not said to be taken is sent again where it is not found (C3), and not missed. */
const isUnseen = ({ verb, reason, fence, placement }: OpenPlacing, { epoch, mailboxId }: Scope, from: number): boolean =>
  verb === "append" &&
  placing.has(reason) &&
  fence.answered === true &&
  fence.epoch === epoch &&
  (fence.uidNext ?? 0) >= from &&
  placement.mailboxId === mailboxId &&
  placement.lifecycle === "live" &&
  !(placement.kept || placement.absent || placement.binding?.active === true);

/** Is there anything of which nobody has heard since a mailbox was read up to `from`? Nearly always there is not. */
export const mayGoUnseen = async (
  { db, accountId }: Pick<LaneContext, "db" | "accountId">,
  scope: Scope,
  from: number,
): Promise<boolean> => (await loadOpenPlacings(db, accountId, scope)).some((one) => isUnseen(one, scope, from));

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
const unseenOf = async (account: InputTx, scope: Scope, { from, to, shown }: ArrivedUids): Promise<Map<number, OpenPlacing>> => {
  const open = (await loadOpenPlacings(account.tx, account.accountId, scope)).filter((one) => isUnseen(one, scope, from));
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
export const missUnseen = async (account: InputTx, scope: Scope, arrived: ArrivedUids): Promise<number> => {
  const placings = await unseenOf(account, scope, arrived);
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
  return ended.length;
};

export const placingsUnseen = defineInput(
  "observation",
  "imap.placings-unseen",
  (account, { scope, arrived }: { readonly scope: Scope; readonly arrived: ArrivedUids }) => missUnseen(account, scope, arrived),
);

/** What got a UID in a mailbox since its cursor, where a listing shows nothing of it any more; null: there may be some of it. */
export const goneUnread = ({ cursor, bound }: MailboxLane, seen: MailboxObservation): ArrivedUids | null => {
  // What seems empty is not believed (G4).
  const arrived = seen.exists === 0 && bound > 0 ? null : arrivedUids(seen, cursor, seen.uidNext);
  return arrived === null || arrived.shown.length > 0 ? null : arrived;
};
