/**
 * What comes in is what the schema says, nothing more and nothing converted: unknown body fields and query parameters are
 * refused by name, and only query parameters, which are text by nature, become numbers and booleans, strictly.
 */
import type { FastifyRequest, RouteOptions } from "fastify";
import type { Fault } from "./problem.ts";
import { ProblemError } from "./problem.ts";
import { Empty } from "./schemas.ts";

/** Options of Ajv, which Fastify brings. `discriminator` lets a union name the one fault, not the faults of every branch. */
export const ajvOptions = {
  removeAdditional: false,
  coerceTypes: false,
  useDefaults: true,
  allErrors: true,
  discriminator: true,
} as const;

interface ObjectSchema {
  readonly type?: unknown;
  readonly properties?: Readonly<Record<string, { readonly type?: unknown }>>;
  readonly additionalProperties?: unknown;
}

const isClosed = (schema: ObjectSchema): boolean => schema.type !== "object" || schema.additionalProperties === false;

/** A request without a body, or with `{}`. */
export const emptyBody = { type: ["object", "null"], additionalProperties: false } as const;

const takesBody = new Set(["POST", "PUT", "PATCH", "DELETE"]);

/**
 * For every route: no schema for the query or the body means that there is none, and an open one is a programmer's slip.
 * @throws Error at start.
 */
export const closeSchemas = (route: RouteOptions): void => {
  const schema = { ...route.schema };
  schema.querystring ??= Empty;
  const methods = [route.method].flat();
  if (methods.some((method) => takesBody.has(method))) schema.body ??= emptyBody;
  for (const part of [schema.querystring, schema.body])
    if (part !== undefined && !isClosed(part as ObjectSchema))
      throw new Error(`${methods.join(",")} ${route.url} takes unknown fields`);
  route.schema = schema;
};

const toNumber = (text: string): number | string => (/^-?(0|[1-9]\d{0,14})$/.test(text) ? Number(text) : text);

const toBoolean = (text: string): boolean | string => (text === "true" ? true : text === "false" ? false : text);

const convert = (value: string | string[], type: unknown): unknown => {
  if (type === "array") return Array.isArray(value) ? value : [value];
  if (Array.isArray(value)) throw new TypeError("given more than once");
  if (type === "integer" || type === "number") return toNumber(value);
  return type === "boolean" ? toBoolean(value) : value;
};

/** Turns the texts of a query into what its schema says, as far as they are it; the schema refuses the rest. */
export const convertQuery = (request: FastifyRequest): void => {
  const properties = (request.routeOptions.schema?.querystring as ObjectSchema | undefined)?.properties ?? {};
  const query = request.query as Record<string, unknown>;
  const faults: Fault[] = [];
  for (const [name, value] of Object.entries(query)) {
    const type = Object.hasOwn(properties, name) ? properties[name]?.type : undefined;
    try {
      query[name] = convert(value as string | string[], type);
    } catch {
      faults.push({ in: "query", pointer: `/${name.slice(0, 100)}`, detail: "is given more than once" });
    }
  }
  if (faults.length > 0)
    throw new ProblemError("invalid_request", "A query parameter is given more than once.", { errors: faults });
};
