/**
 * Gives every schema that has a title a name of its own in the description of the API: each stands there once, clients that are
 * made of it get a type for each, and a union by a property can name its members (OpenAPI 3.1.1, "Discriminator Object").
 */
import { isDeepStrictEqual } from "node:util";
import { InvariantError } from "../model/failure.ts";

type Json = string | number | boolean | null | undefined | readonly Json[] | JsonObject;
interface JsonObject {
  readonly [key: string]: Json;
}

const isObject = (value: Json): value is JsonObject => typeof value === "object" && value !== null && !Array.isArray(value);

const isNamed = (value: JsonObject): value is JsonObject & { readonly title: string } =>
  typeof value["title"] === "string" && isObject(value["properties"]);

/** The value of the property by which a union tells this member. */
const mark = (member: Json, property: string): string | null => {
  const properties = isObject(member) ? member["properties"] : undefined;
  const told = isObject(properties) ? properties[property] : undefined;
  return isObject(told) && typeof told["const"] === "string" ? told["const"] : null;
};

class Naming {
  readonly schemas: Record<string, Json> = {};

  visit(value: Json): Json {
    if (Array.isArray(value)) return value.map((item: Json) => this.visit(item));
    if (!isObject(value)) return value;
    if (!isNamed(value)) return this.visitMembers(value);
    if (!Array.isArray(value["type"])) return this.refer(value);
    return { anyOf: [this.refer({ ...value, type: "object" }), { type: "null" }] };
  }

  private visitMembers(value: JsonObject): JsonObject {
    const visited = Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, this.visit(inner)]));
    const { discriminator, oneOf } = value;
    if (!isObject(discriminator) || !Array.isArray(oneOf)) return visited;
    const property = discriminator["propertyName"];
    if (typeof property !== "string") return visited;
    const mapping = oneOf.flatMap((member: Json) => {
      const word = mark(member, property);
      const reference = this.visit(member);
      return word !== null && isObject(reference) && "$ref" in reference ? [[word, reference["$ref"]] as const] : [];
    });
    return { ...visited, discriminator: { ...discriminator, mapping: Object.fromEntries(mapping) } };
  }

  private refer(schema: JsonObject & { readonly title: string }): JsonObject {
    const { title } = schema;
    const visited = this.visitMembers(schema);
    const known = this.schemas[title];
    if (known !== undefined && !isDeepStrictEqual(known, visited)) throw new InvariantError(`two schemas are called ${title}`);
    this.schemas[title] = visited;
    return { $ref: `#/components/schemas/${title}` };
  }
}

/** @param document an OpenAPI document whose schemas stand where they are used. @throws InvariantError for one name of two. */
export const nameSchemas = (document: object): object => {
  const given = document as JsonObject;
  const naming = new Naming();
  const paths = naming.visit(given["paths"]);
  const components = isObject(given["components"]) ? given["components"] : {};
  const schemas = Object.fromEntries(Object.entries(naming.schemas).toSorted(([a], [b]) => (a < b ? -1 : 1)));
  return { ...given, paths, components: { ...components, schemas } };
};
