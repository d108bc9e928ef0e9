/** Holds answers against the description of the API: the status is one that it names, and the body is of its schema. */
import { Compile } from "typebox/schema";

interface Answer {
  readonly description?: string;
  readonly content?: Readonly<Record<string, { readonly schema?: object }>>;
}

interface Operation {
  readonly responses: Readonly<Record<string, Answer>>;
}

/** Of /openapi.json, what is looked at here. */
export interface ApiDocument {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components?: object;
}

interface Exchange {
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly contentType: string | null;
  /** undefined: not JSON. */
  readonly body: unknown;
}

const checks = new WeakMap<object, ReturnType<typeof Compile>>();

/** What it refers to is looked for in the document. */
const checkOf = ({ components }: ApiDocument, schema: object): ReturnType<typeof Compile> => {
  const check = checks.get(schema) ?? Compile({ ...schema, components });
  checks.set(schema, check);
  return check;
};

const patternOf = (template: string): RegExp =>
  new RegExp(`^${template.replaceAll(/[.]/g, String.raw`\.`).replaceAll(/\{\w+\}/g, "[^/]+")}$`);

const findOperation = (document: ApiDocument, method: string, path: string): Operation | undefined => {
  const known = Object.entries(document.paths).find(([template]) => patternOf(template).test(path));
  return known?.[1][method.toLowerCase()];
};

const mediaType = (header: string | null): string => (header ?? "").split(";", 1)[0] ?? "";

/** What the description does not promise of this answer, in words; null when all is as described, or nothing is. */
export const breachOf = (document: ApiDocument, exchange: Exchange): string | null => {
  const { method, status, contentType, body } = exchange;
  const operation = findOperation(document, method, exchange.path.split("?", 1)[0] ?? "");
  if (operation === undefined) return null;
  const answer = operation.responses[status] ?? operation.responses[`${Math.floor(status / 100)}XX`];
  if (answer === undefined) return `status ${status} is not described`;
  const { content } = answer;
  if (content === undefined || status === 304) return null;
  const described = content[mediaType(contentType)];
  // A part of a mail comes under whatever type the mail gives it.
  if (described === undefined) return "application/octet-stream" in content ? null : `${contentType} is not described`;
  if (described.schema === undefined || body === undefined) return null;
  const check = checkOf(document, described.schema);
  return check.Check(body) ? null : JSON.stringify(check.Errors(body)[1]).slice(0, 2000);
};
