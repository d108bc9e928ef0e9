/** The mailbox tree of an account brought in step with a survey. */
import { createHash } from "node:crypto";
import type { EndpointId, MailboxId } from "../model/ids.ts";
import type { Survey, SurveyedMailbox } from "../model/observation.ts";
import { reconcileSurvey } from "../reconciler/mailboxes.ts";
import { emptyDraft, type MailboxView } from "../reconciler/state.ts";
import { returnFromGone } from "../reconciler/target-gone.ts";
import type { InputTx } from "../store/account-tx.ts";
import { applyDecision } from "../store/decisions.ts";
import { defineInput, ingest } from "../store/inputs.ts";
import { endpointIsThere } from "../store/endpoint-removal.ts";
import { applyMailboxDecision, readUpstream } from "../store/mailbox-writes.ts";
import { livePlacements, loadMailboxes } from "../store/slices.ts";
import { step } from "../telemetry/failpoint.ts";
import { type LaneContext, type MailboxLane, toMailboxLane } from "./lane-state.ts";

/** What of a survey decides the tree; two surveys with equal prints mean the same tree. Counters are not in it. */
export const treePrint = (mailboxes: readonly SurveyedMailbox[]): string => {
  const hash = createHash("sha256");
  const lines = mailboxes.map(
    (box) =>
      `${box.path}\0${box.delimiter}\0${box.selectable}\0${box.subscribed}\0${box.role}\0${box.roleSource}\0${box.objectId}\0${box.showsAll}\n`,
  );
  for (const line of lines.toSorted()) hash.update(line);
  return hash.digest("base64");
};

/** Takes the rows of the store into the lane's memory, keeping what only memory knows. */
export const refreshMailboxes = async (context: LaneContext, bound: ReadonlyMap<string, number>): Promise<void> => {
  const rows = await readUpstream(context.db, context.accountId, context.endpointId);
  const listed = new Set(rows.map((row) => row.mailboxId));
  for (const id of context.mailboxes.keys()) if (!listed.has(id)) context.mailboxes.delete(id);
  for (const row of rows) {
    const known = context.mailboxes.get(row.mailboxId);
    if (known === undefined) context.mailboxes.set(row.mailboxId, toMailboxLane(row, bound.get(row.mailboxId) ?? 0));
    else {
      // What had its place is not under its new name.
      if (known.path !== row.path) known.replaced = false;
      known.path = row.path;
      known.selectable = row.selectable;
      known.role = row.role;
    }
  }
};

/** D7: what was to be moved into a mailbox that is gone was never there. */
const keepUnconfirmed = async (
  account: InputTx,
  endpointId: EndpointId,
  gone: readonly MailboxId[],
  known: readonly MailboxView[],
): Promise<void> => {
  if (gone.length === 0) return;
  const live = new Set(known.map(({ id }) => id).filter((id) => !gone.includes(id)));
  const inboxId = known.find(({ role }) => role === "inbox")?.id ?? null;
  for (const mailboxId of gone)
    for await (const placements of livePlacements(account, endpointId, mailboxId)) {
      const draft = emptyDraft();
      returnFromGone(draft, { placements, mailboxId, live, inboxId });
      await applyDecision(account, draft, { scope: null, contents: [], existing: new Set() });
    }
};

/** Mailboxes that have another one in their place. */
export const replacedIn = ({ mailboxes }: Pick<LaneContext, "mailboxes">): MailboxId[] =>
  [...mailboxes.values()].flatMap(({ mailboxId, replaced }) => (replaced ? [mailboxId] : []));

interface SurveyFacts {
  readonly endpointId: EndpointId;
  readonly survey: Pick<Survey, "complete" | "mailboxes" | "endedAt">;
  readonly replaced: readonly MailboxId[];
  readonly proven: readonly string[];
  readonly answering: readonly string[];
}

const decideSurvey = async (account: InputTx, { endpointId, survey, replaced, proven, answering }: SurveyFacts) => {
  // A lane that has not heard yet would find none of its mailboxes, take all for new ones and read them once more.
  if (!(await endpointIsThere(account, endpointId))) return { waiting: false, gone: false };
  const known = await loadMailboxes(account, endpointId);
  const freshIds = Array.from({ length: 2 * survey.mailboxes.length + 2 }, () => account.input.freshId());
  const decided = reconcileSurvey({
    endpointId,
    complete: survey.complete,
    surveyed: survey.mailboxes,
    known,
    replaced,
    proven,
    answering,
    freshIds,
    at: survey.endedAt.getTime(),
  });
  await keepUnconfirmed(account, endpointId, decided.gone, known);
  await applyMailboxDecision(account, endpointId, decided);
  const stillMissing = known.some((view) => view.upstream?.absentSince != null && !decided.gone.includes(view.id));
  return { waiting: stillMissing || decided.upstream.some((row) => row.absentSince !== null), gone: decided.gone.length > 0 };
};

const surveySeen = defineInput("observation", "imap.survey", decideSurvey);

/**
 * Decides what a survey means for the tree and writes it. `proven`: paths where mail says which mailbox it is; `answering`: those that
 * are not listed and not said to be gone.
 * @returns whether mailboxes are waited for that may be gone (so that the next equal survey counts too), and whether any went.
 */
export const applySurvey = async (
  context: LaneContext,
  { complete, mailboxes, endedAt }: Survey,
  { proven, answering }: Pick<SurveyFacts, "proven" | "answering">,
): Promise<{ waiting: boolean; gone: boolean }> => {
  step("before tree");
  const replaced = replacedIn(context);
  const facts = { endpointId: context.endpointId, survey: { complete, mailboxes, endedAt }, replaced, proven, answering };
  const decision = await ingest(context, surveySeen, facts);
  step("after tree");
  await refreshMailboxes(context, new Map());
  return decision;
};

/** The lane's mailboxes, INBOX first. */
export const inboxFirst = (mailboxes: Iterable<MailboxLane>): MailboxLane[] =>
  [...mailboxes].toSorted((a, b) => Number(b.role === "inbox") - Number(a.role === "inbox") || (a.path < b.path ? -1 : 1));
