/**
 * Who is calling. A key names its tenant, its scopes and perhaps the only accounts it may see; the operator's key acts in
 * the tenant `default` or in the one that X-Tenant-Id names.
 */
import type { FastifyRequest } from "fastify";
import { allScopes, type Scope } from "../model/access.ts";
import { type AccountId, formatId, parseId, type TenantId } from "../model/ids.ts";
import { authenticate, isSameSecret, noteKeyUse } from "../store/keys.ts";
import { findTenant } from "../store/tenants.ts";
import { invalid, notFound, ProblemError } from "./problem.ts";
import type { Limits } from "./limits.ts";
import type { ApiDeps, Caller } from "./types.ts";

/** The route's `config`: any one of these scopes opens it. */
export const requireScope = (...scopes: [Scope, ...Scope[]]): { access: readonly Scope[] } => ({ access: scopes });

const challenge = { "www-authenticate": 'Bearer realm="samebox"' };

const unauthorized = (detail: string): ProblemError => new ProblemError("unauthorized", detail, { headers: challenge });

const readBearer = (request: FastifyRequest): string => {
  const header = request.headers.authorization;
  if (header === undefined) throw unauthorized("Send a key: Authorization: Bearer <key>.");
  const match = /^Bearer +([\x21-\x7e]{1,512})$/i.exec(header);
  if (match?.[1] === undefined) throw unauthorized("The Authorization header must read: Bearer <key>.");
  return match[1];
};

const readTenantHeader = (request: FastifyRequest): string | null => {
  const header = request.headers["x-tenant-id"];
  return typeof header === "string" && header !== "" ? header : null;
};

/** @throws ProblemError: what is done must not be put down to another device than the one that was meant. */
const readDevice = (request: FastifyRequest, otherwise: string): string => {
  const header = request.headers["x-device-id"];
  if (header === undefined) return otherwise;
  if (typeof header === "string" && /^[\x21-\x7e]{1,128}$/.test(header)) return header;
  throw invalid("header", "/x-device-id", "The X-Device-Id must be 1 to 128 printable ASCII characters without a space.");
};

const findOperatorsTenant = async (deps: ApiDeps, wanted: string): Promise<TenantId> => {
  const id = parseId<TenantId>("ten", wanted);
  const tenant = await findTenant(deps.everyTenant, id === null ? { name: wanted } : { id });
  if (tenant === null) throw notFound("tenant");
  return tenant.id;
};

/** Finds out who is calling. @throws ProblemError `unauthorized`, `rate_limited`; `not_found`, `forbidden` for X-Tenant-Id. */
export const identify = async (
  deps: ApiDeps,
  request: FastifyRequest,
  { lookUpKey }: Pick<Limits, "lookUpKey"> = { lookUpKey: (_request, lookUp) => lookUp() },
): Promise<Caller> => {
  const secret = readBearer(request);
  const tenantHeader = readTenantHeader(request);
  if (isSameSecret(secret, deps.config.adminKey)) {
    const tenantId = await findOperatorsTenant(deps, tenantHeader ?? "default");
    return {
      kind: "operator",
      tenantId,
      keyId: null,
      scopes: new Set(allScopes),
      accountIds: null,
      deviceId: readDevice(request, "operator"),
    };
  }
  const key = await lookUpKey(request, () => authenticate(deps.everyTenant, secret));
  if (key === null) throw unauthorized("The key is unknown, was deleted or has run out.");
  if (tenantHeader !== null && tenantHeader !== formatId("ten", key.tenantId))
    throw new ProblemError("forbidden", "Only the operator's key may act in another tenant.");
  // Worth less than the request it rides on.
  await noteKeyUse(deps.everyTenant, key, new Date()).catch((err: unknown) =>
    request.log.warn({ err }, "use of a key not noted"),
  );
  return {
    kind: "key",
    tenantId: key.tenantId,
    keyId: key.id,
    scopes: new Set(key.scopes),
    accountIds: key.accountIds === null ? null : new Set<AccountId>(key.accountIds),
    deviceId: readDevice(request, formatId("key", key.id)),
  };
};

/** @throws ProblemError `forbidden` when the caller's key does not open the route. */
export const authorize = (caller: Caller, access: readonly Scope[] | "operator"): void => {
  if (access === "operator") {
    if (caller.kind !== "operator") throw new ProblemError("forbidden", "Only the operator's key may do this.");
  } else if (!access.some((scope) => caller.scopes.has(scope))) {
    throw new ProblemError("forbidden", `The key needs the scope ${access.join(" or ")}.`);
  }
};

/** Who is calling, on a route that is not public. */
export const callerOf = (request: FastifyRequest): Caller => {
  if (request.caller === null) throw new Error("a route that is not public ran without a caller");
  return request.caller;
};

export const maySee = (caller: Caller, accountId: AccountId): boolean =>
  caller.accountIds === null || caller.accountIds.has(accountId);
