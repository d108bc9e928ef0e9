/** What the server said it took from us, without saying where, and what was gone from there before anybody looked. */
import type { DecidedChange } from "../model/change.ts";
import type { MailboxObservation } from "../model/observation.ts";
import type { Scope } from "../reconciler/state.ts";
import type { InputTx } from "../store/account-tx.ts";
import { markMissing } from "../store/candidates.ts";
import { loadOpenPlacings, moveCommands, type OpenPlacing } from "../store/commands.ts";
import type { Queryable } from "../store/database.ts";
import { defineInput } from "../store/inputs.ts";
import { commandsEnded } from "../telemetry/metrics.ts";
import type { MailboxLane } from "./lane-state.ts";

/** UIDs below `to`, among the last of which are `count` that nobody saw. */
interface Unseen {
  readonly to: number;
  readonly count: number;
}

/** What was not said to be taken is sent again where it is not found (C3), and is not missed. */
const isUnseen = ({ verb, fence, placement }: OpenPlacing, { epoch }: Scope, { to }: Pick<Unseen, "to">): boolean =>
  verb === "append" &&
  fence.answered === true &&
  fence.epoch === epoch &&
  (fence.uidNext ?? 0) < to &&
  placement.lifecycle === "live" &&
  !(placement.kept || placement.absent || placement.binding?.active === true);

/** The oldest of them that may have had the UIDs. */
export const unseenAmong = async (
  db: Queryable,
  { accountId }: Pick<InputTx, "accountId">,
  scope: Scope,
  unseen: Unseen,
): Promise<readonly OpenPlacing[]> =>
  (await loadOpenPlacings(db, accountId, scope)).filter((placing) => isUnseen(placing, scope, unseen)).slice(0, unseen.count);

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

/** They are missed like any item that was there (V20): somebody moved them, or removed them. @returns how many. */
export const missUnseen = async (account: InputTx, scope: Scope, unseen: Unseen): Promise<number> => {
  const placings = unseen.count === 0 ? [] : await unseenAmong(account.tx, account, scope, unseen);
  if (placings.length === 0) return 0;
  const ended = { status: "confirmed", outcome: "gone", dueAt: null } as const;
  await moveCommands(
    account,
    placings.map((placing) => ({ id: placing.commandId, opId: placing.opId, changes: [toldOf(scope, placing)], ...ended })),
  );
  commandsEnded.inc({ verb: "append", status: "confirmed" }, placings.length);
  return markMissing(
    account,
    placings.map(({ placement }) => placement.id),
  );
};

export const placingsUnseen = defineInput(
  "observation",
  "imap.placings-unseen",
  (account, { scope, unseen }: { readonly scope: Scope; readonly unseen: Unseen }) => missUnseen(account, scope, unseen),
);

/** All that got a UID in a mailbox since its cursor, where a look shows nothing of it any more; null: there may be some of it. */
export const goneUnread = ({ cursor, bound }: MailboxLane, seen: MailboxObservation): Unseen | null => {
  const from = cursor?.uidNext ?? seen.uidNext;
  const to = seen.uidNext;
  const here = seen.present?.filter((uid) => uid >= from).length ?? seen.exists - (bound - seen.vanished.length);
  return to > from && here === 0 ? { to, count: to - from } : null;
};
