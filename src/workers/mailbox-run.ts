/**
 * Brings the mailboxes of a server to where the canonical tree has them. Each is on its own: decided anew under the account's
 * lock, fenced, said, and believed when the next survey shows it; that survey also tells what a lost answer was.
 */
import type { MailboxOutcome, MailboxWriter, Refused } from "../endpoints/endpoint.ts";
import type { DecidedChange } from "../model/change.ts";
import { SyncError } from "../model/failure.ts";
import type { EndpointId } from "../model/ids.ts";
import type { MailboxFence } from "../model/mailbox-command.ts";
import {
  afterEmptying,
  afterSetback,
  type Ending,
  end,
  type Setback,
  unsettled,
  type Waiting,
  wait,
} from "../reconciler/commands.ts";
import { describeMailbox, type MailboxDecision, removeMailbox } from "../reconciler/mailboxes.ts";
import { mergeMailbox, sameToServer } from "../reconciler/mailbox-merge.ts";
import { type MailboxStep, nextMailboxStep } from "../reconciler/mailbox-plan.ts";
import type { MailboxView } from "../reconciler/state.ts";
import type { InputTx } from "../store/account-tx.ts";
import { type CommandMove, fenceCommands, moveCommands } from "../store/commands.ts";
import {
  endIntent,
  listMailboxCommands,
  type OpenMailboxCommand,
  readContents,
  readMailboxCommand,
  wakeWaiting,
} from "../store/mailbox-commands.ts";
import { defineInput, ingest } from "../store/inputs.ts";
import { applyMailboxDecision } from "../store/mailbox-writes.ts";
import { loadMailboxes } from "../store/slices.ts";
import { step } from "../telemetry/failpoint.ts";
import { commandRetries, commandsEnded } from "../telemetry/metrics.ts";
import { commandsFenced, type WriteInput } from "./command-run.ts";
import { moveAll, removeLeft } from "./emptying.ts";

export interface MailboxRun extends WriteInput {
  readonly writer: () => Promise<MailboxWriter>;
  /** In ms since 1970; what has not begun by then waits. */
  readonly until: number;
}

type Sending = Extract<MailboxStep, { kind: "create" | "rename" | "remove" | "show" }>;

interface Decided {
  readonly command: OpenMailboxCommand;
  readonly next: Sending;
}

const endChange = (endpointId: EndpointId, command: OpenMailboxCommand, ending: Ending): DecidedChange[] => {
  if (ending.status === "superseded") return [];
  const applied = ending.status === "confirmed";
  const { mailboxId, verb, deviceId, fence, attempts } = command;
  return [
    {
      kind: applied ? "write.applied" : "write.failed",
      messageId: null,
      mailboxId,
      placementId: null,
      before: null,
      after: { verb, ...(fence !== null && { step: fence.step, path: fence.path }) },
      source: "api",
      endpointId,
      deviceId,
      reason: applied ? "api_write" : ending.outcome,
      rule: applied ? "Q4" : verb === "remove" ? "D7" : "C5",
      confidence: null,
      evidence: applied ? [] : [{ attempts }],
    },
  ];
};

/** Writes what became of one; an end wakes those that waited for it. */
const settle = async (
  account: InputTx,
  endpointId: EndpointId,
  command: OpenMailboxCommand,
  next: Ending | Waiting,
): Promise<void> => {
  const { at } = account.input;
  const { id, verb, opId } = command;
  const rest = { id, opId, outcome: next.outcome };
  if (next.kind === "wait") {
    const dueAt = next.afterMs === 0 ? null : new Date(at.getTime() + next.afterMs);
    const status = next.unsettled ? "unknown" : "planned";
    const counted = next.tried === true && { tried: true as const };
    await moveCommands(account, [{ ...rest, status, dueAt, changes: [], ...counted } satisfies CommandMove]);
    commandRetries.inc({ verb: `mailbox_${verb}`, why: next.outcome ?? "waiting" });
    return;
  }
  await moveCommands(account, [{ ...rest, status: next.status, dueAt: null, changes: endChange(endpointId, command, next) }]);
  await wakeWaiting(account, endpointId);
  const isDone = next.status === "confirmed" || next.outcome === "never_made";
  await endIntent(
    account,
    command.opId,
    isDone ? { status: "applied", reason: "removed" } : { status: "rejected", reason: next.outcome },
  );
  commandsEnded.inc({ verb: `mailbox_${verb}`, status: next.status });
};

