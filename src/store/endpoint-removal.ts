/** An endpoint is taken from its account: what it showed stays here, under the same ids, for another that may show it again. */
import type { AccountId, EndpointId, TenantId } from "../model/ids.ts";
import type { InputTx } from "./account-tx.ts";
import type { Tx } from "./database.ts";
import { defineInput, ingestOwned } from "./inputs.ts";

/** Everything that is known of an endpoint's items, and what is still owed to it. Harmless when repeated. */
const forget = async ({ tx, accountId }: InputTx, endpointId: EndpointId): Promise<void> => {
  for (const table of ["bindings", "upstream_mailboxes", "retrievals"])
    await tx.query({
      name: `endpoint_forget_${table}`,
      text: `delete from ${table} where account_id = $1 and endpoint_id = $2`,
      values: [accountId, endpointId],
    });
  await tx.query({
    name: "endpoint_forget_commands",
    text: `update commands set status = 'superseded', outcome = 'endpoint_removed', ended_at = now(), fence = fence - 'sha256'
           where account_id = $1 and endpoint_id = $2 and status in ('planned', 'sent', 'unknown')`,
    values: [accountId, endpointId],
  });
};

/** Asked by lanes that may not have heard yet that their endpoint is gone. */
export const endpointIsThere = async ({ tx, accountId }: InputTx, endpointId: EndpointId): Promise<boolean> => {
  const { rowCount } = await tx.query({
    name: "endpoint_is_there",
    text: `select from endpoints where account_id = $1 and id = $2`,
    values: [accountId, endpointId],
  });
  return rowCount === 1;
};

/** What lanes wrote of it when it was removed already. */
export const endpointForgotten = defineInput("intent", "endpoint.forgotten", forget);

interface RemovedEndpoint {
  readonly endpointId: EndpointId;
  readonly isImap: boolean;
}

const endpointRemoved = defineInput("intent", "endpoint.removed", async (account, { endpointId, isImap }: RemovedEndpoint) => {
  await forget(account, endpointId);
  const { tx, accountId } = account;
  await tx.query({
    name: "endpoint_remove_holds",
    text: `update holds set closed_at = now(), outcome = 'endpoint_removed'
           where account_id = $1 and closed_at is null and (reason in ('mass_drain', 'octets_damaged')) <> $2`,
    values: [accountId, isImap],
  });
  if (isImap)
    await tx.query({
      name: "endpoint_remove_absences",
      text: `update placements set absent_since = null, absence = null where account_id = $1 and absent_since is not null`,
      values: [accountId],
    });
  await tx.query({
    name: "endpoint_remove",
    text: `delete from endpoints where account_id = $1 and id = $2`,
    values: [accountId, endpointId],
  });
});

/**
 * Removes the endpoint. `last`: it is the only one, and stays. Nothing that it lacked is missing any more, and what was held
 * because of it is not: nobody is left to say more about it.
 */
export const removeEndpoint = async (
  tx: Tx,
  { tenantId, accountId }: { readonly tenantId: TenantId; readonly accountId: AccountId },
  endpointId: EndpointId,
): Promise<"removed" | "last" | "unknown"> => {
  await tx.query({ name: "endpoint_remove_lock", text: `select 1 from accounts where id = $1 for update`, values: [accountId] });
  const { rows } = await tx.query<{ id: EndpointId; protocol: string }>({
    name: "endpoint_remove_list",
    text: `select id, protocol from endpoints where account_id = $1`,
    values: [accountId],
  });
  const endpoint = rows.find(({ id }) => id === endpointId);
  if (endpoint === undefined) return "unknown";
  if (rows.length === 1) return "last";
  await ingestOwned(tx, { tenantId, accountId }, endpointRemoved, { endpointId, isImap: endpoint.protocol === "imap" });
  return "removed";
};
