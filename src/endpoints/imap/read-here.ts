/**
 * Reads on a session's own connection: a handful of new messages without the cost of a second login, and everything where
 * there is no second connection to be had. Every batch is a turn of its own, so that other verbs get through between them.
 */
import { batchBytes, batchMessages, type FetchedBatch, type FetchRequest, type UidRange } from "../../model/observation.ts";
import type { EndpointLimits } from "../endpoint.ts";
import { commandMs, firstBytes, openFor, type Reading, readItems, setOf, usualBytes } from "./read-items.ts";
import { fetchLineOf, type Line } from "./tokens.ts";
import type { Wire } from "./wire.ts";

const atom = (value: string) => ({ type: "ATOM", value });

interface Group {
  readonly uids: number[];
  bytes: number;
}

/** Sizes by UID of what lies in a range. An answer that was cut short is asked for again in halves. */
const listSizes = async (wire: Wire, reading: Reading, range: UidRange): Promise<ReadonlyMap<number, number>> => {
  const sizes = new Map<number, number>();
  const FETCH = (line: Line): Promise<void> => {
    const { uid, size } = fetchLineOf(line);
    if (uid === null || uid < range.from || uid > range.to) wire.changed(line);
    else sizes.set(uid, size ?? sizes.get(uid) ?? 0);
    return Promise.resolve();
  };
  const attributes = [{ type: "SEQUENCE", value: `${range.from}:${range.to}` }, [atom("UID"), atom("RFC822.SIZE")]];
  const { whole } = await wire.command("UID FETCH", attributes, { untagged: { FETCH }, ms: commandMs, signal: reading.signal });
  if (whole || range.from >= range.to) return sizes;
  const middle = Math.floor((range.from + range.to) / 2);
  for (const half of [
    { from: range.from, to: middle },
    { from: middle + 1, to: range.to },
  ])
    for (const [uid, size] of await listSizes(wire, reading, half)) sizes.set(uid, size);
  return sizes;
};

/** UIDs of a range in groups of one batch each. To be called in a turn. */
const planGroups = async (wire: Wire, reading: Reading, range: UidRange): Promise<readonly Group[]> => {
  await openFor(wire, reading, range.to);
  const sizes = await listSizes(wire, reading, range);
  const groups: Group[] = [];
  for (const [uid, size] of [...sizes].sort(([a], [b]) => a - b)) {
    const bytes = Math.min(size, firstBytes);
    let group = groups.at(-1);
    if (group === undefined || group.uids.length >= batchMessages || group.bytes + bytes > batchBytes) {
      group = { uids: [], bytes: 0 };
      groups.push(group);
    }
    group.uids.push(uid);
    group.bytes += bytes;
  }
  return groups;
};

/** Messages a request asks for at most. */
export const countOf = (ranges: readonly UidRange[]): number => ranges.reduce((count, { from, to }) => count + to - from + 1, 0);

type Turn = <T>(work: (wire: Wire) => Promise<T>) => Promise<T>;

/** All ranges by one command. */
async function* readAtOnce(
  turn: Turn,
  reading: Reading,
  ranges: readonly UidRange[],
  skip: ReadonlySet<number>,
): AsyncGenerator<FetchedBatch> {
  const set = ranges.map(({ from, to }) => (from === to ? `${from}` : `${from}:${to}`)).join(",");
  const upTo = Math.max(...ranges.map(({ to }) => to));
  const count = countOf(ranges);
  const all = await turn((wire) => readItems(wire, reading, { set, count, bytes: count * usualBytes, upTo }));
  const items = all.filter(({ uid }) => !skip.has(uid));
  for (const { uid, octets } of all) if (skip.has(uid)) await octets?.dispose();
  for (const range of ranges) yield { items: items.filter(({ uid }) => uid >= range.from && uid <= range.to), rangeDone: range };
}

async function* readInGroups(
  turn: Turn,
  reading: Reading,
  range: UidRange,
  skip: ReadonlySet<number>,
): AsyncGenerator<FetchedBatch> {
  const groups = await turn((wire) => planGroups(wire, reading, range));
  for (const [index, group] of groups.entries()) {
    const uids = group.uids.filter((uid) => !skip.has(uid));
    const asked = { set: setOf(uids), count: uids.length, bytes: group.bytes, upTo: range.to };
    const items = uids.length === 0 ? [] : await turn((wire) => readItems(wire, reading, asked));
    yield { items, rangeDone: index + 1 === groups.length ? range : null };
  }
  if (groups.length === 0) yield { items: [], rangeDone: range };
}

/** The most messages that are asked for without planning. */
export const smallRequest = 50;

/**
 * Reads the ranges in their order, each batch in a turn of its own.
 * @param skip UIDs that the consumer has already.
 */
export async function* readHere(
  turn: Turn,
  request: FetchRequest,
  options: { readonly limits: EndpointLimits; readonly signal: AbortSignal; readonly skip: ReadonlySet<number> },
): AsyncGenerator<FetchedBatch> {
  const { ranges, path, uidValidity } = request;
  const reading: Reading = { path, uidValidity, limits: options.limits, signal: options.signal };
  if (ranges.length > 0 && countOf(ranges) <= smallRequest) yield* readAtOnce(turn, reading, ranges, options.skip);
  else for (const range of ranges) yield* readInGroups(turn, reading, range, options.skip);
}
