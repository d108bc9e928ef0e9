/**
 * POP3 replies out of octets that may come in any pieces (RFC 1939 §3, RFC 2449 §8).
 *
 * node-pop3 frames by looking at how each chunk of the socket begins and ends. A status line or a terminator that is split
 * between two chunks then hangs or cuts the message, dots stay doubled, octets above 127 become U+FFFD, and whoever closes
 * in the middle leaves a promise that never settles. So its framing is not used: here each octet moves a state machine, a
 * message is nothing but octets from its first to its last, and what was not ended by the line with a dot never leaves.
 */
import { type Octets, partSize } from "../../model/octets.ts";
import { memoryOctets, type OctetsWriter, startOctets } from "../octets.ts";
import { ProtocolFault } from "../protocol-fault.ts";
import { Pieces } from "./pieces.ts";

/** RFC 2449 §4 allows 512; the free text of some servers is longer. */
const maxStatusLine = 8192;

/** A message above the limit is passed over up to this many octets more; a server that goes on sends without end. */
const passedOver = 64 * 1024 * 1024;

/** Written to a file at once, in bytes. */
const spoolAtOnce = 128 * 1024;

const linefeed = 10;
const carriageReturn = 13;
const plus = 43;
const minus = 45;
const dot = 46;
const dotAfterCrlf = Buffer.from("\r\n.");
const dotAfterLf = Buffer.from("\n.");

/** What the next reply carries if it is a `+OK`. */
export type Expectation =
  /** Nothing. */
  | { readonly body: "none" }
  /** Nothing, or a `+` and a challenge in place of the status (RFC 5034 §4). */
  | { readonly body: "challenge" }
  /** Nothing, and not an octet may come before TLS (RFC 2595 §4). */
  | { readonly body: "tls" }
  /** Lines, kept in memory; more than `limit` octets end the connection. */
  | { readonly body: "lines"; readonly limit: number }
  /** A message of `size` octets as far as is known; one of more than `limit` is passed over. */
  | { readonly body: "message"; readonly limit: number; readonly size: number | null };

export interface Reply {
  readonly status: "+OK" | "-ERR" | "+";
  /** What follows the status, in Latin-1: one character is one octet. */
  readonly text: string;
  /** Lines with their ends, dots undone, without the terminator; null where none were expected. */
  readonly lines: Buffer | null;
  /** The octets of a message, or how many were passed over; null where none were expected. */
  readonly message: Octets | { readonly passedOver: number } | null;
}

export interface ReplySink {
  /** For the reply that begins; null when none is due. Asked once for each reply. */
  expect(): Expectation | null;
  /** Is another one due after the reply that is being read? */
  readonly expectsMore: boolean;
  onReply(reply: Reply): void;
}

/** Where the octets of a body go: memory up to one part, then a spool file; nowhere once there are too many. */
class Intake {
  readonly #expected: Extract<Expectation, { body: "lines" | "message" }>;
  readonly #spoolDir: string;
  readonly #pieces = new Pieces();
  #size = 0;
  #spool: OctetsWriter | null = null;

  constructor(expected: Extract<Expectation, { body: "lines" | "message" }>, spoolDir: string) {
    this.#expected = expected;
    this.#spoolDir = spoolDir;
  }

