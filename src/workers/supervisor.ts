/**
 * Owns shards: keeps the heartbeat, takes and gives back leases, answers the bell of each shard it owns, and rings again
 * for accounts that are due, since the queue may forget everything at any time.
 */
import { hostname } from "node:os";
import pLimit from "p-limit";
import { uuidv7 } from "uuidv7";
import type { Because, Fence } from "../model/account.ts";
import type { AccountId, ProcessId } from "../model/ids.ts";
import type { Answering, Bell, Hint } from "../queue/bell.ts";
import { listShardAccounts, noteSuccesses } from "../store/account-state.ts";
import { balanceLeases, enrol, heartbeat, resign, virtualShardOf } from "../store/leases.ts";
import { accounts, leasesHeld, leasesLost, queueJobs, sweeperRequeued } from "../telemetry/metrics.ts";
import { AccountLane } from "./lane.ts";
import type { LaneServices } from "./lane-services.ts";

export interface SupervisorOptions {
  readonly bell: Bell;
  readonly shards: number;
  readonly leaseSeconds: number;
  /** Nobody else can be alive on this database: leases left by a crash are void at once. */
  readonly alone: boolean;
  readonly services: Omit<LaneServices, "ring">;
  /** Called about twice a minute by one owner of shards: housekeeping of the store. */
  readonly housekeeping: () => Promise<void>;
}

/** A hint nobody answered for this long was lost by the queue. */
const hintPatienceMs = 30_000;
const tickMs = 500;
const refreshMs = 30_000;
/** Passes run directly, while the queue is out of reach. */
const inlinePasses = 4;

interface OwnedShard {
  readonly fence: Fence;
  readonly answering: Answering;
  readonly lanes: Map<AccountId, AccountLane>;
}

export class Supervisor {
  private readonly id = uuidv7() as ProcessId;
  private readonly options: SupervisorOptions;
  private readonly owned = new Map<number, OwnedShard>();
  private readonly inline = pLimit(inlinePasses);
  private readonly stopping = new AbortController();
  private beatTimer: NodeJS.Timeout | null = null;
  private tickTimer: NodeJS.Timeout | null = null;
  private lastBeat = 0;
  private lastRefresh = 0;
  private balancing: Promise<void> = Promise.resolve();
  private refreshing = false;

  constructor(options: SupervisorOptions) {
    this.options = options;
  }

  async start(): Promise<void> {
    const { services, leaseSeconds, alone } = this.options;
    const began = Date.now();
    await enrol(services.db, { id: this.id, host: hostname(), ttlSeconds: leaseSeconds, alone });
    this.lastBeat = began;
    await this.balance();
    this.beatTimer = setInterval(() => void this.beat(), (leaseSeconds * 1000) / 3);
    this.tickTimer = setInterval(() => void this.tick(), tickMs);
  }

  /** The shards that are ours now. */
  fences(): readonly Fence[] {
    return [...this.owned.values()].map(({ fence }) => fence);
  }

  /** Is the shard still ours, and under this very lease? Not, as far as is known, after a sleep that the lease did not outlast. */
  holds(fence: Fence): boolean {
    const alive = Date.now() - this.lastBeat < this.options.leaseSeconds * 1000;
    return alive && this.owned.get(fence.shard)?.fence.epoch === fence.epoch;
  }

  /** Stops passes at their next safe point and gives the shards back. Harmless when called twice or before start. */
  async stop(): Promise<void> {
    if (this.stopping.signal.aborted) return;
    this.stopping.abort();
    if (this.beatTimer !== null) clearInterval(this.beatTimer);
    if (this.tickTimer !== null) clearInterval(this.tickTimer);
    await this.balancing;
    await Promise.all([...this.owned.keys()].map((shard) => this.letGo(shard)));
    await resign(this.options.services.db, this.id).catch((err: unknown) =>
      this.options.services.log.warn({ err }, "leases run out by themselves"),
    );
  }

  private async beat(): Promise<void> {
    const { services, leaseSeconds } = this.options;
    try {
      // The lease runs from some moment after this one.
      let began = Date.now();
      if (!(await heartbeat(services.db, this.id, leaseSeconds))) {
        // Our row ran out: every shard may have a new owner. Start over under the same name.
        leasesLost.inc(this.owned.size);
        await this.letAllGo();
        began = Date.now();
        await enrol(services.db, { id: this.id, host: hostname(), ttlSeconds: leaseSeconds, alone: false });
      }
      this.lastBeat = began;
      await this.balance();
    } catch (err) {
      services.log.warn({ err }, "heartbeat failed");
      // Self-fencing: whoever cannot renew may have lost everything already.
      if (Date.now() - this.lastBeat > (leaseSeconds * 1000) / 2 && this.owned.size > 0) {
        leasesLost.inc(this.owned.size);
        await this.letAllGo();
      }
    }
  }

  private balance(): Promise<void> {
    this.balancing = this.balancing.then(async () => {
      if (this.stopping.signal.aborted) return;
      const fences = await balanceLeases(this.options.services.db, this.id);
      const held = new Map(fences.map((fence) => [fence.shard, fence]));
      for (const [shard, own] of this.owned) if (held.get(shard)?.epoch !== own.fence.epoch) await this.letGo(shard);
      await Promise.all(fences.filter((fence) => !this.owned.has(fence.shard)).map((fence) => this.takeOver(fence)));
      leasesHeld.set(this.owned.size);
    });
    return this.balancing;
  }

