/**
 * Header blocks on a session's own connection, each command a turn of its own: what tells which mail an item is where its
 * octets may be had already. Marks nothing as read.
 */
import type { HeadItem, HeadsRequest, UidRange } from "../../model/observation.ts";
import type { EndpointLimits } from "../endpoint.ts";
import { idItemsOf } from "./object-ids.ts";
import { commandMs, openFor, type Reading } from "./read-items.ts";
import { fetchLineOf, type Line } from "./tokens.ts";
import type { Wire } from "./wire.ts";

/** A longer header block tells nothing here. */
const headBytes = 64 * 1024;
/** Messages asked for at once, as far as their numbers tell. */
const headsAtOnce = 500;
/** Ranges in one command, whose line a server may bound. */
const rangesAtOnce = 64;

const atom = (value: string) => ({ type: "ATOM", value });
/** One octet more than is taken, so that a block that was cut off can be told. */
const headerPart = { ...atom("BODY.PEEK"), section: [atom("HEADER")], partial: [0, headBytes + 1] };

const noHead = Buffer.alloc(0);

interface Window {
  readonly items: readonly HeadItem[];
  /** What was not asked for yet. */
  readonly left: readonly UidRange[];
}

/** The next so many numbers of the ranges, in their order, and the rest of them. */
const cutRanges = (ranges: readonly UidRange[], width: number): { readonly taken: UidRange[]; readonly left: UidRange[] } => {
  const taken: UidRange[] = [];
  let room = width;
  for (const [at, { from, to }] of ranges.entries()) {
    if (room === 0 || taken.length === rangesAtOnce) return { taken, left: ranges.slice(at) };
    const last = Math.min(to, from + room - 1);
    taken.push({ from, to: last });
    room -= last - from + 1;
    if (last < to) return { taken, left: [{ from: last + 1, to }, ...ranges.slice(at + 1)] };
  }
  return { taken, left: [] };
};

/** Reads on from the beginning of the ranges: as many numbers as are about so many messages, for most may stand for none. */
const readWindow = async (wire: Wire, reading: Reading, ranges: readonly UidRange[], bare: boolean): Promise<Window> => {
  await openFor(
    wire,
    reading,
    ranges.reduce((last, { to }) => Math.max(last, to), 0),
  );
  const { exists = 0, uidNext = 1 } = wire.view ?? {};
  const width = Math.max(headsAtOnce, Math.ceil((headsAtOnce * (uidNext - 1)) / Math.max(1, exists)));
  const { taken, left } = cutRanges(ranges, width);
  const isAsked = (uid: number): boolean => taken.some(({ from, to }) => uid >= from && uid <= to);
  const numbered = wire.view !== null && wire.view.highestModseq !== null;
  const items = new Map<number, HeadItem>();
  const FETCH = (line: Line): Promise<void> => {
    const { uid, flags, modseq, size, internalDate, objectId, body } = fetchLineOf(line);
    const head = bare ? noHead : body;
    // News of flags come in between; whoever follows the mailbox hears of them.
    if (uid === null || !isAsked(uid) || flags === null || size === null || internalDate === null || !head) wire.changed(line);
    else if (head.length <= headBytes) items.set(uid, { uid, flags, modseq, size, internalDate, objectId, head });
    return Promise.resolve();
  };
  const wanted = ["UID", "FLAGS", "INTERNALDATE", "RFC822.SIZE", ...(numbered ? ["MODSEQ"] : []), ...idItemsOf(wire.objectIds)];
  const value = taken.map(({ from, to }) => (from === to ? `${from}` : `${from}:${to}`)).join(",");
  const attributes = [{ type: "SEQUENCE", value }, [...wanted.map(atom), ...(bare ? [] : [headerPart])]];
  await wire.command("UID FETCH", attributes, { untagged: { FETCH }, ms: commandMs, signal: reading.signal });
  return { items: [...items.values()], left };
};

/** As {@link Session.heads} promises. @throws SyncError */
export async function* readHeads(
  turn: <T>(work: (wire: Wire) => Promise<T>) => Promise<T>,
  { path, uidValidity, ranges, bare = false }: HeadsRequest,
  options: { readonly limits: EndpointLimits; readonly signal: AbortSignal },
): AsyncGenerator<readonly HeadItem[]> {
  const reading: Reading = { path, uidValidity, ...options };
  for (let left = ranges.filter(({ from, to }) => from <= to); left.length > 0;) {
    const window = await turn((wire) => readWindow(wire, reading, left, bare));
    yield window.items;
    left = [...window.left];
  }
}
