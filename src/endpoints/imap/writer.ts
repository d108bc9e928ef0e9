/**
 * The only file that can change anything on an IMAP server (semantics C6), on a connection of its own: readers EXAMINE, which is
 * no barrier (Dovecot 2.3.19 moves mail out of an EXAMINEd mailbox), so what must not be sent cannot be said there. An OK proves
 * nothing: after each command the state is read back, and the caller believes that alone (C1, W6).
 */
import type { Octets } from "../../model/octets.ts";
import { keepsFlag } from "../../model/mail.ts";
import type { FlagsFact } from "../../model/observation.ts";
import { connectionsOpen } from "../../telemetry/metrics.ts";
import { refuseCleartext } from "../dial.ts";
import type {
  Appended,
  AppendRequest,
  Doomed,
  EndpointLimits,
  Expunged,
  ExpungeRequest,
  MailboxOutcome,
  MailboxRename,
  MailboxWriter,
  Moved,
  MoveRequest,
  OpenRequest,
  Refused,
  Stored,
  StoreRequest,
  WriterDriver,
} from "../endpoint.ts";
import { admit } from "./admission.ts";
import { type Answer, Asking } from "./asking.ts";
import { fetchFactsOf, mailboxArguments, modseqOf } from "./bulk-codec.ts";
import { openBulkWire } from "./bulk-login.ts";
import { classify } from "./classify.ts";
import * as mailboxes from "./mailbox-verbs.ts";
import { idItemsOf } from "./object-ids.ts";
import { refusalOf, refused } from "./refusals.ts";
import { copiedUids } from "./copied-uids.ts";
import { uidsOf, uint32Of } from "./tokens.ts";

const connectMs = 30_000;
const commandMs = 60_000;
const byeMs = 2_000;
/** A server gets so much longer for a message to be taken in: 50 octets a millisecond. */
const octetsPerMs = 50;

const isRefused = (value: object): value is Refused => "kind" in value && value.kind === "refused";

