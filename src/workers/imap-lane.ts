/**
 * The IMAP side of an account's lane: its session, what it remembers between passes, and when it wants the next one. It can
 * be dropped at any moment; PostgreSQL has everything that counts.
 */
import type { Because } from "../model/account.ts";
import type { MailboxWriter, Session } from "../endpoints/endpoint.ts";
import type { EndpointProfile } from "../model/endpoint.ts";
import { SyncError } from "../model/failure.ts";
import { inAccount } from "../store/account-tx.ts";
import { type AccountState, countBound, type EndpointState, isSameAccess } from "../store/account-state.ts";
import { hasCandidates } from "../store/candidates.ts";
import { passDuration, passes } from "../telemetry/metrics.ts";
import { planReconnect, planSweep } from "./backoff.ts";
import { backfillPending } from "./backfill.ts";
import { HealthBook, type LaneGround } from "./endpoint-health.ts";
import type { EndpointLane } from "./endpoint-lane.ts";
import { isInboxOpen, isToBeLookedAt, type LaneContext, lookAtAll } from "./lane-state.ts";
import type { MaildropWitness } from "./maildrop-witness.ts";
import { freshMemory, knowledgeOf, type PassMemory, runPass } from "./pass.ts";
import { readStubHeads } from "./stub-heads.ts";
import { hurryStubs, stubTurns } from "./stubs.ts";
import { rereadLost } from "./lost-octets.ts";
import { Resync } from "./resync.ts";
import { refreshMailboxes } from "./tree.ts";
import { runCommands } from "./writing.ts";

/** A session that ended sooner counts as a failure, so that a server which drops every client is not hammered. */
const shortSessionMs = 60_000;
/** Sessions that never agree about the tree are not made more often, in ms. */
const doubtEveryMs = 60_000;

interface Loaded {
  readonly account: AccountState;
  readonly endpoint: EndpointState;
  readonly context: LaneContext;
  readonly memory: PassMemory;
}

export class ImapLane implements EndpointLane {
  dueAt = 0;
  succeededAt = 0;
  private readonly ground: LaneGround;
  private readonly health: HealthBook;
  private readonly witness: MaildropWitness;
  private readonly resync: Resync;
  private loaded: Loaded | null = null;
  private session: Session | null = null;
  private openedAt = 0;
  /** Sessions in a row that were soon lost. */
  private shortSessions = 0;
  /** When the last look at everything began. */
  private sweptAt = 0;
  /** Sweeps in a row that found nothing the server had not told. */
  private quietSweeps = 0;
  private watching: readonly string[] = [];
  private news: Set<string> | null = null;
  private newsEverywhere = true;
  private doubtedAt = 0;
  private stopped = false;

  constructor(ground: LaneGround, witness: MaildropWitness) {
    this.ground = ground;
    this.witness = witness;
    this.health = new HealthBook(ground);
    this.resync = new Resync(ground);
  }

  get state(): string {
    return this.health.state;
  }

  /** `read`: all of its mail was read. `down`: its INBOX cannot be reached, and not for a moment only. `behind`: neither. */
  get side(): "read" | "down" | "behind" {
    if (this.session === null) return this.health.isDown ? "down" : "behind";
    if (this.loaded === null) return "behind";
    const { context } = this.loaded;
    if (!isInboxOpen(context)) return "down";
    return backfillPending(context) ? "behind" : "read";
  }

  /** Another endpoint of the account takes mail in its place: what it does not show has to be counted anew. */
  standIn(): void {
    for (const mailbox of this.loaded?.context.mailboxes.values() ?? []) mailbox.unshown = null;
  }

  /** Another endpoint of the account found that something is to be written here. */
  owe(): void {
    if (this.loaded !== null) this.loaded.memory.commandsAt = 0;
    this.dueAt = Math.min(this.dueAt, Date.now());
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.dueAt = Number.POSITIVE_INFINITY;
    await this.dropSession();
  }

