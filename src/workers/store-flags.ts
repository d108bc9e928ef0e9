/** Flags set and taken away upstream: fenced, sent where nobody changed the item meanwhile, believed when it is read back (C1, W1–W6). */
import type { MailboxWriter, Refused, Stored } from "../endpoints/endpoint.ts";
import type { CommandFence, FlagsSaid } from "../model/command.ts";
import { SyncError } from "../model/failure.ts";
import type { MailboxId, PlacementId } from "../model/ids.ts";
import { flagOfKeyword, keywordsOfFlags } from "../model/mail.ts";
import {
  afterSetback,
  afterStore,
  differenceOf,
  reviewStore,
  type StoreStep,
  type StoreView,
  type Waiting,
} from "../reconciler/commands.ts";
import { marked } from "../reconciler/moves.ts";
import { reconcileFlags } from "../reconciler/observed-flags.ts";
import type { Scope } from "../reconciler/state.ts";
import type { InputTx } from "../store/account-tx.ts";
import { type OpenCommand, planIntentCommands } from "../store/commands.ts";
import { applyDecision } from "../store/decisions.ts";
import { listMaskedStores } from "../store/ended-commands.ts";
import { defineInput, ingest } from "../store/inputs.ts";
import { noteStoredFlags } from "../store/mailbox-writes.ts";
import { step } from "../telemetry/failpoint.ts";
import { type MailboxLane, scopeOf } from "./lane-state.ts";
import { loadBoundAgainst } from "./echoes.ts";
import {
  commandsFenced,
  homeOf,
  noAnswer,
  settle,
  settleCommands,
  type Verdict,
  whyNotAt,
  type WriteRun,
} from "./command-run.ts";

/** C4. */
const batchMost = 500;

interface Wanted {
  readonly command: OpenCommand;
  readonly step: Extract<StoreStep, { kind: "send" }>;
}

interface Batch {
  readonly mailbox: MailboxLane;
  readonly uidValidity: number;
  readonly wanted: readonly Wanted[];
  readonly said: FlagsSaid;
}

const storeViewOf = (command: OpenCommand, permanentFlags: StoreView["permanentFlags"]): StoreView => ({
  ...command,
  remove: command.args.remove ?? null,
  permanentFlags,
});

/** Those of one mailbox together; what was tried before goes alone, so that it can spoil nothing but itself. */
const batchesOf = (wanted: readonly Wanted[]): Wanted[][] => {
  const groups = Map.groupBy(wanted, ({ command, step: { change, keywords } }) =>
    JSON.stringify([command.placement?.binding?.mailboxId, change, keywords, command.attempts === 0 ? "" : command.id]),
  );
  return [...groups.values()].flatMap((group) =>
    Array.from({ length: Math.ceil(group.length / batchMost) }, (_, at) => group.slice(at * batchMost, (at + 1) * batchMost)),
  );
};

const mailboxOf = (run: WriteRun, { command }: Wanted): Pick<Batch, "mailbox" | "uidValidity"> | null => {
  const mailbox = homeOf(run, command);
  return mailbox?.cursor == null ? null : { mailbox, uidValidity: mailbox.cursor.uidValidity };
};

const fenceOf = ({ mailboxId, epoch }: Scope, uidValidity: number, modseq: bigint | null): CommandFence => ({
  mailboxId,
  epoch,
  uidValidity,
  modseq: modseq === null ? null : String(modseq),
});

/** Masked stores that are looked through together. */
const maskedAtOnce = 500;

/** The plan is drawn from state: what a mailbox did not keep is owed again as soon as it is seen to keep it. */
const planUnmasked = async (account: InputTx, scope: Scope, permanentFlags: StoreView["permanentFlags"]): Promise<void> => {
  for (let after: PlacementId | null = null; ;) {
    const masked = await listMaskedStores(account, scope, { after, limit: maskedAtOnce });
    const kept = masked.filter(({ placement }) => {
      const shown = keywordsOfFlags(placement.binding?.shadowFlags ?? []);
      return differenceOf(placement, { shown, remove: null, permanentFlags }).halves.length > 0;
    });
    for (const [opId, ofOne] of Map.groupBy(kept, (one) => one.opId)) {
      const ids = ofOne.map(({ placement }) => placement.id);
      await planIntentCommands(account, scope.endpointId, ids, { opId });
    }
    after = masked.at(-1)?.placement.id ?? null;
    if (masked.length < maskedAtOnce) return;
  }
};

