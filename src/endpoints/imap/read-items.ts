/**
 * Messages with their octets on a session's own connection. No command brings more than a bounded number of octets: long
 * messages are read on in chunks, into a spool file.
 */
import { SyncError } from "../../model/failure.ts";
import type { FetchedItem } from "../../model/observation.ts";
import type { Octets } from "../../model/octets.ts";
import type { EndpointLimits } from "../endpoint.ts";
import { memoryOctets, startOctets } from "../octets.ts";
import { examine } from "./examine.ts";
import { idItemsOf } from "./object-ids.ts";
import { type FetchLine, fetchLineOf, type Line, uidsOf } from "./tokens.ts";
import { searchUids } from "./uid-search.ts";
import { refusalOf, type Wire } from "./wire.ts";

/** Asked for with the rest of the line; longer messages are read on in chunks. */
export const firstBytes = 256 * 1024;
const chunkBytes = 2 * 1024 * 1024;
/** What a message is taken to weigh where its size is not known yet. */
export const usualBytes = 64 * 1024;
export const commandMs = 120_000;
/** Slowest line we put up with, in octets per millisecond (10 KB/s). */
const slowestBytesPerMs = 10;

const atom = (value: string) => ({ type: "ATOM", value });
const sequence = (value: string) => ({ type: "SEQUENCE", value });
const bodyPart = (from: number, count: number) => ({ type: "ATOM", value: "BODY.PEEK", section: [], partial: [from, count] });

/** Why octets are missing, as it is shown. */
export const unavailable = {
  nil: "The server lists this message but gives no content for it.",
  missing: "The server lists this message but leaves it out of its answers.",
  tooLarge: "This message is larger than this installation accepts.",
} as const;

export interface Reading {
  readonly path: string;
  readonly uidValidity: number;
  readonly limits: EndpointLimits;
  readonly signal: AbortSignal;
}

const otherEpoch = (): SyncError =>
  new SyncError("transient", "mailbox", {
    code: "mailbox_renumbered",
    message: "The server has numbered this mailbox anew since it was looked at.",
    action: "Nothing; it is looked at again.",
  });

/** Selects the mailbox unless it is selected and its view reaches as far as `upTo`. */
export const openFor = async (wire: Wire, reading: Reading, upTo: number): Promise<void> => {
  const { view } = wire;
  if (view?.path === reading.path && view.uidValidity === reading.uidValidity && upTo < view.uidNext) return;
  const opened = await examine(wire, reading.path, null, reading.signal);
  if (opened.view.uidValidity !== reading.uidValidity) throw otherEpoch();
};

const msFor = (bytes: number): number => commandMs + bytes / slowestBytesPerMs;

export const setOf = (uids: readonly number[]): string => {
  const parts: string[] = [];
  for (let index = 0; index < uids.length; index++) {
    const from = uids[index] ?? 0;
    while (uids[index + 1] === (uids[index] ?? 0) + 1) index++;
    const to = uids[index] ?? from;
    parts.push(from === to ? `${from}` : `${from}:${to}`);
  }
  return parts.join(",");
};

const merge = (known: FetchLine | undefined, line: FetchLine): FetchLine =>
  known === undefined
    ? line
    : {
        uid: line.uid,
        flags: line.flags ?? known.flags,
        modseq: line.modseq ?? known.modseq,
        size: line.size ?? known.size,
        internalDate: line.internalDate ?? known.internalDate,
        objectId: line.objectId ?? known.objectId,
        body: line.body === undefined ? known.body : line.body,
      };

interface Asked {
  /** Sequence set of UIDs. */
  readonly set: string;
  /** UIDs in it. */
  readonly count: number;
  /** Octets it is expected to bring; for the deadline. */
  readonly bytes: number;
}

/** One FETCH of many messages; lines of other messages are somebody's news. */
const fetchLines = async (
  wire: Wire,
  reading: Reading,
  { set, bytes }: Asked,
): Promise<{ lines: Map<number, FetchLine>; whole: boolean }> => {
  const wanted = new Set(uidsOf({ type: "SEQUENCE", value: set }, { from: 1, to: 0xffffffff }));
  const numbered = wire.view !== null && wire.view.highestModseq !== null;
  const lines = new Map<number, FetchLine>();
  const FETCH = (line: Line): Promise<void> => {
    const facts = fetchLineOf(line);
    if (facts.uid === null || !wanted.has(facts.uid)) wire.changed(line);
    else lines.set(facts.uid, merge(lines.get(facts.uid), facts));
    return Promise.resolve();
  };
  const items = ["UID", "FLAGS", "INTERNALDATE", "RFC822.SIZE", ...(numbered ? ["MODSEQ"] : []), ...idItemsOf(wire.objectIds)];
  const attributes = [sequence(set), [...items.map(atom), bodyPart(0, firstBytes)]];
  const { whole } = await wire.command("UID FETCH", attributes, {
    untagged: { FETCH },
    ms: msFor(bytes),
    signal: reading.signal,
  });
  return { lines, whole };
};

