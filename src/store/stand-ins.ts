/** Mailboxes that were removed, and what is in their places now. */
import type { AccountId, MailboxId } from "../model/ids.ts";
import type { Queryable } from "./database.ts";

/**
 * For each of the mailboxes the live one that has its path: itself, or the one that was made again there (Q6); none: nothing is there.
 * A removed mailbox has the name and the parent that it had last.
 */
export const loadStandIns = async (
  db: Queryable,
  accountId: AccountId,
  ids: readonly MailboxId[],
): Promise<ReadonlyMap<MailboxId, MailboxId>> => {
  if (ids.length === 0) return new Map();
  const { rows } = await db.query<{ wanted: MailboxId; id: MailboxId }>({
    name: "mailbox_stand_ins",
    text: `with recursive up as (
             select id as wanted, parent_id, array[name] as path from mailboxes where account_id = $1 and id = any($2::uuid[])
             union all
             select u.wanted, m.parent_id, m.name || u.path from up u join mailboxes m on m.account_id = $1 and m.id = u.parent_id
             where cardinality(u.path) < 100),
           down as (
             select id, array[name] as path from mailboxes where account_id = $1 and parent_id is null and lifecycle = 'live'
             union all
             select m.id, d.path || m.name from down d join mailboxes m on m.account_id = $1 and m.parent_id = d.id and m.lifecycle = 'live'
             where cardinality(d.path) < 100)
           select up.wanted, down.id from up join down using (path) where up.parent_id is null`,
    values: [accountId, ids],
  });
  return new Map(rows.map(({ wanted, id }) => [wanted, id]));
};
