/** The server model as the daemon reads it over IMAP: what the driver of the daemon makes of such a server (gates G1, G5, G6). */
import type { EndpointDriver, Session, WatchListener } from "../../src/endpoints/endpoint.ts";
import { memoryOctets } from "../../src/endpoints/octets.ts";
import type { EndpointProfile } from "../../src/model/endpoint.ts";
import { SyncError } from "../../src/model/failure.ts";
import type {
  FetchedBatch,
  FetchRequest,
  FlagsFact,
  HeadItem,
  HeadsRequest,
  MailboxCursor,
  MailboxObservation,
  ObserveRequest,
  Survey,
  SurveyedMailbox,
} from "../../src/model/observation.ts";
import type { Life } from "./life.ts";
import type { Item, Mailbox, ServerModel } from "./server-model.ts";

export const noMailbox = (path: string): SyncError =>
  new SyncError("transient", "mailbox", {
    code: "mailbox_unavailable",
    message: `The mailbox ${path} cannot be read.`,
    action: "Nothing; it is tried again by itself.",
  });

const modseqs = ({ quirks }: ServerModel): boolean => quirks.changes !== "full";

export const factOf = (server: ServerModel, { uid, flags, modseq }: Item): FlagsFact => ({
  uid,
  flags: [...flags].sort(),
  modseq: modseqs(server) ? BigInt(modseq) : null,
});

/** By which the server knows a mailbox, or the content of an item. */
export const objectIdOf = ({ quirks }: ServerModel, { objectId }: Item | Mailbox): string | null =>
  quirks.objectIds === "none" ? null : objectId;

const statusOf = (server: ServerModel, { items, uidNext, uidValidity, modseq }: Mailbox) => ({
  messages: items.length,
  uidNext,
  uidValidity,
  unseen: items.filter(({ flags }) => !flags.has("\\Seen")).length,
  highestModseq: modseqs(server) ? BigInt(modseq) : null,
});

const shown = (server: ServerModel, mailbox: Mailbox): SurveyedMailbox => ({
  path: mailbox.path,
  delimiter: "/",
  selectable: true,
  subscribed: true,
  role: mailbox.role,
  roleSource: mailbox.role === null ? null : "special_use",
  objectId: objectIdOf(server, mailbox),
  status: statusOf(server, mailbox),
  statusError: null,
});

export const permanentFlagsOf = (server: ServerModel, mailbox: Mailbox): string[] => [
  ...["\\Seen", "\\Flagged", "\\Answered", "\\Draft", "\\Deleted"],
  ...(server.permits(mailbox, "x") ? ["\\*"] : []),
];

type Facts = Pick<MailboxObservation, "method" | "flags" | "vanished" | "present">;

const everything = (server: ServerModel, { items }: Mailbox, since: MailboxCursor | null): Facts => ({
  method: "full",
  flags: items.filter(({ uid }) => uid < (since?.uidNext ?? Infinity)).map((item) => factOf(server, item)),
  vanished: [],
  present: items.map(({ uid }) => uid),
});

const changed = (server: ServerModel, mailbox: Mailbox, request: ObserveRequest, since: MailboxCursor): Facts => {
  const { items, expunged, uidNext } = mailbox;
  const after = Number(since.highestModseq);
  const method = server.quirks.changes === "qresync" && since.uidNext > 1 ? "qresync" : "condstore";
  const flags = items.filter(({ uid, modseq }) => uid < since.uidNext && modseq > after).map((item) => factOf(server, item));
  const vanished =
    method === "condstore"
      ? []
      : expunged
          .filter(({ uid, modseq }) => uid < since.uidNext && modseq > after)
          .map(({ uid }) => uid)
          .sort((a, b) => a - b);
  const { boundCount } = request;
  if (boundCount === null || boundCount - vanished.length + (uidNext - since.uidNext) === items.length)
    return { method, flags, vanished, present: null };
  const present = items.map(({ uid }) => uid);
  const below = present.filter((uid) => uid < since.uidNext).length;
  if (method === "condstore" || below === boundCount - vanished.length) return { method, flags, vanished, present };
  return everything(server, mailbox, since);
};

/** One look at a mailbox of the model. `cut`: the listing ended early, so that it proves no absence. */
export const observeModel = (server: ServerModel, request: ObserveRequest, cut: boolean): MailboxObservation => {
  const mailbox = server.mailboxes.get(request.path);
  if (mailbox === undefined) throw noMailbox(request.path);
  const { path, uidValidity, uidNext, items, modseq } = mailbox;
  const { since } = request;
  const same =
    since !== null &&
    since.uidValidity === uidValidity &&
    uidNext >= since.uidNext &&
    (!modseqs(server) || modseq >= Number(since.highestModseq ?? 0));
  const numbered = same && modseqs(server) && since.highestModseq !== null;
  const facts = numbered ? changed(server, mailbox, request, since) : everything(server, mailbox, same ? since : null);
  const half = Math.floor(facts.flags.length / 2);
  return {
    path,
    startedAt: new Date(),
    endedAt: new Date(),
    uidValidity,
    uidNext,
    highestModseq: modseqs(server) ? BigInt(modseq) : null,
    exists: items.length,
    permanentFlags: permanentFlagsOf(server, mailbox),
    numbersLast: true,
    ...facts,
    ...(cut && facts.present !== null && { present: null, flags: facts.flags.slice(0, half) }),
  };
};

