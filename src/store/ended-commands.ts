/** What commands that were sent or ended tell of what may be sent now. */
import type { AccountId, EndpointId, MessageId, PlacementId } from "../model/ids.ts";
import type { PlacementView, Scope } from "../reconciler/state.ts";
import type { AccountTx } from "./account-tx.ts";
import type { Queryable } from "./database.ts";
import { bindingColumns, placementColumns, type PlacementRow, toView } from "./slices.ts";

/** Our own removals of the last ten minutes by mailbox, but for those whose scope was named (B5). */
export const countExpunges = async (
  db: Queryable,
  accountId: AccountId,
  endpointId: EndpointId,
): Promise<Map<string, number>> => {
  const { rows } = await db.query<{ mailbox_id: string; n: bigint }>({
    name: "commands_expunged",
    text: `select fence->>'mailboxId' as mailbox_id, count(*) as n from commands
           where account_id = $1 and endpoint_id = $2 and verb = 'expunge' and sent_at > now() - interval '10 minutes' and not args ? 'named' group by 1`,
    values: [accountId, endpointId],
  });
  return new Map(rows.map((row) => [row.mailbox_id, Number(row.n)]));
};

/**
 * What operations wanted in a mailbox and it did not keep, by the last of them for each placement: those behind `after`, as many
 * as `limit`.
 */
export const listMaskedStores = async (
  account: AccountTx,
  { endpointId, mailboxId }: Pick<Scope, "endpointId" | "mailboxId">,
  { after, limit }: { readonly after: PlacementId | null; readonly limit: number },
): Promise<readonly { readonly opId: string; readonly placement: PlacementView }[]> => {
  const { rows } = await account.tx.query<PlacementRow & { readonly op_id: string }>({
    name: "commands_masked",
    text: `select distinct on (c.placement_id) c.op_id, ${placementColumns}, ${bindingColumns} from commands c
             join placements p on p.account_id = c.account_id and p.id = c.placement_id
             join bindings b on b.account_id = p.account_id and b.placement_id = p.id and b.endpoint_id = c.endpoint_id and b.active
           where c.account_id = $1 and c.endpoint_id = $2 and c.status = 'masked' and c.verb = 'store' and c.op_id is not null
             and p.lifecycle = 'live' and b.mailbox_id = $3 and c.placement_id > coalesce($4, '00000000-0000-0000-0000-000000000000'::uuid)
           order by c.placement_id, c.ended_at desc limit $5`,
    values: [account.accountId, endpointId, mailboxId, after, limit],
  });
  return rows.map((row) => ({ opId: row.op_id, placement: toView(row) }));
};

/** Placements of messages of which the server did not do something that an operation wanted. */
export const loadRefused = async (
  account: AccountTx,
  endpointId: EndpointId,
  messageIds: readonly MessageId[],
): Promise<ReadonlySet<PlacementId>> => {
  const { rows } = await account.tx.query<{ id: PlacementId }>({
    name: "commands_refused",
    text: `select p.id from placements p where p.account_id = $1 and p.message_id = any($3::uuid[]) and p.lifecycle <> 'purged'
             and exists (select from commands c where c.account_id = $1 and c.placement_id = p.id and c.endpoint_id = $2
                           and c.op_id is not null and c.status in ('masked', 'failed'))`,
    values: [account.accountId, endpointId, messageIds],
  });
  return new Set(rows.map(({ id }) => id));
};
