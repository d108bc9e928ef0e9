/** Messages that a server lists and does not give (semantics K8, G7): found again, shown by what is known of them, and made whole. */
import type { DecidedChange } from "../model/change.ts";
import type { Protocol } from "../model/endpoint.ts";
import type { AccountId, EndpointId, MailboxId, MessageId, PlacementId } from "../model/ids.ts";
import type { MessageHeaders } from "../model/mail.ts";
import type { PlacementView, Scope } from "../reconciler/state.ts";
import { appendChanges, type InputTx } from "./account-tx.ts";
import type { Queryable } from "./database.ts";
import type { BoundItem } from "./maildrops.ts";
import { lastBinding } from "./slices.ts";

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
  readonly stub: Pick<Stub, "messageId" | "placementId">;
  readonly source: Protocol;
  /** Where its listing had not even told that: when it came. */
  readonly receivedAt: Date | null;
  readonly headers: MessageHeaders | null;
  readonly octets: { readonly sha256: Buffer; readonly size: number };
  readonly fingerprint: { readonly hFull: Buffer | null; readonly hHead: Buffer; readonly size: number };
}

interface Content {
  /** null: they are not had. */
  readonly sha256: Buffer | null;
  readonly size: number;
  readonly headers: MessageHeaders | null;
  readonly fingerprint: CompletedStub["fingerprint"];
}

/**
 * What is known of a message that was a stub up to now, and is one still where its octets are not had.
 * @returns false where it is a stub no more.
 */
