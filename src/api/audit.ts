/** Who did what over the API: noted for every request that is no mere reading, and told to those who may run the installation. */
import type { FastifyRequest } from "fastify";
import { type Static, Type } from "typebox";
import { type AccountId, formatId, parseId } from "../model/ids.ts";
import { digestText, type Sealer } from "../store/sealing.ts";
import { type AuditEntry, type AuditRow, listActions, noteAction } from "../store/audit.ts";
import { callerOf, requireScope } from "./auth.ts";
import { decodeCursor, pageLimit, pageQuery, toPage } from "./pagination.ts";
import { Nullable, PageOf, Strict, Time } from "./schemas.ts";
import type { ApiDeps, App } from "./types.ts";

const Action = Type.Object(
  {
    id: Type.String(),
    at: Time,
    keyId: Nullable(Type.String({ description: "null: the operator's key." })),
    method: Type.String(),
    route: Type.String({ description: "The pattern of the path." }),
    accountId: Nullable(Type.String()),
    objects: Type.Object(
      {},
      { additionalProperties: Type.String(), description: "Ids in the path, and `created`: what the request made." },
    ),
    fields: Type.Object(
      {},
      {
        additionalProperties: Nullable(Type.String()),
        description:
          "What the request set: parameters (`?purge`) and fields of its body (`/policy/retentionDays`), each with a digest of its value. A value that is set again has the same digest while SAMEBOX_SECRET_KEY is the same. null: it holds a secret.",
      },
    ),
    status: Type.Integer({ description: "The status that was answered." }),
    address: Type.String({ description: "Where the request came from." }),
    requestId: Type.String(),
  },
  { title: "Action" },
);

const showAction = (row: AuditRow): Static<typeof Action> => ({
  id: formatId("aud", row.id),
  at: row.at.toISOString(),
  keyId: row.keyId === null ? null : formatId("key", row.keyId),
  method: row.method,
  route: row.route,
  accountId: row.accountId === null ? null : formatId("acc", row.accountId),
  objects: { ...row.objects },
  fields: { ...row.fields },
  status: row.status,
  address: row.address,
  requestId: row.requestId,
});

/** An id of ours or a number: whatever else somebody puts into a path is not kept, for it may be anything. */
const isId = (value: unknown): value is string => typeof value === "string" && /^(?:[a-z]{3}_[0-9a-f]{32}|\d{1,15})$/.test(value);

/** Objects that are told field by field; of all others it is told that they were set. Keywords are named by people. */
const nested: ReadonlySet<string> = new Set(["policy", "tls", "endpoints"]);

/** Pairs of where and what. Of `auth` nothing is ever kept. */
const fieldsOf = (value: unknown, at: string): [string, unknown][] =>
  typeof value !== "object" || value === null
    ? []
    : Object.entries(value).flatMap(([name, inner]): [string, unknown][] => {
        if (inner === undefined) return [];
        const within = `${at}/${name}`;
        return nested.has(name) || Array.isArray(value)
          ? fieldsOf(inner, within)
          : [[within, name === "auth" ? undefined : inner]];
      });

/** What a request set that was found to be valid, for {@link toEntry}; a body that is no JSON is not told. */
export const digestFields = (request: FastifyRequest, sealer: Pick<Sealer, "digests">, isJson: boolean): AuditEntry["fields"] => {
  const said = [
    ...Object.entries(request.query as object).map(([name, value]): [string, unknown] => [`?${name}`, value]),
    ...(isJson ? fieldsOf(request.body, "") : []),
  ];
  const { tenantId } = callerOf(request);
  return Object.fromEntries(
    said.map(([at, value]) => [
      at,
      value === undefined ? null : digestText(sealer.digests(["audit", tenantId, at, JSON.stringify(value)])[0]),
    ]),
  );
};

/** What the request did, or tried; `body` is the answer's. */
export const toEntry = (
  request: FastifyRequest,
  status: number,
  { body = null, fields = {} }: { readonly body?: unknown; readonly fields?: AuditEntry["fields"] } = {},
): AuditEntry => {
  const { tenantId, keyId } = callerOf(request);
  const objects = Object.fromEntries(
    Object.entries(request.params as Record<string, unknown>).filter((pair): pair is [string, string] => isId(pair[1])),
  );
  const made = typeof body === "object" && body !== null && "id" in body ? body.id : null;
  if (status === 201 && isId(made)) objects["created"] = made;
  const account = objects["accountId"] ?? (objects["created"]?.startsWith("acc_") === true ? objects["created"] : undefined);
  return {
    tenantId,
    keyId,
    method: request.method,
    route: request.routeOptions.url ?? "",
    accountId: account === undefined ? null : parseId<AccountId>("acc", account),
    objects,
    fields,
    status,
    address: request.ip,
    requestId: request.id,
  };
};

/**
 * Writes are noted in the transaction of their effect (`answerOnce`); here follows what had none: what was refused, repeated or
 * only looked at. Requests over the limit are not noted, or the limit would protect nothing.
 */
export const noteTheRest = (app: App, deps: ApiDeps): void => {
  app.addHook("onResponse", async (request, reply) => {
    const reads = request.method === "GET" || request.method === "HEAD";
    if (reads || request.caller === null || request.audited || reply.statusCode === 429) return;
    await noteAction(deps.everyTenant, toEntry(request, reply.statusCode)).catch((err: unknown) =>
      request.log.warn({ err }, "action not noted"),
    );
  });
};

const CursorShape = Type.Tuple([Type.String({ pattern: "^aud_[0-9a-f]{32}$" })]);

export const registerAudit = (app: App, deps: ApiDeps): void => {
  app.get(
    "/v1/audit",
    {
      config: requireScope("ops"),
      schema: {
        tags: ["operations"],
        summary: "What was done over the API, and by which key; newest first",
        querystring: Strict(pageQuery),
        response: { 200: PageOf(Action) },
      },
    },
    async (request) => {
      const limit = pageLimit(request.query);
      const position = decodeCursor(request.query.cursor, CursorShape);
      const after = position === null ? null : parseId("aud", position[0]);
      const { tenantId, accountIds } = callerOf(request);
      const part = { tenantId, among: accountIds === null ? null : [...accountIds] };
      const rows = await listActions(deps.db, part, { after, limit: limit + 1 });
      return toPage(rows, limit, { positionOf: ({ id }) => [formatId("aud", id)], toItem: showAction });
    },
  );
};
