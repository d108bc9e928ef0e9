/** Absence candidates: the bookkeeping between "missing in a read" and a decision (semantics 4.1). */
import type { EndpointId, MailboxId, PlacementId } from "../model/ids.ts";
import type { ListedItem } from "../model/maildrop.ts";
import { accountLeast, breakerWindowMs, countedRules, type VanishCounts } from "../reconciler/vanish-breaker.ts";
import type { AccountTx, InputTx } from "./account-tx.ts";

/** Placements of mailbox $3 that lost their item at endpoint $2 to a new epoch. Set against set: its cost is the mailbox. */
const leftOver = `select placement_id from bindings where account_id = $1 and endpoint_id = $2 and mailbox_id = $3 and closed_reason = 'epoch'
  except select placement_id from bindings where account_id = $1 and endpoint_id = $2 and active`;

/** Placement `p` lost its last item so: an APPEND that is still open was done, and its item went (C3). */
const wasLastHere = `(select x.mailbox_id = $3 and x.closed_reason = 'epoch' from bindings x
  where x.account_id = $1 and x.placement_id = p.id and x.endpoint_id = $2 order by x.active desc, x.synced_seq desc limit 1)`;

/** What is said of a whole mailbox is one statement: of some 100,000 items it takes longer than anything else here may. */
const wholeMailboxMs = 300_000;

/** For the rest of the transaction. */
export const allowWholeMailbox = async ({ tx }: Pick<AccountTx, "tx">): Promise<void> => {
  await tx.query({ text: "select set_config('statement_timeout', $1, true)", values: [String(wholeMailboxMs)] });
};

/** Up to `limit` of those that a new epoch, read to its end, has left without an item. */
export const listLeftOver = async (
  account: AccountTx,
  endpointId: EndpointId,
  mailboxId: MailboxId,
  limit: number,
): Promise<PlacementId[]> => {
  const { rows } = await account.tx.query<{ id: PlacementId }>({
    name: "placements_left_over",
    text: `select p.id from (${leftOver}) l join placements p on p.account_id = $1 and p.id = l.placement_id
           where p.mailbox_id = $3 and p.lifecycle = 'live' and not p.kept limit $4`,
    values: [account.accountId, endpointId, mailboxId, limit],
  });
  return rows.map(({ id }) => id);
};

/**
 * After a new epoch was read to its end: placements that were in the mailbox and that no item continued become candidates, wherever
 * they are wanted; but not those that are being put there, or that the server does not take there. None of them is looked for in the
 * mailbox any more: an operation goes on without it (P8), and what was to be removed there is not there (ID-5d).
 * @returns how many.
 */
export const markUnbound = async (account: InputTx, endpointId: EndpointId, mailboxId: MailboxId): Promise<number> => {
  const { at } = account.input;
  await allowWholeMailbox(account);
  const { rowCount } = await account.tx.query({
    name: "placements_unbound",
    text: `update placements p set absent_since = $4 from (${leftOver}) left_over
           where p.account_id = $1 and p.id = left_over.placement_id and p.lifecycle = 'live' and not p.kept and p.absent_since is null
             and not exists (select from commands c where c.account_id = $1 and c.placement_id = p.id and c.verb = 'append'
                               and c.reason <> 'preserved_ahead' and case
               when p.mailbox_id <> $3 then c.ended_at is null or c.status in ('failed', 'masked')
               else c.ended_at is null and not ${wasLastHere} end)`,
    values: [account.accountId, endpointId, mailboxId, at],
  });
  await account.tx.query({
    name: "bindings_unbound",
    text: `update bindings b set closed_reason = 'absent' from (${leftOver}) left_over
           where b.account_id = $1 and b.placement_id = left_over.placement_id and b.endpoint_id = $2 and b.mailbox_id = $3
             and b.closed_reason = 'epoch'`,
    values: [account.accountId, endpointId, mailboxId],
  });
  return rowCount;
};

/** Placements that a mailbox does not show in its new epoch become candidates before it is read. @returns how many. */
export const markMissing = async (account: InputTx, ids: readonly PlacementId[]): Promise<number> => {
  const { rowCount } = await account.tx.query({
    name: "placements_missing",
    text: `update placements p set absent_since = $3 where p.account_id = $1 and p.id = any($2::uuid[]) and p.lifecycle = 'live' and not p.kept
             and p.absent_since is null
             and (select 1 from bindings b where b.account_id = $1 and b.placement_id = p.id and b.active and b.uidl = '' limit 1) is null`,
    values: [account.accountId, ids, account.input.at],
  });
  return rowCount;
};

