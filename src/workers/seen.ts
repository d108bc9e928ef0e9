/** Judges what became seen in INBOX: the facts around it for the reconciler, and what it has to remember (semantics 5.3). */
import type { Session } from "../endpoints/endpoint.ts";
import type { FlagsFact } from "../model/observation.ts";
import { expectsDrains, viewPop3Devices } from "../model/pop3-devices.ts";
import {
  classifySeen,
  gainedSeen,
  hasSeen,
  type SeenDecision,
  seenDevices,
  seenOutcome,
  seenPolicy,
} from "../reconciler/pop3-seen.ts";
import type { KnownMessage } from "../reconciler/items.ts";
import type { PlacementView } from "../reconciler/state.ts";
import { type DrainToTrash, viaTrash } from "../reconciler/via-trash.ts";
import type { AccountTx, InputTx } from "../store/account-tx.ts";
import { loadReverted, loadSeenHistory, readSeenNews, writeSeenMemory } from "../store/pop3-seen.ts";
import {
  hasMoved,
  inboxOf,
  type LaneContext,
  type LaneFacts,
  type MailboxFacts,
  type MailboxLane,
  scopeOf,
} from "./lane-state.ts";

/** Where mail that comes to this mailbox may have been sent by a POP3 device that deletes it in INBOX; null: that cannot be. */
export const drainToTrash = async (
  account: AccountTx,
  lane: LaneFacts,
  mailbox: MailboxFacts,
  known: ReadonlyMap<string, KnownMessage>,
): Promise<DrainToTrash | null> => {
  const { policy, pop3Evidence } = account;
  if (mailbox.role !== "trash") return null;
  const devices = seenDevices(viewPop3Devices(policy, pop3Evidence).state, policy);
  const inbox = inboxOf(lane);
  if (inbox === null || !expectsDrains(devices)) return null;
  const arriving = [...known.values()].flatMap(({ placements }) => placements.map(({ id }) => id));
  const reverted = await loadReverted(account, arriving, viaTrash);
  return { inbox, revertSeen: seenPolicy(policy) === "revert", reverted };
};

/** What the other mailboxes say of the step in which INBOX changed. */
export interface SeenSurroundings {
  /** Flags changed there, too. */
  readonly elsewhere: boolean;
  /** Mail came there: what is gone from INBOX may be it. */
  readonly arrived: boolean;
}

const quietSurroundings: SeenSurroundings = { elsewhere: false, arrived: false };

/**
 * Looks at the counters of all mailboxes when that decides between read and retrieved: something became seen in INBOX, and a POP3
 * device may have done it.
 */
export const surroundingsOf = async (
  context: LaneContext,
  session: Session,
  { mailbox, flags }: { readonly mailbox: MailboxLane; readonly flags: readonly FlagsFact[] },
  signal: AbortSignal,
): Promise<SeenSurroundings> => {
  if (mailbox.role !== "inbox" || context.policy.pop3Devices === "none") return quietSurroundings;
  const seen = flags.filter((fact) => hasSeen(fact.flags)).map(({ uid }) => uid);
  if (seen.length === 0) return quietSurroundings;
  const { anyUnseen, evidence } = await readSeenNews(context.db, context.accountId, scopeOf(context, mailbox), seen);
  const known = viewPop3Devices(context.policy, evidence).state;
  if (!anyUnseen || !expectsDrains(seenDevices(known, context.policy))) return quietSurroundings;
  const { mailboxes } = await session.survey(signal);
  const statuses = new Map(mailboxes.map(({ path, status }) => [path, status]));
  const around = { elsewhere: false, arrived: false };
  for (const other of context.mailboxes.values()) {
    const status = statuses.get(other.path) ?? null;
    if (other === mailbox || status === null || !hasMoved(other, status)) continue;
    if (status.uidNext === other.cursor?.uidNext) around.elsewhere = true;
    else around.arrived = true;
  }
  return around;
};

/** What is decided about each new `\Seen` of an observation; null where there is none, or nothing to find out. */
export const judgeSeen = async (
  account: InputTx,
  lane: LaneFacts,
  mailbox: MailboxFacts,
  look: {
    readonly flags: readonly FlagsFact[];
    readonly absent: readonly number[];
    readonly bound: ReadonlyMap<number, PlacementView>;
    readonly around: SeenSurroundings | undefined;
  },
): Promise<SeenDecision | null> => {
  const { policy } = account;
  const devices = seenDevices(viewPop3Devices(policy, account.pop3Evidence).state, policy);
  if (mailbox.role !== "inbox" || devices === "denied") return null;
  const uids = gainedSeen(look.flags, look.bound, new Set()).map(({ uid }) => uid);
  if (uids.length === 0) return null;
  const scope = scopeOf(lane, mailbox);
  const { memory, suspected, unseen, reverted } = await loadSeenHistory(account, scope, uids);
  const around = look.around ?? quietSurroundings;
  const changed = new Set([...look.absent, ...look.flags.filter(({ flags }) => hasSeen(flags)).map(({ uid }) => uid)]);
  const answer = classifySeen({
    gained: gainedSeen(look.flags, look.bound, reverted),
    unseen: unseen.filter((uid) => !changed.has(uid)),
    devices,
    besideDrain: !around.arrived && look.absent.some((uid) => isTakenUnmarked(look.bound.get(uid))),
    elsewhere: around.elsewhere,
    memory,
    at: account.input.at.getTime(),
  });
  const decision = { verdicts: answer.verdicts, earlier: answer.earlier, devices, policy };
  const hinted = uids.filter((uid) => seenOutcome(uid, decision)?.hinted).length;
  if (hinted > 0 || answer.memory !== memory)
    await writeSeenMemory(account, scope, {
      memory: answer.memory,
      suspected: suspected + hinted,
      suspectedAt: hinted > 0 ? account.input.at : null,
    });
  return decision;
};

/** V9: what was marked `\Deleted` before it vanished was removed over IMAP. */
const isTakenUnmarked = (placement: PlacementView | undefined): boolean =>
  placement !== undefined && placement.binding?.shadowFlags.some((flag) => flag.toLowerCase() === "\\deleted") !== true;
