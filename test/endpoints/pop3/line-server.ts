/** A server that answers each line as a test says, octet by octet. */
import { createServer, type Socket } from "node:net";
import { freePorts } from "../../support/ports.ts";

export interface LineServer extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  /** What came, chunk by chunk: how many lines a client sends without an answer is seen in it. */
  readonly chunks: readonly string[];
}

/** `answer` gets each line without its end, and the socket, to say what it likes; a string is written as Latin-1. */
export const startLines = async (
  greeting: string,
  answer: (line: string, socket: Socket) => string | Buffer | null,
): Promise<LineServer> => {
  const chunks: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.on("error", () => undefined);
    let rest = "";
    socket.on("data", (chunk) => {
      chunks.push(chunk.toString("latin1"));
      const lines = (rest + chunk.toString("latin1")).split("\r\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        const said = answer(line, socket);
        if (said !== null && socket.writable) socket.write(said, "latin1");
      }
    });
    socket.write(greeting, "latin1");
  });
  const [port = 0] = await freePorts(1);
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  return {
    host: "127.0.0.1",
    port,
    chunks,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
};

/** Logs everybody in and answers what is not in `said`: keys are whole lines or verbs. */
export const lineServer = (said: Readonly<Record<string, string | Buffer>>, greeting = "+OK ready\r\n"): Promise<LineServer> =>
  startLines(greeting, (line) => said[line] ?? said[line.split(" ", 1)[0] ?? ""] ?? "+OK\r\n");