interface StoredFacts {
  readonly scope: Scope;
  readonly uidValidity: number;
  readonly wanted: readonly Wanted[];
  readonly outcome: Stored;
  readonly retryFirstMs: number;
}

/** What was read back is an observation like any other; what became of the commands is drawn from it in the same transaction. */
const flagsStored = defineInput(
  "outcome",
  "imap.stored",
  async (account, { scope, uidValidity, wanted, outcome, retryFirstMs }: StoredFacts) => {
    const facts = new Map(outcome.facts.map((fact) => [fact.uid, fact]));
    const { bound, echoes } = await loadBoundAgainst(account, scope, { uids: [...facts.keys()], facts: outcome.facts });
    const decision = reconcileFlags({ scope, facts: outcome.facts, bound, seen: null, echoes });
    await applyDecision(account, decision, { scope, contents: [], existing: new Set(bound.keys()) });
    const verdicts = wanted.map(({ command, step: { uid, change, keywords } }): Verdict => {
      const fact = facts.get(uid);
      const shown = fact === undefined ? null : keywordsOfFlags(fact.flags);
      const view = storeViewOf(command, outcome.permanentFlags);
      const next = afterStore(
        { ...view, attempts: command.attempts + 1, sent: { change, keywords } },
        { shown, conflict: outcome.conflicts.includes(uid) },
        retryFirstMs,
      );
      return { command, step: next, fence: fenceOf(scope, uidValidity, fact?.modseq ?? null) };
    });
    await settleCommands(account, scope.endpointId, verdicts);
    const { permanentFlags } = outcome;
    if (await noteStoredFlags(account, scope, permanentFlags)) await planUnmasked(account, scope, permanentFlags);
  },
);

const commitStored = async (run: WriteRun, batch: Batch, outcome: Stored | Refused): Promise<void> => {
  const { context, retryFirstMs } = run;
  const { mailbox, uidValidity, wanted } = batch;
  if (outcome.kind === "refused") {
    const { why } = outcome;
    const verdicts = wanted.map(({ command }) => ({ command, step: afterSetback(why, command.attempts + 1, retryFirstMs) }));
    return settle(run, verdicts);
  }
  const scope = scopeOf(context, mailbox);
  await ingest(context, flagsStored, { scope, uidValidity, wanted, outcome, retryFirstMs });
  mailbox.permanentFlags = outcome.permanentFlags;
};

/** The same for all of a batch, spelt as they are there. */
const saidIn = (wanted: readonly Wanted[]): FlagsSaid => {
  const spellings = wanted.flatMap(({ command }) => command.placement?.binding?.shadowFlags ?? []);
  const { change = "add", keywords = [] } = wanted[0]?.step ?? {};
  return { change, flags: keywords.map((keyword) => flagOfKeyword(keyword, spellings)) };
};

const sendBatch = async (run: WriteRun, batch: Batch): Promise<void> => {
  const { context } = run;
  const writer = await run.writer();
  const fenced = batch.wanted.map(({ command, step: { unchangedSince } }) => ({
    id: command.id,
    fence: { ...fenceOf(scopeOf(context, batch.mailbox), batch.uidValidity, unchangedSince), said: batch.said },
  }));
  step("before fence");
  await ingest(context, commandsFenced, { commands: fenced });
  step("after fence");
  const outcome = await storeOrUnknown(run, batch, writer);
  step("after write");
  await commitStored(run, batch, outcome);
  step("after write commit");
};

