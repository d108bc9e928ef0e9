/** The one way from a path to an account: tenant and allow-list are checked here. */
import type { FastifyRequest } from "fastify";
import { Type } from "typebox";
import { type AccountId, parseId, type TenantId } from "../model/ids.ts";
import { findStanding } from "../store/account-status.ts";
import { findAccount } from "../store/accounts.ts";
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
const load =
  <Found>(find: (db: ApiDeps["db"], tenantId: TenantId, id: AccountId) => Promise<Found | null>) =>
  async ({ db }: Pick<ApiDeps, "db">, request: AccountRequest): Promise<Found> => {
    const found = await find(db, callerOf(request).tenantId, accountIdOf(request));
    if (found === null) throw notFound("account");
    return found;
  };

export const loadAccount = load(findAccount);

/** The account with all that its status is told of. @throws as loadAccount */
export const loadStanding = load(findStanding);
