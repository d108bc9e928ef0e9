/** Tenants: the apps or customers that own keys and accounts. */
import { uuidv7 } from "uuidv7";
import type { TenantId } from "../model/ids.ts";
import type { Database, Queryable } from "./database.ts";

export interface Tenant {
  readonly id: TenantId;
  readonly name: string;
  readonly createdAt: Date;
}

/** null when the name is taken. */
export const createTenant = async (db: Queryable, name: string): Promise<Tenant | null> => {
  const { rows } = await db.query<Tenant>({
    name: "tenant_create",
    text: `insert into tenants (id, name) values ($1, $2) on conflict (name) do nothing returning id, name, created_at as "createdAt"`,
    values: [uuidv7(), name],
  });
  return rows[0] ?? null;
};

export const findTenant = async (
  db: Queryable,
  wanted: { readonly id: TenantId } | { readonly name: string },
): Promise<Tenant | null> => {
  const { rows } = await db.query<Tenant>({
    name: "id" in wanted ? "tenant_by_id" : "tenant_by_name",
    text: `select id, name, created_at as "createdAt" from tenants where ${"id" in wanted ? "id" : "name"} = $1`,
    values: ["id" in wanted ? wanted.id : wanted.name],
  });
  return rows[0] ?? null;
};

/** All tenants, oldest first, after the tenant `after`. */
export const listTenants = async (db: Database, page: { after: TenantId | null; limit: number }): Promise<Tenant[]> => {
  const rows = await db.prisma.tenant.findMany({
    where: page.after === null ? {} : { id: { gt: page.after } },
    orderBy: { id: "asc" },
    take: page.limit,
  });
  return rows.map((row) => ({ id: row.id as TenantId, name: row.name, createdAt: row.createdAt }));
};
