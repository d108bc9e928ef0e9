/** Accounts: made, listed, read, changed, removed. */
import { isDeepStrictEqual } from "node:util";
import { Type } from "typebox";
import { defaultPolicy } from "../model/account.ts";
import { type AccountId, type EndpointId, formatId, parseId } from "../model/ids.ts";
import {
  createAccount,
  deleteAccount,
  type EndpointPatch,
  type NewEndpoint,
  lockEndpoints,
  patchAccount,
} from "../store/account-writes.ts";
import { type AccountRow, type EndpointRow, listAccounts, listEndpoints } from "../store/accounts.ts";
import { virtualShardOf } from "../store/leases.ts";
import {
  Account,
  AccountInput,
  AccountPatchInput,
  type EndpointPatchInput,
  mostEndpoints,
  showAccount,
} from "./account-schemas.ts";
import { callerOf, requireScope } from "./auth.ts";
import { ring } from "./bell.ts";
import { settleEndpoint } from "./endpoint-settings.ts";
import { answerOnce } from "./idempotency.ts";
import { accountCreationLimit } from "./limits.ts";
import { AccountParams, accountIdOf, loadAccount } from "./load-account.ts";
import { decodeCursor, pageLimit, pageQuery, toPage } from "./pagination.ts";
import { invalid, notFound, ProblemError } from "./problem.ts";
import { PageOf, Strict } from "./schemas.ts";
import type { ApiConfig, ApiDeps, App } from "./types.ts";

const tags = ["accounts"];

/** `{ a: undefined }` says nothing about `a`. */
const given = <T extends object>(value: T): T =>
  Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as T;

const registerCreate = (app: App, deps: ApiDeps): void => {
  const { config, sealer } = deps;
  app.post(
    "/v1/accounts",
    {
      config: { ...requireScope("accounts"), ...accountCreationLimit(config) },
      schema: { tags, summary: "Create an account and begin to sync it", body: AccountInput, response: { 201: Account } },
    },
    async (request, reply) => {
      const { tenantId, accountIds } = callerOf(request);
      // It could not even read what it made.
      if (accountIds !== null)
        throw new ProblemError("forbidden", "A key that is limited to some accounts cannot make new ones.");
      const { name, email, policy, endpoints } = request.body;
      const settled: NewEndpoint[] = [];
      for (const [index, endpoint] of endpoints.entries())
        settled.push({
          settings: await settleEndpoint(endpoint, null, config, `/endpoints/${index}`),
          credentials: endpoint.auth,
        });
      const body = await answerOnce(deps, { request, reply }, async (tx) => {
        const fullPolicy = { ...defaultPolicy, ...policy };
        const made = await createAccount(tx, sealer, {
          tenantId,
          name: name ?? email,
          email,
          policy: fullPolicy,
          endpoints: settled,
        });
        return { status: 201, body: showAccount(made.account, made.endpoints) };
      });
      const id = parseId<AccountId>("acc", body.id);
      if (id !== null) ring(deps, { id, virtualShard: virtualShardOf(id) }, "created");
      reply.header("location", `/v1/accounts/${body.id}`);
      return body;
    },
  );
};

const CursorShape = Type.Tuple([Type.String({ pattern: "^acc_[0-9a-f]{32}$" })]);

const registerReading = (app: App, deps: ApiDeps): void => {
  const access = requireScope("accounts", "mail:read");
  app.get(
    "/v1/accounts",
    {
      config: access,
      schema: {
        tags,
        summary: "List accounts, oldest first",
        querystring: Strict(pageQuery),
        response: { 200: PageOf(Account) },
      },
    },
    async (request) => {
      const { tenantId, accountIds } = callerOf(request);
      const limit = pageLimit(request.query);
      const position = decodeCursor(request.query.cursor, CursorShape);
      const after = position === null ? null : parseId<AccountId>("acc", position[0]);
      const rows = await listAccounts(deps.db, {
        tenantId,
        among: accountIds === null ? null : [...accountIds],
        after,
        limit: limit + 1,
      });
      const endpoints =
        rows.length === 0
          ? []
          : await listEndpoints(
              deps.db,
              rows.slice(0, limit).map((row) => row.id),
            );
      return toPage(rows, limit, {
        positionOf: (row: AccountRow) => [formatId("acc", row.id)],
        toItem: (row: AccountRow) => showAccount(row, endpoints),
      });
    },
  );
  app.get(
    "/v1/accounts/:accountId",
    { config: access, schema: { tags, summary: "Read an account", params: AccountParams, response: { 200: Account } } },
    async (request) => {
      const account = await loadAccount(deps, request);
      return showAccount(account, await listEndpoints(deps.db, [account.id]));
    },
  );
};

/** A change of a known endpoint, or a whole new one. @throws ProblemError naming the field. */
const settlePatch = async (
  patch: EndpointPatchInput,
  known: readonly EndpointRow[],
  config: ApiConfig,
  pointer: string,
): Promise<{ changed: EndpointPatch } | { added: NewEndpoint }> => {
  const { id: shownId, auth, protocol, ...fields } = patch;
  if (shownId === undefined) {
    if (protocol === undefined) throw invalid("body", `${pointer}/protocol`, "is required for a new endpoint");
    if (auth === undefined) throw invalid("body", `${pointer}/auth`, "is required for a new endpoint");
    return {
      added: { settings: await settleEndpoint({ ...given(fields), protocol }, null, config, pointer), credentials: auth },
    };
  }
  const id = parseId<EndpointId>("end", shownId);
  const endpoint = known.find((row) => row.id === id);
  if (endpoint === undefined) throw invalid("body", `${pointer}/id`, "is not an endpoint of this account");
  if (protocol !== undefined && protocol !== endpoint.settings.protocol)
    throw invalid("body", `${pointer}/protocol`, "cannot be changed");
  const settings = await settleEndpoint(
    { ...given(fields), protocol: endpoint.settings.protocol },
    endpoint.settings,
    config,
    pointer,
  );
  // Else whoever may change an account could have its stored secret sent to a server of their own.
  if (settings.host !== endpoint.settings.host && auth === undefined)
    throw invalid("body", `${pointer}/auth`, "is required when the host changes");
  return { changed: { id: endpoint.id, settings, ...(auth !== undefined && { credentials: auth }) } };
};

