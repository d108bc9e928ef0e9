/** Is mail copied as it comes (V21)? */
import { viewPop3Devices } from "../model/pop3-devices.ts";
import { preservesAhead, type PreserveInput } from "../reconciler/preserve-ahead.ts";
import type { AccountTx } from "../store/account-tx.ts";
import { findRestoreEndpoint } from "../store/commands.ts";
import type { LaneFacts, MailboxFacts } from "./lane-state.ts";

export interface ComingMail {
  readonly lane: Pick<LaneFacts, "endpointId">;
  readonly mailbox: Pick<MailboxFacts, "role">;
  readonly reason: PreserveInput["reason"];
}

/** It is wanted of what comes like this, and the server has a place that no POP3 device sees. */
export const isPreserving = async (account: AccountTx, { lane, mailbox, reason }: ComingMail): Promise<boolean> => {
  const { policy, pop3Evidence } = account;
  const pop3Devices = viewPop3Devices(policy, pop3Evidence).state;
  if (!preservesAhead({ policy, pop3Devices, role: mailbox.role, reason })) return false;
  return (await findRestoreEndpoint(account)) === lane.endpointId;
};
