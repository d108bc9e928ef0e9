/** Messages as the API shows them: headers, what parsing gave, and every placement with its bindings. */
import type { CommandVerb } from "../model/command.ts";
import type { Protocol } from "../model/endpoint.ts";
import type { AccountId, EndpointId, MailboxId, MessageId, PlacementId } from "../model/ids.ts";
import { type Address, type AttachmentInfo, keywordsOfFlags } from "../model/mail.ts";
import type { Queryable } from "./database.ts";

/** An upstream item that shows the placement now. IMAP has `uid`, POP3 has `uidl`. */
export interface StoredBinding {
  readonly endpointId: EndpointId;
  readonly protocol: Protocol;
  readonly uid: number;
  readonly uidl: string;
  /** null: POP3, or the mailbox has begun a new epoch and was not read in it yet. */
  readonly uidValidity: number | null;
}

export interface StoredPlacement {
  readonly id: PlacementId;
  readonly messageId: MessageId;
  readonly mailboxId: MailboxId;
  readonly keywords: readonly string[];
  readonly state: "live" | "kept" | "removed";
  /** What upstream has confirmed: all of it, not yet all, not all since it refuses the rest, or there is nothing that could. */
  readonly sync: "synced" | "pending" | "held" | "masked" | "canonical_only";
  readonly reason: string;
  readonly recoverableUntil: Date | null;
  readonly bindings: readonly StoredBinding[];
}

export interface StoredContents {
  readonly status: "parsed" | "failed";
  /** Why parsing failed; null when it did not. */
  readonly reason: string | null;
  readonly preview: string;
  readonly hasAttachment: boolean;
  readonly attachments: readonly AttachmentInfo[];
}

export interface StoredMessage {
  readonly id: MessageId;
  /** null: listed upstream, its octets were not had yet. */
  readonly sha256: Buffer | null;
  readonly size: number;
  readonly threadId: string;
  readonly receivedAt: Date;
  readonly sentAt: Date | null;
  readonly messageId: string | null;
  readonly subject: string | null;
  readonly from: readonly Address[];
  readonly to: readonly Address[];
  readonly cc: readonly Address[];
  readonly bcc: readonly Address[];
  /** null: not parsed yet. */
  readonly contents: StoredContents | null;
  /** Purged ones are left out. Oldest first. */
  readonly placements: readonly StoredPlacement[];
}

interface MessageRow {
  readonly id: MessageId;
  readonly sha256: Buffer | null;
  readonly size: bigint;
  readonly thread_id: string;
  readonly received_at: Date;
  readonly sent_at: Date | null;
  readonly message_id: string | null;
  readonly subject: string | null;
  readonly from_addresses: Address[];
  readonly to_addresses: Address[];
  readonly cc_addresses: Address[];
  readonly bcc_addresses: Address[];
  readonly status: "parsed" | "failed" | null;
  readonly reason: string | null;
  readonly preview: string;
  readonly has_attachment: boolean;
  readonly attachments: AttachmentInfo[];
}

interface PlacementRow {
  readonly id: PlacementId;
  readonly message_id: MessageId;
  readonly mailbox_id: MailboxId;
  readonly keywords: string[];
  readonly lifecycle: "live" | "removed";
  readonly kept: boolean;
  readonly reason: string;
  readonly recoverable_until: Date | null;
  /** Verbs of what the server refused for ever, or never did. */
  readonly refused: CommandVerb[];
  /** An operation wants something of the server that is not done yet. */
  readonly owed: boolean;
  /** Something is held back in a mailbox that it is in, here or there. */
  readonly held: boolean;
  readonly protocol: Protocol | null;
  readonly b_endpoint_id: EndpointId;
  readonly b_mailbox_id: MailboxId;
  readonly b_uid: bigint;
  readonly b_uidl: string;
  readonly b_shadow_flags: string[];
  readonly uid_validity: bigint | null;
}

const sameSet = (a: readonly string[], b: readonly string[]): boolean => {
  const other = new Set(b);
  return new Set(a).size === other.size && a.every((word) => other.has(word));
};

/** What would bring upstream to what the canonical store has; nothing: it shows that. POP3 can show neither keywords nor mailboxes. */
const lacking = (row: PlacementRow): readonly CommandVerb[] => {
  if (row.lifecycle !== "live") return ["expunge"];
  if (row.protocol === "pop3") return [];
  return [
    ...(row.b_mailbox_id === row.mailbox_id ? [] : (["move"] as const)),
    ...(sameSet(keywordsOfFlags(row.b_shadow_flags), row.keywords) ? [] : (["store"] as const)),
  ];
};

const syncOf = (placement: PlacementRow, bound: readonly PlacementRow[]): StoredPlacement["sync"] => {
  const { refused } = placement;
  if (placement.lifecycle === "live" && bound.concat(placement).some(({ held }) => held)) return "held";
  if (placement.owed) return "pending";
  // A maildrop has neither keywords nor mailboxes to agree on (K2).
  if (bound.length > 0 && bound.every(({ protocol }) => protocol === "pop3")) return "canonical_only";
  if (bound.length > 0) {
    const verbs = bound.flatMap(lacking);
    if (verbs.length === 0) return "synced";
    return verbs.some((verb) => refused.includes(verb)) ? "masked" : "pending";
  }
  if (placement.lifecycle === "live" && refused.includes("append")) return "masked";
  // Removed here and gone there is agreement, too.
  return placement.lifecycle === "removed" ? "synced" : "canonical_only";
};

