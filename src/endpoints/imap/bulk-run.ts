/**
 * One bulk read over mailboxes: which command comes next, what its answers amount to, and what waits for the consumer.
 * Knows nothing of connections.
 */
import type { ObjectIds } from "../../model/endpoint.ts";
import type { SyncError } from "../../model/failure.ts";
import {
  batchBytes,
  batchMessages,
  type FetchedBatch,
  type FetchedItem,
  type FetchRequest,
  type UidRange,
} from "../../model/observation.ts";
import { type Octets, partSize } from "../../model/octets.ts";
import { memoryOctets } from "../octets.ts";
import { ProtocolFault } from "../protocol-fault.ts";
import {
  disposeLiterals,
  type FetchFacts,
  fetchFactsOf,
  isSkipped,
  type Literal,
  mailboxArguments,
  type Response,
  searchedUidsOf,
} from "./bulk-codec.ts";
import { idItemsOf } from "./object-ids.ts";
import { unavailable } from "./read-items.ts";

/** What a read over several mailboxes gives: a batch of one of them, or why one of them cannot be read on. */
export type BulkEvent =
  | { readonly request: FetchRequest; readonly batch: FetchedBatch; readonly error: null }
  | { readonly request: FetchRequest; readonly batch: null; readonly error: SyncError };

interface Job {
  readonly request: FetchRequest;
  /** How the mailbox may be named, the likeliest first. */
  readonly names: readonly string[];
  /** Index of the name in use. Commands of an earlier attempt are not listened to. */
  attempt: number;
  /** Index of the range to ask for next; -1: the mailbox itself. */
  next: number;
  /** Ranges before this index are told to be done. */
  told: number;
  /** Indices of ranges read to their end out of turn. */
  readonly early: Set<number>;
  /** Not given out yet. */
  items: FetchedItem[];
  bytes: number;
  failed: boolean;
}

interface Pending {
  readonly tag: string;
  readonly run: BulkRun;
  readonly job: Job;
  readonly attempt: number;
}

export interface ExamineCommand extends Pending {
  readonly kind: "examine";
  uidValidity: number | null;
}

/** Which UIDs there are, so that a message left out of the answer to the fetch behind it is missed. */
interface SearchCommand extends Pending {
  readonly kind: "search";
}

export interface FetchCommand extends Pending {
  readonly kind: "fetch";
  /** Of the range in its request. */
  readonly index: number;
  readonly range: UidRange;
  readonly listed: Set<number>;
  readonly seen: Set<number>;
  /** Facts of messages whose octets did not come with them. */
  readonly bodiless: Map<number, FetchFacts>;
}

export type BulkCommand = ExamineCommand | SearchCommand | FetchCommand;

/** No MODSEQ: where a mailbox keeps none, asking for it is an error (RFC 7162 §3.1.2.2). */
const fetchItems = (objectIds: ObjectIds): string =>
  `(${["UID FLAGS INTERNALDATE RFC822.SIZE", ...idItemsOf(objectIds)].join(" ")} BODY.PEEK[])`;

/** A range of more UIDs is not searched: the answer is one line of up to eleven octets each. */
const maxSearched = 50_000;

/** How much may wait for the consumer: about two batches. */
const maxReadyItems = 2 * batchMessages;
const maxReadyBytes = 2 * batchBytes;

const contains = (range: UidRange, uid: number): boolean => uid >= range.from && uid <= range.to;

/** The date of a message whose server gives none that can be read; it sorts below everything. */
const noDate = new Date(0);

export class BulkRun {
  readonly #requests: Iterator<FetchRequest>;
  #job: Job | null = null;
  /** Jobs whose mailbox was refused under one name and is to be tried under the next. */
  readonly #again: Job[] = [];
  #exhausted = false;
  /** Commands given out and not ended. */
  #open = 0;
  /** The job whose messages come now: an EXAMINE stands between two jobs, so it is one at a time. */
  #filling: Job | null = null;
  readonly #ready: { readonly event: BulkEvent; readonly bytes: number }[] = [];
  #readyItems = 0;
  #readyBytes = 0;
  /** Handed to the consumer and lying in files. */
  readonly #lent: Octets[] = [];
  #abandoned = false;
  #changed = false;
  #wake: () => void = () => undefined;

