/** What a lane needs of the process it runs in. */
import type { FactsReader } from "../mime/facts-reader.ts";
import type { Drivers } from "../endpoints/endpoint.ts";
import type { Because } from "../model/account.ts";
import type { Credentials } from "../model/endpoint.ts";
import type { AccountId } from "../model/ids.ts";
import type { AccountState, EndpointState } from "../store/account-state.ts";
import type { Database } from "../store/database.ts";
import type { Logger } from "../telemetry/log.ts";
import type { RetryTimes } from "./backoff.ts";

export interface LaneServices {
  readonly db: Database;
  readonly log: Logger;
  readonly facts: FactsReader;
  readonly drivers: Drivers;
  readonly unseal: (account: AccountState, endpoint: EndpointState) => Promise<Credentials>;
  readonly retryTimes: RetryTimes;
  /** Octets: no message is taken that is larger. */
  readonly maxMessageBytes: number;
  /** Between sweeps of an account whose server pushes news of INBOX only, or nothing. */
  readonly pollMs: number;
  readonly bulkTurn: <T>(work: () => Promise<T>) => Promise<T>;
  /** At most so many connections are opened at once by this process. */
  readonly connectTurn: <T>(work: () => Promise<T>) => Promise<T>;
  /** The lane wants a pass soon. */
  readonly ring: (accountId: AccountId, because: Because) => void;
  /** Mail came that nobody has parsed yet. */
  readonly onUnparsed: (account: AccountState) => void;
}
