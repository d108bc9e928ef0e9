/**
 * A mail server as semantics 7 measured it: mailboxes with UIDs, mod-sequences by transaction, flags, an expunge log, and POP3
 * sessions with a snapshot whose DELE and `\Seen` take effect at their end. Beside what a client can see, it knows the true
 * story of each occurrence of a message: who made it, who flagged it, who took it away. Changes nothing by itself.
 */
import type { Quirks } from "./quirks.ts";

/** Who did something to the server. */
export type Actor = "delivery" | "imap" | "pop3" | "api" | "daemon" | "server" | "fault";

export interface Assertion {
  readonly flag: string;
  readonly value: boolean;
  readonly by: Actor;
}

/** One occurrence of a message, from its arrival until nothing shows it. A MOVE goes on with it; a COPY makes another. */
export interface Occurrence {
  readonly id: number;
  readonly content: string;
  readonly madeBy: Actor;
  readonly copyOf: Occurrence | null;
  /** In the order of the server. */
  readonly assertions: Assertion[];
  /** What the API was told of a flag and the server has not shown yet. */
  readonly pending: Map<string, boolean>;
  /** Flags of which the last word is not certain: two said it without knowing of each other. */
  readonly contested: Set<string>;
  /** Where a client of the API sent it, and nobody has taken it from there since; `shown`: it has come there. */
  sentTo: { readonly to: Mailbox; readonly shown: boolean } | null;
  /** It was destroyed before it could go where it was sent, so that it is to be found there again (P2). */
  rescued: boolean;
  /** Some POP3 client retrieved it. */
  retrieved: boolean;
  /** It was in Trash: where it went from there before anybody looked again it is what somebody threw away (V11). */
  trashed: boolean;
  goneBy: Actor | null;
}

export interface Item {
  readonly uid: number;
  readonly guid: string;
  readonly objectId: string;
  readonly date: Date;
  readonly octets: Buffer;
  readonly of: Occurrence;
  flags: Set<string>;
  modseq: number;
}

export interface Mailbox {
  path: string;
  role: "inbox" | "archive" | "trash" | null;
  readonly objectId: string;
  uidValidity: number;
  /** The daemon has read flags of items with these numbers. */
  readValidity: number;
  uidNext: number;
  modseq: number;
  /** Ascending by UID. */
  items: Item[];
  expunged: { readonly uid: number; readonly modseq: number }[];
}

/** It is so: nobody has to write it any more. */
const settle = (of: Occurrence, flag: string, value: boolean): void => {
  if (of.pending.get(flag) === value) of.pending.delete(flag);
};

/** Notes what was said of a flag, and whether somebody else had said something that whoever says it cannot know. */
export const say = (of: Occurrence, { flag, value, by }: Assertion): void => {
  of.assertions.push({ flag, value, by });
  if (by !== "daemon" && of.pending.has(flag)) of.contested.add(flag);
  settle(of, flag, value);
};

interface Arrival {
  readonly of: Occurrence;
  readonly octets: Buffer;
  readonly date: Date;
  readonly flags: Iterable<string>;
  readonly guid?: string;
  readonly objectId?: string;
}

export class ServerModel {
  readonly quirks: Quirks;
  readonly mailboxes = new Map<string, Mailbox>();
  /** So often all mailboxes were listed. */
  listings = 0;
  readonly occurrences: Occurrence[] = [];
  /** Called with each mailbox that changed. */
  onChange: (path: string) => void = () => undefined;
  /** Called when all its connections go. */
  onRestart: () => void = () => undefined;
  /** Called before the daemon takes an item away for ever. */
  onDestroy: (item: Item) => void = () => undefined;
  /** What happens once and has happened: to these, or by this name. */
  readonly happened = new Set<unknown>();
  /** What POP3 shows of INBOX, and IMAP does not. */
  readonly veiled: Item[] = [];
  /** INBOX items that POP3 does not show. */
  readonly hidden = new Set<Occurrence>();
  private validity = 1000;
  private guids = 0;

  constructor(quirks: Quirks) {
    this.quirks = quirks;
  }

  create(path: string, role: Mailbox["role"] = null): Mailbox {
    const known = this.mailboxes.get(path);
    if (known !== undefined) return known;
    this.validity += 1;
    const { validity: uidValidity } = this;
    const counters = { uidValidity, readValidity: uidValidity, uidNext: 1, modseq: 1 };
    const made: Mailbox = { path, role, objectId: `mailbox${uidValidity}`, ...counters, items: [], expunged: [] };
    this.mailboxes.set(path, made);
    this.onChange(path);
    return made;
  }

  rename(from: string, to: string): boolean {
    const mailbox = this.mailboxes.get(from);
    if (mailbox === undefined || mailbox.role === "inbox" || this.mailboxes.has(to)) return false;
    this.mailboxes.delete(from);
    mailbox.path = to;
    this.mailboxes.set(to, mailbox);
    this.onChange(to);
    return true;
  }

