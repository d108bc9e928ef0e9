/**
 * What is to be sent to webhooks: how far each has come in the log of each account. Nothing waits in a queue: what is owed is
 * the log after that point, so that writing the log costs nothing more, and a crash or a lost wake-up only sends again or later.
 */
import type { Fence } from "../model/account.ts";
import type { AccountId, TenantId, WebhookId } from "../model/ids.ts";
import type { Delivery, DisabledBecause, Webhook } from "../model/webhook.ts";
import type { Database, Queryable } from "./database.ts";
import { openEach, type Sealer } from "./sealing.ts";
import { secretContext, webhookColumns } from "./webhooks.ts";

/** Days without one success after which a webhook is disabled. */
const failingDays = 5;
/** Failures in a row, of whichever account, that open the breaker. */
export const breakerFailures = 5;
/** How long one try may take while the breaker is half open. */
const probeSeconds = 60;
const deliveryDays = 7;
/** Deliveries dropped by one statement, and how long one call goes on with them, in ms. */
const forgottenAtOnce = 10_000;
const forgetMs = 10_000;

/** One account's changes on their way to one webhook. */
export interface WebhookLane {
  readonly webhookId: WebhookId;
  /** What the webhook was when this was read. */
  readonly webhookVersion: number;
  readonly accountId: AccountId;
  readonly tenantId: TenantId;
  readonly virtualShard: number;
  readonly stateEpoch: number;
  /** The last change that was sent or is not wanted. */
  readonly seq: bigint;
  readonly generation: number;
  /** Failures in a row of the change that comes next. */
  readonly attempts: number;
}

export interface Ownership {
  readonly shards: number;
  readonly owned: readonly number[];
}

/**
 * Lanes that have something to send now, of the shards that are owned; `among`: of these accounts only. At most 64 of one
 * webhook. In no order, and other ones each time: none is kept from its turn for long.
 */
export const listDueLanes = async (
  db: Queryable,
  { shards, owned }: Ownership,
  among: readonly AccountId[] | null,
): Promise<WebhookLane[]> => {
  const { rows } = await db.query<WebhookLane>({
    // Of a few accounts, or of all: one plan for both would read all of them at every wake-up.
    name: among === null ? "webhook_lanes_owed" : "webhook_lanes_owed_among",
    text: `select * from (
             select w.id as "webhookId", w.version as "webhookVersion", a.id as "accountId", a.tenant_id as "tenantId", a.virtual_shard as "virtualShard",
                    a.state_epoch as "stateEpoch", coalesce(l.seq, 0) as seq, coalesce(l.generation, 0) as generation,
                    coalesce(l.attempts, 0) as attempts, row_number() over (partition by w.id order by random()) as turn
             from webhooks w
             join accounts a on a.tenant_id = w.tenant_id and a.deleted_at is null and (w.account_ids is null or a.id = any(w.account_ids))
             left join webhook_lanes l on l.account_id = a.id and l.webhook_id = w.id
             where w.disabled_because is null and (w.open_until is null or w.open_until <= now())
               ${among === null ? "" : "and a.id = any($3)"} and a.virtual_shard % $1 = any($2::int[])
               and coalesce(l.seq, 0) < a.head_seq and (l.due_at is null or l.due_at <= now())) owed
           where turn <= 64 order by random()`,
    values: [shards, owned, ...(among === null ? [] : [among])],
  });
  return rows;
};

export interface SendableWebhook extends Pick<Webhook, "id" | "tenantId" | "url" | "kinds" | "failures"> {
  /** Those that sign, newest first. */
  readonly secrets: readonly string[];
  readonly version: number;
}

interface SealedRow extends Webhook {
  readonly secret: string;
  readonly old_secret: string | null;
  readonly version: number;
}

const toSendable = (sealer: Sealer, row: SealedRow): SendableWebhook => ({
  ...row,
  secrets: [row.secret, row.old_secret].flatMap((sealed) =>
    sealed === null ? [] : [sealer.openText(secretContext(row.tenantId, row.id), sealed)],
  ),
});

const sealedColumns = `${webhookColumns}, w.secret, case when w.old_secret_until > now() then w.old_secret end as old_secret, w.version`;

