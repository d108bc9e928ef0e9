/**
 * A mail server that says what a script tells it to: a sane server with a few messages, except where a rule matches. For the
 * words of servers nobody can install. Strings are Latin-1: one character is one octet.
 */
import { createServer, type Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { freePorts } from "./ports.ts";
import { answerImap, defaultCapability } from "./scripted-imap-baseline.ts";
import {
  defaultMessages,
  mailboxOf,
  type ScriptedMailbox,
  type ScriptedMessage,
  type ScriptedState,
} from "./scripted-mailbox.ts";
import { answerPop3, shownOf } from "./scripted-pop3-baseline.ts";
import { type Script, type ScriptRule, spellOut } from "./script.ts";

/** A command as it came, without its line end. */
export interface ReceivedCommand {
  /** Number of the connection, from 1. */
  readonly session: number;
  readonly line: string;
  readonly at: number;
}

export interface ScriptedServer extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  /** All commands so far, in order. */
  readonly received: readonly ReceivedCommand[];
  /** Connections so far. */
  readonly sessions: number;
  /** Puts a message at the end of the mailbox. Nobody is told; the next session sees it. */
  arrive(raw: Buffer): void;
  /** Its last message is gone. */
  depart(): void;
  /** How the mailbox is, and what is said in place of the sane answers, from the next session on. */
  become(change: { readonly state?: ScriptedState; readonly rules?: readonly ScriptRule[] }): void;
  /** Ends every open connection. */
  hangUp(): void;
  stop(): Promise<void>;
}

interface Run {
  script: Script;
  readonly raws: string[];
  readonly received: ReceivedCommand[];
  readonly hits: Map<ScriptRule, number>;
  /** UIDs of messages that a POP3 client took. */
  readonly popped: Set<number>;
  sessions: number;
  counter: number;
}

const takeRule = (run: Run, rules: readonly ScriptRule[], command: string): ScriptRule | undefined => {
  let always: ScriptRule | undefined;
  for (const rule of rules) {
    if (!rule.on.test(command)) continue;
    if (rule.nth === undefined) {
      always ??= rule;
      continue;
    }
    const hits = (run.hits.get(rule) ?? 0) + 1;
    run.hits.set(rule, hits);
    if (hits === rule.nth) return rule;
  }
  return always;
};

class Session {
  readonly #run: Run;
  readonly #socket: Socket;
  readonly #number: number;
  readonly #mailbox: ScriptedMailbox;
  readonly #rules: readonly ScriptRule[];
  /** POP3: what this session shows, and what was retrieved in it. */
  readonly #shown: readonly ScriptedMessage[];
  readonly #retrieved = new Set<number>();
  readonly #waiting: string[] = [];
  #input = "";
  /** Lines and literals of a command that is not complete yet. */
  #partial = "";
  #literal = 0;
  #busy = true;
  #stalled = false;
  #lastTag = "*";
  #idleTag: string | null = null;
  #saslTag: string | null = null;

  constructor(run: Run, socket: Socket) {
    this.#run = run;
    this.#socket = socket;
    this.#number = run.sessions;
    this.#mailbox = mailboxOf({ state: run.script.state ?? {}, session: run.sessions, raws: run.raws, counter: this.#count });
    this.#rules = run.script.rules ?? [];
    this.#shown = shownOf(this.#mailbox, run.popped);
    socket.setNoDelay(true);
    socket.on("error", () => undefined); // A client may leave as it likes.
    socket.on("data", (chunk: Buffer) => this.#read(chunk.toString("latin1")));
    void this.#greet();
  }

  get #isImap(): boolean {
    return this.#run.script.protocol !== "pop3";
  }

  readonly #count = (): number => (this.#run.counter += 1);

