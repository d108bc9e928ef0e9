/** Open holds as their owner sees them, and what the owner says of them. */
import type { HoldDecision } from "../model/hold.ts";
import type { AccountId, MailboxId, TenantId } from "../model/ids.ts";
import type { Queryable, Tx } from "./database.ts";
import { defineInput, ingestOwned } from "./inputs.ts";

export interface Hold {
  readonly id: string;
  readonly mailboxId: MailboxId | null;
  readonly reason: string;
  readonly count: number;
  readonly since: Date;
  /** null: nobody has said anything. */
  readonly decision: HoldDecision | null;
}

const columns = `id, mailbox_id as "mailboxId", reason, count, since, decision`;

/** Changes held back by a breaker, oldest first. `after`: the id of the last one that is known. */
export const listOpenHolds = async (
  db: Queryable,
  accountId: AccountId,
  { after, limit }: { readonly after: string | null; readonly limit: number },
): Promise<Hold[]> => {
  const { rows } = await db.query<Hold>({
    name: "holds_list",
    text: `select ${columns} from holds where account_id = $1 and closed_at is null and ($2::uuid is null or id > $2) order by id limit $3`,
    values: [accountId, after, limit],
  });
  return rows;
};

/** Locks the hold; null: there is none, or it is closed. */
export const lockOpenHold = async (tx: Tx, accountId: AccountId, id: string): Promise<Hold | null> => {
  const { rows } = await tx.query<Hold>({
    name: "hold_lock",
    text: `select ${columns} from holds where account_id = $1 and id = $2 and closed_at is null for update`,
    values: [accountId, id],
  });
  return rows[0] ?? null;
};

interface HoldSaid {
  readonly id: string;
  readonly decision: HoldDecision;
  readonly deviceId: string;
}

const holdDecided = defineInput("intent", "hold.decided", async (account, { id, decision, deviceId }: HoldSaid) => {
  await account.tx.query({
    name: "hold_decide",
    text: `update holds set decision = $3, decided_by = $4 where account_id = $1 and id = $2`,
    values: [account.accountId, id, decision, deviceId],
  });
});

export const decideHold = async (
  tx: Tx,
  owner: { readonly tenantId: TenantId; readonly accountId: AccountId },
  said: HoldSaid,
): Promise<void> => {
  await ingestOwned(tx, owner, holdDecided, said);
};
