/**
 * An IMAP connection as a stream of whole responses. Messages are never turned into text: a literal goes octet by octet
 * into a buffer of exactly its size, above one part into a spool file, or nowhere.
 */
import type { Socket } from "node:net";
import { partSize } from "../../model/octets.ts";
import { networkBytes } from "../../telemetry/metrics.ts";
import { type OctetsWriter, startOctets } from "../octets.ts";
import { ProtocolFault } from "../protocol-fault.ts";
import { announcesBody, disposeLiterals, type Literal, type Response } from "./bulk-codec.ts";

/** Of one response, its literals not counted; the UIDs of a large range stay below. */
const maxText = 1024 * 1024;
const maxLiterals = 64;
/** Of a literal that is not the octets of a message. */
const maxSmallLiteral = 64 * 1024;

/** A message cut from a slab keeps all of it in memory; those of one slab are stored and dropped together. */
const slabSize = 256 * 1024;

const linefeed = 10;
const carriageReturn = 13;
const closeBrace = 125;

/** Takes what comes from the server. May throw, which ends the connection. */
export interface ResponseSink {
  /** What to do with the octets of a message of this size. */
  planBody(size: number): "keep" | "skip";
  onResponse(response: Response): void;
}

export interface WireListener extends ResponseSink {
  /** Called once, when the connection is gone or broken, whoever ended it; nothing comes after it. */
  onEnd(error: Error): void;
}

type Intake =
  | { readonly kind: "memory"; readonly buffer: Buffer; left: number }
  | { readonly kind: "spool"; readonly writer: OctetsWriter; left: number }
  | { readonly kind: "skip"; readonly size: number; left: number };

/** Status lines end in free text, which may look like a literal without being one. */
const isStatus = (text: string): boolean => !text.startsWith("* ") || /^\* (?:OK|NO|BAD|BYE|PREAUTH)\b/i.test(text);

/** Cuts octets, which may come in any pieces, into responses. */
export class ResponseFramer {
  readonly #sink: ResponseSink;
  readonly #spoolDir: string;
  /** A line whose end has not come. */
  #rest = "";
  #text = "";
  #literals: Literal[] = [];
  #intake: Intake | null = null;
  /** What is left of it. */
  #slab: Buffer = Buffer.alloc(0);
  #stopped = false;

  constructor(sink: ResponseSink, spoolDir: string) {
    this.#sink = sink;
    this.#spoolDir = spoolDir;
  }

  /** Nothing has begun that has not ended. */
  get empty(): boolean {
    return this.#rest === "" && this.#text === "" && this.#intake === null;
  }