  remove(path: string, by: Actor): boolean {
    const mailbox = this.mailboxes.get(path);
    if (mailbox === undefined || mailbox.role === "inbox") return false;
    for (const { of } of mailbox.items) of.goneBy = by;
    this.mailboxes.delete(path);
    this.onChange(path);
    return true;
  }

  /** A new occurrence in a mailbox; one transaction. */
  append(
    path: string,
    mail: {
      content: string;
      octets: Buffer;
      date: Date;
      flags: readonly string[];
      by: Actor;
      copyOf?: Occurrence;
      objectId?: string;
    },
  ): Item {
    const { content, octets, date, flags, by, copyOf = null } = mail;
    const id = this.occurrences.length;
    const assertions = flags.map((flag) => ({ flag, value: true, by }));
    const of: Occurrence = {
      id,
      content,
      madeBy: by,
      copyOf,
      assertions,
      pending: new Map(),
      contested: new Set(),
      sentTo: null,
      rescued: false,
      retrieved: false,
      trashed: false,
      goneBy: null,
    };
    this.occurrences.push(of);
    return this.arrive(this.at(path), { of, octets, date, flags, ...(mail.objectId && { objectId: mail.objectId }) });
  }

  /** One transaction. @returns UIDs left alone because they changed after `unchangedSince`. */
  store(
    path: string,
    uids: readonly number[],
    change: { add?: readonly string[]; remove?: readonly string[]; unchangedSince?: number | null; by: Actor },
  ): number[] {
    const { add = [], remove = [], unchangedSince = null, by } = change;
    const mailbox = this.at(path);
    const left: number[] = [];
    const next = mailbox.modseq + 1;
    let changed = false;
    for (const item of mailbox.items) {
      if (!uids.includes(item.uid)) continue;
      if (unchangedSince !== null && item.modseq > unchangedSince) {
        left.push(item.uid);
        continue;
      }
      const before = [...item.flags].sort().join();
      for (const flag of add) {
        if (!this.permits(mailbox, flag)) continue;
        // Of what is so already nobody hears that it was said again (F1).
        if (item.flags.has(flag)) settle(item.of, flag, true);
        else say(item.of, { flag, value: true, by });
        item.flags.add(flag);
      }
      for (const flag of remove) {
        if (item.flags.delete(flag)) say(item.of, { flag, value: false, by });
        else settle(item.of, flag, false);
        // Nor is what is taken away before the new numbers were seen (F9).
        if (by !== "daemon" && mailbox.readValidity !== mailbox.uidValidity) item.of.contested.add(flag);
      }
      // A STORE that changes nothing counts nothing (E9c).
      if ([...item.flags].sort().join() === before) continue;
      item.modseq = next;
      changed = true;
    }
    if (changed) this.touched(mailbox);
    return left;
  }

  /** @returns the new UID of each item that was there, by its UID. */
  copy(path: string, uids: readonly number[], target: string, by: Actor): Map<number, number> {
    const made = new Map<number, number>();
    for (const item of this.at(path).items.filter(({ uid }) => uids.includes(uid))) {
      const { octets, date, of } = item;
      const flags = [...item.flags];
      const same = this.quirks.objectIds === "same" && { objectId: item.objectId };
      const copy = this.append(target, { content: of.content, octets, date, flags: [], by, copyOf: of, ...same });
      copy.of.assertions.push(...of.assertions);
      for (const flag of [...of.contested, ...of.pending.keys()]) copy.of.contested.add(flag);
      copy.of.retrieved = of.retrieved;
      copy.flags = new Set(flags);
      made.set(item.uid, copy.uid);
    }
    return made;
  }

  move(path: string, uids: readonly number[], target: string, by: Actor): Map<number, number> {
    const source = this.at(path);
    const to = this.at(target);
    const made = new Map<number, number>();
    const moved = source.items.filter(({ uid }) => uids.includes(uid));
    for (const item of moved) {
      const { of } = item;
      if (by !== "daemon") of.sentTo = null;
      else if (of.sentTo?.to === to) of.sentTo = { to, shown: true };
      made.set(item.uid, this.arrive(to, item).uid);
    }
    this.drop(source, new Set(moved));
    return made;
  }

  expunge(path: string, uids: readonly number[], by: Actor): void {
    const mailbox = this.at(path);
    const gone = mailbox.items.filter(({ uid }) => uids.includes(uid));
    for (const item of gone) {
      const { of } = item;
      if (by === "daemon") this.onDestroy(item);
      of.rescued = of.sentTo !== null && !of.sentTo.shown && of.sentTo.to.role !== "trash" && by === "imap";
      of.sentTo = null;
      of.goneBy = by;
    }
    this.drop(mailbox, new Set(gone));
  }

