/**
 * One short look into a maildrop (semantics 1.9 G2–G4, 5.1): list, bind what is known, read what is not, newest first, and
 * decide about what two listings lack. What is bound is never read again, so that a crash costs the batch under way.
 */
import { createHash } from "node:crypto";
import type { MaildropItem, MaildropListing, MaildropSession } from "../endpoints/endpoint.ts";
import type { PlacementId } from "../model/ids.ts";
import type { ListingWindow } from "../model/maildrop.ts";
import { type ListingMark, markedKeys, readWindow } from "../reconciler/listing-window.ts";
import { keyOf, type MaildropReading, readAnew, readMaildrop } from "../reconciler/maildrop.ts";
import type { Scope } from "../reconciler/state.ts";
import { type BoundItem, listLeftOver, loadMaildrop, type Maildrop } from "../store/maildrops.ts";
import { endFirstReading, makeMailboxes, type MaildropContext, renameItems, startEpoch } from "./maildrop-commit.ts";
import { commitGone } from "./maildrop-gone.ts";
import { bindKnown, type IdentityMemory, type ImapSide, type Look, stillHold } from "./maildrop-identity.ts";
import { rereadLostItems } from "./lost-octets.ts";
import { lackedLong, readLacked } from "./maildrop-lacked.ts";
import { readWhole } from "./maildrop-reading.ts";
import { commitStubs, readStubs, refusedMs } from "./maildrop-stubs.ts";
import { settleRemovals } from "./server-copy.ts";

/** What a lane remembers between looks. */
export interface MaildropMemory extends IdentityMemory {
  /** Of the last listing after which nothing was left to do; "" where something was. */
  settledPrint: string;
  /** The last complete listing, and the part of the maildrop that listings show as far as was seen. */
  mark: ListingMark | null;
  window: ListingWindow | null;
  /** Since when complete listings lack everything, in ms since 1970; 0: they do not. */
  emptySince: number;
  /** When a complete listing first lacked the item of a placement, in ms since 1970. */
  readonly missingSince: Map<PlacementId, number>;
  /** When bound items were last compared with what they were bound as, in ms since 1970. */
  verifiedAt: number;
  /** When the last look began that left nothing to be read, in ms since 1970; 0: not known. */
  lookedAt: number;
  /** When an item that could not be read is tried again, in ms since 1970. */
  readonly refusedUntil: Map<string, number>;
  /** Since when items are listed that IMAP does not show though all of its mail was read, in ms since 1970. */
  readonly lackedSince: Map<string, number>;
  /** Octets that the store has lost are to be read again. */
  seekLost: boolean;
}

export interface MaildropPassInput {
  readonly context: MaildropContext;
  readonly session: MaildropSession;
  readonly memory: MaildropMemory;
  readonly imap: ImapSide;
  /** For so long IMAP is waited for to show what is listed here, in ms. */
  readonly lackedMs: number;
  /** Something is owed to the IMAP server. */
  readonly onOwed: () => void;
  /** Mail was made that IMAP does not show. */
  readonly onAlone: () => void;
  /** Is told what a complete listing shows, if that can be believed. */
  readonly onListed: (keys: ReadonlySet<string>) => void;
  readonly signal: AbortSignal;
}

export interface MaildropPassResult {
  /** More can be read at once. */
  readonly again: boolean;
  /** Something waits to be seen a second time. */
  readonly waiting: boolean;
  readonly created: number;
  /** The first reading is over. */
  readonly readOnce: boolean;
}

/** Before an empty listing is believed (G4), in ms. */
const emptyMs = 60_000;
/** How often a few bound items are read again (ID-10), in ms. */
const verifyMs = 24 * 3_600_000;

const printOf = ({ complete, items }: MaildropListing): string => {
  const hash = createHash("sha256").update(complete ? "complete\n" : "partial\n");
  for (const { uidl, occurrence, size } of items) hash.update(`${occurrence} ${size} ${uidl}\n`);
  return hash.digest("base64");
};