  write(octets: Buffer): void | Promise<void> {
    this.#size += octets.length;
    const { body, limit } = this.#expected;
    if (this.#size > limit) return this.#passOver(limit);
    this.#pieces.push(octets);
    if (body === "lines" || this.#pieces.bytes <= (this.#spool === null ? partSize : spoolAtOnce)) return undefined;
    this.#spool ??= startOctets({ size: this.#size, spoolDir: this.#spoolDir });
    return this.#spool.write(this.#pieces.take());
  }

  /** A promise where the octets lie in a file. */
  finish(): Pick<Reply, "lines" | "message"> | Promise<Pick<Reply, "lines" | "message">> {
    const { body, limit } = this.#expected;
    if (this.#size > limit) return { lines: null, message: { passedOver: this.#size } };
    const rest = this.#pieces.take();
    if (this.#spool !== null) return this.#finishSpool(this.#spool, rest);
    return body === "lines" ? { lines: rest, message: null } : { lines: null, message: memoryOctets(rest) };
  }

  async abort(): Promise<void> {
    this.#pieces.drop();
    await this.#spool?.abort();
  }

  async #finishSpool(spool: OctetsWriter, rest: Buffer): Promise<Pick<Reply, "lines" | "message">> {
    await spool.write(rest);
    return { lines: null, message: await spool.finish() };
  }

  #passOver(limit: number): void | Promise<void> {
    if (this.#expected.body === "lines" || this.#size > limit + passedOver)
      throw new ProtocolFault("ResponseTooLarge", "a reply is longer than is accepted");
    const spool = this.#spool;
    this.#pieces.drop();
    this.#spool = null;
    return spool?.abort();
  }
}

/** Within a body: in a line, behind its CR, at the start of a line, behind a dot there, behind the CR after that dot. */
type Place = "line" | "cr" | "start" | "dot" | "dot-cr";

interface Body {
  readonly status: string;
  readonly intake: Intake;
  /**
   * What begins a line that begins with a dot. Only CRLF ends a line, or a lone LF in a message could end the message for
   * it; unless the status line ended in a lone LF, when all lines of the server do.
   */
  readonly stuffed: Buffer;
  place: Place;
}

/** Cuts octets into replies. After an error it may only be aborted. */
export class ReplyFramer {
  readonly #sink: ReplySink;
  readonly #spoolDir: string;
  /** A status line whose end has not come. */
  #line = "";
  #body: Body | null = null;
  #stopped = false;

  constructor(sink: ReplySink, spoolDir: string) {
    this.#sink = sink;
    this.#spoolDir = spoolDir;
  }

  /** Nothing has begun that has not ended. */
  get empty(): boolean {
    return this.#line === "" && this.#body === null;
  }

  /**
   * Takes the next octets; the chunk must not be changed afterwards. A promise means that the disk is behind: wait for it
   * before the next call. @throws ProtocolFault or an Error with a `code` of verdict.ts, the promise too
   */
  feed(chunk: Buffer): void | Promise<void> {
    for (let at = 0; at < chunk.length && !this.#stopped;) {
      if (this.#body === null) {
        at = this.#takeStatus(chunk, at);
        continue;
      }
      const [next, behind] = this.#takeBody(this.#body, chunk, at);
      at = next;
      if (behind !== undefined) return at === chunk.length ? behind : this.#feedAfter(behind, chunk.subarray(at));
    }
    return undefined;
  }

  /** Drops what has begun, with its spool file, and takes no more. */
  async abort(): Promise<void> {
    this.#stopped = true;
    await this.#body?.intake.abort();
  }

  async #feedAfter(behind: Promise<void>, chunk: Buffer): Promise<void> {
    await behind;
    await this.feed(chunk);
  }

  #takeStatus(chunk: Buffer, at: number): number {
    const lineEnd = chunk.indexOf(linefeed, at);
    const end = lineEnd < 0 ? chunk.length : lineEnd;
    if (this.#line.length + end - at > maxStatusLine) throw new ProtocolFault("LineTooLarge", "a status line without an end");
    this.#line += chunk.toString("latin1", at, end);
    if (lineEnd < 0) return end;
    const line = this.#line;
    this.#line = "";
    this.#endStatus(line, chunk, end + 1);
    return end + 1;
  }

  #endStatus(ended: string, chunk: Buffer, next: number): void {
    const expected = this.#sink.expect();
    const line = ended.endsWith("\r") ? ended.slice(0, -1) : ended;
    if (expected === null) {
      // A refusal that nobody asked for says that the session is over, e.g. for having been idle.
      if (/^-ERR\b/i.test(line)) throw Object.assign(new Error("the server ended the session"), { code: "EConnectionClosed" });
      throw new ProtocolFault("ResponseProcessingFailed", "an answer to nothing that was asked");
    }
    const [, status, text = ""] = /^(\+OK|-ERR|\+)(?: (.*))?$/is.exec(line) ?? [];
    if (status === undefined || (status === "+" && expected.body !== "challenge"))
      throw new ProtocolFault("ResponseProcessingFailed", "an answer that begins with neither +OK nor -ERR");
    const answer = status.toUpperCase() as Reply["status"];
    if (answer === "+OK" && (expected.body === "lines" || expected.body === "message")) {
      const stuffed = line === ended ? dotAfterLf : dotAfterCrlf;
      this.#body = { status: text, intake: new Intake(expected, this.#spoolDir), stuffed, place: "start" };
      return;
    }
    if (expected.body === "tls" && answer === "+OK" && next < chunk.length)
      throw new ProtocolFault("STARTTLS_INJECTION", "something was sent before the connection was protected");
    this.#sink.onReply({ status: answer, text, lines: null, message: null });
  }

  /** Takes what it can at once; returns where to go on, and what to wait for before. */
  #takeBody(body: Body, chunk: Buffer, from: number): [next: number, behind: Promise<void> | void] {
    let at = from;
    while (at < chunk.length) {
      const octet = chunk[at];
      if (body.place === "line") return this.#takeRun(body, chunk, at);
      if (body.place === "start") {
        body.place = octet === dot ? "dot" : "line";
        if (octet === dot) at += 1;
      } else if (body.place === "cr") {
        if (octet !== linefeed) body.place = "line";
        else return [at + 1, this.#keep(body, "start", chunk.subarray(at, at + 1))];
      } else if (octet === linefeed && (body.place === "dot-cr" || body.stuffed === dotAfterLf)) {
        return [at + 1, this.#endBody(body, chunk, at + 1)];
      } else if (body.place === "dot-cr") {
        // A CR that was held back, for no terminator came of it; the dot before it was a doubled one.
        return [at, this.#keep(body, "cr", Buffer.of(carriageReturn))];
      } else {
        body.place = octet === carriageReturn ? "dot-cr" : "line";
        if (octet === carriageReturn) at += 1;
      }
    }
    return [at, undefined];
  }

  /** The octets up to the next line that begins with a dot: few lines do, so most of a message is taken at once. */
  #takeRun(body: Body, chunk: Buffer, at: number): [next: number, behind: Promise<void> | void] {
    const found = chunk.indexOf(body.stuffed, at);
    const end = found < 0 ? chunk.length : found + body.stuffed.length - 1;
    const run = chunk.subarray(at, end);
    return found < 0 ? [end, this.#keep(body, placeAfter(run, body.stuffed), run)] : [end + 1, this.#keep(body, "dot", run)];
  }

  #keep(body: Body, place: Place, octets: Buffer): void | Promise<void> {
    body.place = place;
    return body.intake.write(octets);
  }

  #endBody(body: Body, chunk: Buffer, next: number): void | Promise<void> {
    // Where lines with a dot are not stuffed a message ends too early. What cannot be a reply tells it in time.
    const first = chunk[next];
    if (first !== undefined && (!this.#sink.expectsMore || (first !== plus && first !== minus)))
      throw new ProtocolFault("ResponseProcessingFailed", "a message went on after its end");
    const ended = body.intake.finish();
    if (ended instanceof Promise) return this.#reply(body, ended);
    this.#body = null;
    this.#sink.onReply({ status: "+OK", text: body.status, ...ended });
    return undefined;
  }

  async #reply(body: Body, ended: Promise<Pick<Reply, "lines" | "message">>): Promise<void> {
    const { lines, message } = await ended;
    this.#body = null;
    if (!this.#stopped) this.#sink.onReply({ status: "+OK", text: body.status, lines, message });
    else if (message !== null && "dispose" in message) await message.dispose();
  }
}

/** Where a run of octets within a line leaves off. */
const placeAfter = (run: Buffer, stuffed: Body["stuffed"]): Place => {
  const last = run[run.length - 1];
  if (stuffed === dotAfterLf) return last === linefeed ? "start" : "line";
  if (last === carriageReturn) return "cr";
  return last === linefeed && run[run.length - 2] === carriageReturn ? "start" : "line";
};
