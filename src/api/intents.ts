/** Writes to mail: durable in the canonical store before they are answered; upstream follows. */
import { randomUUID } from "node:crypto";
import type { FastifyReply, FastifyRequest } from "fastify";
import { type Static, Type } from "typebox";
import { formatState } from "../model/change.ts";
import type { AccountId } from "../model/ids.ts";
import type { IntentResult, MailOp } from "../model/intent.ts";
import type { Written } from "../model/writes.ts";
import type { AccountRow } from "../store/accounts.ts";
import type { Tx } from "../store/database.ts";
import { readMessage } from "../store/message-reads.ts";
import { callerOf } from "./auth.ts";
import { ring } from "./bell.ts";
import { readState, State } from "./change-json.ts";
import { answerOnce, readKey } from "./idempotency.ts";
import { MessageSchema, toMessageJson } from "./message-json.ts";
import { notFound, ProblemError } from "./problem.ts";
import { Nullable, Words } from "./schemas.ts";
import type { ApiDeps } from "./types.ts";

export const WriteStatus = Words(["applied", "superseded", "rejected", "pending"], {
  description:
    "`applied`: durable in the canonical store; `placements[].sync` tells what upstream has confirmed. `superseded`: what others did meanwhile stands.",
});

export const WriteResult = Type.Object(
  {
    status: WriteStatus,
    reason: Type.String({ description: "Stable, for programs." }),
    state: State,
    /** null, too, for a key that may not read mail. */
    message: Nullable(MessageSchema),
    warnings: Type.Optional(
      Type.Array(
        Type.String({
          description:
            "E.g. `pop3_visible`: in INBOX a POP3 device may take it again; `mailbox_gone`: where it was there is nothing any more.",
        }),
      ),
    ),
  },
  { title: "WriteResult" },
);

const toProblem = (reason: string): ProblemError | null => {
  switch (reason) {
    case "not_found":
      return notFound("message");
    case "state_mismatch":
      return new ProblemError(
        "state_mismatch",
        "This needs If-Match with a state since which nothing became of the message. Read it again.",
      );
    case "op_id_reused":
      return new ProblemError("idempotency_key_reused", "This Idempotency-Key was used for another request. Use a new one.");
    case "cannot_undo":
      return new ProblemError("conflict", "There is no way back from this change.");
    default:
      return null;
  }
};

/** The last change that the caller says to have seen; null: `If-Match` is not there. @throws ProblemError `state_mismatch`. */
export const readBase = (request: FastifyRequest, account: AccountRow): bigint | null => {
  const header = request.headers["if-match"];
  if (header === undefined || header === "*") return null;
  const { epoch, seq } = readState(/^"(.*)"$/.exec(header)?.[1] ?? header, "header", "/if-match");
  if (epoch === account.stateEpoch && seq <= account.headSeq) return seq;
  throw new ProblemError(
    "state_mismatch",
    `This account has never been in that state; it is in ${formatState(account.stateEpoch, account.headSeq)}.`,
  );
};

export interface Exchange {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly account: AccountRow;
}

/**
 * Ingests operations, in their order, and answers once for each `Idempotency-Key`. What an operation is called in the account
 * is made of the key, so that it stays known longer than its answer.
 */
export const answerWrite = async <Body extends { readonly state: string }>(
  deps: ApiDeps,
  { request, reply, account }: Exchange,
  { ops, batch }: { readonly ops: readonly MailOp[]; readonly batch: boolean },
  toBody: (tx: Tx, written: Written, state: string) => Promise<Body>,
): Promise<Body> => {
  const { tenantId, deviceId } = callerOf(request);
  // An undo comes after all there is (Q6).
  const base = ops.some(({ op }) => op === "undo") ? null : readBase(request, account);
  const key = readKey(request);
  const opId = (index: number): string => (key === null ? randomUUID() : batch ? `${key}/${index}` : key);
  const intents = ops.map((op, index) => ({ opId: opId(index), op }));
  const body = await answerOnce(deps, { request, reply }, async (tx) => {
    const written = await deps.writes.write(tx, { tenantId, accountId: account.id, deviceId, base, intents });
    if (written === null) throw notFound("account");
    return { status: 200, body: await toBody(tx, written, formatState(written.state.epoch, written.state.seq)) };
  });
  ring(deps, account, "write");
  void reply.header("etag", `"${body.state}"`);
  return body;
};

/** What an operation came to, with its message as it is then where that may be read. */
export const showWrite = async (
  tx: Tx,
  { accountId, readable }: { readonly accountId: AccountId; readonly readable: boolean },
  { status, reason, messageId, warnings }: IntentResult,
  state: string,
): Promise<Static<typeof WriteResult>> => {
  const message = messageId === null || !readable ? null : await readMessage(tx, accountId, messageId);
  const shown = warnings.length === 0 ? {} : { warnings: [...warnings] };
  return { status, reason, state, message: message === null ? null : toMessageJson(message), ...shown };
};

/** @throws ProblemError where the rejection is an error of the request, not an outcome of what others did. */
export const throwRejection = ({ status, reason }: Static<typeof WriteResult>): void => {
  const problem = status === "rejected" ? toProblem(reason) : null;
  if (problem !== null) throw problem;
};

/** One operation on one message. @throws ProblemError for what is wrong with the request. */
export const answerMessageWrite = async (deps: ApiDeps, exchange: Exchange, op: MailOp): Promise<Static<typeof WriteResult>> => {
  const body = await answerWrite(deps, exchange, { ops: [op], batch: false }, (tx, { results: [result] }, state) => {
    if (result === undefined) throw new Error("an intent without a result");
    const readable = callerOf(exchange.request).scopes.has("mail:read");
    return showWrite(tx, { accountId: exchange.account.id, readable }, { ...result, messageId: op.messageId }, state);
  });
  throwRejection(body);
  return body;
};