  readonly #objectIds: ObjectIds;

  constructor(requests: Iterable<FetchRequest>, objectIds: ObjectIds) {
    this.#objectIds = objectIds;
    this.#requests = requests[Symbol.iterator]();
  }

  /** Enough waits for the consumer. */
  get full(): boolean {
    return this.#readyItems >= maxReadyItems || this.#readyBytes >= maxReadyBytes;
  }

  /** Nothing is left to ask, and all that was asked is answered. */
  get finished(): boolean {
    return this.#exhausted && this.#open === 0;
  }

  /** The next commands and how they are written, or null when there are none. Each must come back to `ended`. */
  next(newTag: () => string): { readonly commands: readonly BulkCommand[]; readonly text: string } | null {
    const job = this.#nextJob();
    if (job === null) return null;
    const index = job.next;
    job.next += 1;
    const range = job.request.ranges[index];
    const pending = (): Pending => ({ tag: newTag(), run: this, job, attempt: job.attempt });
    const commands: BulkCommand[] = [];
    let text = "";
    if (range === undefined) {
      const examine: ExamineCommand = { ...pending(), kind: "examine", uidValidity: null };
      commands.push(examine);
      text = `${examine.tag} EXAMINE ${job.names[job.attempt]}\r\n`;
    } else {
      const set = `${range.from}:${range.to}`;
      if (range.to - range.from < maxSearched) {
        const search: SearchCommand = { ...pending(), kind: "search" };
        commands.push(search);
        text = `${search.tag} UID SEARCH UID ${set}\r\n`;
      }
      const fetch: FetchCommand = {
        ...pending(),
        kind: "fetch",
        index,
        range,
        listed: new Set(),
        seen: new Set(),
        bodiless: new Map(),
      };
      commands.push(fetch);
      text += `${fetch.tag} UID FETCH ${set} ${fetchItems(this.#objectIds)}\r\n`;
    }
    this.#open += commands.length;
    return { commands, text };
  }

  ended(): void {
    this.#open -= 1;
  }

  /** Does anybody still listen to what this command brings? */
  wants(command: BulkCommand): boolean {
    return !this.#abandoned && !command.job.failed && command.attempt === command.job.attempt;
  }

  /** Takes an untagged response that came while `commands`, all of one job, were under way. @throws ProtocolFault */
  collect(commands: readonly FetchCommand[], response: Response): void {
    const facts = fetchFactsOf(response);
    if (facts === null) {
      for (const uid of searchedUidsOf(response.text)) commands.find(({ range }) => contains(range, uid))?.listed.add(uid);
      return;
    }
    if (facts.uid === null && facts.body !== undefined)
      throw new ProtocolFault("ResponseProcessingFailed", "octets without a UID");
    const uid = facts.uid ?? 0;
    const command = commands.find(({ range, seen }) => contains(range, uid) && !seen.has(uid));
    if (command === undefined) disposeLiterals(response.literals);
    else if (facts.body === undefined) command.bodiless.set(uid, facts);
    else this.#add(command, itemOf(uid, facts, command.bodiless.get(uid)));
  }

  /**
   * The range was read to its end. Ranges are told to be done in the order they were asked for. False, and not done, when
   * the server listed a message that it then left out (gate G7).
   */
  complete(command: FetchCommand): boolean {
    for (const [uid, facts] of command.bodiless) {
      // Changes of flags are told in passing, without a date; with one it is an answer to us that lacks the octets.
      if (facts.internalDate === null || command.seen.has(uid)) continue;
      this.#add(command, itemOf(uid, { ...facts, body: null }, undefined));
    }
    if (!command.listed.isSubsetOf(command.seen)) return false;
    const { job } = command;
    job.early.add(command.index);
    while (job.early.delete(job.told)) {
      this.#flush(job, job.request.ranges[job.told] ?? null);
      job.told += 1;
    }
    return true;
  }