const change = (command: OpenMailboxCommand, view: MailboxView, rest: Partial<DecidedChange>): DecidedChange => ({
  kind: "mailbox.renamed",
  messageId: null,
  mailboxId: view.id,
  placementId: null,
  before: describeMailbox(view),
  after: null,
  source: "rule",
  endpointId: null,
  deviceId: command.deviceId,
  reason: "name_taken",
  rule: "D5",
  confidence: null,
  evidence: [],
  ...rest,
});

type Yielding = Extract<MailboxStep, { kind: "number" | "adopt" | "merge" | "drop" }>;

/** The canonical side gives way: another name (D5), that of the server (D11), or the end of what upstream never had. */
const giveWay = (
  command: OpenMailboxCommand,
  view: MailboxView,
  { next, known }: { readonly next: Yielding; readonly known: readonly MailboxView[] },
): MailboxDecision => {
  if (next.kind === "merge") return mergeMailbox({ view, into: next.into, known, deviceId: command.deviceId });
  if (next.kind === "drop") {
    const removed = change(command, view, { kind: "mailbox.removed", source: "api", reason: "api_removed", rule: "D8" });
    return { changes: [removed], mailboxes: [removeMailbox(view, 0)], upstream: [], gone: [] };
  }
  const { id, parentId, role, roleSource, subscribed } = view;
  const { name } = next;
  const why = next.kind === "adopt" ? sameToServer : {};
  const evidence = [{ loser: { name: view.name }, source: "api", deviceId: command.deviceId }];
  const changes = [
    change(command, view, { after: { name, parentId, role }, ...why }),
    change(command, view, { kind: "conflict.resolved", before: null, evidence, ...why }),
  ];
  const written = { id, created: false, name, parentId, role, roleSource, subscribed, lifecycle: "live", change: 0 } as const;
  return { changes, mailboxes: [written], upstream: [], gone: [] };
};

/** In the tree and in the mail, and what that means for the command. */
const yieldTo = async (
  account: InputTx,
  endpointId: EndpointId,
  command: OpenMailboxCommand,
  { next, known }: { readonly next: Yielding; readonly known: readonly MailboxView[] },
): Promise<void> => {
  const { mailboxId: from, opId, deviceId } = command;
  const view = known.find((one) => one.id === from);
  if (next.kind === "merge")
    await moveAll(account, endpointId, { from, to: next.into.id, opId, deviceId: deviceId ?? "", why: sameToServer });
  if (view !== undefined) await applyMailboxDecision(account, endpointId, giveWay(command, view, { next, known }));
  // Without its fence: what the server said of the old name is settled.
  await settle(account, endpointId, command, afterYielding[next.kind]);
};

const afterYielding = {
  number: wait(0, "name_taken"),
  adopt: wait(0, sameToServer.reason),
  merge: end("superseded", sameToServer.reason),
  drop: end("superseded", "never_made"),
} as const;

const fenceFor = (next: Exclude<Sending, { kind: "show" }>): MailboxFence => ({
  step: next.kind,
  path: next.path,
  from: next.kind === "rename" ? next.from : null,
  uidValidity: next.kind === "create" ? null : next.uidValidity,
});

interface DueFacts {
  readonly endpointId: EndpointId;
  readonly id: string;
  readonly prefix: string;
  /** When the survey began that the stored tree agrees with, in ms since 1970. */
  readonly treeReadAt: number;
  readonly retryFirstMs: number;
}

/** One transaction: what is to be done, and the fence where it cannot be taken back. */
const decideDue = async (
  account: InputTx,
  { endpointId, id, prefix, treeReadAt, retryFirstMs }: DueFacts,
): Promise<Decided | "settled" | "unsurveyed"> => {
  const command = await readMailboxCommand(account, id);
  if (command === null) return "settled";
  // What was sent is looked for before anything else is said (C3, C9).
  if (command.status !== "planned" && treeReadAt <= (command.sentAt?.getTime() ?? 0)) {
    await settle(account, endpointId, command, unsettled(retryFirstMs, "not_surveyed"));
    return "unsurveyed";
  }
  const known = await loadMailboxes(account, endpointId);
  const { live, busy } = await readContents(account, endpointId, command.mailboxId);
  const next = nextMailboxStep(command, { known, prefix, holds: live, busy });
  if (next.kind === "end" || next.kind === "wait") {
    await settle(account, endpointId, command, next);
    return "settled";
  }
  if (next.kind === "number" || next.kind === "adopt" || next.kind === "merge" || next.kind === "drop") {
    await yieldTo(account, endpointId, command, { next, known });
    return "settled";
  }
  if (next.kind === "empty") {
    const { mailboxId: from, opId, deviceId } = command;
    await moveAll(account, endpointId, { from, to: next.to, opId, deviceId: deviceId ?? "" });
    await settle(account, endpointId, command, afterEmptying(command.attempts, retryFirstMs));
    return "settled";
  }
  if (next.kind === "remove" && (await removeLeft(account, endpointId, { from: command.mailboxId, opId: command.opId }))) {
    await settle(account, endpointId, command, afterEmptying(command.attempts, retryFirstMs));
    return "settled";
  }
  if (next.kind !== "show") {
    step("before fence");
    await fenceCommands(account, [{ id, fence: fenceFor(next) }]);
  }
  return { command, next };
};

