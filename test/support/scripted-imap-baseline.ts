/** How a sane and small IMAP4rev1 server answers: enough for a client to list, select, search and fetch one mailbox. */
import { headOf, type ScriptedMailbox, type ScriptedMessage, textOf } from "./scripted-mailbox.ts";

/** What goes out before the end, and the end; both complete with CRLF. */
export interface BaselineAnswer {
  readonly untagged: readonly string[];
  readonly end: string;
}

export interface ImapBaseline {
  readonly mailbox: ScriptedMailbox;
  readonly capability: string;
  /** Items of single messages that are answered with these words instead: UID, then item, then value. */
  readonly fetchPatch: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

export const defaultCapability = "IMAP4rev1 IDLE UIDPLUS NAMESPACE ID ENABLE UNSELECT CHILDREN SPECIAL-USE SASL-IR AUTH=PLAIN";

const systemFlags = String.raw`\Answered \Flagged \Deleted \Seen \Draft`;

const macros: Readonly<Record<string, readonly string[]>> = {
  ALL: ["FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"],
  FAST: ["FLAGS", "INTERNALDATE", "RFC822.SIZE"],
  FULL: ["FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"],
};

/** Members of a sequence set, of those there are (RFC 3501 §9 sequence-set). */
const inSet = (set: string, all: readonly number[]): Set<number> => {
  const last = all.at(-1) ?? 0;
  const number = (word: string): number => (word === "*" ? last : Number(word));
  const ranges = set.split(",").map((part) => {
    const [from = "", to = from] = part.split(":");
    const ends = [number(from), number(to)];
    return { low: Math.min(...ends), high: Math.max(...ends) };
  });
  return new Set(all.filter((one) => ranges.some(({ low, high }) => one >= low && one <= high)));
};

/** Splits at spaces that stand in no parenthesis or bracket. */
const fetchItems = (text: string): string[] => {
  const bare = text.startsWith("(") ? text.slice(1, -1) : text;
  const items: string[] = [];
  let depth = 0;
  let item = "";
  for (const char of `${bare} `) {
    if ("([".includes(char)) depth += 1;
    if (")]".includes(char)) depth -= 1;
    if (char !== " " || depth > 0) item += char;
    else if (item !== "") {
      items.push(item);
      item = "";
    }
  }
  return items.flatMap((one) => macros[one.toUpperCase()] ?? [one]);
};

const headerValue = (raw: string, name: string): string =>
  new RegExp(`^${name}: (.*)$`, "im").exec(headOf(raw))?.[1]?.trim() ?? "";

const envelope = (raw: string): string => {
  const [, name = "", local = "", domain = ""] = /^(.*) <(.*)@(.*)>$/.exec(headerValue(raw, "From")) ?? [];
  const from = `(("${name}" NIL "${local}" "${domain}"))`;
  const to = `((NIL NIL "me" "example.net"))`;
  return `("${headerValue(raw, "Date")}" "${headerValue(raw, "Subject")}" ${from} ${from} ${from} ${to} NIL NIL NIL "${headerValue(raw, "Message-ID")}")`;
};

const bodyStructure = (raw: string, extended: boolean): string => {
  const text = textOf(raw);
  const extension = extended ? " NIL NIL NIL NIL" : "";
  return `("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" ${text.length} ${text.split("\r\n").length - 1}${extension})`;
};

const literal = (text: string): string => `{${text.length}}\r\n${text}`;

const sectionText = (raw: string, section: string): string => {
  const fields = /^HEADER\.FIELDS \((.*)\)$/.exec(section)?.[1];
  if (fields !== undefined) {
    const names = fields.split(" ").map((name) => name.replaceAll('"', "").toLowerCase());
    const lines = headOf(raw).split("\r\n");
    const kept = lines.filter((line) => names.includes(line.split(":", 1)[0]?.toLowerCase() ?? ""));
    return kept.map((line) => `${line}\r\n`).join("") + "\r\n";
  }
  if (section === "") return raw;
  if (section.startsWith("HEADER")) return headOf(raw);
  return section.endsWith("MIME") ? "Content-Type: text/plain\r\n\r\n" : textOf(raw);
};

const bodySection = (raw: string, item: string): string | undefined => {
  const match = /^BODY(?:\.PEEK)?\[([\s\S]*)\](?:<(\d+)\.(\d+)>)?$/i.exec(item);
  if (match === null) return undefined;
  const [, section = "", from, length] = match;
  const whole = sectionText(raw, section.toUpperCase());
  if (from === undefined) return `BODY[${section}] ${literal(whole)}`;
  return `BODY[${section}]<${from}> ${literal(whole.slice(Number(from), Number(from) + Number(length)))}`;
};

const fetchValue = (message: ScriptedMessage, item: string): string => {
  const name = item.toUpperCase();
  const { uid, raw } = message;
  const values: Readonly<Record<string, () => string>> = {
    UID: () => String(uid),
    FLAGS: () => "()",
    INTERNALDATE: () => '"04-Jun-2024 10:10:00 +0200"',
    "RFC822.SIZE": () => String(raw.length),
    ENVELOPE: () => envelope(raw),
    BODYSTRUCTURE: () => bodyStructure(raw, true),
    BODY: () => bodyStructure(raw, false),
    RFC822: () => literal(raw),
    "RFC822.HEADER": () => literal(headOf(raw)),
    "RFC822.TEXT": () => literal(textOf(raw)),
    MODSEQ: () => "(1)",
    "X-GM-LABELS": () => "()",
    "X-GM-MSGID": () => "17",
    "X-GM-THRID": () => "17",
  };
  const value = values[name];
  return value === undefined ? (bodySection(raw, item) ?? `${item} NIL`) : `${name} ${value()}`;
};

type Rest = RegExpExecArray;

const fetchAnswer = (server: ImapBaseline, match: Rest): string[] => {
  const { messages } = server.mailbox;
  const [, uidWord, set = "", what = ""] = match;
  const keys = uidWord === undefined ? messages.map((_, at) => at + 1) : messages.map((message) => message.uid);
  const wanted = inSet(set, keys);
  const items = fetchItems(what.trim().replace(/ \((CHANGEDSINCE|PARTIAL)[^)]*\)$/i, ""));
  if (uidWord !== undefined && !items.some((item) => item.toUpperCase() === "UID")) items.unshift("UID");
  return messages.flatMap((message, at) => {
    if (!wanted.has(keys[at] ?? 0)) return [];
    const patch = server.fetchPatch[message.uid] ?? {};
    const values = items.map((item) => {
      const patched = patch[item.toUpperCase()];
      return patched === undefined ? fetchValue(message, item) : `${item.toUpperCase()} ${patched}`;
    });
    return [`* ${at + 1} FETCH (${values.join(" ")})\r\n`];
  });
};

