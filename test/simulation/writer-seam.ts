/** The server model as the daemon writes to it over IMAP. What is read back is asked for apart: others act in between. */
import type {
  Appended,
  AppendRequest,
  Doomed,
  Expunged,
  ExpungeRequest,
  MailboxOutcome,
  MailboxRename,
  MailboxWriter,
  Moved,
  MoveRequest,
  Refused,
  Stored,
  StoreRequest,
  WriterDriver,
} from "../../src/endpoints/endpoint.ts";
import { factOf, objectIdOf, permanentFlagsOf } from "./imap-seam.ts";
import type { Life } from "./life.ts";
import type { Mailbox, ServerModel } from "./server-model.ts";

class ModelWriter implements MailboxWriter {
  readonly #server: ServerModel;
  readonly #life: Life;
  readonly #line;

  constructor(server: ServerModel, life: Life) {
    this.#server = server;
    this.#life = life;
    this.#line = life.connect();
  }

  get usable(): boolean {
    return this.#line.alive;
  }

  async store({ path, items, change, flags, ...of }: StoreRequest): Promise<Stored | Refused> {
    const { quirks } = this.#server;
    const opened = await this.#ask(`store ${path} ${change} ${flags.join()}`, () => {
      const mailbox = this.#select({ path, ...of });
      if ("kind" in mailbox) return mailbox;
      const permitted = flags.filter((flag) => this.#server.permits(mailbox, flag));
      const conflicts = items.flatMap(({ uid, unchangedSince }) => {
        const since = unchangedSince === null || quirks.changes === "full" ? null : Number(unchangedSince);
        const said = { [change]: permitted, unchangedSince: since, by: "daemon" as const };
        const item = mailbox.items.find((one) => one.uid === uid);
        const deaf = quirks.deafStore && item !== undefined && this.#server.once(item);
        return permitted.length === 0 || deaf ? [] : this.#server.store(path, [uid], said);
      });
      return { conflicts, permanentFlags: permanentFlagsOf(this.#server, mailbox) };
    });
    if ("kind" in opened) return opened;
    const facts = await this.#facts(
      path,
      items.map(({ uid }) => uid),
    );
    return { kind: "stored", facts, ...opened };
  }

