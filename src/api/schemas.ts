/** Schema pieces that several resources share. */
import { type TSchema, type TUnsafe, type Static, Type } from "typebox";

/** `schema` or null, in OpenAPI 3.1's words (`type: [x, "null"]`), which is also what serialises fastest. */
export const Nullable = <T extends TSchema>(schema: T): TUnsafe<Static<T> | null> => {
  const { type, enum: words, ...rest } = schema as T & { type?: unknown; enum?: unknown[] };
  if (typeof type !== "string") return Type.Unsafe<Static<T> | null>({ anyOf: [schema, { type: "null" }] });
  return Type.Unsafe<Static<T> | null>({ ...rest, type: [type, "null"], ...(words !== undefined && { enum: [...words, null] }) });
};

/** A string of these words. */
export const Words = <const W extends readonly string[]>(words: W, options: { description?: string } = {}): TUnsafe<W[number]> =>
  Type.Unsafe<W[number]>({ type: "string", enum: [...words], ...options });

/** RFC 3339, in UTC. */
export const Time = Type.String({ format: "date-time" });

export const Empty = Type.Object({}, { additionalProperties: false });

/** A request's object: unknown fields are refused. */
export const Strict = <P extends Record<string, TSchema>>(
  properties: P,
  options: { description?: string; title?: string } = {},
) => Type.Object(properties, { additionalProperties: false, ...options });

/** The answer of a list. */
export const PageOf = <T extends TSchema>(item: T) =>
  Type.Object({ items: Type.Array(item), nextCursor: Nullable(Type.String()) });
