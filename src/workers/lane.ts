/**
 * The lane of one account: its session, what it remembers, and the rule that only one pass runs at a time, whatever the
 * queue believes. A lane can be dropped at any moment; PostgreSQL has everything that counts.
 */
import type { Because, Fence } from "../model/account.ts";
import type { Session } from "../endpoints/endpoint.ts";
import type { EndpointProfile } from "../model/endpoint.ts";
import { SyncError } from "../model/failure.ts";
import type { AccountId, EndpointId } from "../model/ids.ts";
import { AccountGoneError, inAccount } from "../store/account-tx.ts";
import {
  type AccountState,
  countBound,
  type EndpointHealth,
  type EndpointState,
  readAccountState,
  writeHealth,
} from "../store/account-state.ts";
import { FencedError } from "../store/leases.ts";
import { hasCandidates } from "../store/candidates.ts";
import type { Logger } from "../telemetry/log.ts";
import { passDuration, passes } from "../telemetry/metrics.ts";
import { planRetry, planSweep } from "./backoff.ts";
import { backfillPending } from "./backfill.ts";
import type { LaneServices } from "./lane-services.ts";
import type { LaneContext } from "./lane-state.ts";
import { type PassMemory, runPass } from "./pass.ts";
import { refreshMailboxes } from "./tree.ts";

/** A session that ended sooner counts as a failure, so that a server which drops every client is not hammered. */
const shortSessionMs = 60_000;

interface Loaded {
  readonly account: AccountState;
  readonly endpoint: EndpointState;
  readonly context: LaneContext;
  readonly memory: PassMemory;
}

export class AccountLane {
  readonly accountId: AccountId;
  /** When the account should be looked at next, in ms since 1970; infinity while parked or paused. */
  dueAt = 0;
  /** When a hint was rung that no pass has answered yet; 0: none. */
  rungAt = 0;
  /** Last quiet success, for the batched note in the store. */
  succeededAt = 0;
  private readonly fence: Fence;
  private readonly services: LaneServices;
  private readonly log: Logger;
  private loaded: Loaded | null = null;
  private session: Session | null = null;
  private openedAt = 0;
  /** When the last look at everything began. */
  private sweptAt = 0;
  /** Sweeps in a row that found nothing the server had not told. */
  private quietSweeps = 0;
  private watching: readonly string[] = [];
  private health: EndpointHealth | null = null;
  private news: Set<string> | null = null;
  private newsEverywhere = true;
  private running: Promise<unknown> = Promise.resolve();
  private stopped = false;

  constructor(accountId: AccountId, fence: Fence, services: LaneServices) {
    this.accountId = accountId;
    this.fence = fence;
    this.services = services;
    this.log = services.log.child({ account: accountId });
  }

  get state(): string {
    return this.health?.syncState ?? "connecting";
  }

  get endpointId(): EndpointId | null {
    return this.loaded?.endpoint.id ?? null;
  }

  /** Runs one pass when there is reason to; never rejects for a failure of the outside world. */
  run(because: Because, signal: AbortSignal): Promise<"done" | "again"> {
    const turn = this.running.then(() => this.runAlone(because, signal));
    this.running = turn.catch(() => undefined);
    return turn;
  }

