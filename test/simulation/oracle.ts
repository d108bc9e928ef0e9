/**
 * What must hold, as predicates: after each pass of the daemon (semantics 1.8), and at the end, where the true story of the server
 * model says which outcomes are acceptable (8.3).
 */
import { keywordsOfFlags } from "../../src/model/mail.ts";
import type { Occurrence } from "./server-model.ts";
import { type Held, type HeldPlacement, type LogEntry, readHeld } from "./state.ts";
import type { World } from "./world.ts";

const groupBy = <T>(items: Iterable<T>, key: (item: T) => string): Map<string, T[]> => Map.groupBy(items, key);

const count = <T>(items: readonly T[], test: (item: T) => boolean): number => items.filter(test).length;

/** A promise that did not hold. */
export class Broken extends Error {
  override readonly name = "Broken";
}

export class Oracle {
  readonly #world: World;
  readonly #log: LogEntry[] = [];
  readonly #durable = new Set<string>();
  /** Contents of which the daemon has taken an item away upstream since the last pass. */
  readonly #destroyed = new Set<string>();
  #held: Held | null = null;

  constructor(world: World) {
    this.#world = world;
    world.onPass = () => this.afterPass();
    world.server.onDestroy = ({ of }) => this.#destroyed.add(of.content);
  }

  get log(): readonly LogEntry[] {
    return this.#log;
  }