/** Items that are gone in two complete listings, an empty one at least a minute apart (G4). */
const settleGone = async (
  { context, memory, imap, onOwed }: MaildropPassInput,
  scope: Scope,
  look: {
    readonly gone: readonly BoundItem[];
    readonly slid: readonly BoundItem[];
    readonly bound: number;
    readonly empty: boolean;
    readonly doubtful: boolean;
    readonly complete: boolean;
  },
): Promise<boolean> => {
  const { bound, slid, doubtful } = look;
  const commit = async (gone: readonly BoundItem[], outsideWindow: boolean): Promise<boolean> => {
    const { open, owed } = await commitGone(context, scope, { gone, bound, outsideWindow, doubtful });
    if (owed) onOwed();
    return open;
  };
  // Nothing follows from it but that the binding ends, so that one look is enough.
  if (slid.length > 0) await commit(slid, true);
  // What IMAP showed is decided by IMAP, when it is back (K9).
  if (imap === "down") return look.gone.length > 0;
  const now = Date.now();
  const before = new Map(memory.missingSince);
  memory.missingSince.clear();
  for (const { placementId } of look.gone) memory.missingSince.set(placementId, before.get(placementId) ?? now);
  if (look.gone.length === 0) return look.complete && (await commit([], false));
  const seenTwice = look.gone.filter(({ placementId }) => {
    const since = before.get(placementId);
    return since !== undefined && (!look.empty || now - since >= emptyMs);
  });
  const open = seenTwice.length > 0 && (await commit(seenTwice, false));
  return open || seenTwice.length < look.gone.length;
};

const scopeFor = async ({ context, imap }: MaildropPassInput, { epoch, inbox }: Maildrop): Promise<Scope | null> => {
  const mailboxId = inbox ?? (imap === "read" ? null : await makeMailboxes(context));
  return mailboxId === null ? null : { endpointId: context.endpointId, mailboxId, epoch };
};

const nothing: MaildropPassResult = { again: false, waiting: false, created: 0, readOnce: true };

/** Compares a listing with what is bound, and with the complete listing before for what is out of view (G9). */
const readListing = (
  memory: MaildropMemory,
  { complete, items }: MaildropListing,
  known: readonly BoundItem[],
): MaildropReading => {
  const seen = { known, listed: items, sizesCount: true };
  if (!complete) return readMaildrop({ ...seen, slid: new Set() });
  const listed = items.map(keyOf);
  const { window, slid } = readWindow({ before: memory.mark, listed, known: known.map(keyOf), window: memory.window });
  memory.mark = { count: listed.length, oldest: listed.slice(0, markedKeys), retrieved: new Set() };
  memory.window = window;
  return readMaildrop({ ...seen, slid });
};

/**
 * What of a listing is known, and the epoch in which its ids hold: a new one where they mean nothing any more (ID-9).
 * @returns null where that cannot be told from an incomplete listing.
 */
const readEpoch = async (
  { context, session, memory }: MaildropPassInput,
  look: Look,
  { bound }: Maildrop,
  listing: MaildropListing,
): Promise<{ readonly scope: Scope; readonly reading: MaildropReading } | null> => {
  let reading = readListing(memory, listing, bound);
  if (reading.newEpoch === null && Date.now() - memory.verifiedAt >= verifyMs) {
    memory.verifiedAt = Date.now();
    const same = reading.same.map(
      ({ known, listed }) => [bound[known] as BoundItem, listing.items[listed] as MaildropItem] as const,
    );
    if (!(await stillHold(look, same))) reading = readAnew(listing.items, "id_reused");
  }
  if (reading.newEpoch === null) return { scope: look.scope, reading };
  if (!listing.complete) return null;
  memory.heads.clear();
  memory.unshown = null;
  session.forgetUidls();
  return { scope: await startEpoch(context, look.scope, reading.newEpoch), reading };
};

/**
 * Items that a complete listing lacks: bound ones, and those of epochs before that no item of it continues (ID-9). `unknown`:
 * so many listed items are not known yet.
 */
const listMissing = async (
  { context, memory }: MaildropPassInput,
  { epoch }: Scope,
  {
    bound,
    reading,
    unknown,
  }: { readonly bound: readonly BoundItem[]; readonly reading: MaildropReading; readonly unknown: number },
): Promise<readonly BoundItem[]> => {
  const gone = reading.gone.map((index) => bound[index] as BoundItem);
  if (epoch === 0 || unknown > 0 || memory.window !== null) return gone;
  return [...gone, ...(await listLeftOver(context.db, context.accountId, context.endpointId))];
};