  /** An item of INBOX is not shown over IMAP any more (V4). */
  veil(index: number): void {
    const inbox = this.at("INBOX");
    const item = inbox.items[index % Math.max(1, inbox.items.length)];
    if (item === undefined) return;
    this.veiled.push(item);
    this.expunge("INBOX", [item.uid], "imap");
  }

  /** A new UIDVALIDITY (E13, E26): `uids` may stay, and flags may be lost. */
  newEpoch(path: string, lost: { readonly flags: boolean; readonly numbers: boolean }): void {
    this.#forgetClears(path);
    const mailbox = this.at(path);
    this.validity += 1;
    mailbox.uidValidity = this.validity;
    mailbox.expunged = [];
    mailbox.modseq = 1;
    if (lost.flags)
      for (const { flags, of } of mailbox.items) for (const flag of flags) say(of, { flag, value: false, by: "fault" });
    mailbox.items = mailbox.items.map((item, index) => ({
      ...item,
      uid: lost.numbers ? index + 1 : item.uid,
      flags: lost.flags ? new Set<string>() : item.flags,
      modseq: 1,
    }));
    if (lost.numbers) mailbox.uidNext = mailbox.items.length + 1;
    this.onChange(path);
  }

  /**
   * The server begins anew, and two numbers stand for each other's mail, in which something can be told apart; nothing else tells of it
   * unless the server counts it as a change.
   */
  swapNumbers(path: string, first: number, counted: boolean): void {
    const mailbox = this.at(path);
    const isTold = (one: Item, other: Item): boolean =>
      one.of.content !== other.of.content && (this.quirks.objectIds !== "none" || one.date.getTime() !== other.date.getTime());
    const at = first % Math.max(1, mailbox.items.length);
    const one = mailbox.items[at];
    const other = mailbox.items.find((item) => one !== undefined && isTold(one, item));
    if (one === undefined || other === undefined) return;
    this.#forgetClears(path);
    // Found out it looks as if a device had put each of them there, later than any client of the API had.
    for (const { of } of [one, other]) of.sentTo = null;
    if (counted) mailbox.modseq += 1;
    const counter = counted ? { modseq: mailbox.modseq } : {};
    mailbox.items = mailbox.items.map((item) =>
      item === one ? { ...other, uid: one.uid, ...counter } : item === other ? { ...one, uid: other.uid, ...counter } : item,
    );
    this.onRestart();
    this.onChange(path);
  }

  /** What was taken away and not seen before is not taken over from numbers that begin anew (F9). */
  #forgetClears(path: string): void {
    for (const { of } of this.mailboxes.get(path)?.items ?? [])
      for (const { flag, value, by } of of.assertions) if (!value && by !== "daemon") of.contested.add(flag);
  }

  /** The index is lost and made anew: UIDs and flags stay, mod-sequences start again (E22b). */
  loseModseqs(path: string): void {
    const mailbox = this.at(path);
    mailbox.modseq = 2;
    mailbox.expunged = [];
    for (const item of mailbox.items) item.modseq = 1;
    this.onChange(path);
  }

  /** True the first time that it is asked about `what`. */
  once(what: unknown): boolean {
    const before = this.happened.size;
    return this.happened.add(what).size > before;
  }

  at(path: string): Mailbox {
    const mailbox = this.mailboxes.get(path);
    if (mailbox === undefined) throw new Error(`the model has no mailbox ${path}`);
    return mailbox;
  }

  permits({ role }: Pick<Mailbox, "role">, flag: string): boolean {
    return flag.startsWith("\\") || this.quirks.keywords === "any" || role !== "inbox";
  }

  private arrive(mailbox: Mailbox, { of, octets, date, flags, guid, objectId }: Arrival): Item {
    if (mailbox.role === "trash") of.trashed = true;
    this.guids += 1;
    mailbox.modseq += 1;
    const kept = [...flags].filter((flag) => this.permits(mailbox, flag));
    const item: Item = {
      uid: mailbox.uidNext,
      guid: guid ?? `guid${this.guids}`,
      objectId: objectId ?? `object${this.guids}`,
      date,
      octets,
      of,
      flags: new Set(kept),
      modseq: mailbox.modseq,
    };
    mailbox.uidNext += 1;
    mailbox.items.push(item);
    this.onChange(mailbox.path);
    return item;
  }

  private drop(mailbox: Mailbox, gone: ReadonlySet<Item>): void {
    if (gone.size === 0) return;
    const next = mailbox.modseq + 1;
    mailbox.items = mailbox.items.filter((item) => !gone.has(item));
    for (const { uid } of gone) mailbox.expunged.push({ uid, modseq: next });
    this.touched(mailbox);
  }

  private touched(mailbox: Mailbox): void {
    mailbox.modseq += 1;
    this.onChange(mailbox.path);
  }
}
