/**
 * Parses what was stored, behind the sync: newest first, never between fetch and commit, one account at a time per turn.
 * What cannot be parsed is noted as such; its octets stay readable.
 */
import pLimit from "p-limit";
import type { Parser } from "../mime/parser.ts";
import type { AccountId, MessageId, TenantId } from "../model/ids.ts";
import type { ParsedMessage } from "../model/mail.ts";
import { storedOctets } from "../store/blob-reads.ts";
import { listUnparsed, notStorable, readSmall, storeContents, type Unparsed } from "../store/contents.ts";
import type { Database } from "../store/database.ts";
import type { Logger } from "../telemetry/log.ts";
import { parseFailures } from "../telemetry/metrics.ts";

interface Owner {
  readonly id: AccountId;
  readonly tenantId: TenantId;
}

interface Content {
  readonly messageId: MessageId;
  readonly parsed: ParsedMessage;
}

/** PostgreSQL says that the data is the trouble, not the connection or itself: class 22 data exception, 54 limit exceeded. */
const isRefused = (err: unknown): boolean =>
  err instanceof Error && "code" in err && typeof err.code === "string" && /^(?:22|54)[0-9A-Z]{3}$/.test(err.code);

const pageSize = 50;
/** Messages up to this size are read from the store together, a page at once. */
const smallBytes = 128 * 1024;

export class ParseQueue {
  private readonly db: Database;
  private readonly parser: Parser;
  private readonly log: Logger;
  private readonly turn = pLimit(1);
  private readonly waiting = new Set<AccountId>();
  private readonly stopping = new AbortController();

  constructor(services: { readonly db: Database; readonly parser: Parser; readonly log: Logger }) {
    this.db = services.db;
    this.parser = services.parser;
    this.log = services.log;
  }

  /** The account has mail nobody has parsed yet. Harmless when it has none. */
  add(owner: Owner): void {
    if (this.waiting.has(owner.id) || this.stopping.signal.aborted) return;
    this.waiting.add(owner.id);
    void this.turn(async () => {
      // Mail that comes from here on asks for a turn of its own.
      this.waiting.delete(owner.id);
      await this.parseAll(owner).catch((err: unknown) => this.log.warn({ account: owner.id, err }, "parsing stopped"));
    });
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    this.turn.clearQueue();
    await this.turn(() => undefined);
  }

  private async parseAll(owner: Owner): Promise<void> {
    let before: Unparsed | null = null;
    while (!this.stopping.signal.aborted) {
      const page: Unparsed[] = await listUnparsed(this.db, owner.id, before, pageSize);
      if (page.length === 0) return;
      before = page.at(-1) ?? null;
      const small = await readSmall(
        this.db,
        owner.id,
        page.filter((message) => message.size <= smallBytes),
      );
      const contents = await Promise.all(
        page.map((message) => this.parseOne(owner.id, message, small.get(message.sha256.toString("hex")))),
      );
      await this.store(
        owner,
        contents.flatMap((content) => content ?? []),
      );
    }
  }

  private async store(owner: Owner, contents: readonly Content[]): Promise<void> {
    const account = { accountId: owner.id, tenantId: owner.tenantId };
    try {
      await storeContents(this.db, account, contents);
    } catch (err) {
      if (!isRefused(err)) throw err;
      // One of them is more than the database takes (a text search index of over 1 MiB, say): it must not hold up the others.
      for (const content of contents)
        await storeContents(this.db, account, [content]).catch(async (cause: unknown) => {
          if (!isRefused(cause)) throw cause;
          const { messageId } = content;
          this.log.warn({ account: owner.id, message: messageId, err: cause }, "parsed content cannot be stored");
          parseFailures.inc({ reason: notStorable });
          await storeContents(this.db, account, [{ messageId, parsed: { status: "failed", reason: notStorable } }]);
        });
    }
  }

  private async parseOne(accountId: AccountId, message: Unparsed, small: Buffer | undefined) {
    try {
      const octets = small ?? (await storedOctets(this.db, accountId, message));
      const parsed = await this.parser.parse(octets, this.stopping.signal);
      if (parsed.status === "failed") parseFailures.inc({ reason: parsed.reason });
      return { messageId: message.id, parsed };
    } catch (err) {
      // Not the mail's fault (the database went, or we are stopping): it stays unparsed and is found again.
      this.log.debug({ account: accountId, message: message.id, err }, "message left for later");
      return null;
    }
  }
}
