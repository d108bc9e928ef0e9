/** "Another device": a small IMAP client that shares no code with the daemon, so that a test can change a mailbox from outside. */
import { connect as connectPlain, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { imapDateTime, type ImapResponse, ImapResponseReader, quote } from "./imap-wire.ts";
import { type IdleWatch, ResponseWatch } from "./response-watch.ts";
import { type Delivery, toModifiedUtf7 } from "./maildir-delivery.ts";

/** What a command brought: the untagged responses before its end, and the end. */
export interface ImapAnswer {
  readonly untagged: readonly ImapResponse[];
  /** The tagged line without the tag: `OK [APPENDUID 1 7] done`. */
  readonly end: string;
}

/** The state a mailbox was in when selected. */
export interface SelectedMailbox {
  readonly exists: number;
  readonly uidValidity: number;
  readonly uidNext: number;
  /** Null where the server keeps no modification sequences (RFC 7162 §3.1.2). */
  readonly highestModseq: bigint | null;
}

const mailboxName = (mailbox: string): string => quote(toModifiedUtf7(mailbox));
/** UIDs as a list, one, or a set in IMAP's own spelling. */
type Uids = readonly number[] | number | string;
const uidSet = (uids: Uids): string => (typeof uids === "object" ? uids.join(",") : String(uids));
const fields = (delivery: Delivery) => (Buffer.isBuffer(delivery) ? { raw: delivery } : delivery);

/** flags, date and literal header of one message of an APPEND (RFC 3502, RFC 7888). */
const appendHead = (delivery: Delivery): string => {
  const { raw, flags = [], internalDate } = fields(delivery);
  return ` (${flags.join(" ")})${internalDate === undefined ? "" : ` ${imapDateTime(internalDate)}`} {${raw.length}+}\r\n`;
};

export class ImapDevice implements AsyncDisposable {
  readonly #socket: Socket;
  readonly #reader = new ImapResponseReader();
  #listener: { onResponse(response: ImapResponse): void; onEnd(error: Error): void } | null = null;
  #ended: Error | null = null;
  #tag = 0;
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => {
      for (const response of this.#reader.read(chunk)) this.#listener?.onResponse(response);
    });
    const end = (error: Error): void => {
      this.#ended ??= error;
      this.#listener?.onEnd(error);
    };
    socket.on("error", end);
    socket.on("close", () => end(new Error("the server closed the connection")));
  }

  /** Connects and logs in. @throws Error when either fails. */
  static async connect(options: {
    readonly host: string;
    readonly port: number;
    readonly user: string;
    readonly password?: string;
    /** In place of a password. */
    readonly accessToken?: string;
    /** Given: TLS from the first octet, trusting this authority. */
    readonly caPem?: string;
  }): Promise<ImapDevice> {
    const { host, port, caPem } = options;
    const socket =
      caPem === undefined ? connectPlain({ host, port }) : connectTls({ host, port, ca: caPem, servername: "localhost" });
    const device = new ImapDevice(socket);
    try {
      await device.#until((response) => response.line.startsWith("* "));
      if (options.accessToken === undefined)
        await device.command(`LOGIN ${quote(options.user)} ${quote(options.password ?? "")}`);
      else await device.#authenticate(options.user, options.accessToken);
      return device;
    } catch (error) {
      socket.destroy();
      throw error;
    }
  }

  /** Collects responses up to and including the one that `isLast` accepts. */
  #until(isLast: (response: ImapResponse) => boolean, onEach?: (response: ImapResponse) => void): Promise<ImapResponse[]> {
    if (this.#ended !== null) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      const seen: ImapResponse[] = [];
      this.#listener = {
        onResponse: (response) => {
          seen.push(response);
          onEach?.(response);
          if (isLast(response)) {
            this.#listener = null;
            resolve(seen);
          }
        },
        onEnd: reject,
      };
    });
  }

  /** Commands of one device queue up: each begins when the one before has ended. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work);
    this.#turn = mine.catch(() => undefined);
    return mine;
  }

  #nextTag(): string {
    this.#tag += 1;
    return `d${this.#tag}`;
  }

  async #finish(tag: string, responses: Promise<ImapResponse[]>, command: string): Promise<ImapAnswer> {
    const all = await responses;
    const end = all.at(-1)?.line.slice(tag.length + 1) ?? "";
    if (!end.startsWith("OK")) throw new Error(`${command.split(" ", 2).join(" ")}: ${end}`);
    return { untagged: all.slice(0, -1), end };
  }

  /** Sends one line. @throws Error with the server's words on NO and BAD. */
  command(text: string): Promise<ImapAnswer> {
    return this.#inTurn(() => {
      const tag = this.#nextTag();
      const responses = this.#until((response) => response.line.startsWith(`${tag} `));
      this.#socket.write(`${tag} ${text}\r\n`);
      return this.#finish(tag, responses, text);
    });
  }

  /** XOAUTH2; a refusal comes in two steps, the first of which wants an empty answer. */
  #authenticate(user: string, accessToken: string): Promise<ImapAnswer> {
    return this.#inTurn(() => {
      const tag = this.#nextTag();
      const responses = this.#until(
        (response) => response.line.startsWith(`${tag} `),
        (response) => response.line.startsWith("+") && this.#socket.write("\r\n"),
      );
      const initial = Buffer.from(`user=${user}\x01auth=Bearer ${accessToken}\x01\x01`).toString("base64");
      this.#socket.write(`${tag} AUTHENTICATE XOAUTH2 ${initial}\r\n`);
      return this.#finish(tag, responses, "AUTHENTICATE XOAUTH2");
    });
  }

  async select(mailbox: string): Promise<SelectedMailbox> {
    const { untagged } = await this.command(`SELECT ${mailboxName(mailbox)}`);
    const text = untagged.map((response) => response.line).join("\n");
    const number = (pattern: RegExp): number => Number(pattern.exec(text)?.[1] ?? Number.NaN);
    const modseq = /\[HIGHESTMODSEQ (\d+)\]/.exec(text)?.[1];
    return {
      exists: number(/^\* (\d+) EXISTS/m),
      uidValidity: number(/\[UIDVALIDITY (\d+)\]/),
      uidNext: number(/\[UIDNEXT (\d+)\]/),
      highestModseq: modseq === undefined ? null : BigInt(modseq),
    };
  }

  /** Uploads one message; returns its UID, null where the server does not tell (no UIDPLUS). */
  async append(mailbox: string, message: Delivery): Promise<number | null> {
    const { end } = await this.#appendBatch(mailbox, [message]);
    const uid = /\[APPENDUID \d+ (\d+)\]/.exec(end)?.[1];
    return uid === undefined ? null : Number(uid);
  }

  /** Uploads many messages with few turns (needs LITERAL+ and MULTIAPPEND); returns how many. */
  async appendAll(mailbox: string, messages: Iterable<Delivery>): Promise<number> {
    let batch: Delivery[] = [];
    let bytes = 0;
    let count = 0;
    for (const message of messages) {
      batch.push(message);
      count += 1;
      bytes += fields(message).raw.length;
      if (bytes < 4_000_000) continue;
      await this.#appendBatch(mailbox, batch);
      batch = [];
      bytes = 0;
    }
    if (batch.length > 0) await this.#appendBatch(mailbox, batch);
    return count;
  }

  #appendBatch(mailbox: string, batch: readonly Delivery[]): Promise<ImapAnswer> {
    return this.#inTurn(() => {
      const tag = this.#nextTag();
      const responses = this.#until((response) => response.line.startsWith(`${tag} `));
      this.#socket.cork();
      this.#socket.write(`${tag} APPEND ${mailboxName(mailbox)}`);
      for (const message of batch) {
        this.#socket.write(appendHead(message));
        this.#socket.write(fields(message).raw);
      }
      this.#socket.write("\r\n");
      this.#socket.uncork();
      return this.#finish(tag, responses, "APPEND");
    });
  }

  /** All UIDs of the selected mailbox, ascending. */
  async uids(): Promise<number[]> {
    const { untagged } = await this.command("UID SEARCH ALL");
    const line = untagged.find((response) => response.line.startsWith("* SEARCH"))?.line ?? "";
    return (line.match(/\d+/g) ?? []).map(Number).sort((a, b) => a - b);
  }

  /** Flags by UID, each list sorted, without \Recent. */
  async flags(uids: Uids = "1:*"): Promise<Map<number, string[]>> {
    const { untagged } = await this.command(`UID FETCH ${uidSet(uids)} (FLAGS)`);
    const found = new Map<number, string[]>();
    for (const { line } of untagged) {
      const uid = /\bUID (\d+)/.exec(line)?.[1];
      const flags = /FLAGS \(([^)]*)\)/.exec(line)?.[1];
      if (uid === undefined || flags === undefined) continue;
      const list = flags.split(" ").filter((flag) => flag !== "" && flag !== "\\Recent");
      found.set(Number(uid), list.sort());
    }
    return found;
  }

  /** Octets by UID, exactly as sent; changes no flag. */
  async fetchRaw(uids: Uids = "1:*"): Promise<Map<number, Buffer>> {
    const { untagged } = await this.command(`UID FETCH ${uidSet(uids)} (UID BODY.PEEK[])`);
    const found = new Map<number, Buffer>();
    for (const { line, literals } of untagged) {
      const uid = /\bUID (\d+)/.exec(line)?.[1];
      if (uid !== undefined && literals[0] !== undefined) found.set(Number(uid), literals[0]);
    }
    return found;
  }

  /** Adds, removes or replaces flags of the selected mailbox's messages. */
  async store(uids: Uids, how: "+" | "-" | "=", flags: readonly string[]): Promise<void> {
    await this.command(`UID STORE ${uidSet(uids)} ${how === "=" ? "" : how}FLAGS.SILENT (${flags.join(" ")})`);
  }

  async move(uids: Uids, mailbox: string): Promise<void> {
    await this.command(`UID MOVE ${uidSet(uids)} ${mailboxName(mailbox)}`);
  }

  async copy(uids: Uids, mailbox: string): Promise<void> {
    await this.command(`UID COPY ${uidSet(uids)} ${mailboxName(mailbox)}`);
  }

  /** Removes messages for good, these and no others (RFC 4315 §2.1). */
  async expunge(uids: Uids): Promise<void> {
    await this.store(uids, "+", ["\\Deleted"]);
    await this.command(`UID EXPUNGE ${uidSet(uids)}`);
  }

  async create(mailbox: string): Promise<void> {
    await this.command(`CREATE ${mailboxName(mailbox)}`);
  }

  async rename(names: { readonly from: string; readonly to: string }): Promise<void> {
    await this.command(`RENAME ${mailboxName(names.from)} ${mailboxName(names.to)}`);
  }

  async remove(mailbox: string): Promise<void> {
    await this.command(`DELETE ${mailboxName(mailbox)}`);
  }

  /** Begins to listen in the selected mailbox; resolves once the server is listening too. */
  async idle(): Promise<IdleWatch> {
    const tag = this.#nextTag();
    const watch = new ResponseWatch();
    let started = (): void => undefined;
    const ready = new Promise<void>((resolve) => (started = resolve));
    const ended = this.#inTurn(() => {
      const responses = this.#until(
        (response) => response.line.startsWith(`${tag} `),
        (response) => {
          if (response.line.startsWith("+")) return started();
          watch.add(response);
        },
      );
      this.#socket.write(`${tag} IDLE\r\n`);
      return responses;
    });
    ended.catch(() => undefined); // Told by `ready` below, or by `done`.
    await Promise.race([ready, ended]);
    const done = async (): Promise<void> => {
      this.#socket.write("DONE\r\n");
      await ended;
    };
    return { seen: watch.seen, next: (pattern, timeoutMs) => watch.next(pattern, timeoutMs), done };
  }

  /** Says goodbye and closes; harmless when the connection is gone already. */
  async close(): Promise<void> {
    if (this.#ended === null) await this.command("LOGOUT").catch(() => undefined);
    this.#socket.destroy();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
