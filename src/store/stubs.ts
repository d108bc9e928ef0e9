/** Messages that a maildrop lists and does not give (semantics K8): found again, and made whole. */
import type { DecidedChange } from "../model/change.ts";
import type { AccountId, EndpointId, MessageId } from "../model/ids.ts";
import type { MessageHeaders } from "../model/mail.ts";
import type { Scope } from "../reconciler/state.ts";
import { type AccountTx, appendChanges } from "./account-tx.ts";
import type { Queryable } from "./database.ts";
import type { BoundItem } from "./maildrops.ts";

export interface Stub extends BoundItem {
  readonly messageId: MessageId;
}

/** Those that the maildrop listed when it was last seen. */
export const listStubs = async (db: Queryable, accountId: AccountId, endpointId: EndpointId): Promise<readonly Stub[]> => {
  const { rows } = await db.query<{
    message_id: MessageId;
    placement_id: Stub["placementId"];
    uidl: string;
    occurrence: number;
    listed_size: bigint;
  }>({
    name: "stubs",
    text: `select m.id as message_id, b.placement_id, b.uidl, b.occurrence, b.listed_size
           from messages m join placements p on p.account_id = m.account_id and p.message_id = m.id
           join bindings b on b.account_id = p.account_id and b.placement_id = p.id and b.endpoint_id = $2 and b.active and b.uidl <> ''
           where m.account_id = $1 and m.durability = 'stub'`,
    values: [accountId, endpointId],
  });
  return rows.map(({ message_id: messageId, placement_id: placementId, uidl, occurrence, listed_size: size }) => ({
    messageId,
    placementId,
    uidl,
    occurrence,
    size: Number(size),
  }));
};

/** What is known of a stub once its octets are durable. */
interface CompletedStub {
  readonly stub: Stub;
  readonly headers: MessageHeaders | null;
  readonly octets: { readonly sha256: Buffer; readonly size: number };
  readonly fingerprint: { readonly hFull: Buffer | null; readonly hHead: Buffer; readonly size: number };
}

const complete = async (account: AccountTx, { stub, headers, octets, fingerprint }: CompletedStub): Promise<MessageId> => {
  // Another message has the octets: there is one message for them, so that the placement becomes one of its.
  const { rows } = await account.tx.query<{ id: MessageId }>({
    name: "stub_twin",
    text: `with twin as (select id from messages where account_id = $1 and sha256 = $3 limit 1)
           update placements p set message_id = twin.id from twin where p.account_id = $1 and p.message_id = $2 returning twin.id`,
    values: [account.accountId, stub.messageId, octets.sha256],
  });
  const [twin] = rows;
  if (twin !== undefined) {
    await account.tx.query({
      name: "stub_drop",
      text: `delete from messages where account_id = $1 and id = $2 and durability = 'stub'`,
      values: [account.accountId, stub.messageId],
    });
    return twin.id;
  }
  await account.tx.query({
    name: "stub_complete",
    text: `update messages set durability = 'durable', sha256 = $3, size = $4, h_full = $5, h_head = $6, normal_size = $7, message_id = $8, in_reply_to = $9,
             reference_ids = $10, subject = $11, from_addresses = $12, to_addresses = $13, cc_addresses = $14, bcc_addresses = $15, sent_at = $16
           where account_id = $1 and id = $2 and durability = 'stub'`,
    values: [
      account.accountId,
      stub.messageId,
      octets.sha256,
      octets.size,
      fingerprint.hFull,
      fingerprint.hHead,
      fingerprint.size,
      headers?.messageId ?? null,
      headers?.inReplyTo ?? null,
      headers?.references ?? [],
      headers?.subject ?? null,
      JSON.stringify(headers?.from ?? []),
      JSON.stringify(headers?.to ?? []),
      JSON.stringify(headers?.cc ?? []),
      JSON.stringify(headers?.bcc ?? []),
      headers?.sentAt ?? null,
    ],
  });
  return stub.messageId;
};

/** Makes a stub whole, under its id; one whose octets another message has joins that. */
export const completeStub = async (account: AccountTx, scope: Scope, completed: CompletedStub, at: Date): Promise<void> => {
  const { stub, octets } = completed;
  const messageId = await complete(account, completed);
  // An age is counted from when it is stored whole.
  await account.tx.query({
    name: "stub_bound",
    text: `update bindings set bound_at = $4 where account_id = $1 and endpoint_id = $2 and placement_id = $3 and active`,
    values: [account.accountId, scope.endpointId, stub.placementId, at],
  });
  const change: DecidedChange = {
    kind: "message.completed",
    messageId,
    mailboxId: scope.mailboxId,
    placementId: stub.placementId,
    before: { messageId: stub.messageId },
    after: { messageId, size: octets.size },
    source: "pop3",
    endpointId: scope.endpointId,
    deviceId: null,
    reason: "octets_came",
    rule: "K8",
    confidence: null,
    evidence: [],
  };
  await appendChanges(account, [change], at, null);
};