/** The webhook of a lane, to send to now; null when it is disabled, gone, was changed since the lane was read, or its breaker is open. With a breaker half open, only one gets it. */
export const takeWebhook = async (
  db: Queryable,
  sealer: Sealer,
  { webhookId, webhookVersion }: Pick<WebhookLane, "webhookId" | "webhookVersion">,
): Promise<SendableWebhook | null> => {
  const { rows } = await db.query<SealedRow>({
    name: "webhook_take",
    text: `with probing as (
             update webhooks set open_until = now() + make_interval(secs => $3)
             where id = $1 and version = $4 and failures >= $2 and (open_until is null or open_until <= now()) returning id)
           select ${sealedColumns} from webhooks w where w.id = $1 and w.version = $4 and w.disabled_because is null
             and (w.failures < $2 or exists (select from probing))`,
    values: [webhookId, breakerFailures, probeSeconds, webhookVersion],
  });
  const row = rows[0];
  return row === undefined ? null : toSendable(sealer, row);
};

/** The webhook was taken and nothing was sent: with its breaker half open another lane may try at once. */
export const giveBackWebhook = async (db: Queryable, { id, failures }: SendableWebhook): Promise<void> => {
  if (failures < breakerFailures) return;
  await db.query({
    name: "webhook_give_back",
    // Another failure that was noted meanwhile keeps it closed for as long as that one said.
    text: `update webhooks set open_until = now() where id = $1 and failures = $2`,
    values: [id, failures],
  });
};

interface AskedTest {
  readonly webhook: SendableWebhook;
  readonly testId: string;
}

/** Webhooks that wait for a test event, also disabled ones; `refused`: the ids of those whose secret cannot be opened. */
export const listAskedTests = async (
  db: Queryable,
  sealer: Sealer,
): Promise<{ readonly tests: readonly AskedTest[]; readonly refused: readonly string[] }> => {
  const { rows } = await db.query<SealedRow & { readonly test_id: string }>({
    name: "webhook_tests_asked",
    text: `select ${sealedColumns}, w.test_id from webhooks w where w.test_id is not null order by random() limit 100`,
  });
  const { opened, refused } = openEach(rows, (row) => ({ webhook: toSendable(sealer, row), testId: row.test_id }));
  return { tests: opened, refused };
};

/** Whoever gets true sends it: once, whatever becomes of it. */
export const takeTest = async (db: Queryable, webhook: SendableWebhook, testId: string): Promise<boolean> => {
  const { rowCount } = await db.query({
    name: "webhook_test_take",
    text: `update webhooks set test_id = null where id = $1 and test_id = $2`,
    values: [webhook.id, testId],
  });
  return rowCount === 1;
};

const deliveryRows = (deliveries: readonly Delivery[]): string =>
  JSON.stringify(deliveries.map((one) => ({ ...one, seq: one.seq === null ? null : String(one.seq) })));

const insertDeliveries = `insert into webhook_deliveries (webhook_id, id, tenant_id, account_id, seq, kind, attempt, at, result, status, duration_ms)
  select $1, d.id, $2, d."accountId", d.seq, d.kind, d.attempt, d.at, d.result, d.status, d."durationMs"
  from jsonb_to_recordset($3::jsonb) as d(id uuid, "accountId" uuid, seq bigint, kind text, attempt int, at timestamptz, result text, status int, "durationMs" int)`;

export const noteTest = async (db: Queryable, webhook: SendableWebhook, delivery: Delivery): Promise<void> => {
  await db.query({
    name: "webhook_test_note",
    text: insertDeliveries,
    values: [webhook.id, webhook.tenantId, deliveryRows([delivery])],
  });
};

export interface LaneProgress {
  readonly seq: bigint;
  readonly attempts: number;
  /** Nothing is sent for so long; null: at once. */
  readonly waitMs: number | null;
  readonly deliveries: readonly Delivery[];
}

/**
 * Keeps how far a lane has come. Nothing is kept where its shard has a new owner, the lane was set elsewhere, or the webhook was changed or is gone.
 * @returns whether to go on: it was kept, and the webhook is enabled.
 */
export const keepProgress = async (db: Queryable, fence: Fence, lane: WebhookLane, progress: LaneProgress): Promise<boolean> => {
  const { rows } = await db.query<{ goOn: boolean }>({
    name: "webhook_progress",
    text: `with owner as (select 1 from shards where id = $9 and owner = $10 and epoch = $11 for share),
           webhook as (select disabled_because is null as enabled from webhooks where id = $1 and version = $12 for share),
           kept as (
             insert into webhook_lanes as l (account_id, webhook_id, tenant_id, seq, generation, attempts, due_at)
             select $4, $1, $2, $5, $6, $7, now() + make_interval(secs => $8::float8 / 1000) from owner, webhook
             on conflict (account_id, webhook_id) do update set seq = excluded.seq, attempts = excluded.attempts, due_at = excluded.due_at
               where l.generation = $6 returning 1),
           noted as (${insertDeliveries} where exists (select from kept))
           select exists (select from kept) and exists (select from webhook where enabled) as "goOn"`,
    values: [
      lane.webhookId,
      lane.tenantId,
      deliveryRows(progress.deliveries),
      lane.accountId,
      progress.seq,
      lane.generation,
      progress.attempts,
      progress.waitMs,
      fence.shard,
      fence.owner,
      fence.epoch,
      lane.webhookVersion,
    ],
  });
  return rows[0]?.goOn === true;
};

