/** Other programs that fetch all of an account, each into a fresh folder in memory where there is such, its best case. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Target } from "./raw-imap.ts";

export const has = async (program: string): Promise<boolean> => {
  const child = spawn("which", [program], { stdio: "ignore" });
  const [code] = (await once(child, "exit")) as [number | null];
  return code === 0;
};

interface Peer {
  readonly program: string;
  readonly config: (target: Target, folder: string) => string;
  readonly arguments: (config: string) => readonly string[];
  /** Messages that are in the folder now. */
  readonly count: (folder: string) => Promise<number>;
}

const filesIn = async (folder: string): Promise<number> => {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile() && /[/\\](?:new|cur)$/.test(entry.parentPath)).length;
};

const mbsync: Peer = {
  program: "mbsync",
  config: ({ host, port, user, password }, folder) =>
    `IMAPAccount a\nHost ${host}\nPort ${port}\nUser ${user}\nPass ${password}\nSSLType None\nAuthMechs LOGIN\n\n` +
    `IMAPStore far\nAccount a\n\nMaildirStore near\nPath ${folder}/mail/\nInbox ${folder}/mail/INBOX\nSubFolders Verbatim\n\n` +
    `Channel all\nFar :far:\nNear :near:\nPatterns *\nCreate Near\nSync Pull\nSyncState *\n`,
  arguments: (config) => ["-q", "-c", config, "-a"],
  count: filesIn,
};

const mpop: Peer = {
  program: "mpop",
  config: ({ host, port, user, password }, folder) =>
    `account a\nhost ${host}\nport ${port}\nuser ${user}\npassword ${password}\nauth user\ntls off\n` +
    `delivery maildir ${folder}/mail\nuidls_file ${folder}/uidls\nkeep on\nreceived_header off\n`,
  arguments: (config) => ["-Q", "-C", config, "a"],
  count: filesIn,
};

/** One file for all: a file for each message would cost it a process for each. */
const fetchmail: Peer = {
  program: "fetchmail",
  config: ({ host, port, user, password }, folder) =>
    `set idfile "${folder}/ids"\nset no syslog\nset no bouncemail\nset pidfile "${folder}/pid"\n` +
    `poll ${host} protocol POP3 port ${port} uidl auth password\n` +
    `  user "${user}" password "${password}" is "x" here keep no rewrite no mimedecode sslproto "" bsmtp "${folder}/mail/all"\n`,
  arguments: (config) => ["-s", "-f", config, "--fetchsizelimit", "0"],
  count: async (folder) => (await readFile(join(folder, "mail/all"), "latin1")).match(/^MAIL FROM:/gm)?.length ?? 0,
};

export const peers = { mbsync, mpop, fetchmail };

/** Seconds until the program has all and has ended. @throws Error where it has not all. */
export const runPeer = async (peer: Peer, target: Target, messages: number): Promise<number> => {
  const folder = await mkdtemp(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), `samebox-${peer.program}-`));
  try {
    const config = join(folder, "config");
    await writeFile(config, peer.config(target, folder), { mode: 0o600 });
    for (const name of ["new", "cur", "tmp"]) await mkdir(join(folder, "mail", name), { recursive: true });
    const began = performance.now();
    const env = { ...process.env, HOME: folder, FETCHMAILHOME: folder, USER: "nobody", LOGNAME: "nobody" };
    const child = spawn(peer.program, peer.arguments(config), { stdio: ["ignore", "ignore", "pipe"], env });
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
    const [code] = (await once(child, "close")) as [number | null];
    const seconds = (performance.now() - began) / 1000;
    const got = code === 0 ? await peer.count(folder) : 0;
    if (got !== messages) throw new Error(`${peer.program} ended with ${code} and ${got} messages: ${said.slice(-500)}`);
    return seconds;
  } finally {
    await rm(folder, { recursive: true });
  }
};
