/** Absence candidates: the bookkeeping between "missing in a read" and a decision (semantics 4.1). */
import type { EndpointId, MailboxId } from "../model/ids.ts";
import type { AccountTx } from "./account-tx.ts";

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