class ModelSession implements Session {
  profile: EndpointProfile;
  readonly #server: ServerModel;
  readonly #life: Life;
  readonly #line;
  #listener: WatchListener | null = null;

  constructor(server: ServerModel, life: Life, profile: EndpointProfile) {
    this.#server = server;
    this.#life = life;
    const { changes, push } = server.quirks;
    const objectIds = server.quirks.objectIds === "none" ? "none" : "objectid";
    const learned = { changeDetection: changes, push, listStatus: true, objectIds } as const;
    this.profile = { ...profile, capabilities: ["IMAP4REV1"], ...learned };
    this.#line = life.connect(() => {
      if (!life.crashed) this.#listener?.onLost(new Error("lost"));
    });
  }

  get usable(): boolean {
    return this.#line.alive;
  }

  survey(): Promise<Survey> {
    return this.#life.ask("survey", this.#line, (cut) => {
      const { mailboxes, quirks } = this.#server;
      const first = this.#server.listings === 0;
      const isListed = ({ path }: { readonly path: string }): boolean => path !== quirks.unlisted || first;
      this.#server.listings += 1;
      const all = [...mailboxes.values()].map((mailbox) => shown(this.#server, mailbox)).filter(isListed);
      const startedAt = new Date();
      return { startedAt, endedAt: startedAt, complete: !cut, mailboxes: cut ? all.slice(0, Math.ceil(all.length / 2)) : all };
    });
  }

  answering(paths: readonly string[]): Promise<readonly string[]> {
    return this.#life.ask("answering", this.#line, () => paths.filter((path) => this.#server.mailboxes.has(path)));
  }

  observe(request: ObserveRequest): Promise<MailboxObservation> {
    return this.#life.ask(`observe ${request.path}`, this.#line, (cut) => observeModel(this.#server, request, cut));
  }

  async *fetch({ path, uidValidity, ranges }: FetchRequest): AsyncGenerator<FetchedBatch> {
    for (const range of ranges)
      yield await this.#life.ask(`fetch ${path} ${range.from}:${range.to}`, this.#line, () => ({
        items: this.#items({ path, uidValidity }, range).map((item) => ({
          ...factOf(this.#server, item),
          internalDate: item.date,
          objectId: objectIdOf(this.#server, item),
          size: item.octets.length,
          ...(this.#isNil(item, uidValidity)
            ? { octets: null, unavailable: "the body is NIL" }
            : { octets: memoryOctets(item.octets), unavailable: null }),
        })),
        rangeDone: range,
      }));
  }

  async *heads({ path, uidValidity, ranges, bare = false }: HeadsRequest): AsyncGenerator<readonly HeadItem[]> {
    for (const range of ranges)
      yield await this.#life.ask(`heads ${path}`, this.#line, () =>
        this.#items({ path, uidValidity }, range).map((item) => ({
          ...factOf(this.#server, item),
          internalDate: item.date,
          objectId: objectIdOf(this.#server, item),
          size: item.octets.length,
          head: bare ? Buffer.alloc(0) : this.#headOf(item, uidValidity),
        })),
      );
  }

  async watch(listener: WatchListener): Promise<{ watching: readonly string[] }> {
    const { push } = this.#server.quirks;
    if (push === "poll") return { watching: [] };
    await this.#life.ask("watch", this.#line, () => (this.#listener = listener));
    return { watching: push === "notify" ? [...this.#server.mailboxes.keys()] : ["INBOX"] };
  }

  /** The server tells of a change, if it is one it tells of. */
  tell(path: string): void {
    if (this.#line.alive && (this.#server.quirks.push === "notify" || path === "INBOX")) this.#listener?.onNews(path);
  }

  close(): Promise<void> {
    this.#line.alive = false;
    return Promise.resolve();
  }

  /** In each epoch the first FETCH of a body gives none, and no header block is given before. */
  #isNil({ of }: Item, uidValidity: number): boolean {
    return this.#server.quirks.nilBody && of.madeBy !== "daemon" && this.#server.once(`body ${of.id} ${uidValidity}`);
  }

  #headOf({ of, octets }: Item, uidValidity: number): Buffer {
    const { quirks, happened } = this.#server;
    const isWithheld = quirks.nilBody && of.madeBy !== "daemon" && !happened.has(`body ${of.id} ${uidValidity}`);
    return isWithheld ? Buffer.alloc(0) : memoryOctets(octets).head;
  }

  #items({ path, uidValidity }: { path: string; uidValidity: number }, range: { from: number; to: number }): Item[] {
    const mailbox = this.#server.mailboxes.get(path);
    if (mailbox?.uidValidity !== uidValidity) throw noMailbox(path);
    mailbox.readValidity = uidValidity;
    return mailbox.items.filter(({ uid }) => uid >= range.from && uid <= range.to);
  }
}

/** `tell` passes news on to whoever listens. */
export const modelImap = (server: ServerModel, life: Life): EndpointDriver & { tell(path: string): void } => {
  let session: ModelSession | null = null;
  return {
    open: async (request) => {
      await life.ask("open imap", life.connect(), () => undefined);
      return (session = new ModelSession(server, life, request.profile));
    },
    tell: (path) => session?.tell(path),
  };
};
