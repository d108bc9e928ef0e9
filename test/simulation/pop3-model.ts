/** A POP3 session of the server model: a snapshot, and what its end does (semantics 7.1 E1, E17, E18). */
import type { Item, Mailbox, ServerModel } from "./server-model.ts";

const hex = (value: number): string => value.toString(16).toUpperCase().padStart(8, "0");

const uidlOf = (server: ServerModel, { uidValidity }: Mailbox, { uid, guid }: Item): string => {
  switch (server.quirks.uidl) {
    case "hex":
      return `${hex(uid)}${hex(uidValidity)}`;
    case "dotted":
      return `${uidValidity}.${uid}`;
    case "uid":
      return String(uid);
    case "guid":
      return guid;
  }
};

export interface MaildropEntry {
  readonly number: number;
  readonly uidl: string;
  readonly size: number;
}

export class Pop3Model {
  readonly entries: readonly MaildropEntry[];
  readonly #server: ServerModel;
  readonly #items: readonly Item[];
  readonly #retrieved = new Set<Item>();
  readonly #deleted = new Set<Item>();
  #ended = false;

  constructor(server: ServerModel) {
    const inbox = server.at("INBOX");
    const shown = [...server.veiled, ...inbox.items].filter(({ of }) => !server.hidden.has(of));
    this.#server = server;
    this.#items = server.quirks.window > 0 ? shown.slice(-server.quirks.window) : shown;
    this.entries = this.#items.map((item, index) => ({
      number: index + 1,
      uidl: uidlOf(server, inbox, item),
      size: item.octets.length,
    }));
  }

  /** Octets by TOP; null where the message is gone. */
  top(number: number): Buffer | null {
    return this.#present(number)?.octets ?? null;
  }

  retr(number: number): Buffer | null {
    const item = this.#present(number);
    if (item === null) return null;
    item.of.retrieved = true;
    this.#retrieved.add(item);
    if (this.#server.quirks.retrSeen === "per_message") this.#markSeen([item]);
    return item.octets;
  }

  dele(number: number): void {
    const item = this.#items[number - 1];
    if (item !== undefined) this.#deleted.add(item);
  }

  /** QUIT. `by`: whose client it is. */
  quit(by: "pop3" | "daemon"): void {
    if (this.#ended) return;
    this.drop();
    const inbox = this.#server.at("INBOX");
    const gone = [...this.#deleted].flatMap(
      (item) => inbox.items.find((one) => one.of === item.of && one.uid === item.uid) ?? [],
    );
    if (gone.length === 0) return;
    const uids = gone.map(({ uid }) => uid);
    switch (this.#server.quirks.deleEffect) {
      case "expunge":
        return this.#server.expunge("INBOX", uids, by);
      case "move_to_trash":
        this.#server.store("INBOX", uids, { add: ["\\Seen"], by });
        this.#server.create("Trash", "trash");
        this.#server.move("INBOX", uids, "Trash", by);
        return;
      case "hide":
        for (const { of } of gone) this.#server.hidden.add(of);
        return;
      case "destroy_everywhere": {
        const contents = new Set(gone.map(({ of }) => of.content));
        for (const { path, items } of [...this.#server.mailboxes.values()])
          this.#server.expunge(
            path,
            items.filter(({ of }) => contents.has(of.content)).map(({ uid }) => uid),
            by,
          );
      }
    }
  }

  /** The connection ends: what was retrieved is marked as read, and nothing is removed (E1). */
  drop(): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#server.quirks.retrSeen === "session_end")
      this.#markSeen([...this.#retrieved].filter((item) => !this.#deleted.has(item)));
  }

  #markSeen(items: readonly Item[]): void {
    const uids = items.map(({ uid }) => uid);
    if (uids.length > 0) this.#server.store("INBOX", uids, { add: ["\\Seen"], by: "pop3" });
  }

  #present(number: number): Item | null {
    const item = this.#items[number - 1];
    if (item === undefined) return null;
    return this.#server.at("INBOX").items.find((one) => one.of === item.of && one.uid === item.uid) ?? null;
  }
}
