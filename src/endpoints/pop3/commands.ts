/**
 * Commands as node-pop3 says them, over our own wire. Its `command()` joins the words, writes the line to its socket and
 * waits for what is emitted; here a wire is put in the place of that socket, so that the library composes and awaits while
 * framing.ts reads. An instance serves one command: it hands whatever is answered to all who wait, so one for a whole
 * connection could have no two commands under way. Its RETR(), TOP(), UIDL() and LIST() are not called, for they turn octets
 * into UTF-8 text, nor its login, for it trims passwords.
 */
import Pop3Command from "node-pop3";
import type { Readable } from "node:stream";
import type { Socket } from "node:net";
import { Refusal } from "./classify.ts";
import type { Expectation, Reply } from "./framing.ts";
import type { Wire } from "./wire.ts";

export type Verb = "CAPA" | "STLS" | "STAT" | "LIST" | "UIDL" | "TOP" | "RETR" | "DELE" | "NOOP" | "RSET" | "QUIT";

/** One command of node-pop3; its answer comes from the wire. */
class Saying extends Pop3Command {
  constructor(answer: (line: string) => Promise<Reply>) {
    super({ host: "", user: "", password: "" });
    const settle = (line: string): void => {
      answer(line).then(
        (reply) => this.emit(...outcome(reply)),
        (error: unknown) => this.emit("error", error),
      );
    };
    // oxlint-disable-next-line no-underscore-dangle -- The one seam the library has.
    this._socket = { write: settle } as unknown as Socket;
  }
}

/** The library passes on what it is told to be the stream of the body: the whole reply. */
const outcome = (reply: Reply): [event: string, ...unknown[]] =>
  reply.status === "+OK" ? ["response", reply.text, reply] : ["error", new Refusal(reply.text)];

/** Commands in the order they are given, at most `window` of them under way (RFC 2449 §6.8). */
export class Commands {
  readonly #wire: Wire;
  readonly #waiting: (() => void)[] = [];
  #free: number;

  /** `window`: 1 where the server does not offer PIPELINING. */
  constructor(wire: Wire, window: number) {
    this.#wire = wire;
    this.#free = window;
  }

  /**
   * Says a command and waits for its answer, at most `ms` milliseconds from when it is its turn.
   * @throws Refusal for an `-ERR`; else what {@link Wire.ask} throws
   */
  async say(words: readonly [Verb, ...number[]], expected: Expectation, ms: number): Promise<Reply> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      const saying = new Saying((line) => this.#wire.ask(line, expected, ms));
      const [, reply] = (await saying.command(...words)) as [string, Readable | Reply];
      return reply as Reply;
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }
}
