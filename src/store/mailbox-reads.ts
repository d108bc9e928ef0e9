/** Mailboxes of an account as the API shows them: the tree with its counters. */
import type { EndStatus, OpenStatus } from "../model/command.ts";
import type { AccountId, MailboxId } from "../model/ids.ts";
import type { MailboxVerb } from "../model/mailbox-command.ts";
import type { Role } from "../model/mail.ts";
import type { Queryable } from "./database.ts";

export interface ListedMailbox {
  readonly id: MailboxId;
  readonly name: string;
  /** Names from the root down, joined with "/". */
  readonly path: string;
  readonly parentId: MailboxId | null;
  readonly role: Role | null;
  /** Live placements, kept ones included. */
  readonly totalMessages: number;
  /** Those of them without `$seen`. */
  readonly unreadMessages: number;
  /**
   * `held`: a breaker holds something back in it. `pending`: its first reading goes on, it cannot be read now, or what was asked
   * for is not done upstream. `masked`: the server does not take its name or its place. `canonical_only`: no endpoint has it.
   */
  readonly sync: "synced" | "pending" | "held" | "masked" | "canonical_only";
}

interface MailboxRow {
  readonly id: MailboxId;
  readonly name: string;
  readonly parent_id: MailboxId | null;
  readonly role: Role | null;
  readonly total: bigint;
  readonly unread: bigint;
  readonly upstream: bigint;
  readonly read_whole: boolean;
  readonly held: boolean;
  /** Of the last command about it; null: there was none. */
  readonly command: OpenStatus | EndStatus | null;
  readonly verb: MailboxVerb | null;
}

/** The path of a mailbox. A parent that is gone, or a circle, ends it. */
const pathOf = (row: MailboxRow, byId: ReadonlyMap<MailboxId, MailboxRow>): string => {
  const names: string[] = [];
  const seen = new Set<MailboxId>();
  let at: MailboxRow | undefined = row;
  while (at !== undefined && !seen.has(at.id)) {
    seen.add(at.id);
    names.unshift(at.name);
    at = at.parent_id === null ? undefined : byId.get(at.parent_id);
  }
  return names.join("/");
};

const syncOf = (row: MailboxRow): ListedMailbox["sync"] => {
  const { held, command, verb } = row;
  if (held) return "held";
  if (command === "planned" || command === "sent" || command === "unknown") return "pending";
  if (verb === "place" && (command === "masked" || command === "failed")) return "masked";
  if (row.upstream === 0n) return "canonical_only";
  return row.read_whole ? "synced" : "pending";
};

/** Every live mailbox, ordered by path. */
export const listMailboxes = async (db: Queryable, accountId: AccountId): Promise<ListedMailbox[]> => {
  const { rows } = await db.query<MailboxRow>({
    name: "mailboxes_list",
    text: `select m.id, m.name, m.parent_id, m.role, m.total_messages as total, m.unread_messages as unread,
             coalesce(u.upstream, 0) as upstream, coalesce(u.read_whole, false) as read_whole, c.status as command, c.verb,
             exists (select from holds h where h.account_id = m.account_id and h.mailbox_id = m.id and h.closed_at is null
                       and h.reason <> 'octets_damaged') as held
           from mailboxes m
           left join lateral (select status, verb from commands where account_id = $1 and mailbox_id = m.id
                              order by planned_at desc limit 1) c on true
           left join (select mailbox_id, count(*) as upstream,
                        bool_and(absent_since is null and (not selectable or (coalesce(backfill_low, 2) <= 1 and parked_until is null))) as read_whole
                      from upstream_mailboxes where account_id = $1 group by mailbox_id) u on u.mailbox_id = m.id
           where m.account_id = $1 and m.lifecycle = 'live'`,
    values: [accountId],
  });
  const byId = new Map(rows.map((row) => [row.id, row]));
  return rows
    .map((row): ListedMailbox => ({
      id: row.id,
      name: row.name,
      path: pathOf(row, byId),
      parentId: row.parent_id,
      role: row.role,
      totalMessages: Number(row.total),
      unreadMessages: Number(row.unread),
      sync: syncOf(row),
    }))
    .sort((a, b) => (a.path < b.path ? -1 : 1));
};

/** Whether the account has, or had, this mailbox: a removed one can still hold messages that can be brought back. */
export const mailboxExists = async (db: Queryable, accountId: AccountId, id: MailboxId): Promise<boolean> => {
  const { rowCount } = await db.query({
    name: "mailbox_exists",
    text: `select from mailboxes where account_id = $1 and id = $2`,
    values: [accountId, id],
  });
  return rowCount > 0;
};

/** The live mailbox that has a role; null when none has it. */
export const findMailboxByRole = async (db: Queryable, accountId: AccountId, role: Role): Promise<MailboxId | null> => {
  const { rows } = await db.query<{ id: MailboxId }>({
    name: "mailbox_by_role",
    text: `select id from mailboxes where account_id = $1 and role = $2 and lifecycle = 'live'`,
    values: [accountId, role],
  });
  return rows[0]?.id ?? null;
};
