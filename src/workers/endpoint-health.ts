/** The health of one endpoint as its lane keeps it: may it run, how it went, when to come back. */
import { isDeepStrictEqual } from "node:util";
import type { Because, Fence, SyncState } from "../model/account.ts";
import type { EndpointProfile } from "../model/endpoint.ts";
import { SyncError } from "../model/failure.ts";
import type { AccountId, EndpointId } from "../model/ids.ts";
import type { Pop3Sign } from "../model/pop3-devices.ts";
import { AccountGoneError, inAccount } from "../store/account-tx.ts";
import { type EndpointHealth, type EndpointState, isSameAccess, readAccountState, writeHealth } from "../store/account-state.ts";
import { defineInput, ingestOwned } from "../store/inputs.ts";
import { FencedError } from "../store/leases.ts";
import { notePop3Sign } from "../store/pop3-evidence.ts";
import type { Logger } from "../telemetry/log.ts";
import { planRetry } from "./backoff.ts";
import type { LaneServices } from "./lane-services.ts";
import { Trouble } from "./trouble.ts";

/** What all lanes of an account work with. */
export interface LaneGround {
  readonly accountId: AccountId;
  readonly fence: Fence;
  readonly services: LaneServices;
  readonly log: Logger;
}

/** Failures in a row after which an endpoint counts as down: about a quarter of a minute with the usual waits. */
const downAfter = 3;

interface Went {
  readonly endpointId: EndpointId;
  readonly health: EndpointHealth;
  /** What a failure tells of POP3 devices (K6). */
  readonly sign: Pop3Sign | null;
}

const endpointWent = defineInput("observation", "endpoint.health", async (account, { endpointId, health, sign }: Went) => {
  await writeHealth(account, endpointId, health);
  if (sign !== null) await notePop3Sign(account, sign);
});

export class HealthBook {
  readonly trouble = new Trouble();
  private readonly ground: LaneGround;
  private endpoint: EndpointState | null = null;
  private health: EndpointHealth | null = null;
  /** No pass with these settings has ended yet. */
  private isUntried = false;

  constructor(ground: LaneGround) {
    this.ground = ground;
  }

  get state(): SyncState {
    return this.health?.syncState ?? "connecting";
  }

  /** Cannot be reached: several tries in a row have failed, or none is made until a person changes something. */
  get isDown(): boolean {
    const { state } = this;
    return (this.health?.attempts ?? 0) >= downAfter || state === "needs_reauth" || state === "needs_attention";
  }

  /** As last learned. */
  get profile(): EndpointProfile {
    return this.health?.profile ?? this.endpoint?.profile ?? {};
  }

  /**
   * Takes what the store says; a person may have changed it.
   * @returns whether somebody did: other settings or credentials than before, or another time to come back.
   */
  take(endpoint: EndpointState): boolean {
    const { syncState, lastError, attempts, nextAttemptAt, profile } = endpoint;
    const isOther = this.endpoint !== null && !isSameAccess(this.endpoint, endpoint);
    const isMeantSooner = this.health !== null && this.health.nextAttemptAt?.getTime() !== nextAttemptAt?.getTime();
    this.isUntried ||= isOther;
    this.endpoint = endpoint;
    if (lastError !== null) this.trouble.noteFailure(lastError.code, Date.parse(lastError.at));
    this.health = { syncState, lastError, attempts, nextAttemptAt, lastSuccessAt: null, profile };
    return isOther || isMeantSooner;
  }

  /** When a pass may run, in ms since 1970; 0: now; infinity while parked or paused. */
  mayRunAt(paused: boolean, because: Because): number {
    const { health } = this;
    if (paused || health === null) return Number.POSITIVE_INFINITY;
    // The hint of a change may have given way to another.
    const isChanged = because === "changed" || this.isUntried;
    const parked = health.nextAttemptAt === null && health.attempts > 0 && health.syncState === "needs_reauth";
    if (parked && !isChanged) return Number.POSITIVE_INFINITY;
    const wait = health.nextAttemptAt?.getTime() ?? 0;
    return wait > Date.now() && !isChanged && because !== "api" ? wait : 0;
  }

  /** Writes only what is news. */
  async succeeded(syncState: SyncState, profile: EndpointProfile): Promise<void> {
    const { health } = this;
    this.isUntried = false;
    const quiet =
      health !== null &&
      health.syncState === syncState &&
      health.lastError === null &&
      health.attempts === 0 &&
      // What the store says may have its members in another order.
      isDeepStrictEqual(health.profile, profile);
    if (quiet) return;
    await this.write({ syncState, lastError: null, attempts: 0, nextAttemptAt: null, lastSuccessAt: new Date(), profile });
  }

  /**
   * Notes a failure; `sign` is what else it tells.
   * @returns when to come back, in ms since 1970; infinity: not by itself.
   */
  async failed(error: unknown, sign: Pop3Sign | null = null): Promise<number> {
    const { services, log } = this.ground;
    if (error instanceof FencedError || error instanceof AccountGoneError) return Number.POSITIVE_INFINITY;
    if (!(error instanceof SyncError) || this.endpoint === null) {
      log.error({ err: error }, "pass gave up");
      return Date.now() + services.retryTimes.transientFirstMs;
    }
    this.isUntried = false;
    this.trouble.noteFailure(error.code);
    const { attempts = 0, lastError: before = null } = this.health ?? {};
    // Only refusals in a row lead to parking: a server that was down before says nothing of the password.
    const inARow = error.kind === "credential" && before?.code !== error.code ? 0 : attempts;
    const retry = planRetry(error, inARow, Math.random(), services.retryTimes);
    const nextAttemptAt = retry.waitMs === null ? null : new Date(Date.now() + retry.waitMs);
    log.warn({ failure: error.kind, scope: error.scope, err: error }, "pass failed");
    const { code, message, action } = error;
    try {
      const lastError = { code, message, action, at: new Date().toISOString() };
      const { syncState, attempts: next } = retry;
      const health = { syncState, lastError, attempts: next, nextAttemptAt, lastSuccessAt: null, profile: this.profile };
      if (!(await this.write(health, sign))) return Date.now();
    } catch (err) {
      log.error({ err }, "health could not be written");
    }
    return nextAttemptAt?.getTime() ?? Number.POSITIVE_INFINITY;
  }

  /** @returns false where the endpoint has other settings or credentials by now, of which this says nothing: it is dropped. */
  private async write(health: EndpointHealth, sign: Pop3Sign | null = null): Promise<boolean> {
    const { services, fence, accountId } = this.ground;
    const { endpoint } = this;
    if (endpoint === null) return false;
    const written = await inAccount(services.db, fence, accountId, async (account) => {
      // Before there is an input, and not part of it: whoever replays has no credentials, and no versions of them.
      const now = (await readAccountState(account.tx, accountId))?.endpoints.find(({ id }) => id === endpoint.id);
      if (now === undefined || !isSameAccess(endpoint, now)) return false;
      await ingestOwned(account.tx, account, endpointWent, { endpointId: endpoint.id, health, sign });
      return true;
    });
    if (written) this.health = health;
    return written;
  }
}
