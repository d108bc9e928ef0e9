/** POP3 clients as people run them, taking mail from a Dovecot and leaving none behind. */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { startLines } from "../endpoints/pop3/line-server.ts";
import type { Dovecot } from "./dovecot.ts";

const run = promisify(execFile);

export interface Pop3Device extends AsyncDisposable {
  /** One session: takes the oldest `most` messages and removes them from the server. */
  take(most: number): Promise<void>;
  /** Subjects of what it has taken, in order. */
  readonly taken: readonly string[];
}

/** Where both programs put what they took (LMTP, RFC 2033): as root neither writes files, and getmail's own writers hang at times. */
const startLmtp = (taken: string[]) => {
  const messages = new Map<Socket, string[]>();
  return startLines("220 ready\r\n", (line, socket) => {
    const message = messages.get(socket);
    if (message === undefined) {
      if (/^DATA$/i.test(line)) messages.set(socket, []);
      return /^DATA$/i.test(line) ? "354 go ahead\r\n" : "250 ok\r\n";
    }
    if (line !== ".") {
      message.push(line);
      return null;
    }
    messages.delete(socket);
    taken.push(/^Subject: (.*)$/m.exec(message.join("\n"))?.[1] ?? "");
    return "250 ok\r\n";
  });
};

interface Program {
  readonly name: string;
  readonly config: (server: Dovecot, login: { user: string; password: string }, lmtpPort: number, most: number) => string;
  readonly options: (home: string, config: string) => string[];
  /** Exit codes that are no failure, besides 0. */
  readonly good: readonly number[];
}

const startDevice = async (program: Program, server: Dovecot, n: number): Promise<Pop3Device> => {
  const home = await mkdtemp(join(tmpdir(), `samebox-${program.name}-`));
  const taken: string[] = [];
  const lmtp = await startLmtp(taken);
  const config = join(home, "config");
  return {
    taken,
    take: async (most) => {
      await writeFile(config, program.config(server, server.account(n), lmtp.port, most), { mode: 0o600 });
      const env = { ...process.env, HOME: home, FETCHMAILHOME: home };
      await run(program.name, program.options(home, config), { env, timeout: 180_000 }).catch((error: unknown) => {
        if (!(error instanceof Error && "code" in error && program.good.includes(Number(error.code)))) throw error;
      });
    },
    [Symbol.asyncDispose]: async () => {
      await lmtp[Symbol.asyncDispose]();
      await rm(home, { recursive: true });
    },
  };
};

/** getmail 6 with `delete = true`. It reads by RETR. */
export const getmailDevice = (server: Dovecot, n: number): Promise<Pop3Device> =>
  startDevice(
    {
      name: "getmail",
      config: ({ host, pop3Port }, { user, password }, lmtpPort, most) => `
[retriever]
type = SimplePOP3Retriever
server = ${host}
port = ${pop3Port}
username = ${user}
password = ${password}
[destination]
type = MDA_lmtp
host = 127.0.0.1
port = ${lmtpPort}
override = someone@example.test
[options]
delete = true
max_messages_per_session = ${most}
`,
      options: (home, config) => ["--getmaildir", home, "--rcfile", config],
      good: [],
    },
    server,
    n,
  );

/** fetchmail with `nokeep`. It reads by TOP where the server has it. */
export const fetchmailDevice = (server: Dovecot, n: number): Promise<Pop3Device> =>
  startDevice(
    {
      name: "fetchmail",
      config: ({ host, pop3Port }, { user, password }, lmtpPort, most) => `
poll ${host} service ${pop3Port} protocol pop3 user "${user}" password "${password}" sslproto "" nokeep fetchlimit ${most}
  lmtp smtphost "127.0.0.1/${lmtpPort}" smtpname "someone@example.test"
`,
      options: (home, config) => [
        ...["--nodetach", "--nosyslog", "--fetchmailrc", config],
        ...["--idfile", join(home, "ids"), "--pidfile", join(home, "pid")],
      ],
      // There is no mail; as much was taken as it was told.
      good: [1, 13],
    },
    server,
    n,
  );