  /** Ends the session; the lane runs nothing afterwards. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.dueAt = Number.POSITIVE_INFINITY;
    await this.dropSession();
    await this.running;
    await this.dropSession();
  }

  private async runAlone(because: Because, signal: AbortSignal): Promise<"done" | "again"> {
    this.rungAt = 0;
    if (this.stopped || signal.aborted) return "done";
    const began = performance.now();
    try {
      if (because === "api" || because === "changed" || because === "created" || this.loaded === null) await this.load();
      if (this.loaded === null || !this.mayRun(because)) return "done";
      const again = await this.pass(this.loaded, because, signal);
      passes.inc({ trigger: because, result: "ok" });
      return again;
    } catch (error) {
      passes.inc({ trigger: because, result: signal.aborted ? "stopped" : "failed" });
      await this.failed(error, signal);
      return "done";
    } finally {
      passDuration.observe({ trigger: because }, (performance.now() - began) / 1000);
    }
  }

  /** Reads the account anew; keeps the session when nothing about its endpoint changed. */
  private async load(): Promise<void> {
    const { db } = this.services;
    const account = await readAccountState(db, this.accountId);
    const endpoint = account?.endpoints.find((candidate) => candidate.settings.protocol === "imap");
    if (account === null || account.deleted || endpoint === undefined) {
      await this.dropSession();
      this.loaded = null;
      this.dueAt = Number.POSITIVE_INFINITY;
      return;
    }
    const before = this.loaded;
    const same =
      before !== null &&
      before.endpoint.credentialsVersion === endpoint.credentialsVersion &&
      JSON.stringify(before.endpoint.settings) === JSON.stringify(endpoint.settings);
    if (before !== null && same) {
      const context: LaneContext = { ...before.context, policy: account.policy };
      this.loaded = { ...before, account, endpoint, context };
      if (this.health !== null)
        this.health = {
          ...this.health,
          syncState: account.syncState,
          attempts: endpoint.attempts,
          nextAttemptAt: endpoint.nextAttemptAt,
        };
      return;
    }
    await this.dropSession();
    const context: LaneContext = {
      db,
      log: this.log.child({ endpoint: endpoint.id, protocol: "imap" }),
      fence: this.fence,
      accountId: account.id,
      tenantId: account.tenantId,
      endpointId: endpoint.id,
      policy: account.policy,
      mailboxes: new Map(),
    };
    await refreshMailboxes(context, await countBound(db, account.id, endpoint.id));
    const candidates = await inAccount(db, this.fence, account.id, hasCandidates);
    this.loaded = {
      account,
      endpoint,
      context,
      memory: { treePrint: "", treeWaiting: false, candidates, unparsed: true, fullPollAt: Date.now() },
    };
    this.health = {
      syncState: account.syncState,
      lastError: endpoint.lastError,
      attempts: endpoint.attempts,
      nextAttemptAt: endpoint.nextAttemptAt,
      lastSuccessAt: null,
      profile: endpoint.profile,
    };
    this.newsEverywhere = true;
  }

  private mayRun(because: Because): boolean {
    const { loaded, health } = this;
    if (loaded === null || health === null) return false;
    if (loaded.account.paused) {
      this.dueAt = Number.POSITIVE_INFINITY;
      void this.dropSession();
      return false;
    }
    const parked =
      health.nextAttemptAt === null &&
      health.attempts > 0 &&
      (loaded.account.syncState === "needs_reauth" || health.syncState === "needs_reauth");
    if (parked && because !== "changed") {
      this.dueAt = Number.POSITIVE_INFINITY;
      return false;
    }
    const wait = health.nextAttemptAt?.getTime() ?? 0;
    if (wait > Date.now() && because !== "changed" && because !== "api") {
      this.dueAt = wait;
      return false;
    }
    return true;
  }

  private async pass(loaded: Loaded, because: Because, signal: AbortSignal): Promise<"done" | "again"> {
    const session = await this.openSession(loaded, signal);
    // Listening begins before looking, so that nothing falls between the two.
    if (this.watching.length === 0) await this.startWatch(session, signal);
    const untold = because === "sweep" && !this.newsEverywhere && this.news === null;
    const news = this.takeNews(because);
    // Somebody asks: flags that only a whole listing shows are looked for too.
    if (because === "api") loaded.memory.fullPollAt = 0;
    const result = await runPass({
      context: loaded.context,
      session,
      memory: loaded.memory,
      news,
      watching: this.watching.length > 0,
      bulkTurn: this.services.bulkTurn,
      signal,
    });
    if (untold) this.quietSweeps = result.moved > 0 ? 0 : this.quietSweeps + 1;
    await this.succeeded(loaded, session.profile, result.again);
    loaded.memory.unparsed ||= result.created > 0 || result.again;
    if (loaded.memory.unparsed && !result.again) {
      loaded.memory.unparsed = false;
      this.services.onUnparsed(loaded.account);
    }
    const heard = this.newsEverywhere || this.news !== null;
    return result.again || heard ? "again" : "done";
  }

  private takeNews(because: Because): readonly string[] | null {
    const isDue = because === "sweep" || because === "api" || this.dueAt <= Date.now();
    const news = this.newsEverywhere || isDue ? null : [...(this.news ?? [])];
    this.news = null;
    this.newsEverywhere = false;
    if (news === null) this.sweptAt = Date.now();
    return news;
  }

  private async openSession(loaded: Loaded, signal: AbortSignal): Promise<Session> {
    if (this.session?.usable === true) return this.session;
    await this.dropSession();
    this.newsEverywhere = true;
    const { services } = this;
    const credentials = await services.unseal(loaded.account, loaded.endpoint);
    const profile = this.health?.profile ?? loaded.endpoint.profile;
    this.session = await services.connectTurn(() =>
      services.driver.open({ settings: loaded.endpoint.settings, credentials, profile, log: loaded.context.log }, signal),
    );
    this.openedAt = Date.now();
    return this.session;
  }

