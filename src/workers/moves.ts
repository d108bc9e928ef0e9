/**
 * Mail that another client moved: known where it arrives by date, size and header block, and missing where it was, so that no body
 * is read for it (ID-5a).
 */
import type { Session } from "../endpoints/endpoint.ts";
import type { HeadItem, UidRange } from "../model/observation.ts";
import { rebind, type Unbound } from "../reconciler/epoch.ts";
import { inAccount } from "../store/account-tx.ts";
import { readStoredHeads } from "../store/epochs.ts";
import { loadPlacements } from "../store/slices.ts";
import { type Alike, listAlike } from "../store/moves.ts";
import { type LaneContext, type MailboxLane, scopeOf } from "./lane-state.ts";
import { commitPairs, type Pair } from "./rebinding.ts";
import { headKeyOf, type ItemsSource, type Listed, tellsIds, toListed } from "./recognition.ts";
import { missSources } from "./sources.ts";

const unbound = ({ id, messageId, receivedAt, size, uid, flags, objectId }: Alike, head: string | null): Unbound => ({
  placementId: id,
  messageId,
  objectId,
  size,
  head,
  receivedAt: receivedAt.getTime(),
  uid,
  flags,
});

const byUid = (a: { readonly uid: number }, b: { readonly uid: number }): number => a.uid - b.uid;

const likeness = (receivedAt: number, size: number): string => `${receivedAt} ${size}`;

/** Header keys of items by UID, of those of them that may be one of what is alike. */
const readKeys = async (
  { session, mailbox, signal }: Omit<ItemsSource, "until">,
  items: readonly Listed[],
  alike: readonly Alike[],
): Promise<ReadonlyMap<number, string | null>> => {
  const wanted = new Set(alike.map(({ receivedAt, size }) => likeness(receivedAt.getTime(), size)));
  const uids = items.flatMap(({ uid, receivedAt, size }) => (wanted.has(likeness(receivedAt, size)) ? [uid] : []));
  const keys = new Map<number, string | null>();
  if (uids.length === 0) return keys;
  const ranges = [{ from: Math.min(...uids), to: Math.max(...uids) }];
  for await (const heads of session.heads({ ...mailbox, ranges }, signal))
    for (const item of heads) keys.set(item.uid, toListed(item).head);
  return keys;
};

/** Which of the items are like a placement that is elsewhere, or was. Header blocks are read of what ids leave over. */
const findLike = async (
  context: LaneContext,
  mailbox: MailboxLane,
  source: Omit<ItemsSource, "until">,
  lines: readonly HeadItem[],
): Promise<Pair[]> => {
  const { db, accountId } = context;
  const wanted = lines.map(({ internalDate, size }) => ({ receivedAt: internalDate, size }));
  const alike = await listAlike(db, accountId, scopeOf(context, mailbox), wanted);
  if (alike.length === 0) return [];
  const listed = lines.map(toListed).sort(byUid);
  const old = alike.map((one) => unbound(one, null)).sort(byUid);
  const told = new Set<string | number>(rebind(old, listed).flatMap(({ placementId, uid }) => [placementId, uid]));
  const left = alike.filter(({ id }) => !told.has(id));
  const unknown = listed.filter(({ uid, head }) => !told.has(uid) && head === null);
  const keys = await readKeys(source, unknown, left);
  const stored = await readStoredHeads(
    db,
    accountId,
    left.map(({ sha256 }) => sha256),
  );
  const headed = alike.map((one) => {
    const head = stored.get(one.sha256.toString("hex"));
    return unbound(one, head === undefined ? null : headKeyOf(head, one.size));
  });
  const items = new Map(listed.map((item) => [item.uid, { ...item, head: keys.get(item.uid) ?? item.head }]));
  return rebind(headed.sort(byUid), [...items.values()]).flatMap((pair) => {
    const item = items.get(pair.uid);
    return item === undefined ? [] : [{ pair, item }];
  });
};

export interface Followed {
  /** UIDs that are bound now. */
  readonly bound: readonly number[];
  /** Placements became absence candidates, some of which may not have been found here. */
  readonly missing: boolean;
}

/**
 * Binds what was moved here. A single mail that comes to INBOX is nearly always new, and must not wait: it is compared only where
 * another mailbox is seen to have shrunk.
 * What is still where it was is a copy, and is read.
 */
export const followMoves = async (
  context: LaneContext,
  session: Session,
  mailbox: MailboxLane,
  { ranges, shrunk }: { readonly ranges: readonly UidRange[]; readonly shrunk: boolean },
  signal: AbortSignal,
): Promise<Followed> => {
  const followed = { bound: new Array<number>(), missing: false };
  const several = ranges.length > 1 || ranges.some(({ from, to }) => to > from);
  if (ranges.length === 0 || mailbox.cursor === null || (mailbox.role === "inbox" && !shrunk && !several)) return followed;
  const { path, cursor } = mailbox;
  const source = { session, mailbox: { path, uidValidity: cursor.uidValidity }, signal };
  for await (const lines of session.heads({ ...source.mailbox, ranges, bare: tellsIds(session) }, signal)) {
    const pairs = await findLike(context, mailbox, source, lines);
    // As many as were asked for at once are none of them: it is an import, and not worth any more looks.
    if (pairs.length === 0 && lines.length > 0) break;
    const views = await inAccount(context.db, context.fence, context.accountId, (account) =>
      loadPlacements(
        account,
        context.endpointId,
        pairs.map(({ pair }) => pair.placementId),
      ),
    );
    followed.missing = (await missSources(context, { session, signal }, mailbox, [...views.values()])) || followed.missing;
    followed.bound.push(...(await commitPairs(context, mailbox, pairs)));
  }
  mailbox.bound += followed.bound.length;
  return followed;
};
