/**
 * The lane of one account: one pass at a time, whatever the queue believes, first over IMAP, then over its maildrops. A lane
 * can be dropped at any moment; PostgreSQL has everything that counts.
 */
import type { Because, Fence } from "../model/account.ts";
import type { AccountId, EndpointId } from "../model/ids.ts";
import { endpointForgotten } from "../store/endpoint-removal.ts";
import { ingest } from "../store/inputs.ts";
import { type AccountState, type EndpointState, readAccountState } from "../store/account-state.ts";
import type { LaneGround } from "./endpoint-health.ts";
import type { EndpointLane } from "./endpoint-lane.ts";
import { ImapLane } from "./imap-lane.ts";
import type { LaneServices } from "./lane-services.ts";
import { MaildropLane } from "./maildrop-lane.ts";
import { MaildropWitness } from "./maildrop-witness.ts";

export class AccountLane {
  readonly accountId: AccountId;
  /** When a hint was rung that no pass has answered yet; 0: none. */
  rungAt = 0;
  private readonly ground: LaneGround;
  private lanes = new Map<EndpointId, EndpointLane>();
  private imap: ImapLane | null = null;
  private maildrop: MaildropLane | null = null;
  private readonly witness = new MaildropWitness(() => this.maildrop);
  /** When to try to load again, in ms since 1970; 0: not waiting for that. */
  private reloadAt = 0;
  private running: Promise<unknown> = Promise.resolve();
  private stopped = false;

  constructor(accountId: AccountId, fence: Fence, services: LaneServices) {
    this.accountId = accountId;
    this.ground = { accountId, fence, services, log: services.log.child({ account: accountId }) };
  }

  /** Of the endpoint that was configured first. */
  get state(): string {
    return [...this.lanes.values()][0]?.state ?? "connecting";
  }

  /** Is a pass due? Says so once only: the pass gives the next time. */
  claimDue(now: number): boolean {
    const due = [...this.lanes.values()].filter((lane) => lane.dueAt > 0 && lane.dueAt <= now);
    for (const lane of due) lane.dueAt = Number.POSITIVE_INFINITY;
    const reload = this.reloadAt > 0 && this.reloadAt <= now;
    if (reload) this.reloadAt = 0;
    return due.length > 0 || reload;
  }

  /** Quiet successes since the last call. */
  takeSuccesses(): { accountId: AccountId; endpointId: EndpointId; at: Date }[] {
    const { accountId } = this;
    return [...this.lanes].flatMap(([endpointId, lane]) => {
      const { succeededAt } = lane;
      lane.succeededAt = 0;
      return succeededAt > 0 ? [{ accountId, endpointId, at: new Date(succeededAt) }] : [];
    });
  }

  /** Runs one pass when there is reason to; never rejects for a failure of the outside world. */
  run(because: Because, signal: AbortSignal): Promise<"done" | "again"> {
    const turn = this.running.then(() => this.runAlone(because, signal));
    this.running = turn.catch(() => undefined);
    return turn;
  }

  /** Ends the sessions; the lane runs nothing afterwards. */
  async stop(): Promise<void> {
    this.stopped = true;
    await this.stopLanes();
    await this.running;
    await this.stopLanes();
  }

  private async stopLanes(): Promise<void> {
    await Promise.all([...this.lanes.values()].map((lane) => lane.stop()));
  }

  private async runAlone(because: Because, signal: AbortSignal): Promise<"done" | "again"> {
    this.rungAt = 0;
    if (this.stopped || signal.aborted) return "done";
    try {
      // Whatever the hint says: one that tells of a change may have given way to another (BullMQ keeps the last of several).
      await this.load();
    } catch (err) {
      this.ground.log.error({ err }, "account could not be loaded");
      this.reloadAt = Date.now() + this.ground.services.retryTimes.transientFirstMs;
      return "done";
    }
    let again: "done" | "again" = "done";
    for (const lane of this.lanes.values()) {
      if (signal.aborted) break;
      if ((await lane.run(because, signal)) === "again") again = "again";
    }
    // What the maildrop showed decides about what IMAP lacks.
    if (this.witness.takeNews()) again = "again";
    return again;
  }

  /** Reads the account anew and gives each endpoint its lane. */
  private async load(): Promise<void> {
    const account = await readAccountState(this.ground.services.db, this.accountId);
    const endpoints = account === null || account.deleted ? [] : wanted(account);
    const ids = new Set(endpoints.map(({ id }) => id));
    const gone = [...this.lanes].filter(([id]) => !ids.has(id));
    for (const [id, lane] of gone) await this.drop(id, lane, account);
    for (const endpoint of endpoints) {
      let lane = this.lanes.get(endpoint.id);
      if (lane === undefined) this.lanes.set(endpoint.id, (lane = this.make(endpoint)));
      if (account !== null) await lane.take(account, endpoint);
    }
  }

  private make(endpoint: EndpointState): EndpointLane {
    if (endpoint.settings.protocol === "imap") return (this.imap = new ImapLane(this.ground, this.witness));
    return (this.maildrop = new MaildropLane(this.ground, this.witness, () => this.imap));
  }

  /** Also what the lane still wrote when its endpoint was removed already. Where that fails it stays, stopped, to be dropped again. */
  private async drop(id: EndpointId, lane: EndpointLane, account: AccountState | null): Promise<void> {
    await lane.stop();
    const { services, fence } = this.ground;
    const isRemoved = account !== null && !account.deleted && !account.endpoints.some((endpoint) => endpoint.id === id);
    if (isRemoved) await ingest({ db: services.db, fence, accountId: this.accountId }, endpointForgotten, id);
    this.lanes.delete(id);
    if (lane === this.imap) this.imap = null;
    if (lane === this.maildrop) this.maildrop = null;
  }
}

/** The first IMAP endpoint, then the first maildrop: one canonical INBOX has one view of each kind. */
const wanted = (account: AccountState): EndpointState[] =>
  (["imap", "pop3"] as const).flatMap((protocol) =>
    account.endpoints.filter(({ settings }) => settings.protocol === protocol).slice(0, 1),
  );
