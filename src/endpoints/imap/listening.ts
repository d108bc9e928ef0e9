/**
 * How a session hears of news between its commands. NOTIFY for all mailboxes where the server has it (RFC 5465); else IDLE
 * on INBOX (RFC 2177); else nothing. Commands interrupt it and it goes on by itself once the connection has been quiet
 * for a moment.
 *
 * NOTIFY speaks of mailboxes that are not selected, so nothing stays selected while listening: Dovecot 2.3.19 was seen to
 * swallow the EXISTS of a selected one unless IDLE runs too, which would cost every command one turn more.
 */
import type { EndpointProfile } from "../../model/endpoint.ts";
import { examine } from "./examine.ts";
import { nameArguments, pathOf } from "./names.ts";
import { bigintOf, type Line, listOf, textOf, uint32Of } from "./tokens.ts";
import { refusalOf, type View, type Wire } from "./wire.ts";

export type PushMode = NonNullable<EndpointProfile["push"]>;

const armMs = 30_000;
/** An IDLE the server ends by itself sooner than this is no listening; after three of them we poll. */
const shortIdleMs = 10_000;
const shortIdlesMost = 3;

const atom = (value: string) => ({ type: "ATOM", value });
const inboxPath = "INBOX";
const messageEvents = ["MessageNew", "MessageExpunge", "FlagChange"].map(atom);
const mailboxEvents = ["MailboxName", "SubscriptionChange"].map(atom);

const notifySets = [[...messageEvents, ...mailboxEvents], messageEvents].map((events) => [
  atom("SET"),
  [atom("selected"), messageEvents],
  [atom("personal"), events],
]);

/** What a mailbox looked like when we stopped to listen to it. */
type Counters = Pick<View, "uidValidity" | "uidNext" | "exists" | "highestModseq">;

const differ = (a: Counters, b: Counters): boolean =>
  a.uidValidity !== b.uidValidity ||
  a.uidNext !== b.uidNext ||
  a.exists !== b.exists ||
  (a.highestModseq !== null && b.highestModseq !== null && a.highestModseq !== b.highestModseq);

const countersOf = ({ uidValidity, uidNext, exists, highestModseq }: View): Counters => ({
  uidValidity,
  uidNext,
  exists,
  highestModseq,
});

/** Names what {@link Listening.start} watches when it is everything. */
export const allMailboxes = "*";

/** The best way this server offers, by what it says it can. */
export const bestPush = (wire: Wire): PushMode => {
  if (wire.can("NOTIFY") && wire.can("UNSELECT")) return "notify";
  return wire.can("IDLE") ? "idle" : "poll";
};

export interface ListeningOptions {
  /** How long the server may take to end an IDLE; one that takes longer has lost the connection, or its mind. */
  readonly doneMs: number;
  /** Called when listening must go on and no command is there to lead to it. */
  readonly wantsTurn: () => void;
}

export class Listening {
  readonly #wire: Wire;
  readonly #options: ListeningOptions;
  #mode: PushMode | null = null;
  /** NOTIFY is in force until the connection ends or the server gives it up. */
  #notifying = false;
  #idle: { readonly ended: Promise<Error | null>; readonly since: number } | null = null;
  #shortIdles = 0;
  #inbox: Counters | null = null;

  constructor(wire: Wire, options: ListeningOptions) {
    this.#wire = wire;
    this.#options = options;
  }

  /** Null before {@link start}. */
  get mode(): PushMode | null {
    return this.#mode;
  }

  /** Begins to listen, in the best way the server accepts. To be called in a turn of the connection's. */
  async start(signal: AbortSignal): Promise<PushMode> {
    this.#mode = bestPush(this.#wire);
    await this.arm(signal);
    return this.#mode;
  }

