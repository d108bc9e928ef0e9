/** Is it worth asking whether something new is one of the placements that an endpoint does not show? */
import type { MailboxId } from "../model/ids.ts";
import { countUnshown, hasSetAside } from "../store/claims.ts";
import type { LaneContext } from "./lane-state.ts";

/** What a lane remembers of the placements of a mailbox that its endpoint does not show. */
export interface UnshownMemory {
  /** How many there were when they were counted; null: that is to be done. */
  unshown: number | null;
}

/**
 * False where there is none. They are counted once, for the whole mailbox is read for it: what is set aside since is asked for
 * each time, and nothing else comes to be while a lane works but where another endpoint stands in for it.
 */
export const mayBeUnshown = async (
  { db, accountId, endpointId }: Pick<LaneContext, "db" | "accountId" | "endpointId">,
  mailboxId: MailboxId,
  memory: UnshownMemory,
): Promise<boolean> => {
  memory.unshown ??= await countUnshown(db, { accountId, endpointId, mailboxId });
  return memory.unshown > 0 || hasSetAside(db, accountId, mailboxId);
};
