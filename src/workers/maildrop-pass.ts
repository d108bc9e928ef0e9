/**
 * One short look into a maildrop (semantics 1.9 G2–G4, 5.1): list, bind what is known, read what is not, newest first, and
 * decide about what two listings lack. What is bound is never read again, so that a crash costs the batch under way.
 */
import { createHash } from "node:crypto";
import type { MaildropItem, MaildropListing, MaildropSession } from "../endpoints/endpoint.ts";
import { fingerprintOfHead } from "../mime/fingerprint.ts";
import type { ListingWindow } from "../model/maildrop.ts";
import { batchBytes, batchMessages } from "../model/observation.ts";
import { identify, type UnknownItem } from "../reconciler/identify.ts";
import { type ListingMark, markedKeys, readWindow } from "../reconciler/listing-window.ts";
import { keyOf, type MaildropReading, readMaildrop } from "../reconciler/maildrop.ts";
import type { Scope } from "../reconciler/state.ts";
import { type BoundItem, loadClaims, loadMaildrop, type Maildrop } from "../store/maildrops.ts";
import {
  commitGone,
  commitKnown,
  commitRead,
  endFirstReading,
  hashInbox,
  makeMailboxes,
  type MaildropContext,
  renameItems,
  startEpoch,
  type WholeItem,
} from "./maildrop-commit.ts";

type Head = NonNullable<UnknownItem["head"]>;

/** What a lane remembers between looks. */
export interface MaildropMemory {
  /** Of the last listing after which nothing was left to do; "" where something was. */
  settledPrint: string;
  /** The last complete listing, and the part of the maildrop that listings show as far as was seen. */
  mark: ListingMark | null;
  window: ListingWindow | null;
  /** When a complete listing first lacked a bound item, in ms since 1970. */
  readonly missingSince: Map<string, number>;
  /** Header hashes of items that IMAP has not shown yet. */
  readonly heads: Map<string, Head>;
  /** When an item that could not be read is tried again, in ms since 1970. */
  readonly refusedUntil: Map<string, number>;
}

/** `none`: the account has no IMAP endpoint. `read`: all of its mail was read over IMAP before this look. */
export type ImapSide = "none" | "read";

