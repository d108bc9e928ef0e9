/**
 * Commands to mail servers, durable before they are sent (semantics 3.6): planned with the decision that wants them, fenced
 * before the first octet leaves, ended by what was read back.
 */
import type { DecidedChange } from "../model/change.ts";
import type {
  CommandFence,
  CommandPlan,
  CommandReason,
  CommandVerb,
  EndStatus,
  FlagsSaid,
  OpenStatus,
} from "../model/command.ts";
import type { AccountId, EndpointId, MailboxId, MessageId, PlacementId } from "../model/ids.ts";
import type { MailboxFence } from "../model/mailbox-command.ts";
import type { Succession } from "../reconciler/moves.ts";
import { owedVerbs } from "../reconciler/plan.ts";
import type { PlacementView, Scope } from "../reconciler/state.ts";
import { type AccountTx, appendChanges, type InputTx } from "./account-tx.ts";
import type { BlobRef } from "./blob-reads.ts";
import type { Queryable } from "./database.ts";
import { bindingColumns, loadPlacements, placementColumns, type PlacementRow, toView } from "./slices.ts";
import { loadSuccessions } from "./successors.ts";

/** A command that has not ended. */
export interface OpenCommand {
  readonly id: string;
  readonly verb: CommandVerb;
  /** `named`: each item was named, or it is a part of another command, so that no breaker guards it (B5). `after`: what replaces it. */
  readonly args: { readonly remove?: readonly string[]; readonly named?: boolean; readonly after?: PlacementId };
  readonly reason: CommandReason;
  /** The operation that wanted it last, and whose it was; null: a rule did. */
  readonly opId: string | null;
  readonly deviceId: string | null;
  readonly status: OpenStatus;
  readonly attempts: number;
  /** Of the last try. */
  readonly outcome: string | null;
  readonly fence: CommandFence | null;
  /** Not to be sent before; null: as soon as possible. */
  readonly dueAt: Date | null;
  /** With its last binding at the endpoint; null: it is there no more. */
  readonly placement: PlacementView | null;
  /** The later of the shadow's and the fence's; null where the server has none. */
  readonly modseq: bigint | null;
  /** Octets of its message; null while nobody has them. */
  readonly content: BlobRef | null;
  /** Nobody has them yet, and another item of the message may give them. */
  readonly awaited: boolean;
  /** Of what replaces it, if anything does. */
  readonly succession: Succession;
}

/** Of one look: a lane comes back for the rest. */
const mostOpen = 500;

type CommandRow = PlacementRow &
  Pick<OpenCommand, "verb" | "args" | "reason" | "status" | "attempts" | "outcome" | "fence"> & {
    readonly command_id: string;
    readonly op_id: string | null;
    readonly device_id: string | null;
    readonly due_at: Date | null;
    readonly b_shadow_modseq: bigint | null;
    readonly m_sha256: Buffer | null;
    readonly m_size: bigint | null;
    readonly m_awaited: boolean;
  };

/** Of the account $1, at the endpoint $2. */
const commandTables = `from commands c
  left join placements p on p.account_id = $1 and p.id = c.placement_id
  left join messages m on m.account_id = $1 and m.id = p.message_id
  left join lateral (select * from bindings x where x.account_id = $1 and x.placement_id = p.id and x.endpoint_id = $2
                     order by x.active desc, x.synced_seq desc limit 1) b on true`;

const contentOf = ({ m_sha256: sha256, m_size: size }: Pick<CommandRow, "m_sha256" | "m_size">): BlobRef | null =>
  sha256 === null || size === null ? null : { sha256, size: Number(size) };

const later = (a: bigint | null, b: bigint | null): bigint | null => (a !== null && (b === null || a > b) ? a : b);

/**
 * What is owed to an endpoint, what is due first; not what lies in a mailbox where something is held back, for nothing is
 * written there meanwhile (4.4).
 */
