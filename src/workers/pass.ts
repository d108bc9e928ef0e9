/** One pass over an account's IMAP endpoint: survey, update what moved, settle what vanished, read on. */
import type { Session } from "../endpoints/endpoint.ts";
import { SyncError } from "../model/failure.ts";
import type { MailboxId } from "../model/ids.ts";
import type { MailboxStatus, Survey } from "../model/observation.ts";
import { inAccount } from "../store/account-tx.ts";
import { hasCandidates } from "../store/candidates.ts";
import { countUnseen } from "../store/slices.ts";
import { safetyPollFound } from "../telemetry/metrics.ts";
import { isConsistentCut, settleCandidates } from "./absences.ts";
import { backfillPending, runBackfillSlice } from "./backfill.ts";
import type { WriteInput } from "./command-run.ts";
import { beginMailbox, strangerAfter } from "./epoch.ts";
import { releaseEpochs } from "./epoch-holds.ts";
import { noteDecidedFlags } from "./flag-loss.ts";
import { forgetReleased, maybeHeld } from "./held-mail.ts";
import { updateMailbox } from "./incremental.ts";
import { auditIsDue, backfillDone, countsChanges, hasMoved, type LaneContext, type MailboxLane, scopeOf } from "./lane-state.ts";
import type { MaildropWitness } from "./maildrop-witness.ts";
import { park } from "./parking.ts";
import { applyListing } from "./renames.ts";
import { readStubs } from "./stub-reads.ts";
import { dueStubs } from "./stubs.ts";
import { inboxFirst, replacedIn, treePrint } from "./tree.ts";

/** Servers without mod-sequences show a change of flags only to a whole listing: INBOX at every sweep, the rest this often. */
const fullPollMs = 15 * 60_000;
/** Cuts tried in one pass before candidates wait for the next one. */
const cutTries = 3;

/** What a lane remembers between passes beside its mailboxes. */
export interface PassMemory {
  treePrint: string;
  /** Mailboxes may be gone: the tree must be looked at even when it looks the same. */
  treeWaiting: boolean;
  /** This session's listing lacks what an earlier one had, and no other session was asked yet. */
  listingDoubted: boolean;
  candidates: boolean;
  /** Candidates are held: each cut may let go of them. */
  held: boolean;
  /** Mail was stored that nobody has parsed yet. */
  unparsed: boolean;
  fullPollAt: number;
  /** When to look for commands that wait, in ms since 1970; 0: now, infinity: not before something happens. */
  commandsAt: number;
}

/** Of a lane that has not run yet. */
export const freshMemory = (candidates: boolean): PassMemory => ({
  treePrint: "",
  treeWaiting: false,
  listingDoubted: false,
  candidates,
  held: false,
  unparsed: true,
  fullPollAt: Date.now(),
  commandsAt: 0,
});

export interface PassInput {
  readonly context: LaneContext;
  readonly session: Session;
  readonly memory: PassMemory;
  readonly witness: MaildropWitness;
  /** Paths that the server told of; null: look everywhere. */
  readonly news: readonly string[] | null;
  readonly watching: boolean;
  /** Waits for a turn at bulk reading; a process reads only a few accounts in bulk at once. */
  readonly bulkTurn: <T>(work: () => Promise<T>) => Promise<T>;
  readonly signal: AbortSignal;
}

export interface PassResult {
  readonly again: boolean;
  readonly created: number;
  /** Mailboxes that a look at everything found moved. */
  readonly moved: number;
}

/** Does some work at a mailbox, or parks it. @returns how many messages came. */
const guarded = async (
  input: Pick<PassInput, "context" | "session" | "memory">,
  mailbox: MailboxLane,
  work: () => Promise<{ candidates: boolean; created: number }>,
): Promise<number> => {
  try {
    const { candidates, created } = await work();
    if (candidates) input.memory.candidates = true;
    mailbox.answered = true;
    return created;
  } catch (error) {
    await park(input.context, mailbox, error, input.session);
    return 0;
  }
};

const mustLook = (mailbox: MailboxLane, status: MailboxStatus, pollFlags: boolean): boolean => {
  // An empty listing waits to be seen again (G4), and counters that agree with it must not make it wait for ever.
  if (hasMoved(mailbox, status) || auditIsDue(mailbox) || mailbox.emptySince > 0 || mailbox.flagsHeld === "decided") return true;
  return !countsChanges(mailbox, status) && (pollFlags || mailbox.role === "inbox");
};

