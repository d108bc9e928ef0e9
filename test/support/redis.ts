import { connect } from "node:net";
import { eventually } from "./eventually.ts";
import { type GuardedProcess, startGuarded } from "./guarded-process.ts";
import { freePorts } from "./ports.ts";
import { makeServerFolder } from "./run-folder.ts";

/** A private Redis on loopback that keeps everything in memory and evicts nothing, as a queue needs it. */
export interface Redis extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** Starts anew on the same port, empty. */
  restart(): Promise<void>;
  /** Harmless when repeated. */
  stop(): Promise<void>;
}

const answers = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port }, () => socket.write("PING\r\n"));
    const settle = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(2000, () => settle(false));
    socket.once("data", (chunk) => settle(chunk.toString().startsWith("+PONG")));
    socket.once("error", () => settle(false));
    socket.once("close", () => settle(false));
  });

const launch = async (port: number): Promise<GuardedProcess> => {
  const folder = await makeServerFolder("redis");
  const place = ["--port", String(port), "--bind", "127.0.0.1", "--dir", folder];
  const memory = ["--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"];
  const server = startGuarded({ folder, command: ["redis-server", ...place, ...memory] });
  try {
    await eventually("Redis answers", async () => !server.running || (await answers(port)));
    if (!server.running) throw new Error("Redis ended at once");
    return server;
  } catch (error) {
    const output = await server.output();
    await server.end();
    throw new Error(`Redis did not start:\n${output}`, { cause: error });
  }
};

/** @throws Error with the server's own words when it does not come up. */
export const startRedis = async (): Promise<Redis> => {
  const [port = 0] = await freePorts(1);
  let server = await launch(port);
  const stop = (): Promise<void> => server.end();
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    restart: async () => {
      await server.end();
      server = await launch(port);
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
};
