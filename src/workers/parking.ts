/** A failure of one mailbox parks that mailbox; the account goes on (reliability 1.2). */
import { SyncError } from "../model/failure.ts";
import { putAside } from "./epoch.ts";
import type { LaneContext, MailboxLane } from "./lane-state.ts";

const parkFirstMs = 60_000;
const parkMostMs = 3_600_000;

/** Parks the mailbox for longer each time. @throws `error` itself where it is not of one mailbox, or the session went with it. */
export const park = async (
  context: LaneContext,
  mailbox: MailboxLane,
  error: unknown,
  session: { readonly usable: boolean },
): Promise<void> => {
  if (!(error instanceof SyncError) || error.scope === "endpoint" || !session.usable) throw error;
  mailbox.answered = false;
  mailbox.failures += 1;
  context.trouble.noteFailure(error.code);
  mailbox.parkedUntil = Date.now() + Math.min(parkMostMs, parkFirstMs * 2 ** (mailbox.failures - 1));
  context.log.warn({ mailbox: mailbox.mailboxId, failure: error.kind, scope: error.scope, err: error }, "mailbox put aside");
  await putAside(context, mailbox, error.message);
};
