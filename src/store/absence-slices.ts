/** Placements whose items are missing, with all that a decision about them needs (semantics 4). */
import type { EndpointId, MailboxId, PlacementId } from "../model/ids.ts";
import type { Role } from "../model/mail.ts";
import type { Candidate } from "../reconciler/vanish.ts";
import type { AbsenceTrace } from "../reconciler/vanish-evidence.ts";
import { viaTrash } from "../reconciler/via-trash.ts";
import type { AccountTx } from "./account-tx.ts";
import { cameAt } from "./candidates.ts";
import { fillsPlace } from "./commands.ts";
import { lateRemoval } from "./removals.ts";
import { bindingColumns, lastBinding, placementColumns, type PlacementRow, toView } from "./slices.ts";

export interface CandidateGroup {
  /** Where they are missed, wherever an operation may want them. */
  readonly mailboxId: MailboxId;
  /** Live placements of the mailbox, candidates included. */
  readonly live: number;
  /** Of the mailbox now. */
  readonly epoch: number;
  readonly candidates: readonly Candidate[];
}

const missedIn = (row: Pick<PlacementRow, "mailbox_id" | "b_mailbox_id">): MailboxId => row.b_mailbox_id ?? row.mailbox_id;

type AbsentRow = PlacementRow & {
  role: Role | null;
  own: boolean;
  durable: boolean;
  restorable: boolean;
  wanted_role: Role | null;
  appendable: boolean;
  reason: string;
  absence: AbsenceTrace | null;
  epoch: number | null;
  gone: boolean;
  shown_elsewhere: boolean;
  came_at: Date | null;
};

const toCandidate = (row: AbsentRow): Candidate => {
  const view = toView(row);
  return {
    ...view,
    absentSince: row.absent_since?.getTime() ?? 0,
    mailboxGone: row.gone,
    cameAt: row.came_at?.getTime() ?? null,
    trace: row.absence,
    role: row.role,
    ownCommand: row.own,
    durable: row.durable,
    restorable: row.restorable,
    shownElsewhere: row.shown_elsewhere,
    wanted: row.mailbox_id === missedIn(row) ? null : { role: row.wanted_role, appendable: row.appendable },
    drainSuspect: row.role === "trash" && row.reason === viaTrash,
    markedDeleted: view.binding?.shadowFlags.some((flag) => flag.toLowerCase() === "\\deleted") ?? false,
  };
};

/** Mail that is missed, and the octets that are stored of it. */
export interface MissingRow {
  readonly id: PlacementId;
  readonly sha256: Buffer;
  readonly size: number;
}

/** Up to `limit` of them. */
export const listMissing = async (account: AccountTx, limit: number): Promise<MissingRow[]> => {
  const { rows } = await account.tx.query<{ id: PlacementId; sha256: Buffer; size: bigint }>({
    name: "absences_stored",
    text: `select p.id, m.sha256, m.size from placements p join messages m on m.account_id = p.account_id and m.id = p.message_id
           where p.account_id = $1 and p.lifecycle = 'live' and p.absent_since is not null and m.sha256 is not null order by p.id limit $2`,
    values: [account.accountId, limit],
  });
  return rows.map(({ size, ...row }) => ({ ...row, size: Number(size) }));
};

/** Absence candidates noted before `cutStartedAt`, by mailbox; a later one was not part of the cut. */
export const loadCandidates = async (
  account: AccountTx,
  endpointId: EndpointId,
  cutStartedAt: Date,
): Promise<CandidateGroup[]> => {
  const { rows } = await account.tx.query<AbsentRow>({
    name: "absence_candidates",
    text: `select ${placementColumns}, ${bindingColumns}, m.role, p.reason, p.absence, u.epoch,
             not exists (select from upstream_mailboxes l where l.account_id = p.account_id and l.endpoint_id = $2
                         and l.mailbox_id = coalesce(b.mailbox_id, p.mailbox_id)) as gone,
             exists (select from placements q join bindings x on x.account_id = q.account_id and x.placement_id = q.id and x.endpoint_id = $2 and x.active
                     where q.account_id = p.account_id and q.message_id = p.message_id and q.id <> p.id and q.lifecycle = 'live') as shown_elsewhere,
             case when m.role in ('trash', 'junk') then ${cameAt} end as came_at,
             exists (select from commands c where c.account_id = p.account_id and c.placement_id = p.id and c.verb = 'dele'
                     and (c.status in ('sent', 'unknown', 'confirmed') or (c.status = 'failed' and c.sent_at > now() - interval '${lateRemoval}'))) as own,
             o.durability = 'durable' as durable, o.durability = 'durable' and not exists (
               select from commands c where c.account_id = p.account_id and c.placement_id = p.id and ${fillsPlace}) as restorable,
             t.role as wanted_role, not exists (
               select from commands c where c.account_id = p.account_id and c.placement_id = p.id and c.reason = 'source_gone') as appendable
           from placements p
           join messages o on o.account_id = p.account_id and o.id = p.message_id
           join mailboxes t on t.account_id = p.account_id and t.id = p.mailbox_id
           ${lastBinding}
           join mailboxes m on m.account_id = p.account_id and m.id = coalesce(b.mailbox_id, p.mailbox_id)
           left join upstream_mailboxes u on u.account_id = p.account_id and u.mailbox_id = m.id and u.endpoint_id = $2
           where p.account_id = $1 and p.lifecycle = 'live' and p.absent_since is not null and p.absent_since <= $3
             and not exists (select from holds h where h.account_id = p.account_id and h.mailbox_id = m.id and h.reason = 'epoch' and h.closed_at is null)
           order by p.id`,
    values: [account.accountId, endpointId, cutStartedAt],
  });
  if (rows.length === 0) return [];
  const live = await account.tx.query<{ mailbox_id: MailboxId; live: bigint }>({
    name: "live_counts",
    text: `select mailbox_id, count(*) as live from placements where account_id = $1 and lifecycle = 'live' and mailbox_id = any($2::uuid[]) group by mailbox_id`,
    values: [account.accountId, [...new Set(rows.map(missedIn))]],
  });
  const counts = new Map(live.rows.map((row) => [row.mailbox_id, Number(row.live)]));
  const candidates = rows.map(toCandidate);
  return [...Map.groupBy(candidates, ({ binding, mailboxId }) => binding?.mailboxId ?? mailboxId)].map(([mailboxId, group]) => ({
    mailboxId,
    live: Math.max(counts.get(mailboxId) ?? 0, group.length),
    epoch: rows.find((row) => missedIn(row) === mailboxId)?.epoch ?? 0,
    candidates: group,
  }));
};
