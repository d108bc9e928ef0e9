/**
 * Octets of mail in other words than those its message has: an item of another view, which is known by its normal form or by what it
 * says (L3, L5). They were made durable before that was known; nothing shows them, and a purge takes them too (I2).
 */
import type { PlacementId } from "../model/ids.ts";
import type { Decision } from "../reconciler/state.ts";
import type { InputTx } from "./account-tx.ts";
import type { MessageContent } from "./decisions.ts";

/** An item, by its place in its batch, and what it was taken for. */
export interface ShownAs {
  readonly item: number;
  readonly placementId: PlacementId;
}

/** To be called when the decision is applied. `contents`: of the batch, whose octets are stored. */
export const noteRenderings = async (
  account: InputTx,
  contents: readonly MessageContent[],
  { shown, newMessages }: { readonly shown: readonly ShownAs[]; readonly newMessages: Decision["newMessages"] },
): Promise<void> => {
  const made = new Set(newMessages.map(({ item }) => item));
  const others = shown.flatMap(({ item, placementId }) => {
    const octets = contents[item]?.octets;
    return made.has(item) || octets == null ? [] : [{ placementId, sha256: octets.sha256 }];
  });
  if (others.length === 0) return;
  await account.tx.query({
    name: "renderings_note",
    text: `update messages m set renderings = m.renderings || w.hashes
           from (select p.message_id, array_agg(distinct i.sha256 order by i.sha256) as hashes
                 from unnest($2::uuid[], $3::bytea[]) as i(placement_id, sha256)
                 cross join lateral (select message_id from placements where account_id = $1 and id = i.placement_id offset 0) as p
                 cross join lateral (select sha256, renderings from messages where account_id = $1 and id = p.message_id offset 0) as o
                 where o.sha256 <> i.sha256 and i.sha256 <> all(o.renderings) group by p.message_id) as w
           where m.account_id = $1 and m.id = w.message_id`,
    values: [account.accountId, others.map(({ placementId }) => placementId), others.map(({ sha256 }) => sha256)],
  });
};
