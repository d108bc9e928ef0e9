/** Writes messages into a Maildir as a quick delivery agent would: complete names, complete files, no server in between. */
import {
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";

/** A message on its way into a mailbox. A bare buffer is an unread message that arrives now. */
export type Delivery = Buffer | { readonly raw: Buffer; readonly flags?: readonly string[]; readonly internalDate?: Date };

/** In the order in which they stand in a file name. */
const systemFlags: Readonly<Record<string, string>> = {
  "\\draft": "D",
  "\\flagged": "F",
  "\\answered": "R",
  "\\seen": "S",
  "\\deleted": "T",
};

/** Modified UTF-7 (RFC 3501 §5.1.3), the spelling of mailbox names on disk and on the wire. */
export const toModifiedUtf7 = (name: string): string =>
  name.replaceAll(/&|[^\x20-\x7e]+/g, (run) => {
    if (run === "&") return "&-";
    const base64 = Buffer.from(run, "utf16le").swap16().toString("base64");
    return `&${base64.replaceAll("/", ",").replace(/=+$/, "")}-`;
  });

/** Octets the message has once every line ends in CRLF: the size a client sees. */
const wireSize = (raw: Buffer): number => {
  let size = raw.length;
  for (let at = raw.indexOf(10); at !== -1; at = raw.indexOf(10, at + 1)) if (at === 0 || raw[at - 1] !== 13) size += 1;
  return size;
};

const writeWhole = (fd: number, raw: Buffer): void => {
  for (let at = 0; at < raw.length;) at += writeSync(fd, raw, at);
};

interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** One mailbox folder of a Maildir++ tree; made when missing. */
class MaildirFolder {
  readonly #path: string;
  readonly #owner: Owner;
  readonly #keywords: string[];

  constructor(path: string, owner: Owner) {
    this.#path = path;
    this.#owner = owner;
    for (const name of ["", "cur", "new", "tmp"]) this.#makeFolder(join(path, name));
    const keywords = this.#keywordsPath;
    this.#keywords = existsSync(keywords)
      ? readFileSync(keywords, "utf8")
          .split("\n")
          .filter((line) => line !== "")
          .map((line) => line.slice(line.indexOf(" ") + 1))
      : [];
  }

  get #keywordsPath(): string {
    return join(this.#path, "dovecot-keywords");
  }

  #own(path: string): void {
    if (this.#owner.uid !== process.getuid?.()) chownSync(path, this.#owner.uid, this.#owner.gid);
  }

  #makeFolder(path: string): void {
    if (existsSync(path)) return;
    mkdirSync(path, { recursive: true });
    this.#own(path);
  }

  /** Dovecot spells keywords as the letters a to z, explained in a file beside the messages. */
  #keywordLetter(keyword: string): string {
    let index = this.#keywords.indexOf(keyword);
    if (index === -1) {
      index = this.#keywords.push(keyword) - 1;
      if (index > 25) throw new Error("a Maildir holds at most 26 keywords");
      const path = this.#keywordsPath;
      writeFileSync(path, this.#keywords.map((name, at) => `${at} ${name}\n`).join(""));
      this.#own(path);
    }
    return String.fromCharCode(97 + index);
  }

  /** `id` is the unique and ascending part of the name: Dovecot numbers new files by it. */
  add(id: string, delivery: Delivery): void {
    const { raw, flags = [], internalDate } = Buffer.isBuffer(delivery) ? { raw: delivery } : delivery;
    const letters = flags.map((flag) => systemFlags[flag.toLowerCase()] ?? this.#keywordLetter(flag)).sort();
    const temporary = join(this.#path, "tmp", id);
    const fd = openSync(temporary, "wx", 0o600);
    writeWhole(fd, raw);
    closeSync(fd);
    if (internalDate !== undefined) utimesSync(temporary, internalDate, internalDate);
    this.#own(temporary);
    renameSync(temporary, join(this.#path, "cur", `${id},S=${raw.length},W=${wireSize(raw)}:2,${letters.join("")}`));
  }
}

let delivered = 0;

/** Delivers in order; returns how many. The mailbox is made when missing. */
export const deliverToMaildir = (options: {
  /** The Maildir of the account. */
  readonly maildir: string;
  /** Levels separated by `/`. */
  readonly mailbox: string;
  readonly messages: Iterable<Delivery>;
  readonly owner: Owner;
}): number => {
  const { maildir, mailbox, owner } = options;
  const root = new MaildirFolder(maildir, owner);
  const inbox = mailbox.toUpperCase() === "INBOX";
  const folder = inbox ? root : new MaildirFolder(join(maildir, `.${toModifiedUtf7(mailbox).replaceAll("/", ".")}`), owner);
  const seconds = Math.floor(Date.now() / 1000);
  let count = 0;
  for (const message of options.messages) {
    delivered += 1;
    // Dovecot orders by seconds, then by the number after M; the process number keeps two test workers apart.
    folder.add(`${seconds}.M${String(delivered).padStart(6, "0")}P${process.pid}.test`, message);
    count += 1;
  }
  return count;
};
