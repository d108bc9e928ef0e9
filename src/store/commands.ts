/** Commands to mail servers, durable before they are sent (semantics 3.6): planned with the decision that wants them. */
import { uuidv7 } from "uuidv7";
import type { CommandPlan } from "../model/command.ts";
import type { EndpointId } from "../model/ids.ts";
import type { AccountTx } from "./account-tx.ts";

/** Plans what the account does not have yet; what was once done to a placement for a reason is not done again (I14). */
export const planCommands = async (account: AccountTx, endpointId: EndpointId, plans: readonly CommandPlan[]): Promise<void> => {
  if (plans.length === 0) return;
  const rows = plans.map(({ placementId, verb, args, reason }) => ({
    id: uuidv7(),
    placement_id: placementId,
    verb,
    args,
    reason,
  }));
  await account.tx.query({
    name: "commands_plan",
    text: `insert into commands (account_id, id, tenant_id, endpoint_id, placement_id, verb, args, reason, status)
           select $1, w.id, $2, $3, w.placement_id, w.verb, w.args, w.reason, 'planned'
           from jsonb_to_recordset($4::jsonb) as w(id uuid, placement_id uuid, verb text, args jsonb, reason text)
           on conflict (account_id, placement_id, reason) where op_id is null do nothing`,
    values: [account.accountId, account.tenantId, endpointId, JSON.stringify(rows)],
  });
};
