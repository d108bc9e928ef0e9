/** Placements that a new item may be, because it has their date and size: a MOVE keeps both (RFC 6851 3.3). */
import type { AccountId, MessageId, PlacementId } from "../model/ids.ts";
import type { Scope } from "../reconciler/state.ts";
import type { Queryable } from "./database.ts";
import { lastBinding } from "./slices.ts";

export interface Alike {
  readonly id: PlacementId;
  readonly messageId: MessageId;
  readonly receivedAt: Date;
  readonly sha256: Buffer;
  readonly size: number;
  readonly uid: number;
  readonly flags: readonly string[];
  /** Of its last item. */
  readonly objectId: string | null;
}

/** Those with an item in another mailbox of the endpoint, or without one since it was missed; not what we are about to move. */
export const listAlike = async (
  db: Queryable,
  accountId: AccountId,
  { endpointId, mailboxId }: Scope,
  items: readonly { readonly receivedAt: Date; readonly size: number }[],
): Promise<Alike[]> => {
  const { rows } = await db.query<Omit<Alike, "size" | "uid"> & { size: bigint; uid: bigint }>({
    name: "placements_alike",
    text: `select p.id, p.message_id as "messageId", p.received_at as "receivedAt", m.sha256, m.size, b.uid, b.shadow_flags as flags, b.object_id as "objectId"
           from (select distinct * from unnest($4::timestamptz[], $5::bigint[])) w(at, size)
           join messages m on m.account_id = $1 and m.received_at = w.at and m.size = w.size and m.durability = 'durable'
           join placements p on p.account_id = $1 and p.message_id = m.id and p.lifecycle = 'live' and not p.kept ${lastBinding}
           where ((b.active and b.mailbox_id <> $3) or (not b.active and (p.absent_since is not null or (b.closed_reason = 'epoch' and b.mailbox_id <> $3))))
             and not exists (select from commands c where c.account_id = $1 and c.placement_id = p.id and c.status in ('planned', 'sent', 'unknown'))
           order by p.id`,
    values: [accountId, endpointId, mailboxId, items.map(({ receivedAt }) => receivedAt), items.map(({ size }) => size)],
  });
  return rows.map((row) => ({ ...row, size: Number(row.size), uid: Number(row.uid) }));
};
