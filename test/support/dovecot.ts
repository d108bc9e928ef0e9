/** A private Dovecot 2.3 on loopback, with its mail in a temporary folder. Works as root and as anybody else. */
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { access, chown, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { testCertificates } from "./certificates.ts";
import { accessTokenFor, dovecotConf, type DovecotPop3, type DovecotSetup, oauth2Conf, pop3Settings } from "./dovecot-config.ts";
import { eventually } from "./eventually.ts";
import { type GuardedProcess, startGuarded } from "./guarded-process.ts";
import { ImapDevice } from "./imap-device.ts";
import { deliverToMaildir, type Delivery } from "./maildir-delivery.ts";
import { freePorts } from "./ports.ts";
import { makeServerFolder } from "./run-folder.ts";

const run = promisify(execFile);
const host = "127.0.0.1";

export interface DovecotOptions {
  /** Names the server must not tell. Dovecot 2.3 still obeys a client that uses them unasked. */
  readonly withoutCapabilities?: readonly string[];
  /** Appended to dovecot.conf. */
  readonly extraConfig?: string;
  /** Accounts `user1` … (10). */
  readonly users?: number;
  /** How POP3 behaves for single accounts, by number, where it differs from `pop3`. */
  readonly pop3Of?: Readonly<Record<number, DovecotPop3>>;
  readonly format?: "maildir" | "sdbox";
  /** Connections one user may hold at once (500; Dovecot's own default is 10). */
  readonly maxUserIpConnections?: number;
  /** How its POP3 behaves. */
  readonly pop3?: DovecotPop3;
}

export interface DovecotAccount {
  readonly user: string;
  readonly password: string;
}

export interface Dovecot extends AsyncDisposable {
  readonly host: string;
  readonly imapPort: number;
  readonly imapsPort: number;
  readonly pop3Port: number;
  readonly pop3sPort: number;
  /** The authority behind the server certificate, which is good for `localhost` and 127.0.0.1. */
  readonly caPem: string;
  /** Counts from 1. */
  account(n: number): DovecotAccount;
  /** A bearer token for XOAUTH2 and OAUTHBEARER; a negative time makes one that has expired. */
  accessToken(n: number, validForSeconds?: number): string;
  /** Another password from now on, as its owner gives it to the provider; sessions that are open are ended. */
  changePassword(n: number, password: string): Promise<void>;
  /** Logs in as another device of that account. */
  device(n: number): Promise<ImapDevice>;
  /** Puts messages into a mailbox, in order, making it when missing; returns how many. 20,000 take 3 s (maildir) or 6 s (sdbox). */
  deliver(delivery: { readonly user: string; readonly mailbox: string; readonly messages: Iterable<Delivery> }): Promise<number>;
  /** Gives the accounts up to `last` the mail of the first, under the same numbers. Nobody may be connected to them. */
  copyMail(last: number): Promise<void>;
  /** Runs the administration tool on this server; returns its output. */
  doveadm(...args: readonly string[]): Promise<string>;
  /** What the server tells a client that has logged in. */
  capability(): Promise<string[]>;
  /** What the server logged. */
  log(): Promise<string>;
  /** Ends every connection and starts again on the same ports with the same mail. */
  restart(): Promise<void>;
  /** Ends the server and removes its folder. Harmless when repeated. */
  stop(): Promise<void>;
}

const passwordOf = (user: string): string => user.replace("user", "pass");

const writeSetup = async (setup: DovecotSetup): Promise<void> => {
  const group = process.getuid?.() === 0 ? "" : (await run("id", ["-gn"])).stdout.trim();
  await writeFile(join(setup.folder, "dovecot.conf"), dovecotConf(setup, group));
};

type UnplacedSetup = Omit<DovecotSetup, "ports">;

type Accounts = Required<Pick<DovecotOptions, "users" | "pop3Of">>;

const writeFolder = async (setup: UnplacedSetup, { users, pop3Of }: Accounts): Promise<{ caPem: string; tokenKey: Buffer }> => {
  const { folder, uid, gid } = setup;
  const { caPem, certPem, keyPem } = await testCertificates();
  const tokenKey = randomBytes(32);
  for (const name of ["run", "state", "mail", "keys/default/HS256"]) await mkdir(join(folder, name), { recursive: true });
  const passwd = Array.from({ length: users }, (_, at) => {
    const user = `user${at + 1}`;
    const different = Object.entries(pop3Settings(pop3Of[at + 1] ?? setup.pop3));
    // The file expands variables of its own.
    const own = different.map(([name, value]) => `userdb_${name}=${value.replaceAll("%", "%%")}`);
    return `${user}:{PLAIN}${passwordOf(user)}:${uid}:${gid}::${folder}/mail/${user}::${own.join(" ")}\n`;
  });
  await writeFile(join(folder, "passwd"), passwd.join(""));
  await writeFile(join(folder, "server.pem"), certPem);
  await writeFile(join(folder, "server.key"), keyPem, { mode: 0o600 });
  await writeFile(join(folder, "oauth2.conf"), oauth2Conf(folder));
  await writeFile(join(folder, "keys/default/HS256/default"), tokenKey.toString("base64"));
  if (process.getuid?.() === 0) await chown(join(folder, "mail"), uid, gid);
  return { caPem, tokenKey };
};

const greets = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host, port });
    const settle = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(2000, () => settle(false));
    socket.once("data", () => settle(true));
    socket.once("error", () => settle(false));
    socket.once("close", () => settle(false));
  });