const isOpen = ({ selectable, replaced, parkedUntil }: MailboxLane, now: number): boolean =>
  selectable && !replaced && parkedUntil <= now;

/** G6: flags that mod-sequences passed over show in the count of unseen mail. Asked of the store only where that count is another. */
const missedFlags = async (context: LaneContext, mailbox: MailboxLane, { unseen }: MailboxStatus): Promise<boolean> => {
  if (unseen === null || unseen === mailbox.unseen || !backfillDone(mailbox)) return false;
  if (mailbox.held > 0 || mailbox.flagsHeld !== "no") return false;
  return (await countUnseen(context.db, context.accountId, scopeOf(context, mailbox))) !== unseen;
};

/** Has that session seen its items to be what they were? By numbers that do not last nothing is ever written (I19). */
const isKnown = (session: Session | null, { sampledIn, numbersLast }: MailboxLane): boolean =>
  !numbersLast || (session !== null && sampledIn === session);

/**
 * Nothing is written to items that the session has not seen to be what they were (ID-11): looks at mailboxes where it has not.
 * @returns whether that showed something, so that what is owed may be another thing by now.
 */
const knowItems = async (
  { context, session, memory, signal }: Pick<PassInput, "context" | "memory" | "signal"> & { readonly session: Session | null },
  items: ReadonlyMap<MailboxId, readonly number[]>,
): Promise<boolean> => {
  if (session?.usable !== true) return false;
  let looked = false;
  for (const [mailboxId, uids] of items) {
    const mailbox = context.mailboxes.get(mailboxId);
    if (mailbox === undefined || isKnown(session, mailbox) || !isOpen(mailbox, Date.now())) continue;
    const { epoch } = mailbox;
    const look = () => updateMailbox(context, session, mailbox, { full: false, shrunk: false, uids }, signal);
    if ((await guarded({ context, session, memory }, mailbox, look)) > 0) memory.unparsed = true;
    // A stranger is not looked at again before names are listed.
    looked ||= isKnown(session, mailbox) || mailbox.epoch > epoch;
  }
  return looked;
};

/** By what a session has seen, or sees now. */
export const knowledgeOf = (input: Parameters<typeof knowItems>[0]): Pick<WriteInput, "know" | "isKnown"> => ({
  know: (items) => knowItems(input, items),
  isKnown: (mailbox) => isKnown(input.session, mailbox),
});

type Followed = Omit<PassResult, "again">;

/** There is always an INBOX (RFC 9051 5.1): an account of which nothing can be seen is not in order. */
const listsNothing = (): SyncError =>
  new SyncError("bug", "endpoint", {
    code: "endpoint_protocol_error",
    message: "The server answered in a way that is not IMAP: it lists no mailbox that can be read.",
    action: "Nothing; it is tried again by itself. If it stays, check host and port of the endpoint.",
  });

/** Brings the stored tree in step, where the listing is another one than the last that it was taken from. */
const followTree = async ({ context, session, memory, signal }: PassInput, survey: Survey): Promise<void> => {
  const print = treePrint(survey.mailboxes);
  // Names that were swapped look the same; what is below them does not.
  const isDoubted = memory.treeWaiting || replacedIn(context).length > 0 || strangersIn(context).length > 0;
  if (print !== memory.treePrint || isDoubted) {
    const { waiting, gone } = await applyListing(context, session, survey, signal);
    memory.treeWaiting = waiting;
    memory.listingDoubted = waiting && survey.complete && print !== memory.treePrint;
    memory.candidates ||= gone;
    memory.treePrint = survey.complete ? print : "";
  }
  const ids = new Map(survey.mailboxes.map(({ path, objectId }) => [path, objectId]));
  for (const mailbox of context.mailboxes.values()) mailbox.objectId = ids.get(mailbox.path) ?? null;
  for (const mailbox of strangersIn(context)) mailbox.stranger = strangerAfter(survey);
  if (survey.complete) context.tree.readAt = survey.startedAt.getTime();
};

const strangersIn = ({ mailboxes }: LaneContext): MailboxLane[] =>
  [...mailboxes.values()].filter(({ stranger }) => stranger === "doubted");

