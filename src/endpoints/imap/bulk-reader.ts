/**
 * Reads many messages fast: the commands of a bulk read and nothing else, with the next ones sent before the former have
 * ended, so that neither the parser nor the distance to the server is what one waits for. imapflow does everything else.
 *
 * Fetches in one mailbox may be answered side by side (RFC 9051 §5.5; Dovecot 2.3 does, when its output is full), so a
 * message belongs to the command that asked for its UID. An EXAMINE waits for what was sent before it.
 */
import type { Credentials, EndpointSettings, ObjectIds } from "../../model/endpoint.ts";
import { invariant, SyncError } from "../../model/failure.ts";
import { batchMessages, type FetchedBatch, type FetchRequest } from "../../model/observation.ts";
import type { Logger } from "../../telemetry/log.ts";
import { connectionsOpen } from "../../telemetry/metrics.ts";
import { stoppedBy, tooSlow } from "../deadline.ts";
import type { EndpointLimits } from "../endpoint.ts";
import { ProtocolFault } from "../protocol-fault.ts";
import { BulkClock, type BulkTiming, defaultTiming } from "./bulk-clock.ts";
import { disposeLiterals, type Response, responseCodeOf } from "./bulk-codec.ts";
import { openBulkWire, refusalOf } from "./bulk-login.ts";
import { type BulkCommand, type BulkEvent, BulkRun, type ExamineCommand, type FetchCommand } from "./bulk-run.ts";
import type { BulkWire, WireListener } from "./bulk-wire.ts";
import { classify, type Doing } from "./classify.ts";
import { uint32Of } from "./tokens.ts";

export interface BulkOpenRequest {
  readonly settings: EndpointSettings;
  readonly credentials: Credentials;
  /** The vetted address of the host; what is connected to. */
  readonly address: string;
  readonly limits: EndpointLimits;
  readonly log: Logger;
  /** Absent: none are asked for. */
  readonly objectIds?: ObjectIds;
  readonly timing?: Partial<BulkTiming>;
}

/** How long a polite goodbye may take. */
const logoutMs = 2000;
/** Octets of given-up commands that are read and dropped to keep the connection; a new one is cheaper than more. */
const drainLimit = 16 * 1024 * 1024;

export interface BulkReader {
  /** False after close, loss or a broken protocol: open another. */
  readonly usable: boolean;
  /**
   * Messages of one mailbox, range by range. One fetch at a time. What is left of it when the iteration ends early is read
   * and dropped, or costs the connection where it is much.
   * @throws SyncError mailbox-scoped, or endpoint-scoped when the rest must be read in another way; `usable` tells whether
   * the reader goes on. Whole messages that had arrived are yielded before; never a part of one.
   */
  fetch(request: FetchRequest, signal: AbortSignal): AsyncIterable<FetchedBatch>;
  /**
   * The same over many mailboxes without a pause between them. A mailbox that cannot be read is told by its `error`, and
   * the others go on.
   */
  fetchAll(requests: Iterable<FetchRequest>, signal: AbortSignal): AsyncIterable<BulkEvent>;
  /** Polite where that is quick (at most 2 s), else hard. Harmless when repeated. */
  close(): Promise<void>;
}

/** Commands under way: three large ones, or more where they ask for few messages each. */
const maxLarge = 3;
const maxSmall = 32;
const sizeOf = (command: BulkCommand): number => (command.kind === "fetch" ? command.range.to - command.range.from + 1 : 0);

class Reader implements BulkReader, WireListener {
  readonly #wire: BulkWire;
  readonly #request: BulkOpenRequest;
  readonly #ticker: NodeJS.Timeout;
  /** In the order they were sent and will be answered. */
  readonly #outstanding: BulkCommand[] = [];
  #run: BulkRun | null = null;
  #failure: SyncError | null = null;
  #bye: string | null = null;
  #leaving = false;
  #tag = 0;
  /** Octets read to be dropped since the last fetch began. */
  #drained = 0;
  readonly #clock: BulkClock;
  #onGone: () => void = () => undefined;

  constructor(wire: BulkWire, request: BulkOpenRequest, timing: BulkTiming) {
    this.#wire = wire;
    this.#request = request;
    this.#clock = new BulkClock(timing);
    this.#ticker = setInterval(() => this.#tick(), timing.tickMs);
    connectionsOpen.inc({ proto: "imap", kind: "bulk" });
    wire.listener = this;
  }

  get usable(): boolean {
    return this.#failure === null && !this.#leaving;
  }