/**
 * Lines of all messages of a set, by UID. What a server leaves out of an answer is asked for again in halves, down to the
 * single message it will not give; that one has no line here but stands in `missing`.
 */
const readLines = async (
  wire: Wire,
  reading: Reading,
  asked: Asked,
): Promise<{ lines: Map<number, FetchLine>; missing: number[] }> => {
  let lines = new Map<number, FetchLine>();
  let whole = false;
  try {
    ({ lines, whole } = await fetchLines(wire, reading, asked));
  } catch (error) {
    const refusal = refusalOf(error);
    if (refusal === null || refusal.throttled) throw error;
  }
  if (whole && lines.size === asked.count) return { lines, missing: [] };
  const listed = (await searchUids(wire, [atom("UID"), sequence(asked.set)], { ms: commandMs, signal: reading.signal })).uids;
  const left = listed.filter((uid) => !lines.has(uid));
  if (left.length === 0) return { lines, missing: [] };
  if (asked.count === 1) return { lines, missing: left };
  const missing: number[] = [];
  const half = Math.ceil(left.length / 2);
  for (const part of [left.slice(0, half), left.slice(half)]) {
    if (part.length === 0) continue;
    const more = await readLines(wire, reading, { set: setOf(part), count: part.length, bytes: part.length * usualBytes });
    for (const [uid, line] of more.lines) lines.set(uid, line);
    missing.push(...more.missing);
  }
  return { lines, missing };
};

/** The next chunk of a message's octets; null when the server does not give it. */
const fetchChunk = async (wire: Wire, reading: Reading, uid: number, from: number): Promise<Buffer | null> => {
  let body: Buffer | null = null;
  const FETCH = (line: Line): Promise<void> => {
    const facts = fetchLineOf(line);
    if (facts.uid === uid && facts.body !== undefined) body = facts.body;
    else wire.changed(line);
    return Promise.resolve();
  };
  const attributes = [sequence(`${uid}`), [atom("UID"), bodyPart(from, chunkBytes)]];
  await wire.command("UID FETCH", attributes, { untagged: { FETCH }, ms: msFor(chunkBytes), signal: reading.signal });
  return body;
};

type Content = { readonly octets: Octets; readonly unavailable: null } | { readonly octets: null; readonly unavailable: string };

const without = (reason: string): Content => ({ octets: null, unavailable: reason });

/** Reads on behind the first octets, into a spool file. */
const readLarge = async (wire: Wire, reading: Reading, uid: number, line: FetchLine, first: Buffer): Promise<Content> => {
  const { limits } = reading;
  const writer = startOctets({ size: line.size, spoolDir: limits.spoolDir });
  let done = false;
  try {
    await writer.write(first);
    for (let at = first.length; ;) {
      const chunk = await fetchChunk(wire, reading, uid, at);
      // A server that ignores the bounds sends the message anew, which can only be told by its length.
      if (chunk === null || chunk.length > chunkBytes) return without(unavailable.nil);
      at += chunk.length;
      if (at > limits.maxMessageBytes) return without(unavailable.tooLarge);
      if (chunk.length > 0) await writer.write(chunk);
      if (chunk.length === chunkBytes) continue;
      done = true;
      return { octets: await writer.finish(), unavailable: null };
    }
  } finally {
    if (!done) await writer.abort();
  }
};

const contentOf = async (wire: Wire, reading: Reading, uid: number, line: FetchLine): Promise<Content> => {
  const { body } = line;
  const { maxMessageBytes } = reading.limits;
  if ((line.size ?? 0) > maxMessageBytes || (body?.length ?? 0) > maxMessageBytes) return without(unavailable.tooLarge);
  if (body === null || body === undefined) return without(unavailable.nil);
  // Exactly what was asked for may be all of it or the beginning.
  return body.length === firstBytes
    ? readLarge(wire, reading, uid, line, body)
    : { octets: memoryOctets(body), unavailable: null };
};

const noLine: FetchLine = {
  uid: null,
  flags: null,
  modseq: null,
  size: null,
  internalDate: null,
  objectId: null,
  body: null,
};

/** The items of a set, ascending. To be called in a turn of the connection's. */
export const readItems = async (
  wire: Wire,
  reading: Reading,
  asked: Asked & { readonly upTo: number },
): Promise<FetchedItem[]> => {
  await openFor(wire, reading, asked.upTo);
  const { lines, missing } = await readLines(wire, reading, asked);
  const items: FetchedItem[] = [];
  try {
    for (const uid of [...lines.keys(), ...missing].sort((a, b) => a - b)) {
      const line = lines.get(uid);
      const content = line === undefined ? without(unavailable.missing) : await contentOf(wire, reading, uid, line);
      const { flags, modseq, internalDate, objectId, size } = line ?? noLine;
      items.push({ uid, flags: flags ?? [], modseq, internalDate: internalDate ?? new Date(0), objectId, size, ...content });
    }
  } catch (error) {
    await Promise.all(items.map(async (item) => item.octets?.dispose()));
    throw error;
  }
  return items;
};
