/** The schema of a change, and of the states between changes. */
import { Type } from "typebox";
import { formatState, parseState } from "../model/change.ts";
import type { LogState } from "../store/change-reads.ts";
import { type Fault, invalid, ProblemError } from "./problem.ts";
import { Nullable, Time } from "./schemas.ts";

const Values = Type.Record(Type.String(), Type.Unknown());

export const State = Type.String({ description: "A point in the account's log: `<epoch>.<seq>`." });

/** What model/change-json.ts makes. */
export const changeFields = {
  seq: Type.Integer(),
  state: State,
  at: Time,
  kind: Type.String(),
  accountId: Type.String(),
  messageId: Nullable(Type.String()),
  mailboxId: Nullable(Type.String()),
  placementId: Nullable(Type.String()),
  before: Nullable(Values),
  after: Nullable(Values),
  cause: Type.Object({
    source: Type.String({ description: "imap, pop3, api, rule or daemon." }),
    endpointId: Nullable(Type.String()),
    deviceId: Nullable(Type.String()),
  }),
  reason: Type.String(),
  rule: Nullable(Type.String()),
  confidence: Nullable(Type.Number()),
  evidence: Type.Array(Type.Unknown()),
  hash: Type.String({
    description: "SHA-256 over the hash of the change before and this change without its `hash`, as canonical JSON (RFC 8785).",
  }),
};

export const ChangeSchema = Type.Object(changeFields, { title: "Change" });

/** @throws ProblemError `invalid_request` when `text` is not a state. */
export const readState = (text: string, place: Fault["in"], pointer: string): LogState => {
  const state = parseState(text);
  if (state === null) throw invalid(place, pointer, `This is not a state: a state reads like "0.42".`);
  return state;
};

export const cannotCalculate = (head: LogState): ProblemError =>
  new ProblemError(
    "cannot_calculate_changes",
    `Read the lists again, and follow the changes from ${formatState(head.epoch, head.seq)} on.`,
  );
