/** Servers that move to Trash what a POP3 device deletes, and mark it as read (WildDuck; semantics 4.3). */
import type { MailboxId, PlacementId } from "../model/ids.ts";
import { hasSeen } from "./pop3-seen.ts";
import type { PlacementView } from "./state.ts";
import { isDeleted } from "./vanish-evidence.ts";

/** The reason of such a move. While a placement shows it, what ends its stay in Trash is taken for the device as well. */
export const viaTrash = "pop3_drain_via_trash";

/** A person may have read it and thrown it away in one go. */
export const viaTrashConfidence = 0.6;

/** Given where mail arrives in Trash, and a POP3 device is to be expected. */
export interface DrainToTrash {
  readonly inbox: MailboxId;
  /** Mail that was only retrieved stays unread (Z5). */
  readonly revertSeen: boolean;
  /** What was set back to unread in Trash before: once is enough (I14). */
  readonly reverted: ReadonlySet<PlacementId>;
}

/** Did it come from INBOX, became read on the way, and was never marked as deleted? */
export const isDrainToTrash = (
  { inbox }: DrainToTrash,
  { mailboxId, keywords, binding }: PlacementView,
  flags: readonly string[],
): boolean => {
  const shadow = binding?.shadowFlags ?? [];
  return mailboxId === inbox && hasSeen(flags) && !keywords.includes("$seen") && !hasSeen(shadow) && !shadow.some(isDeleted);
};
