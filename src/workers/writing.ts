/**
 * What an account owes its IMAP server, sent after a pass (semantics 3.6). Every command is on its own: one that the server does
 * not take waits or ends, and neither reading nor the other commands wait for it.
 */
import type { MailboxWriter } from "../endpoints/endpoint.ts";
import { SyncError } from "../model/failure.ts";
import type { MailboxId } from "../model/ids.ts";
import { unbound } from "../reconciler/commands.ts";
import { isMoot, marked } from "../reconciler/moves.ts";
import { listOpenCommands, type OpenCommand } from "../store/commands.ts";
import { backfillPending } from "./backfill.ts";
import type { WriteInput } from "./command-run.ts";
import { expungeItems } from "./expunge-items.ts";
import { tendMailboxes } from "./mailbox-run.ts";
import { moveItems } from "./move-items.ts";
import { putBack } from "./put-back.ts";
import { storeFlags } from "./store-flags.ts";

/** Looks at what is owed in one run: conflicts are met again at once, but not for ever (W3). */
const mostRounds = 5;
/** A run begins nothing more after so long. */
const mostMs = 10_000;

interface Run extends WriteInput {
  readonly writer: () => Promise<MailboxWriter>;
  readonly until: number;
}

/** Nothing is taken away before what replaces it is there; what puts that there is looked at in its own time (C5). */
const isDecidable = ({ verb, succession }: OpenCommand): boolean => verb !== "expunge" || succession !== "coming";

/** UIDs that are to be written to, by mailbox. */
const itemsOf = (commands: readonly OpenCommand[]): ReadonlyMap<MailboxId, number[]> => {
  const bound = commands.flatMap(({ placement }) => (placement?.binding?.active === true ? [placement.binding] : []));
  const groups = [...Map.groupBy(bound, ({ mailboxId }) => mailboxId)];
  return new Map(groups.map(([mailboxId, group]) => [mailboxId, group.map(({ uid }) => uid)]));
};

const writeMessages = async (run: Run): Promise<number> => {
  const { db, accountId, endpointId } = run.context;
  for (let round = 0; ; round += 1) {
    const commands = (await listOpenCommands(db, accountId, endpointId)).filter(isDecidable);
    const due = commands.filter((command) => dueTime(command) <= Date.now());
    if (due.length === 0) return nextLook(commands);
    if (Date.now() > run.until) return Date.now();
    if (round === mostRounds) return Date.now() + run.retryFirstMs;
    if (await run.know(itemsOf(due))) {
      // An epoch that began there is read in the next pass.
      if (backfillPending(run.context)) run.lookAround();
      continue;
    }
    // What adds comes first, what destroys comes last (1.6).
    for (const [verb, send] of senders) await send({ ...run, commands: due.filter((command) => command.verb === verb) });
  }
};

/** Runs one part on a connection of its own, so that what goes wrong there holds up no other. */
const onConnection = async (input: WriteInput, part: (run: Run) => Promise<number>): Promise<number> => {
  let opened: MailboxWriter | null = null;
  const writer = async (): Promise<MailboxWriter> => (opened ??= await input.open());
  try {
    return await part({ ...input, writer, until: Date.now() + mostMs });
  } catch (error) {
    if (!(error instanceof SyncError) || error.kind === "stopped") throw error;
    input.context.log.warn({ failure: error.kind, scope: error.scope, err: error }, "commands wait");
    return Date.now() + input.retryFirstMs;
  } finally {
    await (opened as MailboxWriter | null)?.close();
  }
};

const senders = [
  ["append", putBack],
  ["store", storeFlags],
  ["move", moveItems],
  ["expunge", expungeItems],
] as const;

/** What waits for an item, or looks for it, need not wait longer once it is there; nor does what nobody wants any more. */
const dueTime = (command: OpenCommand): number => {
  const { verb, status, dueAt, outcome, placement, fence } = command;
  if (isMoot(command)) return 0;
  const isBound = placement?.binding?.active === true;
  const shownIn = placement?.binding?.mailboxId;
  const isThere = shownIn === placement?.mailboxId || (verb === "move" && shownIn === fence?.mailboxId);
  const isFound = status === "unknown" && (verb === "move" || verb === "append") && outcome !== marked && isThere;
  return isBound && (outcome === unbound || isFound) ? 0 : (dueAt?.getTime() ?? 0);
};

const nextLook = (commands: readonly OpenCommand[]): number => Math.min(Number.POSITIVE_INFINITY, ...commands.map(dueTime));

/**
 * Sends what is due, mailboxes last: what lies in them is written to under the paths that are known.
 * @returns when to look again, in ms since 1970; infinity: nothing is owed.
 */
export const runCommands = async (input: WriteInput): Promise<number> =>
  Math.min(await onConnection(input, writeMessages), await onConnection(input, tendMailboxes));