/** So many items at most are looked for under other ids: where more changed all of them did (ID-9). */
const mostRenumbered = 1_000;

/** Bound items that may be what the same listing shows under another id: moved away and back, they have a new one. */
const renumberedOf = (
  { complete }: MaildropListing,
  { bound, reading }: { readonly bound: readonly BoundItem[]; readonly reading: MaildropReading },
): readonly BoundItem[] =>
  complete && reading.fresh.length > 0 && reading.gone.length <= mostRenumbered
    ? reading.gone.map((index) => bound[index] as BoundItem)
    : [];

/** Nothing is listed, and was not for long enough to be believed (G4). */
const isEmptyAtFirst = ({ emptySince }: MaildropMemory): boolean => emptySince > 0 && Date.now() - emptySince < emptyMs;

/** Lists the maildrop, and tells what it shows. */
const list = async ({ session, memory, onListed, signal }: MaildropPassInput): Promise<MaildropListing> => {
  const listing = await session.list(signal);
  const { complete, items } = listing;
  memory.emptySince = complete && items.length === 0 ? memory.emptySince || Date.now() : 0;
  if (complete && !isEmptyAtFirst(memory)) onListed(new Set(items.map(keyOf)));
  return listing;
};

/** The maildrop as it is bound, after the ends of our own removals are known (V1). Null: it has no mailbox yet. */
const loadScope = async (
  input: MaildropPassInput,
  listing: MaildropListing,
): Promise<{ readonly maildrop: Maildrop; readonly scope: Scope | null; readonly removing: boolean }> => {
  const { context, memory } = input;
  const maildrop = await loadMaildrop(context.db, context.accountId, context.endpointId);
  const scope = await scopeFor(input, maildrop);
  if (scope === null) return { maildrop, scope, removing: false };
  const { open, ended } = await settleRemovals(context, scope, { listing, doubtful: isEmptyAtFirst(memory) });
  if (!ended) return { maildrop, scope, removing: open > 0 };
  // What we took away ourselves tells nothing of what the server shows.
  memory.mark = null;
  return { maildrop: await loadMaildrop(context.db, context.accountId, context.endpointId), scope, removing: open > 0 };
};

/** What could not be read is tried again when its time has come. @returns whether there is such */
const forgetRefusals = ({ refusedUntil }: MaildropMemory): boolean => {
  const due = [...refusedUntil].filter(([, until]) => until <= Date.now());
  for (const [key] of due) refusedUntil.delete(key);
  return due.length > 0;
};

/** Nothing is listed but what was never had and cannot be read. */
const isUnreadable = ({ refusedUntil }: MaildropMemory, { same }: MaildropReading, listed: readonly MaildropItem[]): boolean =>
  listed.length > 0 && same.length === 0 && listed.every((item) => refusedUntil.has(keyOf(item)));

/** ID-9b: bindings of duplicates follow the numbers that the server gave anew. */
const followRenames = (
  context: MaildropContext,
  scope: Scope,
  { renamed }: MaildropReading,
  { bound, listed }: { readonly bound: readonly BoundItem[]; readonly listed: readonly MaildropItem[] },
): Promise<void> =>
  renameItems(
    context,
    scope,
    renamed.map(({ known, listed: to }) => ({ from: bound[known] as BoundItem, to: listed[to] as MaildropItem })),
  );

/** Reads what is wanted, as far as a session lets it; what cannot be read is put aside, with a stub in its place. */
const readWanted = async (
  input: MaildropPassInput,
  scope: Scope,
  {
    wanted,
    lacked,
    readOnce,
    ...reached
  }: {
    readonly wanted: readonly MaildropItem[];
    readonly lacked: readonly BoundItem[];
    readonly readOnce: boolean;
    readonly had: number;
    readonly total: number;
  },
): Promise<{ readonly bound: number; readonly created: number }> => {
  const { context, session, memory, imap, signal } = input;
  const came = { after: memory.lookedAt, before: Date.now() };
  const first = readOnce ? null : reached;
  const refused: MaildropItem[] = [];
  const putAside = (item: MaildropItem): void => {
    memory.refusedUntil.set(keyOf(item), Date.now() + refusedMs);
    // What IMAP is going to bring needs no stub.
    if (imap === "none") refused.push(item);
  };
  const read = await readWhole({ context, session, scope, imap, first, lacked, came, putAside, signal }, wanted);
  const stubs = await commitStubs(input, scope, refused, first === null ? "delivered" : "backfilled");
  if (memory.mark !== null) memory.mark = { ...memory.mark, retrieved: read.retrieved };
  return { bound: read.bound + stubs, created: read.created + stubs };
};

