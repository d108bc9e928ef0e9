/** Absence candidates and holds: the bookkeeping between "missing in a read" and a decision (semantics 4.1, 4.4). */
import type { EndpointId, MailboxId } from "../model/ids.ts";
import { type AccountTx, appendChanges } from "./account-tx.ts";

/**
 * After a new epoch was read to its end: placements of the mailbox that no item continued become candidates.
 * @returns how many.
 */
export const markUnbound = async (
  account: AccountTx,
  endpointId: EndpointId,
  mailboxId: MailboxId,
  at: Date,
): Promise<number> => {
  const { rowCount } = await account.tx.query({
    name: "placements_unbound",
    // Set against set: its cost is the mailbox, whatever the planner knows of the tables.
    text: `update placements p set absent_since = $4
           from (select placement_id from bindings where account_id = $1 and endpoint_id = $2 and mailbox_id = $3 and closed_reason = 'epoch'
                 except select placement_id from bindings where account_id = $1 and endpoint_id = $2 and active) left_over
           where p.account_id = $1 and p.id = left_over.placement_id and p.mailbox_id = $3 and p.lifecycle = 'live' and not p.kept
             and p.absent_since is null`,
    values: [account.accountId, endpointId, mailboxId, at],
  });
  return rowCount;
};

/** Are there absence candidates at all? Cheap enough to ask after each pass that closed bindings. */
export const hasCandidates = async (account: AccountTx): Promise<boolean> => {
  const { rowCount } = await account.tx.query({
    name: "candidates_any",
    text: `select 1 from placements where account_id = $1 and lifecycle = 'live' and absent_since is not null limit 1`,
    values: [account.accountId],
  });
  return rowCount > 0;
};

const holdChange = (
  kind: "hold.opened" | "hold.closed",
  mailboxId: MailboxId,
  endpointId: EndpointId,
  hold: { reason: string; count: number; rule?: string },
) => ({
  kind,
  messageId: null,
  placementId: null,
  mailboxId,
  before: null,
  after: { reason: hold.reason, count: hold.count },
  source: "rule" as const,
  endpointId,
  deviceId: null,
  reason: hold.reason,
  rule: hold.rule ?? "B1",
  confidence: null,
  evidence: [],
});

/** Opens a hold on a mailbox, or only brings its count up to date when it is open already. */
export const openHold = async (
  account: AccountTx,
  endpointId: EndpointId,
  hold: {
    readonly id: string;
    readonly mailboxId: MailboxId;
    readonly reason: string;
    readonly count: number;
    readonly rule?: string;
  },
  at: Date,
): Promise<void> => {
  const { rowCount } = await account.tx.query({
    name: "hold_update",
    text: `update holds set count = $4 where account_id = $1 and mailbox_id = $2 and reason = $3 and closed_at is null`,
    values: [account.accountId, hold.mailboxId, hold.reason, hold.count],
  });
  if (rowCount > 0) return;
  await account.tx.query({
    name: "hold_open",
    text: `insert into holds (account_id, id, tenant_id, mailbox_id, reason, count, since) values ($1, $2, $3, $4, $5, $6, $7)`,
    values: [account.accountId, hold.id, account.tenantId, hold.mailboxId, hold.reason, hold.count, at],
  });
  await appendChanges(account, [holdChange("hold.opened", hold.mailboxId, endpointId, hold)], at, null);
};

/** Closes a hold for another reason than that what was missing came back; nothing where none is open. */
export const closeHold = async (
  account: AccountTx,
  endpointId: EndpointId,
  hold: { readonly mailboxId: MailboxId; readonly reason: string; readonly count: number; readonly rule?: string },
  outcome: string,
  at: Date,
): Promise<void> => {
  const { rowCount } = await account.tx.query({
    name: "hold_close",
    text: `update holds set closed_at = $4, outcome = $5 where account_id = $1 and mailbox_id = $2 and reason = $3 and closed_at is null`,
    values: [account.accountId, hold.mailboxId, hold.reason, at, outcome],
  });
  if (rowCount > 0) await appendChanges(account, [holdChange("hold.closed", hold.mailboxId, endpointId, hold)], at, null);
};

/** Closes holds of mailboxes where nothing is missing any more: what was held has come back. */
export const closeSettledHolds = async (account: AccountTx, endpointId: EndpointId, at: Date): Promise<void> => {
  const { rows } = await account.tx.query<{ mailbox_id: MailboxId; reason: string; count: number }>({
    name: "holds_settle",
    text: `update holds h set closed_at = $2, outcome = 'reappeared'
           where h.account_id = $1 and h.closed_at is null and h.reason = 'mass_vanish'
             and not exists (select from placements p where p.account_id = h.account_id and p.mailbox_id = h.mailbox_id and p.lifecycle = 'live' and p.absent_since is not null)
           returning h.mailbox_id, h.reason, h.count`,
    values: [account.accountId, at],
  });
  if (rows.length === 0) return;
  await appendChanges(
    account,
    rows.map((row) => holdChange("hold.closed", row.mailbox_id, endpointId, row)),
    at,
    null,
  );
};