interface SettledEndpoints {
  readonly changed: readonly EndpointPatch[];
  readonly added: readonly NewEndpoint[];
}

const settlePatches = async (
  patches: readonly EndpointPatchInput[],
  known: readonly EndpointRow[],
  config: ApiConfig,
): Promise<SettledEndpoints> => {
  const changed: EndpointPatch[] = [];
  const added: NewEndpoint[] = [];
  for (const [index, patch] of patches.entries()) {
    const settled = await settlePatch(patch, known, config, `/endpoints/${index}`);
    if ("added" in settled) added.push(settled.added);
    else changed.push(settled.changed);
  }
  if (known.length + added.length > mostEndpoints)
    throw invalid("body", "/endpoints", `An account has at most ${mostEndpoints} endpoints.`);
  return { changed, added };
};

const settingsOf = (endpoints: readonly EndpointRow[]) => endpoints.map(({ id, settings }) => ({ id, settings }));

/** Another request changed an endpoint since it was read. */
class OvertakenError extends Error {}

const mostOvertaken = 5;

/**
 * Settles a change by what the endpoints are and then has it written, anew where another came first, so that nothing of that is
 * taken back. Names are looked up before anything is locked.
 * @throws ProblemError `conflict` where others are always first.
 */
const onSettled = async <Answer>(
  deps: Pick<ApiDeps, "db" | "config">,
  { accountId, endpoints }: { readonly accountId: AccountId; readonly endpoints: readonly EndpointPatchInput[] },
  write: (settled: SettledEndpoints & { readonly known: readonly EndpointRow[] }) => Promise<Answer>,
): Promise<Answer> => {
  for (let overtaken = 0; overtaken < mostOvertaken; overtaken += 1) {
    const known = endpoints.length === 0 ? [] : await listEndpoints(deps.db, [accountId]);
    const settled = await settlePatches(endpoints, known, deps.config);
    try {
      return await write({ ...settled, known });
    } catch (error) {
      if (!(error instanceof OvertakenError)) throw error;
    }
  }
  throw new ProblemError("conflict", "Others keep changing the endpoints of this account. Try again in a moment.");
};

const registerPatch = (app: App, deps: ApiDeps): void => {
  app.patch(
    "/v1/accounts/:accountId",
    {
      config: requireScope("accounts"),
      schema: {
        tags,
        summary: "Change an account; new credentials are tried at once",
        params: AccountParams,
        body: AccountPatchInput,
        response: { 200: Account },
      },
    },
    async (request, reply) => {
      const account = await loadAccount(deps, request);
      const { name, email, policy, endpoints = [] } = request.body;
      const ref = { tenantId: account.tenantId, accountId: account.id, deviceId: callerOf(request).deviceId };
      const accountPatch = given({ name, email, policy }) as Pick<Partial<AccountRow>, "name" | "email">;
      const body = await onSettled(deps, { accountId: account.id, endpoints }, ({ known, changed, added }) =>
        answerOnce(deps, { request, reply }, async (tx) => {
          if (endpoints.length > 0 && !isDeepStrictEqual(settingsOf(await lockEndpoints(tx, ref)), settingsOf(known)))
            throw new OvertakenError();
          const patch = { ...accountPatch, endpoints: changed, newEndpoints: added };
          const patched = await patchAccount(tx, deps.sealer, ref, patch);
          if (patched === null) throw notFound("account");
          const { before, after } = patched;
          if (!isDeepStrictEqual(after.policy, before.policy)) await deps.policies.apply(tx, ref);
          return { status: 200, body: showAccount(after, await listEndpoints(tx, [account.id])) };
        }),
      );
      ring(deps, account, "changed");
      return body;
    },
  );
};

const registerDelete = (app: App, deps: ApiDeps): void => {
  app.delete(
    "/v1/accounts/:accountId",
    {
      config: requireScope("accounts"),
      schema: {
        tags,
        summary: "Remove an account with its stored mail; nothing is changed upstream",
        params: AccountParams,
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      const { tenantId, deviceId } = callerOf(request);
      const id = accountIdOf(request);
      await answerOnce(deps, { request, reply }, async (tx) => {
        // Looked for in here: sent again with its Idempotency-Key, the request finds its first answer, not a gap.
        if (!(await deleteAccount(tx, { tenantId, accountId: id, deviceId }))) throw notFound("account");
        return { status: 204, body: null };
      });
      ring(deps, { id, virtualShard: virtualShardOf(id) }, "changed");
      return reply.send(null);
    },
  );
};

export const registerAccounts = (app: App, deps: ApiDeps): void => {
  registerCreate(app, deps);
  registerReading(app, deps);
  registerPatch(app, deps);
  registerDelete(app, deps);
};
