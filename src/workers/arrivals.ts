/** What new mail tells of our own speed and coverage: how long it took to be durable, and what came and went unseen. */
import type { Protocol } from "../model/endpoint.ts";
import type { MailboxCursor, MailboxObservation } from "../model/observation.ts";
import type { Scope } from "../reconciler/state.ts";
import { appendChanges, type InputTx } from "../store/account-tx.ts";
import { loadBindingsBetween } from "../store/slices.ts";
import { timeToDurable } from "../telemetry/metrics.ts";

/** Between which two looks mail has come, in ms since 1970; `after` 0: the look before is not known. */
export interface ArrivalWindow {
  readonly after: number;
  readonly before: number;
}

/**
 * Measures mail that has just become durable. A server's dates have no more than seconds, may come of another clock, and are old
 * where a client put the mail there: they are believed inside of the window only.
 */
export const measureArrivals = (proto: Protocol, dates: readonly Date[], { after, before }: ArrivalWindow): void => {
  const now = Date.now();
  for (const date of dates) {
    const came = Math.min(before, Math.max(after, date.getTime()));
    timeToDurable.observe({ proto }, Math.max(0, now - came) / 1000);
  }
};

/** UIDs from `from` up to, and without, `to`, and which of them a complete listing showed. */
export interface ArrivedUids {
  readonly from: number;
  readonly to: number;
  readonly shown: readonly number[];
}

/** What a look says of the UIDs that a move of the cursor to `to` passes; null where it did not list them. */
export const arrivedUids = (seen: MailboxObservation, cursor: MailboxCursor | null, to: number): ArrivedUids | null => {
  if (seen.present === null || cursor === null || to <= cursor.uidNext) return null;
  const from = cursor.uidNext;
  return { from, to, shown: seen.present.filter((uid) => uid >= from && uid < to) };
};

/** G6: the server had not told of so many changes of items. */
export const noteRepair = async (account: InputTx, scope: Scope, count: number): Promise<void> => {
  if (count === 0) return;
  const none = { messageId: null, placementId: null, before: null, deviceId: null, confidence: null, evidence: [] };
  const { mailboxId, endpointId } = scope;
  const why = { source: "imap", reason: "changes_missed", rule: "G6" } as const;
  await appendChanges(account, [{ kind: "audit.repaired", mailboxId, endpointId, after: { count }, ...why, ...none }]);
};

/**
 * V20: mail that got a UID and was gone before anybody looked. Said in the transaction that moves the cursor over it, so that
 * each is said once. What was bound before, as by a command of our own, is not unseen.
 * @returns how many.
 */
export const noteCoverageGap = async (account: InputTx, scope: Scope, arrived: ArrivedUids): Promise<number> => {
  const { from, to, shown } = arrived;
  if (shown.length === to - from) return 0;
  const known = new Set([...shown, ...(await loadBindingsBetween(account, scope, { from, to }))]);
  const count = to - from - known.size;
  if (count === 0) return 0;
  const none = { messageId: null, placementId: null, before: null, deviceId: null, confidence: null };
  const { mailboxId, endpointId } = scope;
  const evidence = [{ uidNextBefore: from, uidNextAfter: to, shown: shown.length }];
  const why = { source: "imap", reason: "came_and_went_unseen", rule: "V20" } as const;
  await appendChanges(account, [{ kind: "coverage.gap", mailboxId, endpointId, after: { count }, evidence, ...why, ...none }]);
  return count;
};
