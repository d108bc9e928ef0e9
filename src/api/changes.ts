/** The account's log, page by page. */
import { Type } from "typebox";
import { formatState } from "../model/change.ts";
import { toChangeJson } from "../model/change-json.ts";
import { readChanges } from "../store/change-reads.ts";
import { requireScope } from "./auth.ts";
import { cannotCalculate, ChangeSchema, readState, State } from "./change-json.ts";
import { AccountParams, loadAccount } from "./load-account.ts";
import { pageLimit, pageQuery } from "./pagination.ts";
import { notFound } from "./problem.ts";
import { Strict } from "./schemas.ts";
import type { ApiDeps, App } from "./types.ts";

const ChangesAnswer = Type.Object({
  oldState: State,
  newState: Type.String({ description: "Where to go on from: `since` of the next call." }),
  hasMore: Type.Boolean(),
  items: Type.Array(ChangeSchema),
});

export const registerChanges = (app: App, deps: Pick<ApiDeps, "db">): void => {
  app.get(
    "/v1/accounts/:accountId/changes",
    {
      config: requireScope("mail:read"),
      schema: {
        tags: ["changes"],
        summary: "Changes since a state, oldest first, without gaps",
        params: AccountParams,
        querystring: Strict({
          since: Type.String({ description: "A state, e.g. of the last change seen; `0.0` is the beginning." }),
          limit: pageQuery.limit,
        }),
        response: { 200: ChangesAnswer },
      },
    },
    async (request, reply) => {
      const account = await loadAccount(deps, request);
      const since = readState(request.query.since, "query", "/since");
      const page = await readChanges(deps.db, account.id, since, pageLimit(request.query));
      if (page.outcome === "account_gone") throw notFound("account");
      if (page.outcome === "cannot_calculate") throw cannotCalculate(page.head);
      const newSeq = page.changes.at(-1)?.seq ?? since.seq;
      void reply.header("etag", `"${formatState(page.head.epoch, page.head.seq)}"`);
      return {
        oldState: formatState(since.epoch, since.seq),
        newState: formatState(page.head.epoch, newSeq),
        hasMore: page.hasMore,
        items: page.changes.map(toChangeJson),
      };
    },
  );
};
