/** Every route, as the API's own description lists them, and what each wants to be asked with. */
import { randomUUID } from "node:crypto";
import { accountInput } from "./api.ts";

export interface Operation {
  readonly method: string;
  readonly path: string;
  readonly scopes: readonly string[];
}

export interface Described {
  readonly "x-scopes"?: readonly string[];
  readonly security?: readonly unknown[];
}

/** Bodies that pass validation, for the routes that want one. */
export const bodies: Readonly<Record<string, unknown>> = {
  "post /v1/accounts/{accountId}/policy/simulate": {},
  "post /v1/accounts": accountInput(),
  "patch /v1/accounts/{accountId}": { name: "Eve" },
  "patch /v1/accounts/{accountId}/messages/{messageId}": { keywords: { $seen: true } },
  "post /v1/accounts/{accountId}/mailboxes": { name: "Work" },
  "patch /v1/accounts/{accountId}/mailboxes/{mailboxId}": { name: "Work" },
  "post /v1/accounts/{accountId}/batch": { ops: [{ op: "delete", messageId: `msg_${"0".repeat(32)}` }] },
  "post /v1/probe": (accountInput()["endpoints"] as unknown[])[0],
  "post /v1/keys": { name: "k", scopes: ["mail:read"] },
  "post /v1/tenants": { name: "another" },
  "post /v1/webhooks": { url: "https://hooks.example.test/samebox" },
  "patch /v1/webhooks/{webhookId}": { enabled: false },
  "post /v1/webhooks/{webhookId}/secret": {},
  "post /v1/webhooks/{webhookId}/replay": { accountId: `acc_${"0".repeat(32)}`, since: "0.0" },
};

/** Routes whose body is no JSON. */
export const otherMedia = { "/v1/accounts/{accountId}/messages": "message/rfc822" };

/** Queries for the routes that cannot do without. */
const queries: Readonly<Record<string, string>> = { "get /v1/accounts/{accountId}/changes": "?since=0.0" };

const idPrefixes: Readonly<Record<string, string>> = {
  accountId: "acc",
  messageId: "msg",
  mailboxId: "mbx",
  keyId: "key",
  holdId: "hld",
  webhookId: "whk",
};

/** All that are not public. */
export const operationsOf = (document: {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Described>>>>;
}): Operation[] =>
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods)
      .filter(([, described]) => described.security === undefined)
      .map(([method, described]) => ({ method, path, scopes: described["x-scopes"] ?? [] })),
  );

/** The path with ids in it, those not given being nobody's, and with the query it cannot do without. */
export const pathOf = ({ method, path }: Operation, ids: Readonly<Record<string, string>>): string =>
  path.replace(
    /\{(\w+)\}/g,
    (_, name: string) => ids[name] ?? `${idPrefixes[name] ?? "any"}_${randomUUID().replaceAll("-", "")}`,
  ) + (queries[`${method} ${path}`] ?? "");
