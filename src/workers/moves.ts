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

/** With the header blocks of those that may be one of what is alike. */
const withHeads = async (
  { session, mailbox, signal }: Omit<ItemsSource, "until">,
  items: readonly Listed[],
  alike: readonly Alike[],
): Promise<Listed[]> => {
  const wanted = new Set(alike.map(({ receivedAt, size }) => likeness(receivedAt.getTime(), size)));
  const uids = items.flatMap(({ uid, receivedAt, size, head }) =>
    head === null && wanted.has(likeness(receivedAt, size)) ? [uid] : [],
  );
  if (uids.length === 0) return [...items];
  const ranges = [{ from: Math.min(...uids), to: Math.max(...uids) }];
  const read = new Map<number, Listed>();
  for await (const heads of session.heads({ ...mailbox, ranges }, signal))
    for (const head of heads) read.set(head.uid, toListed(head));
  return items.map((item) => read.get(item.uid) ?? item);
};

/** Which of the items are like a placement that is elsewhere, or was. */
const findLike = async (
  context: LaneContext,
  mailbox: MailboxLane,
  source: Omit<ItemsSource, "until">,
  lines: readonly HeadItem[],
): Promise<Pair[]> => {
  const { db, accountId } = context;
  const alike = await listAlike(
    db,
    accountId,
    scopeOf(context, mailbox),
    lines.map(({ internalDate, size }) => ({ receivedAt: internalDate, size })),
  );
  if (alike.length === 0) return [];
  let items = lines.map(toListed).sort(byUid);
  let old = alike.map((one) => unbound(one, null)).sort(byUid);
  const told = new Set(rebind(old, items).map(({ placementId }) => placementId));
  const untold = alike.filter(({ id }) => !told.has(id));
  if (untold.length > 0) {
    const hashes = untold.map(({ sha256 }) => sha256);
    const stored = await readStoredHeads(db, accountId, hashes);
    items = await withHeads(source, items, untold);
    old = alike
      .map((one) => {
        const head = stored.get(one.sha256.toString("hex"));
        return unbound(one, head === undefined ? null : headKeyOf(head, one.size));
      })
      .sort(byUid);
  }
  const byNumber = new Map(items.map((item) => [item.uid, item]));
  return rebind(old, items).flatMap((pair) => {
    const item = byNumber.get(pair.uid);
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
    followed.missing = (await missSources(context, session, mailbox, views.values(), signal)) || followed.missing;
    followed.bound.push(...(await commitPairs(context, mailbox, pairs)));
  }
  mailbox.bound += followed.bound.length;
  return followed;
};
