/** The POP3 side of an account's lane: a short session at each look, none in between (semantics K6). */
import type { MaildropSession } from "../endpoints/endpoint.ts";
import type { EndpointProfile } from "../model/endpoint.ts";
import type { Because, SyncState } from "../model/account.ts";
import { SyncError } from "../model/failure.ts";
import type { EndpointId } from "../model/ids.ts";
import type { Pop3Sign } from "../model/pop3-devices.ts";
import type { AccountState, EndpointState } from "../store/account-state.ts";
import { ingest } from "../store/inputs.ts";
import { passDuration, passes } from "../telemetry/metrics.ts";
import { planSweep } from "./backoff.ts";
import { HealthBook, type LaneGround } from "./endpoint-health.ts";
import type { EndpointLane } from "./endpoint-lane.ts";
import type { ImapLane } from "./imap-lane.ts";
import type { MaildropContext } from "./maildrop-commit.ts";
import type { ImapSide } from "./maildrop-identity.ts";
import { type MaildropMemory, runMaildropPass } from "./maildrop-pass.ts";
import type { MaildropWitness } from "./maildrop-witness.ts";
import { Resync } from "./resync.ts";
import { retrievalsLookedAt } from "./retrievals.ts";
import { planRemovals, removeCopies } from "./server-copy.ts";

interface Loaded {
  readonly account: AccountState;
  readonly endpoint: EndpointState;
  readonly context: MaildropContext;
  readonly memory: MaildropMemory;
}

const asked: ReadonlySet<Because> = new Set(["api", "changed", "created", "recovery"]);

/** Between two looks of which the second is made for the sake of what IMAP lacks, in ms, where it polls more seldom. */
const witnessEveryMs = 10_000;

/** Before it is tried again to remove what could not be marked, in ms. */
const refusedMs = 600_000;

/** Gmail shows each message to one POP3 client only, and its DELE does what a setting says (semantics 2.5). */
const mayRemove = ({ capabilities = [] }: EndpointProfile): boolean => !capabilities.some((name) => name.startsWith("X-GOOGLE"));

const freshMemory = ({ listingWindow = null }: EndpointProfile): MaildropMemory => ({
  settledPrint: "",
  mark: null,
  window: listingWindow,
  missingSince: new Map(),
  heads: new Map(),
  hashedSeq: null,
  unshown: null,
  verifiedAt: 0,
  emptySince: 0,
  lookedAt: 0,
  refusedUntil: new Map(),
  lackedSince: new Map(),
  seekLost: false,
});

/** IMAP looks once in this time at least, in ms; of a maildrop that shows every mailbox nothing is ever lacking in INBOX. */
const lackedMsOf = ({ endpoints }: AccountState, pollMs: number): number =>
  endpoints.some(({ profile }) => profile.pop3ShowsAll === true) ? Number.POSITIVE_INFINITY : 2 * pollMs;

export class MaildropLane implements EndpointLane {
  endpointId: EndpointId | null = null;
  dueAt = 0;
  succeededAt = 0;
  private readonly ground: LaneGround;
  private readonly witness: MaildropWitness;
  /** The IMAP side of the same account; null: it has none. */
  private readonly imapSide: () => Pick<ImapLane, "side" | "owe" | "standIn"> | null;
  private readonly health: HealthBook;
  private readonly resync: Resync;
  private loaded: Loaded | null = null;
  private session: Pick<MaildropSession, "abandon"> | null = null;
  private more = true;
  /** The last look left nothing open, so that mail may be removed; not before `removeAt`, in ms since 1970. */
  private settled = false;
  private removeAt = 0;
  private imapBefore: ImapSide = "none";
  /** Something was RETRed while IMAP was down, and what follows is not settled. */
  private retrievals = true;
  /** Of the last login, in ms since 1970. */
  private loggedInAt = 0;
  private unparsed = true;
  private stopped = false;
  /** The last session ended without a goodbye: the server may take it for alive, and what holds the maildrop may be ourselves. */
  private mayLinger = false;

  constructor(ground: LaneGround, witness: MaildropWitness, imapSide: MaildropLane["imapSide"]) {
    this.ground = ground;
    this.witness = witness;
    this.imapSide = imapSide;
    this.health = new HealthBook(ground);
    this.resync = new Resync(ground);
  }

