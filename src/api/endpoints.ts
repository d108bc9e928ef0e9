/** Endpoints of an account; they are added and changed with it. */
import { Type } from "typebox";
import { type EndpointId, parseId } from "../model/ids.ts";
import { removeEndpoint } from "../store/endpoint-removal.ts";
import { requireScope } from "./auth.ts";
import { ring } from "./bell.ts";
import { answerOnce } from "./idempotency.ts";
import { AccountParams, loadAccount } from "./load-account.ts";
import { notFound, ProblemError } from "./problem.ts";
import type { ApiDeps, App } from "./types.ts";

const EndpointParams = Type.Object({ ...AccountParams.properties, endpointId: Type.String() });

export const registerEndpoints = (app: App, deps: ApiDeps): void => {
  app.delete(
    "/v1/accounts/:accountId/endpoints/:endpointId",
    {
      config: requireScope("accounts"),
      schema: {
        tags: ["accounts"],
        summary: "Take an endpoint from the account; its mail stays, and nothing is changed upstream",
        description: "Messages keep their ids, and so they do where another endpoint shows them again. The last endpoint stays.",
        params: EndpointParams,
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      const account = await loadAccount(deps, request);
      const id = parseId<EndpointId>("end", request.params.endpointId);
      await answerOnce(deps, { request, reply }, async (tx) => {
        const done =
          id === null ? "unknown" : await removeEndpoint(tx, { tenantId: account.tenantId, accountId: account.id }, id);
        if (done === "unknown") throw notFound("endpoint");
        if (done === "last")
          throw new ProblemError("conflict", "It is the account's only endpoint. Add another first, or remove the account.");
        return { status: 204, body: null };
      });
      ring(deps, account, "changed");
      return reply.send(null);
    },
  );
};