  private async startWatch(session: Session, signal: AbortSignal): Promise<void> {
    const { watching } = await session.watch(
      {
        onNews: (path) => {
          if (path === null) this.newsEverywhere = true;
          else (this.news ??= new Set()).add(path);
          this.services.ring(this.accountId, "push");
        },
        onLost: (error) => this.lost(session, error),
      },
      signal,
    );
    this.watching = watching;
  }

  /** The connection went without our asking: come back at once after a long session, with patience after a short one. */
  private lost(session: Session, error: Error): void {
    if (this.session !== session || this.stopped) return;
    this.session = null;
    this.watching = [];
    this.log.info({ err: error }, "connection lost");
    if (Date.now() - this.openedAt >= shortSessionMs) this.services.ring(this.accountId, "reconnect");
    else this.dueAt = Math.min(this.dueAt, Date.now() + this.services.retryTimes.transientFirstMs);
    void session.close();
  }

  private async dropSession(): Promise<void> {
    const { session } = this;
    this.session = null;
    this.watching = [];
    await session?.close();
  }

  private async succeeded(loaded: Loaded, profile: EndpointProfile, again: boolean): Promise<void> {
    // Counted from the last sweep: a long first reading, or a busy INBOX, must not put off the look at the rest for ever.
    this.dueAt =
      this.sweptAt +
      planSweep({
        pollMs: this.services.pollMs,
        waiting: loaded.memory.candidates || loaded.memory.treeWaiting,
        toldOfAll: profile.push === "notify" && this.watching.length > 0,
        quietSweeps: this.quietSweeps,
      });
    this.succeededAt = Date.now();
    const syncState = again || backfillPending(loaded.context) ? "backfilling" : "live";
    const { health } = this;
    const quiet =
      health !== null &&
      health.syncState === syncState &&
      health.lastError === null &&
      health.attempts === 0 &&
      JSON.stringify(health.profile) === JSON.stringify(profile);
    if (quiet) return;
    await this.writeHealth(loaded, {
      syncState,
      lastError: null,
      attempts: 0,
      nextAttemptAt: null,
      lastSuccessAt: new Date(),
      profile,
    });
  }

  private async writeHealth(loaded: Loaded, health: EndpointHealth): Promise<void> {
    const at = new Date();
    await inAccount(this.services.db, this.fence, this.accountId, (account) =>
      writeHealth(account, loaded.endpoint.id, health, at),
    );
    this.health = health;
  }

  private async failed(error: unknown, signal: AbortSignal): Promise<void> {
    const { loaded } = this;
    await this.dropSession();
    if (error instanceof FencedError || error instanceof AccountGoneError || this.stopped) {
      this.loaded = null;
      this.dueAt = Number.POSITIVE_INFINITY;
      return;
    }
    if (signal.aborted) {
      this.loaded = null;
      return;
    }
    // Memory may be ahead of a transaction that did not commit: read it anew next time.
    this.loaded = null;
    if (!(error instanceof SyncError) || loaded === null) {
      this.log.error({ err: error }, "pass gave up");
      this.dueAt = Date.now() + this.services.retryTimes.transientFirstMs;
      return;
    }
    const { attempts = 0, lastError: before = null } = this.health ?? {};
    // Only refusals in a row lead to parking: a server that was down before says nothing of the password.
    const inARow = error.kind === "credential" && before?.code !== error.code ? 0 : attempts;
    const retry = planRetry(error, inARow, Math.random(), this.services.retryTimes);
    const nextAttemptAt = retry.waitMs === null ? null : new Date(Date.now() + retry.waitMs);
    this.dueAt = nextAttemptAt?.getTime() ?? Number.POSITIVE_INFINITY;
    this.log.warn({ failure: error.kind, scope: error.scope, err: error }, "pass failed");
    const { code, message, action } = error;
    const profile = this.health?.profile ?? loaded.endpoint.profile;
    try {
      await this.writeHealth(loaded, {
        syncState: retry.syncState,
        lastError: { code, message, action, at: new Date().toISOString() },
        attempts: retry.attempts,
        nextAttemptAt,
        lastSuccessAt: null,
        profile,
      });
    } catch (err) {
      this.log.error({ err }, "health could not be written");
    }
  }
}