export const listOpenCommands = async (
  db: Queryable,
  accountId: AccountId,
  endpointId: EndpointId,
): Promise<readonly OpenCommand[]> => {
  const { rows } = await db.query<CommandRow>({
    name: "commands_open",
    text: `select c.id as command_id, c.verb, c.args, c.reason, c.status, c.attempts, c.outcome, c.fence, c.due_at, c.op_id, i.device_id, ${placementColumns}, ${bindingColumns},
             b.shadow_modseq as b_shadow_modseq, m.sha256 as m_sha256, m.size as m_size,
             m.durability = 'stub' and exists (
               select from placements o join bindings x on x.account_id = $1 and x.placement_id = o.id
               where o.account_id = $1 and o.message_id = m.id and o.id <> p.id and o.lifecycle = 'live' and not o.kept) as m_awaited
           ${commandTables}
             left join intents i on i.account_id = $1 and i.op_id = c.op_id
           where c.account_id = $1 and c.endpoint_id = $2 and c.status in ('planned', 'sent', 'unknown') and c.mailbox_id is null
             and not exists (select from holds h where h.account_id = $1 and h.mailbox_id in (p.mailbox_id, b.mailbox_id) and h.closed_at is null
                               and h.reason <> 'octets_damaged')
           order by c.due_at nulls first, c.attempts, c.planned_at, c.id limit ${mostOpen}`,
    values: [accountId, endpointId],
  });
  const after = rows.flatMap(({ args }) => args.after ?? []);
  const successions = await loadSuccessions(db, accountId, endpointId, after);
  return rows.map((row) => {
    const { command_id: id, verb, args, reason, status, attempts, outcome, fence, due_at: dueAt } = row;
    const { op_id: opId, device_id: deviceId } = row;
    const sameScope = fence !== null && fence.mailboxId === row.b_mailbox_id && fence.epoch === row.b_epoch;
    const seen = (sameScope ? fence.modseq : null) ?? null;
    const placement = (row.id as string | null) === null ? null : toView(row);
    const modseq = later(row.b_shadow_modseq, seen === null ? null : BigInt(seen));
    const content = contentOf(row);
    const succession = (args.after === undefined ? undefined : successions.get(args.after)) ?? "done";
    const tries = { status, attempts, outcome, fence, dueAt };
    const { m_awaited: awaited } = row;
    return { id, verb, args, reason, opId, deviceId, ...tries, placement, modseq, content, awaited, succession };
  });
};

/** An `append` or a `move` that may have been done: one of the items of its mailbox may be what it put there. */
export interface OpenPlacing {
  readonly commandId: string;
  readonly status: CommandRow["status"];
  readonly verb: "append" | "move";
  readonly reason: CommandReason;
  readonly opId: string | null;
  readonly fence: CommandFence;
  readonly placement: PlacementView;
  /** null: it was purged meanwhile. */
  readonly content: BlobRef | null;
}

/** Those of one mailbox, in the order they were planned: one of an earlier epoch, too, and one of which the server said no last. */
export const loadOpenPlacings = async (db: Queryable, accountId: AccountId, scope: Scope): Promise<readonly OpenPlacing[]> => {
  const { rows } = await db.query<CommandRow>({
    name: "commands_placing_open",
    text: `select c.id as command_id, c.verb, c.status, c.reason, c.op_id, c.fence, ${placementColumns}, ${bindingColumns}, m.sha256 as m_sha256, m.size as m_size
           ${commandTables}
           where c.account_id = $1 and c.endpoint_id = $2 and c.status in ('planned', 'sent', 'unknown') and c.verb in ('append', 'move')
             and c.fence->>'mailboxId' = $3 and p.id is not null
           order by c.planned_at, c.id`,
    values: [accountId, scope.endpointId, scope.mailboxId],
  });
  return rows.flatMap((row) => {
    const { command_id: commandId, verb, status, reason, op_id: opId, fence } = row;
    const placing = { commandId, status, reason, opId, placement: toView(row), content: contentOf(row) };
    return fence === null || (verb !== "append" && verb !== "move") ? [] : [{ ...placing, verb, fence }];
  });
};