  /** The mailbox was refused; true when another name for it is tried. */
  retry(command: ExamineCommand): boolean {
    const { job } = command;
    if (job.attempt + 1 >= job.names.length) return false;
    job.attempt += 1;
    job.next = -1;
    this.#exhausted = false;
    if (job !== this.#job) this.#again.push(job);
    return true;
  }

  /** Gives up the mailbox of this command, after what had arrived whole; the others go on. */
  fail(command: BulkCommand, error: SyncError): void {
    if (this.#filling === command.job) this.interrupt();
    command.job.failed = true;
    this.#give({ request: command.job.request, batch: null, error }, 0);
  }

  /** Gives out what had arrived whole when the rest does not come. */
  interrupt(): void {
    if (this.#filling !== null && this.#filling.items.length > 0) this.#flush(this.#filling, null);
  }

  /** The oldest event, or null when none waits. */
  take(): BulkEvent | null {
    const oldest = this.#ready.shift();
    if (oldest === undefined) return null;
    const items = oldest.event.batch?.items ?? [];
    this.#readyItems -= items.length;
    this.#readyBytes -= oldest.bytes;
    for (const { octets } of items) if (octets !== null && octets.size > partSize) this.#lent.push(octets);
    return oldest.event;
  }

  /** Settles once something has happened since the last call. */
  async changed(): Promise<void> {
    if (!this.#changed) await new Promise<void>((resolve) => (this.#wake = resolve));
    this.#changed = false;
  }

  wake(): void {
    this.#changed = true;
    this.#wake();
  }

  /** The consumer has gone: nothing is kept any more. */
  async abandon(): Promise<void> {
    this.#abandoned = true;
    const waiting = [...this.#ready.flatMap(({ event }) => event.batch?.items ?? []), ...(this.#filling?.items ?? [])];
    this.#filling = null;
    const octets = [...this.#lent, ...waiting.map((item) => item.octets)];
    await Promise.all(octets.map(async (one) => one?.dispose()));
  }

  #nextJob(): Job | null {
    for (;;) {
      const job = this.#job;
      if (job !== null && !job.failed && job.next < job.request.ranges.length) return job;
      const again = this.#again.shift();
      const request = again === undefined ? this.#requests.next() : null;
      if (request?.done === true) {
        this.#exhausted = true;
        return null;
      }
      this.#job = again ?? (request === null ? null : newJob(request.value));
    }
  }

  #add(command: FetchCommand, item: FetchedItem): void {
    const { job, seen } = command;
    // Not as soon as it is full: the end of the range may come next, and should come with it.
    if (job.items.length >= batchMessages || job.bytes >= batchBytes) this.#flush(job, null);
    this.#filling = job;
    seen.add(item.uid);
    job.items.push(item);
    job.bytes += item.octets?.size ?? 0;
  }

  #flush(job: Job, rangeDone: UidRange | null): void {
    const { items, bytes } = job;
    job.items = [];
    job.bytes = 0;
    this.#filling = null;
    this.#give({ request: job.request, batch: { items, rangeDone }, error: null }, bytes);
  }

  #give(event: BulkEvent, bytes: number): void {
    this.#readyItems += event.batch?.items.length ?? 0;
    this.#readyBytes += bytes;
    this.#ready.push({ event, bytes });
    this.wake();
  }
}

const contentOf = (body: Literal | null): Pick<FetchedItem, "octets" | "unavailable"> => {
  if (body === null) return { octets: null, unavailable: unavailable.nil };
  if (Buffer.isBuffer(body)) return { octets: memoryOctets(body), unavailable: null };
  return isSkipped(body) ? { octets: null, unavailable: unavailable.tooLarge } : { octets: body, unavailable: null };
};

const itemOf = (uid: number, facts: FetchFacts, earlier: FetchFacts | undefined): FetchedItem => ({
  uid,
  flags: facts.flags ?? earlier?.flags ?? [],
  modseq: null,
  internalDate: facts.internalDate ?? earlier?.internalDate ?? noDate,
  objectId: facts.objectId ?? earlier?.objectId ?? null,
  size: facts.size ?? earlier?.size ?? null,
  ...contentOf(facts.body ?? null),
});

const newJob = (request: FetchRequest): Job => ({
  request,
  names: mailboxArguments(request.path),
  attempt: 0,
  // Nothing is asked where no range is.
  next: request.ranges.length === 0 ? 0 : -1,
  told: 0,
  early: new Set(),
  items: [],
  bytes: 0,
  failed: false,
});
