/**
 * Items moved upstream (C2–C4, C7, C8): fenced, moved where the server can and copied where it cannot. Where the server says what
 * became of an item it is bound at once, so that nothing is read again; else the next looks find it (ID-2).
 */
import type { Moved, Refused } from "../endpoints/endpoint.ts";
import type { CommandFence } from "../model/command.ts";
import { SyncError } from "../model/failure.ts";
import type { PlacementId } from "../model/ids.ts";
import { keepsFlag } from "../model/mail.ts";
import { afterLook, afterSetback } from "../reconciler/commands.ts";
import { reviewMove } from "../reconciler/moves.ts";
import { bindOwn } from "../reconciler/own.ts";
import { emptyDraft, type Scope } from "../reconciler/state.ts";
import type { OpenCommand } from "../store/commands.ts";
import { applyDecision } from "../store/decisions.ts";
import { defineInput, ingest } from "../store/inputs.ts";
import { loadBound, loadPlacements } from "../store/slices.ts";
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
  whyNotInto,
  type WriteRun,
} from "./command-run.ts";
import { type MailboxLane, scopeOf } from "./lane-state.ts";
import { fenceFor, look, lookFirst } from "./put-back.ts";
import { unmark } from "./store-flags.ts";

/** C4. */
const batchMost = 500;

interface Journey {
  readonly source: MailboxLane;
  readonly target: MailboxLane;
  readonly commands: readonly OpenCommand[];
}

/** Those that go the same way together; what was tried before goes alone, so that it can spoil nothing but itself. */
const journeysOf = (run: WriteRun, commands: readonly OpenCommand[]): Journey[] => {
  const groups = Map.groupBy(commands, ({ id, attempts, placement }) =>
    [placement?.binding?.mailboxId, placement?.mailboxId, attempts === 0 ? "" : id].join(),
  );
  return [...groups.values()].flatMap((group) => {
    const source = group[0] === undefined ? null : homeOf(run, group[0]);
    const target = laneOf(run, group[0]?.placement?.mailboxId);
    if (source === null || target === null) return [];
    return Array.from({ length: Math.ceil(group.length / batchMost) }, (_, at) => ({
      source,
      target,
      commands: group.slice(at * batchMost, (at + 1) * batchMost),
    }));
  });
};

const uidOf = ({ placement }: OpenCommand): number => placement?.binding?.uid ?? 0;

interface Fenced {
  readonly id: string;
  readonly fence: CommandFence;
}

interface MovedFacts {
  /** Where they are now. */
  readonly scope: Scope;
  readonly commands: readonly OpenCommand[];
  readonly fences: readonly Fenced[];
  readonly outcome: Moved;
  readonly retryFirstMs: number;
}

/** Binds what the server named, in one transaction with the end of the old bindings. */
const itemsMoved = defineInput(
  "outcome",
  "imap.moved",
  async (account, { scope, commands, fences, outcome, retryFirstMs }: MovedFacts) => {
    const fenceOf = new Map(fences.map(({ id, fence }) => [id, fence]));
    const items = new Map(outcome.items.map(({ from, item }) => [from, { ...item, receivedAt: item.internalDate.getTime() }]));
    const named = commands.filter((command) => items.has(uidOf(command)));
    const ids = named.flatMap(({ placement }) => placement?.id ?? []);
    const now = await loadPlacements(account, scope.endpointId, ids);
    const draft = emptyDraft();
    for (const command of named) {
      const fact = items.get(uidOf(command));
      const placement = now.get(command.placement?.id ?? ("" as PlacementId));
      if (fact === undefined || placement === undefined) continue;
      const sent = placement.binding?.shadowFlags ?? [];
      const unasserted = sent.filter((flag) => !keepsFlag(outcome.permanentFlags, flag));
      const leftBehind = outcome.copied ? { id: account.input.freshId() as PlacementId, opId: command.opId ?? "" } : null;
      bindOwn(draft, scope, { placement, fact, sent, unasserted, leftBehind });
    }
    const { bound, closed } = await loadBound(
      account,
      scope,
      draft.bindings.map(({ uid }) => uid),
    );
    const existing = new Set([...bound.keys(), ...closed]);
    await applyDecision(account, draft, { scope, contents: [], existing });
    const lost = commands.filter((command) => !items.has(uidOf(command)));
    // The named ones are confirmed when they are looked at next, in this run.
    const verdicts = lost.map((command): Verdict => {
      const fence = fenceOf.get(command.id);
      return { command, step: afterLook(0, false, retryFirstMs), ...(fence !== undefined && { fence }) };
    });
    await settleCommands(account, scope.endpointId, verdicts);
    return { bound: draft.bindings.length, lost: lost.length };
  },
);

