/** Intents of the API: the slice of the account that they touch, and their journal. Always inside the account's transaction. */
import type { EndpointId, MessageId, PlacementId } from "../model/ids.ts";
import type { IntentResult, IntentStatus, MailIntent, MailOp } from "../model/intent.ts";
import type { KeywordHistory, SaidKeywords, SeenKeywords } from "../reconciler/intent-keywords.ts";
import type { PlacementView } from "../reconciler/state.ts";
import type { AccountTx } from "./account-tx.ts";
import { bindingColumns, lastBinding, placementColumns, type PlacementRow, toView } from "./slices.ts";

/** The IMAP endpoint of the account, which intents are written back to; null: it has none (K2). */
export const findWritableEndpoint = async (account: AccountTx): Promise<EndpointId | null> => {
  const { rows } = await account.tx.query<{ id: EndpointId }>({
    name: "endpoint_writable",
    text: `select id from endpoints where account_id = $1 and protocol = 'imap' order by id limit 1`,
    values: [account.accountId],
  });
  return rows[0]?.id ?? null;
};

/** Every placement of the messages that is not purged, oldest first, with its last binding at the endpoint. */
export const loadPlacements = async (
  account: AccountTx,
  endpointId: EndpointId | null,
  messageIds: readonly MessageId[],
): Promise<Map<MessageId, PlacementView[]>> => {
  const { rows } = await account.tx.query<PlacementRow>({
    name: "intent_placements",
    text: `select ${placementColumns}, ${bindingColumns} from placements p ${lastBinding}
           where p.account_id = $1 and p.message_id = any($3::uuid[]) and p.lifecycle <> 'purged' order by p.created_seq, p.id`,
    values: [account.accountId, endpointId, messageIds],
  });
  return Map.groupBy(rows.map(toView), (placement) => placement.messageId);
};

/** What was said and seen of the messages after `base`. */
export const loadHistory = async (
  account: AccountTx,
  placements: readonly PlacementView[],
  base: bigint,
): Promise<Map<PlacementId, KeywordHistory>> => {
  if (base >= account.headSeq || placements.length === 0) return new Map();
  const messageIds = [...new Set(placements.map(({ messageId }) => messageId))];
  const seen = await account.tx.query<SeenKeywords & { placementId: PlacementId }>({
    name: "intent_seen",
    text: `select placement_id as "placementId", seq, coalesce('endpoint ' || endpoint_id, source) as source,
             before->'keywords' as before, after->'keywords' as after
           from changes where account_id = $1 and message_id = any($2::uuid[]) and seq > $3 and source <> 'api'
             and jsonb_typeof(before->'keywords') = 'array' and jsonb_typeof(after->'keywords') = 'array' order by seq`,
    values: [account.accountId, messageIds, base],
  });
  const said = await account.tx.query<SaidKeywords & { messageId: MessageId }>({
    name: "intent_said",
    text: `select message_id as "messageId", seq, device_id as "deviceId", base_seq as base, args->'keywords' as keywords
           from intents where account_id = $1 and message_id = any($2::uuid[]) and seq > $3 and status in ('applied', 'superseded')
             and args ? 'keywords' order by seq, created_at`,
    values: [account.accountId, messageIds, base],
  });
  const seenOf = Map.groupBy(seen.rows, ({ placementId }) => placementId);
  const saidOf = Map.groupBy(said.rows, ({ messageId }) => messageId);
  return new Map(placements.map(({ id, messageId }) => [id, { seen: seenOf.get(id) ?? [], said: saidOf.get(messageId) ?? [] }]));
};

/** An intent that was ingested before. */
export interface KnownIntent {
  readonly result: IntentResult;
  readonly kind: string;
  readonly args: Readonly<Record<string, unknown>>;
}

/** Those of the given ones that were ingested before, by `opId` (I7). */
export const loadIntents = async (account: AccountTx, opIds: readonly string[]): Promise<Map<string, KnownIntent>> => {
  const { rows } = await account.tx.query<{
    op_id: string;
    kind: string;
    args: Record<string, unknown>;
    status: IntentStatus;
    reason: string;
    message_id: MessageId | null;
  }>({
    name: "intents_known",
    text: `select op_id, kind, args, status, reason, message_id from intents where account_id = $1 and op_id = any($2::text[])`,
    values: [account.accountId, opIds],
  });
  return new Map(
    rows.map(({ op_id: opId, kind, args, status, reason, message_id: messageId }) => [
      opId,
      { kind, args, result: { status, reason, messageId } },
    ]),
  );
};

/** What of an operation is journaled beside its kind and its message. */
export const argsOf = ({ op: _op, messageId: _messageId, ...args }: MailOp): Readonly<Record<string, unknown>> => args;

export interface IngestedIntent {
  readonly intent: MailIntent;
  readonly deviceId: string;
  readonly base: bigint;
  readonly result: IntentResult;
  /** The last change when it was decided. */
  readonly seq: bigint;
}

/** Journals intents with their results, in their order. */
export const storeIntents = async (account: AccountTx, ingested: readonly IngestedIntent[]): Promise<void> => {
  if (ingested.length === 0) return;
  const rows = ingested.map(({ intent, deviceId, base, result, seq }) => ({
    op_id: intent.opId,
    device_id: deviceId,
    base_seq: String(base),
    kind: intent.op.op,
    message_id: intent.op.messageId,
    args: argsOf(intent.op),
    status: result.status,
    reason: result.reason,
    seq: String(seq),
  }));
  await account.tx.query({
    name: "intents_store",
    text: `insert into intents (account_id, op_id, tenant_id, device_id, base_seq, kind, message_id, args, status, reason, seq)
           select $1, w.op_id, $2, w.device_id, w.base_seq, w.kind, w.message_id, w.args, w.status, w.reason, w.seq
           from jsonb_to_recordset($3::jsonb) as w(op_id text, device_id text, base_seq bigint, kind text, message_id uuid, args jsonb, status text,
                                                   reason text, seq bigint)`,
    values: [account.accountId, account.tenantId, JSON.stringify(rows)],
  });
};
