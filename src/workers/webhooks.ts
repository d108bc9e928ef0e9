/**
 * Sends what webhooks are owed, for the accounts whose shards this process owns: one account's changes to one webhook in one
 * lane, many lanes at once. What is owed is found in the database, at a wake-up of the log and in a sweep; nothing of it is
 * kept here, and no pass ever waits for a receiver.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Fence } from "../model/account.ts";
import type { AccountId, TenantId, WebhookId } from "../model/ids.ts";
import type { ChangeListener } from "../store/change-listener.ts";
import {
  forgetDeliveries,
  listAskedTests,
  listDueLanes,
  noteTest,
  readWebhookFigures,
  takeTest,
  type WebhookLane,
} from "../store/webhook-lanes.ts";
import { webhookEndpoints, webhookOldestPending } from "../telemetry/metrics.ts";
import { type LaneRunServices, runWebhookLane, sendTestEvent } from "./webhook-lane.ts";

/** Between two looks at everything, in ms: what waits for a retry is due then, and what no wake-up told of. */
const sweepMs = 5_000;
/** The same while some get no turn, of which a look knows only a part. */
const crowdedSweepMs = 1_000;
/** Wake-ups that come within so many ms are one. */
const gatherMs = 50;
/**
 * Lanes at once: of one webhook, and of all. A receiver that hangs holds no more than its own, and a tenant no more than it leaves
 * free (dynamic thresholds, Choudhury and Hahne 1998): whoever comes next finds some.
 */
const mostOfOne = 4;
const mostAtOnce = 64;

export interface WebhookSenderOptions extends LaneRunServices {
  readonly changes: Pick<ChangeListener, "subscribeAll" | "subscribeWebhooks">;
  readonly shards: number;
  readonly fences: () => readonly Fence[];
}

const keyOf = ({ webhookId, accountId }: WebhookLane): string => `${webhookId} ${accountId}`;

interface Running {
  readonly webhookId: WebhookId;
  readonly tenantId: TenantId;
  readonly done: Promise<void>;
  /** Breaks it off: the webhook is not what it was. */
  readonly outdated: AbortController;
}

export class WebhookSender {
  readonly #options: WebhookSenderOptions;
  readonly #stopping = new AbortController();
  readonly #running = new Map<string, Running>();
  /** Accounts with news since the last look; null: any account may have some. */
  #woken: Set<AccountId> | null = null;
  /** Accounts with a lane that got no turn. */
  readonly #waiting = new Set<AccountId>();
  /** Some lane got no turn at the last look at everything. */
  #crowded = false;
  #rung = Promise.withResolvers<void>();
  readonly #unsubscribe: (() => void)[] = [];
  #looping: Promise<void> = Promise.resolve();

  constructor(options: WebhookSenderOptions) {
    this.#options = options;
  }