const commitMoved = async (run: WriteRun, journey: Journey, fences: readonly Fenced[], outcome: Moved): Promise<void> => {
  const { context, retryFirstMs } = run;
  const { source, target, commands } = journey;
  const facts = { scope: scopeOf(context, target), commands, fences, outcome, retryFirstMs };
  const { bound, lost } = await ingest(context, itemsMoved, facts);
  target.permanentFlags = outcome.permanentFlags;
  target.bound += bound;
  if (!outcome.copied) source.bound -= bound;
  if (lost > 0) run.lookAround();
};

const moveOrUnknown = async (run: WriteRun, { source, target, commands }: Journey, to: number): Promise<Moved | Refused> => {
  const request = {
    path: source.path,
    uidValidity: source.cursor?.uidValidity ?? 0,
    uids: commands.map(uidOf),
    to: { path: target.path, uidValidity: to },
  };
  try {
    return await (await run.writer()).move(request, run.signal);
  } catch (error) {
    if (error instanceof SyncError && error.kind !== "stopped") await noAnswer(run, commands);
    throw error;
  }
};

const travel = async (run: WriteRun, journey: Journey): Promise<void> => {
  const { context, retryFirstMs } = run;
  const { target, commands } = journey;
  const position = await fenceFor(run, target);
  if (position === null) {
    for (const command of commands) await lookFirst(run, command);
    return;
  }
  if ("kind" in position) {
    const { why } = position;
    await settle(
      run,
      commands.map((command) => ({ command, step: afterSetback(why, command.attempts, retryFirstMs) })),
    );
    return;
  }
  step("before fence");
  const fences = commands.map(({ id, content }): Fenced => {
    const sha256 = content?.sha256.toString("hex");
    return { id, fence: { ...position, ...(sha256 !== undefined && { sha256 }) } };
  });
  await ingest(context, commandsFenced, { commands: fences });
  step("after fence");
  const outcome = await moveOrUnknown(run, journey, position.uidValidity);
  step("after write");
  if (outcome.kind === "moved") await commitMoved(run, journey, fences, outcome);
  else
    await settle(
      run,
      commands.map((command) => ({ command, step: afterSetback(outcome.why, command.attempts + 1, retryFirstMs) })),
    );
  step("after write commit");
};

/** Sends every move of a run that is still wanted; the others end or wait. */
export const moveItems = async (run: WriteRun): Promise<void> => {
  const wanted: OpenCommand[] = [];
  const settled: Verdict[] = [];
  const marked: OpenCommand[] = [];
  for (const command of run.commands) {
    const next = reviewMove(command, { durable: command.content !== null, sentTo: command.fence?.mailboxId ?? null });
    if (next.kind === "look") await look(run, command);
    else if (next.kind === "clear") marked.push(command);
    else if (next.kind !== "send") settled.push({ command, step: next });
    else if (laneOf(run, command.placement?.mailboxId) === null)
      settled.push({ command, step: await whyNotInto(run, command.placement?.mailboxId) });
    else if (homeOf(run, command) === null) settled.push({ command, step: whyNotAt(run, command) });
    else wanted.push(command);
  }
  if (settled.length > 0) await settle(run, settled);
  if (marked.length > 0) await unmark(run, marked);
  for (const journey of journeysOf(run, wanted)) {
    if (Date.now() > run.until) return;
    await travel(run, journey);
  }
};
