/**
 * A POP3 connection as questions and their answers in order. Every question is answered, or fails with the connection: by a
 * close, an error of the socket, silence, or an answer that takes too long as a whole, however lively it drips.
 */
import type { Socket } from "node:net";
import { InvariantError } from "../../model/failure.ts";
import { networkBytes } from "../../telemetry/metrics.ts";
import { tooSlow } from "../deadline.ts";
import { ProtocolFault } from "../protocol-fault.ts";
import { type Expectation, type Reply, ReplyFramer } from "./framing.ts";

interface Question {
  readonly expected: Expectation;
  /** Most milliseconds from when it is its turn to be answered. */
  readonly ms: number;
  resolve(reply: Reply): void;
  reject(error: Error): void;
}

/** The code is one that verdict.ts knows. */
const closed = (what: string): Error => Object.assign(new Error(what), { code: "EConnectionClosed" });

/** One socket and its framer. */
export class Wire {
  readonly #socket: Socket;
  readonly #framer: ReplyFramer;
  readonly #silenceMs: number;
  /** In the order they were asked; the reply that comes is the first one's. */
  readonly #due: Question[] = [];
  #ended: Error | null = null;
  /** The disk is behind. */
  #behind = false;
  #corked = false;
  #timer: NodeJS.Timeout | null = null;
  #timerAt = 0;
  /** When the last octet came, and when the first question due had its turn; in milliseconds. */
  #heardAt = 0;
  #turnAt = 0;

  /** Takes over an open socket. Most `silenceMs` may pass between two octets while an answer is due. */
  constructor(socket: Socket, options: { readonly silenceMs: number; readonly spoolDir: string }) {
    this.#socket = socket;
    this.#silenceMs = options.silenceMs;
    const due = this.#due;
    this.#framer = new ReplyFramer(
      {
        expect: () => due[0]?.expected ?? null,
        get expectsMore() {
          return due.length > 1;
        },
        onReply: (reply) => this.#answer(reply),
      },
      options.spoolDir,
    );
    socket.on("data", this.#take);
    socket.on("error", this.#end);
    socket.on("close", this.#closed);
  }

  get alive(): boolean {
    return this.#ended === null;
  }

  /** Questions without an answer yet. */
  get due(): number {
    return this.#due.length;
  }

  /**
   * Sends a line, with its end, and waits for the answer to it; `null` waits for what the server says unasked, its greeting.
   * Lines of one turn of the event loop leave together.
   * @throws Error with a `code` of verdict.ts, or SyncError `endpoint_timeout`; the connection is gone then
   */
  ask(line: string | null, expected: Expectation, ms: number): Promise<Reply> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== null) return reject(this.#ended);
      // Whoever made it: a line that holds another one would say what nobody meant to say.
      if (line !== null && !/^[^\r\n\0]*\r\n$/.test(line)) return reject(new InvariantError("a command is one line"));
      const now = performance.now();
      if (this.#due.length === 0) this.#heardAt = this.#turnAt = now;
      this.#due.push({ expected, ms, resolve, reject });
      if (line !== null) this.#send(line);
      this.#watch();
    });
  }

  /**
   * Gives the socket back, for TLS to be laid over it.
   * @throws ProtocolFault when octets are at hand: whatever came unprotected must not be read as if it were protected
   * (RFC 2595 §4).
   */
  detach(): Socket {
    if (!this.#framer.empty || this.#due.length > 0 || this.#socket.readableLength > 0)
      throw new ProtocolFault("STARTTLS_INJECTION", "something was sent before the connection was protected");
    this.#socket.off("data", this.#take);
    this.#socket.off("close", this.#closed);
    this.#ended = closed("handed over");
    this.#stopWatching();
    return this.#socket;
  }

  /** Ends the connection at once, for a reason if there is one. Harmless when repeated. */
  destroy(reason: Error = closed("closed by this side")): void {
    this.#end(reason);
  }

  #send(line: string): void {
    networkBytes.inc({ proto: "pop3", direction: "out" }, Buffer.byteLength(line));
    if (!this.#corked) {
      this.#corked = true;
      this.#socket.cork();
      process.nextTick(() => {
        this.#corked = false;
        this.#socket.uncork();
      });
    }
    this.#socket.write(line);
  }

  #answer(reply: Reply): void {
    const question = this.#due.shift();
    this.#turnAt = performance.now();
    this.#watch();
    question?.resolve(reply);
  }

  readonly #take = (chunk: Buffer): void => {
    this.#heardAt = performance.now();
    networkBytes.inc({ proto: "pop3", direction: "in" }, chunk.length);
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
      this.#heardAt = performance.now();
      if (this.#ended === null) this.#socket.resume();
    }, this.#end);
  }

  /** One timer for all questions, set anew only for an earlier time: most answers come long before theirs. */
  #watch(): void {
    const [first] = this.#due;
    if (first === undefined) return;
    const at = this.#dueAt(first);
    if (this.#timer !== null && this.#timerAt <= at) return;
    this.#stopWatching();
    this.#timerAt = at;
    this.#timer = setTimeout(this.#check, Math.max(1, at - performance.now()));
  }

  #dueAt(question: Question): number {
    const answered = this.#turnAt + question.ms;
    // While the disk is behind the server is not to blame for its silence.
    return this.#behind ? answered : Math.min(answered, this.#heardAt + this.#silenceMs);
  }

  readonly #check = (): void => {
    this.#timer = null;
    const [first] = this.#due;
    if (first === undefined) return;
    const now = performance.now();
    if (now < this.#dueAt(first)) this.#watch();
    else this.#end(tooSlow(now - this.#turnAt));
  };

  #stopWatching(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  readonly #closed = (): void => this.#end(closed("the server closed the connection"));

  readonly #end = (error: Error): void => {
    if (this.#ended !== null) return;
    this.#ended = error;
    this.#stopWatching();
    this.#socket.destroy();
    // Leftovers of the spool are cleared at the next start too: a failure to remove them now is not worth a word.
    this.#framer.abort().catch(() => undefined);
    for (const question of this.#due.splice(0)) question.reject(error);
  };
}