  get held(): Held {
    if (this.#held === null) throw new Error("nothing was read yet");
    return this.#held;
  }

  /** Reads what is held and what was logged since the last time; I1, I10, I11, I13. */
  async afterPass(): Promise<void> {
    const [error] = this.#world.errors;
    if (error !== undefined) throw this.broken("an error of its own", error);
    const held = await readHeld(this.#world.db, this.#world.accountId, this.#log.length);
    this.#held = held;
    for (const entry of held.log) {
      if (entry.seq !== this.#log.length + 1) throw this.broken("I10", `entry ${entry.seq} follows ${this.#log.length}`);
      this.#log.push(entry);
    }
    if (held.head !== this.#log.length) throw this.broken("I10", `the head is ${held.head} after entry ${this.#log.length}`);
    this.#checkReadable(held);
    this.#checkBindings(held);
    this.#checkRemovals(held);
  }

  /** The account is quiet: I4, and the story of each content. */
  atRest(): void {
    const { held } = this;
    this.#checkProjection(held);
    const placements = groupBy(held.placements, ({ content }) => content ?? "");
    for (const [content, occurrences] of groupBy(this.#world.server.occurrences, (one) => one.content))
      this.#checkStory(content, occurrences, placements.get(content) ?? []);
    const made = count(this.#world.server.occurrences, ({ madeBy }) => madeBy === "daemon");
    if (made > held.appends) throw this.broken("PB10", `${held.appends} appends are journaled, and the server has taken ${made}`);
    this.#checkFlags(held);
    this.#checkFlapping();
    this.#checkReplay();
  }

  /** With the whole story of the run. */
  broken(rule: string, what: string): Broken {
    return new Broken(`${rule}: ${what}\n${this.#world.trace.join("\n")}\n${this.story()}`);
  }

  /** The log, for a report. */
  story(): string {
    const contents = new Map(this.#held?.placements.map(({ id, content }) => [id, content]));
    const entries = this.#log.map(({ seq, kind, reason, rule, placement_id: id, after }) => {
      const { mailboxId: _, ...rest } = after ?? {};
      return `${seq} ${kind} ${contents.get(id ?? "") ?? ""} ${reason} ${rule} ${JSON.stringify(rest)}`;
    });
    const shown = this.#held?.placements.map(
      ({ id, content, path, uid, keywords, lifecycle, kept }) =>
        `  ${id.slice(-4)} ${content} in ${path} as ${uid} ${lifecycle}${kept ? " kept" : ""} ${keywords.join()}`,
    );
    const there = [...this.#world.server.mailboxes.values()].flatMap(({ path, items }) =>
      items.map(({ uid, of, flags }) => `  ${of.content} in ${path} as ${uid} ${[...flags].join()}`),
    );
    return [...entries, "held:", ...(shown ?? []), "upstream:", ...there].join("\n");
  }

  /** I1: what was durable once is readable for ever. */
  #checkReadable({ messages }: Held): void {
    const readable = new Set(messages.filter((message) => message.readable).map(({ id }) => id));
    for (const id of this.#durable)
      if (!readable.has(id)) throw this.broken("I1", `message ${id} was durable and is not readable`);
    for (const id of readable) this.#durable.add(id);
    for (const content of this.#destroyed)
      if (!messages.some((message) => message.content === content && message.readable))
        throw this.broken("PB11", `"${content}" was taken from the server and is not stored`);
    this.#destroyed.clear();
  }

  /** PB13: the log, read from its beginning, tells what is held. */
  #checkReplay(): void {
    const told = new Map<string, string>();
    const keywords = new Map<string, string>();
    const places = new Map<string, unknown>();
    for (const { kind, placement_id: id, after } of this.#log) {
      if (id === null) continue;
      const lifecycle = lifecycles[kind];
      if (lifecycle !== undefined) told.set(id, lifecycle);
      if (after !== null && Array.isArray(after["keywords"])) keywords.set(id, after["keywords"].join());
      if (typeof after?.["mailboxId"] === "string") places.set(id, after["mailboxId"]);
    }
    for (const { id, content, ...held } of this.held.placements) {
      const is = `${held.kept ? "kept" : held.lifecycle} in ${held.mailboxId} ${held.keywords.join()}`;
      const said = `${told.get(id)} in ${String(places.get(id))} ${keywords.get(id)}`;
      if (is !== said) throw this.broken("PB13", `"${content}" is ${is}, and the log says ${said}`);
    }
  }

  /** I13. */
  #checkBindings({ placements }: Held): void {
    for (const { id, bindings, uid, uidl } of placements)
      if (bindings > Number(uid !== null) + Number(uidl !== null))
        throw this.broken("I13", `placement ${id} has ${bindings} bindings`);
  }

  /** I11, V0: no more of a content is taken for gone than has truly gone. */
  #checkRemovals({ placements }: Held): void {
    const gone = groupBy(
      placements.filter(({ lifecycle, kept }) => lifecycle === "removed" || kept),
      ({ content }) => content ?? "",
    );
    for (const [content, lost] of gone) {
      const truly = count(this.#world.server.occurrences, (one) => one.content === content && this.#isGone(one));
      if (lost.length > truly) throw this.broken("I11", `${lost.length} of "${content}" are taken for gone, and ${truly} are`);
    }
  }

  /** I4: what is bound is what is there, with the same flags. */
  #checkProjection(held: Held): void {
    const { server, plan } = this.#world;
    if (!plan.protocols.includes("imap")) return;
    const there = [...server.mailboxes.values()].flatMap(({ path, items }) =>
      items.map(({ uid, of, flags }) => `${path} ${uid} ${of.content} ${keywordsOfFlags([...flags]).join()}`),
    );
    const bound = held.placements
      .filter(({ uid }) => uid !== null)
      .map((one) => `${one.boundPath} ${one.uid} ${one.content} ${this.#projected(one).join()}${oddity(one)}`);
    if (there.sort().join("\n") !== bound.sort().join("\n"))
      throw this.broken("I4", `upstream:\n${there.join("\n")}\nbound:\n${bound.join("\n")}`);
    const unbound = held.placements.find(({ uid, lifecycle, kept }) => uid === null && lifecycle === "live" && !kept);
    if (unbound !== undefined) throw this.broken("I4", `${unbound.id} is live, shown by nobody, and not said to be kept`);
  }

  /** Without what the mailbox cannot hold, which the log must have said. */
  #projected({ id, keywords, boundPath }: HeldPlacement): readonly string[] {
    const { server } = this.#world;
    const masked = this.#log.some(
      ({ kind, reason, placement_id: of }) => kind === "write.failed" && reason === "unsupported_flag" && of === id,
    );
    return masked
      ? keywords.filter((keyword) => keyword.startsWith("$") || server.permits(server.at(boundPath ?? ""), keyword))
      : keywords;
  }

  /** 8.3: nothing is lost that nobody deleted, and nothing is there more often than it was made. */
  #checkStory(content: string, occurrences: readonly Occurrence[], placements: readonly HeldPlacement[]): void {
    const live = count(placements, ({ lifecycle }) => lifecycle === "live");
    const removed = count(placements, ({ lifecycle }) => lifecycle !== "live");
    const deleted = count(occurrences, (one) => this.#meansDelete(one));
    if (live > occurrences.length)
      throw this.broken("PB6", `"${content}" is live ${live} times and was made ${occurrences.length} times`);
    if (removed > deleted) throw this.broken("intent", `"${content}" was removed ${removed} times and deleted ${deleted} times`);
    const [only] = occurrences;
    if (occurrences.length !== 1 || only === undefined || placements.length === 0) return;
    if (placements.length > 1) throw this.broken("PB6", `"${content}" was made once and has ${placements.length} placements`);
    const [placement] = placements;
    if (only.goneBy === "pop3" && this.#keepsDrained() && placement?.lifecycle !== "live")
      throw this.broken("PB7", `"${content}" was taken by a POP3 device and is ${placement?.lifecycle}`);
  }

  /** Does the daemon see it no more? A maildrop shows INBOX alone. */
  #isGone(one: Occurrence): boolean {
    const { server, plan } = this.#world;
    if (one.goneBy !== null || server.hidden.has(one)) return true;
    return !plan.protocols.includes("imap") && !server.at("INBOX").items.some(({ of }) => of === one);
  }

  /** Does the account's policy take it for deleted when it went like this? */
  #meansDelete(one: Occurrence): boolean {
    if (!this.#world.plan.protocols.includes("imap")) return this.#isGone(one) && !this.#keepsDrained();
    return one.goneBy === "imap" || (one.goneBy === "pop3" && !this.#keepsDrained());
  }

  #keepsDrained(): boolean {
    const { pop3Devices = "unknown", onPop3Drain = "keep" } = this.#world.plan.policy;
    if (!this.#world.plan.protocols.includes("imap")) return onPop3Drain !== "mirror";
    return pop3Devices === "declared" && onPop3Drain !== "mirror";
  }

  /** 8.3: a flag is as the last device left it. What the daemon may change by itself is what was marked by retrieval alone (Z5). */
  #checkFlags(held: Held): void {
    const { server, plan } = this.#world;
    const byItem = new Map(held.placements.filter(({ uid }) => uid !== null).map((one) => [`${one.boundPath} ${one.uid}`, one]));
    for (const mailbox of server.mailboxes.values())
      for (const { uid, of } of plan.protocols.includes("imap") ? mailbox.items : []) {
        const wanted = new Map<string, boolean>();
        for (const { flag, value, by } of of.assertions) {
          // What an accident of the server took was seen before, and is put back, or it was not.
          if (by === "fault") wanted.delete(flag);
          else if (by !== "daemon") wanted.set(flag, value);
        }
        const keywords = byItem.get(`${mailbox.path} ${uid}`)?.keywords ?? [];
        for (const [flag, value] of wanted) {
          if (of.contested.has(flag)) continue;
          const [keyword] = keywordsOfFlags([flag]);
          if (keyword === undefined || !server.permits(mailbox, flag)) continue;
          const mayRevert = flag === "\\Seen" && plan.protocols.length > 0 && plan.policy.pop3Devices === "declared";
          if (keywords.includes(keyword) !== value && !(mayRevert && value))
            throw this.broken("flags", `${of.content} in ${mailbox.path}: the last word on ${flag} was ${value}`);
        }
      }
  }

  /** PB5. */
  #checkFlapping(): void {
    const changes = groupBy(
      this.#log.filter(({ kind }) => kind === "message.keywords"),
      ({ placement_id: id }) => id ?? "",
    );
    for (const [id, entries] of changes) {
      const content = this.held.placements.find((one) => one.id === id)?.content ?? "";
      const said = this.#world.server.occurrences
        .filter((one) => one.content === content)
        .flatMap(({ assertions }) => assertions);
      if (entries.length > 2 * count(said, ({ by }) => by !== "daemon") + 1)
        throw this.broken("PB5", `the flags of "${content}" changed ${entries.length} times`);
    }
  }
}

const lifecycles: Readonly<Record<string, string>> = {
  "message.created": "live",
  "message.moved": "live",
  "message.restored": "live",
  "message.merged": "live",
  "message.kept": "kept",
  "message.removed": "removed",
  "message.purged": "purged",
};

const oddity = ({ lifecycle, kept, path, boundPath }: HeldPlacement): string =>
  `${lifecycle === "live" ? "" : ` ${lifecycle}`}${kept ? " kept" : ""}${path === boundPath ? "" : ` held in ${path}`}`;
