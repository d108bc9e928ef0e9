/**
 * The least that makes mail a mailbox: the raw client's octets and the rows that stand for them (blob, message, placement, binding,
 * log entry), in the tables and by the statements of the daemon, 500 in a transaction. Nothing is looked for or decided: no
 * unique-ids, headers, normal forms, identity, cursors, leases, parsing or resumption.
 */
import { hash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { uuidv7 } from "uuidv7";
import { startEmbeddedPostgres } from "../src/embedded/postgres.ts";
import { defaultPolicy } from "../src/model/account.ts";
import type { DecidedChange } from "../src/model/change.ts";
import type { AccountId, EndpointId, MailboxId, MessageId, PlacementId, TenantId } from "../src/model/ids.ts";
import type { Octets } from "../src/model/octets.ts";
import { type Decision, emptyDraft, record, type Scope } from "../src/reconciler/state.ts";
import type { InputTx } from "../src/store/account-tx.ts";
import { storeBlobs } from "../src/store/blob-writes.ts";
import { type Database, openDatabase } from "../src/store/database.ts";
import { applyDecision } from "../src/store/decisions.ts";
import { migrate } from "../src/store/migrate.ts";
import { createLogger } from "../src/telemetry/log.ts";
import type { RawRun, Taker } from "./raw-imap.ts";

const perTransaction = 500;
const mostUnderWay = 4;

const owner = { accountId: uuidv7() as AccountId, tenantId: uuidv7() as TenantId };
const scope: Scope = { endpointId: uuidv7() as EndpointId, mailboxId: uuidv7() as MailboxId, epoch: 1 };

const inMemory = (data: Buffer): Octets => ({
  size: data.length,
  sha256: hash("sha256", data, "buffer"),
  head: data.subarray(0, 4096),
  parts: () => [data],
  dispose: () => Promise.resolve(),
});

const createdOf = (messageId: MessageId, placementId: PlacementId): DecidedChange => ({
  kind: "message.created",
  messageId,
  mailboxId: scope.mailboxId,
  placementId,
  before: null,
  after: { mailboxId: scope.mailboxId, keywords: [] },
  source: "pop3",
  endpointId: scope.endpointId,
  deviceId: null,
  reason: "backfilled",
  rule: "ID-7",
  confidence: null,
  evidence: [],
});

/** Each of the batch a message of its own, in one mailbox. */
const decisionFor = (batch: readonly Octets[], firstUid: number, at: Date): Decision => {
  const draft = emptyDraft();
  batch.forEach((_, item) => {
    const [messageId, placementId] = [uuidv7() as MessageId, uuidv7() as PlacementId];
    const change = record(draft, createdOf(messageId, placementId));
    draft.newMessages.push({ id: messageId, item, change });
    const placement = { id: placementId, messageId, mailboxId: scope.mailboxId, keywords: [], reason: "backfilled", change };
    draft.newPlacements.push({ ...placement, receivedAt: at.getTime() });
    draft.bindings.push({ uid: firstUid + item, placementId, flags: [], modseq: null });
  });
  return draft;
};

/** Rows of one account, one batch after the other, while the octets of the next are stored. */
class RowStore {
  private batch: Octets[] = [];
  private tail: Promise<void> = Promise.resolve();
  private uids = 0;
  private headSeq = 0n;
  private headHash = "";
  private readonly underWay = new Set<Promise<void>>();
  private readonly db: Database;

  constructor(db: Database) {
    this.db = db;
  }

  readonly take: Taker = (data) => {
    this.batch.push(inMemory(data));
    if (this.batch.length < perTransaction) return undefined;
    this.flush();
    return this.underWay.size < mostUnderWay ? undefined : Promise.race(this.underWay);
  };

  async finish(): Promise<void> {
    if (this.batch.length > 0) this.flush();
    await this.tail;
  }

  private flush(): void {
    const { batch, tail } = this;
    this.batch = [];
    const stored = storeBlobs(this.db, owner, batch);
    this.tail = Promise.all([stored, tail]).then(() => this.commit(batch));
    const done = this.tail;
    this.underWay.add(done);
    void done.finally(() => this.underWay.delete(done));
  }

  private commit(batch: readonly Octets[]): Promise<void> {
    const at = new Date();
    const decision = decisionFor(batch, this.uids + 1, at);
    this.uids += batch.length;
    return this.db.transaction(async (tx) => {
      const input = { id: uuidv7(), at, freshId: () => uuidv7() };
      const account: InputTx = {
        tx,
        input,
        ...owner,
        policy: defaultPolicy,
        pop3Evidence: {},
        stateEpoch: 0,
        headSeq: this.headSeq,
        headHash: this.headHash,
      };
      const contents = batch.map((octets) => ({ receivedAt: at, headers: null, octets }));
      await applyDecision(account, decision, { scope, contents, existing: new Set() });
      this.headSeq = account.headSeq;
      this.headHash = account.headHash;
    });
  }
}

/** Fetches everything straight into the tables of the daemon. */
export const fetchIntoRows = async (fetch: (take: Taker) => Promise<RawRun>): Promise<RawRun> => {
  const dataDir = await mkdtemp(join(tmpdir(), "samebox-bench-"));
  const log = createLogger({ level: "fatal" });
  const postgres = await startEmbeddedPostgres({ dataDir, log });
  const db = openDatabase({ url: postgres.url, max: 4, log });
  try {
    await migrate(postgres.url, log);
    const store = new RowStore(db);
    const began = performance.now();
    const { messages } = await fetch(store.take);
    await store.finish();
    return { messages, seconds: (performance.now() - began) / 1000 };
  } finally {
    await db.close();
    await postgres.stop();
    await rm(dataDir, { recursive: true, force: true });
  }
};
