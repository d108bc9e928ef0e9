/** Applies what the reconciler decided: set-based statements inside the account's transaction. */
import { createHash } from "node:crypto";
import type { EndpointId } from "../model/ids.ts";
import type { MessageHeaders } from "../model/mail.ts";
import type { BindingWrite, Decision, NewMessage, NewPlacement, PlacementWrite, Scope } from "../reconciler/state.ts";
import { appendChanges, type InputTx } from "./account-tx.ts";
import { planCommands } from "./commands.ts";
import { CopyRows } from "./copy-binary.ts";
import { leftByMove, leftMarked } from "./slices.ts";

/** What the row of a new message needs beyond the decision. */
export interface MessageContent {
  readonly receivedAt: Date;
  readonly headers: MessageHeaders | null;
  /** null for a stub: listed upstream, octets not had yet. */
  readonly octets: { readonly sha256: Buffer; readonly size: number } | null;
  /** By which another view of the account knows the mail again; only where there is one. */
  readonly fingerprint?: { readonly hFull: Buffer | null; readonly hHead: Buffer; readonly size: number };
}

export interface AppliedDecision {
  readonly headSeq: bigint;
  readonly changes: number;
}

/** One thread per root Message-ID: order of arrival does not matter, and no look-up is needed. */
const threadIdOf = (id: string, headers: MessageHeaders): string => {
  const root = headers.references[0] ?? headers.inReplyTo ?? headers.messageId;
  if (root === null) return id;
  const hex = createHash("sha256").update(root).digest("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`;
};

/** Of mail that was not read: every list empty, every fact unknown. */
const noHeaders: MessageHeaders = {
  messageId: null,
  inReplyTo: null,
  references: [],
  subject: null,
  from: [],
  to: [],
  cc: [],
  bcc: [],
  sentAt: null,
};

const copyMessages = async (
  account: InputTx,
  base: bigint,
  messages: readonly NewMessage[],
  contents: readonly MessageContent[],
): Promise<void> => {
  const rows = new CopyRows();
  for (const message of messages) {
    const content = contents[message.item];
    if (content === undefined) continue;
    const { octets, fingerprint } = content;
    const headers = content.headers ?? noHeaders;
    rows
      .row(22)
      .uuid(account.accountId)
      .uuid(message.id)
      .uuid(account.tenantId)
      .bytes(octets?.sha256 ?? null)
      .int8(octets?.size ?? 0)
      .text(octets === null ? "stub" : "durable")
      .text(headers.messageId)
      .text(headers.inReplyTo)
      .textArray(headers.references)
      .text(headers.subject)
      .jsonb(headers.from)
      .jsonb(headers.to)
      .jsonb(headers.cc)
      .jsonb(headers.bcc)
      .timestamp(headers.sentAt)
      .timestamp(content.receivedAt)
      .uuid(threadIdOf(message.id, headers))
      .null()
      .int8(base + BigInt(message.change) + 1n)
      .bytes(fingerprint?.hFull ?? null)
      .bytes(fingerprint?.hHead ?? null)
      .int8(fingerprint?.size ?? null);
  }
  if (rows.rows > 0)
    await account.tx.copy(
      `copy messages (account_id, id, tenant_id, sha256, size, durability, message_id, in_reply_to, reference_ids, subject, from_addresses,
         to_addresses, cc_addresses, bcc_addresses, sent_at, received_at, thread_id, upstream_id, created_seq,
         h_full, h_head, normal_size) from stdin (format binary)`,
      rows.chunks(),
    );
};

const copyPlacements = async (account: InputTx, base: bigint, placements: readonly NewPlacement[]): Promise<void> => {
  if (placements.length === 0) return;
  const rows = new CopyRows();
  for (const placement of placements) {
    const seq = base + BigInt(placement.change) + 1n;
    rows
      .row(11)
      .uuid(account.accountId)
      .uuid(placement.id)
      .uuid(account.tenantId)
      .uuid(placement.messageId)
      .uuid(placement.mailboxId)
      .textArray(placement.keywords)
      .text("live")
      .text(placement.reason)
      .timestamp(placement.receivedAt)
      .int8(seq)
      .int8(seq);
  }
  await account.tx.copy(
    `copy placements (account_id, id, tenant_id, message_id, mailbox_id, keywords, lifecycle, reason, received_at, created_seq, changed_seq)
     from stdin (format binary)`,
    rows.chunks(),
  );
};

const updatePlacements = async (account: InputTx, base: bigint, placements: readonly PlacementWrite[]): Promise<void> => {
  const { at } = account.input;
  if (placements.length === 0) return;
  const rows = placements.map((placement) => ({
    id: placement.id,
    mailbox_id: placement.mailboxId,
    keywords: placement.keywords,
    lifecycle: placement.lifecycle,
    kept: placement.kept,
    absent: placement.absent,
    absence: placement.absence ?? null,
    reason: placement.reason,
    recoverable_days: placement.recoverableDays,
    seq: placement.change === null ? null : String(base + BigInt(placement.change) + 1n),
  }));
  await account.tx.query({
    name: "placements_write",
    text: `update placements p set
             mailbox_id = w.mailbox_id, keywords = w.keywords, lifecycle = w.lifecycle, kept = w.kept, reason = coalesce(w.reason, p.reason),
             absent_since = case when not w.absent then null else coalesce(p.absent_since, $3) end,
             absence = case when not w.absent then null else coalesce(p.absence, nullif(w.absence, 'null')) end,
             removed_at = case when w.lifecycle = 'live' then null else coalesce(p.removed_at, $3) end,
             recoverable_until = case when w.lifecycle = 'live' then null
                                      else coalesce($3::timestamptz + make_interval(days => w.recoverable_days), p.recoverable_until) end,
             changed_seq = coalesce(w.seq, p.changed_seq)
           from jsonb_to_recordset($2::jsonb) as w(id uuid, mailbox_id uuid, keywords text[], lifecycle text, kept boolean, absent boolean, absence jsonb,
                                                   reason text, recoverable_days int, seq bigint)
           where p.account_id = $1 and p.id = w.id`,
    values: [account.accountId, JSON.stringify(rows), at],
  });
};

const writeBindings = async (
  account: InputTx,
  scope: Scope,
  bindings: readonly BindingWrite[],
  existing: ReadonlySet<number>,
): Promise<void> => {
  const fresh = new CopyRows();
  const known: unknown[] = [];
  for (const binding of bindings) {
    if (existing.has(binding.uid)) {
      known.push({
        uid: binding.uid,
        placement_id: binding.placementId,
        flags: binding.flags,
        modseq: binding.modseq === null ? null : String(binding.modseq),
        object_id: binding.objectId ?? null,
        received_at: binding.receivedAt == null ? null : new Date(binding.receivedAt),
        listed_size: binding.size ?? null,
      });
      continue;
    }
    fresh
      .row(13)
      .uuid(account.accountId)
      .uuid(scope.endpointId)
      .uuid(scope.mailboxId)
      .int4(scope.epoch)
      .int8(binding.uid)
      .uuid(account.tenantId)
      .uuid(binding.placementId)
      .textArray(binding.flags)
      .int8(binding.modseq)
      .int8(account.headSeq)
      .text(binding.objectId ?? null)
      .timestamp(binding.receivedAt ?? null)
      .int8(binding.size ?? null);
  }
  if (fresh.rows > 0)
    await account.tx.copy(
      `copy bindings (account_id, endpoint_id, mailbox_id, epoch, uid, tenant_id, placement_id, shadow_flags, shadow_modseq, synced_seq, object_id,
         received_at, listed_size)
       from stdin (format binary)`,
      fresh.chunks(),
    );
  if (known.length > 0)
    await account.tx.query({
      name: "bindings_write",
      text: `update bindings b set placement_id = w.placement_id, active = true, closed_reason = null, shadow_flags = w.flags,
               shadow_modseq = coalesce(w.modseq, b.shadow_modseq), object_id = coalesce(w.object_id, b.object_id), synced_seq = $6,
               received_at = coalesce(w.received_at, b.received_at), listed_size = coalesce(w.listed_size, b.listed_size)
             from jsonb_to_recordset($5::jsonb) as w(uid bigint, placement_id uuid, flags text[], modseq bigint, object_id text,
                                                     received_at timestamptz, listed_size bigint)
             where b.account_id = $1 and b.endpoint_id = $2 and b.mailbox_id = $3 and b.epoch = $4 and b.uid = w.uid`,
      values: [account.accountId, scope.endpointId, scope.mailboxId, scope.epoch, JSON.stringify(known), account.headSeq],
    });
};

const closeBindings = async (account: InputTx, scope: Scope, closed: Decision["closed"]): Promise<void> => {
  if (closed.length === 0) return;
  await account.tx.query({
    name: "bindings_close",
    text: `update bindings b set active = false, closed_reason = w.reason
           from jsonb_to_recordset($5::jsonb) as w(uid bigint, reason text)
           where b.account_id = $1 and b.endpoint_id = $2 and b.mailbox_id = $3 and b.epoch = $4 and b.uid = w.uid and b.active`,
    values: [account.accountId, scope.endpointId, scope.mailboxId, scope.epoch, JSON.stringify(closed)],
  });
};

/** Old bindings of moved placements end; what was only copied stays bound, to a placement that is purged, and is to be removed there. */
const vacateBindings = async (account: InputTx, endpointId: EndpointId, vacated: Decision["vacated"]): Promise<void> => {
  if (vacated.length === 0) return;
  const rows = vacated.map(({ from, leftBehind }) => ({
    mailbox_id: from.mailboxId,
    epoch: from.epoch,
    uid: from.uid,
    placement_id: leftBehind?.id ?? null,
    message_id: leftBehind?.messageId ?? null,
    op_id: leftBehind?.opId ?? null,
    command_id: account.input.freshId(),
  }));
  await account.tx.query({
    name: "bindings_vacate",
    text: `with w as (
             select * from jsonb_to_recordset($3::jsonb)
               as w(mailbox_id uuid, epoch int, uid bigint, placement_id uuid, message_id uuid, op_id text, command_id uuid)),
           left_behind as (
             insert into placements (account_id, id, tenant_id, message_id, mailbox_id, keywords, lifecycle, removed_at, reason, received_at, created_seq, changed_seq)
             select $1, w.placement_id, $4, w.message_id, w.mailbox_id, '{}', 'purged', now(),
               case when w.op_id is null then '${leftMarked}' else '${leftByMove}' end, m.received_at, $5, $5
             from w join messages m on m.account_id = $1 and m.id = w.message_id where w.placement_id is not null),
           owed as (
             insert into commands (account_id, id, tenant_id, endpoint_id, placement_id, verb, args, reason, op_id, status)
             select $1, w.command_id, $4, $2, w.placement_id, 'expunge', '{"named": true}', 'api_write', w.op_id, 'planned'
             from w where w.op_id is not null)
           update bindings b set placement_id = coalesce(w.placement_id, b.placement_id), active = w.placement_id is not null,
             closed_reason = case when w.placement_id is null then 'moved' end
           from w where b.account_id = $1 and b.endpoint_id = $2 and b.mailbox_id = w.mailbox_id and b.epoch = w.epoch and b.uid = w.uid`,
    values: [account.accountId, endpointId, JSON.stringify(rows), account.tenantId, account.headSeq],
  });
};

export interface DecisionContext {
  /** Where the facts came from; null: from no endpoint, so that nothing is bound and no rule owes anything. */
  readonly scope: Scope | null;
  /** By item index; only needed where the decision makes messages. */
  readonly contents: readonly MessageContent[];
  /** UIDs that have a row in `bindings` already, active or closed. */
  readonly existing: ReadonlySet<number>;
}

/** Writes a whole decision: log first (it gives the numbers), then rows. An empty decision writes nothing (I4, I8). */
export const applyDecision = async (account: InputTx, decision: Decision, context: DecisionContext): Promise<AppliedDecision> => {
  const base = account.headSeq;
  const { scope } = context;
  // Run one after the other, but each is prepared while the one before is under way.
  await Promise.all([
    appendChanges(account, decision.changes),
    copyMessages(account, base, decision.newMessages, context.contents),
    copyPlacements(account, base, decision.newPlacements),
    updatePlacements(account, base, decision.placements),
    ...(scope === null
      ? []
      : [
          writeBindings(account, scope, decision.bindings, context.existing),
          closeBindings(account, scope, decision.closed),
          vacateBindings(account, scope.endpointId, decision.vacated),
          planCommands(account, scope.endpointId, decision.commands),
        ]),
  ]);
  return { headSeq: account.headSeq, changes: decision.changes.length };
};