/** Starts the program and waits until it greets. @throws Error with the log when it gives up. */
const launch = async (setup: DovecotSetup): Promise<GuardedProcess> => {
  const server = startGuarded({ folder: setup.folder, command: ["dovecot", "-F", "-c", join(setup.folder, "dovecot.conf")] });
  try {
    await eventually("Dovecot greets", async () => {
      if (!server.running) return "ended";
      // Written once all ports are ours, so that a stranger's greeting on a port just lost is not taken for ours.
      await access(join(setup.folder, "run/master.pid"));
      return (await greets(setup.ports.imap)) && (await greets(setup.ports.pop3)) && "ready";
    });
    if (!server.running) throw new Error("Dovecot ended at once");
    return server;
  } catch (error) {
    const log = await readFile(join(setup.folder, "dovecot.log"), "utf8").catch(() => "");
    await server.end({ keepFolder: true });
    throw new Error(`Dovecot did not start:\n${await server.output()}${log.slice(-2000)}`, { cause: error });
  }
};

/** Tries other ports when somebody took one of ours in between. */
const launchOnFreePorts = async (setup: UnplacedSetup, attempts = 3): Promise<[GuardedProcess, DovecotSetup]> => {
  const [imap = 0, imaps = 0, pop3 = 0, pop3s = 0] = await freePorts(4);
  const placed = { ...setup, ports: { imap, imaps, pop3, pop3s } };
  await writeSetup(placed);
  try {
    return [await launch(placed), placed];
  } catch (error) {
    if (attempts <= 1 || !String(error).includes("Address already in use")) throw error;
    await rm(join(setup.folder, "dovecot.log"), { force: true });
    return launchOnFreePorts(setup, attempts - 1);
  }
};

class RunningDovecot implements Dovecot {
  readonly host = host;
  readonly imapPort: number;
  readonly imapsPort: number;
  readonly pop3Port: number;
  readonly pop3sPort: number;
  readonly caPem: string;
  readonly #setup: DovecotSetup;
  readonly #tokenKey: Buffer;
  readonly #passwords = new Map<number, string>();
  #server: GuardedProcess;

  constructor(setup: DovecotSetup, server: GuardedProcess, secrets: { readonly caPem: string; readonly tokenKey: Buffer }) {
    ({ imap: this.imapPort, imaps: this.imapsPort, pop3: this.pop3Port, pop3s: this.pop3sPort } = setup.ports);
    this.caPem = secrets.caPem;
    this.#tokenKey = secrets.tokenKey;
    this.#setup = setup;
    this.#server = server;
  }

