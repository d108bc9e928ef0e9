/**
 * Looks at some items of a mailbox that is open anyway, whether they are still what their numbers were bound to (semantics ID-11): once
 * in each session, before anything is written to it, and where the whole of it is looked at. One command, and none where nothing is bound.
 */
import type { Session } from "../endpoints/endpoint.ts";
import type { MailboxObservation } from "../model/observation.ts";
import { contradictionOf, spreadOver } from "../reconciler/contradiction.ts";
import { rememberItems } from "../store/epochs.ts";
import { beginEpoch, type FoundOut } from "./epoch.ts";
import { type LaneContext, type MailboxLane, scopeOf } from "./lane-state.ts";

/** So many of the newest items, and as many of all. */
const half = 16;
/** So many that are to be written to are looked at beside them. */
const writtenMost = 200;
/** So many are told as evidence. */
const toldMost = 8;

export interface Seen {
  readonly seen: MailboxObservation;
  /** It is time to look again, whoever has looked. */
  readonly full: boolean;
  /** Items that are to be written to. */
  readonly uids: readonly number[];
}

const findOut = async (
  { db, accountId, endpointId }: LaneContext,
  session: Session,
  mailbox: MailboxLane,
  { seen: { uidValidity, uidNext, startedAt }, uids }: Seen,
  signal: AbortSignal,
): Promise<FoundOut[]> => {
  const from = [...spreadOver(uidNext, half, startedAt.getTime()), ...uids.slice(0, writtenMost)];
  const remembered = await rememberItems(db, accountId, scopeOf({ endpointId }, mailbox), { newest: half, from });
  const known = new Map(remembered.map((item) => [item.uid, item]));
  const found: FoundOut[] = [];
  const ranges = remembered.filter(({ uid }) => uid < uidNext).map(({ uid }) => ({ from: uid, to: uid }));
  for await (const lines of session.heads({ path: mailbox.path, uidValidity, ranges, bare: true }, signal))
    for (const { uid, objectId = null, internalDate, size } of lines) {
      const item = known.get(uid);
      const contradiction =
        item === undefined ? null : contradictionOf(item, { objectId, receivedAt: internalDate.getTime(), size });
      if (contradiction !== null) found.push({ uid, ...contradiction });
    }
  return found.sort((a, b) => a.uid - b.uid).slice(0, toldMost);
};

/**
 * To be called before anything of the look is believed: flags of one mail are not those of another.
 * @returns false: they are not what they were. The mailbox has begun an epoch, or is put aside.
 */
export const isStillKnown = async (
  context: LaneContext,
  session: Session,
  mailbox: MailboxLane,
  looked: Seen,
  signal: AbortSignal,
): Promise<boolean> => {
  const { seen, full } = looked;
  if (mailbox.sampledIn === session && !full) return true;
  // What is bound after this is bound to what the session shows.
  const found = mailbox.bound === 0 || !seen.numbersLast ? [] : await findOut(context, session, mailbox, looked, signal);
  const { epoch } = mailbox;
  if (found.length > 0) await beginEpoch(context, mailbox, seen, found);
  // Put aside, it keeps what is bound, and is asked again whoever has looked.
  if (found.length === 0 || mailbox.epoch > epoch) mailbox.sampledIn = session;
  return found.length === 0;
};
