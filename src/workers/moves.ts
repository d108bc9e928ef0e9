/**
 * Mail that another client moved: known where it arrives by date, size and header block, and missing where it was, so that no body
 * is read for it (ID-5a).
 */
import type { Session } from "../endpoints/endpoint.ts";
import type { HeadItem, UidRange } from "../model/observation.ts";
import { type NumberedItem, rebind, type Unbound } from "../reconciler/epoch.ts";
import { inAccount } from "../store/account-tx.ts";
import { readStoredHeads } from "../store/epochs.ts";
import { loadPlacements } from "../store/slices.ts";
import { type Alike, listAlike } from "../store/moves.ts";
import { type LaneContext, type MailboxLane, scopeOf } from "./lane-state.ts";
import { commitPairs, type Pair } from "./rebinding.ts";
import { headKeyOf } from "./recognition.ts";
import { missSources } from "./sources.ts";

const numbered = ({ uid, flags, modseq, internalDate, size, head }: HeadItem): NumberedItem & Pick<HeadItem, "modseq"> => {
  const key = headKeyOf(head, size);
  return { uid, objectId: null, head: key, receivedAt: internalDate.getTime(), flags, modseq };
};

const unbound = ({ id, messageId, receivedAt, size, uid, flags }: Alike, head: Buffer | undefined): Unbound => {
  const key = head === undefined ? null : headKeyOf(head, size);
  return { placementId: id, messageId, objectId: null, head: key, receivedAt: receivedAt.getTime(), uid, flags };
};

/** Which of the items are like a placement that is elsewhere, or was. */
const findLike = async (context: LaneContext, mailbox: MailboxLane, heads: readonly HeadItem[]): Promise<Pair[]> => {
  const { db, accountId } = context;
  const wanted = heads.map(({ internalDate, size }) => ({ receivedAt: internalDate, size }));
  const alike = await listAlike(db, accountId, scopeOf(context, mailbox), wanted);
  if (alike.length === 0) return [];
  const stored = await readStoredHeads(
    db,
    accountId,
    alike.map(({ sha256 }) => sha256),
  );
  const byUid = (a: { readonly uid: number }, b: { readonly uid: number }): number => a.uid - b.uid;
  const old = alike.map((one) => unbound(one, stored.get(one.sha256.toString("hex")))).sort(byUid);
  const items = new Map(
    heads
      .map(numbered)
      .sort(byUid)
      .map((item) => [item.uid, item]),
  );
  return rebind(old, [...items.values()]).flatMap((pair) => {
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
  for await (const heads of session.heads({ path, uidValidity: cursor.uidValidity, ranges }, signal)) {
    const pairs = await findLike(context, mailbox, heads);
    // As many as were asked for at once are none of them: it is an import, and not worth any more looks.
    if (pairs.length === 0 && heads.length > 0) break;
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
