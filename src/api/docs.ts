/** The contract, made from the schemas that validate: /openapi.json, and a page that shows it. */
import swagger, { type SwaggerTransform } from "@fastify/swagger";
import Fastify from "fastify";
import { Type } from "typebox";
import { nameSchemas } from "./named-schemas.ts";
import { emptyBody } from "./strict-input.ts";
import type { App } from "./types.ts";

const description = `One consistent mailbox for every account, over HTTP. Errors are RFC 9457 problem details with a stable \`code\`.
Lists take \`limit\` and \`cursor\`; POST takes an \`Idempotency-Key\`.`;

/** A body that may only be absent is no news to a reader. */
const hideEmptyBody: SwaggerTransform = ({ schema, url }) => {
  const { body, ...rest } = schema;
  return { schema: body === emptyBody ? rest : schema, url };
};

/** To be registered before every route that it shall describe. */
export const registerOpenApi = async (app: App, version: string): Promise<void> => {
  await app.register(swagger, {
    transform: hideEmptyBody,
    openapi: {
      openapi: "3.1.0",
      info: { title: "Samebox", version, description, license: { name: "MIT", identifier: "MIT" } },
      servers: [{ url: "/" }],
      tags: [
        { name: "accounts", description: "Accounts and their endpoints" },
        { name: "mail", description: "Mailboxes and messages" },
        { name: "changes", description: "Following what changes" },
        { name: "webhooks", description: "Being told of what changes" },
        { name: "operations", description: "Keys, tenants, health" },
      ],
      components: {
        securitySchemes: { key: { type: "http", scheme: "bearer", description: "An API key, or the operator's key." } },
      },
      security: [{ key: [] }],
    },
  });
};

/** Links are relative, so that the page works behind a proxy that adds a prefix. */
const page = `<!doctype html>
<html lang="en">
  <head>
    <title>Samebox API</title>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
  </head>
  <body>
    <div id="app"></div>
    <script src="docs/scalar.js"></script>
    <script src="docs/start.js"></script>
  </body>
</html>
`;

const startScript = `Scalar.createApiReference("#app", ${JSON.stringify({
  url: "openapi.json",
  telemetry: false,
  withDefaultFonts: false,
  agent: { disabled: true },
  mcp: { disabled: true },
  hideClientButton: true,
  showDeveloperTools: "never",
})});
`;

/** Nothing from elsewhere is loaded, nothing is sent elsewhere. */
const policy =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** The viewer is 5 MB of script inside a module that costs 60 MB and most of a second: loaded when somebody asks for it. */
const loadViewer = async (): Promise<string> => {
  const { default: scalar } = await import("@scalar/fastify-api-reference");
  const shelf = Fastify();
  await shelf.register(scalar, { routePrefix: "/docs", configuration: { url: "openapi.json" } });
  const { body } = await shelf.inject("/docs/js/scalar.js");
  await shelf.close();
  return body;
};

/** To be registered after the OpenAPI plugin. */
export const registerDocs = (app: App): void => {
  const config = { access: "public" } as const;
  const hidden = { schema: { hide: true }, config };
  let viewer: Promise<string> | undefined;
  let described: object | undefined;
  app.get(
    "/openapi.json",
    {
      config,
      schema: {
        tags: ["operations"],
        summary: "This description",
        response: { 200: Type.Object({}, { additionalProperties: true }) },
      },
    },
    async () => (described ??= nameSchemas(app.swagger())),
  );
  app.get("/docs", hidden, async (_request, reply) =>
    reply.header("content-security-policy", policy).type("text/html; charset=utf-8").send(page),
  );
  app.get("/docs/start.js", hidden, async (_request, reply) => reply.type("text/javascript; charset=utf-8").send(startScript));
  app.get("/docs/scalar.js", hidden, async (_request, reply) => {
    const script = await (viewer ??= loadViewer());
    return reply.header("cache-control", "public, max-age=86400").type("text/javascript; charset=utf-8").send(script);
  });
};
