/**
 * The devices of an account, and the accidents of its server, as actions on the server model. What an action is about is said in
 * relative words (the third item of the second mailbox), so that a script that was made smaller still means something.
 */
import { Pop3Model } from "./pop3-model.ts";
import type { Item, Mailbox, ServerModel } from "./server-model.ts";

/** Numbers select modulo what there is. */
export type Action =
  | { readonly do: "deliver"; readonly content: number; readonly box: number; readonly flags: readonly string[] }
  | { readonly do: "mark"; readonly box: number; readonly item: number; readonly flag: string; readonly set: boolean }
  | { readonly do: "mark all"; readonly box: number; readonly flag: string; readonly set: boolean }
  | { readonly do: "move"; readonly box: number; readonly item: number; readonly to: number }
  | { readonly do: "copy"; readonly box: number; readonly item: number; readonly to: number }
  /** COPY, `\Deleted` and EXPUNGE, with time in between. */
  | { readonly do: "move by copy"; readonly box: number; readonly item: number; readonly to: number }
  /** `\Deleted`, COPY, and EXPUNGE or the mark taken away again, with time in between. */
  | { readonly do: "mark and copy"; readonly box: number; readonly item: number; readonly to: number; readonly unmark: boolean }
  /** `\Deleted` and EXPUNGE, with or without time in between. */
  | { readonly do: "delete"; readonly box: number; readonly item: number; readonly slow: boolean }
  /** The next step of something that takes several. */
  | { readonly do: "go on" }
  | { readonly do: "pop3"; readonly retr: number; readonly dele: number; readonly from: "oldest" | "newest" }
  | { readonly do: "pop3 ends"; readonly well: boolean }
  | { readonly do: "make mailbox"; readonly name: number }
  | { readonly do: "rename mailbox"; readonly box: number; readonly name: number }
  | { readonly do: "new epoch"; readonly box: number; readonly flags: boolean; readonly numbers: boolean }
  | { readonly do: "lose modseqs"; readonly box: number }
  | { readonly do: "swap numbers"; readonly box: number; readonly item: number; readonly counted: boolean }
  | { readonly do: "remove mailbox"; readonly box: number }
  /** IMAP does not show it any more, and POP3 does. */
  | { readonly do: "veil"; readonly item: number }
  /** The server empties Trash of what came so long ago. */
  | { readonly do: "clean trash"; readonly days: number }
  | { readonly do: "time passes"; readonly days: number }
  /** An API client says it of what it saw when it synced last. */
  | {
      readonly do: "api marks";
      readonly device: number;
      readonly message: number;
      readonly keyword: string;
      readonly set: boolean;
      /** The request is sent twice. */
      readonly twice: boolean;
    }
  /** Elsewhere, or there too. */
  | {
      readonly do: "api moves";
      readonly device: number;
      readonly message: number;
      readonly to: number;
      readonly copies: boolean;
      readonly twice: boolean;
    }
  | {
      readonly do: "api throws away";
      readonly device: number;
      readonly message: number;
      readonly how: "delete" | "purge";
      readonly twice: boolean;
    }
  | {
      readonly do: "api restores";
      readonly device: number;
      readonly message: number;
      readonly to: number;
      readonly twice: boolean;
    }
  /** Counted back from the last change that it saw. */
  | { readonly do: "api undoes"; readonly device: number; readonly change: number; readonly twice: boolean }
  | {
      readonly do: "api imports";
      readonly device: number;
      readonly content: number;
      readonly to: number;
      readonly keywords: readonly string[];
      readonly twice: boolean;
    }
  | { readonly do: "api syncs"; readonly device: number };

/** What is done to the server, without the daemon. */
export type ServerAction = Exclude<Action, { device: number } | { do: "time passes" }>;

const names = ["Work", "Plans", "Post", "Later"];

export const contentOf = (content: number): string => `mail ${content}`;

/** A whole message; its subject tells which content it is. */
export const octetsOf = (content: number): Buffer =>
  Buffer.from(
    `From: ana@example.test\r\nTo: bo@example.test\r\nMessage-ID: <${content}@example.test>\r\nDate: Mon, 02 Nov 2026 10:00:0${content % 10} +0000\r\n` +
      `Subject: ${contentOf(content)}\r\n\r\nText ${content} ${"x".repeat(content)}\r\n`,
  );

export class Devices {
  readonly server: ServerModel;
  readonly said: string[] = [];
  readonly #now: () => number;
  readonly #pending: (() => void)[] = [];
  #pop3: Pop3Model | null = null;

  constructor(server: ServerModel, now: () => number) {
    this.server = server;
    this.#now = now;
  }

  /** True while a POP3 device holds the maildrop. */
  get popping(): boolean {
    return this.#pop3 !== null;
  }

