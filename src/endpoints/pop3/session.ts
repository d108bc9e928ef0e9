/**
 * A maildrop behind the seam: logged in to, listed, read, left. Whole messages come by TOP with more lines than any message
 * has where that is proven to be the whole, for RETR counts as reading on many servers (semantics K6, K10).
 */
import { createHash } from "node:crypto";
import type { EndpointProfile } from "../../model/endpoint.ts";
import { SyncError } from "../../model/failure.ts";
import type { PairedItem, UidlMeaning } from "../../model/maildrop.ts";
import type { MaildropItem, MaildropListing, MaildropSession, MayMark, ReadItem } from "../endpoint.ts";
import type { Octets } from "../../model/octets.ts";
import type { Pop3Connection } from "./connection.ts";
import type { ListedMessage, ListedUid, Listing, Stat } from "./listing.ts";
import { codecOf, decodeUidl, nextCodec } from "./uidl-codec.ts";

/** Items that are told at once to be about to be marked as read. */
const toldAtOnce = 10;
const allLines = 100_000_000;
/** RETR ends a message that lacks its final line end with one; LIST need not count it. In octets. */
const finalLineEnd = 2;
const quitMs = 2_000;
/** Longer unique-ids do not fit into an index; RFC 1939 allows 70 characters. */
const longestUidl = 512;

/** As the store can keep it: the hash stands for an id that is too long or has a NUL. */
const storable = (uidl: string): string =>
  uidl.length > longestUidl || uidl.includes("\0") ? `sha256:${createHash("sha256").update(uidl, "latin1").digest("hex")}` : uidl;

/** Pairs what three commands said. Numbers that are in one answer only, or twice, make the listing incomplete (G2). */
export const pairListing = (stat: Stat, sizes: Listing<ListedMessage>, uids: Listing<ListedUid>): MaildropListing => {
  const sizeOf = new Map(sizes.messages.map(({ number, size }) => [number, size]));
  const occurrences = new Map<string, number>();
  const numbers = new Set<number>();
  const items: MaildropItem[] = [];
  for (const { number, uidl } of uids.messages) {
    const size = sizeOf.get(number) ?? null;
    if (uidl === null || size === null || numbers.has(number)) continue;
    numbers.add(number);
    const id = storable(uidl);
    const occurrence = occurrences.get(id) ?? 0;
    occurrences.set(id, occurrence + 1);
    items.push({ number, uidl: id, occurrence, size });
  }
  const counts = [stat.count, sizes.messages.length, uids.messages.length];
  const complete = sizes.unreadable + uids.unreadable === 0 && counts.every((count) => count === items.length);
  return { complete, items };
};

const noUniqueIds = (): SyncError =>
  new SyncError("config", "endpoint", {
    code: "endpoint_refused",
    message: "The server gives messages no unique-ids, without which they cannot be told apart.",
    action: "Use an IMAP endpoint for this account.",
  });

const notProven = (): SyncError =>
  new SyncError("transient", "message", {
    code: "endpoint_unavailable",
    message: "The message cannot be read whole over POP3 without marking it as read.",
    action: "Nothing; it is read over IMAP.",
  });

/** The maildrop as one session shows it. @throws SyncError `config` where the server gives no unique-ids */
export const listItems = async (connection: Pop3Connection, signal: AbortSignal): Promise<MaildropListing> => {
  const stat = await connection.stat(signal);
  const sizes = await connection.list(signal);
  const uids = await connection.uidl(signal);
  if (uids === null) throw noUniqueIds();
  return pairListing(stat, sizes, uids);
};

/** Reads and changes nothing. */
export class Pop3Maildrop implements MaildropSession {
  profile: EndpointProfile;
  readonly #connection: Pop3Connection;
  /** Something was retrieved that nobody got. */
  #lacking = false;

  constructor(connection: Pop3Connection, known: EndpointProfile) {
    this.#connection = connection;
    const { capabilities } = connection;
    const { loginDelayMs, expireDays, implementation } = capabilities;
    const { expireDays: _expireDays, loginDelayMs: _loginDelayMs, ...rest } = known;
    this.profile = {
      ...rest,
      push: "poll",
      capabilities: capabilities.lines,
      ...(implementation !== null && { serverName: implementation.slice(0, 100) }),
      ...(loginDelayMs !== null && { loginDelayMs }),
      ...(expireDays !== null && { expireDays }),
      ...(capabilities.known && !capabilities.has("TOP") && { wholeBy: "retr" as const }),
    };
  }

