/**
 * Header blocks on a session's own connection, each command a turn of its own: what tells which mail an item is where its
 * octets may be had already. Marks nothing as read.
 */
import type { FetchRequest, HeadItem, UidRange } from "../../model/observation.ts";
import type { EndpointLimits } from "../endpoint.ts";
import { commandMs, openFor, type Reading } from "./read-items.ts";
import { fetchLineOf, type Line } from "./tokens.ts";
import type { Wire } from "./wire.ts";

/** A longer header block tells nothing here. */
const headBytes = 64 * 1024;
const uidsAtOnce = 500;

const atom = (value: string) => ({ type: "ATOM", value });
/** One octet more than is taken, so that a block that was cut off can be told. */
const headerPart = { ...atom("BODY.PEEK"), section: [atom("HEADER")], partial: [0, headBytes + 1] };

const windowsOf = (ranges: readonly UidRange[]): UidRange[] =>
  ranges.flatMap(({ from, to }) =>
    Array.from({ length: Math.ceil((to - from + 1) / uidsAtOnce) }, (_, at) => ({
      from: from + at * uidsAtOnce,
      to: Math.min(to, from + (at + 1) * uidsAtOnce - 1),
    })),
  );

const readWindow = async (wire: Wire, reading: Reading, { from, to }: UidRange): Promise<HeadItem[]> => {
  await openFor(wire, reading, to);
  const numbered = wire.view !== null && wire.view.highestModseq !== null;
  const items = new Map<number, HeadItem>();
  const FETCH = (line: Line): Promise<void> => {
    const { uid, flags, modseq, size, internalDate, body } = fetchLineOf(line);
    // News of flags come in between; whoever follows the mailbox hears of them.
    if (uid === null || uid < from || uid > to || flags === null || size === null || internalDate === null || !body)
      wire.changed(line);
    else if (body.length <= headBytes) items.set(uid, { uid, flags, modseq, size, internalDate, head: body });
    return Promise.resolve();
  };
  const wanted = ["UID", "FLAGS", "INTERNALDATE", "RFC822.SIZE", ...(numbered ? ["MODSEQ"] : [])].map(atom);
  const attributes = [{ type: "SEQUENCE", value: `${from}:${to}` }, [...wanted, headerPart]];
  await wire.command("UID FETCH", attributes, { untagged: { FETCH }, ms: commandMs, signal: reading.signal });
  return [...items.values()];
};

/** As {@link Session.heads} promises. @throws SyncError */
export async function* readHeads(
  turn: <T>(work: (wire: Wire) => Promise<T>) => Promise<T>,
  { path, uidValidity, ranges }: FetchRequest,
  options: { readonly limits: EndpointLimits; readonly signal: AbortSignal },
): AsyncGenerator<readonly HeadItem[]> {
  const reading: Reading = { path, uidValidity, ...options };
  for (const window of windowsOf(ranges)) yield await turn((wire) => readWindow(wire, reading, window));
}