  act(action: ServerAction): void {
    this.said.push(JSON.stringify(action));
    switch (action.do) {
      case "deliver":
        return this.#deliver(action);
      case "go on":
        return this.#pending.shift()?.();
      case "pop3":
        return this.#pop(action);
      case "pop3 ends":
        return this.#endPop(action.well);
      case "make mailbox":
        this.server.create(names[action.name % names.length] ?? "");
        return;
      case "rename mailbox": {
        const { path } = this.#box(action.box);
        this.server.rename(path, names[action.name % names.length] ?? "");
        return;
      }
      case "new epoch":
        return this.server.newEpoch(this.#box(action.box).path, action);
      case "swap numbers":
        return this.server.swapNumbers(this.#box(action.box).path, action.item, action.counted);
      case "lose modseqs":
        return this.server.loseModseqs(this.#box(action.box).path);
      case "remove mailbox":
        this.server.remove(this.#box(action.box).path, "imap");
        return;
      case "veil":
        return this.server.veil(action.item);
      case "clean trash":
        return this.#cleanTrash(action.days);
      case "mark all": {
        const { path, items } = this.#box(action.box);
        return this.#mark(
          path,
          items.map(({ uid }) => uid),
          action,
        );
      }
      default:
        return this.#actOnItem(action);
    }
  }

  /** Ends what is under way. */
  finish(): void {
    while (this.#pending.length > 0) this.#pending.shift()?.();
    this.#endPop(true);
  }

  #deliver({ content, box, flags }: Extract<Action, { do: "deliver" }>): void {
    const date = new Date(Math.floor(this.#now() / 1000) * 1000);
    const mail = { content: contentOf(content), octets: octetsOf(content), date, flags, by: "delivery" as const };
    this.server.append(this.#box(box).path, mail);
  }

  #mark(path: string, uids: readonly number[], { flag, set }: { readonly flag: string; readonly set: boolean }): void {
    this.server.store(path, uids, { [set ? "add" : "remove"]: [flag], by: "imap" });
  }

  #actOnItem(action: Exclude<Extract<ServerAction, { item: number; box: number }>, { do: "swap numbers" }>): void {
    const { path, items } = this.#box(action.box);
    const item = items[action.item % Math.max(1, items.length)];
    if (item === undefined) return;
    const { uid } = item;
    if (action.do === "mark") return this.#mark(path, [uid], action);
    if (action.do === "delete") return this.#delete(item, action.slow);
    const { path: target } = this.#box(action.to);
    if (target === path) return;
    if (action.do === "mark and copy") return this.#markAndCopy({ path, item }, action);
    if (action.do === "move") this.server.move(path, [uid], target, "imap");
    else this.server.copy(path, [uid], target, "imap");
    if (action.do === "move by copy") this.#pending.push(() => this.#delete(item, true));
  }

  #markAndCopy(
    { path, item }: { readonly path: string; readonly item: Item },
    { to, unmark }: Extract<Action, { do: "mark and copy" }>,
  ): void {
    const { path: target } = this.#box(to);
    const flags = ["\\Deleted"];
    this.server.store(path, [item.uid], { add: flags, by: "imap" });
    this.#pending.push(() => {
      const from = this.#placeOf(item)?.path ?? target;
      if (from === target || !this.server.mailboxes.has(target)) return;
      // The mark is copied, too.
      this.server.copy(from, [item.uid], target, "imap");
      this.#pending.push(() => {
        const place = this.#placeOf(item);
        if (place === null) return;
        if (unmark) this.server.store(place.path, [item.uid], { remove: flags, by: "imap" });
        else this.#delete(item, false);
      });
    });
  }

  #delete(item: Item, slow: boolean): void {
    // It may have been moved meanwhile: a client acts on what it saw.
    const place = this.#placeOf(item);
    if (place === null) return;
    this.server.store(place.path, [item.uid], { add: ["\\Deleted"], by: "imap" });
    const expunge = (): void => {
      const now = this.#placeOf(item);
      if (now?.items.find(({ uid }) => uid === item.uid)?.flags.has("\\Deleted") === true)
        this.server.expunge(now.path, [item.uid], "imap");
    };
    if (slow) this.#pending.push(expunge);
    else expunge();
  }

  #placeOf({ of, uid }: Item): Mailbox | null {
    for (const mailbox of this.server.mailboxes.values())
      if (mailbox.items.some((one) => one.of === of && one.uid === uid)) return mailbox;
    return null;
  }

  #pop({ retr, dele, from }: Extract<Action, { do: "pop3" }>): void {
    this.#endPop(true);
    const session = new Pop3Model(this.server);
    const numbers = session.entries.map(({ number }) => number);
    if (from === "newest") numbers.reverse();
    for (const number of numbers.slice(0, retr)) session.retr(number);
    for (const number of numbers.slice(0, Math.min(dele, retr))) session.dele(number);
    this.#pop3 = session;
  }

  #cleanTrash(days: number): void {
    const { path, items } = this.server.at("Trash");
    const old = items.filter(({ date }) => this.#now() - date.getTime() >= days * 86_400_000);
    this.server.expunge(
      path,
      old.map(({ uid }) => uid),
      "server",
    );
  }

  #endPop(well: boolean): void {
    if (well) this.#pop3?.quit("pop3");
    else this.#pop3?.drop();
    this.#pop3 = null;
  }

  #box(index: number): Mailbox {
    const all = [...this.server.mailboxes.values()];
    return all[index % all.length] as Mailbox;
  }
}