const writeContent = async (
  account: InputTx,
  id: MessageId,
  { sha256, size, headers, fingerprint }: Content,
): Promise<boolean> => {
  const { rowCount } = await account.tx.query({
    name: "stub_content",
    text: `update messages set durability = case when $3::bytea is null then 'stub' else 'durable' end, sha256 = $3, size = $4, h_full = $5, h_head = $6,
             normal_size = $7, message_id = $8, in_reply_to = $9, reference_ids = $10, subject = $11, from_addresses = $12, to_addresses = $13,
             cc_addresses = $14, bcc_addresses = $15, sent_at = $16
           where account_id = $1 and id = $2 and durability = 'stub'`,
    values: [
      account.accountId,
      id,
      sha256,
      size,
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
  return rowCount > 0;
};

/** @returns the message that has the octets now; null: what was to have them is a stub no more. */
const complete = async (account: InputTx, { stub, headers, octets, fingerprint }: CompletedStub): Promise<MessageId | null> => {
  // Another message has the octets: there is one message for them, so that the placement becomes one of its.
  const { rows } = await account.tx.query<{ id: MessageId }>({
    name: "stub_twin",
    text: `with twin as (select id from messages where account_id = $1 and sha256 = $3 limit 1)
           update placements p set message_id = twin.id from twin, messages m
           where p.account_id = $1 and p.message_id = $2 and m.account_id = $1 and m.id = $2 and m.durability = 'stub' returning twin.id`,
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
  const content = { sha256: octets.sha256, size: octets.size, headers, fingerprint };
  return (await writeContent(account, stub.messageId, content)) ? stub.messageId : null;
};

const completedBy = (
  of: Pick<DecidedChange, "messageId" | "mailboxId" | "placementId" | "endpointId">,
  how: Pick<DecidedChange, "reason" | "after" | "source"> & Partial<Pick<DecidedChange, "before">>,
): DecidedChange => ({
  kind: "message.completed",
  before: null,
  deviceId: null,
  rule: "K8",
  confidence: null,
  evidence: [],
  ...of,
  ...how,
});

/**
 * Makes a stub whole, under its id; one whose octets another message has joins that. What was purged or made whole since its
 * octets were asked for stays as it is.
 * @returns why its placement is there; null: it was whole, or has no item at the endpoint.
 */
export const completeStub = async (account: InputTx, scope: Scope, completed: CompletedStub): Promise<string | null> => {
  const { at } = account.input;
  const { stub, source, octets } = completed;
  const messageId = await complete(account, completed);
  if (messageId === null) return null;
  // An age is counted from when it is stored whole.
  const { rows } = await account.tx.query<{ reason: string }>({
    name: "stub_bound",
    text: `update bindings b set bound_at = $4 from placements p
           where b.account_id = $1 and b.endpoint_id = $2 and b.placement_id = $3 and b.active and p.account_id = $1 and p.id = $3 returning p.reason`,
    values: [account.accountId, scope.endpointId, stub.placementId, at],
  });
  if (completed.receivedAt !== null)
    await account.tx.query({
      name: "stub_dated",
      text: `with dated as (update messages set received_at = $3 where account_id = $1 and id = $2 and received_at = to_timestamp(0) returning id),
             reworded as (update message_contents c set search = search || samebox_week($3) from dated where c.account_id = $1 and c.message_id = dated.id)
           update placements set received_at = $3 where account_id = $1 and message_id = $2 and received_at = to_timestamp(0)`,
      values: [account.accountId, messageId, completed.receivedAt],
    });
  const { mailboxId, endpointId } = scope;
  const change = completedBy(
    { messageId, mailboxId, placementId: stub.placementId, endpointId },
    { reason: "octets_came", before: { messageId: stub.messageId }, after: { messageId, size: octets.size }, source },
  );
  await appendChanges(account, [change]);
  return rows[0]?.reason ?? null;
};

/**
 * A stub whose octets are those of mail that waits for its item: it was that item all the time. It is taken back, so that its item is
 * anybody's again. One that has been written to meanwhile, or that is shown elsewhere as well, stays what it is.
 * @returns whether it is taken back.
 */
export const withdrawStub = async (
  account: InputTx,
  { mailboxId, endpointId }: Scope,
  { stub, waiting, size }: { readonly stub: ItemStub; readonly waiting: PlacementView; readonly size: number },
): Promise<boolean> => {
  const { messageId, id: placementId } = waiting;
  const { rowCount } = await account.tx.query({
    name: "stub_withdraw",
    text: `with alone as (
             select m.id from messages m where m.account_id = $1 and m.id = $2 and m.durability = 'stub'
               and not exists (select from placements q where q.account_id = $1 and q.message_id = $2 and q.id <> $3)
               and not exists (select from bindings b where b.account_id = $1 and b.placement_id = $3 and b.endpoint_id <> $4)
               and not exists (select from commands c where c.account_id = $1 and c.placement_id = $3 and c.ended_at is null)),
           unbound as (delete from bindings b using alone where b.account_id = $1 and b.placement_id = $3 and b.endpoint_id = $4),
           unplaced as (delete from placements p using alone where p.account_id = $1 and p.id = $3)
           delete from messages m using alone where m.account_id = $1 and m.id = alone.id`,
    values: [account.accountId, stub.messageId, stub.placementId, endpointId],
  });
  if (rowCount === 0) return false;
  const before = { messageId: stub.messageId };
  const how = { reason: "octets_came", before, after: { messageId, size }, source: "imap" } as const;
  await appendChanges(account, [completedBy({ messageId, mailboxId, placementId, endpointId }, how)]);
  return true;
};

/** A stub over IMAP. */
export interface ItemStub {
  readonly messageId: MessageId;
  readonly placementId: PlacementId;
  readonly mailboxId: MailboxId;
  readonly uid: number;
}

/** At once; a look comes back for the rest. */
const mostItems = 500;

export interface StubPage {
  /** Of which not even the headers are known. */
  readonly headless: boolean;
  /** Only those behind this one, by their ids; null: from the first on. */
  readonly after: MessageId | null;
  /** Octets: what the server lists as larger is left out. */
  readonly largest: number;
}

/** What the server shows without giving it, in the order of UIDs. `last`: where the next page begins; null: this is the last one. */
export const listItemStubs = async (
  db: Queryable,
  accountId: AccountId,
  endpointId: EndpointId,
  { headless, after, largest }: StubPage,
): Promise<{ readonly stubs: readonly ItemStub[]; readonly last: MessageId | null }> => {
  const { rows } = await db.query<{ message_id: MessageId; placement_id: PlacementId; mailbox_id: MailboxId; uid: bigint }>({
    name: headless ? "stubs_headless" : "stubs_of_items",
    text: `select distinct on (m.id) m.id as message_id, b.placement_id, b.mailbox_id, b.uid
           from messages m join placements p on p.account_id = m.account_id and p.message_id = m.id
           join bindings b on b.account_id = p.account_id and b.placement_id = p.id and b.endpoint_id = $2 and b.active and b.uidl = ''
           where m.account_id = $1 and m.durability = 'stub'${headless ? " and m.h_head is null" : ""}
             and m.id > coalesce($3, '00000000-0000-0000-0000-000000000000'::uuid) and m.size <= $4
           order by m.id limit ${mostItems}`,
    values: [accountId, endpointId, after, largest],
  });
  const stubs = rows
    .map(({ message_id: messageId, placement_id: placementId, mailbox_id: mailboxId, uid }) => ({
      messageId,
      placementId,
      mailboxId,
      uid: Number(uid),
    }))
    .sort((a, b) => a.uid - b.uid);
  return { stubs, last: rows.length < mostItems ? null : (rows.at(-1)?.message_id ?? null) };
};

export interface DescribedStub {
  readonly stub: ItemStub;
  readonly headers: MessageHeaders;
  /** Octets, as the server lists them. */
  readonly size: number;
  readonly fingerprint: { readonly hHead: Buffer; readonly size: number };
}

/** Shows stubs by their header blocks. */
export const describeStubs = async (
  account: InputTx,
  endpointId: EndpointId,
  described: readonly DescribedStub[],
): Promise<void> => {
  const changes: DecidedChange[] = [];
  for (const { stub, headers, size, fingerprint: print } of described) {
    const { messageId, mailboxId, placementId } = stub;
    const content = { sha256: null, size, headers, fingerprint: { hFull: null, ...print } };
    if (!(await writeContent(account, messageId, content))) continue;
    const of = { messageId, mailboxId, placementId, endpointId };
    changes.push(completedBy(of, { reason: "headers_came", after: { messageId, size }, source: "imap" }));
  }
  await appendChanges(account, changes);
};

/** A stub may be mail that was missed up to this long before or after it came. */
const nearby = "interval '1 day'";
/** After that, what a server lists and never gives keeps nothing alive any more. */
const patience = "interval '7 days'";

/**
 * Missing mail that may be what the endpoint lists and does not give. In the same mailbox: it lost its number to a new epoch, which
 * shows that. In another one: it went as that came, as mail does that is moved (RFC 9051 6.4.8 has its date go with it). It has its
 * date, or in the same mailbox nobody knows that, and is not known to be other mail. Date by date, so that the cost is linear.
 */
export const loadUnread = async (account: InputTx, endpointId: EndpointId): Promise<PlacementId[]> => {
  const isShown = (date: string, where: string): string => `exists (
    select from unread u where u.received_at = ${date} and ${where} and (not u.told or u.header is not distinct from m.header))`;
  const here = "u.mailbox_id = m.mailbox_id and u.epoch > m.epoch";
  const elsewhere = `u.mailbox_id <> m.mailbox_id and u.came_at between m.absent_since - ${nearby} and m.absent_since + ${nearby}`;
  const { rows } = await account.tx.query<{ id: PlacementId }>({
    name: "absences_unread",
    text: `with unread as materialized (
             select distinct b.mailbox_id, b.epoch, c.at as came_at, s.received_at, m.h_head is not null as told, m.message_id as header
             from messages m join placements s on s.account_id = m.account_id and s.message_id = m.id and s.lifecycle = 'live'
               join bindings b on b.account_id = s.account_id and b.placement_id = s.id and b.endpoint_id = $2 and b.active and b.uidl = ''
               join changes c on c.account_id = s.account_id and c.seq = s.created_seq and c.at > $3::timestamptz - ${patience}
             where m.account_id = $1 and m.durability = 'stub'),
           missing as materialized (
             select p.id, p.received_at, p.absent_since, o.message_id as header, b.mailbox_id, b.epoch
             from placements p join messages o on o.account_id = p.account_id and o.id = p.message_id ${lastBinding}
             where p.account_id = $1 and p.lifecycle = 'live' and p.absent_since is not null and exists (select from unread))
           select m.id from missing m where ${isShown("m.received_at", here)}
           union select m.id from missing m where ${isShown("to_timestamp(0)", here)}
           union select m.id from missing m where ${isShown("m.received_at", elsewhere)}`,
    values: [account.accountId, endpointId, account.input.at],
  });
  return rows.map(({ id }) => id);
};

/** Is there mail in the mailbox of which nothing is known yet that would tell it again? */
export const hasUnfinished = async (db: Queryable, accountId: AccountId, mailboxId: MailboxId): Promise<boolean> => {
  const { rows } = await db.query<{ unfinished: boolean }>({
    name: "claims_unfinished",
    text: `select exists (
             select from placements p join messages m on m.account_id = p.account_id and m.id = p.message_id
             where p.account_id = $1 and p.mailbox_id = $2 and p.lifecycle = 'live' and m.durability <> 'durable') as unfinished`,
    values: [accountId, mailboxId],
  });
  return rows[0]?.unfinished === true;
};
