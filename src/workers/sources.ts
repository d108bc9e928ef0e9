/** Where mail that arrives may have come from: looked at before it is taken for something new. */
import type { Session } from "../endpoints/endpoint.ts";
import type { MailboxId } from "../model/ids.ts";
import type { PlacementView } from "../reconciler/state.ts";
import { inAccount } from "../store/account-tx.ts";
import { loadBoundUids } from "../store/slices.ts";
import { commitObservation } from "./commit.ts";
import { epochBreakOf } from "./epoch.ts";
import { backfillDone, type LaneContext, type MailboxLane, scopeOf } from "./lane-state.ts";

/** What a whole listing says against what is bound: UIDs gone, and UIDs that should have been read and were not. */
export const compare = async (
  context: LaneContext,
  mailbox: MailboxLane,
  present: readonly number[],
): Promise<{ gone: number[]; missed: number[] }> => {
  const bound = await inAccount(context.db, context.fence, context.accountId, (account) =>
    loadBoundUids(account, scopeOf(context, mailbox)),
  );
  const listed = new Set(present);
  const held = new Set(bound);
  const low = mailbox.backfillLow ?? 1;
  const next = mailbox.cursor?.uidNext ?? 1;
  mailbox.bound = bound.length;
  return {
    gone: bound.filter((uid) => !listed.has(uid)),
    missed: present.filter((uid) => uid >= low && uid < next && !held.has(uid)),
  };
};

const missSource = async (
  context: LaneContext,
  session: Session,
  { source, uids }: { readonly source: MailboxLane; readonly uids: readonly number[] },
  signal: AbortSignal,
): Promise<boolean> => {
  const { cursor, backfillLow } = source;
  if (cursor === null || backfillLow === null) return false;
  const seen = await session.observe({ path: source.path, since: cursor, boundCount: source.bound }, signal);
  if (epochBreakOf(source, seen) !== null) return false;
  const { gone, missed } =
    seen.present === null ? { gone: seen.vanished, missed: [] } : await compare(context, source, seen.present);
  // News of its own waits for its own look. Then, and in a mailbox that seems empty (G4), only what is here again is missed.
  const whole = seen.exists > 0 && seen.uidNext === cursor.uidNext && missed.length === 0;
  const absent = whole ? gone : gone.filter((uid) => uids.includes(uid));
  if (absent.length === 0) return false;
  const { uidValidity, uidNext, highestModseq } = seen;
  const move = { cursor: whole ? { uidValidity, uidNext, highestModseq } : cursor, backfillLow };
  // It arrived where this look began: what is gone here was moved, and no POP3 device took it.
  const around = { elsewhere: false, arrived: true };
  const facts = { flags: whole ? seen.flags : [], absent, around };
  await commitObservation(context, source, { ...facts, move, ...(whole && { counts: seen }) });
  return true;
};

/**
 * Before a second placement is made of a message we hold: is the first one still there? Servers add before they remove
 * (RFC 6851 3.3), so a mail that was moved may be seen where it arrived before it is missed where it was.
 * @returns whether one of `placements` is missing in another mailbox than this.
 */
export const missSources = async (
  context: LaneContext,
  session: Session,
  mailbox: MailboxLane,
  placements: Iterable<Pick<PlacementView, "lifecycle" | "binding">>,
  signal: AbortSignal,
): Promise<boolean> => {
  const sources = new Map<MailboxId, number[]>();
  for (const { lifecycle, binding } of placements)
    if (lifecycle === "live" && binding?.active === true && binding.mailboxId !== mailbox.mailboxId)
      sources.set(binding.mailboxId, [...(sources.get(binding.mailboxId) ?? []), binding.uid]);
  let missing = false;
  for (const [id, uids] of sources) {
    const source = context.mailboxes.get(id);
    if (source?.selectable !== true || !backfillDone(source) || source.parkedUntil > Date.now()) continue;
    missing = (await missSource(context, session, { source, uids }, signal)) || missing;
  }
  return missing;
};