  get state(): SyncState {
    return this.health.state;
  }

  take(account: AccountState, endpoint: EndpointState): Promise<void> {
    const { services, fence } = this.ground;
    if (this.health.take(endpoint)) this.beginAnew();
    const context: MaildropContext = {
      db: services.db,
      facts: services.facts,
      log: this.ground.log.child({ endpoint: endpoint.id, protocol: "pop3" }),
      fence,
      accountId: account.id,
      tenantId: account.tenantId,
      endpointId: endpoint.id,
      policy: account.policy,
      trouble: this.health.trouble,
    };
    const memory = this.loaded?.memory ?? freshMemory(endpoint.profile);
    this.loaded = { account, endpoint, context, memory };
    this.endpointId = endpoint.id;
    return Promise.resolve();
  }

  /** A look is due, whatever it waited for, and what is remembered may be of another maildrop. */
  private beginAnew(): void {
    this.dueAt = Date.now();
    this.loaded = null;
    this.settled = false;
    this.resync.drop();
  }

  async run(because: Because, signal: AbortSignal): Promise<"done" | "again"> {
    const { loaded } = this;
    // Claimed as due, asked for, or in the middle of a reading; news of the IMAP side are none of a maildrop.
    const isDue = this.dueAt === 0 || this.dueAt === Number.POSITIVE_INFINITY || this.dueAt <= Date.now();
    const isMeant = isDue || this.more || asked.has(because);
    if (this.stopped || loaded === null || !(isMeant || this.witness.isWanted)) return "done";
    const apart = isMeant ? 0 : Math.min(witnessEveryMs, this.ground.services.pollMs);
    const waited = this.loggedInAt + Math.max(apart, this.health.profile.loginDelayMs ?? 0);
    const mayRunAt = this.health.mayRunAt(loaded.account.paused, because) || (waited > Date.now() ? waited : 0);
    if (mayRunAt > 0) {
      this.dueAt = isMeant ? mayRunAt : Math.min(this.dueAt, mayRunAt);
      return "done";
    }
    const began = performance.now();
    try {
      const again = await this.look(this.startResync(loaded), signal);
      passes.inc({ trigger: because, result: "ok" });
      return again ? "again" : "done";
    } catch (error) {
      passes.inc({ trigger: because, result: signal.aborted ? "stopped" : "failed" });
      // Memory may be ahead of a transaction that did not commit.
      this.loaded = null;
      this.resync.drop();
      if (this.stopped) this.dueAt = Number.POSITIVE_INFINITY;
      else if (!signal.aborted) this.dueAt = await this.health.failed(error, this.signsOf(error));
      return "done";
    } finally {
      passDuration.observe({ trigger: because }, (performance.now() - began) / 1000);
    }
  }

  /** Everything is forgotten, where that is asked for. */
  private startResync(loaded: Loaded): Loaded {
    const endpoint = this.resync.begin(loaded.endpoint);
    if (endpoint === null) return loaded;
    this.health.take(endpoint);
    this.settled = false;
    this.loaded = { ...loaded, endpoint, memory: { ...freshMemory(endpoint.profile), seekLost: true } };
    return this.loaded;
  }

  stop(): Promise<void> {
    this.stopped = true;
    this.dueAt = Number.POSITIVE_INFINITY;
    this.session?.abandon();
    return Promise.resolve();
  }

  private settleRetrievals(allBound: boolean): Promise<boolean> {
    const { services, fence, accountId } = this.ground;
    return ingest({ db: services.db, fence, accountId }, retrievalsLookedAt, { allBound });
  }

  /** What a failure tells of other devices (K6). */
  private signsOf(error: unknown): Pop3Sign | null {
    const locked = error instanceof SyncError && error.code === "maildrop_in_use";
    if (!locked || this.mayLinger) return null;
    return "maildrop_in_use";
  }

