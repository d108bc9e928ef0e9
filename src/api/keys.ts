/** API keys: made (and shown once), listed without their secret, deleted. A key cannot make one that may do more than itself. */
import { type Static, Type } from "typebox";
import { allScopes } from "../model/access.ts";
import { type AccountId, formatId, type KeyId, parseId, type TenantId } from "../model/ids.ts";
import { findAccount } from "../store/accounts.ts";
import { type ApiKey, createKey, deleteKey, type KeyOwner, listKeys, type NewKey } from "../store/keys.ts";
import type { Transactor } from "../store/database.ts";
import { findTenant } from "../store/tenants.ts";
import { callerOf, maySee, requireScope } from "./auth.ts";
import { answerOnce } from "./idempotency.ts";
import { decodeCursor, pageLimit, pageQuery, toPage } from "./pagination.ts";
import { invalid, notFound, ProblemError } from "./problem.ts";
import { Nullable, PageOf, Strict, Time, Words } from "./schemas.ts";
import type { ApiDeps, App, Caller } from "./types.ts";

const tags = ["operations"];

const KeyInput = Strict(
  {
    name: Type.String({ minLength: 1, maxLength: 200, pattern: "^[^\\p{Cc}\\p{Cs}]+$" }),
    scopes: Type.Array(Words(allScopes), { minItems: 1, uniqueItems: true }),
    accountIds: Type.Optional(Nullable(Type.Array(Type.String(), { minItems: 1, maxItems: 1000, uniqueItems: true }))),
    expiresAt: Type.Optional(Nullable(Time)),
    tenantId: Type.Optional(Type.String({ description: "Operator only: whose key it is." })),
  },
  { title: "KeyInput" },
);

const keyFields = {
  id: Type.String(),
  tenantId: Type.String(),
  name: Type.String(),
  scopes: Type.Array(Words(allScopes)),
  accountIds: Nullable(Type.Array(Type.String(), { description: "The only accounts the key may see; null: all of the tenant." })),
  expiresAt: Nullable(Time),
  lastUsedAt: Nullable(Type.String({ format: "date-time", description: "To the minute." })),
  createdAt: Time,
};
const Key = Type.Object(keyFields, { title: "Key" });
const NewKeyAnswer = Type.Object({ ...keyFields, key: Type.String({ description: "Shown this once." }) }, { title: "NewKey" });

const showKey = (key: ApiKey): Static<typeof Key> => ({
  id: formatId("key", key.id),
  tenantId: formatId("ten", key.tenantId),
  name: key.name,
  scopes: [...key.scopes],
  accountIds: key.accountIds?.map((id) => formatId("acc", id)) ?? null,
  expiresAt: key.expiresAt?.toISOString() ?? null,
  lastUsedAt: key.lastUsedAt?.toISOString() ?? null,
  createdAt: key.createdAt.toISOString(),
});

const findOwner = async (deps: ApiDeps, caller: Caller, tenantId: string | undefined): Promise<TenantId> => {
  if (tenantId === undefined || tenantId === formatId("ten", caller.tenantId)) return caller.tenantId;
  if (caller.kind !== "operator") throw new ProblemError("forbidden", "Only the operator makes keys for other tenants.");
  const id = parseId<TenantId>("ten", tenantId);
  const tenant = id === null ? null : await findTenant(deps.everyTenant, { id });
  if (tenant === null) throw invalid("body", "/tenantId", "is not a tenant");
  return tenant.id;
};

/** The operator makes keys for other tenants, too. */
const reachOf = (deps: ApiDeps, caller: Caller): Transactor => (caller.kind === "operator" ? deps.everyTenant : deps.db);

const readAccountIds = async (
  deps: ApiDeps,
  owner: { readonly tenantId: TenantId; readonly caller: Caller },
  shown: readonly string[] | null | undefined,
): Promise<AccountId[] | null> => {
  if (shown === null || shown === undefined) {
    if (owner.caller.accountIds !== null)
      throw new ProblemError("forbidden", "A key that is limited to some accounts can only make keys for those.");
    return null;
  }
  const ids: AccountId[] = [];
  for (const [index, text] of shown.entries()) {
    const id = parseId<AccountId>("acc", text);
    if (id === null || !maySee(owner.caller, id) || (await findAccount(reachOf(deps, owner.caller), owner.tenantId, id)) === null)
      throw invalid("body", `/accountIds/${index}`, "is not an account of the tenant");
    ids.push(id);
  }
  return ids;
};

const readExpiry = (text: string | null | undefined): Date | null => {
  if (text === null || text === undefined) return null;
  const at = new Date(text);
  if (!(at.getTime() > Date.now())) throw invalid("body", "/expiresAt", "must be in the future");
  return at;
};

const readNewKey = async (deps: ApiDeps, caller: Caller, input: Static<typeof KeyInput>): Promise<NewKey> => {
  const beyond = input.scopes.filter((scope) => !caller.scopes.has(scope));
  if (beyond.length > 0) throw new ProblemError("forbidden", `The key cannot give scopes it has not: ${beyond.join(", ")}.`);
  const tenantId = await findOwner(deps, caller, input.tenantId);
  const accountIds = await readAccountIds(deps, { tenantId, caller }, input.accountIds);
  return { tenantId, name: input.name, scopes: input.scopes, accountIds, expiresAt: readExpiry(input.expiresAt) };
};

/** The keys that the caller may know of: a key that is limited to some accounts has no say over one that is not. */
const ownerOf = ({ tenantId, accountIds }: Caller): KeyOwner => ({
  tenantId,
  among: accountIds === null ? null : [...accountIds],
});

const CursorShape = Type.Tuple([Type.String({ pattern: "^key_[0-9a-f]{32}$" })]);

export const registerKeys = (app: App, deps: ApiDeps): void => {
  const config = requireScope("ops");
  app.post(
    "/v1/keys",
    {
      config,
      schema: { tags, summary: "Make a key; its secret is shown this once", body: KeyInput, response: { 201: NewKeyAnswer } },
    },
    async (request, reply) => {
      const newKey = await readNewKey(deps, callerOf(request), request.body);
      return answerOnce({ ...deps, db: reachOf(deps, callerOf(request)) }, { request, reply, keep: "sealed" }, async (tx) => {
        const { key, secret } = await createKey(tx, newKey);
        return { status: 201, body: { ...showKey(key), key: secret } };
      });
    },
  );
  app.get(
    "/v1/keys",
    {
      config,
      schema: { tags, summary: "List keys, newest first", querystring: Strict(pageQuery), response: { 200: PageOf(Key) } },
    },
    async (request) => {
      const limit = pageLimit(request.query);
      const position = decodeCursor(request.query.cursor, CursorShape);
      const after = position === null ? null : parseId<KeyId>("key", position[0]);
      const keys = await listKeys(deps.db, ownerOf(callerOf(request)), { after, limit: limit + 1 });
      return toPage(keys, limit, { positionOf: (key) => [formatId("key", key.id)], toItem: showKey });
    },
  );
  app.delete(
    "/v1/keys/:keyId",
    {
      config,
      schema: {
        tags,
        summary: "Delete a key; it stops to work at once",
        params: Type.Object({ keyId: Type.String() }),
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      const id = parseId<KeyId>("key", request.params.keyId);
      if (id === null) throw notFound("key");
      await answerOnce(deps, { request, reply }, async (tx) => {
        if (!(await deleteKey(tx, ownerOf(callerOf(request)), id))) throw notFound("key");
        return { status: 204, body: null };
      });
      return reply.send(null);
    },
  );
};