  async *fetch(request: FetchRequest, signal: AbortSignal): AsyncIterable<FetchedBatch> {
    for await (const { batch, error } of this.fetchAll([request], signal)) {
      if (error !== null) throw error;
      yield batch;
    }
  }

  async *fetchAll(requests: Iterable<FetchRequest>, signal: AbortSignal): AsyncIterable<BulkEvent> {
    invariant(this.#run === null, "a bulk reader fetches one thing at a time");
    if (signal.aborted) throw stoppedBy(signal);
    const run = new BulkRun(requests, this.#request.objectIds ?? "none");
    const wake = (): void => run.wake();
    this.#run = run;
    this.#drained = 0;
    signal.addEventListener("abort", wake);
    try {
      for (;;) {
        if (signal.aborted) throw stoppedBy(signal);
        this.#pump(run);
        const event = run.take();
        if (event !== null) yield event;
        else if (this.#failure !== null) throw this.#failure;
        else if (run.finished) return;
        else await run.changed();
      }
    } finally {
      signal.removeEventListener("abort", wake);
      this.#run = null;
      // What is still to come of this run is read and dropped.
      this.#wire.release();
      await run.abandon();
    }
  }

  async close(): Promise<void> {
    if (this.usable && this.#outstanding.length === 0) {
      this.#leaving = true;
      const gone = new Promise<void>((resolve) => (this.#onGone = resolve));
      const patience = setTimeout(() => this.#wire.destroy(), logoutMs);
      this.#wire.send("b0 LOGOUT\r\n");
      await gone;
      clearTimeout(patience);
    }
    this.#wire.destroy();
  }

  planBody(size: number): "keep" | "skip" {
    // Any of them may be the one that is answered: Dovecot begins a FETCH while the SEARCH before it goes on.
    const wanted = this.#answering().some((command) => command.kind === "fetch" && command.run.wants(command));
    if (wanted) return size > this.#request.limits.maxMessageBytes ? "skip" : "keep";
    this.#drained += size;
    if (this.#drained > drainLimit) throw Object.assign(new Error("too much to read and drop"), { code: "EConnectionClosed" });
    return "skip";
  }

  onResponse(response: Response): void {
    if (response.text.startsWith("* ")) this.#untagged(response);
    else this.#tagged(response.text);
    if (this.#run?.full === true) this.#wire.hold();
  }

  onEnd(error: Error): void {
    clearInterval(this.#ticker);
    connectionsOpen.dec({ proto: "imap", kind: "bulk" });
    // Its words are ours, and the only trace of which rule the server broke.
    if (error instanceof ProtocolFault)
      this.#request.log.warn({ protocol: "imap", err: error }, "server broke the protocol in a bulk read");
    const told = this.#bye === null ? error : Object.assign(error, { reason: this.#bye });
    this.#failure = classify(told, this.#doing("work"));
    this.#run?.interrupt();
    this.#run?.wake();
    this.#onGone();
  }

  /** Sends what may be sent, and lets the server go on where the consumer keeps up. */
  #pump(run: BulkRun): void {
    if (this.#failure !== null || run.full) return;
    let text = "";
    while (this.#hasRoom()) {
      const next = run.next(() => `b${(this.#tag += 1)}`);
      if (next === null) break;
      if (this.#outstanding.length === 0) this.#clock.restart(this.#wire.received);
      this.#outstanding.push(...next.commands);
      text += next.text;
    }
    if (text !== "") this.#wire.send(text);
    this.#wire.release();
  }

  #hasRoom(): boolean {
    const fetches = this.#outstanding.filter((command) => command.kind === "fetch");
    if (fetches.length < maxLarge) return true;
    return fetches.length < maxSmall && fetches.reduce((sum, command) => sum + sizeOf(command), 0) < batchMessages;
  }

  #untagged(response: Response): void {
    const head = this.#outstanding[0];
    const { text } = response;
    if (text.startsWith("BYE", 2)) this.#bye = text;
    if (head === undefined || !head.run.wants(head)) return disposeLiterals(response.literals);
    const code = text.startsWith("OK", 2) ? responseCodeOf(text) : null;
    if (code?.[0] === "UIDVALIDITY") this.#checkEpoch(head, uint32Of(code[1]));
    else
      head.run.collect(
        this.#answering().filter((command) => command.kind === "fetch"),
        response,
      );
  }

  /** What may be answered now: an EXAMINE alone, or what stands before the next one. */
  #answering(): readonly BulkCommand[] {
    const examine = this.#outstanding.findIndex((command) => command.kind === "examine");
    return examine < 0 ? this.#outstanding : this.#outstanding.slice(0, Math.max(1, examine));
  }

  /** The server may tell a new epoch at the opening and, where something was rebuilt, at any time (RFC 9051 §2.3.1.1). */
  #checkEpoch(head: BulkCommand, uidValidity: number | null): void {
    if (uidValidity !== null && uidValidity !== head.job.request.uidValidity) head.run.fail(head, newEpoch());
    else if (head.kind === "examine") head.uidValidity = uidValidity;
  }

  #tagged(text: string): void {
    if (this.#leaving) return;
    const tag = text.slice(0, text.indexOf(" "));
    const command = this.#answering().find((one) => one.tag === tag);
    const status = /^\S+ (OK|NO|BAD)\b/i.exec(text)?.[1]?.toUpperCase();
    if (command === undefined || status === undefined)
      throw new ProtocolFault("ResponseProcessingFailed", "a line that answers no command");
    if (command.run.wants(command)) {
      if (command.kind === "examine") this.#examined(command, status, text);
      else if (command.kind === "fetch") this.#fetched(command, status, text);
    }
    this.#outstanding.splice(this.#outstanding.indexOf(command), 1);
    this.#clock.restart(this.#wire.received);
    command.run.ended();
    command.run.wake();
  }

  #examined(head: ExamineCommand, status: string, text: string): void {
    if (status === "OK" && head.uidValidity === null) return head.run.fail(head, noEpoch());
    if (status === "OK") return;
    const refused = this.#refused(status, text, "mailbox");
    // Servers keep names outside the encoding; a server that only wants to be left alone is not asked twice.
    if (refused.kind === "throttle" || !head.run.retry(head)) head.run.fail(head, refused);
  }

  #fetched(head: FetchCommand, status: string, text: string): void {
    const refused = status === "OK" ? null : this.#refused(status, text, "work");
    // One message a server stumbles over is refused with all others; whoever reads with care finds out which one it is.
    if (refused !== null) head.run.fail(head, refused.kind === "transient" ? onlyPart() : refused);
    // An OK is not enough (RFC 9738, RFC 9394): what the server left out must not be taken for missing.
    else if (cutShort.has(responseCodeOf(text)?.[0] ?? "") || !head.run.complete(head)) head.run.fail(head, onlyPart());
  }

  /** A BAD is between the server and this reader, whatever was asked for. */
  #refused(status: string, text: string, during: Doing["during"]): SyncError {
    return classify(refusalOf(text), this.#doing(status === "BAD" ? "work" : during));
  }

  #tick(): void {
    const head = this.#outstanding[0];
    const { listening, received } = this.#wire;
    const ranOut = this.#clock.tick(head === undefined ? null : { kind: head.kind, listening, received });
    if (ranOut !== null) this.#wire.destroy(tooSlow(ranOut));
  }

  #doing(during: Doing["during"]): Doing {
    return { during, host: this.#request.settings.host, user: this.#request.credentials.user };
  }
}

/** Codes of a tagged OK that is not the whole answer. */
const cutShort: ReadonlySet<string> = new Set(["MESSAGELIMIT", "LIMIT", "PARTIAL"]);

const newEpoch = (): SyncError =>
  new SyncError("transient", "mailbox", {
    code: "mailbox_renumbered",
    message: "The server has numbered this mailbox anew.",
    action: "Nothing; it is looked at anew by itself.",
  });

const noEpoch = (): SyncError =>
  new SyncError("bug", "mailbox", {
    code: "endpoint_protocol_error",
    message: "The server gives this mailbox no UIDVALIDITY, so its messages cannot be told apart.",
    action: "Nothing; the mailbox is left out and tried again later.",
  });

const onlyPart = (): SyncError =>
  new SyncError("transient", "endpoint", {
    code: "endpoint_unavailable",
    message: "The server gave only a part of the messages it was asked for.",
    action: "Nothing; the rest is asked for again by itself, in smaller portions.",
  });

/**
 * Connects to the vetted address and logs in; the caller has checked that cleartext is allowed where it is asked for.
 * @throws SyncError endpoint-scoped, of every kind.
 */
export const openBulkReader = async (request: BulkOpenRequest, signal: AbortSignal): Promise<BulkReader> => {
  const timing = { ...defaultTiming, ...request.timing };
  const { settings, credentials, address, limits, log } = request;
  const startedAt = performance.now();
  const wire = await openBulkWire({ settings, credentials, address, spoolDir: limits.spoolDir, ...timing }, signal);
  log.debug({ protocol: "imap", durationMs: Math.round(performance.now() - startedAt) }, "bulk reader opened");
  return new Reader(wire, request, timing);
};
