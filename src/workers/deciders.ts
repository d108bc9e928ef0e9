/** All that decides about inputs: whoever imports it can decide again about any of them. */
import { accountMade } from "../store/account-writes.ts";
import { endpointForgotten } from "../store/endpoint-removal.ts";
import { decideHold } from "../store/hold-reads.ts";
import { IntentWrites } from "./intents.ts";
import { AccountLane } from "./lane.ts";
import { MailboxIntentWrites } from "./mailbox-intents.ts";
import { AccountPolicies } from "./policies.ts";

const ofStore: readonly unknown[] = [accountMade, endpointForgotten, decideHold];
const ofWorkers: readonly unknown[] = [AccountLane, IntentWrites, MailboxIntentWrites, AccountPolicies];

export const deciders = [...ofStore, ...ofWorkers];
