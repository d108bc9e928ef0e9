/**
 * Mail that a server words anew for each view of it (L5): an item of INBOX whose octets and header block are nobody's may be what
 * another view showed in other words. Looked for among the placements that IMAP does not show, of the same Message-ID, and believed
 * where all that it says is the same, unless what both views show is the same octets: then the server words nothing anew, and two
 * that say the same are two (a mailing list's copy of a mail that came directly, too).
 */
import pLimit from "p-limit";
import { meaningOf } from "../mime/meaning.ts";
import type { MessageId, PlacementId } from "../model/ids.ts";
import type { Octets } from "../model/octets.ts";
import { type Claimable, identify, type UnknownItem } from "../reconciler/identify.ts";
import type { Scope } from "../reconciler/state.ts";
import { storedOctets } from "../store/blob-reads.ts";
import { learnFidelity, loadClaims, loadUnshown } from "../store/claims.ts";
import type { MessageContent } from "../store/decisions.ts";
import type { LaneContext, MailboxLane } from "./lane-state.ts";

export interface MeantItem {
  readonly uid: number;
  readonly octets: Octets | null;
  /** Of its header; null: it has none. */
  readonly messageId: string | null;
}

/** What an item of a mailbox is by what it says. */
export interface MeantAs {
  readonly uid: number;
  readonly placementId: PlacementId;
  readonly confidence: number;
}

/** Messages that are parsed at a time, of all accounts: each is in memory, and nothing else runs while one is read through. */
const turn = pLimit(2);

const meaning = async (octets: Octets): Promise<string | null> =>
  (await meaningOf({ size: octets.size, chunks: () => octets.parts() }, octets.head))?.toString("hex") ?? null;

const storedMeaning = (
  { db, accountId }: Pick<LaneContext, "db" | "accountId">,
  blob: { readonly sha256: Buffer; readonly size: number },
): Promise<string | null> => turn(async () => meaning(await storedOctets(db, accountId, blob)));

const withMeaning = async (context: Pick<LaneContext, "db" | "accountId">, placement: Claimable): Promise<Claimable> => {
  const { sha256, octets: size } = placement;
  if (sha256 === null || size === null) return placement;
  return { ...placement, hSem: await storedMeaning(context, { sha256: Buffer.from(sha256, "hex"), size }) };
};

const unknownOf = async ({ uid, octets }: MeantItem): Promise<UnknownItem[]> => {
  const hSem = octets === null ? null : await turn(() => meaning(octets));
  if (octets === null || hSem === null) return [];
  const sha256 = octets.sha256.toString("hex");
  const nothing = { meaning: null, head: null };
  return [{ uidl: String(uid), occurrence: 0, size: octets.size, ...nothing, body: { sha256, hFull: sha256, hSem } }];
};

/** Which placement each item is by what it says. */
export const findMeant = async (
  context: LaneContext,
  mailbox: MailboxLane,
  news: readonly MeantItem[],
): Promise<readonly MeantAs[]> => {
  if (!context.twoViews || mailbox.role !== "inbox" || (mailbox.unshown ?? 0) === 0) return [];
  const { db, accountId, endpointId } = context;
  const messageIds = [...new Set(news.flatMap(({ messageId }) => messageId ?? []))];
  const owner = { accountId, endpointId, mailboxId: mailbox.mailboxId };
  const { claimable, messageIds: shared } = await loadUnshown(db, owner, { messageIds });
  const alike = news.filter(({ messageId }) => messageId !== null && shared.has(messageId));
  if (alike.length === 0 || (await learnFidelity(db, accountId, mailbox.mailboxId)) === "exact") return [];
  const items = (await Promise.all(alike.map(unknownOf))).flat();
  const meant = await Promise.all(claimable.map((placement) => withMeaning(context, placement)));
  const known = new Map<string, never>();
  const { items: answers } = identify({ items, claimable: meant, known, imap: "none", regenerated: true });
  return answers.flatMap((answer, index) =>
    answer.kind === "bind" && answer.level === "L5"
      ? [{ uid: Number(items[index]?.uidl), placementId: answer.placementId, confidence: answer.confidence }]
      : [],
  );
};

/** What placements say that items of a maildrop may be. */
export interface Meant {
  readonly messages: readonly MessageId[];
  readonly said: ReadonlyMap<PlacementId, string | null>;
}

/** Items of a maildrop that were read, with what they say where that was asked for. */
export interface MeantHere {
  readonly items: readonly UnknownItem[];
  readonly meant: Meant;
}

/** Nothing was asked for. */
export const unread = (read: readonly { readonly item: UnknownItem }[]): MeantHere => ({
  items: read.map(({ item }) => item),
  meant: { messages: [], said: new Map() },
});

/** The other way round: what IMAP showed before the maildrop was read. */
export const readMeanings = async (
  { db, accountId }: Pick<LaneContext, "db" | "accountId">,
  { endpointId, mailboxId: inbox }: Scope,
  read: readonly { readonly item: UnknownItem; readonly content: Pick<MessageContent, "headers" | "octets"> }[],
): Promise<MeantHere> => {
  const messageIds = [...new Set(read.flatMap(({ content }) => content.headers?.messageId ?? []))];
  const { claimable, messageIds: shared } = await loadClaims(db, accountId, { endpointId, inbox, keys: { messageIds } });
  const shown = claimable.filter(({ standing }) => standing === "imap");
  if (shown.length === 0 || (await learnFidelity(db, accountId, inbox)) === "exact") return unread(read);
  const meant = await Promise.all(shown.map((placement) => withMeaning({ db, accountId }, placement)));
  const saying = await Promise.all(
    read.map(async ({ item, content: { headers, octets } }): Promise<UnknownItem> => {
      if (item.body === null || octets === null || !shared.has(headers?.messageId ?? "")) return item;
      return { ...item, body: { ...item.body, hSem: await storedMeaning({ db, accountId }, octets) } };
    }),
  );
  const messages = meant.map(({ messageId }) => messageId);
  return { items: saying, meant: { messages, said: new Map(meant.map(({ id, hSem }) => [id, hSem])) } };
};
