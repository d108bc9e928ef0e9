/**
 * Mail that is missed and may lie in a mailbox that is held (B4): what is listed there is not read, and until it is nobody knows
 * that what went there has not gone (V0). Header blocks tell of what that may be.
 */
import type { Session } from "../endpoints/endpoint.ts";
import type { PlacementId } from "../model/ids.ts";
import { listMissing } from "../store/absence-slices.ts";
import { inAccount } from "../store/account-tx.ts";
import { readStoredHeads } from "../store/epochs.ts";
import { planRanges } from "./backfill.ts";
import type { LaneContext, MailboxLane } from "./lane-state.ts";
import { park } from "./parking.ts";
import { headKeyOf, toListed } from "./recognition.ts";

/** Larger ones are not looked through: what is missed is decided without them. */
const mostHeld = 20_000;
/** Missed mail that is looked for; more than that stops at breaker B1. */
const mostMissing = 1_000;

interface Heads {
  readonly epoch: number;
  readonly keys: ReadonlySet<string>;
}

/** Read once for each epoch: what comes later is read as any other mail is. */
const known = new WeakMap<MailboxLane, Heads>();

const headsOf = async (session: Session, mailbox: MailboxLane, signal: AbortSignal): Promise<ReadonlySet<string>> => {
  const { path, epoch, cursor } = mailbox;
  const before = known.get(mailbox);
  if (before?.epoch === epoch) return before.keys;
  const keys = new Set<string>();
  const ranges = planRanges(mailbox, Number.POSITIVE_INFINITY);
  for await (const items of session.heads({ path, uidValidity: cursor?.uidValidity ?? 0, ranges }, signal))
    for (const { head } of items.map(toListed)) if (head !== null) keys.add(head);
  known.set(mailbox, { epoch, keys });
  return keys;
};

const isHeld = ({ held, selectable, replaced, cursor, exists, parkedUntil }: MailboxLane): boolean =>
  held > 0 && selectable && !replaced && cursor !== null && exists <= mostHeld && parkedUntil <= Date.now();

/** Of the placements that are missed, those whose mail may be among what a held mailbox lists. */
export const maybeHeld = async (context: LaneContext, session: Session, signal: AbortSignal): Promise<PlacementId[]> => {
  const held = [...context.mailboxes.values()].filter(isHeld);
  if (held.length === 0) return [];
  const { db, fence, accountId } = context;
  const missing = await inAccount(db, fence, accountId, (account) => listMissing(account, mostMissing));
  if (missing.length === 0) return [];
  const listed = new Set<string>();
  for (const mailbox of held) {
    try {
      for (const key of await headsOf(session, mailbox, signal)) listed.add(key);
    } catch (error) {
      await park(context, mailbox, error, session);
    }
  }
  const stored = await readStoredHeads(
    db,
    accountId,
    missing.map(({ sha256 }) => sha256),
  );
  return missing.flatMap(({ id, sha256, size }) => {
    const head = stored.get(sha256.toString("hex"));
    const key = head === undefined ? null : headKeyOf(head, size);
    return key !== null && listed.has(key) ? [id] : [];
  });
};