const stateOf = (row: PlacementRow): StoredPlacement["state"] => {
  if (row.lifecycle === "removed") return "removed";
  return row.kept ? "kept" : "live";
};

/** All rows of one placement, one per active binding; at least one. */
const toPlacement = (first: PlacementRow, rows: readonly PlacementRow[]): StoredPlacement => {
  const bound = rows.filter((row) => row.protocol !== null);
  return {
    id: first.id,
    messageId: first.message_id,
    mailboxId: first.mailbox_id,
    keywords: first.keywords,
    state: stateOf(first),
    sync: syncOf(first, bound),
    reason: first.reason,
    recoverableUntil: first.recoverable_until,
    bindings: bound.map((row) => ({
      endpointId: row.b_endpoint_id,
      protocol: row.protocol ?? "imap",
      uid: Number(row.b_uid),
      uidl: row.b_uidl,
      uidValidity: row.uid_validity === null ? null : Number(row.uid_validity),
    })),
  };
};

/**
 * Placements of several messages with their active bindings, in one query whatever the page size. A view of all mail is no place
 * of what is elsewhere (semantics 2.5).
 */
const readPlacements = async (db: Queryable, accountId: AccountId, ids: readonly MessageId[]): Promise<StoredPlacement[]> => {
  const { rows } = await db.query<PlacementRow>({
    name: "placements_read",
    text: `select p.id, p.message_id, p.mailbox_id, p.keywords, p.lifecycle, p.kept, p.reason, p.recoverable_until,
             array(select c.verb from commands c where c.account_id = $1 and c.placement_id = p.id and c.status in ('masked', 'failed') and c.reason <> 'preserved_ahead') as refused, e.protocol,
             exists (select from commands c where c.account_id = $1 and c.placement_id = p.id and c.op_id is not null and c.ended_at is null) as owed,
             exists (select from holds h where h.account_id = $1 and h.mailbox_id in (p.mailbox_id, b.mailbox_id) and h.closed_at is null
                       and h.reason <> 'octets_damaged') as held,
             b.endpoint_id as b_endpoint_id, b.mailbox_id as b_mailbox_id, b.uid as b_uid, b.uidl as b_uidl, b.shadow_flags as b_shadow_flags,
             u.uid_validity
           from placements p
           left join bindings b on b.account_id = $1 and b.placement_id = p.id and b.active
           left join endpoints e on e.account_id = $1 and e.id = b.endpoint_id
           left join upstream_mailboxes u on u.account_id = $1 and u.endpoint_id = b.endpoint_id and u.mailbox_id = b.mailbox_id and u.epoch = b.epoch
           where p.account_id = $1 and p.message_id = any($2::uuid[]) and p.lifecycle <> 'purged'
             and not (p.mailbox_id = any(array(select mailbox_id from upstream_mailboxes where account_id = $1 and shows_all))
                      and exists (select from placements q where q.account_id = $1 and q.message_id = p.message_id and q.lifecycle = 'live'
                                    and q.mailbox_id <> p.mailbox_id))
           order by p.created_seq, p.id, b.endpoint_id, b.uid`,
    values: [accountId, ids],
  });
  return [...Map.groupBy(rows, (row) => row.id).values()].flatMap((group) =>
    group.slice(0, 1).map((first) => toPlacement(first, group)),
  );
};

const toMessage = (row: MessageRow, placements: readonly StoredPlacement[]): StoredMessage => ({
  id: row.id,
  sha256: row.sha256,
  size: Number(row.size),
  threadId: row.thread_id,
  receivedAt: row.received_at,
  sentAt: row.sent_at,
  messageId: row.message_id,
  subject: row.subject,
  from: row.from_addresses,
  to: row.to_addresses,
  cc: row.cc_addresses,
  bcc: row.bcc_addresses,
  contents:
    row.status === null
      ? null
      : {
          status: row.status,
          reason: row.reason,
          preview: row.preview,
          hasAttachment: row.has_attachment,
          attachments: row.attachments,
        },
  placements,
});

/** Messages in the order of `ids`. Unknown and purged ones are left out, and so are those with nothing left but purged placements. */
export const readMessages = async (db: Queryable, accountId: AccountId, ids: readonly MessageId[]): Promise<StoredMessage[]> => {
  if (ids.length === 0) return [];
  const [messages, placements] = await Promise.all([
    db.query<MessageRow>({
      name: "messages_read",
      text: `select m.id, m.sha256, m.size, m.thread_id, m.received_at, m.sent_at, m.message_id, m.subject, m.from_addresses, m.to_addresses,
               m.cc_addresses, m.bcc_addresses, c.status, c.reason, c.preview, c.has_attachment, c.attachments
             from messages m left join message_contents c on c.account_id = m.account_id and c.message_id = m.id
             where m.account_id = $1 and m.id = any($2::uuid[]) and m.durability <> 'purged'`,
      values: [accountId, ids],
    }),
    readPlacements(db, accountId, ids),
  ]);
  const placed = Map.groupBy(placements, (placement) => placement.messageId);
  const byId = new Map(messages.rows.map((row) => [row.id, row]));
  return ids.flatMap((id) => {
    const row = byId.get(id);
    const own = placed.get(id);
    return row === undefined || own === undefined ? [] : [toMessage(row, own)];
  });
};

/** One message; null when the account has none with this id that can still be read. */
export const readMessage = async (db: Queryable, accountId: AccountId, id: MessageId): Promise<StoredMessage | null> =>
  (await readMessages(db, accountId, [id]))[0] ?? null;