/** Octets that were never had, or are had no more, where IMAP does not bring them. @returns whether some were never had. */
const readMissing = async (input: MaildropPassInput, scope: Scope, listed: readonly MaildropItem[]): Promise<boolean> => {
  const { context, session, memory, imap, signal } = input;
  if (imap !== "none") return false;
  if (memory.seekLost) await rereadLostItems(context, session, listed, signal);
  memory.seekLost = false;
  return readStubs({ ...input, refusedUntil: memory.refusedUntil }, scope, listed);
};

/** One session's look. */
export const runMaildropPass = async (input: MaildropPassInput): Promise<MaildropPassResult> => {
  const { context, session, memory, imap, signal } = input;
  const listing = await list(input);
  const print = printOf(listing);
  const retry = forgetRefusals(memory);
  if (print === memory.settledPrint && !retry && Date.now() - memory.verifiedAt < verifyMs) {
    if (memory.mark !== null) memory.mark = { ...memory.mark, retrieved: new Set() };
    return nothing;
  }
  memory.settledPrint = "";
  const { maildrop, scope: found, removing } = await loadScope(input, listing);
  const { uidValidity, readOnce, headSeq } = maildrop;
  const listed = listing.items;
  if (found === null) return { ...nothing, waiting: true, readOnce };
  const look = { context, session, scope: found, uidValidity, total: listed.length, imap, memory, headSeq, signal };
  const epoch = await readEpoch(input, look, maildrop, listing);
  if (epoch === null) return { ...nothing, waiting: true, readOnce };
  const { scope, reading } = epoch;
  await followRenames(context, scope, reading, { bound: maildrop.bound, listed });
  const completed = await readMissing(input, scope, listed);
  const open = (item: MaildropItem): boolean => !memory.refusedUntil.has(keyOf(item));
  const fresh = reading.fresh.map((index) => listed[index] as MaildropItem).filter(open);
  const { unmatched, ambiguous, bound } = await bindKnown({ ...look, scope }, fresh);
  // Newest first; what IMAP is going to bring is not read here (K10).
  const wanted = [...ambiguous, ...(imap === "read" ? [] : unmatched)].toSorted((a, b) => b.number - a.number);
  const had = listed.length - reading.fresh.length + bound;
  const lacked = renumberedOf(listing, { bound: maildrop.bound, reading });
  const shown = await readWanted(input, scope, {
    wanted,
    lacked: imap === "none" ? lacked : [],
    readOnce,
    had,
    total: listed.length,
  });
  const alone = await readLacked(input, scope, lackedLong(input, unmatched));
  const read = { bound: shown.bound + alone.bound, created: shown.created + alone.created };
  const unknown = reading.fresh.length - bound - read.bound;
  const missing = listing.complete ? await listMissing(input, scope, { bound: maildrop.bound, reading, unknown }) : [];
  const slid = reading.slid.map((index) => maildrop.bound[index] as BoundItem);
  const doubtful = isUnreadable(memory, reading, listed);
  const lacks = {
    gone: missing,
    slid,
    bound: maildrop.bound.length,
    empty: listed.length === 0,
    doubtful,
    complete: listing.complete,
  };
  const waiting = (await settleGone(input, scope, lacks)) || removing;
  const again = wanted.length > shown.bound && shown.bound > 0;
  if (!again && !readOnce && listing.complete) await endFirstReading(context, scope, listed.length);
  const unbound = fresh.length - bound - read.bound;
  if (unbound === 0 && !waiting) memory.settledPrint = print;
  const created = read.created + (completed ? 1 : 0);
  return { again, waiting: waiting || (unbound > 0 && !again), created, readOnce: !again };
};
