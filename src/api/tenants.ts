/** Tenants, for the operator. */
import { type Static, Type } from "typebox";
import { formatId, parseId, type TenantId } from "../model/ids.ts";
import { createTenant, listTenants, type Tenant } from "../store/tenants.ts";
import { answerOnce } from "./idempotency.ts";
import { decodeCursor, pageLimit, pageQuery, toPage } from "./pagination.ts";
import { ProblemError } from "./problem.ts";
import { PageOf, Strict, Time } from "./schemas.ts";
import type { ApiDeps, App } from "./types.ts";

const tags = ["operations"];
const config = { access: "operator" } as const;

const TenantAnswer = Type.Object({ id: Type.String(), name: Type.String(), createdAt: Time }, { title: "Tenant" });

const TenantInput = Strict(
  { name: Type.String({ minLength: 1, maxLength: 200, pattern: "^[^\\p{Cc}\\p{Cs}]+$" }) },
  { title: "TenantInput" },
);

const showTenant = (tenant: Tenant): Static<typeof TenantAnswer> => ({
  id: formatId("ten", tenant.id),
  name: tenant.name,
  createdAt: tenant.createdAt.toISOString(),
});

const CursorShape = Type.Tuple([Type.String({ pattern: "^ten_[0-9a-f]{32}$" })]);

export const registerTenants = (app: App, deps: ApiDeps): void => {
  app.post(
    "/v1/tenants",
    { config, schema: { tags, summary: "Make a tenant (operator)", body: TenantInput, response: { 201: TenantAnswer } } },
    async (request, reply) =>
      answerOnce({ ...deps, db: deps.everyTenant }, { request, reply }, async (tx) => {
        const tenant = await createTenant(tx, request.body.name);
        if (tenant === null) throw new ProblemError("conflict", "There is a tenant of that name.");
        return { status: 201, body: showTenant(tenant) };
      }),
  );
  app.get(
    "/v1/tenants",
    {
      config,
      schema: {
        tags,
        summary: "List tenants (operator)",
        querystring: Strict(pageQuery),
        response: { 200: PageOf(TenantAnswer) },
      },
    },
    async (request) => {
      const limit = pageLimit(request.query);
      const position = decodeCursor(request.query.cursor, CursorShape);
      const after = position === null ? null : parseId<TenantId>("ten", position[0]);
      const tenants = await listTenants(deps.everyTenant, { after, limit: limit + 1 });
      return toPage(tenants, limit, { positionOf: (tenant) => [formatId("ten", tenant.id)], toItem: showTenant });
    },
  );
};
