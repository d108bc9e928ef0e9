/** Open holds as their owner sees them, and what the owner says of them. */
import type { HoldDecision } from "../model/hold.ts";
import type { AccountId, MailboxId, MessageId, TenantId } from "../model/ids.ts";
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

/** Holds that a mailbox is under, oldest first. */
export const holdsOfMailbox = async (db: Queryable, accountId: AccountId, mailboxId: MailboxId): Promise<Hold[]> => {
  const { rows } = await db.query<Hold>({
    name: "holds_of_mailbox",
    text: `select ${columns} from holds where account_id = $1 and mailbox_id = $2 and closed_at is null and reason <> 'octets_damaged' order by id`,
    values: [accountId, mailboxId],
  });
  return rows;
};

/** Holds for which a placement of the message is `held` (store/message-reads.ts), oldest first. */
export const holdsOfMessage = async (db: Queryable, accountId: AccountId, messageId: MessageId): Promise<Hold[]> => {
  const { rows } = await db.query<Hold>({
    name: "holds_of_message",
    text: `select ${columns} from holds where account_id = $1 and closed_at is null and reason <> 'octets_damaged'
             and mailbox_id in (select unnest(array[p.mailbox_id, b.mailbox_id]) from placements p
                                left join bindings b on b.account_id = $1 and b.placement_id = p.id and b.active
                                where p.account_id = $1 and p.message_id = $2 and p.lifecycle = 'live')
           order by id`,
    values: [accountId, messageId],
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
