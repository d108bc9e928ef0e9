/** What is remembered of the downloads that POP3 devices seem to have made (semantics 5.3). */
import type { RuleReason } from "../model/command.ts";
import type { Pop3Evidence } from "../model/pop3-devices.ts";
import { noSeenMemory, type SeenMemory } from "../reconciler/pop3-seen.ts";
import type { Scope } from "../reconciler/state.ts";
import type { AccountId, PlacementId } from "../model/ids.ts";
import type { AccountTx, InputTx } from "./account-tx.ts";
import type { Queryable } from "./database.ts";

/** `upstream_mailboxes.pop3_seen`; of another epoch than the present one it means nothing but the last two fields. */
interface Stored extends SeenMemory {
  readonly epoch: number;
  /** Items whose `\Seen` was accepted although it looks like a download, and when that was last so. */
  readonly suspected: number;
  readonly suspectedAt: number | null;
}

const shadowIsUnseen = `not exists (select from unnest(shadow_flags) f where lower(f) = '\\seen')`;
const inScope = `account_id = $1 and endpoint_id = $2 and mailbox_id = $3 and epoch = $4`;

const scopeValues = (accountId: AccountId, { endpointId, mailboxId, epoch }: Scope): unknown[] => [
  accountId,
  endpointId,
  mailboxId,
  epoch,
];

/** Is one of the items without `\Seen` at the last look, and what is known of POP3 devices? */
export const readSeenNews = async (
  db: Queryable,
  accountId: AccountId,
  scope: Scope,
  uids: readonly number[],
): Promise<{ readonly anyUnseen: boolean; readonly evidence: Pop3Evidence }> => {
  const { rows } = await db.query<{ any_unseen: boolean; pop3_evidence: Pop3Evidence }>({
    name: "seen_news",
    text: `select pop3_evidence, exists (select from bindings where ${inScope} and uid = any($5::bigint[]) and active and ${shadowIsUnseen}) as any_unseen
           from accounts where id = $1`,
    values: [...scopeValues(accountId, scope), uids],
  });
  return { anyUnseen: rows[0]?.any_unseen ?? false, evidence: rows[0]?.pop3_evidence ?? {} };
};

export interface SeenHistory {
  readonly memory: SeenMemory;
  readonly suspected: number;
  /** Items above the high-water mark that were unseen at the last look, ascending by UID. */
  readonly unseen: readonly number[];
  /** Of `uids` those whose `\Seen` was taken back once. */
  readonly reverted: ReadonlySet<number>;
}

export const loadSeenHistory = async (account: AccountTx, scope: Scope, uids: readonly number[]): Promise<SeenHistory> => {
  const values = scopeValues(account.accountId, scope);
  const stored = await account.tx.query<{ pop3_seen: Stored | null }>({
    name: "seen_memory",
    text: `select pop3_seen from upstream_mailboxes where account_id = $1 and endpoint_id = $2 and mailbox_id = $3`,
    values: values.slice(0, 3),
  });
  const { epoch = -1, highWater = 0, batches = [], alone = null, suspected = 0 } = stored.rows[0]?.pop3_seen ?? {};
  const untouched = alone !== null && epoch === scope.epoch && (await isUntouched(account, scope, alone));
  const memory: SeenMemory = epoch === scope.epoch ? { highWater, batches, alone: untouched ? alone : null } : noSeenMemory;
  const unseen = await account.tx.query<{ uid: bigint }>({
    name: "seen_unseen",
    text: `select uid from bindings where ${inScope} and uid > $5 and active and ${shadowIsUnseen} order by uid`,
    values: [...values, memory.highWater],
  });
  const reverted = await account.tx.query<{ uid: bigint }>({
    name: "seen_reverted",
    text: `select b.uid from unnest($5::bigint[]) as w(uid)
           cross join lateral (select uid, placement_id from bindings
                               where account_id = $1 and endpoint_id = $2 and mailbox_id = $3 and epoch = $4 and uid = w.uid offset 0) as b
           cross join lateral (select from commands where account_id = $1 and placement_id = b.placement_id and op_id is null
                                 and reason in ('pop3_seen_reverted', 'self_inflicted_seen') offset 0) as c`,
    values: [...values, uids],
  });
  return {
    memory,
    suspected,
    unseen: unseen.rows.map(({ uid }) => Number(uid)),
    reverted: new Set(reverted.rows.map(({ uid }) => Number(uid))),
  };
};

/** Has an item kept the keywords that it got in this look? */
const isUntouched = async (
  account: AccountTx,
  scope: Scope,
  { uid, at }: { readonly uid: number; readonly at: number },
): Promise<boolean> => {
  const { rows } = await account.tx.query<{ changes: bigint }>({
    name: "seen_untouched",
    text: `select count(*) as changes from bindings b
           join placements p on p.account_id = b.account_id and p.id = b.placement_id
           join changes c on c.account_id = p.account_id and c.message_id = p.message_id and c.placement_id = p.id
           where b.account_id = $1 and b.endpoint_id = $2 and b.mailbox_id = $3 and b.epoch = $4 and b.uid = $5 and b.active
             and c.kind = 'message.keywords' and c.at >= $6`,
    values: [...scopeValues(account.accountId, scope), uid, new Date(at)],
  });
  return rows[0]?.changes === 1n;
};

/** `suspectedAt` null: nothing new is suspected. */
export const writeSeenMemory = async (
  account: InputTx,
  scope: Scope,
  { memory, suspected, suspectedAt }: { memory: SeenMemory; suspected: number; suspectedAt: Date | null },
): Promise<void> => {
  const stored: Omit<Stored, "suspectedAt"> = { epoch: scope.epoch, ...memory, suspected };
  const news = suspectedAt === null ? stored : { ...stored, suspectedAt: suspectedAt.getTime() };
  await account.tx.query({
    name: "seen_remember",
    text: `update upstream_mailboxes set pop3_seen = coalesce(pop3_seen, '{}') || $4::jsonb where account_id = $1 and endpoint_id = $2 and mailbox_id = $3`,
    values: [account.accountId, scope.endpointId, scope.mailboxId, JSON.stringify(news)],
  });
};

/** Of some placements those for which a command of this reason was ever planned. */
export const loadReverted = async (
  account: AccountTx,
  ids: readonly PlacementId[],
  reason: RuleReason,
): Promise<ReadonlySet<PlacementId>> => {
  if (ids.length === 0) return new Set();
  const { rows } = await account.tx.query<{ placement_id: PlacementId }>({
    name: "placements_reverted",
    text: `select c.placement_id from unnest($2::uuid[]) as w(id)
           cross join lateral (select placement_id from commands
                               where account_id = $1 and placement_id = w.id and reason = $3 and op_id is null offset 0) as c`,
    values: [account.accountId, ids, reason],
  });
  return new Set(rows.map((row) => row.placement_id));
};