  async move({ uids, to, ...of }: MoveRequest): Promise<Moved | Refused> {
    const { quirks } = this.#server;
    const moved = await this.#ask(`move ${of.path} ${to.path}`, () => {
      const mailbox = this.#select(of);
      if ("kind" in mailbox) return mailbox;
      if (!this.#server.mailboxes.has(to.path)) return refused("no_mailbox");
      const made = this.#server.move(of.path, uids, to.path, "daemon");
      const told = quirks.uidplus && this.#server.at(to.path).uidValidity === to.uidValidity;
      return {
        made: told ? made : new Map<number, number>(),
        permanentFlags: permanentFlagsOf(this.#server, this.#server.at(to.path)),
      };
    });
    if ("kind" in moved) return moved;
    const { made, permanentFlags } = moved;
    const read = new Map((await this.#facts(to.path, [...made.values()])).map((fact) => [fact.uid, fact]));
    const there = new Map((this.#server.mailboxes.get(to.path)?.items ?? []).map((item) => [item.uid, item]));
    const items = [...made].flatMap(([from, uid]) => {
      const [fact, item] = [read.get(uid), there.get(uid)];
      if (fact === undefined || item === undefined) return [];
      return [{ from, item: { ...fact, internalDate: item.date, objectId: objectIdOf(this.#server, item) } }];
    });
    return { kind: "moved", items, copied: false, permanentFlags };
  }

  async expunge({ items, ...of }: ExpungeRequest): Promise<Expunged | Refused> {
    const stored = await this.store({ ...of, items, change: "add", flags: ["\\Deleted"] });
    if (stored.kind === "refused") return stored;
    const { conflicts } = stored;
    const marked = stored.facts.filter(({ uid, flags }) => flags.includes("\\Deleted") && !conflicts.includes(uid));
    const onlyMarked = !this.#server.quirks.uidplus;
    if (onlyMarked) return { kind: "expunged", facts: stored.facts, conflicts, onlyMarked };
    const done = await this.#ask(`expunge ${of.path}`, () => {
      const mailbox = this.#select(of);
      if ("kind" in mailbox) return mailbox;
      const still = marked
        .map(({ uid }) => uid)
        .filter((uid) => mailbox.items.some((item) => item.uid === uid && item.flags.has("\\Deleted")));
      this.#server.expunge(of.path, still, "daemon");
      return null;
    });
    if (done !== null) return done;
    const facts = await this.#facts(
      of.path,
      items.map(({ uid }) => uid),
    );
    return { kind: "expunged", facts, conflicts, onlyMarked };
  }

  position(path: string): Promise<{ uidValidity: number; uidNext: number } | Refused> {
    return this.#ask(`position ${path}`, () => {
      const mailbox = this.#server.mailboxes.get(path);
      return mailbox === undefined ? refused("no_mailbox") : { uidValidity: mailbox.uidValidity, uidNext: mailbox.uidNext };
    });
  }

  async append({ path, flags, internalDate, octets, uidValidity }: AppendRequest): Promise<Appended | Refused> {
    const parts: Buffer[] = [];
    for await (const part of octets.parts()) parts.push(part);
    const whole = Buffer.concat(parts);
    const made = await this.#ask(`append ${path}`, () => {
      if (!this.#server.mailboxes.has(path)) return refused("no_mailbox");
      const content = /^Subject: (.*?)\r?$/m.exec(whole.toString("latin1"))?.[1] ?? "";
      const item = this.#server.append(path, { content, octets: whole, date: internalDate, flags, by: "daemon" });
      return { uid: item.uid, objectId: objectIdOf(this.#server, item), epoch: this.#server.at(path).uidValidity };
    });
    if ("kind" in made) return made;
    if (!this.#server.quirks.uidplus || made.epoch !== uidValidity) return { kind: "appended", item: null };
    const [fact] = await this.#facts(path, [made.uid]);
    const { objectId } = made;
    return { kind: "appended", item: fact === undefined ? null : { ...fact, internalDate, objectId } };
  }

  rootPrefix(): Promise<string> {
    return Promise.resolve("");
  }

  create(path: string): Promise<MailboxOutcome | Refused> {
    return this.#ask(`create ${path}`, () => {
      if (this.#server.mailboxes.has(path)) return { kind: "exists" };
      this.#server.create(path);
      return { kind: "done" };
    });
  }

  rename({ from, to }: MailboxRename): Promise<MailboxOutcome | Refused> {
    return this.#ask(`rename ${from} ${to}`, () => {
      if (!this.#server.mailboxes.has(from)) return refused("no_mailbox");
      if (this.#server.mailboxes.has(to)) return { kind: "exists" };
      return this.#server.rename(from, to) ? { kind: "done" } : refused("unsupported");
    });
  }

  remove({ path, uidValidity }: Doomed): Promise<MailboxOutcome | Refused> {
    return this.#ask(`remove ${path}`, () => {
      const mailbox = this.#server.mailboxes.get(path);
      if (mailbox === undefined) return refused("no_mailbox");
      if (uidValidity !== null && mailbox.uidValidity !== uidValidity) return refused("epoch");
      if (mailbox.items.length > 0) return { kind: "occupied" };
      return this.#server.remove(path, "daemon") ? { kind: "done" } : refused("unsupported");
    });
  }

  subscribe(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    this.#line.alive = false;
    return Promise.resolve();
  }

  #select({ path, uidValidity }: { path: string; uidValidity: number }): Mailbox | Refused {
    const mailbox = this.#server.mailboxes.get(path);
    if (mailbox === undefined) return refused("no_mailbox");
    return mailbox.uidValidity === uidValidity ? mailbox : refused("epoch");
  }

  #facts(path: string, uids: readonly number[]) {
    return this.#ask(`read back ${path}`, () =>
      (this.#server.mailboxes.get(path)?.items ?? [])
        .filter(({ uid }) => uids.includes(uid))
        .map((item) => factOf(this.#server, item)),
    );
  }

  #ask<T>(name: string, work: () => T): Promise<T> {
    return this.#life.ask(name, this.#line, work);
  }
}

const refused = (why: Refused["why"]): Refused => ({ kind: "refused", why });

export const modelWriter = (server: ServerModel, life: Life): WriterDriver => ({
  open: async () => {
    await life.ask("open writer", life.connect(), () => undefined);
    return new ModelWriter(server, life);
  },
});
