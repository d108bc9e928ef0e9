/** Reads for a change of policy: what was kept or removed because it is gone upstream, with what was seen then. */
import type { EndpointId, PlacementId } from "../model/ids.ts";
import { chosenClasses, type PolicyDecided } from "../reconciler/policy-change.ts";
import type { AccountTx } from "./account-tx.ts";
import { fillsPlace } from "./commands.ts";
import { bindingColumns, placementColumns, type PlacementRow, toView } from "./slices.ts";

type DecidedRow = PlacementRow &
  Pick<PolicyDecided, "class" | "rule" | "confidence" | "evidence"> & {
    readonly c_endpoint_id: EndpointId | null;
    readonly can_restore: boolean;
  };

/**
 * By placement id, behind `after`. `endpointId`: where it could be put back; null: nowhere. What was dealt with once more since, by
 * whomever, carries another reason and is not among them; nor is what nobody has the octets of.
 */
export const loadPolicyDecided = async (
  account: AccountTx,
  endpointId: EndpointId | null,
  { after, limit }: { readonly after: PlacementId | null; readonly limit: number },
): Promise<readonly PolicyDecided[]> => {
  const { rows } = await account.tx.query<DecidedRow>({
    name: "policy_decided",
    text: `select ${placementColumns}, ${bindingColumns}, c.reason as class, c.rule, c.confidence, c.evidence, c.endpoint_id as c_endpoint_id,
             e.id is not null and not exists (
               select from commands c where c.account_id = p.account_id and c.placement_id = p.id and ${fillsPlace}) as can_restore
           from placements p
           join messages m on m.account_id = p.account_id and m.id = p.message_id and m.durability = 'durable'
           join lateral (select * from changes l where l.account_id = p.account_id and l.message_id = p.message_id and l.placement_id = p.id
                         and l.kind in ('message.kept', 'message.removed', 'message.restored') order by l.seq desc limit 1) c on c.reason = p.reason
           left join endpoints e on e.account_id = p.account_id and e.id = $2 and not coalesce((e.profile->>'pop3ShowsAll')::boolean, false)
           left join lateral (select * from bindings x where x.account_id = p.account_id and x.placement_id = p.id and x.endpoint_id = $2
                              order by x.active desc, x.synced_seq desc limit 1) b on true
           where p.account_id = $1 and (p.kept or p.lifecycle = 'removed') and p.reason = any($3)
             and p.id > coalesce($4, '00000000-0000-0000-0000-000000000000'::uuid)
           order by p.id limit $5`,
    values: [account.accountId, endpointId, chosenClasses, after, limit],
  });
  return rows.map((row) => ({
    placement: toView(row),
    class: row.class,
    rule: row.rule,
    confidence: row.confidence,
    evidence: row.evidence,
    endpointId: row.c_endpoint_id,
    canRestore: row.can_restore,
  }));
};