const searchAnswer = ({ mailbox }: ImapBaseline, match: Rest): string[] => {
  const [, uidWord, criteria = ""] = match;
  const uids = mailbox.messages.map((message) => message.uid);
  const set = /\bUID ([\d:*,]+)/i.exec(criteria)?.[1];
  const found = set === undefined ? new Set(uids) : inSet(set, uids);
  const numbers = uids.flatMap((uid, at) => (found.has(uid) ? [` ${uidWord === undefined ? at + 1 : uid}`] : []));
  return [`* SEARCH${numbers.join("")}\r\n`];
};

const statusAnswer = ({ mailbox }: ImapBaseline, match: Rest): string[] => {
  const { messages, state, uidNext, uidValidity } = mailbox;
  const items = [`MESSAGES ${messages.length}`, "RECENT 0", `UNSEEN ${messages.length}`];
  if (state.no_uidnext !== true) items.push(`UIDNEXT ${uidNext}`);
  if (state.no_uidvalidity !== true) items.push(`UIDVALIDITY ${uidValidity}`);
  return [`* STATUS ${match[1] ?? ""} (${items.join(" ")})\r\n`];
};

const selectAnswer = ({ mailbox }: ImapBaseline): string[] => {
  const { messages, state, uidNext, uidValidity } = mailbox;
  const lines = [`* ${messages.length} EXISTS`, "* 0 RECENT", `* FLAGS (${systemFlags})`];
  lines.push(String.raw`* OK [PERMANENTFLAGS (${systemFlags} \*)] ok`);
  if (state.no_uidvalidity !== true) lines.push(`* OK [UIDVALIDITY ${uidValidity}] ok`);
  if (state.no_uidnext !== true) lines.push(`* OK [UIDNEXT ${uidNext}] ok`);
  return lines.map((line) => `${line}\r\n`);
};

interface Command {
  readonly on: RegExp;
  readonly untagged?: (server: ImapBaseline, match: Rest) => string[];
  readonly end?: (match: Rest) => string;
}

/** The first that matches answers. */
const commands: readonly Command[] = [
  { on: /^CAPABILITY$/i, untagged: ({ capability }) => [`* CAPABILITY ${capability}\r\n`] },
  { on: /^(LOGIN|AUTHENTICATE)/i },
  { on: /^IDLE$/i, untagged: () => ["+ idling\r\n"], end: () => "" },
  { on: /^ID/i, untagged: () => ["* ID NIL\r\n"] },
  { on: /^ENABLE/i, untagged: () => ["* ENABLED\r\n"] },
  { on: /^NAMESPACE/i, untagged: () => ['* NAMESPACE (("" "/")) NIL NIL\r\n'] },
  { on: /^(LIST|LSUB|XLIST)/i, untagged: (_, match) => [`* ${match[1]?.toUpperCase() ?? ""} (\\HasNoChildren) "/" "INBOX"\r\n`] },
  { on: /^STATUS (\S+)/i, untagged: statusAnswer },
  { on: /^SELECT/i, untagged: selectAnswer, end: () => "[READ-WRITE] done" },
  { on: /^EXAMINE/i, untagged: selectAnswer, end: () => "[READ-ONLY] done" },
  { on: /^(UID )?SEARCH ([\s\S]*)$/i, untagged: searchAnswer },
  { on: /^(UID )?FETCH (\S+) ([\s\S]+)$/i, untagged: fetchAnswer },
  { on: /^(NOOP|CHECK|CLOSE|UNSELECT|(UID )?EXPUNGE|(UID )?STORE|(UID )?COPY|(UID )?MOVE|SUBSCRIBE|CREATE)/i },
  { on: /^LOGOUT/i, untagged: () => ["* BYE bye\r\n"] },
];

/** @param tag for DONE, the tag of the IDLE that it ends. */
export const answerImap = (server: ImapBaseline, tag: string, command: string): BaselineAnswer => {
  if (/^DONE$/i.test(command)) return { untagged: [], end: `${tag} OK idle done\r\n` };
  for (const { on, untagged, end } of commands) {
    const match = on.exec(command);
    if (match === null) continue;
    const words = end === undefined ? "done" : end(match);
    return { untagged: untagged?.(server, match) ?? [], end: words === "" ? "" : `${tag} OK ${words}\r\n` };
  }
  return { untagged: [], end: `${tag} BAD Unknown command\r\n` };
};
