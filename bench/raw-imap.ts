/** The limit: a client that fetches everything and throws it away, with the fewest octets looked at. */
import { connect, type Socket } from "node:net";

/** Counts the literals of a FETCH stream without keeping them. */
class Discarding {
  messages = 0;
  private literal = 0;
  private rest = "";
  private wanted = "";
  private settle: (lines: string[]) => void = () => undefined;
  private lines: string[] = [];
  private readonly socket: Socket;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk: Buffer) => this.feed(chunk));
  }

  command(tag: string, text: string): Promise<string[]> {
    this.wanted = `${tag} `;
    this.lines = [];
    const done = new Promise<string[]>((resolve) => (this.settle = resolve));
    this.socket.write(`${tag} ${text}\r\n`);
    return done;
  }

  private feed(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.literal > 0) {
        const taken = Math.min(this.literal, chunk.length - at);
        this.literal -= taken;
        at += taken;
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
      } else if (line.startsWith(this.wanted)) this.settle(this.lines);
      else if (!line.startsWith(")")) this.lines.push(line);
    }
  }
}

export interface RawRun {
  readonly seconds: number;
  readonly messages: number;
}

/** Logs in and fetches UID, FLAGS, INTERNALDATE and BODY.PEEK[] of every message of every mailbox. */
export const fetchAndDiscard = async (target: {
  host: string;
  port: number;
  user: string;
  password: string;
}): Promise<RawRun> => {
  const began = performance.now();
  const socket = connect({ host: target.host, port: target.port, noDelay: true });
  const client = new Discarding(socket);
  await new Promise((resolve) => socket.once("data", resolve));
  await client.command("a", `LOGIN ${target.user} ${target.password}`);
  const listed = await client.command("b", `LIST "" "*"`);
  const paths = listed.flatMap((line) =>
    line.includes("\\Noselect") ? [] : (/^\* LIST \([^)]*\) \S+ (.+)\r?$/.exec(line)?.[1]?.trim() ?? []),
  );
  for (const path of paths) {
    const examined = await client.command("c", `EXAMINE ${path}`);
    if (examined.some((line) => line.startsWith("* 0 EXISTS"))) continue;
    await client.command("d", "FETCH 1:* (UID FLAGS INTERNALDATE BODY.PEEK[])");
  }
  await client.command("e", "LOGOUT");
  socket.destroy();
  return { seconds: (performance.now() - began) / 1000, messages: client.messages };
};
