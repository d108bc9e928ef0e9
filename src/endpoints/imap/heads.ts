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

const atom = (value: string) => ({ type: "ATOM", value });
/** One octet more than is taken, so that a block that was cut off can be told. */
const headerPart = { ...atom("BODY.PEEK"), section: [atom("HEADER")], partial: [0, headBytes + 1] };

const noHead = Buffer.alloc(0);

interface Window {
  readonly items: readonly HeadItem[];
  /** The last UID that was asked for. */
  readonly to: number;
}

/** Reads on from the beginning of a range: as many numbers as are about so many messages, for most may stand for none. */
const readWindow = async (wire: Wire, reading: Reading, range: UidRange, bare: boolean): Promise<Window> => {
  const { from } = range;
  await openFor(wire, reading, range.to);
  const { exists = 0, uidNext = 1 } = wire.view ?? {};
  const width = Math.max(headsAtOnce, Math.ceil((headsAtOnce * (uidNext - 1)) / Math.max(1, exists)));
  const to = Math.min(range.to, from + width - 1);
  const numbered = wire.view !== null && wire.view.highestModseq !== null;
  const items = new Map<number, HeadItem>();
  const FETCH = (line: Line): Promise<void> => {
    const { uid, flags, modseq, size, internalDate, objectId, body } = fetchLineOf(line);
    const head = bare ? noHead : body;
    // News of flags come in between; whoever follows the mailbox hears of them.
    if (uid === null || uid < from || uid > to || flags === null || size === null || internalDate === null || !head)
      wire.changed(line);
    else if (head.length <= headBytes) items.set(uid, { uid, flags, modseq, size, internalDate, objectId, head });
    return Promise.resolve();
  };
  const wanted = ["UID", "FLAGS", "INTERNALDATE", "RFC822.SIZE", ...(numbered ? ["MODSEQ"] : []), ...idItemsOf(wire.objectIds)];
  const attributes = [{ type: "SEQUENCE", value: `${from}:${to}` }, [...wanted.map(atom), ...(bare ? [] : [headerPart])]];
  await wire.command("UID FETCH", attributes, { untagged: { FETCH }, ms: commandMs, signal: reading.signal });
  return { items: [...items.values()], to };
};

/** As {@link Session.heads} promises. @throws SyncError */
export async function* readHeads(
  turn: <T>(work: (wire: Wire) => Promise<T>) => Promise<T>,
  { path, uidValidity, ranges, bare = false }: HeadsRequest,
  options: { readonly limits: EndpointLimits; readonly signal: AbortSignal },
): AsyncGenerator<readonly HeadItem[]> {
  const reading: Reading = { path, uidValidity, ...options };
  for (const { from, to } of ranges)
    for (let next = from; next <= to;) {
      const window = await turn((wire) => readWindow(wire, reading, { from: next, to }, bare));
      yield window.items;
      next = window.to + 1;
    }
}
