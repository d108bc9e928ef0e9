/** Commands on their way: what a run of them shares, and how what became of them is written. */
import type { MailboxWriter } from "../endpoints/endpoint.ts";
import type { DecidedChange } from "../model/change.ts";
import type { CommandReason } from "../model/command.ts";
import type { EndpointId, MailboxId } from "../model/ids.ts";
import { afterSetback, awaitsMailbox, type Ending, outOfReach, wait, type Waiting } from "../reconciler/commands.ts";
import { acceptSeen } from "../reconciler/pop3-seen.ts";
import type { InputTx } from "../store/account-tx.ts";
import { type CommandMove, fenceCommands, moveCommands, type OpenCommand, planIntentCommands } from "../store/commands.ts";
import { applyDecision } from "../store/decisions.ts";
import { defineInput, ingest } from "../store/inputs.ts";
import { listMailboxCommands } from "../store/mailbox-commands.ts";
import { loadPlacements } from "../store/slices.ts";
import { commandRetries, commandsEnded } from "../telemetry/metrics.ts";
import type { LaneContext, MailboxLane } from "./lane-state.ts";

export interface WriteInput {
  readonly context: LaneContext;
  readonly open: () => Promise<MailboxWriter>;
  /** First wait after a setback, in ms; it doubles. */
  readonly retryFirstMs: number;
  readonly signal: AbortSignal;
  /** Makes sure of items before they are written to. @returns whether they had to be looked at, so that others may be owed now. */
  readonly know: (items: ReadonlyMap<MailboxId, readonly number[]>) => Promise<boolean>;
  /** Has the session seen that what lies in it is what it was? Else nothing of it is written to (ID-11). */
  readonly isKnown: (mailbox: MailboxLane) => boolean;
  /** Something changed upstream that the next pass has to look for, at once. */
  readonly lookAround: () => void;
}

/** One run: the commands that may be sent now, and how to send them. */
export interface WriteRun extends Omit<WriteInput, "open"> {
  readonly commands: readonly OpenCommand[];
  readonly writer: () => Promise<MailboxWriter>;
  /** In ms since 1970: what has not begun by then waits, for reading must go on. */
  readonly until: number;
}

/** What became of a command. */
export interface Verdict {
  readonly command: OpenCommand;
  readonly step: Ending | Waiting;
  readonly fence?: CommandMove["fence"];
}

const rules = {
  pop3_seen_reverted: "Z5",
  pop3_drain_via_trash: "Z5",
  self_inflicted_seen: "K11",
  restored_after_drain: "V18",
  preserved_ahead: "V21",
  source_gone: "P8",
  flags_lost: "F9",
  grow_only: "F4",
  exclusive_keywords: "F3",
} as const;

const verbRules = { store: "C1", move: "C2", append: "C3", expunge: "C7" } as const;

const ruleOf = ({ reason, verb }: OpenCommand): string => (reason === "api_write" ? verbRules[verb] : rules[reason]);

/** What is upstream now, or would be: of what an operation wanted, its state; of what a rule did, its words. */
const saidBy = ({ verb, args, opId, placement }: OpenCommand): Record<string, unknown> =>
  opId === null && args.remove !== undefined
    ? { verb, ...args }
    : { verb, mailboxId: placement?.mailboxId, keywords: placement?.keywords };

const waitsForSomebody: ReadonlySet<string | null> = new Set(["over_quota", "mailbox_refused"]);

const changeOf = (endpointId: LaneContext["endpointId"], { command, step }: Verdict): DecidedChange[] => {
  const { placement, reason, attempts, opId, deviceId } = command;
  // It waits for somebody, which is said when it begins to.
  const held = waitsForSomebody.has(step.outcome) && command.outcome !== step.outcome;
  if (placement === null || (step.kind === "wait" ? !held : step.status === "superseded")) return [];
  const applied = step.kind === "end" && (step.status === "confirmed" || step.applied === true);
  return [
    {
      kind: applied ? "write.applied" : step.kind === "wait" ? "write.held" : "write.failed",
      messageId: placement.messageId,
      mailboxId: placement.mailboxId,
      placementId: placement.id,
      before: null,
      after: saidBy(command),
      source: opId === null ? "rule" : "api",
      endpointId,
      deviceId,
      reason: applied ? reason : (step.outcome ?? "no_answer"),
      rule: applied ? ruleOf(command) : "C5",
      confidence: null,
      evidence: applied ? (step.applied === true ? [{ masked: step.outcome }] : []) : [{ because: reason, attempts }],
    },
  ];
};

const moveOf = (endpointId: LaneContext["endpointId"], verdict: Verdict, at: Date): CommandMove => {
  const { command, step, fence } = verdict;
  const { id, opId } = command;
  const rest = { id, opId, outcome: step.outcome, changes: changeOf(endpointId, verdict), ...(fence !== undefined && { fence }) };
  if (step.kind === "end") return { ...rest, status: step.status, dueAt: null };
  const status = step.unsettled ? "unknown" : "planned";
  const dueAt = step.afterMs === 0 ? null : new Date(at.getTime() + step.afterMs);
  return {
    ...rest,
    status,
    dueAt,
    ...(step.progress === true && { progress: true }),
    ...(step.tried === true && { tried: true }),
  };
};