  /** Listens again after commands. To be called in a turn; every failure but a lost connection lowers the mode. */
  async arm(signal: AbortSignal): Promise<void> {
    if (this.#mode === "notify") await this.#armNotify(signal);
    if (this.#mode === "idle") await this.#armIdle(signal);
  }

  /** Makes the connection free for a command. To be called first in a turn. */
  async pause(signal: AbortSignal): Promise<void> {
    const idle = this.#idle;
    if (idle === null) return;
    this.#idle = null;
    this.#shortIdles = 0;
    try {
      await this.#wire.done(idle.ended, this.#options.doneMs, signal);
    } catch (error) {
      if (refusalOf(error) === null) throw error;
    }
  }

  /** What the mailbox we listen to looked like last, so that arm() can tell what happened meanwhile. */
  remember(): void {
    const { view } = this.#wire;
    if (this.#mode === "idle" && view?.path === inboxPath) this.#inbox = countersOf(view);
  }

  async #armNotify(signal: AbortSignal): Promise<void> {
    if (!this.#notifying && !(await this.#setNotify(signal))) {
      this.#mode = this.#wire.can("IDLE") ? "idle" : "poll";
      return;
    }
    const left = this.#wire.view;
    if (left === null) return;
    this.#wire.view = null;
    await this.#wire.command("UNSELECT", false, { ms: armMs, signal });
    // What happened while it was selected is told by nobody.
    const now = await this.#countersNow(left, signal);
    if (now === null || differ(countersOf(left), now)) this.#wire.sink?.news(left.path);
  }

  async #setNotify(signal: AbortSignal): Promise<boolean> {
    for (const attributes of notifySets) {
      try {
        await this.#wire.command("NOTIFY", attributes, { ms: armMs, signal });
        this.#notifying = true;
        this.#wire.onOverflow = () => this.#overflowed();
        return true;
      } catch (error) {
        if (refusalOf(error) === null) throw error;
      }
    }
    return false;
  }

  /** Too much happened for the server to tell it all (RFC 5465 5.8): look everywhere, and ask anew. */
  #overflowed(): void {
    this.#notifying = false;
    this.#wire.sink?.news(null);
    this.#options.wantsTurn();
  }

  async #countersNow(left: View, signal: AbortSignal): Promise<Counters | null> {
    let found: Counters | null = null;
    const STATUS = (line: Line): Promise<void> => {
      const values = listOf(line.attributes?.[1]) ?? [];
      const valueOf = (name: string) => values[values.findIndex((token) => textOf(token)?.toUpperCase() === name) + 1];
      if (pathOf(line.attributes?.[0], this.#wire.client) !== left.path)
        this.#wire.sink?.news(pathOf(line.attributes?.[0], this.#wire.client));
      else
        found = {
          uidValidity: left.uidValidity,
          uidNext: uint32Of(valueOf("UIDNEXT")) ?? 0,
          exists: uint32Of(valueOf("MESSAGES")) ?? 0,
          highestModseq: bigintOf(valueOf("HIGHESTMODSEQ")),
        };
      return Promise.resolve();
    };
    const items = ["MESSAGES", "UIDNEXT", ...(left.highestModseq === null ? [] : ["HIGHESTMODSEQ"])].map(atom);
    try {
      const [name] = nameArguments(left.path, this.#wire.client);
      await this.#wire.command("STATUS", [name, items], { untagged: { STATUS }, ms: armMs, signal });
    } catch (error) {
      if (refusalOf(error) === null) throw error;
    }
    return found;
  }

  async #armIdle(signal: AbortSignal): Promise<void> {
    if (this.#idle !== null) return;
    try {
      if (this.#wire.view?.path !== inboxPath) await this.#openInbox(signal);
      const { ended } = await this.#wire.idle(armMs, signal);
      const idle = { ended, since: performance.now() };
      this.#idle = idle;
      void idle.ended.then((error) => this.#idleEnded(idle, error));
    } catch (error) {
      if (refusalOf(error) === null) throw error;
      this.#mode = "poll";
    }
  }

  async #openInbox(signal: AbortSignal): Promise<void> {
    const { view } = await examine(this.#wire, inboxPath, null, signal);
    if (this.#inbox !== null && differ(this.#inbox, view)) this.#wire.sink?.news(inboxPath);
    this.#inbox = countersOf(view);
  }

  /** The server ended it by itself. A lost connection is told elsewhere. */
  #idleEnded(idle: { readonly since: number }, error: Error | null): void {
    if (this.#idle !== idle) return;
    this.#idle = null;
    if (performance.now() - idle.since < shortIdleMs) this.#shortIdles += 1;
    const useless = this.#shortIdles >= shortIdlesMost || (error !== null && refusalOf(error) !== null);
    if (useless) this.#mode = "poll";
    else if (error === null) this.#options.wantsTurn();
  }
}
