/**
 * What must hold, as predicates: after each pass of the daemon (semantics 1.8), and at the end, where the true story of the server
 * model says which outcomes are acceptable (8.3).
 */
import { keywordsOfFlags } from "../../src/model/mail.ts";
import type { Occurrence } from "./server-model.ts";
import { type Held, type HeldPlacement, type LogEntry, readHeld, unreadableIn } from "./state.ts";
import type { World } from "./world.ts";

const groupBy = <T>(items: Iterable<T>, key: (item: T) => string): Map<string, T[]> => Map.groupBy(items, key);

const count = <T>(items: readonly T[], test: (item: T) => boolean): number => items.filter(test).length;

/** A device said that it is to go; who then took it away cannot be told (V9). */
const isMarkedDeleted = ({ assertions }: Occurrence): boolean =>
  assertions.findLast(({ flag }) => flag === "\\Deleted")?.value === true;

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
      const unreadable = unreadableIn(entry);
      if (unreadable !== null) throw this.broken("Q7", `entry ${entry.seq} cannot be read: ${unreadable}`);
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
    const had = held.placements.filter((one) => one.reason !== "lost_before_durable" && !isLeft(one));
    const placements = groupBy(had, ({ content }) => content ?? "");
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
    const { purged } = this.#world.clients.story;
    for (const id of this.#durable)
      if (!readable.has(id) && !purged.has(id)) throw this.broken("I1", `message ${id} was durable and is not readable`);
    for (const id of readable) this.#durable.add(id);
    for (const content of this.#destroyed)
      if (!messages.some((message) => message.content === content && message.readable) && this.#mayRemove(content) === 0)
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
      if (lifecycle !== undefined) told.set(id, after?.["kept"] === true ? "kept" : lifecycle);
      if (after !== null && Array.isArray(after["keywords"])) keywords.set(id, after["keywords"].join());
      if (typeof after?.["mailboxId"] === "string") places.set(id, after["mailboxId"]);
    }
    for (const one of this.held.placements) {
      // Nobody was told that it is there.
      if (isLeft(one)) continue;
      const { id, content, ...held } = one;
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
      // What went before its octets were given is nobody's content (G7).
      placements.filter(({ lifecycle, kept, reason }) => (lifecycle === "removed" && reason !== "lost_before_durable") || kept),
      ({ content }) => content ?? "",
    );
    for (const [content, lost] of gone) {
      const truly = count(this.#world.server.occurrences, (one) => one.content === content && this.#isGone(one));
      if (lost.length > truly + this.#mayRemove(content))
        throw this.broken("I11", `${lost.length} of "${content}" are taken for gone, and ${truly} are`);
    }
  }

  /** I4: what is bound is what is there, with the same flags. */
  #checkProjection(held: Held): void {
    const { server, plan } = this.#world;
    if (!plan.protocols.includes("imap")) return;
    const isThere = ({ boundPath, uid }: HeldPlacement): boolean =>
      server.mailboxes.get(boundPath ?? "")?.items.some((item) => item.uid === uid) === true;
    // Where single items cannot be expunged, what is to go is marked, and stays (C7).
    // What somebody else moved by copying and left there is marked as well, and has another place (ID-5a2).
    const left = held.placements.filter(
      (one) => one.lifecycle !== "live" && isThere(one) && (!server.quirks.uidplus || isLeft(one)),
    );
    const alone = left.find(
      (one) => isLeft(one) && !held.placements.some((other) => other.messageId === one.messageId && !isLeft(other)),
    );
    if (alone !== undefined) throw this.broken("ID-5a2", `"${alone.content}" is in ${alone.path}, and held nowhere`);
    const marked = new Set(left.map(({ boundPath, uid }) => `${boundPath} ${uid}`));
    const there = [...server.mailboxes.values()].flatMap(({ path, items }) =>
      items
        .filter(({ uid, flags }) => !(marked.has(`${path} ${uid}`) && flags.has("\\Deleted")))
        .map(({ uid, of, flags }) => `${path} ${uid} ${of.content} ${keywordsOfFlags([...flags]).join()}`),
    );
    const bound = held.placements
      .filter((one) => one.uid !== null && !left.includes(one))
      .map((one) => `${one.boundPath} ${one.uid} ${one.content} ${this.#projected(one).join()}${oddity(one)}`);
    if (there.sort().join("\n") !== bound.sort().join("\n"))
      throw this.broken("I4", `upstream:\n${there.join("\n")}\nbound:\n${bound.join("\n")}`);
    // Of what went before anybody had its octets there is nothing to show.
    const readable = new Set(held.messages.flatMap(({ id, readable: is }) => (is ? [id] : [])));
    const unbound = held.placements.find(
      ({ uid, messageId, lifecycle, kept }) => uid === null && lifecycle === "live" && !kept && readable.has(messageId),
    );
    if (unbound !== undefined) throw this.broken("I4", `${unbound.id} is live, shown by nobody, and not said to be kept`);
  }

  /** Without what the mailbox cannot hold, which the log must have said. */
  #projected({ id, keywords, boundPath }: HeldPlacement): readonly string[] {
    const { server } = this.#world;
    const masked = this.#log.some(
      ({ kind, reason, evidence, placement_id: of }) =>
        of === id &&
        (kind === "write.failed"
          ? reason === "unsupported_flag"
          : evidence.some((said) => said["masked"] === "unsupported_flag")),
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
    const { made } = this.#world.clients.story;
    const byApi = (made.get(content) ?? 0) + count(occurrences, ({ madeBy }) => madeBy !== "daemon");
    const most = Math.max(occurrences.length, byApi);
    if (live > most) throw this.broken("PB6", `"${content}" is live ${live} times and was made ${most} times`);
    if (removed > deleted + this.#mayRemove(content))
      throw this.broken("intent", `"${content}" was removed ${removed} times and deleted ${deleted} times`);
    for (const one of occurrences) this.#checkPlace(one, occurrences, live);
    const [only] = occurrences;
    if (occurrences.length !== 1 || only === undefined || placements.length === 0) return;
    if (placements.length > 1 + (made.get(content) ?? 0) + this.#mayRemove(content))
      throw this.broken("PB6", `"${content}" was made once and has ${placements.length} placements`);
    const [placement] = placements;
    if (
      only.goneBy === "pop3" &&
      this.#keepsDrained() &&
      !isMarkedDeleted(only) &&
      !only.trashed &&
      placement?.lifecycle !== "live"
    )
      throw this.broken("PB7", `"${content}" was taken by a POP3 device and is ${placement?.lifecycle}`);
  }

  /** 8.3: what a client of the API moved is there, and is live also where a device destroyed it meanwhile. */
  #checkPlace({ sentTo, rescued, content }: Occurrence, occurrences: readonly Occurrence[], live: number): void {
    if (sentTo !== null && !sentTo.to.items.some(({ of }) => of.content === content))
      throw this.broken("intent", `"${content}" was sent to ${sentTo.to.path} and is not there`);
    const again = occurrences.some(({ madeBy, goneBy }) => madeBy === "daemon" && goneBy !== null);
    if (rescued && !again && live === 0) throw this.broken("P2", `"${content}" was moved before it was deleted, and is gone`);
  }

  /** So many of a content may be removed because a client of the API said so. */
  #mayRemove(content: string): number {
    return this.#world.clients.story.removals.get(content) ?? 0;
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
    if (one.goneBy === "pop3") return !this.#keepsDrained() || isMarkedDeleted(one) || one.trashed;
    return one.goneBy === "imap" || one.goneBy === "server";
  }

  #keepsDrained(): boolean {
    const { pop3Devices = "unknown", onPop3Drain = "keep" } = this.#world.plan.policy;
    if (!this.#world.plan.protocols.includes("imap")) return onPop3Drain !== "mirror";
    return pop3Devices === "declared" && onPop3Drain !== "mirror";
  }

  /**
   * Contents of which nobody can say which item a client of the API meant: there were several alike, or what it marked went before
   * its octets were given (G7).
   */
  #unsureOf(placements: readonly HeldPlacement[]): ReadonlySet<string | null> {
    const made = groupBy(
      this.#world.server.occurrences.filter(({ madeBy }) => madeBy !== "daemon"),
      ({ content }) => content,
    );
    const alike = [...made].flatMap(([content, { length }]) => (length > 1 ? [content] : []));
    return new Set([
      ...alike,
      ...placements.flatMap(({ reason, content }) => (reason === "lost_before_durable" ? [content] : [])),
    ]);
  }

  /** 8.3: a flag is as the last device left it. What the daemon may change by itself is what was marked by retrieval alone (Z5). */
  #checkFlags({ placements }: Held): void {
    const { server, plan } = this.#world;
    const unsure = this.#unsureOf(placements);
    const byItem = new Map(placements.filter(({ uid }) => uid !== null).map((one) => [`${one.boundPath} ${one.uid}`, one]));
    for (const mailbox of server.mailboxes.values())
      for (const { uid, of } of plan.protocols.includes("imap") ? mailbox.items : []) {
        const wanted = new Map<string, boolean>();
        for (const { flag, value, by } of of.assertions) {
          // What an accident of the server took was seen before, and is put back, or it was not.
          if (by === "fault" || (by === "api" && unsure.has(of.content))) wanted.delete(flag);
          else if (by !== "daemon") wanted.set(flag, value);
        }
        const held = byItem.get(`${mailbox.path} ${uid}`);
        // What is purged has no flags any more; its item may have to stay (C7).
        if (held?.lifecycle === "purged") continue;
        const keywords = held?.keywords ?? [];
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
      const content = this.held.placements.find((one) => one.id === id)?.content ?? null;
      // What is purged does not tell what it was.
      if (content === null) continue;
      const said = this.#world.server.occurrences
        .filter((one) => one.content === content)
        .flatMap(({ assertions }) => assertions);
      const words =
        count(said, ({ by }) => by !== "daemon" && by !== "api") + (this.#world.clients.story.words.get(content) ?? 0);
      if (entries.length > 2 * words + 1) throw this.broken("PB5", `the flags of "${content}" changed ${entries.length} times`);
    }
  }
}

/** What a move by copying left behind. */
const isLeft = ({ lifecycle, reason }: HeldPlacement): boolean => lifecycle === "purged" && reason === "left_marked";

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