/** Flags that can be written as they are: a keyword that came with odd octets cannot be said again. */
const isFlag = (flag: string): boolean => /^\\?[^\x00-\x20\x7f-\uffff(){%*"\\\]]+$/.test(flag);

const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const padded = (value: number): string => String(value).padStart(2, "0");

/** `date-time` (RFC 9051 §9). */
const dateTimeOf = (at: Date): string =>
  `"${padded(at.getUTCDate())}-${months[at.getUTCMonth()]}-${at.getUTCFullYear()} ` +
  `${padded(at.getUTCHours())}:${padded(at.getUTCMinutes())}:${padded(at.getUTCSeconds())} +0000"`;

/** What an opened mailbox said of itself. */
interface OpenedMailbox {
  readonly uidValidity: number | null;
  /** Null: not told, which means all (RFC 9051 §7.1). */
  readonly permanentFlags: readonly string[] | null;
  readonly keepsModseqs: boolean;
}

const codeValue = ({ untagged }: Answer, name: string): string | null => {
  const pattern = new RegExp(String.raw`^\* OK \[${name} ([^\]]*)\]`, "i");
  for (const { text } of untagged.toReversed()) {
    const value = pattern.exec(text)?.[1];
    if (value !== undefined) return value;
  }
  return null;
};

const openedOf = (answer: Answer): OpenedMailbox => {
  const flags = codeValue(answer, "PERMANENTFLAGS");
  return {
    uidValidity: uint32Of(codeValue(answer, "UIDVALIDITY") ?? ""),
    permanentFlags: flags === null ? null : flags.replaceAll(/[()]/g, "").split(" "),
    keepsModseqs: modseqOf(codeValue(answer, "HIGHESTMODSEQ") ?? "") !== null,
  };
};

/** Of the items of one STORE, those that the server left alone; all, where its list cannot be read. */
const modified = (set: string, items: StoreRequest["items"]): number[] => {
  const uids = items.map(({ uid }) => uid);
  const named = uidsOf({ type: "ATOM", value: set }, { from: Math.min(...uids), to: Math.max(...uids) });
  return named === null ? uids : uids.filter((uid) => named.includes(uid));
};

const setOf = (uids: readonly number[]): string => uids.toSorted((a, b) => a - b).join(",");

/** For what a writer does when it is done: it ends with the connection. */
const untilClosed = new AbortController().signal;

interface AskOptions {
  readonly octets?: Octets;
  readonly ms?: number;
}

class ImapWriter implements MailboxWriter {
  readonly #asking: Asking;
  readonly #request: OpenRequest;
  #closing = false;

  constructor(asking: Asking, request: OpenRequest) {
    this.#asking = asking;
    this.#request = request;
  }

  get usable(): boolean {
    return this.#asking.alive && !this.#closing;
  }

  async store(request: StoreRequest, signal: AbortSignal): Promise<Stored | Refused> {
    const opened = await this.#select("SELECT", request, signal);
    if (isRefused(opened)) return opened;
    const { permanentFlags } = opened;
    const flags = request.flags.filter((flag) => isFlag(flag) && keepsFlag(permanentFlags, flag));
    const sign = request.change === "add" ? "+" : "-";
    const conflicts: number[] = [];
    const said = flags.length === 0 ? [] : request.items;
    const groups = Map.groupBy(said, ({ unchangedSince }) => (opened.keepsModseqs ? unchangedSince : null));
    for (const [since, items] of groups) {
      const condition = since === null ? "" : `(UNCHANGEDSINCE ${since}) `;
      const set = setOf(items.map(({ uid }) => uid));
      const answer = await this.#ask(`UID STORE ${set} ${condition}${sign}FLAGS.SILENT (${flags.join(" ")})`, signal);
      if (answer.code?.[0] === "MODIFIED") conflicts.push(...modified(answer.code[1], items));
      else if (answer.status !== "OK") return refusalOf(answer);
    }
    const facts = await this.#facts(
      request.items.map(({ uid }) => uid),
      opened.keepsModseqs,
      signal,
    );
    return { kind: "stored", facts, conflicts, permanentFlags };
  }

  async move(request: MoveRequest, signal: AbortSignal): Promise<Moved | Refused> {
    const opened = await this.#select("SELECT", request, signal);
    if (isRefused(opened)) return opened;
    const verb = this.#can("MOVE") ? "MOVE" : "COPY";
    const { uids, to } = request;
    const answer = await this.#named(to.path, (name) => `UID ${verb} ${setOf(uids)} ${name}`, signal);
    const moved = copiedUids(answer, uids, to.uidValidity);
    // A part may be done all the same (C4).
    if (answer.status !== "OK" && moved.size === 0) return refusalOf(answer);
    const there = moved.size === 0 ? opened : await this.#select("SELECT", to, signal);
    const facts = moved.size === 0 || isRefused(there) ? [] : await this.#facts([...moved.values()], there.keepsModseqs, signal);
    const read = new Map(facts.map((fact) => [fact.uid, fact]));
    const items = [...moved].flatMap(([from, uid]) => {
      const { internalDate = null, ...fact } = read.get(uid) ?? { uid, flags: [], modseq: null };
      return internalDate === null ? [] : [{ from, item: { ...fact, internalDate } }];
    });
    return { kind: "moved", items, copied: verb === "COPY", permanentFlags: isRefused(there) ? null : there.permanentFlags };
  }

  async expunge(request: ExpungeRequest, signal: AbortSignal): Promise<Expunged | Refused> {
    const marking = { ...request, change: "add", flags: ["\\Deleted"] } as const;
    const stored = await this.store(marking, signal);
    if (isRefused(stored)) return stored;
    if (!keepsFlag(stored.permanentFlags, "\\Deleted")) return refused("no_permission");
    const isMarked = ({ flags }: FlagsFact): boolean => flags.some((flag) => flag.toLowerCase() === "\\deleted");
    const marked = stored.facts.filter((fact) => isMarked(fact) && !stored.conflicts.includes(fact.uid)).map(({ uid }) => uid);
    const { conflicts, facts } = stored;
    const named = this.#can("UIDPLUS");
    const onlyMarked = !named && !(await this.#nobodyElseMarked(marked, signal));
    if (onlyMarked || marked.length === 0) return { kind: "expunged", facts, conflicts, onlyMarked };
    const answer = await this.#ask(named ? `UID EXPUNGE ${setOf(marked)}` : "EXPUNGE", signal);
    if (answer.status !== "OK") return refusalOf(answer);
    const uids = request.items.map(({ uid }) => uid);
    // Mod-sequences do not matter any more: what is there still is looked at anew.
    return { kind: "expunged", facts: await this.#facts(uids, stored.facts[0]?.modseq != null, signal), conflicts, onlyMarked };
  }

  /** C7: where removals cannot be named they take all that is marked. False where the server does not tell what that is. */
  async #nobodyElseMarked(ours: readonly number[], signal: AbortSignal): Promise<boolean> {
    const { status, code, untagged } = await this.#ask("UID SEARCH DELETED", signal);
    const found = untagged.flatMap(({ text }) => /^\* SEARCH((?: \d+)*)/i.exec(text)?.[1] ?? []);
    const uids = found.join(" ").split(" ").filter(Boolean).map(Number);
    return status === "OK" && code === null && found.length > 0 && uids.every((uid) => ours.includes(uid));
  }

  async position(path: string, signal: AbortSignal): Promise<{ uidValidity: number; uidNext: number } | Refused> {
    // Not by STATUS alone: of the mailbox that is open it may tell what was (RFC 9051 §6.3.11).
    const opened = await this.#named(path, (name) => `EXAMINE ${name}`, signal);
    if (opened.status !== "OK") return refusalOf(opened);
    const uidValidity = uint32Of(codeValue(opened, "UIDVALIDITY") ?? "");
    const uidNext = uint32Of(codeValue(opened, "UIDNEXT") ?? "") ?? (await this.#statusUidNext(path, signal));
    return uidValidity === null || uidNext === null ? refused("try_later") : { uidValidity, uidNext };
  }

  async append(request: AppendRequest, signal: AbortSignal): Promise<Appended | Refused> {
    const { octets, path, uidValidity } = request;
    const head = `(${request.flags.filter(isFlag).join(" ")}) ${dateTimeOf(request.internalDate)}`;
    const options = { octets, ms: commandMs + octets.size / octetsPerMs };
    const answer = await this.#named(path, (name) => `APPEND ${name} ${head}`, signal, options);
    if (answer.status !== "OK") return refusalOf(answer);
    const [epoch = null, uid = null] =
      answer.code?.[0] === "APPENDUID" ? answer.code[1].split(" ").map((word) => uint32Of(word)) : [];
    if (uid === null || epoch !== uidValidity) return { kind: "appended", item: null };
    const opened = await this.#select("EXAMINE", request, signal);
    const [fact] = isRefused(opened) ? [] : await this.#facts([uid], opened.keepsModseqs, signal);
    const internalDate = fact?.internalDate ?? null;
    return { kind: "appended", item: fact === undefined || internalDate === null ? null : { ...fact, internalDate } };
  }

  rootPrefix(signal: AbortSignal): Promise<string> {
    return mailboxes.rootPrefix(this.#speaker(signal));
  }

  create(path: string, signal: AbortSignal): Promise<MailboxOutcome | Refused> {
    return mailboxes.create(this.#speaker(signal), path);
  }

  rename(request: MailboxRename, signal: AbortSignal): Promise<MailboxOutcome | Refused> {
    return mailboxes.rename(this.#speaker(signal), request);
  }

  remove(doomed: Doomed, signal: AbortSignal): Promise<MailboxOutcome | Refused> {
    return mailboxes.remove(this.#speaker(signal), doomed);
  }

  subscribe(path: string, on: boolean, signal: AbortSignal): Promise<void> {
    return mailboxes.subscribe(this.#speaker(signal), path, on);
  }

  #can(capability: string): boolean {
    return this.#request.profile.capabilities?.includes(capability) === true;
  }

  async close(): Promise<void> {
    if (this.usable) {
      this.#closing = true;
      // Whatever goes wrong with a goodbye, the connection is closed next.
      await this.#asking.ask("LOGOUT", { ms: byeMs, signal: untilClosed }).catch(() => undefined);
    }
    this.#asking.end();
  }

  #speaker(signal: AbortSignal): mailboxes.Speaker {
    return {
      ask: (command) => this.#ask(command, signal),
      named: (path, command) => this.#named(path, command, signal),
    };
  }

  /** Some servers tell UIDNEXT only here (seen on Courier). */
  async #statusUidNext(path: string, signal: AbortSignal): Promise<number | null> {
    const { untagged } = await this.#named(path, (name) => `STATUS ${name} (UIDNEXT)`, signal);
    const line = untagged.findLast(({ text }) => /^\* STATUS /i.test(text))?.text ?? "";
    return uint32Of(/\(UIDNEXT (\d+)\)$/i.exec(line)?.[1] ?? "");
  }

  async #select(verb: "SELECT" | "EXAMINE", of: { path: string; uidValidity: number }, signal: AbortSignal) {
    const condstore = this.#request.profile.changeDetection === "full" ? "" : " (CONDSTORE)";
    const answer = await this.#named(of.path, (name) => `${verb} ${name}${condstore}`, signal);
    if (answer.status !== "OK") return refusalOf(answer);
    if (verb === "SELECT" && answer.code?.[0] === "READ-ONLY") return refused("no_permission");
    // Of items that are numbered anew each time nobody can say which one he means.
    if (answer.untagged.some(({ text }) => /^\* NO \[UIDNOTSTICKY\]/i.test(text))) return refused("unsupported");
    const opened = openedOf(answer);
    return opened.uidValidity === of.uidValidity ? opened : refused("epoch");
  }

  /** Items of the open mailbox as they are now, by UID. */
  async #facts(uids: readonly number[], modseqs: boolean, signal: AbortSignal) {
    const ids = idItemsOf(this.#request.profile.objectIds ?? "none");
    const items = ["UID", "FLAGS", "INTERNALDATE", ...ids, ...(modseqs ? ["MODSEQ"] : [])].join(" ");
    const answer = await this.#ask(`UID FETCH ${setOf(uids)} (${items})`, signal);
    const wanted = new Set(uids);
    const facts = new Map<number, FlagsFact & { internalDate: Date | null; objectId: string | null }>();
    for (const response of answer.untagged) {
      const { uid = null, flags = null, modseq = null, internalDate = null, objectId = null } = fetchFactsOf(response) ?? {};
      if (uid === null || flags === null || !wanted.has(uid)) continue;
      // A line of its own tells what somebody changed in between; it has no date.
      const before = facts.get(uid);
      const lasting = {
        internalDate: internalDate ?? before?.internalDate ?? null,
        objectId: objectId ?? before?.objectId ?? null,
      };
      facts.set(uid, { uid, flags, modseq, ...lasting });
    }
    return [...facts.values()].sort((a, b) => a.uid - b.uid);
  }

  /** Some servers keep names outside the encoding: what is refused by its encoded name is tried as it stands. */
  async #named(path: string, command: (name: string) => string, signal: AbortSignal, options: AskOptions = {}): Promise<Answer> {
    const [first = "", ...others] = mailboxArguments(path);
    let answer = await this.#ask(command(first), signal, options);
    for (const name of others) {
      if (answer.status === "OK" || refusalOf(answer).why !== "no_mailbox") break;
      answer = await this.#ask(command(name), signal, options);
    }
    return answer;
  }

  async #ask(command: string, signal: AbortSignal, options: AskOptions = {}): Promise<Answer> {
    const { settings, credentials } = this.#request;
    try {
      return await this.#asking.ask(command, { ms: commandMs, signal, ...options });
    } catch (error) {
      throw classify(error, { during: "work", host: settings.host, user: credentials.user });
    }
  }
}

/** The driver of IMAP for writing. */
export const imapWriterDriver = (limits: EndpointLimits): WriterDriver => ({
  open: (request, signal) =>
    admit({ request, limits }, signal, async ({ address }, lease) => {
      const { settings, credentials } = request;
      refuseCleartext(settings, limits);
      const { spoolDir } = limits;
      const wire = await openBulkWire({ settings, credentials, address, spoolDir, connectMs, loginMs: connectMs }, signal);
      const asking = new Asking(wire);
      connectionsOpen.inc({ proto: "imap", kind: "writer" });
      asking.onGone = () => {
        connectionsOpen.dec({ proto: "imap", kind: "writer" });
        lease.release();
      };
      return new ImapWriter(asking, request);
    }),
});