/** What the daemon took for no reading of the owner. What the owner wants unread stays so, whatever the server takes. */
const reverts: ReadonlySet<CommandReason> = new Set(["pop3_seen_reverted", "pop3_drain_via_trash", "self_inflicted_seen"]);

/** What an operation wanted may have become something else on the way; what is masked or failed is not wanted again by itself. */
const planRest = async (account: InputTx, endpointId: EndpointId, verdicts: readonly Verdict[]): Promise<void> => {
  for (const { command, step } of verdicts) {
    const { opId, placement, verb } = command;
    if (opId === null || placement === null || step.kind === "wait") continue;
    if (step.status !== "superseded" && step.status !== "confirmed") continue;
    await planIntentCommands(account, endpointId, [placement.id], { opId, except: verb });
  }
};

/** Z6: what could not be set back to unread. */
const yieldSeen = async (account: InputTx, endpointId: EndpointId, verdicts: readonly Verdict[]): Promise<void> => {
  const refused = verdicts.flatMap(({ command: { reason, placement }, step }) =>
    reverts.has(reason) && step.kind === "end" && (step.status === "masked" || step.status === "failed") && placement !== null
      ? [placement]
      : [],
  );
  const [first] = refused;
  if (first === undefined) return;
  const ids = refused.map(({ id }) => id);
  const decision = acceptSeen(endpointId, [...(await loadPlacements(account, endpointId, ids)).values()]);
  // Nothing is bound by it, so that neither mailbox nor epoch counts.
  const scope = { endpointId, mailboxId: first.mailboxId, epoch: 0 };
  await applyDecision(account, decision, { scope, contents: [], existing: new Set() });
};

/** Writes what became of commands, in a transaction that may hold more. */
export const settleCommands = async (account: InputTx, endpointId: EndpointId, verdicts: readonly Verdict[]): Promise<void> => {
  await moveCommands(
    account,
    verdicts.map((verdict) => moveOf(endpointId, verdict, account.input.at)),
  );
  await planRest(account, endpointId, verdicts);
  await yieldSeen(account, endpointId, verdicts);
  for (const { command, step } of verdicts)
    if (step.kind === "end") commandsEnded.inc({ verb: command.verb, status: step.status });
    else commandRetries.inc({ verb: command.verb, why: step.outcome ?? "waiting" });
};

interface Verdicts {
  readonly endpointId: EndpointId;
  readonly verdicts: readonly Verdict[];
}

const commandsEnd = defineInput("outcome", "commands.settled", (account, { endpointId, verdicts }: Verdicts) =>
  settleCommands(account, endpointId, verdicts),
);

interface Fenced {
  readonly commands: Parameters<typeof fenceCommands>[1];
}

export const commandsFenced = defineInput("outcome", "commands.fenced", (account, { commands }: Fenced) =>
  fenceCommands(account, commands),
);

/** Writes what became of commands. */
export const settle = ({ context }: Pick<WriteRun, "context">, verdicts: readonly Verdict[]): Promise<void> =>
  ingest(context, commandsEnd, { endpointId: context.endpointId, verdicts });

/** A mailbox that can be written to now; null: it cannot. */
export const laneOf = ({ context }: WriteRun, id: MailboxId | undefined): MailboxLane | null => {
  const mailbox = id === undefined ? undefined : context.mailboxes.get(id);
  return mailbox?.selectable === true && mailbox.cursor !== null && mailbox.parkedUntil <= Date.now() ? mailbox : null;
};

/** The mailbox of an item that can be written to now; null: it cannot, `whyNotAt` says why. */
export const homeOf = (run: WriteRun, { placement }: OpenCommand): MailboxLane | null => {
  const mailbox = laneOf(run, placement?.binding?.mailboxId);
  return mailbox !== null && run.isKnown(mailbox) ? mailbox : null;
};

/** Why an item cannot be written to now: what was only not looked at is looked at soon, unless nothing came of that (a stranger). */
export const whyNotAt = (run: WriteRun, { placement, dueAt }: OpenCommand): Waiting => {
  const mailbox = laneOf(run, placement?.binding?.mailboxId);
  if (mailbox === null || (mailbox.stranger !== "no" && dueAt !== null)) return outOfReach();
  return wait(run.retryFirstMs, "no_mailbox");
};

/** Why a mailbox cannot be put into now. */
export const whyNotInto = async ({ context }: WriteRun, id: MailboxId | undefined): Promise<Waiting> => {
  if (id === undefined || context.mailboxes.get(id)?.selectable === true) return outOfReach();
  const coming = await listMailboxCommands(context.db, context.accountId, context.endpointId);
  return coming.some(({ mailboxId }) => mailboxId === id) ? outOfReach() : awaitsMailbox();
};

/** C9: an answer that did not come is not a no. The commands wait, each longer than the last time, or end after many. */
export const noAnswer = (run: WriteRun, commands: readonly OpenCommand[]): Promise<void> =>
  settle(
    run,
    commands.map((command) => ({ command, step: afterSetback("no_answer", command.attempts + 1, run.retryFirstMs) })),
  );