  /** Takes the next octets. A promise means that the disk is behind: wait for it before the next call. @throws ProtocolFault */
  feed(chunk: Buffer): void | Promise<void> {
    for (let at = 0; at < chunk.length && !this.#stopped;) {
      if (this.#intake === null) {
        at = this.#takeLine(chunk, at);
        continue;
      }
      const end = Math.min(chunk.length, at + this.#intake.left);
      const behind = this.#takeOctets(this.#intake, chunk, at, end);
      at = end;
      if (behind !== undefined) return at === chunk.length ? behind : this.#feedAfter(behind, chunk.subarray(at));
    }
    return undefined;
  }

  /** Drops what has begun, with its spool file, and takes no more. */
  async abort(): Promise<void> {
    this.#stopped = true;
    disposeLiterals(this.#literals);
    if (this.#intake?.kind === "spool") await this.#intake.writer.abort();
  }

  async #feedAfter(behind: Promise<void>, chunk: Buffer): Promise<void> {
    await behind;
    await this.feed(chunk);
  }

  #takeLine(chunk: Buffer, at: number): number {
    const lineEnd = chunk.indexOf(linefeed, at);
    const end = lineEnd < 0 ? chunk.length : lineEnd;
    if (this.#text.length + this.#rest.length + end - at > maxText)
      throw new ProtocolFault("LineTooLarge", "a response is longer than 1 MiB");
    this.#rest += chunk.toString("latin1", at, end);
    if (lineEnd < 0) return end;
    let line = this.#rest;
    this.#rest = "";
    // Some servers end lines with a bare LF.
    if (line.charCodeAt(line.length - 1) === carriageReturn) line = line.slice(0, -1);
    this.#endLine(line);
    return end + 1;
  }

  #endLine(line: string): void {
    this.#text = this.#text === "" ? line : this.#text + line;
    const size = line.charCodeAt(line.length - 1) === closeBrace && !isStatus(this.#text) ? announcedSize(line) : -1;
    if (size >= 0) return this.#beginLiteral(size);
    const response = { text: this.#text, literals: this.#literals };
    this.#text = "";
    this.#literals = [];
    this.#sink.onResponse(response);
  }

  #beginLiteral(size: number): void {
    if (this.#literals.length >= maxLiterals) throw new ProtocolFault("ResponseTooLarge", "a response has more than 64 literals");
    const isBody = announcesBody(this.#text);
    if (!isBody && size > maxSmallLiteral) throw new ProtocolFault("ResponseTooLarge", "a literal is out of place");
    if (isBody && this.#sink.planBody(size) === "skip") {
      if (size === 0) this.#literals.push({ skipped: 0 });
      else this.#intake = { kind: "skip", size, left: size };
    } else if (size > partSize) {
      this.#intake = { kind: "spool", writer: startOctets({ size, spoolDir: this.#spoolDir }), left: size };
    } else {
      const buffer = this.#roomFor(size);
      if (size === 0) this.#literals.push(buffer);
      else this.#intake = { kind: "memory", buffer, left: size };
    }
  }

  /** Small messages, which are most, share a slab: a buffer of its own for each keeps the garbage collector busy. */
  #roomFor(size: number): Buffer {
    if (size > slabSize / 8) return Buffer.allocUnsafeSlow(size);
    if (size > this.#slab.length) this.#slab = Buffer.allocUnsafeSlow(slabSize);
    const room = this.#slab.subarray(0, size);
    this.#slab = this.#slab.subarray(size);
    return room;
  }

  #takeOctets(intake: Intake, chunk: Buffer, from: number, to: number): void | Promise<void> {
    const before = intake.left;
    intake.left -= to - from;
    if (intake.kind === "spool") {
      const behind = intake.writer.write(chunk.subarray(from, to));
      return intake.left === 0 ? this.#endSpool(intake.writer, behind) : behind;
    }
    if (intake.kind === "memory") chunk.copy(intake.buffer, intake.buffer.length - before, from, to);
    if (intake.left > 0) return undefined;
    this.#intake = null;
    this.#literals.push(intake.kind === "memory" ? intake.buffer : { skipped: intake.size });
    return undefined;
  }

  async #endSpool(writer: OctetsWriter, behind: void | Promise<void>): Promise<void> {
    await behind;
    const octets = await writer.finish();
    this.#intake = null;
    this.#literals.push(octets);
  }
}

/** Size in `…{123}`; -1 when the line does not end so. `{123+}` is a client's spelling that some servers use. */
const announcedSize = (line: string): number => {
  const match = /\{(\d{1,10})\+?\}$/.exec(line);
  return match === null ? -1 : Number(match[1]);
};

/** The code is one that `classify` knows. */
const closed = (what: string): Error => Object.assign(new Error(what), { code: "EConnectionClosed" });

/** One socket and its framer. */
export class BulkWire {
  readonly #socket: Socket;
  readonly #framer: ResponseFramer;
  /** May be exchanged between two responses. */
  listener: WireListener;
  /** The consumer is behind. */
  #held = false;
  /** The disk is behind. */
  #behind = false;
  #ended = false;
  #received = 0;

  constructor(socket: Socket, listener: WireListener, spoolDir: string) {
    this.#socket = socket;
    this.listener = listener;
    const sink: ResponseSink = {
      planBody: (size) => this.listener.planBody(size),
      onResponse: (response) => this.listener.onResponse(response),
    };
    this.#framer = new ResponseFramer(sink, spoolDir);
    socket.on("data", this.#take);
    socket.on("error", this.#end);
    socket.on("close", this.#closed);
  }

  /** Is the server to blame when nothing comes? */
  get listening(): boolean {
    return !this.#held && !this.#behind && !this.#ended;
  }

  /** Octets that came so far. */
  get received(): number {
    return this.#received;
  }

  send(text: string): void {
    if (this.#ended) return;
    networkBytes.inc({ proto: "imap", direction: "out" }, Buffer.byteLength(text));
    this.#socket.write(text);
  }

  /** Sends octets as they are; waits until the network has taken them, or the connection has ended. */
  async write(octets: Buffer): Promise<void> {
    if (this.#ended) return;
    networkBytes.inc({ proto: "imap", direction: "out" }, octets.length);
    if (this.#socket.write(octets)) return;
    await new Promise<void>((resolve) => {
      const settle = (): void => {
        this.#socket.off("drain", settle).off("close", settle);
        resolve();
      };
      this.#socket.on("drain", settle).on("close", settle);
    });
  }

  /** Leaves what the server sends in the network until `release`; whole responses at hand may still be delivered. */
  hold(): void {
    this.#held = true;
    this.#socket.pause();
  }

  release(): void {
    this.#held = false;
    if (!this.#behind) this.#socket.resume();
  }

  /**
   * Gives the socket back, for TLS to be laid over it.
   * @throws ProtocolFault when octets are at hand: whatever came unprotected must not be read as if it were protected
   * (RFC 9051 §11.1).
   */
  detach(): Socket {
    if (!this.#framer.empty || this.#socket.readableLength > 0) {
      throw new ProtocolFault("STARTTLS_INJECTION", "something was sent before the connection was protected");
    }
    this.#socket.off("data", this.#take);
    this.#socket.off("close", this.#closed);
    this.#ended = true;
    return this.#socket;
  }

  /** Ends the connection at once, for a reason if there is one. Harmless when repeated. */
  destroy(reason: Error = closed("closed by this side")): void {
    this.#end(reason);
  }

  readonly #take = (chunk: Buffer): void => {
    this.#received += chunk.length;
    networkBytes.inc({ proto: "imap", direction: "in" }, chunk.length);
    try {
      const behind = this.#framer.feed(chunk);
      if (behind !== undefined) this.#waitFor(behind);
    } catch (error) {
      this.#end(error as Error);
    }
  };

  #waitFor(disk: Promise<void>): void {
    this.#behind = true;
    this.#socket.pause();
    disk.then(() => {
      this.#behind = false;
      if (!this.#held && !this.#ended) this.#socket.resume();
    }, this.#end);
  }

  readonly #closed = (): void => this.#end(closed("the server closed the connection"));

  readonly #end = (error: Error): void => {
    if (this.#ended) return;
    this.#ended = true;
    this.#socket.destroy();
    // Leftovers of the spool are cleared at the next start too: a failure to remove them now is not worth a word.
    this.#framer.abort().catch(() => undefined);
    this.listener.onEnd(error);
  };
}
