/** What is owed to mail servers about mailboxes: one open command for each, whatever is wanted of it. */
import type { OpenStatus } from "../model/command.ts";
import type { AccountId, EndpointId, MailboxId } from "../model/ids.ts";
import type { MailboxFence, MailboxPlan, MailboxVerb } from "../model/mailbox-command.ts";
import type { AccountTx, InputTx } from "./account-tx.ts";
import type { Queryable } from "./database.ts";

export interface OpenMailboxCommand {
  readonly id: string;
  readonly mailboxId: MailboxId;
  readonly verb: MailboxVerb;
  readonly status: OpenStatus;
  readonly attempts: number;
  readonly fence: MailboxFence | null;
  readonly args: Pick<MailboxPlan, "moveTo">;
  /** Not to be looked at before; null: as soon as possible. */
  readonly dueAt: Date | null;
  /** The last try; null: it was not sent. */
  readonly sentAt: Date | null;
  /** The operation that wants it, and whose it is. */
  readonly opId: string;
  readonly deviceId: string | null;
}

/** Says that mailboxes want looking at; what is wanted last counts, and what was sent stays known. */
export const wantMailboxes = async (
  account: InputTx,
  endpointId: EndpointId,
  plans: readonly MailboxPlan[],
  opId: string,
): Promise<void> => {
  if (plans.length === 0) return;
  await account.tx.query({
    name: "mailboxes_overtake",
    text: `update intents set status = 'superseded', reason = 'overtaken'
           where account_id = $1 and status = 'pending' and op_id <> $4
             and op_id in (select op_id from commands where account_id = $1 and endpoint_id = $2 and mailbox_id = any($3::uuid[]) and ended_at is null)`,
    values: [account.accountId, endpointId, plans.map(({ mailboxId }) => mailboxId), opId],
  });
  const rows = plans.map(({ mailboxId, verb, moveTo }) => ({
    id: account.input.freshId(),
    mailbox_id: mailboxId,
    verb,
    args: moveTo === undefined ? {} : { moveTo },
  }));
  await account.tx.query({
    name: "mailboxes_want",
    text: `insert into commands (account_id, id, tenant_id, endpoint_id, mailbox_id, op_id, verb, args, reason, status, planned_at)
           select $1, w.id, $2, $3, w.mailbox_id, $5, w.verb, w.args, 'api_write', 'planned', clock_timestamp()
           from jsonb_to_recordset($4::jsonb) as w(id uuid, mailbox_id uuid, verb text, args jsonb)
           on conflict (account_id, endpoint_id, mailbox_id) where placement_id is null and mailbox_id is not null and ended_at is null
             do update set verb = excluded.verb, args = excluded.args, op_id = excluded.op_id, planned_at = excluded.planned_at, due_at = null, attempts = 0`,
    values: [account.accountId, account.tenantId, endpointId, JSON.stringify(rows), opId],
  });
};

const columns = `c.id, c.mailbox_id as "mailboxId", c.verb, c.status, c.attempts, c.fence, c.args, c.due_at as "dueAt", c.sent_at as "sentAt", c.op_id as "opId",
  i.device_id as "deviceId" from commands c left join intents i on i.account_id = c.account_id and i.op_id = c.op_id`;

/** Of an endpoint, longest waiting first. */
export const listMailboxCommands = async (
  db: Queryable,
  accountId: AccountId,
  endpointId: EndpointId,
): Promise<readonly OpenMailboxCommand[]> => {
  const { rows } = await db.query<OpenMailboxCommand>({
    name: "mailbox_commands",
    text: `select ${columns}
           where c.account_id = $1 and c.endpoint_id = $2 and c.placement_id is null and c.mailbox_id is not null and c.ended_at is null order by c.planned_at, c.id`,
    values: [accountId, endpointId],
  });
  return rows;
};

/** One of them as it is now; null: it has ended. */
export const readMailboxCommand = async (account: AccountTx, id: string): Promise<OpenMailboxCommand | null> => {
  const { rows } = await account.tx.query<OpenMailboxCommand>({
    name: "mailbox_command",
    text: `select ${columns} where c.account_id = $1 and c.id = $2 and c.ended_at is null`,
    values: [account.accountId, id],
  });
  return rows[0] ?? null;
};

/** What the account has in a mailbox, and whether something is still on its way out of it at the endpoint. */
export const readContents = async (
  account: AccountTx,
  endpointId: EndpointId | null,
  mailboxId: MailboxId,
): Promise<{ readonly live: number; readonly changedSeq: bigint; readonly busy: boolean }> => {
  const { rows } = await account.tx.query<{ live: bigint; changed_seq: bigint; busy: boolean }>({
    name: "mailbox_contents",
    text: `select count(*) as live, coalesce(max(changed_seq), 0) as changed_seq,
             exists (select from bindings b join commands c on c.account_id = b.account_id and c.placement_id = b.placement_id and c.ended_at is null
                     where b.account_id = $1 and b.endpoint_id = $2 and b.mailbox_id = $3 and b.active and c.endpoint_id = $2) as busy
           from placements where account_id = $1 and mailbox_id = $3 and lifecycle = 'live'`,
    values: [account.accountId, endpointId, mailboxId],
  });
  const row = rows[0];
  return { live: Number(row?.live ?? 0), changedSeq: row?.changed_seq ?? 0n, busy: row?.busy ?? false };
};

/** What waited for the server has ended (I16). */
export const endIntent = async (
  account: InputTx,
  opId: string,
  end: { readonly status: string; readonly reason: string },
): Promise<void> => {
  await account.tx.query({
    name: "intent_end",
    text: `update intents set status = $3, reason = $4 where account_id = $1 and op_id = $2 and status = 'pending'`,
    values: [account.accountId, opId, end.status, end.reason],
  });
};

/** A mailbox is there, or has room, that commands waited for. */
export const wakeWaiting = async (account: InputTx, endpointId: EndpointId): Promise<void> => {
  await account.tx.query({
    name: "commands_wake",
    text: `update commands set due_at = null
           where account_id = $1 and endpoint_id = $2 and status = 'planned' and outcome in ('no_mailbox', 'mailbox_refused', 'name_in_use', 'not_empty_yet')`,
    values: [account.accountId, endpointId],
  });
};