  start(): void {
    const { changes } = this.#options;
    this.#unsubscribe.push(
      changes.subscribeAll((accountId) => this.#ring(accountId)),
      changes.subscribeWebhooks((webhookId) => this.#outdate(webhookId)),
    );
    this.#looping = this.#loop();
  }

  /** Ends what is under way: what was not taken by then is sent again by whoever owns the shard next. Harmless when repeated. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    this.#rung.resolve();
    await this.#looping;
    await Promise.all([...this.#running.values()].map(({ done }) => done));
  }

  /** Twice a minute, by the owner of shard 0: figures of all webhooks, and what nobody asks for any more. */
  async housekeeping(): Promise<void> {
    const { states, oldestPendingSeconds } = await readWebhookFigures(this.#options.db);
    for (const [state, count] of Object.entries(states)) webhookEndpoints.set({ state }, count);
    webhookOldestPending.set(oldestPendingSeconds);
    await forgetDeliveries(this.#options.db);
  }

  #ring(accountId: AccountId | null): void {
    if (accountId === null) this.#woken = null;
    else this.#woken?.add(accountId);
    this.#rung.resolve();
  }

  /** What is under way to it goes on as it is now: to another address, under other secrets, or not at all. */
  #outdate(webhookId: WebhookId): void {
    for (const running of this.#running.values()) if (running.webhookId === webhookId) running.outdated.abort();
    this.#ring(null);
  }

  async #loop(): Promise<void> {
    const { signal } = this.#stopping;
    let sweptAt = 0;
    while (!signal.aborted) {
      const now = Date.now();
      if (now - sweptAt >= (this.#crowded ? crowdedSweepMs : sweepMs)) this.#woken = null;
      const among = this.#woken === null ? null : [...this.#woken];
      if (among === null) {
        sweptAt = now;
        this.#crowded = false;
        this.#waiting.clear();
      }
      this.#woken = new Set();
      this.#rung = Promise.withResolvers();
      await this.#look(among).catch((err: unknown) => this.#options.log.warn({ err }, "webhooks could not be looked after"));
      const untilNext = this.#crowded ? crowdedSweepMs : sweepMs;
      await Promise.race([this.#rung.promise, sleep(untilNext, undefined, { signal }).catch(() => undefined)]);
      await sleep(gatherMs, undefined, { signal }).catch(() => undefined);
    }
  }

  async #look(among: readonly AccountId[] | null): Promise<void> {
    const { db, shards, fences } = this.#options;
    const owned = new Map(fences().map((fence) => [fence.shard, fence]));
    if (!owned.has(0)) {
      // Another process tells of all webhooks now.
      webhookEndpoints.reset();
      webhookOldestPending.set(0);
    }
    if (owned.size === 0) return;
    if (among === null) await this.#sendTests();
    if (among?.length === 0) return;
    // A lane that ends while the list is read may stand there as it was; its end is rung for.
    const busy = new Set(this.#running.keys());
    for (const lane of await listDueLanes(db, { shards, owned: [...owned.keys()] }, among)) {
      const fence = owned.get(lane.virtualShard % shards);
      if (fence === undefined || busy.has(keyOf(lane)) || this.#begin(fence, lane)) continue;
      this.#waiting.add(lane.accountId);
      if (among === null) this.#crowded = true;
    }
  }

  #hasTurn({ tenantId }: Pick<Running, "tenantId">): boolean {
    const ofTenant = [...this.#running.values()].filter((running) => running.tenantId === tenantId).length;
    return ofTenant < mostAtOnce - this.#running.size;
  }

  /** @returns whether it has its turn. */
  #begin(fence: Fence, lane: WebhookLane): boolean {
    const key = keyOf(lane);
    const ofWebhook = [...this.#running.values()].filter(({ webhookId }) => webhookId === lane.webhookId).length;
    if (ofWebhook >= mostOfOne || !this.#hasTurn(lane)) return false;
    this.#track(
      key,
      lane,
      (signal) => runWebhookLane(this.#options, fence, lane, signal),
      () => {
        for (const accountId of [lane.accountId, ...this.#waiting]) this.#ring(accountId);
        this.#waiting.clear();
      },
    );
    return true;
  }

  /** What failed, or was found to be another's, waits for the sweep: it would fail at once again. */
  #track(
    key: string,
    { webhookId, tenantId }: Pick<Running, "webhookId" | "tenantId">,
    work: (signal: AbortSignal) => Promise<boolean>,
    onDone: () => void,
  ): void {
    const outdated = new AbortController();
    const signal = AbortSignal.any([this.#stopping.signal, outdated.signal]);
    const done = work(signal)
      .catch((err: unknown) => {
        if (!signal.aborted) this.#options.log.warn({ err, webhook: webhookId }, "webhook lane gave up");
        return false;
      })
      .then((well) => {
        this.#running.delete(key);
        if (well || outdated.signal.aborted) onDone();
      });
    this.#running.set(key, { webhookId, tenantId, done, outdated });
  }

  async #sendTests(): Promise<void> {
    const { db, sealer, rules, log } = this.#options;
    const { tests, refused } = await listAskedTests(db, sealer);
    if (refused.length > 0) log.warn({ webhooks: refused }, "secrets of webhooks cannot be opened: no test events for them");
    for (const { webhook, testId } of tests) {
      if (!this.#hasTurn(webhook) || !(await takeTest(db, webhook, testId))) continue;
      // Tried once: not broken off, whatever becomes of the webhook.
      const send = async (): Promise<boolean> => {
        await noteTest(db, webhook, await sendTestEvent(webhook, testId, rules, this.#stopping.signal));
        return true;
      };
      this.#track(testId, { webhookId: webhook.id, tenantId: webhook.tenantId }, send, () => undefined);
    }
  }
}