/** Updates every mailbox whose counters moved since our cursors. */
const followSurvey = async (input: PassInput, survey: Survey): Promise<Followed> => {
  const { context, session, memory } = input;
  if (survey.mailboxes.length === 0) throw listsNothing();
  await releaseEpochs(context);
  forgetReleased(context);
  await noteDecidedFlags(context);
  await followTree(input, survey);
  const now = Date.now();
  const pollFlags = now - memory.fullPollAt > fullPollMs;
  if (pollFlags) memory.fullPollAt = now;
  const statuses = new Map(survey.mailboxes.map((box) => [box.path, box.status]));
  const shrunk = [...context.mailboxes.values()].some((mailbox) => {
    const status = statuses.get(mailbox.path) ?? null;
    return status !== null && status.messages < mailbox.bound;
  });
  const followed = { created: 0, moved: 0 };
  for (const mailbox of inboxFirst(context.mailboxes.values())) {
    const status = statuses.get(mailbox.path) ?? null;
    if (status === null) mailbox.answered = false;
    if (status === null || !isOpen(mailbox, now)) continue;
    mailbox.answered = true;
    const moved = hasMoved(mailbox, status);
    const missed = !moved && (await missedFlags(context, mailbox, status));
    if (mailbox.cursor === null) await beginMailbox(context, mailbox, status);
    else if (missed || mustLook(mailbox, status, pollFlags)) {
      // Counters need not have moved for it to show something that is to be answered.
      memory.commandsAt = 0;
      if (moved) {
        followed.moved += 1;
        if (input.watching && mailbox.role === "inbox") safetyPollFound.inc();
      }
      followed.created += await guarded(input, mailbox, () =>
        updateMailbox(context, session, mailbox, { full: missed, shrunk }, input.signal),
      );
    } else mailbox.lookedAt = survey.startedAt.getTime();
    if (!moved && mailbox.answered) mailbox.unseen = status.unseen;
    mailbox.exists = status.messages;
  }
  return followed;
};

const followNews = async (input: PassInput, paths: readonly string[]): Promise<Followed> => {
  let created = 0;
  for (const mailbox of inboxFirst(input.context.mailboxes.values())) {
    if (!paths.includes(mailbox.path) || mailbox.cursor === null || !isOpen(mailbox, Date.now())) continue;
    created += await guarded(input, mailbox, () =>
      updateMailbox(input.context, input.session, mailbox, { full: false, shrunk: paths.length > 1 }, input.signal),
    );
  }
  return { created, moved: 0 };
};

const sumOf = (one: Followed, other: Followed): Followed => ({
  created: one.created + other.created,
  moved: one.moved + other.moved,
});

/** V0: looks again until a survey agrees with every cursor, then decides what is missing. */
const settle = async (input: PassInput): Promise<void> => {
  const { context, memory } = input;
  if (!(memory.candidates || memory.held) || backfillPending(context)) return;
  for (let tries = 0; tries < cutTries; tries += 1) {
    const survey = await input.session.survey(input.signal);
    if (isConsistentCut(context, survey)) {
      const unread = await maybeHeld(context, input.session, input.signal);
      const left = await settleCandidates(context, survey, input.session.profile, { witness: input.witness, unread });
      memory.commandsAt = 0;
      memory.held = left.held;
      memory.candidates = left.awaited;
      return;
    }
    await followSurvey(input, survey);
  }
};

/** What is listed and was not given is asked for again when that is due (G7). */
const readAgain = async (input: PassInput): Promise<void> => {
  const { context, session, memory, signal } = input;
  for (const [mailboxId, stubs] of await dueStubs(context, "stubs")) {
    const mailbox = context.mailboxes.get(mailboxId);
    if (mailbox?.selectable !== true || mailbox.cursor === null || mailbox.parkedUntil > Date.now()) continue;
    await guarded(input, mailbox, async () => {
      const { had, missing } = await readStubs(context, session, { mailbox, stubs }, signal);
      memory.unparsed ||= had;
      return { candidates: missing, created: 0 };
    });
  }
};

export const runPass = async (input: PassInput): Promise<PassResult> => {
  const { context, session, memory, news, signal } = input;
  const looked = news === null ? await followSurvey(input, await session.survey(signal)) : await followNews(input, news);
  const followed =
    strangersIn(context).length === 0 ? looked : sumOf(looked, await followSurvey(input, await session.survey(signal)));
  const left = replacedIn(context).length;
  await settle(input);
  await readAgain(input);
  if (!backfillPending(context)) return { again: false, ...followed };
  const again = await input.bulkTurn(() => runBackfillSlice(context, session, signal));
  if (!again) {
    // A new epoch read to its end may have left placements that nothing continued.
    memory.candidates = await inAccount(context.db, context.fence, context.accountId, hasCandidates);
    await settle(input);
  }
  // What a listing has left, as one that was cut short does, waits for the next one.
  return { again: again || replacedIn(context).length > left, ...followed };
};