  async #greet(): Promise<void> {
    await this.#send(
      this.#run.script.greeting ?? (this.#isImap ? "* OK scripted server ready\r\n" : "+OK scripted server ready\r\n"),
    );
    this.#busy = false;
    await this.#answerWaiting();
  }

  async #write(octets: Buffer): Promise<void> {
    if (this.#socket.destroyed || this.#socket.write(octets)) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        this.#socket.off("drain", done).off("close", done);
        resolve();
      };
      this.#socket.on("drain", done).on("close", done);
    });
  }

  /** Says `text`, obeying the macros and the exclamations in it. */
  async #send(text: string, manner: { readonly chunk?: number; readonly delayMs?: number } = {}): Promise<void> {
    for (const part of text.split(/(?=!delay:\d+|!stall|!close)/)) {
      const delay = /^!delay:(\d+)/.exec(part);
      if (delay !== null) await pause(Number(delay[1]), undefined, { ref: false });
      if (part.startsWith("!stall")) this.#stalled = true;
      if (part.startsWith("!close")) this.#socket.end();
      if (/^!(stall|close)/.test(part)) return;
      for (const piece of spellOut(part.slice(delay?.[0].length ?? 0), this.#count)) {
        const octets = Buffer.from(piece, "latin1");
        const step = manner.chunk ?? Math.max(1, octets.length);
        for (let at = 0; at < octets.length && !this.#socket.destroyed; at += step) {
          await this.#write(octets.subarray(at, at + step));
          if (manner.chunk !== undefined) await pause(manner.delayMs ?? 1, undefined, { ref: false });
        }
      }
    }
  }

  /** Cuts the input into commands, literals included (RFC 3501 §4.3, RFC 7888). */
  #read(text: string): void {
    this.#input += text;
    for (;;) {
      if (this.#input.length < this.#literal) return;
      this.#partial += this.#input.slice(0, this.#literal);
      this.#input = this.#input.slice(this.#literal);
      this.#literal = 0;
      const end = this.#input.indexOf("\n");
      if (end < 0) return;
      const line = this.#input.slice(0, end).replace(/\r$/, "");
      this.#input = this.#input.slice(end + 1);
      const announced = this.#isImap ? /\{(\d+)(\+?)\}$/.exec(line) : null;
      if (announced !== null) {
        this.#literal = Number(announced[1]);
        this.#partial += `${line}\r\n`;
        this.#answerLiteral(line, announced[2] === "+");
        continue;
      }
      this.#waiting.push(this.#partial + line);
      this.#partial = "";
      void this.#answerWaiting();
    }
  }

  #answerLiteral(line: string, nonSynchronizing: boolean): void {
    const rule = this.#run.script.rules?.find(({ on }) => on.source.includes(String.raw`\{`) && on.test(line));
    const tag = line.split(" ", 1)[0] ?? "*";
    if (rule !== undefined) void this.#send(rule.reply.join("").replaceAll("{tag}", tag));
    else if (!nonSynchronizing) void this.#send("+ go ahead\r\n");
  }

  async #answerWaiting(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    while (this.#waiting.length > 0 && !this.#stalled) {
      const { state } = this.#mailbox;
      const first = this.#waiting.shift() ?? "";
      const second = this.#waiting.length > 0 && state.swap_pipelined === true ? this.#waiting.shift() : undefined;
      if (second !== undefined) this.#waiting.unshift(first);
      const next = second ?? first;
      if (state.drop_pipelined === true) this.#waiting.shift();
      this.#run.received.push({ session: this.#number, line: next, at: performance.now() });
      await this.#answer(next);
    }
    this.#busy = false;
  }

  /** The tag and the rest; a line that has none belongs to the IDLE or to the command before. */
  #split(line: string): { readonly tag: string; readonly command: string } {
    const match = /^([A-Za-z0-9.\-_#$]+) ([\s\S]*)$/.exec(line);
    if (!this.#isImap) return { tag: "*", command: line };
    if (match === null) return { tag: this.#idleTag ?? this.#lastTag, command: line };
    this.#lastTag = match[1] ?? "*";
    return { tag: this.#lastTag, command: match[2] ?? "" };
  }

  #sane(tag: string, command: string): { readonly baseline: readonly string[]; readonly ok: string } {
    if (!this.#isImap) return { baseline: [answerPop3(this.#shown, this.#mailbox.state.uidls, command)], ok: "" };
    const { script } = this.#run;
    const server = {
      mailbox: this.#mailbox,
      capability: script.capability ?? defaultCapability,
      fetchPatch: script.fetchPatch ?? {},
    };
    const { untagged, end } = answerImap(server, tag, command);
    return { baseline: untagged, ok: end };
  }

  async #answer(line: string): Promise<void> {
    if (this.#saslTag !== null) {
      const tag = this.#saslTag;
      this.#saslTag = null;
      return this.#send(`${tag} OK done\r\n`);
    }
    const { tag, command } = this.#split(line);
    if (/^IDLE$/i.test(command)) this.#idleTag = tag;
    const rule = takeRule(this.#run, this.#rules, command);
    const { baseline, ok } = this.#sane(tag, command);
    const taken = /^RETR (\d+)$/i.exec(command)?.[1];
    const message = taken === undefined ? undefined : this.#shown[Number(taken) - 1];
    if (message !== undefined) this.#retrieved.add(message.uid);
    if (rule !== undefined) await this.#obey(rule, { tag, baseline, ok });
    else if (this.#isImap && /^AUTHENTICATE \S+$/i.test(command)) {
      this.#saslTag = tag;
      await this.#send("+ \r\n");
    } else await this.#write(Buffer.from(baseline.join("") + ok, "latin1"));
    if (/^DONE$/i.test(command)) this.#idleTag = null;
    if (/^(LOGOUT|QUIT)/i.test(command) && !this.#stalled) this.#leave();
  }

  #leave(): void {
    if (this.#mailbox.state.popped === true) for (const uid of this.#retrieved) this.#run.popped.add(uid);
    this.#socket.end();
  }

  async #obey(
    rule: ScriptRule,
    sane: { readonly tag: string; readonly baseline: readonly string[]; readonly ok: string },
  ): Promise<void> {
    const { tag, baseline, ok } = sane;
    const words: readonly (readonly [string, string])[] = [
      ["{lasttag}", this.#lastTag],
      ["{tag}", tag],
      ["{baseline:reverse}", baseline.toReversed().join("")],
      ["{baseline:lf}", baseline.join("").replaceAll("\r\n", "\n")],
      ["{ok:lf}", ok.replaceAll("\r\n", "\n")],
      ["{baseline}", baseline.join("")],
      ["{ok}", ok],
    ];
    if (rule.delayMs !== undefined && rule.chunk === undefined) await pause(rule.delayMs, undefined, { ref: false });
    for (const reply of rule.reply) {
      // Functions, because a dollar sign in a message means nothing here.
      await this.#send(
        words.reduce((text, [word, meaning]) => text.replaceAll(word, () => meaning), reply),
        rule,
      );
    }
    if (rule.ending === "stall") this.#stalled = true;
    if (rule.ending === "close") this.#socket.end();
    if (rule.ending === "reset") {
      await pause(50); // The client shall read the reply before the RST throws it away.
      this.#socket.resetAndDestroy();
    }
  }
}

/** Listens on loopback. Connections of a stopped server end at once. */
export const startScripted = async (script: Script = {}): Promise<ScriptedServer> => {
  const raws = script.messages?.map((raw) => raw.toString("latin1")) ?? [...defaultMessages];
  const run: Run = { script, raws, received: [], hits: new Map(), popped: new Set(), sessions: 0, counter: 1000 };
  const sockets = new Set<Socket>();
  const listener = createServer((socket) => {
    run.sessions += 1;
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    new Session(run, socket);
  });
  const [port = 0] = await freePorts(1);
  await new Promise<void>((resolve, reject) => {
    listener.once("error", reject);
    listener.listen(port, "127.0.0.1", resolve);
  });
  const hangUp = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  const stop = async (): Promise<void> => {
    hangUp();
    await new Promise<void>((resolve) => listener.close(() => resolve()));
  };
  return {
    host: "127.0.0.1",
    port,
    received: run.received,
    get sessions() {
      return run.sessions;
    },
    arrive: (raw) => void raws.push(raw.toString("latin1")),
    depart: () => void raws.pop(),
    become: ({ state, rules }) => {
      run.script = { ...run.script, ...(state && { state }), ...(rules && { rules }) };
    },
    hangUp,
    stop,
    [Symbol.asyncDispose]: stop,
  };
};
