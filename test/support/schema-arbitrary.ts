/** Values of a JSON schema for property tests: what a caller sends who has read the description, and what one sends who has not. */
import fc from "fast-check";

export interface Schema {
  readonly type?: string | readonly string[];
  readonly $ref?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly patternProperties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly maxItems?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly pattern?: string;
  readonly format?: string;
}

/** Of a name below `#/components/schemas/`. */
export type Lookup = (name: string) => Schema;

const strings = (schema: Schema): fc.Arbitrary<string> => {
  const any = fc.oneof(fc.string({ unit: "binary", maxLength: 40 }), fc.string({ maxLength: 300 }));
  if (schema.format === "date-time")
    return fc.oneof(
      fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
      any,
    );
  // Classes of Unicode are more than the generator of matching strings knows; a plain string fits those patterns as a rule.
  return schema.pattern === undefined || schema.pattern.includes("\\p{")
    ? any
    : fc.oneof(fc.stringMatching(new RegExp(schema.pattern, "u")), any);
};

const objects = (schema: Schema, lookup: Lookup): fc.Arbitrary<unknown> => {
  const fields = Object.fromEntries(Object.entries(schema.properties ?? {}).map(([name, one]) => [name, valuesOf(one, lookup)]));
  const known = fc.record(fields, { requiredKeys: (schema.required ?? []).filter((name) => name in fields) });
  const [others] = Object.values(schema.patternProperties ?? {});
  if (others === undefined) return known;
  const names = fc.constantFrom("$seen", "$flagged", "Work", "\\Seen", "").map((name) => name);
  return fc.dictionary(fc.oneof(names, fc.string({ maxLength: 20 })), valuesOf(others, lookup), { maxKeys: 5 });
};

const ofType = (type: string, schema: Schema, lookup: Lookup): fc.Arbitrary<unknown> => {
  switch (type) {
    case "null":
      return fc.constant(null);
    case "boolean":
      return fc.boolean();
    case "integer":
      return fc.oneof(fc.integer({ min: schema.minimum ?? -10, max: schema.maximum ?? 1000 }), fc.maxSafeInteger());
    case "number":
      return fc.double();
    case "array":
      return fc.array(schema.items === undefined ? fc.jsonValue() : valuesOf(schema.items, lookup), { maxLength: 4 });
    case "object":
      return objects(schema, lookup);
    default:
      return strings(schema);
  }
};

/** Mostly values that the schema allows; formats and ends of ranges are overstepped now and then. */
export const valuesOf = (schema: Schema, lookup: Lookup): fc.Arbitrary<unknown> => {
  if (schema.$ref !== undefined) return valuesOf(lookup(schema.$ref.split("/").at(-1) ?? ""), lookup);
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  const union = schema.oneOf ?? schema.anyOf;
  if (union !== undefined) return fc.oneof(...union.map((one) => valuesOf(one, lookup)));
  const types = [schema.type ?? "string"].flat();
  return fc.oneof(...types.map((type) => ofType(type, schema, lookup)));
};
