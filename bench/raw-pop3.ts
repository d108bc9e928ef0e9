/** The limit over POP3: a client with 64 RETRs under way that looks for nothing but the end of each message. */
import { connect, type Socket } from "node:net";
import type { RawRun, Taker, Target } from "./raw-imap.ts";

const underWay = 64;
const endOfMessage = Buffer.from("\r\n.\r\n");
const doubledDot = Buffer.from("\r\n..");

/** Without the dots that were doubled. */
const undotted = (body: Buffer): Buffer =>
  body[0] !== 46 && !body.includes(doubledDot)
    ? Buffer.from(body)
    : Buffer.from(body.toString("latin1").replaceAll(/(^|\r\n)\./g, "$1"), "latin1");

class RawClient {
  messages = 0;
  private rest: Buffer = Buffer.alloc(0);
  /** Where the end of the message that comes was not found yet. */
  private from = 0;
  private inBody = false;
  private asked = 0;
  private count = 0;
  private settle: (text: string) => void = () => undefined;
  private readonly socket: Socket;
  private readonly take: Taker | null;

  constructor(socket: Socket, take: Taker | null) {
    this.socket = socket;
    this.take = take;
    socket.on("data", (chunk: Buffer) => this.feed(chunk));
  }

  /** The next line that is no part of a message. */
  line(): Promise<string> {
    return new Promise((resolve) => (this.settle = resolve));
  }

  say(text: string): Promise<string> {
    const line = this.line();
    this.socket.write(`${text}\r\n`);
    return line;
  }

  /** Asks for messages 1 to `count`. */
  async fetch(count: number): Promise<void> {
    if (count === 0) return;
    this.count = count;
    const done = this.line();
    this.ask();
    await done;
  }

  private ask(): void {
    let commands = "";
    for (; this.asked < this.count && this.asked - this.messages < underWay; this.asked += 1)
      commands += `RETR ${this.asked + 1}\r\n`;
    if (commands !== "") this.socket.write(commands);
  }

  private handOn(body: Buffer): void {
    this.messages += 1;
    const waiting = this.take?.(undotted(body));
    if (waiting !== undefined) {
      this.socket.pause();
      void waiting.then(() => this.socket.resume());
    }
    if (this.messages === this.count) this.settle("");
  }

  private feed(chunk: Buffer): void {
    const octets = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk]);
    let at = 0;
    for (;;) {
      const end = octets.indexOf(this.inBody ? endOfMessage : "\r\n", Math.max(at, this.from));
      if (end < 0) break;
      this.from = 0;
      if (this.inBody) {
        this.handOn(octets.subarray(at, end + 2));
        at = end + endOfMessage.length;
        this.inBody = false;
      } else {
        const line = octets.toString("latin1", at, end);
        at = end + 2;
        if (this.count > this.messages) this.inBody = true;
        else this.settle(line);
      }
    }
    this.rest = octets.subarray(at);
    this.from = Math.max(0, this.rest.length - endOfMessage.length);
    this.ask();
  }
}

/** Logs in and retrieves every message, which is thrown away, or handed on. */
export const fetchRawPop3 = async (target: Target, take: Taker | null): Promise<RawRun> => {
  const began = performance.now();
  const socket = connect({ host: target.host, port: target.port, noDelay: true });
  const client = new RawClient(socket, take);
  await client.line();
  await client.say(`USER ${target.user}`);
  await client.say(`PASS ${target.password}`);
  const stat = await client.say("STAT");
  await client.fetch(Number(/^\+OK (\d+)/.exec(stat)?.[1]));
  await client.say("QUIT");
  socket.destroy();
  return { seconds: (performance.now() - began) / 1000, messages: client.messages };
};
