/** Removes what deleted accounts left behind, in batches short enough that nobody waits for them. */
import type { Database, Tx } from "./database.ts";

/** In the order they are emptied: what refers before what is referred to; rows of `blobs` are up to 1 MiB each. */
const tables: readonly { readonly name: string; readonly batch: number }[] = [
  { name: "message_contents", batch: 1000 },
  { name: "bindings", batch: 1000 },
  { name: "placements", batch: 1000 },
  { name: "messages", batch: 1000 },
  { name: "blobs", batch: 200 },
  { name: "observations", batch: 1000 },
  { name: "commands", batch: 1000 },
  { name: "retrievals", batch: 1000 },
  { name: "intents", batch: 1000 },
  { name: "inputs", batch: 200 },
  { name: "holds", batch: 1000 },
  { name: "webhook_lanes", batch: 1000 },
  { name: "changes", batch: 1000 },
  { name: "upstream_mailboxes", batch: 1000 },
  { name: "mailboxes", batch: 1000 },
  { name: "endpoints", batch: 1000 },
  { name: "data_keys", batch: 1000 },
];

/** Deletes one batch of one table; false when nothing of the account is left but its row. */
const purgeBatch = async (tx: Tx, accountId: string): Promise<boolean> => {
  for (const { name, batch } of tables) {
    // A ctid is unique only within a partition; the account's id picks the one.
    const { rowCount } = await tx.query({
      name: `purge_${name}`,
      text: `delete from ${name} where account_id = $1 and ctid = any(array(select ctid from ${name} where account_id = $1 limit $2))`,
      values: [accountId, batch],
    });
    if (rowCount > 0) return true;
  }
  return false;
};

/** One short transaction; false when the account is gone or another daemon is at it. */
const purgeStep = async (tx: Tx, accountId: string): Promise<boolean> => {
  const { rowCount } = await tx.query({
    name: "purge_lock",
    text: `select 1 from accounts where id = $1 and deleted_at is not null for update skip locked`,
    values: [accountId],
  });
  if (rowCount === 0) return false;
  if (await purgeBatch(tx, accountId)) return true;
  await tx.query({ name: "purge_account", text: `delete from accounts where id = $1`, values: [accountId] });
  return false;
};

/**
 * Purges deleted accounts for about `budgetMs`; called again and again, it ends with all of them.
 * `graceSeconds` gives a pass that had begun before the deletion time to notice it.
 */
export const purgeDeletedAccounts = async (
  db: Database,
  options: { budgetMs?: number; graceSeconds?: number } = {},
): Promise<void> => {
  const until = Date.now() + (options.budgetMs ?? 5_000);
  const { rows } = await db.query<{ id: string }>({
    name: "purge_waiting",
    text: `select id from accounts where deleted_at < now() - make_interval(secs => $1) order by deleted_at limit 1000`,
    values: [options.graceSeconds ?? 60],
  });
  for (const { id } of rows) {
    while (Date.now() < until && (await db.transaction((tx) => purgeStep(tx, id)))) continue;
  }
};
