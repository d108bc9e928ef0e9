/**
 * A look at a server from outside: TCP, TLS, greeting, what it offers before a login; then goodbye. No name and no secret is
 * said here, so the certificate need not be good to be looked at.
 */
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import type { ProbeStep, TlsFindings } from "../model/diagnosis.ts";
import type { EndpointSettings } from "../model/endpoint.ts";
import { dial, opened, protect } from "./dial.ts";
import { ProtocolFault } from "./protocol-fault.ts";
import { tlsFindingsOf } from "./tls-findings.ts";

interface Turn {
  readonly command: string;
  /** Is this line, of those that came so far, the last of the answer? */
  ends(line: string, before: number): boolean;
}

/** How a protocol is spoken before a login. Lines come without their ends. */
export interface DoorWords {
  greets(line: string): boolean;
  /** What to throw for a greeting that is none, in a way that the protocol's own `classify` understands. */
  turnedAway(line: string): Error;
  readonly capabilities: Turn & { read(lines: readonly string[]): readonly string[] | null };
  readonly startTls: Turn & { accepted(lines: readonly string[]): boolean; refused(): Error };
  readonly goodbye: string;
}

/** What was seen so far; of use after a failure too. */
export interface DoorView {
  step: ProbeStep;
  reachable: boolean;
  greeting: string;
  tls: TlsFindings | null;
  capabilities: readonly string[] | null;
}

export const nothingSeen = (): DoorView => ({
  step: "connect",
  reachable: false,
  greeting: "",
  tls: null,
  capabilities: null,
});

/** Of what was sent and not yet understood, and of one answer. */
const maxOctets = 64 * 1024;
const maxLines = 1000;

/** Lines of a server, one by one. */
class LineReader {
  readonly #socket: Socket;
  #rest = "";
  #ended: Error | null = null;
  #wake: () => void = () => undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", this.#take);
    socket.on("error", this.#end);
    socket.on("close", this.#closed);
  }

  async next(): Promise<string> {
    for (;;) {
      const at = this.#rest.indexOf("\n");
      if (at >= 0) {
        const line = this.#rest.slice(0, at).replace(/\r$/, "");
        this.#rest = this.#rest.slice(at + 1);
        return line;
      }
      if (this.#ended !== null) throw this.#ended;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  /** Lets go of the socket. @throws ProtocolFault when something was sent that nobody asked for (RFC 2595 §4). */
  detach(): void {
    this.#socket.off("data", this.#take).off("error", this.#end).off("close", this.#closed);
    if (this.#rest !== "" || this.#socket.readableLength > 0)
      throw new ProtocolFault("STARTTLS_INJECTION", "something was sent before the connection was protected");
  }

  readonly #take = (chunk: Buffer): void => {
    this.#rest += chunk.toString("latin1");
    if (this.#rest.length > maxOctets) this.#end(new ProtocolFault("LineTooLarge", "a line is longer than 64 KiB"));
    else this.#wake();
  };

  readonly #closed = (): void =>
    this.#end(Object.assign(new Error("the server closed the connection"), { code: "EConnectionClosed" }));

  readonly #end = (error: Error): void => {
    this.#ended ??= error;
    this.#socket.destroy();
    this.#wake();
  };
}

export class Door {
  readonly #words: DoorWords;
  readonly #settings: EndpointSettings;
  readonly #address: string;
  readonly #view: DoorView;
  #socket: Socket | null = null;

  constructor(words: DoorWords, target: { readonly settings: EndpointSettings; readonly address: string }, view: DoorView) {
    this.#words = words;
    // Looked at here, and checked before anything is said that matters.
    this.#settings = { ...target.settings, tls: { ...target.settings.tls, rejectUnauthorized: false } };
    this.#address = target.address;
    this.#view = view;
  }

  /** Fills the view. @throws whatever a connection or a server throws, for the protocol's `classify` */
  async look(): Promise<void> {
    const { security, host } = this.#settings;
    const target = { settings: this.#settings, address: this.#address };
    const first = dial(target);
    this.#socket = first;
    await opened(first, security === "tls" ? "secureConnect" : "connect");
    if (first instanceof TLSSocket) this.#view.tls = tlsFindingsOf(first, "implicit", host);
    this.#view.step = "greeting";
    let lines = new LineReader(first);
    await this.#greeting(lines);
    if (security === "starttls") {
      const { startTls } = this.#words;
      if (!startTls.accepted(await this.#ask(first, lines, startTls))) throw startTls.refused();
      lines.detach();
      this.#view.step = "tls";
      const safe = protect(first, target) as TLSSocket;
      this.#socket = safe;
      await opened(safe, "secureConnect");
      this.#view.tls = tlsFindingsOf(safe, "starttls", host);
      lines = new LineReader(safe);
    }
    const { capabilities, goodbye } = this.#words;
    this.#view.capabilities = capabilities.read(await this.#ask(this.#socket, lines, capabilities));
    this.#socket.end(goodbye);
  }

  close(): void {
    this.#socket?.destroy();
  }

  async #greeting(lines: LineReader): Promise<void> {
    const line = await lines.next();
    if (!this.#words.greets(line)) throw this.#words.turnedAway(line);
    this.#view.reachable = true;
    this.#view.greeting = line;
  }

  async #ask(socket: Socket, lines: LineReader, turn: Turn): Promise<readonly string[]> {
    socket.write(turn.command);
    const answer: string[] = [];
    for (;;) {
      const line = await lines.next();
      answer.push(line);
      if (turn.ends(line, answer.length - 1)) return answer;
      if (answer.length > maxLines) throw new ProtocolFault("ResponseTooLarge", "an answer has more than 1,000 lines");
    }
  }
}