export interface MaildropPassInput {
  readonly context: MaildropContext;
  readonly session: MaildropSession;
  readonly memory: MaildropMemory;
  readonly imap: ImapSide;
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

/** Sessions are short (K6): so much is read in one, then it ends and the next begins. */
const sessionItems = 4_000;
const sessionMs = 20_000;
/** Before an empty listing is believed (G4), in ms. */
const emptyMs = 60_000;
/** Before an item that could not be read is tried again, in ms. */
const refusedMs = 3_600_000;

const printOf = ({ complete, items }: MaildropListing): string => {
  const hash = createHash("sha256").update(complete ? "complete\n" : "partial\n");
  for (const { uidl, occurrence, size } of items) hash.update(`${occurrence} ${size} ${uidl}\n`);
  return hash.digest("base64");
};

/** Remembers the hashes of the header blocks of `items`; what could not be read is left out. */
const readHeads = async ({ session, memory, signal }: MaildropPassInput, items: readonly MaildropItem[]): Promise<void> => {
  const unread = items.filter((item) => !memory.heads.has(keyOf(item)));
  for await (const { item, octets } of session.heads(unread, signal)) {
    if (octets === null) continue;
    const parts: Buffer[] = [];
    for await (const part of octets.parts()) parts.push(part);
    const { hHead, dropped } = fingerprintOfHead(Buffer.concat(parts));
    memory.heads.set(keyOf(item), { hHead: hHead.toString("hex"), dropped });
    await octets.dispose();
  }
};

/** Binds what is known by its header block (L4). @returns the items that are left, those that have to be read first. */
const bindByHeads = async (
  input: MaildropPassInput,
  scope: Scope,
  fresh: readonly MaildropItem[],
): Promise<{
  readonly unmatched: readonly MaildropItem[];
  readonly ambiguous: readonly MaildropItem[];
  readonly bound: number;
}> => {
  const { context, memory, imap } = input;
  if (fresh.length === 0) return { unmatched: [], ambiguous: [], bound: 0 };
  if (imap === "read") await hashInbox(context, scope.mailboxId, input.signal);
  const { claimable: all, views } = await loadClaims(context.db, context.accountId, {
    endpointId: scope.endpointId,
    inbox: scope.mailboxId,
    hashes: null,
  });
  // Of what IMAP does not show IMAP decides (K9).
  const claimable = imap === "read" ? all.filter(({ standing }) => standing === "imap") : all;
  if (claimable.length === 0) return { unmatched: fresh, ambiguous: [], bound: 0 };
  await readHeads(input, fresh);
  const items = fresh.map(({ uidl, occurrence, size }): UnknownItem => {
    const head = memory.heads.get(keyOf({ uidl, occurrence })) ?? null;
    return { uidl, occurrence, size, meaning: null, head, body: null };
  });
  const { items: identified } = identify({ items, claimable, known: new Map(), imap: "none", regenerated: false });
  const bound = await commitKnown(context, scope, { items, identified, views });
  const isAmbiguous = (index: number): boolean => {
    const found = identified[index];
    return found?.kind === "body" && found.because === "ambiguous";
  };
  for (const [index, item] of items.entries()) if (identified[index]?.kind === "bind") memory.heads.delete(keyOf(item));
  const left = [...fresh.entries()].filter(([index]) => identified[index]?.kind !== "bind");
  return {
    unmatched: left.flatMap(([index, item]) => (isAmbiguous(index) ? [] : [item])),
    ambiguous: left.flatMap(([index, item]) => (isAmbiguous(index) ? [item] : [])),
    bound,
  };
};

interface Reading {
  readonly scope: Scope;
  readonly maildrop: Maildrop;
  /** Listed items that are bound already. */
  readonly had: number;
  readonly total: number;
}

/** Reads whole messages and stores them batch by batch. */
const readWhole = async (
  input: MaildropPassInput,
  { scope, maildrop, had, total }: Reading,
  items: readonly MaildropItem[],
): Promise<{ readonly bound: number; readonly created: number }> => {
  const { context, session, memory, signal } = input;
  const began = Date.now();
  const mayCreate = input.imap === "none";
  const sums = { bound: 0, created: 0 };
  const retrieved = new Set<string>();
  let batch: WholeItem[] = [];
  let bytes = 0;
  const flush = async (): Promise<void> => {
    const whole = batch;
    batch = [];
    bytes = 0;
    try {
      if (whole.length === 0) return;
      const { bound, created } = await commitRead(context, whole, {
        scope,
        reason: maildrop.readOnce ? "delivered" : "backfilled",
        mayCreate,
        progress: maildrop.readOnce ? null : { done: had + sums.bound + whole.length, total },
      });
      sums.bound += bound;
      sums.created += created;
    } finally {
      await Promise.all(whole.map(({ octets }) => octets.dispose()));
    }
  };
  try {
    for await (const read of session.octets(items, { mayMark: mayCreate }, signal)) {
      if (read.error !== null) {
        context.log.warn({ failure: read.error.kind, scope: read.error.scope, err: read.error }, "item put aside");
        memory.refusedUntil.set(keyOf(read.item), Date.now() + refusedMs);
        continue;
      }
      if (session.profile.wholeBy === "retr") retrieved.add(keyOf(read.item));
      batch.push(read);
      bytes += read.octets.size;
      if (batch.length >= batchMessages || bytes >= batchBytes) await flush();
      if (Date.now() - began >= sessionMs) break;
    }
    await flush();
    if (memory.mark !== null) memory.mark = { ...memory.mark, retrieved };
  } finally {
    await Promise.all(batch.map(({ octets }) => octets.dispose()));
  }
  return sums;
};

/** Items that are gone in two complete listings, an empty one at least a minute apart (G4). */
const settleGone = async (
  { context, memory }: MaildropPassInput,
  scope: Scope,
  look: {
    readonly gone: readonly BoundItem[];
    readonly slid: readonly BoundItem[];
    readonly bound: number;
    readonly empty: boolean;
  },
): Promise<boolean> => {
  const { bound, slid } = look;
  // Nothing follows from it but that the binding ends, so that one look is enough.
  if (slid.length > 0) await commitGone(context, scope, { gone: slid, bound, outsideWindow: true });
  const now = Date.now();
  const before = new Map(memory.missingSince);
  memory.missingSince.clear();
  for (const item of look.gone) memory.missingSince.set(keyOf(item), before.get(keyOf(item)) ?? now);
  if (look.gone.length === 0) return false;
  const seenTwice = look.gone.filter((item) => {
    const since = before.get(keyOf(item));
    return since !== undefined && (!look.empty || now - since >= emptyMs);
  });
  const open = seenTwice.length > 0 && (await commitGone(context, scope, { gone: seenTwice, bound, outsideWindow: false }));
  return open || seenTwice.length < look.gone.length;
};

const scopeFor = async ({ context, imap }: MaildropPassInput, { epoch, inbox }: Maildrop): Promise<Scope | null> => {
  const mailboxId = inbox ?? (imap === "none" ? await makeMailboxes(context) : null);
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

/** One session's look. */
export const runMaildropPass = async (input: MaildropPassInput): Promise<MaildropPassResult> => {
  const { context, session, memory, signal } = input;
  const listing = await session.list(signal);
  const print = printOf(listing);
  if (print === memory.settledPrint) {
    if (memory.mark !== null) memory.mark = { ...memory.mark, retrieved: new Set() };
    return nothing;
  }
  memory.settledPrint = "";
  const maildrop = await loadMaildrop(context.db, context.accountId, context.endpointId);
  let scope = await scopeFor(input, maildrop);
  if (scope === null) return { ...nothing, waiting: true, readOnce: maildrop.readOnce };
  const listed = listing.items;
  const reading = readListing(memory, listing, maildrop.bound);
  if (reading.newEpoch !== null) {
    memory.heads.clear();
    if (!listing.complete) return { ...nothing, waiting: true, readOnce: maildrop.readOnce };
    scope = await startEpoch(context, scope, reading.newEpoch);
  }
  await renameItems(
    context,
    scope,
    reading.renamed.map(({ known, listed: to }) => ({
      from: maildrop.bound[known] as BoundItem,
      to: listed[to] as MaildropItem,
    })),
  );
  const now = Date.now();
  const open = (item: MaildropItem): boolean => (memory.refusedUntil.get(keyOf(item)) ?? 0) <= now;
  const fresh = reading.fresh.map((index) => listed[index] as MaildropItem).filter(open);
  const { unmatched, ambiguous, bound } = await bindByHeads(input, scope, fresh);
  // Newest first; what IMAP is going to bring is not read here (K10).
  const wanted = [...ambiguous, ...(input.imap === "none" ? unmatched : [])].toSorted((a, b) => b.number - a.number);
  const had = listed.length - reading.fresh.length + bound;
  const slice = wanted.slice(0, sessionItems);
  const read = await readWhole(input, { scope, maildrop, had, total: listed.length }, slice);
  const known = (index: number): BoundItem => maildrop.bound[index] as BoundItem;
  const gone = listing.complete ? reading.gone.map(known) : [];
  const look = { bound: maildrop.bound.length, empty: listed.length === 0 };
  const waiting = await settleGone(input, scope, { ...look, gone, slid: reading.slid.map(known) });
  const isOver = Date.now();
  const left = wanted.filter((item) => (memory.refusedUntil.get(keyOf(item)) ?? 0) <= isOver).length - read.bound;
  const again = left > 0 && read.bound > 0;
  if (!again && !maildrop.readOnce && listing.complete) await endFirstReading(context, scope, listed.length);
  const unbound = fresh.length - bound - read.bound;
  if (unbound === 0 && !waiting && memory.refusedUntil.size === 0) memory.settledPrint = print;
  return { again, waiting: waiting || (unbound > 0 && !again), created: read.created, readOnce: !again };
};
