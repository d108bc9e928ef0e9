/** Changes that a breaker holds back: listed, approved, rejected. The worker of the account carries out what was said. */
import { Type } from "typebox";
import { type HoldDecision, holdChoices } from "../model/hold.ts";
import { formatState } from "../model/change.ts";
import { formatId, parseId } from "../model/ids.ts";
import { requestSync } from "../store/account-writes.ts";
import { decideHold, type Hold, listOpenHolds, lockOpenHold } from "../store/hold-reads.ts";
import { callerOf, requireScope } from "./auth.ts";
import { ring } from "./bell.ts";
import { ShownHold, showHold } from "./hold-schemas.ts";
import { answerOnce } from "./idempotency.ts";
import { AccountParams, loadAccount } from "./load-account.ts";
import { decodeCursor, pageLimit, pageQuery, toPage } from "./pagination.ts";
import { notFound, ProblemError } from "./problem.ts";
import { PageOf, Strict } from "./schemas.ts";
import type { ApiDeps, App } from "./types.ts";

const tags = ["accounts"];
const HoldParams = Type.Object({ ...AccountParams.properties, holdId: Type.String() });
const CursorShape = Type.Tuple([Type.String({ pattern: "^hld_[0-9a-f]{32}$" })]);

/** @throws ProblemError `conflict` where it cannot be decided so, or not any more. */
const requireChoice = ({ reason, decision }: Hold, wanted: HoldDecision): void => {
  if ((holdChoices[reason] ?? null) === null)
    throw new ProblemError("conflict", "Nobody can decide this hold: it ends when what is stored is sound again.");
  if (decision !== null && decision !== wanted)
    throw new ProblemError("conflict", `The hold was ${decision} already; that is carried out at the next look at the server.`);
};

const verbs = [
  { verb: "approve", decision: "approved", summary: "Say that the server is right" },
  { verb: "reject", decision: "rejected", summary: "Say that what is here is right" },
] as const;

const registerDecision = (app: App, deps: ApiDeps, { verb, decision, summary }: (typeof verbs)[number]): void => {
  app.post(
    `/v1/accounts/:accountId/holds/:holdId/${verb}`,
    {
      config: requireScope("accounts", "mail:write"),
      schema: { tags, summary, params: HoldParams, response: { 202: ShownHold } },
    },
    async (request, reply) => {
      const account = await loadAccount(deps, request);
      const { deviceId } = callerOf(request);
      const body = await answerOnce(deps, { request, reply }, async (tx) => {
        const id = parseId("hld", request.params.holdId);
        const hold = id === null ? null : await lockOpenHold(tx, account.id, id);
        if (hold === null) throw notFound("hold");
        requireChoice(hold, decision);
        if (hold.decision === null)
          await decideHold(tx, { tenantId: account.tenantId, accountId: account.id }, { id: hold.id, decision, deviceId });
        await requestSync(tx, account.id);
        return { status: 202, body: showHold({ ...hold, decision }) };
      });
      ring(deps, account, "api");
      return body;
    },
  );
};

export const registerHolds = (app: App, deps: ApiDeps): void => {
  app.get(
    "/v1/accounts/:accountId/holds",
    {
      config: requireScope("accounts", "mail:read"),
      schema: {
        tags,
        summary: "Changes that are held back until somebody decides, oldest first",
        params: AccountParams,
        querystring: Strict(pageQuery),
        response: { 200: PageOf(ShownHold) },
      },
    },
    async (request, reply) => {
      const account = await loadAccount(deps, request);
      void reply.header("etag", `"${formatState(account.stateEpoch, account.headSeq)}"`);
      const limit = pageLimit(request.query);
      const position = decodeCursor(request.query.cursor, CursorShape);
      const after = position === null ? null : parseId("hld", position[0]);
      const rows = await listOpenHolds(deps.db, account.id, { after, limit: limit + 1 });
      return toPage(rows, limit, { positionOf: (row: Hold) => [formatId("hld", row.id)], toItem: showHold });
    },
  );
  for (const verb of verbs) registerDecision(app, deps, verb);
};
