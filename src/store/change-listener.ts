/**
 * Wakes whoever follows an account's log when a transaction that wrote to it commits. A wake-up is a hint: it carries
 * nothing, may come twice, and after a lost connection everybody is woken, since notifications may have been missed.
 */
import pg from "pg";
import type { AccountId, WebhookId } from "../model/ids.ts";
import type { Logger } from "../telemetry/log.ts";
import { dbErrors } from "../telemetry/metrics.ts";

export interface ChangeListener {
  /** Resolves when the first connection listens; rejects when the listener is closed before. */
  readonly listening: Promise<void>;
  /** Calls `wake` after each commit that changed the account, until the returned function is called. `wake` must not throw. */
  subscribe(accountId: string, wake: () => void): () => void;
  /** The same for every account; null: it may be any of them. */
  subscribeAll(wake: (accountId: AccountId | null) => void): () => void;
  /** Calls `wake` when a webhook was changed or removed. */
  subscribeWebhooks(wake: (webhookId: WebhookId) => void): () => void;
  close(): Promise<void>;
}

/** PostgreSQL channel of the change log; the payload is the account's id, or nothing: for who follows all of them. */
const channel = "samebox_changes";
/** Webhooks that were changed, by id. */
const webhookChannel = "samebox_webhooks";
/** A connection that a firewall has forgotten looks open for ever; asking finds out. */
const heartbeatMs = 15_000;
const answerMs = 5_000;
const firstDelayMs = 100;
const longestDelayMs = 5_000;

class PgChangeListener implements ChangeListener {
  readonly listening: Promise<void>;
  private readonly url: string;
  private readonly log: Logger;
  private readonly wakes = new Map<string, Set<() => void>>();
  private readonly wakesOfAll = new Set<(accountId: AccountId | null) => void>();
  private readonly wakesOfWebhooks = new Set<(webhookId: WebhookId) => void>();
  private readonly stop = new AbortController();
  private readonly running: Promise<void>;
  private resolveListening: () => void = () => undefined;
  private client: pg.Client | null = null;

  constructor(url: string, log: Logger) {
    this.url = url;
    this.log = log;
    this.listening = new Promise((resolve, reject) => {
      this.resolveListening = resolve;
      this.stop.signal.addEventListener("abort", () => reject(new Error("The change listener was closed.")), { once: true });
    });
    // Nobody has to wait for it.
    this.listening.catch(() => undefined);
    this.running = this.run();
  }

  subscribe(accountId: string, wake: () => void): () => void {
    const wakes = this.wakes.get(accountId) ?? new Set();
    this.wakes.set(accountId, wakes);
    // Its own function object, so that one `wake` subscribed twice is two subscriptions.
    const entry = (): void => wake();
    wakes.add(entry);
    return () => {
      wakes.delete(entry);
      if (wakes.size === 0 && this.wakes.get(accountId) === wakes) this.wakes.delete(accountId);
    };
  }

  subscribeAll(wake: (accountId: AccountId | null) => void): () => void {
    const entry: typeof wake = (accountId) => wake(accountId);
    this.wakesOfAll.add(entry);
    return () => void this.wakesOfAll.delete(entry);
  }

  subscribeWebhooks(wake: (webhookId: WebhookId) => void): () => void {
    const entry: typeof wake = (webhookId) => wake(webhookId);
    this.wakesOfWebhooks.add(entry);
    return () => void this.wakesOfWebhooks.delete(entry);
  }

  async close(): Promise<void> {
    this.stop.abort();
    await this.client?.end().catch(() => undefined);
    await this.running;
  }

  private wake(accountId: string): void {
    for (const wake of this.wakesOfAll) wake(accountId === "" ? null : (accountId as AccountId));
    for (const wake of this.wakes.get(accountId) ?? []) wake();
  }

  private wakeAll(): void {
    this.wake("");
    // oxlint-disable-next-line no-useless-spread -- who is woken may wait again at once, and would be met again
    for (const accountId of [...this.wakes.keys()]) this.wake(accountId);
  }

  private async run(): Promise<void> {
    let delay = firstDelayMs;
    while (!this.stop.signal.aborted) {
      try {
        await this.listenOnce(() => (delay = firstDelayMs));
      } catch (err) {
        if (this.stop.signal.aborted) return;
        dbErrors.inc({ class: "listen" });
        this.log.warn({ err }, "change listener lost its connection");
      }
      // Full jitter, so that many daemons do not come back to a restarted database in one instant.
      await wait(Math.random() * delay, this.stop.signal);
      delay = Math.min(delay * 2, longestDelayMs);
    }
  }

  /** Listens until the connection is lost, which is an error, or the listener is closed. */
  private async listenOnce(onListening: () => void): Promise<void> {
    const client = new pg.Client({
      connectionString: this.url,
      application_name: "samebox changes",
      connectionTimeoutMillis: answerMs,
      query_timeout: answerMs,
      keepAlive: true,
    });
    const lost = new Promise<never>((_, reject) => {
      client.on("error", reject);
      client.on("end", () => reject(new Error("Connection terminated")));
    });
    // It may be lost before anybody waits for it.
    lost.catch(() => undefined);
    client.on("notification", ({ channel: from, payload = "" }) => {
      if (from === channel) this.wake(payload);
      else for (const wake of this.wakesOfWebhooks) wake(payload as WebhookId);
    });
    this.client = client;
    try {
      await client.connect();
      await client.query(`listen ${channel}; listen ${webhookChannel}`);
      this.resolveListening();
      onListening();
      this.wakeAll();
      while (!this.stop.signal.aborted) {
        await Promise.race([wait(heartbeatMs, this.stop.signal), lost]);
        if (!this.stop.signal.aborted) await client.query("select 1");
      }
    } finally {
      this.client = null;
      await client.end().catch(() => undefined);
    }
  }
}

/** Resolves after `ms` milliseconds, or at once when the signal aborts. */
const wait = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done, { once: true });
  });

/** Opens one connection of its own to `url` and keeps it open. It must reach PostgreSQL itself: a transaction pooler cannot listen. */
export const openChangeListener = (options: { readonly url: string; readonly log: Logger }): ChangeListener =>
  new PgChangeListener(options.url, options.log);
