/** Mail in the store without a mail server: rows as ingest leaves them, written one by one. */
import { createHash } from "node:crypto";
import { uuidv7 } from "uuidv7";
import { type ChangeKind, formatState } from "../../src/model/change.ts";
import type { AccountId, EndpointId, MailboxId, MessageId, PlacementId, TenantId } from "../../src/model/ids.ts";
import { partSize } from "../../src/model/octets.ts";
import type { Database } from "../../src/store/database.ts";
import type { MessageFilter } from "../../src/store/list-query.ts";

export const defaultTenant = "00000000-0000-7000-8000-000000000001" as TenantId;

interface PlacementInput {
  readonly mailboxId: MailboxId;
  readonly keywords?: readonly string[];
  readonly lifecycle?: "live" | "removed" | "purged";
  readonly kept?: boolean;
  /** Default: the message's. */
  readonly receivedAt?: Date;
  /** Bound to this UID; without it there is no binding. */
  readonly uid?: number;
  /** Default: the keywords, as upstream spells them. */
  readonly shadowFlags?: readonly string[];
}

interface MessageInput {
  /** null: a stub. Default: a small message of its own. */
  readonly octets?: Buffer | null;
  readonly receivedAt?: Date;
  readonly subject?: string;
  readonly messageId?: string;
  readonly from?: string;
  readonly placements?: readonly PlacementInput[];
  /** What parsing gave; without it the message is not parsed yet. */
  readonly parsed?: { readonly preview?: string; readonly words?: string; readonly failed?: string };
}

interface ChangeInput {
  readonly kind?: ChangeKind;
  readonly messageId?: MessageId;
  readonly mailboxId?: MailboxId;
  readonly placementId?: PlacementId;
  readonly before?: Record<string, unknown>;
  readonly after?: Record<string, unknown> | null;
  /** Default: `upstream_flags`. */
  readonly reason?: string;
}

const flagOf = (keyword: string): string =>
  ["$seen", "$flagged", "$answered", "$draft"].includes(keyword) ? `\\${keyword.slice(1)}` : keyword;

/** A list of all mail that is not removed. */
export const everything: MessageFilter = {
  mailboxId: null,
  keyword: null,
  notKeyword: null,
  messageId: null,
  text: null,
  since: null,
  before: null,
  removed: false,
};

export class MailRows {
  readonly db: Database;
  readonly tenantId: TenantId;
  readonly accountId = uuidv7() as AccountId;
  readonly endpointId = uuidv7() as EndpointId;
  private made = 0;

  private constructor(db: Database, tenantId: TenantId) {
    this.db = db;
    this.tenantId = tenantId;
  }

  /** An account with one IMAP endpoint. */
  static async account(db: Database, tenantId: TenantId = defaultTenant): Promise<MailRows> {
    const rows = new MailRows(db, tenantId);
    await db.query({
      text: `insert into accounts (id, tenant_id, name, email, virtual_shard, policy) values ($1, $2, 'Ana', 'ana@example.test', 1, '{}')`,
      values: [rows.accountId, tenantId],
    });
    await db.query({
      text: `insert into endpoints (account_id, id, tenant_id, protocol, host, port, security, auth_type, auth_user, credentials)
             values ($1, $2, $3, 'imap', 'mail.example.test', 993, 'tls', 'password', 'ana', 'sealed')`,
      values: [rows.accountId, rows.endpointId, tenantId],
    });
    return rows;
  }

  /** A tenant of its own. */
  static async tenant(db: Database): Promise<TenantId> {
    const id = uuidv7() as TenantId;
    await db.query({ text: `insert into tenants (id, name) values ($1, $2)`, values: [id, `tenant ${id}`] });
    return id;
  }

  /** `upstream: false`: no endpoint shows it. `readWhole: false`: its first reading goes on. */
  async mailbox(
    name: string,
    options: { role?: string; parentId?: MailboxId; upstream?: boolean; readWhole?: boolean } = {},
  ): Promise<MailboxId> {
    const id = uuidv7() as MailboxId;
    const { role = null, parentId = null, upstream = true, readWhole = true } = options;
    await this.db.query({
      text: `insert into mailboxes (account_id, id, tenant_id, name, parent_id, role, role_source, created_seq, changed_seq)
             values ($1, $2, $3, $4, $5, $6::text, case when $6::text is null then null else 'special_use' end, 1, 1)`,
      values: [this.accountId, id, this.tenantId, name, parentId, role],
    });
    if (upstream)
      await this.db.query({
        text: `insert into upstream_mailboxes (account_id, endpoint_id, mailbox_id, tenant_id, path, selectable, epoch, uid_validity, uid_next, backfill_low)
               values ($1, $2, $3, $4, $5, true, 1, 77, 1000, $6)`,
        values: [this.accountId, this.endpointId, id, this.tenantId, `${name} ${id}`, readWhole ? 1 : 500],
      });
    return id;
  }