/** Where these placements were sent to, as far as nobody has heard whether they are there. */
export const listSentTo = async (
  db: Queryable,
  { accountId, endpointId }: { readonly accountId: AccountId; readonly endpointId: EndpointId },
  placementIds: readonly PlacementId[],
): Promise<readonly MailboxId[]> => {
  if (placementIds.length === 0) return [];
  const { rows } = await db.query<{ mailbox_id: MailboxId }>({
    name: "commands_sent_to",
    text: `select distinct (c.fence->>'mailboxId')::uuid as mailbox_id from commands c
           where c.account_id = $1 and c.endpoint_id = $2 and c.placement_id = any($3::uuid[]) and c.status in ('sent', 'unknown') and c.verb = 'append'
             and c.fence ? 'mailboxId'`,
    values: [accountId, endpointId, placementIds],
  });
  return rows.map((row) => row.mailbox_id);
};

/**
 * Is there an item from where it was sent on that it may be, changed by the server? Its Message-ID would be the same; of what has none,
 * or is not read, nobody knows.
 */
export const mayBeShown = async (account: AccountTx, scope: Scope, { placement, fence }: OpenPlacing): Promise<boolean> => {
  const { rows } = await account.tx.query<{ shown: boolean }>({
    name: "commands_placing_shown",
    text: `select exists (
             select from bindings b join placements p on p.account_id = $1 and p.id = b.placement_id
               join messages m on m.account_id = $1 and m.id = p.message_id
             where b.account_id = $1 and b.endpoint_id = $2 and b.mailbox_id = $3 and b.epoch = $4 and b.uid >= $5 and b.active
               and (m.message_id is null or o.message_id is null or m.message_id = o.message_id)) as shown
           from messages o where o.account_id = $1 and o.id = $6`,
    values: [account.accountId, scope.endpointId, scope.mailboxId, scope.epoch, fence.uidNext ?? 0, placement.messageId],
  });
  return rows[0]?.shown ?? true;
};

/** Flags that we said to items of a scope, as far as is not known yet whether it was heard. */
export const loadSaid = async (account: AccountTx, scope: Scope): Promise<ReadonlyMap<PlacementId, readonly FlagsSaid[]>> => {
  const { rows } = await account.tx.query<{ placement_id: PlacementId; said: FlagsSaid }>({
    name: "commands_said",
    text: `select placement_id, fence->'said' as said from commands
           where account_id = $1 and endpoint_id = $2 and status in ('sent', 'unknown') and verb = 'store'
             and fence->>'mailboxId' = $3 and (fence->>'epoch')::int = $4 and fence ? 'said' order by id`,
    values: [account.accountId, scope.endpointId, scope.mailboxId, scope.epoch],
  });
  const groups = Map.groupBy(rows, (row) => row.placement_id);
  return new Map([...groups].map(([id, group]) => [id, group.map(({ said }) => said)]));
};

/** Does the mailbox show items from `fromUid` on whose octets the server did not give yet? Any of them may be what was put there. */
export const hasStubs = async (db: Queryable, accountId: AccountId, scope: Scope, fromUid: number): Promise<boolean> => {
  const { rowCount } = await db.query({
    name: "commands_stubs",
    text: `select 1 from placements p join messages m on m.account_id = p.account_id and m.id = p.message_id and m.durability = 'stub'
           join bindings b on b.account_id = p.account_id and b.placement_id = p.id and b.endpoint_id = $3 and b.epoch = $4 and b.active
             and b.uid >= $5
           where p.account_id = $1 and p.mailbox_id = $2 limit 1`,
    values: [accountId, scope.mailboxId, scope.endpointId, scope.epoch, fromUid],
  });
  return rowCount > 0;
};

/** Outcome of what was to be put where the message is. */
export const thereAlready = "there_already";

/** SQL: is command `c` an append that leaves no room for another of its placement (I14)? A copy that never came to be leaves it. */
export const fillsPlace = `c.verb = 'append' and not (c.reason = 'preserved_ahead' and c.status in ('failed', 'masked', 'superseded')
                    and c.outcome <> '${thereAlready}')`;

