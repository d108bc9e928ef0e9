/** The one way from a path to an account: tenant and allow-list are checked here. */
import type { FastifyRequest } from "fastify";
import { Type } from "typebox";
import { type AccountId, parseId } from "../model/ids.ts";
import { type AccountRow, findAccount } from "../store/accounts.ts";
import { callerOf, maySee } from "./auth.ts";
import { notFound } from "./problem.ts";
import type { ApiDeps } from "./types.ts";

export const AccountParams = Type.Object({ accountId: Type.String() });

type AccountRequest = FastifyRequest<{ Params: { accountId: string } }>;

/** @throws ProblemError `not_found`: not an account's id, or not on the key's list. Whether there is one, this does not say. */
export const accountIdOf = (request: AccountRequest): AccountId => {
  const id = parseId<AccountId>("acc", request.params.accountId);
  if (id === null || !maySee(callerOf(request), id)) throw notFound("account");
  return id;
};

/** @throws ProblemError `not_found`: no such account, another tenant's, deleted, or not on the key's list. */
export const loadAccount = async (deps: Pick<ApiDeps, "db">, request: AccountRequest): Promise<AccountRow> => {
  const account = await findAccount(deps.db, callerOf(request).tenantId, accountIdOf(request));
  if (account === null) throw notFound("account");
  return account;
};
