/** What an operation over the API would leave in the tables: canonical state changed, and upstream owed. */
import { uuidv7 } from "uuidv7";
import type { AccountId, EndpointId, PlacementId, TenantId } from "../../src/model/ids.ts";
import { planIntentCommands } from "../../src/store/commands.ts";
import { openDatabase } from "../../src/store/database.ts";
import { quietLog } from "./shard-owner.ts";

/** By subject: the keywords that its placements shall have. */
export const plantKeywords = async (
  url: string,
  accountId: string,
  wanted: Readonly<Record<string, readonly string[]>>,
): Promise<void> => {
  const db = openDatabase({ url, log: quietLog });
  const id = accountId.replace(/^acc_/, "") as AccountId;
  const opId = uuidv7();
  await db.transaction(async (tx) => {
    const { rows } = await tx.query<{ tenant_id: TenantId; endpoint_id: EndpointId }>({
      text: `select a.tenant_id, e.id as endpoint_id from accounts a join endpoints e on e.account_id = a.id and e.protocol = 'imap'
             where a.id = $1 for update of a`,
      values: [id],
    });
    const row = rows[0];
    if (row === undefined) throw new Error("no such account");
    await tx.query({
      text: `insert into intents (account_id, op_id, tenant_id, device_id, base_seq, kind, args, status) values ($1, $2, $3, 'phone', 0, 'patch', '{}', 'applied')`,
      values: [id, opId, row.tenant_id],
    });
    const ids: PlacementId[] = [];
    for (const [subject, keywords] of Object.entries(wanted)) {
      const changed = await tx.query<{ id: PlacementId }>({
        text: `update placements p set keywords = $3 from messages m
               where p.account_id = $1 and m.account_id = p.account_id and m.id = p.message_id and m.subject = $2 returning p.id`,
        values: [id, subject, keywords],
      });
      ids.push(...changed.rows.map((placement) => placement.id));
    }
    await planIntentCommands({ tx, accountId: id, tenantId: row.tenant_id }, row.endpoint_id, ids, opId);
  });
  await db.close();
};
