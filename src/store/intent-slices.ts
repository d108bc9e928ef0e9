/** What intents are decided on: the slice of the account that they touch. Always inside the account's transaction. */
import type { EndpointId, MailboxId, MessageId, PlacementId } from "../model/ids.ts";
import type { Role } from "../model/mail.ts";
import { expectsDrains, viewPop3Devices } from "../model/pop3-devices.ts";
import type { SaidKeywords, SeenKeywords } from "../reconciler/intent-keywords.ts";
import type { AccountSlice, IntentPlacement, PlacementHistory } from "../reconciler/intent-slice.ts";
import type { LocationEntry, SaidPlace } from "../reconciler/location.ts";
import type { LoggedChange } from "../reconciler/undo.ts";
import type { AccountTx } from "./account-tx.ts";
import { bindingColumns, lastBinding, placementColumns, type PlacementRow, placementsOfMessages, toView } from "./slices.ts";

/** The IMAP endpoint of the account, which intents are written back to; null: it has none (K2). */
export const findWritableEndpoint = async (account: AccountTx): Promise<EndpointId | null> => {
  const { rows } = await account.tx.query<{ id: EndpointId }>({
    name: "endpoint_writable",
    text: `select id from endpoints where account_id = $1 and protocol = 'imap' order by id limit 1`,
    values: [account.accountId],
  });
  return rows[0]?.id ?? null;
};

/** `began`: the last change before the request. */
export const loadAccountSlice = async (
  account: AccountTx,
  { endpointId, began }: { readonly endpointId: EndpointId | null; readonly began: bigint },
): Promise<AccountSlice> => {
  const { rows } = await account.tx.query<{ id: MailboxId; role: Role | null; held: boolean; renumbered: boolean }>({
    name: "intent_mailboxes",
    text: `select m.id, m.role, exists (select from holds h where h.account_id = $1 and h.mailbox_id = m.id and h.closed_at is null
                                          and h.reason <> 'octets_damaged') as held,
             exists (select from upstream_mailboxes u where u.account_id = $1 and u.endpoint_id = $2 and u.mailbox_id = m.id
                       and u.epoch > 0 and coalesce(u.backfill_low, 2) > 1) as renumbered
           from mailboxes m where m.account_id = $1 and m.lifecycle = 'live' order by m.id`,
    values: [account.accountId, endpointId],
  });
  return {
    mailboxes: new Map(rows.map(({ id, role }) => [id, role])),
    held: new Set(rows.flatMap(({ id, held }) => (held ? [id] : []))),
    renumbered: new Set(rows.flatMap(({ id, renumbered }) => (renumbered ? [id] : []))),
    hasImap: endpointId !== null,
    expectsDrains: expectsDrains(viewPop3Devices(account.policy, account.pop3Evidence).state),
    retentionDays: account.policy.retentionDays,
    head: account.headSeq,
    began,
  };
};

/** Every placement of the messages that is not purged, oldest first, with its last binding at the endpoint. */
export const loadMessagePlacements = async (
  account: AccountTx,
  endpointId: EndpointId | null,
  messageIds: readonly MessageId[],
): Promise<Map<MessageId, IntentPlacement[]>> => {
  const { rows } = await account.tx.query<
    PlacementRow & { changed_seq: bigint; reason: string; recoverable: boolean | null; durable: boolean }
  >({
    name: "intent_placements",
    text: `select ${placementColumns}, p.changed_seq, p.reason, p.recoverable_until > now() as recoverable, m.durability = 'durable' as durable, ${bindingColumns}
           from ${placementsOfMessages}
           cross join lateral (select durability from messages where account_id = $1 and id = p.message_id offset 0) as m ${lastBinding}
           where p.lifecycle <> 'purged' order by p.created_seq, p.id`,
    values: [account.accountId, endpointId, messageIds],
  });
  const placements = rows.map((row): IntentPlacement => ({
    ...toView(row),
    changedSeq: row.changed_seq,
    reason: row.reason,
    recoverable: row.recoverable ?? false,
    durable: row.durable,
  }));
  return Map.groupBy(placements, (placement) => placement.messageId);
};

interface ChangeRow extends Omit<LocationEntry, "from" | "to"> {
  readonly placementId: PlacementId;
  readonly before: { readonly mailboxId?: MailboxId; readonly keywords?: readonly string[] } | null;
  readonly after: { readonly mailboxId?: MailboxId; readonly keywords?: readonly string[] } | null;
  readonly api: boolean;
}

const seenIn = ({ api, seq, source, before, after }: ChangeRow): SeenKeywords[] =>
  api || before?.keywords === undefined || after?.keywords === undefined
    ? []
    : [{ seq, source, before: before.keywords, after: after.keywords }];

const locatedIn = (row: ChangeRow): LocationEntry[] =>
  row.kind === "message.keywords" ? [] : [{ ...row, from: row.before?.mailboxId ?? null, to: row.after?.mailboxId ?? null }];

interface SaidRow extends SaidKeywords {
  readonly messageId: MessageId;
  /** null: all of the message's. */
  readonly placementId: PlacementId | null;
  readonly places: readonly SaidPlace[];
}

export interface Opinion extends SaidKeywords {
  readonly opId: string;
}

