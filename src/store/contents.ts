/** What parsing gave, beside the messages: written once per message, never on the ingest path. */
import type { AccountId, MessageId, TenantId } from "../model/ids.ts";
import type { ParsedMessage } from "../model/mail.ts";
import type { Queryable } from "./database.ts";

export interface Unparsed {
  readonly id: MessageId;
  readonly sha256: Buffer;
  readonly size: number;
  readonly receivedAt: Date;
}

/** Durable messages without parsed content, newest first as lists show them, behind `before` (null: from the newest). */
export const listUnparsed = async (
  db: Queryable,
  accountId: AccountId,
  before: Pick<Unparsed, "id" | "receivedAt"> | null,
  limit: number,
): Promise<Unparsed[]> => {
  const { rows } = await db.query<{ id: MessageId; sha256: Buffer; size: bigint; received_at: Date }>({
    name: "messages_unparsed",
    text: `select m.id, m.sha256, m.size, m.received_at from messages m
           where m.account_id = $1 and m.durability = 'durable'
             and (m.received_at, m.id) < (coalesce($2, 'infinity'::timestamptz), coalesce($3::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
             and not exists (select from message_contents c where c.account_id = m.account_id and c.message_id = m.id)
           order by m.received_at desc, m.id desc limit $4`,
    values: [accountId, before?.receivedAt ?? null, before?.id ?? null, limit],
  });
  return rows.map((row) => ({ id: row.id, sha256: row.sha256, size: Number(row.size), receivedAt: row.received_at }));
};

/** The reason of a message whose words are more than a text search index holds (1 MiB): it is found by its subject only. */
export const notStorable = "not_storable";

/** The octets of messages of at most one stored part, by hex SHA-256, in one statement. */
export const readSmall = async (
  db: Queryable,
  accountId: AccountId,
  messages: readonly { readonly sha256: Buffer }[],
): Promise<Map<string, Buffer>> => {
  const { rows } = await db.query<{ sha256: Buffer; data: Buffer }>({
    name: "blobs_small",
    text: `select sha256, data from blobs where account_id = $1 and sha256 = any($2::bytea[]) and part = 0`,
    values: [accountId, messages.map((message) => message.sha256)],
  });
  return new Map(rows.map((row) => [row.sha256.toString("hex"), row.data]));
};

/**
 * Stores parse results, all or none; a result that is there already stays. Search words are the subject, the addresses and the
 * text, and the week it was received in. Results hold no NUL, which PostgreSQL could not store: parsing has taken it out.
 */
export const storeContents = async (
  db: Queryable,
  owner: { readonly accountId: AccountId; readonly tenantId: TenantId },
  contents: readonly { readonly messageId: MessageId; readonly parsed: ParsedMessage }[],
): Promise<void> => {
  if (contents.length === 0) return;
  const rows = contents.map(({ messageId, parsed }) =>
    parsed.status === "parsed"
      ? {
          message_id: messageId,
          status: "parsed",
          preview: parsed.preview,
          has_attachment: parsed.attachments.some((attachment) => !attachment.inline),
          attachments: parsed.attachments,
          words: parsed.searchText,
        }
      : {
          message_id: messageId,
          status: "failed",
          reason: parsed.reason,
          preview: "",
          has_attachment: false,
          attachments: [],
          words: "",
        },
  );
  await db.query({
    name: "contents_store",
    text: `insert into message_contents (account_id, message_id, tenant_id, status, reason, preview, has_attachment, attachments, search)
           select $1, w.message_id, $2, w.status, w.reason, w.preview, w.has_attachment, w.attachments,
             to_tsvector('simple', case when w.reason = '${notStorable}' then coalesce(m.subject, '') else
               concat_ws(' ', m.subject, m.from_addresses::text, m.to_addresses::text, m.cc_addresses::text, w.words) end) || samebox_week(m.received_at)
           from jsonb_to_recordset($3::jsonb) as w(message_id uuid, status text, reason text, preview text, has_attachment boolean, attachments jsonb, words text)
           join messages m on m.account_id = $1 and m.id = w.message_id
           on conflict (account_id, message_id) do nothing`,
    values: [owner.accountId, owner.tenantId, JSON.stringify(rows)],
  });
};
