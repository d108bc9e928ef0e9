/**
 * An IMAP login as the rest of the daemon sees it: one connection that listens while nobody asks anything, takes one verb
 * at a time, and is given up at the first sign that it cannot be trusted. A second one reads in bulk.
 */
import type { EndpointProfile } from "../../model/endpoint.ts";
import type { SyncError } from "../../model/failure.ts";
import type {
  FetchedBatch,
  FetchRequest,
  HeadItem,
  HeadsRequest,
  MailboxObservation,
  ObserveRequest,
  Survey,
} from "../../model/observation.ts";
import { connectionsOpen, networkBytes, serverResponses } from "../../telemetry/metrics.ts";
import { budgetKey, connectionBudget, defaultConnections, type Lease } from "../budget.ts";
import { stoppedBy, withDeadline } from "../deadline.ts";
import { resolveHost } from "../egress.ts";
import type { EndpointDriver, EndpointLimits, OpenRequest, Session, WatchListener } from "../endpoint.ts";
import { admit } from "./admission.ts";
import { BulkLane } from "./bulk-lane.ts";
import { type BulkReader, openBulkReader } from "./bulk-reader.ts";
import { classify, type Doing } from "./classify.ts";
import { connect } from "./connect.ts";
import { fetchMessages } from "./fetch.ts";
import { readHeads } from "./heads.ts";
import { type Beating, startBeating } from "./heartbeat.ts";
import { allMailboxes, Listening } from "./listening.ts";
import { NewsDesk } from "./news.ts";
import { observe } from "./observe.ts";
import { learnObjectIds } from "./object-ids.ts";
import { learnProfile } from "./profile.ts";
import { answering, survey } from "./survey.ts";
import { Turns } from "./turns.ts";
import type { Wire } from "./wire.ts";

/** In milliseconds; tests shorten them. */
export interface SessionTiming {
  /** Quiet after a command before listening goes on: most commands come in twos and threes. */
  readonly lingerMs: number;
  /** Quiet after which the connection must prove that it lives; NATs forget after some five minutes. */
  readonly probeMs: number;
  /** Silence after which the server must show that it is there before it is asked for what may take minutes. */
  readonly quietMs: number;
  readonly tickMs: number;
  /** How long the bulk connection is kept for more work. */
  readonly bulkIdleMs: number;
  readonly byeMs: number;
  /** How long the server may take to end an IDLE, or to show that it is there, and to answer a probe. */
  readonly doneMs: number;
  readonly noopMs: number;
}

const defaultTiming: SessionTiming = {
  lingerMs: 25,
  probeMs: 240_000,
  quietMs: 5_000,
  tickMs: 5_000,
  bulkIdleMs: 30_000,
  byeMs: 2_000,
  doneMs: 15_000,
  noopMs: 30_000,
};

/** For what a session does of its own accord: it ends with the connection. */
const untilClosed = new AbortController().signal;

type During = Doing["during"];

class ImapSession implements Session, Beating {
  readonly #wire: Wire;
  readonly #request: OpenRequest;
  readonly #timing: SessionTiming;
  readonly #lease: Lease;
  readonly #limits: EndpointLimits;
  readonly #turns = new Turns();
  readonly #listening: Listening;
  readonly #bulk: BulkLane;
  readonly #stopBeating: () => void;
  #profile: EndpointProfile;
  #desk: NewsDesk | null = null;
  #listener: WatchListener | null = null;
  #resumeTimer: NodeJS.Timeout | null = null;
  #error: Error | null = null;
  #closing: Promise<void> | null = null;
  /** The connection went before anybody closed the session. */
  #lost = false;
  beatDueAt: number;

  constructor(opened: { wire: Wire; request: OpenRequest; limits: EndpointLimits; timing: SessionTiming; lease: Lease }) {
    this.#wire = opened.wire;
    this.#request = opened.request;
    this.#limits = opened.limits;
    this.#timing = opened.timing;
    this.#lease = opened.lease;
    this.#profile = learnProfile(opened.wire, opened.request.profile);
    this.#listening = new Listening(opened.wire, { doneMs: opened.timing.doneMs, wantsTurn: () => this.#scheduleResume() });
    this.#bulk = new BulkLane({
      open: (signal) => this.#openBulk(signal),
      lease: () => connectionBudget.tryAcquire(this.#budgetKey, this.#connections),
      idleMs: opened.timing.bulkIdleMs,
      onFailure: (error) => this.#note(error),
    });
    this.beatDueAt = this.#nextBeat();
    this.#stopBeating = startBeating(this, opened.timing.tickMs);
    connectionsOpen.inc({ proto: "imap", kind: "session" });
    opened.wire.client.on("error", (error: Error) => {
      this.#error ??= error;
    });
    opened.wire.client.once("close", () => this.#ended());
  }