/** Are there absence candidates at all? Cheap enough to ask after each pass that closed bindings. */
export const hasCandidates = async (account: AccountTx): Promise<boolean> => {
  const { rowCount } = await account.tx.query({
    name: "candidates_any",
    text: `select 1 from placements where account_id = $1 and lifecycle = 'live' and absent_since is not null limit 1`,
    values: [account.accountId],
  });
  return rowCount > 0;
};

/** Of the placements those that a maildrop had when it was last listed, with the item that is theirs. */
export const listInMaildrop = async (
  account: AccountTx,
  endpointId: EndpointId,
  ids: readonly PlacementId[],
): Promise<readonly (Pick<ListedItem, "uidl" | "occurrence"> & { readonly placementId: PlacementId })[]> => {
  if (ids.length === 0) return [];
  const { rows } = await account.tx.query<{ placement_id: PlacementId; uidl: string; occurrence: number }>({
    name: "candidates_in_maildrop",
    text: `select b.* from (select distinct unnest($3::uuid[]) as id) as w
           cross join lateral (select placement_id, uidl, occurrence from bindings
                               where account_id = $1 and endpoint_id = $2 and placement_id = w.id and active offset 0) as b`,
    values: [account.accountId, endpointId, ids],
  });
  return rows.map(({ placement_id: placementId, ...item }) => ({ ...item, placementId }));
};

/** What was removed unheard is no longer what the maildrop has: nothing is removed there for it (K4), and a listing that shows it is news. */
export const endUnheard = async (account: InputTx, endpointId: EndpointId, ids: readonly PlacementId[]): Promise<void> => {
  if (ids.length === 0) return;
  await account.tx.query({
    name: "candidates_unheard",
    text: `update bindings set active = false, closed_reason = 'unheard' where account_id = $1 and endpoint_id = $2 and placement_id = any($3::uuid[]) and active`,
    values: [account.accountId, endpointId, ids],
  });
};

/** What was removed because it was gone, shortly before an instant, for breaker B1. */
export interface Losses {
  readonly byMailbox: ReadonlyMap<MailboxId, number>;
  /** Of the whole account, with `candidates`. */
  readonly account: VanishCounts;
}

/** Removals since the last hold of mail that vanished was closed, which somebody looked at, or time did; `candidates` of the account now. */
export const loadLosses = async (account: AccountTx, candidates: number, at: Date): Promise<Losses> => {
  const { rows } = await account.tx.query<{ mailbox_id: MailboxId; lost: bigint }>({
    name: "losses_lately",
    text: `select p.mailbox_id, count(*) as lost from placements p join changes c on c.account_id = p.account_id and c.seq = p.changed_seq
           where p.account_id = $1 and p.removed_at > greatest($2::timestamptz, (
               select max(closed_at) from holds where account_id = $1 and reason in ('mass_vanish', 'mass_drain')))
             and p.lifecycle = 'removed' and c.kind = 'message.removed' and c.source in ('imap', 'pop3') and c.rule = any($3)
           group by p.mailbox_id`,
    values: [account.accountId, new Date(at.getTime() - breakerWindowMs), countedRules],
  });
  const byMailbox = new Map(rows.map((row) => [row.mailbox_id, Number(row.lost)]));
  const before = [...byMailbox.values()].reduce((sum, lost) => sum + lost, 0);
  const lost = candidates + before;
  // Below it nothing trips, so that nothing has to be counted.
  const live = lost < accountLeast ? Number.MAX_SAFE_INTEGER : before + (await countLive(account));
  return { byMailbox, account: { candidates: lost, live } };
};

const countLive = async (account: AccountTx): Promise<number> => {
  const { rows } = await account.tx.query<{ live: bigint }>({
    name: "live_count",
    text: `select count(*) as live from placements where account_id = $1 and lifecycle = 'live'`,
    values: [account.accountId],
  });
  return Number(rows[0]?.live ?? 0);
};

/** When placement `p` came to the mailbox where it is; null: it was there when that was read first. */
export const cameAt = `(select case when c.reason <> 'backfilled' then c.at end from changes c
  where c.account_id = p.account_id and c.message_id = p.message_id and c.placement_id = p.id and c.kind in ('message.created', 'message.moved', 'message.restored')
  order by c.seq desc limit 1)`;

/** Does a mailbox still have mail that came before, or of which that is not known? */
export const hasOlder = async (account: AccountTx, mailboxId: MailboxId, than: Date): Promise<boolean> => {
  const { rowCount } = await account.tx.query({
    name: "mail_older",
    text: `select 1 from placements p where p.account_id = $1 and p.mailbox_id = $2 and p.lifecycle = 'live' and p.absent_since is null and not p.kept
             and coalesce(${cameAt} < $3, true) limit 1`,
    values: [account.accountId, mailboxId, than],
  });
  return rowCount > 0;
};
