import { describe, expect, test } from "vitest";
import { type ApiDocument, breachOf } from "./contract.ts";

const schema = {
  type: "object",
  required: ["id"],
  properties: { id: { type: "string" }, at: { type: ["string", "null"], format: "date-time" } },
};
const document: ApiDocument = {
  paths: {
    "/v1/things/{id}": {
      get: {
        responses: {
          "200": { description: "one", content: { "application/json": { schema } } },
          "204": { description: "none" },
          "4XX": {
            description: "no",
            content: { "application/problem+json": { schema: { type: "object", required: ["code"] } } },
          },
        },
      },
    },
  },
};

const answer = {
  method: "GET",
  path: "/v1/things/7?x=1",
  status: 200,
  contentType: "application/json; charset=utf-8",
  body: { id: "7", at: null },
};
const problem = { ...answer, status: 404, contentType: "application/problem+json; charset=utf-8", body: { code: "not_found" } };

describe("an answer", () => {
  test.each([
    ["as described", answer],
    ["without a body", { ...answer, status: 204, contentType: null, body: undefined }],
    ["of a whole class", problem],
    ["about a path that nothing is said of", { ...answer, path: "/elsewhere", status: 418 }],
  ])("%s keeps the contract", (_what, exchange) => {
    expect(breachOf(document, exchange)).toBeNull();
  });

  test.each([
    ["with a field missing", { ...answer, body: {} }, "id"],
    ["with a field of another type", { ...answer, body: { id: 7 } }, "string"],
    ["with a time that is none", { ...answer, body: { id: "7", at: "soon" } }, "date-time"],
    ["of another status", { ...answer, status: 201 }, "201"],
    ["of another media type", { ...answer, contentType: "text/html" }, "text/html"],
    ["that is a problem without a code", { ...problem, body: {} }, "code"],
  ])("%s breaks it", (_what, exchange, sign) => {
    expect(breachOf(document, exchange)).toContain(sign);
  });
});