  get profile(): EndpointProfile {
    return this.#profile;
  }

  get usable(): boolean {
    return this.#closing === null && this.#wire.alive;
  }

  survey(signal: AbortSignal): Promise<Survey> {
    return this.#turn("work", signal, async (wire) => {
      const { survey: seen, listStatus } = await survey(wire, signal);
      this.#learn({ listStatus });
      return seen;
    });
  }

  answering(paths: readonly string[], signal: AbortSignal): Promise<readonly string[]> {
    return this.#turn("work", signal, (wire) => answering(wire, paths, signal));
  }

  observe(request: ObserveRequest, signal: AbortSignal): Promise<MailboxObservation> {
    return this.#turn("mailbox", signal, (wire) => {
      this.#desk?.seen(request.path);
      return observe(wire, request, signal);
    });
  }

  async *fetch(request: FetchRequest, signal: AbortSignal): AsyncGenerator<FetchedBatch> {
    const turn = <T>(work: (wire: Wire) => Promise<T>): Promise<T> => this.#turn("mailbox", signal, work);
    yield* fetchMessages(request, { bulk: this.#wire.numbersLast ? this.#bulk : null, turn, limits: this.#limits, signal });
  }

  async *heads(request: HeadsRequest, signal: AbortSignal): AsyncGenerator<readonly HeadItem[]> {
    yield* readHeads((work) => this.#turn("mailbox", signal, work), request, { limits: this.#limits, signal });
  }

  async watch(listener: WatchListener, signal: AbortSignal): Promise<{ readonly watching: readonly string[] }> {
    this.#listener = listener;
    this.#desk?.close();
    this.#desk = new NewsDesk(listener);
    this.#wire.sink = this.#desk;
    const push = await this.#turn("work", signal, () => this.#listening.start(signal));
    this.#learn({ push });
    return { watching: push === "notify" ? [allMailboxes] : push === "idle" ? ["INBOX"] : [] };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Asked by the heart: a NOOP that must be answered, and with it whatever the server did not tell by itself. */
  beat(): void {
    this.beatDueAt = this.#nextBeat();
    if (this.#turns.asking > 0 || !this.usable) return;
    this.#turn("work", untilClosed, (wire) =>
      wire.command("NOOP", false, { ms: this.#timing.noopMs, signal: untilClosed }),
    ).catch((error: unknown) => this.#request.log.debug({ err: error }, "no answer to a probe"));
  }

  get #budgetKey(): string {
    return budgetKey(this.#request.settings.host, this.#request.credentials.user);
  }

  get #connections(): number {
    return this.#profile.connectionBudget ?? defaultConnections;
  }

  /** Up to a fifth later, so that sessions opened together do not beat together. */
  #nextBeat(): number {
    return performance.now() + this.#timing.probeMs * (1 + Math.random() / 5);
  }

  async #turn<T>(during: During, signal: AbortSignal, work: (wire: Wire) => Promise<T>): Promise<T> {
    try {
      return await this.#turns.take(async () => {
        this.#stopResume();
        await this.#listening.pause(signal);
        await this.#prove(signal);
        try {
          return await work(this.#wire);
        } finally {
          this.#listening.remember();
          this.beatDueAt = this.#nextBeat();
        }
      }, signal);
    } catch (error) {
      throw this.#translate(error, during);
    } finally {
      this.#countOctets();
      this.#scheduleResume();
    }
  }

  /** The end of an IDLE is proof enough; where nothing is to be ended, a connection that lives looks like one that does not. */
  async #prove(signal: AbortSignal): Promise<void> {
    if (performance.now() - this.#wire.heardAt < this.#timing.quietMs) return;
    await this.#wire.command("NOOP", false, { ms: this.#timing.doneMs, signal });
  }

  /** What went over the wire since the last time: a session may live for weeks. */
  #countOctets(): void {
    const { sent, received } = this.#wire.client.stats(true);
    networkBytes.inc({ proto: "imap", direction: "out" }, sent);
    networkBytes.inc({ proto: "imap", direction: "in" }, received);
  }

  #translate(error: unknown, during: During): SyncError {
    const { settings, credentials } = this.#request;
    // Who is told of a lost connection closes the session: what was under way still failed for its own reason.
    if (this.#closing !== null && !this.#lost) return stoppedBy(untilClosed);
    let translated = classify(error, { during, host: settings.host, user: credentials.user });
    // The command in flight only hears that the connection is gone; why we gave it up was told beside it.
    if (translated.code === "endpoint_closed" && this.#error !== null)
      translated = classify(this.#error, { during: "work", host: settings.host, user: credentials.user });
    // Whatever was asked for: without its connection the session is at its end.
    if (!this.#wire.alive && translated.scope !== "endpoint")
      translated = classify({ code: "NoConnection" }, { during: "work", host: settings.host, user: credentials.user });
    this.#note(translated);
    if (translated.scope === "endpoint" && translated.kind !== "stopped") this.#wire.client.close();
    return translated;
  }

  #note(error: SyncError): void {
    if (error.kind === "stopped") return;
    serverResponses.inc({ proto: "imap", class: error.kind });
    if (error.kind !== "throttle") return;
    this.#learn({ connectionBudget: connectionBudget.lower(this.#budgetKey, this.#connections) });
  }

  #learn(facts: Pick<EndpointProfile, "push" | "listStatus" | "connectionBudget">): void {
    this.#profile = { ...this.#profile, ...facts };
  }

  async #openBulk(signal: AbortSignal): Promise<BulkReader> {
    const { settings, credentials, log } = this.#request;
    const { address } = await resolveHost(settings.host, this.#limits, signal);
    return openBulkReader({ settings, credentials, address, limits: this.#limits, log, objectIds: this.#wire.objectIds }, signal);
  }

  #stopResume(): void {
    if (this.#resumeTimer !== null) clearTimeout(this.#resumeTimer);
    this.#resumeTimer = null;
  }

  #scheduleResume(): void {
    const { mode } = this.#listening;
    if (mode === null || mode === "poll" || this.#turns.asking > 0 || !this.usable) return;
    this.#resumeTimer ??= setTimeout(() => this.#resume(), this.#timing.lingerMs);
  }

  #resume(): void {
    this.#resumeTimer = null;
    if (this.#turns.asking > 0 || !this.usable) return;
    const arm = async (): Promise<void> => {
      await this.#listening.arm(untilClosed);
      const { mode } = this.#listening;
      if (mode !== null && mode !== this.#profile.push) this.#learn({ push: mode });
    };
    this.#turns
      .take(arm, untilClosed)
      .catch((error: unknown) => this.#request.log.debug({ err: error }, "could not listen again"));
  }

  /** The connection is gone, by whomever. Runs once. */
  #ended(): void {
    const { client } = this.#wire;
    this.#stopResume();
    this.#stopBeating();
    this.#desk?.close();
    this.#lease.release();
    connectionsOpen.dec({ proto: "imap", kind: "session" });
    this.#countOctets();
    void this.#bulk.close();
    if (this.#closing !== null) return;
    this.#lost = true;
    const { settings, credentials } = this.#request;
    const cause = this.#error ?? { code: "NoConnection", reason: client.byeReason };
    this.#listener?.onLost(classify(cause, { during: "work", host: settings.host, user: credentials.user }));
  }

  async #close(): Promise<void> {
    this.#stopResume();
    const bulk = this.#bulk.close();
    if (this.#wire.alive) {
      const ms = this.#timing.byeMs;
      const goodbye = async (): Promise<void> => {
        await this.#listening.pause(untilClosed);
        await this.#wire.command("LOGOUT", false, { ms, signal: untilClosed });
      };
      // Whatever goes wrong with a goodbye, the connection is closed next.
      await withDeadline(goodbye, ms, untilClosed, () => undefined).catch(() => undefined);
    }
    this.#wire.client.close();
    await bulk;
  }
}

const open = (request: OpenRequest, limits: EndpointLimits, timing: SessionTiming, signal: AbortSignal): Promise<Session> =>
  admit({ request, limits }, signal, async (address, lease) => {
    const { settings, credentials } = request;
    const wire = await connect({ settings, credentials, address, limits }, signal);
    wire.objectIds = await learnObjectIds(wire, request.profile.objectIds, signal);
    return new ImapSession({ wire, request, limits, timing, lease });
  });

/** The driver of IMAP (RFC 9051, RFC 3501). */
export const imapDriver = (limits: EndpointLimits, timing: Partial<SessionTiming> = {}): EndpointDriver => ({
  open: (request, signal) => open(request, limits, { ...defaultTiming, ...timing }, signal),
});
