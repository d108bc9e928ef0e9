/** Mailboxes that may stand under another name by now, told by some of their mail where their epochs alone do not tell (D1). */
import type { Session } from "../endpoints/endpoint.ts";
import { SyncError } from "../model/failure.ts";
import type { Survey } from "../model/observation.ts";
import { findDoubtful } from "../reconciler/mailbox-claims.ts";
import { isOverdue, usable } from "../reconciler/mailboxes.ts";
import type { MailboxView } from "../reconciler/state.ts";
import { inAccount } from "../store/account-tx.ts";
import { readStoredHeads, sampleBound } from "../store/epochs.ts";
import { loadMailboxes } from "../store/slices.ts";
import type { LaneContext } from "./lane-state.ts";
import { headKeyOf, toListed } from "./recognition.ts";
import { applySurvey, replacedIn } from "./tree.ts";

/** Items looked at, and how many of them have to be there, if there are as many; the others may have been removed since. */
const sampled = 10;
const enough = 3;

/** Header keys of the items at a path, by UID. None where it cannot be read. */
const headsAt = async (
  session: Session,
  { path, uidValidity, uids }: { readonly path: string; readonly uidValidity: number; readonly uids: readonly number[] },
  signal: AbortSignal,
): Promise<ReadonlyMap<number, string | null>> => {
  const keys = new Map<number, string | null>();
  const ranges = uids.map((uid) => ({ from: uid, to: uid }));
  try {
    for await (const items of session.heads({ path, uidValidity, ranges }, signal))
      for (const item of items) keys.set(item.uid, toListed(item).head);
  } catch (error) {
    if (!(error instanceof SyncError) || error.scope !== "mailbox") throw error;
  }
  return keys;
};

/** Are items with the numbers of the mailbox the same mail at the path, as far as header blocks tell? */
const showsMailOf = async (
  { db, accountId, endpointId }: LaneContext,
  session: Session,
  { path, view: { id: mailboxId, upstream } }: { readonly path: string; readonly view: MailboxView },
  signal: AbortSignal,
): Promise<boolean> => {
  const sample = await sampleBound(db, accountId, { endpointId, mailboxId }, sampled);
  if (sample.length === 0) return false;
  const uids = sample.map(({ uid }) => uid);
  const shown = await headsAt(session, { path, uidValidity: upstream?.uidValidity ?? 0, uids }, signal);
  const stored = await readStoredHeads(
    db,
    accountId,
    sample.map(({ sha256 }) => sha256),
  );
  const found = sample.filter(({ uid }) => shown.has(uid));
  const areSame = found.every(({ uid, sha256, size }) => {
    const head = stored.get(sha256.toString("hex"));
    const key = head === undefined ? null : headKeyOf(head, size);
    return key !== null && shown.get(uid) === key;
  });
  return areSame && found.length >= Math.min(enough, sample.length);
};

/** So many mailboxes are asked for one by one, and no more: the rest waits for the next look. */
const askedMost = 100;

/** Decides what a survey means for the tree, with a look at mail where it takes that, and writes it (`applySurvey`). */
export const applyListing = async (
  context: LaneContext,
  session: Session,
  survey: Survey,
  signal: AbortSignal,
): ReturnType<typeof applySurvey> => {
  const known = await inAccount(context.db, context.fence, context.accountId, (account) =>
    loadMailboxes(account, context.endpointId),
  );
  const proven: string[] = [];
  for (const [path, view] of findDoubtful(usable(survey.mailboxes), known, new Set(replacedIn(context))))
    if (await showsMailOf(context, session, { path, view }, signal)) proven.push(path);
  const listed = new Set(survey.mailboxes.map(({ path }) => path));
  const lacking = known.flatMap((view) => {
    const path = view.upstream?.path ?? "";
    return isOverdue(view, survey.endedAt.getTime()) && !listed.has(path) ? [path] : [];
  });
  const asked = lacking.slice(0, askedMost);
  const there = asked.length === 0 ? [] : await session.answering(asked, signal);
  return applySurvey(context, survey, { proven, answering: [...there, ...lacking.slice(askedMost)] });
};
