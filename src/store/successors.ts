/** A version that takes the place of another: the earlier one is not destroyed upstream before the later one is there (C5, P12). */
import type { AccountId, EndpointId, MessageId, PlacementId } from "../model/ids.ts";
import { type Succession, successionOf } from "../reconciler/moves.ts";
import type { Scope } from "../reconciler/state.ts";
import type { InputTx } from "./account-tx.ts";
import type { Queryable } from "./database.ts";
import { bindingColumns, lastBinding, placementColumns, type PlacementRow, placementsById, toView } from "./slices.ts";

/** Those that were to go as soon as one of these was there. */
export const findReplaced = async (
  { tx, accountId }: InputTx,
  endpointId: EndpointId,
  byIds: readonly PlacementId[],
): Promise<readonly PlacementId[]> => {
  if (byIds.length === 0) return [];
  const { rows } = await tx.query<{ id: PlacementId }>({
    name: "commands_replaced_by",
    text: `select distinct placement_id as id from commands
           where account_id = $1 and endpoint_id = $2 and args ? 'after' and args->>'after' = any($3::text[]) order by placement_id`,
    values: [accountId, endpointId, byIds],
  });
  return rows.map(({ id }) => id);
};

/** What is owed for replaced placements, and will be once they are there themselves, comes after `by`. */
export const replaceBy = async (
  { tx, accountId }: InputTx,
  endpointId: EndpointId,
  replacedIds: readonly PlacementId[],
  by: PlacementId,
): Promise<void> => {
  if (replacedIds.length === 0) return;
  await tx.query({
    name: "commands_replace",
    text: `update commands set args = args || jsonb_build_object('after', $4::text)
           where account_id = $1 and endpoint_id = $2 and op_id is not null
             and ((ended_at is null and placement_id = any($3::uuid[])) or (args ? 'after' and args->>'after' = any($3::text[])))`,
    values: [accountId, endpointId, replacedIds, by],
  });
};

/** How far those are that come first, by their id; one that is not here any more is missing. */
export const loadSuccessions = async (
  db: Queryable,
  accountId: AccountId,
  endpointId: EndpointId,
  ids: readonly PlacementId[],
): Promise<ReadonlyMap<PlacementId, Succession>> => {
  if (ids.length === 0) return new Map();
  const { rows } = await db.query<PlacementRow & { readonly adding: boolean }>({
    name: "commands_successions",
    text: `select ${placementColumns}, ${bindingColumns}, p.id in (
             select placement_id from commands
             where account_id = $1 and status in ('planned', 'sent', 'unknown') and verb = 'append' and placement_id is not null) as adding
           from ${placementsById} ${lastBinding} order by p.id`,
    values: [accountId, endpointId, ids],
  });
  return new Map(rows.map((row) => [row.id, successionOf(toView(row), row.adding)]));
};

/**
 * By UID of a new item in Drafts: the version of the same draft (by its Message-ID, so that this says why and binds nothing) that
 * an app brought, and that was never on the server or came there later, so that who wrote the item did not see it.
 */
export const loadForks = async (
  { tx, accountId }: InputTx,
  { endpointId, mailboxId, epoch }: Scope,
  news: readonly { readonly uid: number; readonly messageId: string }[],
): Promise<ReadonlyMap<number, MessageId>> => {
  if (news.length === 0) return new Map();
  const { rows } = await tx.query<{ uid: bigint; id: MessageId }>({
    name: "drafts_forked",
    text: `select distinct on (n.uid) n.uid, m.id
           from jsonb_to_recordset($5::jsonb) as n(uid bigint, "messageId" text)
           join messages m on m.account_id = $1 and left(m.message_id, 128) = left(n."messageId", 128) and m.message_id = n."messageId"
           join placements p on p.account_id = $1 and p.message_id = m.id and p.mailbox_id = $3 and p.lifecycle = 'live'
             and p.reason in ('api_replacement', 'draft_fork')
           where not exists (select from bindings b where b.account_id = $1 and b.placement_id = p.id and b.endpoint_id = $2
                             and (b.epoch <> $4 or b.uid <= n.uid))
           order by n.uid, p.created_seq desc`,
    values: [accountId, endpointId, mailboxId, epoch, JSON.stringify(news)],
  });
  return new Map(rows.map(({ uid, id }) => [Number(uid), id]));
};
