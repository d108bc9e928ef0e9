/** One account's changes to one webhook, in order: the next is sent when the one before was taken. */
import { uuidv7 } from "uuidv7";
import type { Fence } from "../model/account.ts";
import type { Change } from "../model/change.ts";
import { toChangeJson } from "../model/change-json.ts";
import { formatId } from "../model/ids.ts";
import type { Delivery } from "../model/webhook.ts";
import { readChanges } from "../store/change-reads.ts";
import type { Database } from "../store/database.ts";
import {
  breakerFailures,
  giveBackWebhook,
  keepProgress,
  noteFailure,
  noteTaken,
  type SendableWebhook,
  takeWebhook,
  type WebhookLane,
} from "../store/webhook-lanes.ts";
import type { Sealer } from "../store/sealing.ts";
import type { Logger } from "../telemetry/log.ts";
import { webhookDeliveries, webhookDuration } from "../telemetry/metrics.ts";
import { planWebhookRetry } from "./backoff.ts";
import { type Message, type Outcome, Receiver, type ReceiverRules } from "./webhook-request.ts";

export interface LaneRunServices {
  readonly db: Database;
  readonly log: Logger;
  readonly sealer: Sealer;
  readonly rules: ReceiverRules;
  /** Does this process still own the shard? */
  readonly holds: (fence: Fence) => boolean;
}

/** Changes read at once. */
const pageSize = 100;
/** What was sent is written down this often, in ms: so much is sent again after a crash, under the same ids. */
const keepEveryMs = 1_000;
/** A run ends after so many ms, so that other lanes get their turn. */
const runMs = 5_000;

const messageOf = (change: Change): Message => {
  const data = toChangeJson(change);
  return {
    id: `${data.accountId}_${data.state.replace(".", "_")}`,
    body: JSON.stringify({ type: data.kind, timestamp: data.at, data }),
  };
};

const asDelivery = (
  of: Pick<Delivery, "accountId" | "seq" | "kind" | "attempt">,
  { result, status, durationMs }: Omit<Outcome, "retryAfterMs">,
): Delivery => ({ id: uuidv7(), ...of, at: new Date(), result, status, durationMs });

const count = ({ result, durationMs }: Outcome): void => {
  webhookDeliveries.inc({ result });
  webhookDuration.observe(durationMs / 1000);
};

const cut: Outcome = { result: "cut", status: null, retryAfterMs: 0, durationMs: 0 };

class LaneRun {
  private readonly services: LaneRunServices;
  private readonly fence: Fence;
  private readonly lane: WebhookLane;
  private seq: bigint;
  private attempts: number;
  private deliveries: Delivery[] = [];
  private kept: { seq: bigint; at: number };
  private sent: "nothing" | "something" | "taken" = "nothing";

  constructor(services: LaneRunServices, fence: Fence, lane: WebhookLane) {
    this.services = services;
    this.fence = fence;
    this.lane = lane;
    this.seq = lane.seq;
    this.attempts = lane.attempts;
    this.kept = { seq: lane.seq, at: Date.now() };
  }

  /** Until nothing is left, something fails, the lane is no longer ours, or others shall have their turn. @returns whether it may go on at once. */
  async run(webhook: SendableWebhook, signal: AbortSignal): Promise<boolean> {
    using receiver = new Receiver({ ...webhook, rules: this.services.rules });
    const until = Date.now() + runMs;
    try {
      while (Date.now() < until && !signal.aborted) {
        const page = await readChanges(
          this.services.db,
          this.lane.accountId,
          { epoch: this.lane.stateEpoch, seq: this.seq },
          pageSize,
        );
        if (page.outcome === "account_gone") return false;
        // Another epoch is read anew; a log that was cut cannot be gone on with: its owner has to set the webhook elsewhere.
        if (page.outcome === "cannot_calculate") {
          if (page.head.epoch === this.lane.stateEpoch) await this.fail(webhook, cut, "log");
          return page.head.epoch !== this.lane.stateEpoch;
        }
        for (const change of page.changes) {
          if (Date.now() >= until || !this.services.holds(this.fence)) return await this.keep(null);
          if (!(await this.sendOne(receiver, webhook, change, signal))) return false;
        }
        if (!page.hasMore) break;
      }
      return await this.keep(null);
    } finally {
      await this.keep(null);
      if (this.sent === "nothing") await giveBackWebhook(this.services.db, webhook);
    }
  }

