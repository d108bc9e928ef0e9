/** The limits: a client that fetches everything and throws it away, or hands it on, with the fewest octets looked at. */
import { connect, type Socket } from "node:net";

/** Takes the octets of one message; a promise means: wait for it before the next is read. */
export type Taker = (octets: Buffer) => void | Promise<void>;

/** Counts the literals of a FETCH stream; keeps them only where somebody takes them. */
class RawClient {
  messages = 0;
  private literal = 0;
  private octets: Buffer | null = null;
  private rest = "";
  private wanted = "";
  private settle: (lines: string[]) => void = () => undefined;
  private lines: string[] = [];
  private readonly socket: Socket;

  private readonly take: Taker | null;

  constructor(socket: Socket, take: Taker | null) {
    this.socket = socket;
    this.take = take;
    socket.on("data", (chunk: Buffer) => this.feed(chunk));
  }

  command(tag: string, text: string): Promise<string[]> {
    this.wanted = `${tag} `;
    this.lines = [];
    const done = new Promise<string[]>((resolve) => (this.settle = resolve));
    this.socket.write(`${tag} ${text}\r\n`);
    return done;
  }

  private handOn(): void {
    const { octets } = this;
    this.octets = null;
    const waiting = octets === null ? undefined : this.take?.(octets);
    if (waiting === undefined) return;
    this.socket.pause();
    void waiting.then(() => this.socket.resume());
  }

  private feed(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.literal > 0) {
        const taken = Math.min(this.literal, chunk.length - at);
        this.octets?.set(chunk.subarray(at, at + taken), this.octets.length - this.literal);
        this.literal -= taken;
        at += taken;
        if (this.literal === 0) this.handOn();
        continue;
      }
      const end = chunk.indexOf(10, at);
      if (end < 0) {
        this.rest += chunk.toString("latin1", at);
        return;
      }
      const line = this.rest + chunk.toString("latin1", at, end);
      this.rest = "";
      at = end + 1;
      const size = /\{(\d+)\}\r$/.exec(line);
      if (size !== null) {
        this.literal = Number(size[1]);
        this.messages += 1;
        if (this.take !== null) this.octets = Buffer.allocUnsafe(this.literal);
      } else if (line.startsWith(this.wanted)) this.settle(this.lines);
      else if (!line.startsWith(")")) this.lines.push(line);
    }
  }
}

export interface Target {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
}

export interface RawRun {
  readonly seconds: number;
  readonly messages: number;
}

/** Of every message, by default; or its header block with what tells the mail. */
const wholeMessage = "UID FLAGS INTERNALDATE BODY.PEEK[]";
export const headerBlock = "UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER]";

/** Logs in and fetches `items` of every message of every mailbox. */
export const fetchRaw = async (target: Target, take: Taker | null, items = wholeMessage): Promise<RawRun> => {
  const began = performance.now();
  const socket = connect({ host: target.host, port: target.port, noDelay: true });
  const client = new RawClient(socket, take);
  await new Promise((resolve) => socket.once("data", resolve));
  await client.command("a", `LOGIN ${target.user} ${target.password}`);
  const listed = await client.command("b", `LIST "" "*"`);
  const paths = listed.flatMap((line) =>
    line.includes("\\Noselect") ? [] : (/^\* LIST \([^)]*\) \S+ (.+)\r?$/.exec(line)?.[1]?.trim() ?? []),
  );
  for (const path of paths) {
    const examined = await client.command("c", `EXAMINE ${path}`);
    if (examined.some((line) => line.startsWith("* 0 EXISTS"))) continue;
    await client.command("d", `FETCH 1:* (${items})`);
  }
  await client.command("e", "LOGOUT");
  socket.destroy();
  return { seconds: (performance.now() - began) / 1000, messages: client.messages };
};
