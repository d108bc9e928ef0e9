/**
 * Servers that list a part of a maildrop only (semantics 1.7 `listing_window`, G9): what such a listing lacks has slid out of
 * view and is still there. The window is learned from complete listings that follow each other, and forgotten at the first
 * one that contradicts it.
 */

import type { ListingWindow } from "../model/maildrop.ts";

/** What is remembered of a complete listing. Items are named by keys that are theirs alone. */
export interface ListingMark {
  readonly count: number;
  /** The first keys, those of the oldest items; the first `markedKeys` suffice. */
  readonly oldest: readonly string[];
  /** What was read by RETR in that session. */
  readonly retrieved: ReadonlySet<string>;
}

/** So many keys of a listing are worth remembering: between two looks no more slide out. */
export const markedKeys = 50;

export interface WindowInput {
  /** The complete listing before; null: none since this process began. */
  readonly before: ListingMark | null;
  /** Keys of this complete listing, in its order. */
  readonly listed: readonly string[];
  /** Keys of the items that are bound. */
  readonly known: readonly string[];
  /** As learned so far; null: nothing was. */
  readonly window: ListingWindow | null;
}

export interface WindowReading {
  readonly window: ListingWindow | null;
  /** Of the known keys that are not listed those that are out of view. */
  readonly slid: ReadonlySet<string>;
}

/** A smaller maildrop loses and gets an item at the same time by chance. */
const smallestWindow = 50;
/** Fewer items may be taken by a device just after they were read. */
const poppedAtLeast = 5;

/** Of the known items those that the listing lacks, and of the listed ones those that are not known. */
interface Difference {
  readonly gone: ReadonlySet<string>;
  readonly fresh: ReadonlySet<string>;
}

const differenceOf = ({ known, listed }: WindowInput): Difference => {
  const isKnown = new Set(known);
  const isListed = new Set(listed);
  return { gone: new Set(known.filter((key) => !isListed.has(key))), fresh: new Set(listed.filter((key) => !isKnown.has(key))) };
};

/** Did the oldest items go, as many as came in at the other end? */
const hasSlid = ({ before, listed }: WindowInput, { gone, fresh }: Difference): boolean => {
  if (before === null || before.count !== listed.length || listed.length < smallestWindow) return false;
  const oldest = before.oldest.slice(0, gone.size);
  if (gone.size === 0 || gone.size !== fresh.size || oldest.length < gone.size) return false;
  // Nothing stayed: ids began anew (ID-9).
  if (gone.size === before.count) return false;
  return oldest.every((key) => gone.has(key)) && listed.slice(-fresh.size).every((key) => fresh.has(key));
};

/** Is all that was retrieved, and nothing else, out of view? */
const werePopped = ({ before }: WindowInput, { gone }: Difference): boolean =>
  before !== null &&
  before.retrieved.size >= poppedAtLeast &&
  gone.size === before.retrieved.size &&
  [...gone].every((key) => before.retrieved.has(key));

const contradicts = (window: ListingWindow, { before, listed }: WindowInput): boolean =>
  window.kind === "newest" ? listed.length > window.count : listed.some((key) => before?.retrieved.has(key) === true);

/** Of a full window: what was older than the oldest item that is left. */
const beyondEdge = ({ before }: WindowInput, { gone }: Difference): ReadonlySet<string> => {
  const edge = before?.oldest.findIndex((key) => !gone.has(key)) ?? -1;
  // Nothing that is left is known to be older than any of them.
  return before === null || edge < 0 ? gone : new Set(before.oldest.slice(0, edge));
};

/** Looks at one complete listing for what it may not show. */
export const readWindow = (input: WindowInput): WindowReading => {
  const { listed, window } = input;
  const seen = differenceOf(input);
  if (hasSlid(input, seen)) return { window: { kind: "newest", count: listed.length }, slid: seen.gone };
  if (werePopped(input, seen)) return { window: { kind: "not_yet_popped" }, slid: seen.gone };
  if (window === null || contradicts(window, input)) return { window: null, slid: new Set() };
  if (window.kind === "not_yet_popped") return { window, slid: seen.gone };
  return { window, slid: listed.length === window.count ? beyondEdge(input, seen) : new Set() };
};
