/** Where operations last wanted placements to be, as the log has it. */
import type { MailboxId, PlacementId } from "../model/ids.ts";
import type { AccountTx } from "./account-tx.ts";
import type { PlacementView } from "../reconciler/state.ts";

export interface LastPlace {
  readonly placementId: PlacementId;
  readonly kind: "message.moved" | "message.restored" | "message.created";
  readonly deviceId: string | null;
  readonly at: Date;
  readonly from: MailboxId | null;
  readonly to: MailboxId | null;
}

export const loadLastPlaces = async (account: AccountTx, placements: readonly PlacementView[]): Promise<readonly LastPlace[]> => {
  if (placements.length === 0) return [];
  const { rows } = await account.tx.query<{
    placement_id: PlacementId;
    kind: LastPlace["kind"];
    device_id: string | null;
    at: Date;
    from: MailboxId | null;
    to: MailboxId | null;
  }>({
    name: "placements_last_placed",
    text: `select distinct on (c.placement_id) c.placement_id, kind, device_id, at, before->>'mailboxId' as from, after->>'mailboxId' as to
           from (select distinct unnest($2::uuid[]) as message_id, unnest($3::uuid[]) as placement_id) as w
           cross join lateral (select * from changes where account_id = $1 and message_id = w.message_id and placement_id = w.placement_id offset 0) as c
           where kind in ('message.moved', 'message.restored', 'message.created') order by c.placement_id, seq desc`,
    values: [account.accountId, placements.map(({ messageId }) => messageId), placements.map(({ id }) => id)],
  });
  return rows.map(({ placement_id: placementId, device_id: deviceId, ...row }) => ({ placementId, deviceId, ...row }));
};
