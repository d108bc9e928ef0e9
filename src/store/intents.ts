/** The journal of intents: what was wanted, by whom, seen from where, and what came of it. */
import type { MailboxId, MessageId, PlacementId } from "../model/ids.ts";
import type { IntentResult, IntentStatus, KeywordPatch } from "../model/intent.ts";
import type { SaidPlace } from "../reconciler/location.ts";
import type { AccountTx, InputTx } from "./account-tx.ts";
import { leftByMove, leftMarked } from "./slices.ts";

export interface JournaledIntent {
  readonly opId: string;
  readonly deviceId: string;
  readonly base: bigint;
  readonly kind: string;
  /** All that makes it this intent and not another of its kind. JSON values only. */
  readonly args: Readonly<Record<string, unknown>>;
  /** What it says: of keywords, of one placement or of all of its message, and of places. JSON values only; null: nothing. */
  readonly said: {
    readonly placementId: PlacementId | null;
    readonly keywords: KeywordPatch;
    readonly places: readonly SaidPlace[];
  } | null;
  readonly result: IntentResult;
  /** The last change when it was decided, and how many, up to it, are its own. */
  readonly seq: bigint;
  readonly changes: number;
}

/** Those of the given ones that were ingested before, by `opId` (I7). */
export const loadIntents = async (
  account: AccountTx,
  opIds: readonly string[],
): Promise<Map<string, Pick<JournaledIntent, "kind" | "args" | "result">>> => {
  const { rows } = await account.tx.query<{
    op_id: string;
    kind: string;
    args: Record<string, unknown>;
    status: IntentStatus;
    reason: string;
    warnings: string[];
    message_id: MessageId | null;
  }>({
    name: "intents_known",
    text: `select op_id, kind, args, status, reason, warnings, message_id
           from (select distinct unnest($2::text[]) as id) as w
           cross join lateral (select * from intents where account_id = $1 and op_id = w.id offset 0) as i`,
    values: [account.accountId, opIds],
  });
  return new Map(
    rows.map(({ op_id: opId, kind, args, status, reason, warnings, message_id: messageId }) => [
      opId,
      { kind, args, result: { status, reason, messageId, warnings } },
    ]),
  );
};

/** Journals intents with their results, in their order. */
export const storeIntents = async (account: InputTx, intents: readonly JournaledIntent[]): Promise<void> => {
  if (intents.length === 0) return;
  const rows = intents.map(({ opId, deviceId, base, kind, args, said, result, seq, changes }) => ({
    op_id: opId,
    device_id: deviceId,
    base_seq: String(base),
    kind,
    message_id: result.messageId,
    args,
    said,
    status: result.status,
    reason: result.reason,
    warnings: result.warnings,
    seq: String(seq),
    changes,
  }));
  await account.tx.query({
    name: "intents_store",
    text: `insert into intents (account_id, op_id, tenant_id, device_id, base_seq, kind, message_id, args, said, status, reason, warnings, seq, changes)
           select $1, w.op_id, $2, w.device_id, w.base_seq, w.kind, w.message_id, w.args, nullif(w.said, 'null'), w.status, w.reason, w.warnings, w.seq, w.changes
           from jsonb_to_recordset($3::jsonb) as w(op_id text, device_id text, base_seq bigint, kind text, message_id uuid, args jsonb, said jsonb,
                                                   status text, reason text, warnings text[], seq bigint, changes int)`,
    values: [account.accountId, account.tenantId, JSON.stringify(rows)],
  });
};

/** What moves by copying left of messages, or in a mailbox, is ours to remove from now on (ID-5a2). @returns it. */
export const takeLeft = async (
  account: InputTx,
  column: "message_id" | "mailbox_id",
  ids: readonly (MessageId | MailboxId)[],
): Promise<readonly PlacementId[]> => {
  if (ids.length === 0) return [];
  const { rows } = await account.tx.query<{ id: PlacementId }>({
    name: `left_of_${column}`,
    text: `update placements set reason = '${leftByMove}'
           where account_id = $1 and ${column} = any($2::uuid[]) and lifecycle = 'purged' and reason = '${leftMarked}' returning id`,
    values: [account.accountId, ids],
  });
  return rows.map(({ id }) => id);
};

/** Takes all that is stored of messages whose placements are all purged; what stays says that there was one (I2). */
export const erasePurged = async (account: InputTx, messageIds: readonly MessageId[]): Promise<void> => {
  if (messageIds.length === 0) return;
  const values = [account.accountId, messageIds];
  await account.tx.query({
    name: "purged_blobs",
    // What was another rendering of one message may since be what another has.
    text: `delete from blobs b
           using (select unnest(m.sha256 || m.renderings) as sha256 from messages m where m.account_id = $1 and m.id = any($2::uuid[])) as w
           where b.account_id = $1 and b.sha256 = w.sha256
             and not exists (select from messages o where o.account_id = $1 and o.sha256 = w.sha256 and o.id <> all($2::uuid[]))`,
    values,
  });
  await account.tx.query({
    name: "purged_contents",
    text: `delete from message_contents where account_id = $1 and message_id = any($2::uuid[])`,
    values,
  });
  // Without its hashes nothing that comes is taken for it.
  await account.tx.query({
    name: "purged_messages",
    text: `update messages set durability = 'purged', sha256 = null, size = 0, message_id = null, thread_id = id, in_reply_to = null, reference_ids = '{}', subject = null,
             from_addresses = '[]', to_addresses = '[]', cc_addresses = '[]', bcc_addresses = '[]', sent_at = null,
             h_full = null, h_head = null, h_sem = null, normal_size = null, upstream_id = null, renderings = '{}'
           where account_id = $1 and id = any($2::uuid[])`,
    values,
  });
};