  list(signal: AbortSignal): Promise<MaildropListing> {
    return listItems(this.#connection, signal);
  }

  meaningOf(uidl: string, uidValidity: number): UidlMeaning | null {
    const codec = codecOf(this.profile);
    return codec === null ? null : decodeUidl(codec, uidl, uidValidity);
  }

  learnUidls(paired: readonly PairedItem[], items: number): void {
    if (paired.length === 0) return;
    const codec = nextCodec(codecOf(this.profile), paired, items);
    if (codec === null) return this.forgetUidls();
    this.profile = { ...this.profile, uidlFormat: { name: codec.format, uidValidity: codec.uidValidity } };
  }

  forgetUidls(): void {
    const { uidlFormat: _, ...rest } = this.profile;
    this.profile = rest;
  }

  async *heads(items: readonly MaildropItem[], signal: AbortSignal): AsyncGenerator<ReadItem> {
    const wanted = items.map(({ number }) => ({ number, size: null }));
    let at = 0;
    for await (const { octets, error } of this.#connection.topMany(wanted, 0, signal)) {
      const item = items[at] as MaildropItem;
      at += 1;
      yield error === null ? { item, octets, error } : { item, octets: null, error };
    }
  }

  async *octets(
    items: readonly MaildropItem[],
    { mayMark }: { readonly mayMark: MayMark },
    signal: AbortSignal,
  ): AsyncGenerator<ReadItem> {
    const byRetr = this.profile.wholeBy === "retr";
    if (byRetr && mayMark === false) for (const item of items) yield { item, octets: null, error: notProven() };
    else if (byRetr && typeof mayMark === "function") yield* this.#octetsToldOf(items, mayMark, signal);
    else yield* this.#octets(items, { byRetr, mayMark }, signal);
  }

  /** A few at a time, so that no more is told to be marked than is about to be. */
  async *#octetsToldOf(
    items: readonly MaildropItem[],
    tell: Exclude<MayMark, boolean>,
    signal: AbortSignal,
  ): AsyncGenerator<ReadItem> {
    let lacking = false;
    for (let at = 0; at < items.length; at += toldAtOnce) {
      const some = items.slice(at, at + toldAtOnce);
      await tell(some);
      yield* this.#octets(some, { byRetr: true, mayMark: true }, signal);
      this.#lacking = lacking ||= this.#lacking;
    }
  }

  async *#octets(
    items: readonly MaildropItem[],
    { byRetr, mayMark }: { readonly byRetr: boolean; readonly mayMark: MayMark },
    signal: AbortSignal,
  ): AsyncGenerator<ReadItem> {
    let at = 0;
    const read = byRetr ? this.#connection.retrMany(items, signal) : this.#connection.topMany(items, allLines, signal);
    // A consumer that stops leaves what was read ahead of it.
    this.#lacking ||= byRetr;
    let lacking = false;
    for await (const { octets, error } of read) {
      const item = items[at] as MaildropItem;
      at += 1;
      lacking ||= byRetr && octets === null;
      if (octets !== null && (byRetr || this.#isWhole(item, octets))) yield { item, octets, error: null };
      else if (error?.code === "endpoint_limit_exceeded" || (byRetr && error !== null)) yield { item, octets: null, error };
      else if (mayMark !== false) {
        if (typeof mayMark === "function") await mayMark([item]);
        yield await this.#retrieve(item, octets, signal);
      } else {
        await octets?.dispose();
        yield { item, octets: null, error: error ?? notProven() };
      }
    }
    if (byRetr) this.#lacking = lacking;
  }

  async close(): Promise<void> {
    // Implied deletion (RFC 2449 §6.7) takes effect as DELE does: at QUIT.
    const mayQuit = this.profile.expireDays !== 0 || !this.#lacking;
    if (this.#connection.usable && mayQuit) await this.#connection.quit(AbortSignal.timeout(quitMs));
    this.#connection.close();
  }

  abandon(): void {
    this.#connection.close();
  }

  /** As long as LIST says, or TOP has shown before that it gives the same as RETR. */
  #isWhole({ size }: MaildropItem, octets: Octets): boolean {
    const more = octets.size - size;
    return this.profile.wholeBy === "top" || (size > 0 && (more === 0 || more === finalLineEnd));
  }

  /** Reads by RETR what TOP could not prove, and learns from it which of the two to use from here on. */
  async #retrieve(item: MaildropItem, byTop: Octets | null, signal: AbortSignal): Promise<ReadItem> {
    try {
      const octets = await this.#connection.retr(item, signal);
      const same = byTop !== null && byTop.sha256.equals(octets.sha256);
      this.profile = { ...this.profile, wholeBy: same ? "top" : "retr" };
      return { item, octets, error: null };
    } catch (error) {
      this.#lacking = true;
      if (!(error instanceof SyncError) || error.scope !== "message") throw error;
      return { item, octets: null, error };
    } finally {
      await byTop?.dispose();
    }
  }
}