  /** @returns whether the next may follow. */
  private async sendOne(receiver: Receiver, webhook: SendableWebhook, change: Change, signal: AbortSignal): Promise<boolean> {
    const { id, kinds } = webhook;
    if (kinds === null || kinds.includes(change.kind)) {
      if (this.sent === "nothing") this.sent = "something";
      const outcome = await receiver.send(messageOf(change), signal);
      count(outcome);
      if (outcome.result !== "2xx") {
        await this.fail(webhook, outcome, change.kind);
        return false;
      }
      this.deliveries.push(this.told(outcome, change.kind));
      if (this.sent !== "taken") await noteTaken(this.services.db, id);
      this.sent = "taken";
    }
    this.attempts = 0;
    this.seq = change.seq;
    return Date.now() - this.kept.at < keepEveryMs || this.keep(null);
  }

  private told(outcome: Outcome, kind: string): Delivery {
    const { accountId } = this.lane;
    return asDelivery({ accountId, seq: this.seq + 1n, kind, attempt: this.attempts + 1 }, outcome);
  }

  private async fail({ id, failures }: SendableWebhook, outcome: Outcome, kind: string): Promise<void> {
    const { log, db } = this.services;
    const { result, status, retryAfterMs } = outcome;
    const waitMs = planWebhookRetry(this.attempts, retryAfterMs, Math.random());
    this.deliveries.push(this.told(outcome, kind));
    this.attempts += 1;
    if (!(await this.keep(waitMs)) || result === "cut") return;
    // A lane that fails for the first time knows nothing of how long the receiver has been failing.
    const openMs = planWebhookRetry(Math.max(0, failures + 1 - breakerFailures), retryAfterMs, Math.random());
    const disabled = await noteFailure(db, id, { gone: result === "gone", waitMs: openMs });
    log.info({ account: this.lane.accountId, webhook: id, failure: result, status, because: disabled }, "webhook was not taken");
  }

  /** Writes down how far it has come, if it has. False: it is no longer ours to say. */
  private async keep(waitMs: number | null): Promise<boolean> {
    const { deliveries, seq, attempts } = this;
    if (deliveries.length === 0 && seq === this.kept.seq) return true;
    this.deliveries = [];
    this.kept = { seq, at: Date.now() };
    return keepProgress(this.services.db, this.fence, this.lane, { seq, attempts, waitMs, deliveries });
  }
}

/** Sends what is owed to the webhook of the account; whatever happens, what stands in the database is where to go on. @returns whether to look at it again at once. */
export const runWebhookLane = async (
  services: LaneRunServices,
  fence: Fence,
  lane: WebhookLane,
  signal: AbortSignal,
): Promise<boolean> => {
  const webhook = await takeWebhook(services.db, services.sealer, lane);
  return webhook !== null && (await new LaneRun(services, fence, lane).run(webhook, signal));
};

/** A message that says only that messages come through. Tried once. */
export const sendTestEvent = async (
  webhook: SendableWebhook,
  testId: string,
  rules: ReceiverRules,
  signal: AbortSignal,
): Promise<Delivery> => {
  using receiver = new Receiver({ ...webhook, rules });
  const body = JSON.stringify({
    type: "webhook.test",
    timestamp: new Date().toISOString(),
    data: { webhookId: formatId("whk", webhook.id) },
  });
  const outcome = await receiver.send({ id: formatId("dlv", testId), body }, signal);
  count(outcome);
  const kind = "webhook.test";
  return { ...asDelivery({ accountId: null, seq: null, kind, attempt: 1 }, outcome), id: testId };
};
