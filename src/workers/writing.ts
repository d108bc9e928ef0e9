/**
 * What an account owes its IMAP server, sent after a pass (semantics 3.6). Every command is on its own: one that the server does
 * not take waits or ends, and neither reading nor the other commands wait for it.
 */
import type { MailboxWriter } from "../endpoints/endpoint.ts";
import { SyncError } from "../model/failure.ts";
import { listOpenCommands, type OpenCommand } from "../store/commands.ts";
import type { WriteInput } from "./command-run.ts";
import { putBack } from "./put-back.ts";
import { storeFlags } from "./store-flags.ts";

/** Looks at what is owed in one run: conflicts are met again at once, but not for ever (W3). */
const mostRounds = 5;
/** A run begins nothing more after so long. */
const mostMs = 10_000;

/** Sends what is due. @returns when to look again, in ms since 1970; infinity: nothing is owed. */
export const runCommands = async (input: WriteInput): Promise<number> => {
  const until = Date.now() + mostMs;
  let opened: MailboxWriter | null = null;
  const writer = async (): Promise<MailboxWriter> => (opened ??= await input.open());
  try {
    for (let round = 0; ; round += 1) {
      const commands = await listOpenCommands(input.context.db, input.context.accountId, input.context.endpointId);
      const due = commands.filter(({ dueAt }) => (dueAt?.getTime() ?? 0) <= Date.now());
      if (due.length === 0) return nextLook(commands);
      if (Date.now() > until) return Date.now();
      if (round === mostRounds) return Date.now() + input.retryFirstMs;
      await storeFlags({ ...input, writer, until, commands: due.filter(({ verb }) => verb === "store") });
      await putBack({ ...input, writer, until, commands: due.filter(({ verb }) => verb === "append") });
    }
  } catch (error) {
    if (!(error instanceof SyncError) || error.kind === "stopped") throw error;
    input.context.log.warn({ failure: error.kind, scope: error.scope, err: error }, "commands wait");
    return Date.now() + input.retryFirstMs;
  } finally {
    await (opened as MailboxWriter | null)?.close();
  }
};

const nextLook = (commands: readonly OpenCommand[]): number =>
  Math.min(Number.POSITIVE_INFINITY, ...commands.map(({ dueAt }) => dueAt?.getTime() ?? 0));