const storeOrUnknown = async (run: WriteRun, batch: Batch, writer: MailboxWriter): Promise<Stored | Refused> => {
  const { mailbox, uidValidity, wanted, said } = batch;
  const items = wanted.map(({ step: { uid, unchangedSince } }) => ({ uid, unchangedSince }));
  try {
    return await writer.store({ path: mailbox.path, uidValidity, items, ...said }, run.signal);
  } catch (error) {
    if (error instanceof SyncError && error.kind !== "stopped")
      await noAnswer(
        run,
        wanted.map(({ command }) => command),
      );
    throw error;
  }
};

/** Sends every store of a run that is still wanted; the others end or wait. */
export const storeFlags = async (run: WriteRun): Promise<void> => {
  const wanted: Wanted[] = [];
  const settled: Verdict[] = [];
  for (const command of run.commands) {
    const mailbox = run.context.mailboxes.get(command.placement?.binding?.mailboxId ?? ("" as MailboxId));
    const next = reviewStore(storeViewOf(command, mailbox?.permanentFlags ?? null));
    if (next.kind !== "send") settled.push({ command, step: next });
    else if (mailboxOf(run, { command, step: next }) === null) settled.push({ command, step: whyNotAt(run, command) });
    else wanted.push({ command, step: next });
  }
  if (settled.length > 0) await settle(run, settled);
  for (const group of batchesOf(wanted)) {
    const place = group[0] === undefined ? null : mailboxOf(run, group[0]);
    if (place !== null) await sendBatch(run, { ...place, wanted: group, said: saidIn(group) });
  }
};

interface UnmarkedFacts {
  readonly scope: Scope;
  readonly uids: readonly number[];
  readonly facts: Stored["facts"];
  readonly commands: readonly OpenCommand[];
}

const markTaken = defineInput("outcome", "imap.unmarked", async (account, { scope, uids, facts, commands }: UnmarkedFacts) => {
  const { bound, echoes } = await loadBoundAgainst(account, scope, { uids, facts });
  const decision = reconcileFlags({ scope, facts, bound, seen: null, echoes });
  await applyDecision(account, decision, { scope, contents: [], existing: new Set(bound.keys()) });
  // Whether it is so or not, it was moved.
  const verdicts = commands.map((command) => ({
    command,
    step: { kind: "end", status: "confirmed", outcome: command.reason } as const,
  }));
  await settleCommands(account, scope.endpointId, verdicts);
});

/** It was moved, so that it is not begun anew. */
const stillMarked = (next: Waiting): Waiting => ({ ...next, outcome: marked, unsettled: true });

/** Takes the mark of a device away from what was moved with it: what was wanted gone from where it was is there no more (3.3). */
export const unmark = async (run: WriteRun, commands: readonly OpenCommand[]): Promise<void> => {
  const { context } = run;
  for (const [mailbox, group] of Map.groupBy(commands, (command) => homeOf(run, command))) {
    if (mailbox?.cursor == null) {
      const verdicts = group.map((command) => ({ command, step: stillMarked(whyNotAt(run, command)) }));
      await settle(run, verdicts);
      continue;
    }
    const items = group.map(({ placement }) => ({ uid: placement?.binding?.uid ?? 0, unchangedSince: null }));
    const { uidValidity } = mailbox.cursor;
    const request = { path: mailbox.path, uidValidity, items, change: "remove", flags: ["\\Deleted"] } as const;
    const outcome = await (await run.writer()).store(request, run.signal);
    if (outcome.kind === "refused") {
      const verdicts = group.map((command): Verdict => {
        const next = afterSetback(outcome.why, command.attempts, run.retryFirstMs);
        return { command, step: next.kind === "end" ? next : { ...stillMarked(next), tried: true } };
      });
      await settle(run, verdicts);
      continue;
    }
    const { facts } = outcome;
    await ingest(context, markTaken, {
      scope: scopeOf(context, mailbox),
      uids: items.map(({ uid }) => uid),
      facts,
      commands: group,
    });
  }
};
