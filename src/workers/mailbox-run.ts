/**
 * Brings the mailboxes of a server to where the canonical tree has them. Each is on its own: decided anew under the account's
 * lock, fenced, said, and believed when the next survey shows it; that survey also tells what a lost answer was.
 */
import type { MailboxOutcome, MailboxWriter, Refused } from "../endpoints/endpoint.ts";
import type { DecidedChange } from "../model/change.ts";
import { SyncError } from "../model/failure.ts";
import type { MailboxFence } from "../model/mailbox-command.ts";
import { afterSetback, type Ending, end, type Setback, unsettled, type Waiting, wait } from "../reconciler/commands.ts";
import { describeMailbox, type MailboxDecision, removeMailbox } from "../reconciler/mailboxes.ts";
import { type MailboxStep, nextMailboxStep } from "../reconciler/mailbox-plan.ts";
import type { MailboxView } from "../reconciler/state.ts";
import { type AccountTx, inAccount } from "../store/account-tx.ts";
import { type CommandMove, fenceCommands, moveCommands } from "../store/commands.ts";
import {
  endIntent,
  listMailboxCommands,
  type OpenMailboxCommand,
  readContents,
  readMailboxCommand,
  wakeWaiting,
} from "../store/mailbox-commands.ts";
import { applyMailboxDecision } from "../store/mailbox-writes.ts";
import { loadMailboxes } from "../store/slices.ts";
import { step } from "../telemetry/failpoint.ts";
import { commandRetries, commandsEnded } from "../telemetry/metrics.ts";
import type { WriteInput } from "./command-run.ts";
import { moveAll } from "./emptying.ts";

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

const within = <T>({ context }: MailboxRun, work: (account: AccountTx) => Promise<T>): Promise<T> =>
  inAccount(context.db, context.fence, context.accountId, work);

