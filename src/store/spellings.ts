/** Flags as they are spelt upstream; canonical keywords are in lower case (semantics F6). */
import type { AccountId, EndpointId, MessageId } from "../model/ids.ts";
import type { Queryable } from "./database.ts";

/** Of all items of a message that an endpoint shows or showed, what was seen last first. */
export const readSpellings = async (
  db: Queryable,
  accountId: AccountId,
  endpointId: EndpointId,
  messageId: MessageId,
): Promise<readonly string[]> => {
  const { rows } = await db.query<{ shadow_flags: string[] }>({
    name: "message_spellings",
    text: `select b.shadow_flags from placements p
             join bindings b on b.account_id = p.account_id and b.placement_id = p.id and b.endpoint_id = $2
           where p.account_id = $1 and p.message_id = $3 order by b.active desc, b.synced_seq desc`,
    values: [accountId, endpointId, messageId],
  });
  return rows.flatMap((row) => row.shadow_flags);
};
