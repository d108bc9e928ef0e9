/** A database with one account whose shard this test owns: what the workers write with. */
import { uuidv7 } from "uuidv7";
import { memoryOctets } from "../../src/endpoints/octets.ts";
import { defaultPolicy, type Fence } from "../../src/model/account.ts";
import type { AccountId, EndpointId, MailboxId, ProcessId, TenantId } from "../../src/model/ids.ts";
import type { FetchedItem } from "../../src/model/observation.ts";
import { factsReaderHere } from "../../src/mime/facts-reader.ts";
import type { Database } from "../../src/store/database.ts";
import { balanceLeases, enrol, ensureInstallation, virtualShardOf } from "../../src/store/leases.ts";
import { createLogger } from "../../src/telemetry/log.ts";
import type { LaneContext, MailboxLane } from "../../src/workers/lane-state.ts";
import { stubTurns } from "../../src/workers/stubs.ts";
import { Trouble } from "../../src/workers/trouble.ts";

export const quietLog = createLogger({ level: "silent" });
export const defaultTenant = "00000000-0000-7000-8000-000000000001" as TenantId;

export const fenceOf = async (db: Database, accountId: AccountId, ttlSeconds = 600): Promise<Fence> => {
  const shards = await ensureInstallation(db, 1);
  const id = uuidv7() as ProcessId;
  await enrol(db, { id, host: "test", ttlSeconds, alone: true });
  const fence = (await balanceLeases(db, id)).find((one) => one.shard === virtualShardOf(accountId) % shards);
  if (fence === undefined) throw new Error("no lease");
  return fence;
};

export const makeAccount = async (
  db: Database,
): Promise<{ context: LaneContext; mailbox: (path: string, uidNext: number) => Promise<MailboxLane> }> => {
  const accountId = uuidv7() as AccountId;
  const endpointId = uuidv7() as EndpointId;
  await db.query({
    text: `insert into accounts (id, tenant_id, name, email, virtual_shard, policy) values ($1, $2, 'Ana', 'ana@example.test', $3, $4)`,
    values: [accountId, defaultTenant, virtualShardOf(accountId), JSON.stringify(defaultPolicy)],
  });
  const context: LaneContext = {
    db,
    log: quietLog,
    facts: factsReaderHere,
    fence: await fenceOf(db, accountId),
    accountId,
    tenantId: defaultTenant,
    endpointId,
    policy: defaultPolicy,
    twoViews: false,
    mailboxes: new Map(),
    modseq: { known: {} },
    retention: { days: null },
    trouble: new Trouble(),
    tree: { readAt: 0 },
    stubs: stubTurns(),
    headless: stubTurns(),
    maxMessageBytes: 64 * 1024 * 1024,
  };
  const mailbox = async (path: string, uidNext: number): Promise<MailboxLane> => {
    const mailboxId = uuidv7() as MailboxId;
    await db.query({
      text: `insert into mailboxes (account_id, id, tenant_id, name, created_seq, changed_seq) values ($1, $2, $3, $4, 0, 0)`,
      values: [accountId, mailboxId, defaultTenant, path],
    });
    await db.query({
      text: `insert into upstream_mailboxes (account_id, endpoint_id, mailbox_id, tenant_id, path, selectable) values ($1, $2, $3, $4, $5, true)`,
      values: [accountId, endpointId, mailboxId, defaultTenant, path],
    });
    const cursor = { uidValidity: 1, uidNext, highestModseq: 1n };
    const lane: MailboxLane = {
      mailboxId,
      path,
      selectable: true,
      role: null,
      objectId: null,
      replaced: false,
      late: false,
      epoch: 0,
      cursor,
      permanentFlags: null,
      backfillLow: uidNext,
      bound: 0,
      exists: uidNext - 1,
      auditedAt: 0,
      failures: 0,
      parkedUntil: 0,
      lookedAt: 0,
      answered: true,
      emptySince: 0,
      unshown: null,
      unseen: null,
      compared: false,
      sampledIn: null,
      epochsAt: [],
      recognition: null,
      held: 0,
      flagsHeld: "no",
      numbersLast: true,
      stranger: "no",
    };
    context.mailboxes.set(mailboxId, lane);
    return lane;
  };
  return { context, mailbox };
};

export const itemOf = (uid: number, text: string, flags: readonly string[] = []): FetchedItem => ({
  uid,
  flags,
  modseq: null,
  internalDate: new Date(1_700_000_000_000 + uid * 1000),
  octets: memoryOctets(Buffer.from(text)),
  unavailable: null,
});
