/** One endpoint of an account as its lane runs it. Passes of one account never run at the same time. */
import type { Because } from "../model/account.ts";
import type { AccountState, EndpointState } from "../store/account-state.ts";

export interface EndpointLane {
  /** When it should be looked at next, in ms since 1970; infinity while parked or paused; 0 before the first pass. */
  dueAt: number;
  /** Last quiet success, for the batched note in the store. */
  succeededAt: number;
  readonly state: string;
  /** Takes the account as the store has it now. */
  take(account: AccountState, endpoint: EndpointState): Promise<void>;
  /** One pass when there is reason to; never rejects for a failure of the outside world. */
  run(because: Because, signal: AbortSignal): Promise<"done" | "again">;
  /** Ends the session; nothing runs afterwards. */
  stop(): Promise<void>;
}