  async message(input: MessageInput = {}): Promise<{ id: MessageId; octets: Buffer; placements: PlacementId[] }> {
    const id = uuidv7() as MessageId;
    this.made += 1;
    const octets = input.octets ?? Buffer.from(`Subject: ${input.subject ?? "Hello"}\r\n\r\nMessage ${id}\r\n`);
    const stub = input.octets === null;
    const receivedAt = input.receivedAt ?? new Date(Date.UTC(2026, 0, 1) + this.made * 60_000);
    const sha256 = stub ? null : await this.blob(octets);
    await this.db.query({
      text: `insert into messages (account_id, id, tenant_id, sha256, size, durability, message_id, subject, from_addresses, sent_at, received_at, thread_id, created_seq)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, $2, 1)`,
      values: [
        this.accountId,
        id,
        this.tenantId,
        sha256,
        stub ? 0 : octets.length,
        stub ? "stub" : "durable",
        input.messageId ?? `<${id}@example.test>`,
        input.subject ?? "Hello",
        JSON.stringify([{ name: null, email: input.from ?? "bob@example.test" }]),
        receivedAt,
      ],
    });
    const placements: PlacementId[] = [];
    for (const placement of input.placements ?? []) placements.push(await this.placement(id, { receivedAt, ...placement }));
    if (input.parsed !== undefined) await this.contents(id, input.parsed);
    return { id, octets, placements };
  }

  async placement(messageId: MessageId, input: PlacementInput): Promise<PlacementId> {
    const id = uuidv7() as PlacementId;
    const { mailboxId, keywords = [], lifecycle = "live", kept = false, uid } = input;
    await this.db.query({
      text: `insert into placements (account_id, id, tenant_id, message_id, mailbox_id, keywords, lifecycle, kept, reason, received_at, removed_at, recoverable_until, created_seq, changed_seq)
             values ($1, $2, $3, $4, $5, $6, $7::text, $8, 'delivered', $9, case when $7::text <> 'live' then now() end, case when $7::text = 'removed' then now() + interval '30 days' end, 1, 1)`,
      values: [
        this.accountId,
        id,
        this.tenantId,
        messageId,
        mailboxId,
        keywords,
        lifecycle,
        kept,
        input.receivedAt ?? new Date(Date.UTC(2026, 0, 1)),
      ],
    });
    if (uid !== undefined)
      await this.db.query({
        text: `insert into bindings (account_id, endpoint_id, mailbox_id, epoch, uid, tenant_id, placement_id, shadow_flags, synced_seq)
               values ($1, $2, $3, 1, $4, $5, $6, $7, 1)`,
        values: [this.accountId, this.endpointId, mailboxId, uid, this.tenantId, id, input.shadowFlags ?? keywords.map(flagOf)],
      });
    return id;
  }

  /** One entry of the log, committed and announced as ingest does. @returns the state after it. */
  async change(input: ChangeInput = {}): Promise<string> {
    return this.db.transaction(async (tx) => {
      const { rows } = await tx.query<{ head_seq: bigint; state_epoch: number }>({
        text: `update accounts set head_seq = head_seq + 1 where id = $1 returning head_seq, state_epoch`,
        values: [this.accountId],
      });
      const { head_seq: seq = 0n, state_epoch: epoch = 0 } = rows[0] ?? {};
      await tx.query({
        text: `insert into changes (account_id, seq, tenant_id, state_epoch, at, kind, message_id, mailbox_id, placement_id, before, after, source, endpoint_id, reason, hash)
               values ($1, $2, $3, $4, now(), $5, $6, $7, $8, $9, $10, 'imap', $11, $12, '')`,
        values: [
          this.accountId,
          seq,
          this.tenantId,
          epoch,
          input.kind ?? "message.keywords",
          input.messageId ?? null,
          input.mailboxId ?? null,
          input.placementId ?? null,
          JSON.stringify(input.before ?? null),
          input.after === null ? null : JSON.stringify(input.after ?? { keywords: ["$seen"] }),
          this.endpointId,
          input.reason ?? "upstream_flags",
        ],
      });
      await tx.query({ text: `select pg_notify('samebox_changes', $1)`, values: [this.accountId] });
      return formatState(epoch, seq);
    });
  }

  private async blob(octets: Buffer): Promise<Buffer> {
    const sha256 = createHash("sha256").update(octets).digest();
    for (let part = 0; part === 0 || part * partSize < octets.length; part += 1)
      await this.db.query({
        text: `insert into blobs (account_id, sha256, part, tenant_id, data) values ($1, $2, $3, $4, $5)`,
        values: [this.accountId, sha256, part, this.tenantId, octets.subarray(part * partSize, (part + 1) * partSize)],
      });
    return sha256;
  }

  private async contents(
    messageId: MessageId,
    { preview = "", words = "", failed }: NonNullable<MessageInput["parsed"]>,
  ): Promise<void> {
    await this.db.query({
      text: `insert into message_contents (account_id, message_id, tenant_id, status, reason, preview, search)
             select $1, $2, $3, $4, $5, $6, to_tsvector('simple', concat_ws(' ', subject, from_addresses::text, $7::text)) || samebox_week(received_at) from messages where account_id = $1 and id = $2`,
      values: [
        this.accountId,
        messageId,
        this.tenantId,
        failed === undefined ? "parsed" : "failed",
        failed ?? null,
        preview,
        words,
      ],
    });
  }
}