  account(n: number): DovecotAccount {
    return { user: `user${n}`, password: this.#passwords.get(n) ?? passwordOf(`user${n}`) };
  }

  async changePassword(n: number, password: string): Promise<void> {
    const file = join(this.#setup.folder, "passwd");
    const { user, password: old } = this.account(n);
    // Renamed into its place: Dovecot reads a changed file anew, but not half of one.
    await writeFile(
      `${file}.new`,
      (await readFile(file, "utf8")).replace(`${user}:{PLAIN}${old}:`, `${user}:{PLAIN}${password}:`),
    );
    await rename(`${file}.new`, file);
    this.#passwords.set(n, password);
    // It looks at the file no more than once a second.
    await eventually("the new password is known", async () => {
      await this.doveadm("auth", "test", user, password);
      return true;
    });
    await this.doveadm("kick", user).catch(() => undefined); // Nobody need be there.
  }

  accessToken(n: number, validForSeconds = 3600): string {
    const expiresAt = Math.floor(Date.now() / 1000) + validForSeconds;
    return accessTokenFor({ user: this.account(n).user, expiresAt, key: this.#tokenKey });
  }

  device(n: number): Promise<ImapDevice> {
    return ImapDevice.connect({ host, port: this.imapPort, ...this.account(n) });
  }

  async deliver(delivery: {
    readonly user: string;
    readonly mailbox: string;
    readonly messages: Iterable<Delivery>;
  }): Promise<number> {
    const { user, mailbox, messages } = delivery;
    const { folder, format, uid, gid } = this.#setup;
    if (format === "maildir")
      return deliverToMaildir({ maildir: join(folder, "mail", user, "mail"), mailbox, messages, owner: { uid, gid } });
    await using device = await ImapDevice.connect({ host, port: this.imapPort, user, password: passwordOf(user) });
    // The mailbox may be there already; whether it is now, the upload tells.
    if (mailbox.toUpperCase() !== "INBOX") await device.create(mailbox).catch(() => undefined);
    return await device.appendAll(mailbox, messages); // Before the device is disposed.
  }

  async doveadm(...args: readonly string[]): Promise<string> {
    return (await run("doveadm", ["-c", join(this.#setup.folder, "dovecot.conf"), ...args], { maxBuffer: 64_000_000 })).stdout;
  }

  async capability(): Promise<string[]> {
    await using device = await this.device(1);
    const { untagged } = await device.command("CAPABILITY");
    const line = untagged.find((response) => response.line.startsWith("* CAPABILITY "))?.line ?? "";
    return line.split(" ").slice(2);
  }

  log(): Promise<string> {
    return readFile(join(this.#setup.folder, "dovecot.log"), "utf8");
  }

  async copyMail(last: number): Promise<void> {
    const folder = join(this.#setup.folder, "mail");
    for (let n = 2; n <= last; n += 1) {
      await rm(join(folder, `user${n}`), { recursive: true, force: true });
      await run("cp", ["-a", join(folder, "user1"), join(folder, `user${n}`)]);
    }
  }

  async restart(): Promise<void> {
    await this.#server.end({ keepFolder: true });
    // A killed process leaves its number there, and Dovecot does not start while anything at all has that number.
    await rm(join(this.#setup.folder, "run/master.pid"), { force: true });
    // A killed process gives its ports back a moment after it has gone.
    this.#server = await eventually("Dovecot starts again", () => launch(this.#setup), { everyMs: 100 });
  }

  stop(): Promise<void> {
    return this.#server.end();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

let wholeCapability: Promise<readonly string[]> | undefined;

/** What this machine's Dovecot tells when nothing is hidden; asked once per process. */
const askWholeCapability = async (): Promise<readonly string[]> => {
  await using server = await startDovecot({ users: 1 });
  return await server.capability(); // Before the server is disposed.
};

/** Only a whole list can be configured, so what is hidden is taken out of Dovecot's own. */
const capabilityWithout = async (hidden: readonly string[]): Promise<readonly string[] | null> => {
  if (hidden.length === 0) return null;
  const whole = await (wholeCapability ??= askWholeCapability());
  const unknown = hidden.filter((name) => !whole.includes(name));
  if (unknown.length > 0) throw new Error(`this Dovecot has no ${unknown.join(", ")}; it has ${whole.join(" ")}`);
  return whole.filter((name) => !hidden.includes(name));
};

/** Whose mail it is: as root an id nobody else has, so that the kernel's count of inotify instances per user is the server's own. */
const mailOwner = (): { uid: number; gid: number } => {
  const uid = process.getuid?.() ?? 0;
  const gid = process.getgid?.() ?? 0;
  if (uid !== 0) return { uid, gid };
  const id = 40_000 + Math.floor(Math.random() * 20_000);
  return { uid: id, gid: id };
};

/**
 * Starts a server with `users` empty accounts, each with Drafts, Sent, Trash, Junk and Archive as special-use mailboxes.
 * It ends with this process if nobody ends it before.
 * @throws Error with the server's own words when it does not come up, or when it lacks a capability that is to be hidden.
 */
export const startDovecot = async (options: DovecotOptions = {}): Promise<Dovecot> => {
  const {
    withoutCapabilities = [],
    extraConfig = "",
    users = 10,
    format = "maildir",
    maxUserIpConnections = 500,
    pop3 = {},
    pop3Of = {},
  } = options;
  const capability = await capabilityWithout(withoutCapabilities);
  const folder = await makeServerFolder("dovecot");
  try {
    const wanted = { folder, ...mailOwner(), format, maxUserIpConnections, pop3, capability, extraConfig };
    const secrets = await writeFolder(wanted, { users, pop3Of });
    const [server, setup] = await launchOnFreePorts(wanted);
    return new RunningDovecot(setup, server, secrets);
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
};