/** Closes the breaker. Where it was open, what waits need not wait on: the receiver is back. Written at most once a minute while all is well. */
export const noteTaken = (db: Database, id: WebhookId): Promise<void> =>
  db.transaction(async (tx) => {
    const { rows } = await tx.query<{ was_open: boolean }>({
      name: "webhook_taken",
      text: `with before as (
               select id, failures >= $2 as was_open from webhooks
               where id = $1 and (failures > 0 or last_success_at is null or last_success_at < now() - interval '1 minute') for update)
             update webhooks w set failures = 0, failing_since = null, open_until = null, last_success_at = now()
             from before where w.id = before.id returning before.was_open`,
      values: [id, breakerFailures],
    });
    if (rows[0]?.was_open === true)
      await tx.query({
        name: "webhook_lanes_hurry",
        text: `update webhook_lanes set due_at = null where webhook_id = $1 and due_at is not null`,
        values: [id],
      });
  });

/** Counts a failure; from the fifth in a row on the breaker is open for `waitMs`, whichever account it was of. @returns why it is disabled now, or null. */
export const noteFailure = async (
  db: Queryable,
  id: WebhookId,
  failure: { readonly gone: boolean; readonly waitMs: number },
): Promise<DisabledBecause | null> => {
  const { rows } = await db.query<{ disabled_because: DisabledBecause | null }>({
    name: "webhook_failed",
    text: `update webhooks set failures = failures + 1, failing_since = coalesce(failing_since, now()),
             open_until = case when failures + 1 >= $2 then now() + make_interval(secs => $4::float8 / 1000) end,
             disabled_because = case when disabled_because is not null then disabled_because when $3 then 'gone'
                                     when failing_since < now() - make_interval(days => $5) then 'failing' end
           where id = $1 returning disabled_because`,
    values: [id, breakerFailures, failure.gone, failure.waitMs, failingDays],
  });
  return rows[0]?.disabled_because ?? null;
};

export interface WebhookFigures {
  readonly states: Readonly<Record<"enabled" | "open" | "disabled", number>>;
  /** Age of the oldest change that an enabled webhook is owed, in s. */
  readonly oldestPendingSeconds: number;
}

/** Of the whole installation. The age is looked up for the 200 lanes that failed most. */
export const readWebhookFigures = async (db: Queryable): Promise<WebhookFigures> => {
  const { rows } = await db.query<{ enabled: number; open: number; disabled: number; oldest: number | null }>({
    name: "webhook_figures",
    text: `select count(*) filter (where disabled_because is null and failures < $1)::int as enabled,
                  count(*) filter (where disabled_because is null and failures >= $1)::int as open,
                  count(*) filter (where disabled_because is not null)::int as disabled,
                  (select extract(epoch from now() - min(c.at))::float8 from (
                     select l.account_id, l.seq from webhook_lanes l join webhooks w on w.id = l.webhook_id and w.disabled_because is null
                     join accounts a on a.id = l.account_id and a.head_seq > l.seq and a.deleted_at is null order by l.attempts desc limit 200) behind
                   join changes c on c.account_id = behind.account_id and c.seq = behind.seq + 1) as oldest
           from webhooks`,
    values: [breakerFailures],
  });
  const { enabled = 0, open = 0, disabled = 0, oldest = null } = rows[0] ?? {};
  return { states: { enabled, open, disabled }, oldestPendingSeconds: oldest ?? 0 };
};

/** Drops deliveries nobody asks for any more, as many as it gets to within `forgetMs`. */
export const forgetDeliveries = async (db: Queryable): Promise<void> => {
  const until = Date.now() + forgetMs;
  let dropped: number;
  do {
    const { rowCount } = await db.query({
      name: "webhook_deliveries_forget",
      text: `delete from webhook_deliveries where ctid = any(array(
               select ctid from webhook_deliveries where at < now() - make_interval(days => $1) limit $2))`,
      values: [deliveryDays, forgottenAtOnce],
    });
    dropped = rowCount ?? 0;
  } while (dropped === forgottenAtOnce && Date.now() < until);
};