/** What was said and seen of the placements after `base`. */
export const loadHistory = async (
  account: AccountTx,
  placements: readonly IntentPlacement[],
  base: bigint,
): Promise<Map<PlacementId, PlacementHistory>> => {
  if (placements.length === 0) return new Map();
  const messageIds = [...new Set(placements.map(({ messageId }) => messageId))];
  const logged = await account.tx.query<ChangeRow>({
    name: "intent_logged",
    text: `select placement_id as "placementId", seq, kind, device_id as "deviceId", reason, rule, before, after, source = 'api' as api,
             coalesce('device ' || device_id, 'endpoint ' || endpoint_id, source) as source
           from unnest($2::uuid[]) as w(id)
           cross join lateral (select * from changes where account_id = $1 and message_id = w.id and seq > $3 offset 0) as c
           where kind in ('message.created', 'message.keywords', 'message.moved', 'message.kept', 'message.removed', 'message.restored', 'message.merged')
           order by seq`,
    values: [account.accountId, messageIds, base],
  });
  const said = await account.tx.query<SaidRow>({
    name: "intent_said",
    text: `select message_id as "messageId", seq, changes = 0 as silent, device_id as "deviceId", base_seq as base, said->>'placementId' as "placementId", said->'keywords' as keywords,
             said->'places' as places
           from unnest($2::uuid[]) as w(id)
           cross join lateral (select * from intents where account_id = $1 and message_id = w.id and seq >= $3 offset 0) as i
           where (seq > $3 or changes = 0) and status in ('applied', 'superseded') and said is not null
           order by seq, created_at`,
    values: [account.accountId, messageIds, base],
  });
  const loggedOf = Map.groupBy(logged.rows, ({ placementId }) => placementId);
  const saidOf = Map.groupBy(said.rows, ({ messageId }) => messageId);
  const history = placements.map(({ id, messageId }) => {
    const changes = loggedOf.get(id) ?? [];
    const earlier = saidOf.get(messageId) ?? [];
    return [
      id,
      {
        seen: changes.flatMap(seenIn),
        located: changes.flatMap(locatedIn),
        said: earlier.filter(({ placementId }) => placementId === null || placementId === id),
        placed: earlier.flatMap(({ places, ...rest }) =>
          places.flatMap((place) => (place.placementId === id ? { ...rest, ...place } : [])),
        ),
      },
    ] as const;
  });
  return new Map(history);
};

/** The last live mailbox, neither Trash nor Junk, that each placement was in before it is where it is. */
export const loadHomes = async (account: AccountTx, messageIds: readonly MessageId[]): Promise<Map<PlacementId, MailboxId>> => {
  const { rows } = await account.tx.query<{ placement_id: PlacementId; mailbox_id: MailboxId }>({
    name: "intent_homes",
    text: `select distinct on (c.placement_id) c.placement_id, m.id as mailbox_id
           from (select distinct unnest($2::uuid[]) as id) as w
           cross join lateral (select * from changes where account_id = $1 and message_id = w.id and kind = 'message.moved' offset 0) as c
           join mailboxes m on m.account_id = $1 and m.id = (c.before->>'mailboxId')::uuid and m.lifecycle = 'live'
           where coalesce(m.role, '') not in ('trash', 'junk') order by c.placement_id, c.seq desc`,
    values: [account.accountId, messageIds],
  });
  return new Map(rows.map((row) => [row.placement_id, row.mailbox_id]));
};

/** One entry of the account's log; null: there is none of that number. */
export const loadChange = async (account: AccountTx, seq: number): Promise<LoggedChange | null> => {
  const { rows } = await account.tx.query<LoggedChange>({
    name: "intent_undone",
    text: `select kind, placement_id as "placementId", before, after, source, reason, evidence from changes where account_id = $1 and seq = $2`,
    values: [account.accountId, seq],
  });
  return rows[0] ?? null;
};

/** The message of the account that has exactly these octets; null: none has. */
export const findByOctets = async (account: AccountTx, sha256: Buffer): Promise<MessageId | null> => {
  const { rows } = await account.tx.query<{ id: MessageId }>({
    name: "message_by_octets",
    text: `select id from messages where account_id = $1 and sha256 = $2 and durability = 'durable'`,
    values: [account.accountId, sha256],
  });
  return rows[0]?.id ?? null;
};

/**
 * What was said of keywords of placements since nobody knows whether the endpoint had shown otherwise: after `since`, or, where
 * that is null, after the last good look at the endpoint; and after the last time that an item and its placement agreed.
 */
export const loadOpinions = async (
  account: AccountTx,
  { endpointId, placementIds, since }: { endpointId: EndpointId; placementIds: readonly PlacementId[]; since: Date | null },
): Promise<ReadonlyMap<PlacementId, readonly Opinion[]>> => {
  if (placementIds.length === 0) return new Map();
  const { rows } = await account.tx.query<Opinion & { readonly of: PlacementId }>({
    name: "intent_opinions",
    // One by one, beginning with the placements: without statistics the planner compares all of them with each other.
    text: `select p.id as of, i.op_id as "opId", i.seq, i.changes = 0 as silent, i.device_id as "deviceId", i.base_seq as base,
             i.said->'keywords' as keywords
           from unnest($3::uuid[]) as w(id)
           join endpoints e on e.account_id = $1 and e.id = $2
           cross join lateral (select id, message_id from placements where account_id = $1 and id = w.id offset 0) as p
           cross join lateral (select * from intents where account_id = $1 and message_id = p.message_id offset 0) as i
           cross join lateral
             (select synced_seq from bindings where account_id = $1 and placement_id = p.id and endpoint_id = $2 and active offset 0) as b
           where i.status in ('applied', 'superseded') and i.said is not null
             and coalesce(i.said->>'placementId', p.id::text) = p.id::text
             and (i.seq > b.synced_seq or (i.seq = b.synced_seq and i.changes = 0))
             and i.created_at > coalesce($4, e.last_success_at, 'infinity'::timestamptz)
           order by i.seq, i.created_at`,
    values: [account.accountId, endpointId, placementIds, since],
  });
  return Map.groupBy(rows, ({ of }) => of);
};