  private async takeOver(fence: Fence): Promise<void> {
    const { bell, services, shards } = this.options;
    const lanes = new Map<AccountId, AccountLane>();
    for (const id of await listShardAccounts(services.db, fence.shard, shards)) lanes.set(id, this.makeLane(id, fence));
    const answering = await bell.answer(fence.shard, async (hint, signal) => {
      let lane = lanes.get(hint.accountId);
      if (lane === undefined) lanes.set(hint.accountId, (lane = this.makeLane(hint.accountId, fence)));
      return lane.run(hint.because, signal);
    });
    this.owned.set(fence.shard, { fence, answering, lanes });
    // The housekeeping goes with it, and is begun at once: a daemon may have been started for its sake (a new key).
    if (fence.shard === 0) this.lastRefresh = 0;
    this.ringMany(
      fence.shard,
      [...lanes.keys()].map((accountId) => ({ accountId, because: "recovery" })),
    );
  }

  private makeLane(accountId: AccountId, fence: Fence): AccountLane {
    return new AccountLane(accountId, fence, { ...this.options.services, ring: (id, because) => this.ring(id, because) });
  }

  private async letGo(shard: number): Promise<void> {
    const own = this.owned.get(shard);
    if (own === undefined) return;
    this.owned.delete(shard);
    leasesHeld.set(this.owned.size);
    // The handlers' signals end the passes; the lanes then close their sessions.
    await own.answering.close(8_000);
    await Promise.all([...own.lanes.values()].map((lane) => lane.stop()));
  }

  private async letAllGo(): Promise<void> {
    await Promise.all([...this.owned.keys()].map((shard) => this.letGo(shard)));
  }

  /** Rings for an account of ours. */
  private ring(accountId: AccountId, because: Because): void {
    const shard = virtualShardOf(accountId) % this.options.shards;
    const lane = this.owned.get(shard)?.lanes.get(accountId);
    if (lane === undefined) return;
    if (lane.rungAt === 0) lane.rungAt = Date.now();
    this.options.bell
      .ring(shard, { accountId, because })
      .catch((err: unknown) => this.runInline(shard, [{ accountId, because }], err));
  }

  private ringMany(shard: number, hints: Hint[]): void {
    if (hints.length === 0) return;
    const lanes = this.owned.get(shard)?.lanes;
    for (const hint of hints) {
      const lane = lanes?.get(hint.accountId);
      if (lane !== undefined) lane.rungAt = Date.now();
    }
    this.options.bell.ringMany(shard, hints).catch((err: unknown) => this.runInline(shard, hints, err));
  }

  /** The queue is out of reach: mail is read all the same, a few accounts at a time. */
  private runInline(shard: number, hints: readonly Hint[], err: unknown): void {
    this.options.services.log.warn({ err, count: hints.length }, "queue out of reach, running passes directly");
    for (const { accountId, because } of hints) {
      const lane = this.owned.get(shard)?.lanes.get(accountId);
      if (lane === undefined) continue;
      void this.inline(async () => {
        while ((await lane.run(because, this.stopping.signal)) === "again" && !this.stopping.signal.aborted);
      });
    }
  }

  private async tick(): Promise<void> {
    const now = Date.now();
    const states = new Map<string, number>();
    for (const [shard, own] of this.owned) {
      const due: Hint[] = [];
      for (const [accountId, lane] of own.lanes) {
        states.set(lane.state, (states.get(lane.state) ?? 0) + 1);
        if (lane.rungAt > 0) {
          if (now - lane.rungAt < hintPatienceMs) continue;
          sweeperRequeued.inc();
          await this.options.bell.forget(shard, accountId).catch(() => undefined);
          due.push({ accountId, because: "recovery" });
        } else if (lane.claimDue(now)) {
          due.push({ accountId, because: "sweep" });
        }
      }
      this.ringMany(shard, due);
    }
    accounts.reset();
    for (const [state, count] of states) accounts.set({ state }, count);
    if (now - this.lastRefresh < refreshMs || this.refreshing) return;
    this.lastRefresh = now;
    this.refreshing = true;
    await this.refresh().catch((err: unknown) => this.options.services.log.warn({ err }, "refresh failed"));
    this.refreshing = false;
  }

  /** Finds accounts nobody rang for, notes quiet successes, and shows how full the queues are. */
  private async refresh(): Promise<void> {
    const { services, shards, bell } = this.options;
    const depth = { waiting: 0, active: 0, delayed: 0 };
    const successes: Parameters<typeof noteSuccesses>[1][number][] = [];
    for (const [shard, own] of this.owned) {
      const listed = new Set(await listShardAccounts(services.db, shard, shards));
      const missing = [...listed].filter((id) => !own.lanes.has(id));
      for (const id of missing) own.lanes.set(id, this.makeLane(id, own.fence));
      this.ringMany(
        shard,
        missing.map((accountId) => ({ accountId, because: "recovery" })),
      );
      for (const [id, lane] of own.lanes) {
        if (!listed.has(id)) {
          own.lanes.delete(id);
          await lane.stop();
          continue;
        }
        successes.push(...lane.takeSuccesses());
      }
      const found = await bell.depth(shard).catch(() => null);
      if (found !== null) for (const state of ["waiting", "active", "delayed"] as const) depth[state] += found[state];
    }
    await noteSuccesses(services.db, successes);
    for (const state of ["waiting", "active", "delayed"] as const) queueJobs.set({ state }, depth[state]);
    if (this.owned.has(0)) await this.options.housekeeping();
  }
}
