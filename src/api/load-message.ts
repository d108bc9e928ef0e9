/** The one way from a path to a message of the caller's account. */
import type { FastifyRequest } from "fastify";
import { Type } from "typebox";
import { type MessageId, parseId } from "../model/ids.ts";
import type { AccountRow } from "../store/accounts.ts";
import { readMessage, type StoredMessage } from "../store/message-reads.ts";
import { loadAccount } from "./load-account.ts";
import { notFound } from "./problem.ts";
import type { ApiDeps } from "./types.ts";

export const MessageParams = Type.Object({ accountId: Type.String(), messageId: Type.String() });

type MessageRequest = FastifyRequest<{ Params: { accountId: string; messageId: string } }>;

/** @throws ProblemError `not_found`: not the id of a message. */
export const messageIdOf = (request: MessageRequest): MessageId => {
  const id = parseId<MessageId>("msg", request.params.messageId);
  if (id === null) throw notFound("message");
  return id;
};

/** @throws ProblemError `not_found`: the account is not the caller's, or has no such message that can still be read. */
export const loadMessage = async (
  deps: Pick<ApiDeps, "db">,
  request: MessageRequest,
): Promise<{ readonly account: AccountRow; readonly message: StoredMessage }> => {
  const account = await loadAccount(deps, request);
  const message = await readMessage(deps.db, account.id, messageIdOf(request));
  if (message === null) throw notFound("message");
  return { account, message };
};