/** Has the message a live place in the mailbox? */
export const hasPlace = async (
  db: Queryable,
  accountId: AccountId,
  { messageId, mailboxId }: { readonly messageId: MessageId; readonly mailboxId: MailboxId },
): Promise<boolean> => {
  const { rowCount } = await db.query({
    name: "placements_there",
    text: `select 1 from placements where account_id = $1 and message_id = $2 and mailbox_id = $3 and lifecycle = 'live' limit 1`,
    values: [accountId, messageId, mailboxId],
  });
  return rowCount > 0;
};

/** C3: from here on it may have been done, whatever becomes of us. */
export const fenceCommands = async (
  account: InputTx,
  fenced: readonly { readonly id: string; readonly fence: CommandFence | MailboxFence }[],
): Promise<void> => {
  const { at } = account.input;
  await account.tx.query({
    name: "commands_fence",
    text: `update commands c set status = 'sent', attempts = attempts + 1, sent_at = $3, fence = w.fence
           from jsonb_to_recordset($2::jsonb) as w(id uuid, fence jsonb) where c.account_id = $1 and c.id = w.id`,
    values: [account.accountId, JSON.stringify(fenced), at],
  });
};

export interface CommandMove {
  readonly id: string;
  /** As it was when this was decided: another operation that wants something since then has to be looked at anew. */
  readonly opId: string | null;
  readonly status: OpenStatus | EndStatus;
  readonly outcome: string | null;
  readonly dueAt: Date | null;
  /** Absent: as it was. */
  readonly fence?: CommandFence | MailboxFence;
  /** Of the log: what tells of it. */
  readonly changes: readonly DecidedChange[];
  /** The tries begin anew. */
  readonly progress?: true;
  /** One more, though nothing was sent. */
  readonly tried?: true;
}

const isOpen = (status: CommandMove["status"]): boolean => status === "planned" || status === "sent" || status === "unknown";

/** Writes what became of commands, with the changes that tell of it. A hash of octets is needed no longer, and a purge would not find it. */
export const moveCommands = async (account: InputTx, moves: readonly CommandMove[]): Promise<void> => {
  const { at } = account.input;
  if (moves.length === 0) return;
  const rows = moves.map(({ id, opId, status, outcome, dueAt, fence, progress, tried }) => ({
    id,
    op_id: opId,
    progress: progress ?? false,
    tries: tried === true ? 1 : 0,
    status,
    outcome,
    due_at: dueAt,
    ended_at: isOpen(status) ? null : at,
    fence: fence ?? null,
  }));
  const moved = await account.tx.query<{ id: string }>({
    name: "commands_move",
    text: `update commands c set status = w.status, outcome = w.outcome, due_at = w.due_at, ended_at = w.ended_at,
             fence = coalesce(nullif(w.fence, 'null'), c.fence) - case when w.ended_at is null then '' else 'sha256' end, attempts = case when w.progress then 0 else c.attempts + w.tries end
           from jsonb_to_recordset($2::jsonb) as w(id uuid, op_id text, status text, outcome text, due_at timestamptz, ended_at timestamptz,
                                                   fence jsonb, progress boolean, tries int)
           where c.account_id = $1 and c.id = w.id and c.op_id is not distinct from w.op_id and c.ended_at is null returning c.id`,
    values: [account.accountId, JSON.stringify(rows)],
  });
  const ids = new Set(moved.rows.map(({ id }) => id));
  await appendChanges(
    account,
    moves.flatMap(({ id, changes }) => (ids.has(id) ? changes : [])),
  );
};

/** What is under way for placements stands for the operation that wanted them last: whoever ends it has to look again. */
const claimOpen = async (
  { tx, accountId }: InputTx,
  endpointId: EndpointId,
  placementIds: readonly PlacementId[],
  opId: string,
): Promise<void> => {
  await tx.query({
    name: "commands_claim_open",
    text: `update commands set op_id = $4 where account_id = $1 and endpoint_id = $2 and placement_id = any($3::uuid[]) and op_id is not null and ended_at is null`,
    values: [accountId, endpointId, placementIds, opId],
  });
};

