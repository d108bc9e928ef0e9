/**
 * One IMAP connection as a queue of commands. imapflow does TCP, TLS, STARTTLS, greeting, authentication, ENABLE and
 * parsing; its command layer (`exec` and the tables of untagged handlers) is public in JavaScript though not in its types,
 * and is used directly so that every command costs exactly the round trips it must. Checked against imapflow 2.10.2.
 */
import type { ImapFlow } from "imapflow";
import type { Socket } from "node:net";
import type { ObjectIds } from "../../model/endpoint.ts";
import { withDeadline } from "../deadline.ts";
import { pathOf } from "./names.ts";
import { mustOnlyRead } from "./reading-words.ts";
import { bigintOf, type Line, listOf, type Token, uidsOf, uint32Of } from "./tokens.ts";

/** The part of an ImapFlow instance that its types leave out. */
interface CommandLayer {
  exec(command: string, attributes: readonly unknown[] | false, options: ExecOptions): Promise<Parked>;
  write(chunk: string): void;
  untaggedHandlers: Record<string, ((line: Line) => Promise<void>) | null>;
  throttleWait(delayMs: number): Promise<boolean>;
  socket: Socket | null;
  /** True behind the mechanism that logged us in. */
  readonly authCapabilities: ReadonlyMap<string, boolean>;
}

interface ExecOptions {
  readonly untagged?: Handlers;
  readonly onPlusTag?: () => Promise<void>;
}

/** The reader waits until `next` is called: a command's handler applies its result first. */
interface Parked {
  readonly response: Line;
  readonly next: () => void;
}

/** Called for each untagged line of that name while the command runs; the reader waits for a returned promise. */
export type Handlers = Readonly<Record<string, (line: Line) => Promise<void>>>;

export interface Completion {
  /** False: a NO that imapflow lets pass as success ("Some of the requested messages no longer exist"). */
  readonly whole: boolean;
  /** Upper-case response code of the tagged line, e.g. `READ-ONLY`. */
  readonly code: string | null;
  /** The server stopped behind this UID, going down; what is below it is to be asked for again (RFC 9738). null: it did not. */
  readonly lowest: number | null;
}

/** The selected mailbox as this connection's server has told it so far. */
export interface View {
  readonly path: string;
  readonly uidValidity: number;
  /** As of the EXAMINE; later arrivals lie at or above it. */
  readonly uidNext: number;
  exists: number;
  highestModseq: bigint | null;
}

export interface NewsSink {
  /** The mailbox to look at; null when any may have changed. */
  news(path: string | null): void;
}

/** Codes of a tagged OK after which a listing must not be taken for whole (gate G1; RFC 9738, RFC 9394). */
const cutShort: ReadonlySet<string> = new Set(["MESSAGELIMIT", "LIMIT", "PARTIAL", "EXPUNGEISSUED"]);

/** Remarks (`* OK …`) a server may make between two commands of ours: one that never stops is never done either. */
const mostRemarks = 10_000;

export class Wire {
  readonly client: ImapFlow;
  readonly #layer: CommandLayer;
  /** Null: nothing is selected, or what is selected is not known for sure. */
  view: View | null = null;
  sink: NewsSink | null = null;
  /** False: UIDs hold for one selection of their mailbox only (UIDNOTSTICKY, RFC 4315 §3), so that no other connection knows them. */
  numbersLast = true;
  /** LIST with RETURN options is refused here, whatever the capabilities say. */
  plainListOnly = false;
  /** Whose words the server's own ids are asked for with. */
  objectIds: ObjectIds = "none";
  /** When the server last said something, by the clock of `performance.now`. */
  heardAt = performance.now();
  #remarks = 0;
  /** Counts lines that removed messages from the view: a listing across one of them is not whole. */
  removals = 0;

