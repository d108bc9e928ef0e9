/**
 * Which mail the new items of a maildrop are, by the least that must be read (semantics ID-3, ID-10, K10): nothing where ids
 * are proven to tell it, else header blocks. What they do not tell is left to whoever reads whole messages.
 */
import type { MaildropItem, MaildropSession } from "../endpoints/endpoint.ts";
import { fingerprintOfHead } from "../mime/fingerprint.ts";
import type { PairedItem } from "../model/maildrop.ts";
import { type Claimable, type Identified, identify, type UnknownItem } from "../reconciler/identify.ts";
import { keyOf } from "../reconciler/maildrop.ts";
import type { Scope } from "../reconciler/state.ts";
import { type Claims, loadBoundFacts, loadClaims } from "../store/claims.ts";
import type { BoundItem } from "../store/maildrops.ts";
import { commitKnown, hashInbox, type MaildropContext } from "./maildrop-commit.ts";
import { mayBeUnshown, type UnshownMemory } from "./unshown.ts";

/**
 * `none`: the account has no IMAP endpoint. `read`: all of its mail was read over IMAP before this look. `down`: IMAP cannot be
 * reached, so that new mail is read here (K11).
 */
export type ImapSide = "none" | "read" | "down";

export type Heads = Map<string, NonNullable<UnknownItem["head"]>>;

/** What is remembered from one look to the next. */
export interface IdentityMemory extends UnshownMemory {
  /** Header hashes of items that were read and not bound yet: IMAP has not shown them. */
  readonly heads: Heads;
  /** All of INBOX was hashed at this entry of the log; null: not known. */
  hashedSeq: bigint | null;
}

/** What a look has in hand. */
export interface Look {
  readonly context: MaildropContext;
  readonly session: MaildropSession;
  readonly scope: Scope;
  /** UIDVALIDITY of INBOX; null: IMAP has not shown it. */
  readonly uidValidity: number | null;
  /** Items listed. */
  readonly total: number;
  readonly imap: ImapSide;
  readonly memory: IdentityMemory;
  /** The last entry of the account's log when the look began. */
  readonly headSeq: bigint;
  readonly signal: AbortSignal;
}

/** So many header blocks are read to learn what ids tell: of more than are needed some have a twin. */
const learnedFrom = 8;
/** From so many items on that ids alone would bind, some of them are checked by their header blocks. */
const spotFrom = 50;
const spotItems = 3;
/** SHA-256 of nothing: what messages without a header block have in common. */
const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/** About `count` of them, one from each part of the list. */
const someOf = <T>(items: readonly T[], count: number): T[] => {
  if (items.length <= count) return [...items];
  const part = items.length / count;
  const places = new Set(Array.from({ length: count }, (_, at) => Math.floor((at + Math.random()) * part)));
  return items.filter((_, index) => places.has(index));
};

/** Adds the hashes of the header blocks of `items` to `heads`; what could not be read is left out. */
const readHeads = async ({ session, signal }: Look, heads: Heads, items: readonly MaildropItem[]): Promise<void> => {
  const unread = items.filter((item) => !heads.has(keyOf(item)));
  if (unread.length === 0) return;
  for await (const { item, octets } of session.heads(unread, signal)) {
    if (octets === null) continue;
    const parts: Buffer[] = [];
    for await (const part of octets.parts()) parts.push(part);
    const { hHead, dropped } = fingerprintOfHead(Buffer.concat(parts));
    heads.set(keyOf(item), { hHead: hHead.toString("hex"), dropped });
    await octets.dispose();
  }
};

/** What the items may be, by what they say as far as they were read. */
const claimsOf = async (
  { context, scope, imap }: Look,
  items: readonly Pick<UnknownItem, "meaning" | "head">[],
): Promise<Claims> => {
  const uids = new Set(items.flatMap(({ meaning }) => (meaning?.kind === "item" ? [meaning.uid] : [])));
  const heads = new Set(items.flatMap(({ head }) => head?.hHead ?? []));
  heads.delete(emptyHash);
  const keys = { uids: [...uids], heads: [...heads] };
  const claims = await loadClaims(context.db, context.accountId, { endpointId: scope.endpointId, inbox: scope.mailboxId, keys });
  // Of what IMAP does not show IMAP decides (K9).
  if (imap !== "read") return claims;
  return { ...claims, claimable: claims.claimable.filter(({ standing }) => standing === "imap") };
};

/** Items whose header block is that of one item of the IMAP side, with no other alike on either side. */
const pairsOf = (look: Look, items: readonly MaildropItem[], claimable: readonly Claimable[]): PairedItem[] => {
  const { memory, uidValidity } = look;
  if (uidValidity === null) return [];
  const byHead = Map.groupBy(claimable, ({ hHead }) => hHead);
  const asking = Map.groupBy(items, (item) => memory.heads.get(keyOf(item))?.hHead ?? null);
  return [...asking].flatMap(([hHead, [item, ...others]]) => {
    const [placement, ...alike] = byHead.get(hHead) ?? [];
    if (hHead === null || others.length + alike.length > 0) return [];
    if (item === undefined || placement === undefined || placement.uid === null) return [];
    return [{ uidl: item.uidl, uid: placement.uid, uidValidity, objectId: placement.objectId }];
  });
};

