/**
 * A maildrop that was logged in to, with every command of it that is of use to anybody (RFC 1939). What a listing says is
 * handed on as it came; a message is its octets, or an error, never a part of it. Only a {@link RemovingConnection} can say
 * DELE, which takes effect at QUIT: a connection that ends otherwise has deleted nothing.
 */
import type { Credentials, EndpointSettings } from "../../model/endpoint.ts";
import { InvariantError, invariant, type SyncError } from "../../model/failure.ts";
import type { Octets } from "../../model/octets.ts";
import { stoppedBy } from "../deadline.ts";
import { refuseCleartext } from "../dial.ts";
import { resolveHost } from "../egress.ts";
import type { EndpointLimits } from "../endpoint.ts";
import { failureOf, tooMuch } from "../verdict.ts";
import type { Capabilities } from "./capabilities.ts";
import { classify, type Doing, Refusal } from "./classify.ts";
import { Commands, type Verb } from "./commands.ts";
import type { Expectation, Reply } from "./framing.ts";
import { type ListedMessage, type ListedUid, type Listing, sizesOf, type Stat, statOf, uidsOf } from "./listing.ts";
import { logIn } from "./login.ts";
import { type ReadMessage, readAhead, type WantedMessage } from "./read-ahead.ts";
import type { Wire } from "./wire.ts";

/** In milliseconds; tests shorten them. */
export interface Pop3Timing {
  readonly connectMs: number;
  readonly loginMs: number;
  /** For the whole answer to a command; a message may take as much longer as its size asks for. */
  readonly commandMs: number;
  /** Between two octets while an answer is due. */
  readonly silenceMs: number;
}

const defaultTiming: Pop3Timing = { connectMs: 30_000, loginMs: 30_000, commandMs: 120_000, silenceMs: 60_000 };

/** Slower than this nobody reads mail; in bytes per millisecond. */
const leastRate = 10;

/** Of UIDL with 100,000 ids of 300 characters, twice. */
const maxListing = 64 * 1024 * 1024;

/** Commands under way where the server offers PIPELINING: 5 KB at most, which wait in any server's socket. */
const pipelined = 256;

export interface Pop3Request {
  readonly settings: EndpointSettings;
  readonly credentials: Credentials;
  readonly limits: EndpointLimits;
  readonly timing?: Partial<Pop3Timing>;
  /** Most commands under way (256); 1 for a server that says PIPELINING and cannot. */
  readonly window?: number;
}

interface Opened {
  readonly wire: Wire;
  readonly capabilities: Capabilities;
  readonly request: Pop3Request;
  readonly timing: Pop3Timing;
}

/**
 * Every call rejects with a {@link SyncError}, never hangs past its deadline, and settles soon after `signal` aborts. After
 * an endpoint-scoped error, and after an abort during a call, the connection is gone: open a new one. Calls may overlap;
 * they are answered in order.
 */
export class Pop3Connection {
  readonly capabilities: Capabilities;
  readonly #wire: Wire;
  readonly #commands: Commands;
  readonly #request: Pop3Request;
  readonly #timing: Pop3Timing;
  readonly #heeded = new Map<AbortSignal, { calls: number; readonly stop: () => void }>();

  constructor({ wire, capabilities, request, timing }: Opened) {
    this.capabilities = capabilities;
    this.#wire = wire;
    const offered = capabilities.has("PIPELINING") ? pipelined : 1;
    this.#commands = new Commands(wire, Math.min(offered, request.window ?? pipelined));
    this.#request = request;
    this.#timing = timing;
  }

  /** False once the connection is gone. */
  get usable(): boolean {
    return this.#wire.alive;
  }

  async stat(signal: AbortSignal): Promise<Stat> {
    const { text } = await this.say(["STAT"], { body: "none" }, signal);
    return statOf(text);
  }

  async list(signal: AbortSignal): Promise<Listing<ListedMessage>> {
    try {
      const { lines } = await this.#ask(["LIST"], { body: "lines", limit: maxListing }, signal);
      return sizesOf(lines ?? Buffer.alloc(0));
    } catch (error) {
      throw this.#failure(error, "work");
    }
  }

  /** Null where the server refuses the command without a response code, as one does that has no UIDL. */
  async uidl(signal: AbortSignal): Promise<Listing<ListedUid> | null> {
    try {
      const { lines } = await this.#ask(["UIDL"], { body: "lines", limit: maxListing }, signal);
      return uidsOf(lines ?? Buffer.alloc(0));
    } catch (error) {
      if (error instanceof Refusal && error.responseCode === "") return null;
      throw this.#failure(error, "work");
    }
  }