  constructor(client: ImapFlow) {
    this.client = client;
    this.#layer = client as unknown as CommandLayer;
    const exec = this.#layer.exec.bind(client);
    // Whoever calls, of us or of the library: what is not for reading is not sent.
    this.#layer.exec = async (command, ...rest) => {
      mustOnlyRead(command);
      return exec(command, ...rest);
    };
    // imapflow would park the whole connection for as long as a throttled server asks; the scheduler does that better.
    this.#layer.throttleWait = () => Promise.resolve(false);
  }

  /** False after a PREAUTH greeting: the connection is somebody's, but nobody was asked whose. */
  get hasLoggedIn(): boolean {
    return [...this.#layer.authCapabilities.values()].includes(true);
  }

  /** Takes over what the server says unasked, once connected. Half-open connections are found by the kernel too. */
  begin(keepAliveMs: number): void {
    this.#layer.socket?.setKeepAlive(true, keepAliveMs);
    this.#installHandlers();
  }

  can(capability: string): boolean {
    return this.client.capabilities.has(capability);
  }

  enabled(extension: string): boolean {
    return this.client.enabled.has(extension);
  }

  get alive(): boolean {
    return this.client.usable && !this.client.isClosed;
  }

  /**
   * Sends one command and waits for its tagged answer. Past `ms` the connection is closed: what it would still say could
   * only be misread. An abort stops the wait and leaves the connection in order.
   * @throws the error of imapflow for NO, BAD and a lost connection; translate with `classify`.
   */
  async command(
    name: string,
    attributes: readonly unknown[] | false,
    options: { readonly untagged?: Handlers; readonly ms: number; readonly signal: AbortSignal },
  ): Promise<Completion> {
    this.#remarks = 0;
    const send = async (): Promise<Completion> => {
      const { response, next } = await this.#layer.exec(name, attributes, { untagged: options.untagged ?? {} });
      next();
      this.heardAt = performance.now();
      const code = codeOf(response);
      const whole = response.command.toUpperCase() === "OK" && !(code !== null && cutShort.has(code));
      return { whole, code, lowest: code === "MESSAGELIMIT" ? uint32Of(sectionOf(response)?.[2]) : null };
    };
    return withDeadline(send, options.ms, options.signal, () => this.client.close());
  }

  /** Starts IDLE; settles when the server listens. `ended` settles when the IDLE is over, for whatever reason. */
  async idle(ms: number, signal: AbortSignal): Promise<{ readonly ended: Promise<Error | null> }> {
    let armed = (): void => {};
    const listening = new Promise<void>((resolve) => {
      armed = resolve;
    });
    const run = this.#layer.exec("IDLE", false, {
      onPlusTag: () => {
        armed();
        return Promise.resolve();
      },
    });
    const ended = run.then(
      ({ next }) => {
        next();
        this.heardAt = performance.now();
        return null;
      },
      (error: unknown) => (error instanceof Error ? error : new Error("IDLE ended", { cause: error })),
    );
    const settled = Promise.race([listening, ended]);
    const error = await withDeadline(
      () => settled,
      ms,
      signal,
      () => this.client.close(),
    );
    if (error instanceof Error) throw error;
    return { ended };
  }

  /** Asks the server to end an IDLE and waits until it has. */
  async done(ended: Promise<Error | null>, ms: number, signal: AbortSignal): Promise<void> {
    const end = (): Promise<Error | null> => {
      this.#layer.write("DONE");
      return ended;
    };
    const error = await withDeadline(end, ms, signal, () => this.client.close());
    if (error !== null) throw error;
  }

  /** Lines that come when no command claims them: while idling, between commands, or beside a command's own answer. */
  #installHandlers(): void {
    const handlers = this.#layer.untaggedHandlers;
    const on = (name: string, handle: (line: Line) => void): void => {
      handlers[name] = (line) => {
        this.heardAt = performance.now();
        handle(line);
        return Promise.resolve();
      };
    };
    on("EXISTS", (line) => this.#exists(line));
    on("EXPUNGE", (line) => this.#expunged(line));
    on("VANISHED", (line) => this.#vanished(line));
    on("FETCH", (line) => this.changed(line));
    on("OK", (line) => this.#told(line));
    on("STATUS", (line) => this.sink?.news(pathOf(line.attributes?.[0], this.client)));
    on("LIST", () => this.sink?.news(null));
  }

  #selectedNews(): void {
    if (this.view !== null) this.sink?.news(this.view.path);
  }

  #exists(line: Line): void {
    const count = uint32Of(line.command);
    if (this.view === null || count === null || count === this.view.exists) return;
    // EXISTS must not shrink without EXPUNGE (RFC 9051 7.4.1); it has been seen to.
    if (count < this.view.exists) this.removals++;
    this.view.exists = count;
    this.#selectedNews();
  }

  #expunged(line: Line): void {
    if (this.view === null || (uint32Of(line.command) ?? 0) === 0) return;
    this.removals++;
    this.view.exists = Math.max(0, this.view.exists - 1);
    this.#selectedNews();
  }

  #vanished(line: Line): void {
    const [first] = line.attributes ?? [];
    // A list comes first in `VANISHED (EARLIER) …`: history, which does not change the counts (RFC 7162 3.2.10).
    if (this.view === null || first === undefined || listOf(first) !== null) return;
    this.removals++;
    const gone = uidsOf(first, { from: 1, to: 0xffffffff });
    this.view.exists = Math.max(0, this.view.exists - (gone?.length ?? 0));
    this.#selectedNews();
  }

  /** A FETCH line that answers no question of ours: somebody changed a flag. */
  changed(line: Line): void {
    const items = listOf(line.attributes?.[1]);
    if (items === null || items.length === 0) return;
    this.#selectedNews();
  }

  #told(line: Line): void {
    if (this.#remarks++ > mostRemarks) return this.#giveUp();
    const code = codeOf(line);
    if (code === "NOTIFICATIONOVERFLOW") this.onOverflow?.();
    const modseq = code === "HIGHESTMODSEQ" ? bigintOf(sectionOf(line)?.[1]) : null;
    if (this.view !== null && modseq !== null) this.view.highestModseq = modseq;
    // A mailbox rebuilt under our feet: nothing listed across that is whole (G1).
    if (code === "UIDVALIDITY" && uint32Of(sectionOf(line)?.[1]) !== this.view?.uidValidity) this.removals++;
  }

  #giveUp(): void {
    this.client.emit("error", Object.assign(new Error("The server does not stop talking."), { code: "TooManyResponses" }));
    this.client.close();
  }

  /** The server gave up NOTIFY (RFC 5465 5.8): set by who armed it. */
  onOverflow: (() => void) | null = null;
}

/** The bracketed part of a status line: `OK [PERMANENTFLAGS (...)] text`. */
export const sectionOf = (line: Line): readonly Token[] | null => {
  const first = line.attributes?.[0];
  if (first === null || first === undefined || Array.isArray(first) || !("section" in first)) return null;
  return first.value === "" || first.value === undefined ? (first.section ?? null) : null;
};

export const codeOf = (line: Line): string | null => {
  const code = sectionOf(line)?.[0];
  if (code === null || code === undefined || !("value" in code) || typeof code.value !== "string") return null;
  return code.value.toUpperCase();
};

/** What a NO or BAD said; null for any other error. */
export const refusalOf = (error: unknown): { readonly code: string | null; readonly throttled: boolean } | null => {
  if (!(error instanceof Error) || !("responseStatus" in error)) return null;
  const line = "response" in error ? (error.response as Line) : null;
  const code = line === null ? null : codeOf(line);
  return { code, throttled: ("code" in error && error.code === "ETHROTTLE") || code === "LIMIT" || code === "THROTTLED" };
};