const commandDue = defineInput("tick", "mailbox.due", decideDue);

interface SettledFacts {
  readonly endpointId: EndpointId;
  readonly command: OpenMailboxCommand;
  readonly next: Ending | Waiting;
}

const commandSettled = defineInput("outcome", "mailbox.settled", (account, { endpointId, command, next }: SettledFacts) =>
  settle(account, endpointId, command, next),
);

const settleAlone = ({ context }: MailboxRun, command: OpenMailboxCommand, next: Ending | Waiting): Promise<void> =>
  ingest(context, commandSettled, { endpointId: context.endpointId, command, next });

const speak = async (writer: MailboxWriter, next: Exclude<Sending, { kind: "show" }>, signal: AbortSignal) => {
  if (next.kind === "create") return writer.create(next.path, signal);
  if (next.kind === "rename") return writer.rename({ from: next.from, to: next.path }, signal);
  return writer.remove(next, signal);
};

const setbackOf = (outcome: MailboxOutcome | Refused): Setback | null => {
  if (outcome.kind !== "refused") return null;
  // The tree is another one than we know.
  return outcome.why === "no_mailbox" || outcome.why === "epoch" ? "try_later" : outcome.why;
};

const send = async (run: MailboxRun, { command, next }: Decided, writer: MailboxWriter): Promise<void> => {
  if (next.kind === "show") {
    for (const { from, to } of next.moves) {
      await writer.subscribe(to, true, run.signal);
      if (from !== null) await writer.subscribe(from, false, run.signal);
    }
    return settleAlone(run, command, end("confirmed", "api_write"));
  }
  step("after fence");
  const outcome = await speak(writer, next, run.signal);
  step("after write");
  run.lookAround();
  const setback = setbackOf(outcome);
  if (setback !== null) {
    const retry = afterSetback(setback, command.attempts + 1, run.retryFirstMs);
    return settleAlone(run, command, retry);
  }
  if (outcome.kind === "occupied") {
    // What came is moved as well when it has been read.
    const retry =
      command.args.moveTo === undefined
        ? end("failed", "mailbox_not_empty")
        : afterSetback("try_later", command.attempts + 1, run.retryFirstMs);
    return settleAlone(run, command, retry);
  }
  if (outcome.kind !== "exists") return;
  const fence: MailboxFence = { ...fenceFor(next), exists: true };
  await ingest(run.context, commandsFenced, { commands: [{ id: command.id, fence }] });
};

/** C9: an answer that did not come is not a no. */
const sendOrWait = async (run: MailboxRun, decided: Decided, writer: MailboxWriter): Promise<void> => {
  try {
    await send(run, decided, writer);
  } catch (error) {
    if (error instanceof SyncError && error.kind !== "stopped")
      await settleAlone(run, decided.command, afterSetback("no_answer", decided.command.attempts + 1, run.retryFirstMs));
    throw error;
  }
};

/** Says what is due. @returns when to look again, in ms since 1970; infinity: nothing is owed. */
export const tendMailboxes = async (run: MailboxRun): Promise<number> => {
  const { db, accountId, endpointId } = run.context;
  const isDue = ({ dueAt }: OpenMailboxCommand): boolean => (dueAt?.getTime() ?? 0) <= Date.now();
  const before = await listMailboxCommands(db, accountId, endpointId);
  const due = before.filter(isDue);
  if (due.length > 0) {
    const writer = await run.writer();
    const prefix = await writer.rootPrefix(run.signal);
    for (const { id } of due) {
      if (Date.now() > run.until) break;
      const { context, retryFirstMs } = run;
      const facts = { endpointId, id, prefix, treeReadAt: context.tree.readAt, retryFirstMs };
      const decided = await ingest(context, commandDue, facts);
      if (decided === "unsurveyed") run.lookAround();
      else if (decided !== "settled") await sendOrWait(run, decided, writer);
    }
  }
  const open = await listMailboxCommands(db, accountId, endpointId);
  // What has ended may be what others waited for.
  if (open.length < before.length) return Date.now();
  return Math.min(Number.POSITIVE_INFINITY, ...open.map(({ dueAt }) => dueAt?.getTime() ?? Date.now()));
};
