/** A TCP proxy on loopback that counts what passes and can spoil it: slow, cut, dripping, mute or never-ending lines. */
import { connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { freePorts } from "./ports.ts";

/** What happens to the octets of one direction. Left out means: nothing. */
export interface LineFaults {
  /** Each piece arrives this much later; order and throughput stay. */
  readonly latencyMs?: number;
  /** Called before a piece is passed on, which waits for it. */
  readonly before?: (piece: Buffer) => Promise<void> | void;
  /** Octets trickle: `bytes` at once, then nothing for `everyMs`. */
  readonly drip?: { readonly bytes: number; readonly everyMs: number };
  /** After so many octets of this direction the connection ends as `cut` says. */
  readonly cutAfterBytes?: number;
  /** `end`: a proper close of both sides; `reset`: RST to the client; `blackHole`: nothing passes any more, in both directions. */
  readonly cut?: "end" | "reset" | "blackHole";
  /** The end of the stream is kept back this long: the sender has gone, the receiver does not know. */
  readonly slowCloseMs?: number;
}

export interface Faults {
  readonly toServer?: LineFaults;
  readonly toClient?: LineFaults;
  /** `reset`: refused with RST on arrival; `blackHole`: accepted, and never a word. */
  readonly onConnect?: "pass" | "reset" | "blackHole";
}

/** One connection as the proxy saw it. */
export interface ProxiedConnection {
  readonly openedAt: number;
  readonly bytesToServer: number;
  readonly bytesToClient: number;
  /** How often the client began to speak after the server had spoken, or at all: each costs a round trip. */
  readonly turns: number;
  readonly open: boolean;
}

type Direction = "toServer" | "toClient";

/** Octets kept back before the sender is told to wait. */
const window = 1024 * 1024;

class Connection implements ProxiedConnection {
  readonly openedAt = performance.now();
  bytesToServer = 0;
  bytesToClient = 0;
  turns = 0;
  open = true;
  readonly #client: Socket;
  readonly #server: Socket;
  readonly #faults: () => Faults;
  #lastSpeaker: Direction = "toClient";
  #mute = false;

  constructor(client: Socket, server: Socket, faults: () => Faults) {
    this.#client = client;
    this.#server = server;
    this.#faults = faults;
    for (const socket of [client, server]) {
      socket.setNoDelay(true);
      socket.on("error", () => this.destroy()); // One side broke: the other shall see it break too.
    }
    client.once("close", () => {
      this.open = false;
      this.destroy();
    });
    void this.#carry("toServer", client, server);
    void this.#carry("toClient", server, client);
  }

  #count(direction: Direction, bytes: number): void {
    if (direction === "toServer") {
      this.bytesToServer += bytes;
      if (this.#lastSpeaker === "toClient") this.turns += 1;
    } else {
      this.bytesToClient += bytes;
    }
    this.#lastSpeaker = direction;
  }

  /** What of this piece still passes; the cut comes behind it. */
  #allowed(direction: Direction, piece: Buffer): { readonly piece: Buffer; readonly cut: boolean } {
    const limit = this.#faults()[direction]?.cutAfterBytes ?? Number.POSITIVE_INFINITY;
    const passed = direction === "toServer" ? this.bytesToServer : this.bytesToClient;
    const cut = passed + piece.length >= limit;
    return { piece: cut ? piece.subarray(0, Math.max(0, limit - passed)) : piece, cut };
  }

  async #carry(direction: Direction, from: Socket, to: Socket): Promise<void> {
    // A chain of deliveries keeps the order while several pieces are on their way at once.
    let delivered: Promise<void> = Promise.resolve();
    let waiting = 0;
    from.on("data", (chunk: Buffer) => {
      if (this.#mute) return;
      const { piece, cut } = this.#allowed(direction, chunk);
      this.#count(direction, piece.length);
      const due = performance.now() + (this.#faults()[direction]?.latencyMs ?? 0);
      waiting += piece.length;
      if (waiting > window) from.pause();
      delivered = delivered.then(async () => {
        await this.#deliver(direction, { piece, due, to });
        waiting -= piece.length;
        if (waiting <= window) from.resume();
        if (cut) this.#cut(direction);
      });
    });
    from.on("end", () => {
      const due = performance.now() + (this.#faults()[direction]?.latencyMs ?? 0);
      delivered = delivered.then(async () => {
        await pause(Math.max(0, due - performance.now()) + (this.#faults()[direction]?.slowCloseMs ?? 0), undefined, {
          ref: false,
        });
        if (!this.#mute) to.end();
      });
    });
  }

  async #deliver(
    direction: Direction,
    load: { readonly piece: Buffer; readonly due: number; readonly to: Socket },
  ): Promise<void> {
    const { piece, to } = load;
    const late = load.due - performance.now();
    if (late > 0) await pause(late);
    const { drip, before } = this.#faults()[direction] ?? {};
    await before?.(piece);
    const step = drip?.bytes ?? piece.length;
    for (let at = 0; at < piece.length && !this.#mute && !to.destroyed; at += step) {
      const flows = to.write(piece.subarray(at, at + step));
      if (drip !== undefined) await pause(drip.everyMs);
      else if (!flows) await new Promise<void>((resolve) => this.#onceWritable(to, resolve));
    }
  }

  #onceWritable(socket: Socket, resolve: () => void): void {
    const done = (): void => {
      socket.off("drain", done).off("close", done);
      resolve();
    };
    socket.on("drain", done).on("close", done);
  }

  #cut(direction: Direction): void {
    const how = this.#faults()[direction]?.cut ?? "end";
    if (how === "blackHole") this.#mute = true;
    else if (how === "reset") this.reset();
    else {
      this.#client.end();
      this.#server.end();
    }
  }

  reset(): void {
    this.#client.resetAndDestroy();
    this.#server.destroy();
  }

  destroy(): void {
    this.#client.destroy();
    this.#server.destroy();
  }
}

export class FaultProxy implements AsyncDisposable {
  readonly host = "127.0.0.1";
  readonly port: number;
  readonly #listener: Server;
  readonly #target: { readonly host: string; readonly port: number };
  readonly #connections: Connection[] = [];
  readonly #held = new Set<Socket>();
  #faults: (attempt: number) => Faults = () => ({});
  #attempts = 0;

  constructor(target: { readonly host: string; readonly port: number }, port: number) {
    this.#target = target;
    this.port = port;
    this.#listener = createServer({ allowHalfOpen: true }, (client) => this.#accept(client));
  }

  listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#listener.once("error", reject);
      this.#listener.listen(this.port, this.host, resolve);
    });
  }

  /** In the order in which they came, closed ones included; refused and unanswered ones are not among them. */
  get connections(): readonly ProxiedConnection[] {
    return this.#connections;
  }

  /** How often somebody tried to connect, whatever came of it. */
  get attempts(): number {
    return this.#attempts;
  }

  /** Of all connections together. */
  get turns(): number {
    return this.#connections.reduce((sum, connection) => sum + connection.turns, 0);
  }

  /** What happens from now on, to open connections too. A function is asked with the number of the attempt, from 1. */
  change(faults: Faults | ((attempt: number) => Faults)): void {
    this.#faults = typeof faults === "function" ? faults : () => faults;
  }

  /** Breaks all open connections with RST. */
  resetAll(): void {
    for (const connection of this.#connections) if (connection.open) connection.reset();
  }

  #accept(client: Socket): void {
    this.#attempts += 1;
    const number = this.#attempts;
    const { onConnect = "pass" } = this.#faults(number);
    client.on("error", () => undefined); // Told by its end; see Connection for the ones that pass.
    if (onConnect === "reset") return void client.resetAndDestroy();
    if (onConnect === "blackHole") {
      this.#held.add(client);
      client.once("close", () => this.#held.delete(client));
      return;
    }
    const server = connect({ ...this.#target, allowHalfOpen: true });
    this.#connections.push(new Connection(client, server, () => this.#faults(number)));
  }

  /** Breaks what is open and stops to listen. Harmless when repeated. */
  async stop(): Promise<void> {
    for (const connection of this.#connections) connection.destroy();
    for (const socket of this.#held) socket.destroy();
    await new Promise<void>((resolve) => this.#listener.close(() => resolve()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

/** Begins to pass connections on to a server; `faults` as in `change`. */
export const startFaultProxy = async (options: {
  readonly port: number;
  readonly host?: string;
  readonly faults?: Faults | ((attempt: number) => Faults);
}): Promise<FaultProxy> => {
  const [port = 0] = await freePorts(1);
  const proxy = new FaultProxy({ host: options.host ?? "127.0.0.1", port: options.port }, port);
  proxy.change(options.faults ?? {});
  await proxy.listen();
  return proxy;
};
