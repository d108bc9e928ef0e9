/** Items destroyed upstream because an operation wants it: marked, read back, removed one by one, and read back again (C7, B5). */
import type { Expunged, Refused } from "../endpoints/endpoint.ts";
import { SyncError } from "../model/failure.ts";
import type { MailboxId } from "../model/ids.ts";
import { afterSetback, type Ending, wait, type Waiting } from "../reconciler/commands.ts";
import { reconcileFlags } from "../reconciler/observed-flags.ts";
import { mostExpunged, reviewExpunge } from "../reconciler/moves.ts";
import type { Scope } from "../reconciler/state.ts";
import type { OpenCommand } from "../store/commands.ts";
import { countExpunges } from "../store/ended-commands.ts";
import { applyDecision } from "../store/decisions.ts";
import { defineInput, ingest } from "../store/inputs.ts";
import { loadBound } from "../store/slices.ts";
import { step } from "../telemetry/failpoint.ts";
import {
  commandsFenced,
  homeOf,
  laneOf,
  noAnswer,
  settle,
  settleCommands,
  type Verdict,
  whyNotAt,
  type WriteRun,
} from "./command-run.ts";
import { type MailboxLane, scopeOf } from "./lane-state.ts";

/** C4. */
const batchMost = 500;

const uidOf = ({ placement }: OpenCommand): number => placement?.binding?.uid ?? 0;

const afterExpunge = (command: OpenCommand, { facts, conflicts, onlyMarked }: Expunged, firstMs: number): Ending | Waiting => {
  const uid = uidOf(command);
  const left = facts.find((fact) => fact.uid === uid);
  if (left === undefined) return { kind: "end", status: "confirmed", outcome: command.reason };
  if (conflicts.includes(uid)) return wait(0, "conflict");
  if (onlyMarked && left.flags.includes("\\Deleted")) return { kind: "end", status: "masked", outcome: "pending_expunge" };
  return afterSetback("no_effect", command.attempts + 1, firstMs);
};

interface ExpungedFacts {
  readonly scope: Scope;
  readonly commands: readonly OpenCommand[];
  readonly outcome: Expunged;
  readonly retryFirstMs: number;
}

const itemsExpunged = defineInput(
  "outcome",
  "imap.expunged",
  async (account, { scope, commands, outcome, retryFirstMs }: ExpungedFacts) => {
    const { bound } = await loadBound(account, scope, commands.map(uidOf));
    const left = new Set(outcome.facts.map(({ uid }) => uid));
    const gone = [...bound.keys()].filter((uid) => !left.has(uid));
    const decision = reconcileFlags({ scope, facts: outcome.facts, bound, seen: null });
    const closed = gone.map((uid) => ({ uid, reason: "expunged" }));
    const surroundings = { scope, contents: [], existing: new Set(bound.keys()) };
    await applyDecision(account, { ...decision, closed }, surroundings);
    const verdicts = commands.map((command) => ({ command, step: afterExpunge(command, outcome, retryFirstMs) }));
    await settleCommands(account, scope.endpointId, verdicts);
    return gone.length;
  },
);

const expungeOrUnknown = async (
  run: WriteRun,
  { mailbox, commands }: { readonly mailbox: MailboxLane; readonly commands: readonly OpenCommand[] },
): Promise<Expunged | Refused> => {
  const items = commands.map((command) => ({ uid: uidOf(command), unchangedSince: command.modseq }));
  const request = { path: mailbox.path, uidValidity: mailbox.cursor?.uidValidity ?? 0, items };
  try {
    return await (await run.writer()).expunge(request, run.signal);
  } catch (error) {
    if (error instanceof SyncError && error.kind !== "stopped") await noAnswer(run, commands);
    throw error;
  }
};

const remove = async (
  run: WriteRun,
  batch: { readonly mailbox: MailboxLane; readonly commands: readonly OpenCommand[] },
): Promise<void> => {
  const { context, retryFirstMs } = run;
  const { mailboxId, cursor } = batch.mailbox;
  const fence = { mailboxId, epoch: scopeOf(context, batch.mailbox).epoch, uidValidity: cursor?.uidValidity ?? 0 };
  step("before fence");
  await ingest(context, commandsFenced, { commands: batch.commands.map(({ id }) => ({ id, fence })) });
  step("after fence");
  const outcome = await expungeOrUnknown(run, batch);
  step("after write");
  if (outcome.kind === "expunged") {
    const { mailbox, commands } = batch;
    mailbox.bound -= await ingest(context, itemsExpunged, { scope: scopeOf(context, mailbox), commands, outcome, retryFirstMs });
  } else
    await settle(
      run,
      batch.commands.map((command) => ({ command, step: afterSetback(outcome.why, command.attempts + 1, retryFirstMs) })),
    );
  step("after write commit");
};

/** Sends every removal of a run that is still wanted and that there is room for; the others end or wait. */
export const expungeItems = async (run: WriteRun): Promise<void> => {
  const { context } = run;
  if (run.commands.length === 0) return;
  const expunged = await countExpunges(context.db, context.accountId, context.endpointId);
  const wanted = new Map<MailboxLane, OpenCommand[]>();
  const settled: Verdict[] = [];
  for (const command of run.commands) {
    const { placement, content, args, succession } = command;
    const mailboxId = placement?.binding?.mailboxId ?? ("" as MailboxId);
    const mailbox = laneOf(run, mailboxId);
    const already = expunged.get(mailboxId) ?? 0;
    const room = args.named === true || already < mostExpunged(mailbox?.bound ?? 0);
    const next = reviewExpunge(command, { durable: content !== null, room, succession, lasting: mailbox?.numbersLast !== false });
    if (next.kind !== "send") settled.push({ command, step: next });
    else if (mailbox === null || homeOf(run, command) === null) settled.push({ command, step: whyNotAt(run, command) });
    else {
      wanted.set(mailbox, [...(wanted.get(mailbox) ?? []), command]);
      if (args.named !== true) expunged.set(mailboxId, already + 1);
    }
  }
  if (settled.length > 0) await settle(run, settled);
  for (const [mailbox, commands] of wanted)
    for (let at = 0; at < commands.length; at += batchMost) {
      if (Date.now() > run.until) return;
      await remove(run, { mailbox, commands: commands.slice(at, at + batchMost) });
    }
};
