/** What the demonstration plays on: a private mail server, a daemon with its embedded database, and one account over both protocols. */
import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { benchMessage, seeded } from "../bench/mail.ts";
import { type Daemon, startDaemon, testAdminKey } from "../test/support/daemon.ts";
import { type Dovecot, startDovecot } from "../test/support/dovecot.ts";
import { eventually } from "../test/support/eventually.ts";
import type { ImapDevice } from "../test/support/imap-device.ts";

export const sha256 = (octets: Uint8Array): string => createHash("sha256").update(octets).digest("hex");

export interface Change {
  readonly kind: string;
  readonly messageId: string | null;
  readonly reason: string;
  readonly rule: string | null;
}

/** Totals of one side of the comparison. */
export interface Totals {
  readonly inbox: number;
  readonly unread: number;
  readonly work: number;
}

interface Mailbox {
  readonly path: string;
  readonly totalMessages: number;
  readonly unreadMessages: number;
}

interface AccountStatus {
  readonly syncState: string;
  readonly progress: { readonly done: number; readonly total: number };
}

export class Stage implements AsyncDisposable {
  readonly server: Dovecot;
  readonly phone: ImapDevice;
  /** SHA-256 of every message the server ever had. */
  readonly delivered = new Set<string>();
  /** Every message the log has told of. */
  readonly told = new Set<string>();
  readonly #daemon: Daemon;
  readonly #made: AsyncDisposableStack;
  #account = "";
  #state = "0.0";

  private constructor(server: Dovecot, phone: ImapDevice, daemon: Daemon, made: AsyncDisposableStack) {
    this.server = server;
    this.phone = phone;
    this.#daemon = daemon;
    this.#made = made;
  }

  static async set(): Promise<Stage> {
    const folder = await mkdtemp(join(tmpdir(), "samebox-demo-"));
    await using made = new AsyncDisposableStack();
    made.defer(() => rm(folder, { recursive: true, force: true }));
    const server = made.use(await startDovecot({ users: 1 }));
    const daemon = made.use(await startDaemon({ built: true, env: { SAMEBOX_DATA_DIR: folder, SAMEBOX_POLL_SECONDS: "1" } }));
    const phone = await server.device(1);
    made.defer(() => phone.close());
    return new Stage(server, phone, daemon, made.move());
  }

  /** Generated mail, all of it read, the same in every run. */
  async fill(count: number): Promise<void> {
    const random = seeded(20_261_127);
    const messages = Array.from({ length: count }, (_, n) => benchMessage(n, random, 8_000));
    const inWork = Math.floor(count / 10);
    await this.deliver("Work", messages.slice(0, inWork), ["\\Seen"]);
    await this.deliver("INBOX", messages.slice(inWork), ["\\Seen"]);
  }

  async deliver(mailbox: string, messages: readonly Buffer[], flags: readonly string[] = []): Promise<void> {
    for (const message of messages) this.delivered.add(sha256(message));
    const { user } = this.server.account(1);
    await this.server.deliver({ user, mailbox, messages: messages.map((raw) => ({ raw, flags })) });
  }

  /** Creates the account, declares its POP3 laptop, and waits until all is durable. */
  async sync(onProgress: (done: number, total: number) => void): Promise<void> {
    const { host, imapPort, pop3Port } = this.server;
    const endpoint = { host, security: "none", auth: { type: "password", ...this.server.account(1) } };
    const { id } = await this.#call<{ id: string }>("POST", "/v1/accounts", {
      name: "Ana",
      email: "ana@example.test",
      endpoints: [
        { protocol: "imap", port: imapPort, ...endpoint },
        { protocol: "pop3", port: pop3Port, ...endpoint },
      ],
      policy: { pop3Devices: "declared" },
    });
    this.#account = `/v1/accounts/${id}`;
    await eventually(
      "all mail is durable",
      async () => {
        const { syncState, progress } = await this.get<AccountStatus>("/status");
        onProgress(progress.done, progress.total);
        return syncState === "live" && progress.total > 0 && progress.done === progress.total;
      },
      { timeoutMs: 120_000, everyMs: 50 },
    );
  }

  get<T>(path: string): Promise<T> {
    return this.#call("GET", this.#account + path);
  }

  /** The octets of a message, as an app downloads them. */
  async raw(messageId: string): Promise<Buffer> {
    const response = await fetch(`${this.#daemon.url}${this.#account}/messages/${messageId}/raw`, {
      headers: { authorization: `Bearer ${testAdminKey}` },
    });
    if (!response.ok) throw new Error(`raw: ${response.status}`);
    return Buffer.from(await response.arrayBuffer());
  }

  /** What the log says since the last call. */
  async news(): Promise<readonly Change[]> {
    const all: Change[] = [];
    for (let more = true; more;) {
      const page = await this.get<{ items: Change[]; newState: string; hasMore: boolean }>(
        `/changes?since=${this.#state}&limit=500`,
      );
      all.push(...page.items);
      for (const { messageId } of page.items) if (messageId !== null) this.told.add(messageId);
      this.#state = page.newState;
      more = page.hasMore;
    }
    return all;
  }

  async onServer(): Promise<Totals> {
    const status = async (mailbox: string): Promise<Map<string, number>> => {
      const { untagged } = await this.phone.command(`STATUS ${mailbox} (MESSAGES UNSEEN)`);
      const line = untagged.map((response) => response.line).find((text) => text.startsWith("* STATUS")) ?? "";
      return new Map([...line.matchAll(/(MESSAGES|UNSEEN) (\d+)/g)].map(([, name = "", value]) => [name, Number(value)]));
    };
    // The counters of the selected mailbox are as old as the last look at it.
    await this.phone.command("NOOP");
    const [inbox, work] = [await status("INBOX"), await status("Work")];
    return { inbox: inbox.get("MESSAGES") ?? 0, unread: inbox.get("UNSEEN") ?? 0, work: work.get("MESSAGES") ?? 0 };
  }

  async inSamebox(): Promise<Totals> {
    const { items } = await this.get<{ items: Mailbox[] }>("/mailboxes");
    const of = (path: string): Mailbox | undefined => items.find((mailbox) => mailbox.path === path);
    return {
      inbox: of("INBOX")?.totalMessages ?? 0,
      unread: of("INBOX")?.unreadMessages ?? 0,
      work: of("Work")?.totalMessages ?? 0,
    };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#made.disposeAsync();
  }

  async #call<T>(method: string, path: string, body?: unknown): Promise<T> {
    const answer = await this.#daemon.call<T>(method, path, body);
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  }
}
