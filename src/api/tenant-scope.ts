/**
 * The tenant that the current request acts in. What handlers ask the database for runs as that tenant, by row-level
 * security, without their saying so; outside of a request nothing is answered.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { FastifyRequest } from "fastify";
import type { TenantId } from "../model/ids.ts";
import type { Database, Transactor } from "../store/database.ts";
import { ofTenant } from "../store/tenant-role.ts";
import type { ApiDeps } from "./types.ts";

const scope = new AsyncLocalStorage<TenantId>();

/** Everything that follows in the request acts in its caller's tenant. To be called once the body is read: reading it loses the scope. */
export const enterTenant = ({ caller }: FastifyRequest, proceed: () => void): void => {
  if (caller === null) proceed();
  else scope.run(caller.tenantId, proceed);
};

/** The database as the tenant of the request sees it. Queries are refused outside of a request. */
export const scopeToTenants = (db: Database): Transactor => {
  const ofScope = (): Transactor => {
    const tenantId = scope.getStore();
    if (tenantId === undefined) throw new Error("rows were asked for outside of a tenant");
    return ofTenant(db, tenantId);
  };
  return {
    query: async (statement) => ofScope().query(statement),
    transaction: async (work) => ofScope().transaction(work),
  };
};

/** The same for what is read while the answer is sent or a message is parsed: whoever asks for more then is in no request's scope. */
export const ofOwner = (deps: ApiDeps, { tenantId }: { readonly tenantId: TenantId }): Transactor =>
  ofTenant(deps.everyTenant, tenantId);