  /** A whole message. On many servers it counts as read from then on. The caller disposes the octets. */
  async retr(wanted: WantedMessage, signal: AbortSignal): Promise<Octets> {
    return octetsOf(await this.#read(["RETR", wanted.number], wanted, signal));
  }

  /**
   * The header, a blank line and the first `lines` lines of the body; of `wanted.size` bytes at most, where that is known.
   * Where the body is shorter, servers give all of it; some cut or give all in any case. The caller disposes the octets.
   */
  async top(wanted: WantedMessage, lines: number, signal: AbortSignal): Promise<Octets> {
    return octetsOf(await this.#read(["TOP", wanted.number, lines], wanted, signal));
  }

  /**
   * Messages in the order they are wanted, read ahead of the consumer by a bounded number and size. A message that the server
   * refuses, or that is above the limit, comes with its error; an error of the connection ends the iteration.
   */
  retrMany(wanted: Iterable<WantedMessage>, signal: AbortSignal): AsyncGenerator<ReadMessage> {
    return readAhead(wanted, (message) => this.#read(["RETR", message.number], message, signal));
  }

  /** As {@link retrMany}, by TOP; without sizes where only headers are wanted, for the size is that of a whole message. */
  topMany(wanted: Iterable<WantedMessage>, lines: number, signal: AbortSignal): AsyncGenerator<ReadMessage> {
    return readAhead(wanted, (message) => this.#read(["TOP", message.number, lines], message, signal));
  }

  async noop(signal: AbortSignal): Promise<void> {
    await this.say(["NOOP"], { body: "none" }, signal);
  }

  /**
   * Ends the session, when all calls before are answered. True where the server says that it has removed what was marked;
   * after false it may have removed all of it, some or nothing, which only the next session tells. Never rejects.
   */
  async quit(signal: AbortSignal): Promise<boolean> {
    const confirmed = await this.#ask(["QUIT"], { body: "none" }, signal).then(
      () => true,
      () => false,
    );
    this.close();
    return confirmed;
  }

  /** Ends the connection at once: nothing is removed from the maildrop. Harmless when repeated. */
  close(): void {
    this.#wire.destroy();
  }

  async #read(
    words: readonly ["RETR" | "TOP", ...number[]],
    { number, size }: WantedMessage,
    signal: AbortSignal,
  ): Promise<ReadMessage> {
    const limit = this.#request.limits.maxMessageBytes;
    if (size !== null && size > limit) return { number, octets: null, error: this.#tooLarge() };
    try {
      const { message } = await this.#ask(words, { body: "message", limit, size }, signal);
      invariant(message !== null, "a message was asked for");
      if ("passedOver" in message) return { number, octets: null, error: this.#tooLarge() };
      return { number, octets: message, error: null };
    } catch (thrown) {
      const error = this.#failure(thrown, "message");
      if (error.scope !== "message") throw error;
      return { number, octets: null, error };
    }
  }

  /** For commands of a subclass, too. */
  protected async say(
    words: readonly [Verb, ...number[]],
    expected: Expectation,
    signal: AbortSignal,
    during: Doing["during"] = "work",
  ): Promise<Reply> {
    try {
      return await this.#ask(words, expected, signal);
    } catch (error) {
      throw this.#failure(error, during);
    }
  }

  async #ask(words: readonly [Verb, ...number[]], expected: Expectation, signal: AbortSignal): Promise<Reply> {
    if (signal.aborted) throw stoppedBy(signal);
    const [, ...numbers] = words;
    if (!numbers.every((number) => Number.isSafeInteger(number) && number >= 0))
      throw new InvariantError("messages have numbers");
    const { commandMs } = this.#timing;
    const ms = expected.body === "message" ? commandMs + (expected.size ?? expected.limit) / leastRate : commandMs;
    const release = this.#heed(signal);
    try {
      return await this.#commands.say(words, expected, ms);
    } finally {
      release();
    }
  }

  /** What was asked for cannot be called back: an abort ends the connection. One listener for all calls of a signal. */
  #heed(signal: AbortSignal): () => void {
    const heeded = this.#heeded.get(signal) ?? { calls: 0, stop: () => this.#wire.destroy(stoppedBy(signal)) };
    if (heeded.calls === 0) {
      this.#heeded.set(signal, heeded);
      signal.addEventListener("abort", heeded.stop);
    }
    heeded.calls += 1;
    return () => {
      heeded.calls -= 1;
      if (heeded.calls > 0) return;
      this.#heeded.delete(signal);
      signal.removeEventListener("abort", heeded.stop);
    };
  }

  get #doing(): Omit<Doing, "during"> {
    const { loginDelayMs } = this.capabilities;
    return { host: this.#request.settings.host, user: this.#request.credentials.user, loginDelayMs };
  }

  #failure(thrown: unknown, during: Doing["during"]): SyncError {
    const error = classify(thrown, { ...this.#doing, during });
    if (error.scope === "endpoint") this.#wire.destroy();
    return error;
  }

  #tooLarge(): SyncError {
    const doing = { ...this.#doing, during: "message", protocol: "POP3" } as const;
    return failureOf({ ...tooMuch, scope: "message" }, doing, { retryAfterMs: null, cause: undefined });
  }
}

/** A connection that can remove. Whoever only reads has none of these, so that no mistake of a reader deletes mail. */
export class RemovingConnection extends Pop3Connection {
  /** Marks a message; it goes when {@link quit} is confirmed, not before. @throws SyncError/message where it is refused */
  async dele(number: number, signal: AbortSignal): Promise<void> {
    await this.say(["DELE", number], { body: "none" }, signal, "message");
  }

  /** Takes all marks of {@link dele} back. */
  async rset(signal: AbortSignal): Promise<void> {
    await this.say(["RSET"], { body: "none" }, signal);
  }
}

const octetsOf = ({ octets, error }: ReadMessage): Octets => {
  if (error !== null) throw error;
  return octets;
};

const openFor = async (request: Pop3Request, signal: AbortSignal): Promise<Opened> => {
  const { settings, credentials, limits } = request;
  const timing = { ...defaultTiming, ...request.timing };
  refuseCleartext(settings, limits);
  const { address } = await resolveHost(settings.host, limits, signal);
  const opened = await logIn({ settings, credentials, address, spoolDir: limits.spoolDir, ...timing }, signal);
  return { ...opened, request, timing };
};

/**
 * Connects and logs in: to a vetted address only, over TLS unless the operator and the account both want it otherwise.
 * @throws SyncError/endpoint of every kind, `stopped` included
 */
export const openPop3 = async (request: Pop3Request, signal: AbortSignal): Promise<Pop3Connection> =>
  new Pop3Connection(await openFor(request, signal));

/** As {@link openPop3}, to remove. */
export const openToRemove = async (request: Pop3Request, signal: AbortSignal): Promise<RemovingConnection> =>
  new RemovingConnection(await openFor(request, signal));