  /** @returns whether to go on at once. */
  private async look(loaded: Loaded, signal: AbortSignal): Promise<boolean> {
    const { services } = this.ground;
    const imap = this.imapSide()?.side ?? "none";
    if (imap === "behind") {
      // What IMAP is going to bring must not be read a second time (K10).
      this.dueAt = Date.now() + planSweep({ pollMs: services.pollMs, waiting: true, toldOfAll: false, quietSweeps: 0 });
      return false;
    }
    // What could not be read without marking it may be read now, or need not be any more.
    if (imap !== this.imapBefore) loaded.memory.refusedUntil.clear();
    this.imapBefore = imap;
    if (imap === "down") this.imapSide()?.standIn();
    const work = async (): Promise<boolean> =>
      (imap !== "down" && (await this.remove(loaded, signal))) || this.visit(loaded, imap, signal);
    return this.health.state === "live" ? work() : services.bulkTurn(work);
  }

  /** A session that removes what is due, in place of one that reads. @returns whether there was one; the next one reads at once. */
  private async remove({ account, endpoint, context, memory }: Loaded, signal: AbortSignal): Promise<boolean> {
    const { services } = this.ground;
    const { profile } = this.health;
    if (!this.settled || Date.now() < this.removeAt || !mayRemove(profile)) return false;
    const planned = await planRemovals(context, signal);
    if (planned === null) return false;
    this.settled = false;
    this.more = true;
    memory.settledPrint = "";
    const credentials = await services.unseal(account, endpoint);
    const session = await services.connectTurn(() =>
      services.drivers.pop3.openRemoval({ settings: endpoint.settings, credentials, profile, log: context.log }, signal),
    );
    this.session = session;
    this.loggedInAt = Date.now();
    this.mayLinger = true;
    try {
      const marked = await removeCopies(context, session, planned, signal);
      if (marked === 0) this.removeAt = Date.now() + refusedMs;
    } finally {
      this.session = null;
      session.abandon();
    }
    this.dueAt = Date.now() + (profile.loginDelayMs ?? 0);
    return true;
  }

  private async visit({ account, endpoint, context, memory }: Loaded, imap: ImapSide, signal: AbortSignal): Promise<boolean> {
    const { services } = this.ground;
    const credentials = await services.unseal(account, endpoint);
    const { profile } = this.health;
    const beganAt = Date.now();
    const session = await services.connectTurn(() =>
      services.drivers.pop3.open({ settings: endpoint.settings, credentials, profile, log: context.log }, signal),
    );
    this.session = session;
    this.loggedInAt = Date.now();
    this.mayLinger = true;
    try {
      const onListed = (keys: ReadonlySet<string>): void => this.witness.hear(beganAt, keys);
      const onOwed = (): void => this.imapSide()?.owe();
      const lackedMs = lackedMsOf(account, services.pollMs);
      const told = { onListed, onOwed, onAlone: () => this.imapSide()?.standIn() };
      const result = await runMaildropPass({ context, session, memory, imap, lackedMs, ...told, signal });
      if (imap === "down") this.retrievals = true;
      else if (imap === "read" && this.retrievals)
        this.retrievals = await this.settleRetrievals(!result.again && !result.waiting);
      // Where logins are rationed the next session has to wait its time.
      const apart = session.profile.loginDelayMs ?? 0;
      const again = result.again && apart === 0;
      this.more = result.again;
      this.settled = result.readOnce && !result.again && !result.waiting;
      const sweep = { pollMs: services.pollMs, waiting: result.waiting, toldOfAll: false, quietSweeps: 0 };
      this.dueAt = Date.now() + Math.max(apart, result.again ? 0 : planSweep(sweep));
      this.succeededAt = Date.now();
      await this.health.succeeded(result.readOnce ? "live" : "backfilling", {
        ...session.profile,
        listingWindow: memory.window,
      });
      this.mayLinger = false;
      if (!result.again) memory.lookedAt = beganAt;
      this.unparsed ||= result.created > 0 || result.again;
      if (this.unparsed && !result.again) {
        this.unparsed = false;
        services.onUnparsed(account);
      }
      if (result.again || (await this.resync.end(endpoint.id))) return again;
      this.loaded = null;
      return true;
    } catch (error) {
      // What was read may not be durable: the server must not take the session for a good one (K5).
      session.abandon();
      throw error;
    } finally {
      this.session = null;
      await session.close();
    }
  }
}
