/** A maildrop in memory that really removes: what DELE marked goes at QUIT and at nothing else (RFC 1939 §6). */
import type { Socket } from "node:net";
import { startLines } from "../endpoints/pop3/line-server.ts";

interface HeldMail {
  readonly uidl: string;
  readonly raw: Buffer;
}

interface Heard {
  /** Number of the connection, from 1. */
  readonly session: number;
  readonly line: string;
  readonly at: number;
}

export interface MaildropServer extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  /** What is there now; a test may change it between sessions. */
  mail: readonly HeldMail[];
  readonly heard: readonly Heard[];
}

export interface MaildropWishes {
  readonly capabilities?: readonly string[];
  /** Removes at QUIT what was retrieved, as EXPIRE 0 allows (RFC 2449 §6.7). */
  readonly expires?: boolean;
  /** In place of the usual answer; `close` ends the connection; null: as usual. */
  readonly answer?: (line: string, server: MaildropServer) => string | null;
}

interface Session {
  readonly number: number;
  readonly listed: readonly HeldMail[];
  readonly marked: Set<HeldMail>;
  readonly retrieved: Set<HeldMail>;
}

const stuffed = (raw: Buffer): string => {
  const text = raw.toString("latin1").replaceAll(/^\./gm, "..");
  return text.endsWith("\r\n") ? text : `${text}\r\n`;
};

const listing = (lines: readonly string[]): string => `+OK\r\n${lines.map((line) => `${line}\r\n`).join("")}.\r\n`;

const answerOf = (line: string, session: Session, wishes: MaildropWishes): string => {
  const [verb = "", number = "", lines = ""] = line.split(" ");
  const { listed, marked, retrieved } = session;
  const mail = listed[Number(number) - 1];
  const shown = [...listed.entries()].filter(([, one]) => !marked.has(one));
  if (["RETR", "TOP", "DELE"].includes(verb) && (mail === undefined || marked.has(mail))) return "-ERR no such message\r\n";
  switch (verb) {
    case "CAPA":
      return listing(wishes.capabilities ?? ["USER", "UIDL", "TOP", "RESP-CODES", "PIPELINING"]);
    case "STAT":
      return `+OK ${shown.length} 0\r\n`;
    case "LIST":
      return listing(shown.map(([at, { raw }]) => `${at + 1} ${raw.length}`));
    case "UIDL":
      return listing(shown.map(([at, { uidl }]) => `${at + 1} ${uidl}`));
    case "RETR":
      if (mail !== undefined) retrieved.add(mail);
      return `+OK\r\n${stuffed(mail?.raw ?? Buffer.alloc(0))}.\r\n`;
    case "TOP": {
      const [head = "", body = ""] = (mail?.raw.toString("latin1") ?? "").split(/(?<=\r\n\r\n)/, 2);
      const top = body.split(/(?<=\r\n)/).slice(0, Number(lines));
      return `+OK\r\n${stuffed(Buffer.from(head + top.join(""), "latin1"))}.\r\n`;
    }
    case "DELE":
      if (mail !== undefined) marked.add(mail);
      return "+OK\r\n";
    case "RSET":
      marked.clear();
      return "+OK\r\n";
    default:
      return "+OK\r\n";
  }
};

export const startMaildrop = async (raws: readonly Buffer[], wishes: MaildropWishes = {}): Promise<MaildropServer> => {
  const sessions = new Map<Socket, Session>();
  const heard: Heard[] = [];
  const lines = await startLines("+OK\r\n", (line, socket) => {
    let session = sessions.get(socket);
    if (session === undefined) {
      session = { number: sessions.size + 1, listed: [...server.mail], marked: new Set(), retrieved: new Set() };
      sessions.set(socket, session);
    }
    heard.push({ session: session.number, line, at: Date.now() });
    const said = wishes.answer?.(line, server) ?? null;
    if (said === "close") {
      socket.destroy();
      return null;
    }
    if (said !== null) return said;
    if (line !== "QUIT") return answerOf(line, session, wishes);
    const { marked, retrieved } = session;
    server.mail = server.mail.filter((mail) => !marked.has(mail) && !(wishes.expires === true && retrieved.has(mail)));
    socket.end("+OK\r\n");
    return null;
  });
  const server: MaildropServer = {
    host: lines.host,
    port: lines.port,
    mail: raws.map((raw, at) => ({ uidl: `u${at}`, raw })),
    heard,
    [Symbol.asyncDispose]: () => lines[Symbol.asyncDispose](),
  };
  return server;
};

/** The body of `POST /v1/accounts` for the maildrop. */
export const maildropAccount = (server: MaildropServer, rest: Record<string, unknown> = {}) => ({
  name: "Ana",
  email: "ana@example.test",
  endpoints: [
    {
      protocol: "pop3",
      host: server.host,
      port: server.port,
      security: "none",
      auth: { type: "password", user: "ana", password: "secret-of-ana" },
    },
  ],
  ...rest,
});