  async run(because: Because, signal: AbortSignal): Promise<"done" | "again"> {
    if (this.stopped) return "done";
    const began = performance.now();
    try {
      if (this.loaded === null || !this.mayRun(this.loaded, because)) return "done";
      const anew = this.resync.begin(this.loaded.endpoint);
      if (anew !== null) await this.forgetAll(this.loaded.account, anew);
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

  /** Keeps the session when nothing about the endpoint changed. */
  async take(account: AccountState, endpoint: EndpointState): Promise<void> {
    const before = this.loaded;
    if (before !== null && isSameAccess(before.endpoint, endpoint)) {
      const context: LaneContext = { ...before.context, policy: account.policy, twoViews: account.endpoints.length > 1 };
      this.loaded = { ...before, account, endpoint, context };
      this.health.take(endpoint);
      return;
    }
    this.resync.drop();
    await this.begin(account, endpoint);
  }

  /** Takes what the store holds, and nothing else. */
  private async begin(account: AccountState, endpoint: EndpointState): Promise<LaneContext> {
    await this.dropSession();
    const { services, fence } = this.ground;
    const { db, facts } = services;
    const context: LaneContext = {
      db,
      facts,
      log: this.ground.log.child({ endpoint: endpoint.id, protocol: "imap" }),
      fence,
      accountId: account.id,
      tenantId: account.tenantId,
      endpointId: endpoint.id,
      policy: account.policy,
      twoViews: account.endpoints.length > 1,
      mailboxes: new Map(),
      modseq: { known: endpoint.profile.modseqArithmetic ?? {} },
      retention: { days: endpoint.profile.trashRetentionDays ?? null },
      trouble: this.health.trouble,
      tree: { readAt: 0 },
      stubs: stubTurns(),
      headless: stubTurns(),
      maxMessageBytes: services.maxMessageBytes,
    };
    await refreshMailboxes(context, await countBound(db, account.id, endpoint.id));
    const candidates = await inAccount(db, fence, account.id, hasCandidates);
    this.loaded = {
      account,
      endpoint,
      context,
      memory: freshMemory(candidates),
    };
    this.health.take(endpoint);
    this.newsEverywhere = true;
    return context;
  }

  /** The next look shows all there is, whatever the counters say. */
  private async forgetAll(account: AccountState, endpoint: EndpointState): Promise<void> {
    const { mailboxes } = await this.begin(account, endpoint);
    for (const mailbox of mailboxes.values()) lookAtAll(mailbox);
  }

  /** @returns whether it has to begin again. */
  private async endResync({ context, endpoint }: Loaded, session: Session, signal: AbortSignal): Promise<boolean> {
    if (!this.resync.isUnderWay || [...context.mailboxes.values()].some(isToBeLookedAt)) return false;
    await rereadLost(context, session, signal);
    if (await this.resync.end(endpoint.id)) return false;
    this.loaded = null;
    return true;
  }

  private mayRun(loaded: Loaded, because: Because): boolean {
    if (loaded.account.paused) void this.dropSession();
    const at = this.health.mayRunAt(loaded.account.paused, because);
    if (at > 0) this.dueAt = at;
    return at === 0;
  }

  private async pass(loaded: Loaded, because: Because, signal: AbortSignal): Promise<"done" | "again"> {
    const { memory } = loaded;
    if (because === "write" && (await this.writeFirst(loaded, signal))) return "done";
    const session = await this.openSession(loaded, signal);
    // Listening begins before looking, so that nothing falls between the two.
    if (this.watching.length === 0) await this.startWatch(session, signal);
    const untold = because === "sweep" && !this.newsEverywhere && this.news === null;
    const news = this.takeNews(because);
    // Somebody asks: flags that only a whole listing shows are looked for too, and what could not be read.
    if (because === "api") {
      loaded.memory.fullPollAt = 0;
      hurryStubs(loaded.context);
    }
    // What is owed comes of what is seen: a quiet look does not even ask.
    const mayOwe = because !== "sweep" || memory.candidates;
    const result = await runPass({
      context: loaded.context,
      session,
      memory: loaded.memory,
      witness: this.witness,
      news,
      watching: this.watching.length > 0,
      bulkTurn: this.ground.services.bulkTurn,
      signal,
    });
    if (untold) this.quietSweeps = result.moved > 0 ? 0 : this.quietSweeps + 1;
    if (mayOwe || memory.commandsAt <= Date.now()) memory.commandsAt = await this.write(loaded, signal);
    await this.succeeded(loaded, session.profile, result.again);
    memory.unparsed ||= result.created > 0 || result.again;
    if (!result.again) {
      await readStubHeads(loaded.context, session, signal);
      this.parseWhatCame(loaded);
    }
    if (!result.again && (await this.endResync(loaded, session, signal))) return "again";
    await this.askAnotherSession(memory);
    const heard = this.newsEverywhere || this.news !== null;
    return result.again || heard ? "again" : "done";
  }

  private parseWhatCame({ account, memory }: Loaded): void {
    if (memory.unparsed) this.ground.services.onUnparsed(account);
    memory.unparsed = false;
  }

  /**
   * What somebody asked for goes out before anything is looked at, but not by who has not looked since he began: what another one
   * said before him may have been done. @returns whether there is nothing to look at.
   */
  private async writeFirst(loaded: Loaded, signal: AbortSignal): Promise<boolean> {
    const { session } = this;
    if (session?.usable !== true) return false;
    loaded.memory.commandsAt = await this.write(loaded, signal);
    if (this.session !== session || this.newsEverywhere || this.news !== null) return false;
    await this.succeeded(loaded, session.profile, false);
    return true;
  }

  /**
   * Hazard (observed: Dovecot 2.3.19): a LIST close to another client's RENAME can leave the session with a damaged copy of
   * the tree, and every later LIST of it then lacks mailboxes that are there, with OK. A new session lists them.
   */
  private async askAnotherSession(memory: PassMemory): Promise<void> {
    const { listingDoubted } = memory;
    memory.listingDoubted = false;
    if (!listingDoubted || Date.now() - this.doubtedAt < doubtEveryMs) return;
    this.doubtedAt = Date.now();
    await this.dropSession();
    this.newsEverywhere = true;
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
    const { services } = this.ground;
    const credentials = await services.unseal(loaded.account, loaded.endpoint);
    const { profile } = this.health;
    const session = await services.connectTurn(() =>
      services.drivers.imap.open({ settings: loaded.endpoint.settings, credentials, profile, log: loaded.context.log }, signal),
    );
    this.session = session;
    this.openedAt = Date.now();
    return session;
  }

  /** Sends what is owed to the server. @returns when to look again, in ms since 1970. */
  private write({ account, endpoint, context, memory }: Loaded, signal: AbortSignal): Promise<number> {
    const { services } = this.ground;
    // What it has seen counts for this run, though room may have to be made for who writes.
    const { session } = this;
    const open = async (): Promise<MailboxWriter> => {
      const credentials = await services.unseal(account, endpoint);
      const profile = this.session?.profile ?? this.health.profile;
      const request = { settings: endpoint.settings, credentials, profile, log: context.log };
      const connect = (): Promise<MailboxWriter> => services.connectTurn(() => services.drivers.imapWriter.open(request, signal));
      try {
        return await connect();
      } catch (error) {
        // A login that may be used once: whoever listens makes room, and listens again afterwards.
        if (!(error instanceof SyncError) || error.kind !== "throttle" || this.session === null) throw error;
        await this.dropSession();
        services.ring(this.ground.accountId, "reconnect");
        return connect();
      }
    };
    const lookAround = (): void => {
      this.newsEverywhere = true;
      memory.treePrint = "";
    };
    return runCommands({
      context,
      open,
      ...knowledgeOf({ context, session, memory, signal }),
      retryFirstMs: services.retryTimes.transientFirstMs,
      signal,
      lookAround,
    });
  }

  private async startWatch(session: Session, signal: AbortSignal): Promise<void> {
    const { watching } = await session.watch(
      {
        onNews: (path) => {
          if (path === null) this.newsEverywhere = true;
          else (this.news ??= new Set()).add(path);
          this.ground.services.ring(this.ground.accountId, "push");
        },
        onLost: (error) => this.lost(session, error),
      },
      signal,
    );
    this.watching = watching;
  }

  /** The connection went without our asking: come back at once after a long session, ever later after short ones. */
  private lost(session: Session, error: Error): void {
    if (this.session !== session || this.stopped) return;
    this.session = null;
    this.watching = [];
    const { ring, retryTimes } = this.ground.services;
    const isShort = Date.now() - this.openedAt < shortSessionMs;
    const waitMs = isShort ? planReconnect(this.shortSessions, Math.random(), retryTimes) : 0;
    this.shortSessions = isShort ? this.shortSessions + 1 : 0;
    this.ground.log.info({ err: error, waitMs }, "connection lost");
    // The next regular look comes all the same.
    if (isShort) this.dueAt = Math.min(this.dueAt, Date.now() + waitMs);
    else ring(this.ground.accountId, "reconnect");
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
    const sweepAt =
      this.sweptAt +
      planSweep({
        pollMs: this.ground.services.pollMs,
        // A listing that something disturbed tells nothing: whoever asked for all does not wait for the next regular look.
        waiting: loaded.memory.candidates || loaded.memory.treeWaiting || this.resync.isUnderWay,
        toldOfAll: profile.push === "notify" && this.watching.length > 0,
        quietSweeps: this.quietSweeps,
      });
    this.dueAt = Math.min(sweepAt, loaded.memory.commandsAt);
    this.succeededAt = Date.now();
    const { modseq, retention } = loaded.context;
    const learned = {
      ...profile,
      ...(Object.keys(modseq.known).length > 0 && { modseqArithmetic: modseq.known }),
      ...(retention.days !== null && { trashRetentionDays: retention.days }),
    };
    await this.health.succeeded(again || backfillPending(loaded.context) ? "backfilling" : "live", learned);
  }

  private async failed(error: unknown, signal: AbortSignal): Promise<void> {
    await this.dropSession();
    // Memory may be ahead of a transaction that did not commit: read it anew next time.
    this.loaded = null;
    this.resync.drop();
    if (this.stopped) this.dueAt = Number.POSITIVE_INFINITY;
    else if (!signal.aborted) this.dueAt = await this.health.failed(error);
  }
}