/** ID-10: what ids tell is learned from a few items, and checked by a few where it would decide about many. */
const learn = async (look: Look, fresh: readonly MaildropItem[]): Promise<void> => {
  const { session, uidValidity, memory } = look;
  if (look.imap !== "read" || uidValidity === null) return;
  const tells = fresh.some(({ uidl }) => session.meaningOf(uidl, uidValidity) !== null);
  const count = !tells ? learnedFrom : fresh.length >= spotFrom ? spotItems : 0;
  const sample = someOf(fresh, count);
  await readHeads(look, memory.heads, sample);
  const read = sample.map((item) => ({ meaning: null, head: memory.heads.get(keyOf(item)) ?? null }));
  const { claimable } = await claimsOf(look, read);
  session.learnUidls(pairsOf(look, sample, claimable), look.total);
};

interface IdentifiedItems {
  readonly items: readonly UnknownItem[];
  readonly identified: readonly Identified[];
  readonly views: Claims["views"];
}

/** Asks what each item is and reads the header blocks that are wanted for the answer, until none is. */
const identifyAll = async (look: Look, fresh: readonly MaildropItem[]): Promise<IdentifiedItems> => {
  const { session, memory, uidValidity } = look;
  const { heads } = memory;
  const known = new Map<string, never>();
  const imap = look.imap === "read" ? "behind" : "none";
  for (;;) {
    const items = fresh.map(({ uidl, occurrence, size }): UnknownItem => {
      const meaning = uidValidity === null ? null : session.meaningOf(uidl, uidValidity);
      return { uidl, occurrence, size, meaning, head: heads.get(keyOf({ uidl, occurrence })) ?? null, body: null };
    });
    const { claimable, views } = await claimsOf(look, items);
    const { items: identified, contradictions } = identify({ items, claimable, known, imap, regenerated: false });
    if (contradictions.length > 0) {
      session.forgetUidls();
      continue;
    }
    const unread = fresh.filter((item, index) => identified[index]?.kind === "head" && !heads.has(keyOf(item)));
    const before = heads.size;
    await readHeads(look, heads, unread);
    if (heads.size === before) return { items, identified, views };
  }
};

export interface Known {
  /** Not known by what was read. */
  readonly unmatched: readonly MaildropItem[];
  /** Could be one of several different messages: has to be read. */
  readonly ambiguous: readonly MaildropItem[];
  readonly bound: number;
}

/** Binds what is known by its id or by its header block (L2, L4). */
export const bindKnown = async (look: Look, fresh: readonly MaildropItem[]): Promise<Known> => {
  const { context, scope, memory, headSeq, signal } = look;
  if (fresh.length === 0) return { unmatched: [], ambiguous: [], bound: 0 };
  if (look.imap === "none") {
    if (!(await mayBeUnshown(context, scope.mailboxId, memory))) return { unmatched: fresh, ambiguous: [], bound: 0 };
  } else {
    await hashInbox(context, scope.mailboxId, memory.hashedSeq, signal);
    if (!signal.aborted) memory.hashedSeq = headSeq;
  }
  await learn(look, fresh);
  const { items, identified, views } = await identifyAll(look, fresh);
  const bound = await commitKnown(context, scope, { items, identified, views });
  for (const [index, item] of items.entries()) if (identified[index]?.kind === "bind") memory.heads.delete(keyOf(item));
  const left = (ambiguous: boolean): MaildropItem[] =>
    fresh.filter((_, index) => {
      const found = identified[index];
      return found?.kind !== "bind" && (found?.kind === "body" && found.because === "ambiguous") === ambiguous;
    });
  return { unmatched: left(false), ambiguous: left(true), bound };
};

/**
 * Reads the header blocks of a few bound items again (ID-9, ID-10).
 * @returns false when one of them is not the mail any more that its id stood for.
 */
export const stillHold = async (look: Look, bound: readonly (readonly [BoundItem, MaildropItem])[]): Promise<boolean> => {
  const { context, scope, session, uidValidity } = look;
  const sample = someOf(bound, spotItems);
  const facts = await loadBoundFacts(context.db, context.accountId, {
    endpointId: scope.endpointId,
    inbox: scope.mailboxId,
    ids: sample.map(([{ placementId }]) => placementId),
  });
  const heads: Heads = new Map();
  await readHeads(
    look,
    heads,
    sample.map(([, item]) => item),
  );
  const paired: PairedItem[] = [];
  for (const [{ placementId }, item] of sample) {
    const { hHead = null, uid = null, alone = false } = facts.get(placementId) ?? {};
    const read = heads.get(keyOf(item))?.hHead;
    if (hHead === null || read === undefined) continue;
    if (read !== hHead) return false;
    if (alone && uid !== null && uidValidity !== null) paired.push({ uidl: item.uidl, uid, uidValidity, objectId: null });
  }
  session.learnUidls(paired, look.total);
  return true;
};