const endChange = ({ context }: MailboxRun, command: OpenMailboxCommand, ending: Ending): DecidedChange[] => {
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
      endpointId: context.endpointId,
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
  run: MailboxRun,
  account: AccountTx,
  command: OpenMailboxCommand,
  { next, fence }: { readonly next: Ending | Waiting; readonly fence?: MailboxFence },
): Promise<void> => {
  const at = new Date();
  const { id, verb, opId } = command;
  const rest = { id, opId, outcome: next.outcome, ...(fence !== undefined && { fence }) };
  if (next.kind === "wait") {
    const dueAt = next.afterMs === 0 ? null : new Date(at.getTime() + next.afterMs);
    const status = next.unsettled ? "unknown" : "planned";
    await moveCommands(account, [{ ...rest, status, dueAt, changes: [] } satisfies CommandMove], at);
    commandRetries.inc({ verb: `mailbox_${verb}`, why: next.outcome ?? "waiting" });
    return;
  }
  await moveCommands(account, [{ ...rest, status: next.status, dueAt: null, changes: endChange(run, command, next) }], at);
  await wakeWaiting(account, run.context.endpointId);
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

/** The canonical side gives way: another name (D5), or the end of what upstream never had. */
const giveWay = (command: OpenMailboxCommand, view: MailboxView, next: MailboxStep): MailboxDecision => {
  if (next.kind === "drop") {
    const removed = change(command, view, { kind: "mailbox.removed", source: "api", reason: "api_removed", rule: "D8" });
    return { changes: [removed], mailboxes: [removeMailbox(view, 0)], upstream: [], gone: [] };
  }
  const { id, parentId, role, roleSource, subscribed } = view;
  const name = next.kind === "number" ? next.name : view.name;
  const evidence = [{ loser: { name: view.name }, source: "api", deviceId: command.deviceId }];
  const changes = [
    change(command, view, { after: { name, parentId, role } }),
    change(command, view, { kind: "conflict.resolved", before: null, evidence }),
  ];
  const written = { id, created: false, name, parentId, role, roleSource, subscribed, lifecycle: "live", change: 0 } as const;
  return { changes, mailboxes: [written], upstream: [], gone: [] };
};

const fenceFor = (next: Exclude<Sending, { kind: "show" }>): MailboxFence => ({
  step: next.kind,
  path: next.path,
  from: next.kind === "rename" ? next.from : null,
  uidValidity: next.kind === "create" ? null : next.uidValidity,
});

/** One transaction: what is to be done, and the fence where it cannot be taken back. Null: nothing is to be sent. */
const decide = (run: MailboxRun, id: string, prefix: string): Promise<Decided | null> =>
  within(run, async (account) => {
    const { endpointId, tree } = run.context;
    const command = await readMailboxCommand(account, id);
    if (command === null) return null;
    // What was sent is looked for before anything else is said (C3, C9).
    if (command.status !== "planned" && tree.readAt <= (command.sentAt?.getTime() ?? 0)) {
      run.lookAround();
      return settle(run, account, command, { next: unsettled(run.retryFirstMs, "not_surveyed") }).then(() => null);
    }
    const known = await loadMailboxes(account, endpointId);
    const { live, busy } = await readContents(account, endpointId, command.mailboxId);
    const next = nextMailboxStep(command, { known, prefix, holds: live, busy });
    if (next.kind === "end" || next.kind === "wait") return settle(run, account, command, { next }).then(() => null);
    const view = known.find((one) => one.id === command.mailboxId);
    if (next.kind === "number" || next.kind === "drop") {
      if (view !== undefined) await applyMailboxDecision(account, endpointId, giveWay(command, view, next), new Date());
      // Without its fence: what the server said of the old name is settled.
      await settle(run, account, command, {
        next: next.kind === "drop" ? end("superseded", "never_made") : wait(0, "name_taken"),
      });
      return null;
    }
    if (next.kind === "empty") {
      const { mailboxId: from, opId, deviceId } = command;
      await moveAll(account, endpointId, { from, to: next.to, opId, deviceId: deviceId ?? "" });
      return settle(run, account, command, { next: wait(0, "not_empty_yet") }).then(() => null);
    }
    if (next.kind !== "show") {
      step("before fence");
      await fenceCommands(account, [{ id, fence: fenceFor(next) }], new Date());
    }
    return { command, next };
  });

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
    return within(run, (account) => settle(run, account, command, { next: end("confirmed", "api_write") }));
  }
  step("after fence");
  const outcome = await speak(writer, next, run.signal);
  step("after write");
  run.lookAround();
  const setback = setbackOf(outcome);
  if (setback !== null) {
    const retry = afterSetback(setback, command.attempts + 1, run.retryFirstMs);
    return within(run, (account) => settle(run, account, command, { next: retry }));
  }
  if (outcome.kind === "occupied") {
    // What came is moved as well when it has been read.
    const retry =
      command.args.moveTo === undefined
        ? end("failed", "mailbox_not_empty")
        : afterSetback("try_later", command.attempts + 1, run.retryFirstMs);
    return within(run, (account) => settle(run, account, command, { next: retry }));
  }
  if (outcome.kind !== "exists") return;
  const fence: MailboxFence = { ...fenceFor(next), exists: true };
  await within(run, (account) => fenceCommands(account, [{ id: command.id, fence }], new Date()));
};

/** C9: an answer that did not come is not a no. */
const sendOrWait = async (run: MailboxRun, decided: Decided, writer: MailboxWriter): Promise<void> => {
  try {
    await send(run, decided, writer);
  } catch (error) {
    if (error instanceof SyncError && error.kind !== "stopped")
      await within(run, (account) =>
        settle(run, account, decided.command, {
          next: afterSetback("no_answer", decided.command.attempts + 1, run.retryFirstMs),
        }),
      );
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
      const decided = await decide(run, id, prefix);
      if (decided !== null) await sendOrWait(run, decided, writer);
    }
  }
  const open = await listMailboxCommands(db, accountId, endpointId);
  // What has ended may be what others waited for.
  if (open.length < before.length) return Date.now();
  return Math.min(Number.POSITIVE_INFINITY, ...open.map(({ dueAt }) => dueAt?.getTime() ?? Date.now()));
};