export interface WantedBy {
  readonly opId: string;
  /** One of several that were named together. */
  readonly named?: boolean;
  /** A verb that just came to its end. */
  readonly except?: CommandVerb | null;
}

/**
 * What upstream lacks of these placements is owed from now on, because an operation wants it: the one way by which an intent gets
 * there. A placement owes each verb once at a time; the operation that wanted it last stands for all. Nothing where they agree.
 */
export const planIntentCommands = async (
  account: InputTx,
  endpointId: EndpointId,
  placementIds: readonly PlacementId[],
  { opId, named = false, except = null }: WantedBy,
): Promise<void> => {
  if (placementIds.length === 0) return;
  await claimOpen(account, endpointId, placementIds, opId);
  const placements = [...(await loadPlacements(account, endpointId, placementIds)).values()];
  const rows = placements.flatMap((placement) =>
    owedVerbs(placement).flatMap((verb) =>
      verb === except ? [] : [{ id: account.input.freshId(), placement_id: placement.id, verb }],
    ),
  );
  if (rows.length === 0) return;
  await account.tx.query({
    name: "commands_plan_intent",
    text: `insert into commands (account_id, id, tenant_id, endpoint_id, placement_id, verb, args, reason, op_id, status)
           select $1, w.id, $2, $3, w.placement_id, w.verb, $6::jsonb || case when w.verb = 'expunge' then coalesce((
               select jsonb_build_object('after', o.args->'after') from commands o
               where o.account_id = $1 and o.placement_id = w.placement_id and o.verb <> 'expunge' and o.args ? 'after'
               order by o.planned_at desc, o.id limit 1), '{}') else '{}' end, 'api_write', $5, 'planned'
           from jsonb_to_recordset($4::jsonb) as w(id uuid, placement_id uuid, verb text)
           where w.verb <> 'append' or not exists (
             select from commands o where o.account_id = $1 and o.placement_id = w.placement_id and o.verb = 'append' and o.op_id is null and o.reason <> 'preserved_ahead' and o.ended_at is null)
           on conflict (account_id, placement_id, verb) where op_id is not null and ended_at is null
           do update set op_id = excluded.op_id, due_at = case when commands.status = 'planned' then null else commands.due_at end`,
    values: [account.accountId, account.tenantId, endpointId, JSON.stringify(rows), opId, JSON.stringify(named ? { named } : {})],
  });
};

/** Where octets can be put back: the account's IMAP endpoint; null: it has none, or POP3 shows all of its mail (V18). */
export const findRestoreEndpoint = async (account: AccountTx): Promise<EndpointId | null> => {
  const { rows } = await account.tx.query<{ id: EndpointId; pop3_shows_all: boolean }>({
    name: "commands_restore_endpoint",
    text: `select id, coalesce((profile->>'pop3ShowsAll')::boolean, false) as pop3_shows_all from endpoints
           where account_id = $1 and protocol = 'imap' order by created_at, id limit 1`,
    values: [account.accountId],
  });
  const [first] = rows;
  return first === undefined || first.pop3_shows_all ? null : first.id;
};

/** Plans what the account does not have yet; what was once done to a placement for a reason is not done again (I14). */
export const planCommands = async (account: InputTx, endpointId: EndpointId, plans: readonly CommandPlan[]): Promise<void> => {
  if (plans.length === 0) return;
  const rows = plans.map(({ placementId, verb, args, reason }) => ({
    id: account.input.freshId(),
    placement_id: placementId,
    verb,
    args,
    reason,
  }));
  await account.tx.query({
    name: "commands_plan",
    text: `insert into commands (account_id, id, tenant_id, endpoint_id, placement_id, verb, args, reason, status)
           select $1, w.id, $2, $3, w.placement_id, w.verb, w.args, w.reason, 'planned'
           from jsonb_to_recordset($4::jsonb) as w(id uuid, placement_id uuid, verb text, args jsonb, reason text)
           on conflict (account_id, placement_id, reason) where op_id is null do nothing`,
    values: [account.accountId, account.tenantId, endpointId, JSON.stringify(rows)],
  });
};
