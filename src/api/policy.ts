/** What another policy would make of mail that is gone upstream already, told before it is set. */
import { type Static, Type } from "typebox";
import { defaultPolicy } from "../model/account.ts";
import { formatState } from "../model/change.ts";
import { formatId, type MailboxId, parseId, type PlacementId } from "../model/ids.ts";
import type { PolicyEffect, PolicyStanding } from "../model/policy-effects.ts";
import { PolicyFields, PolicyInput } from "./account-schemas.ts";
import { State } from "./change-json.ts";
import { callerOf, requireScope } from "./auth.ts";
import { AccountParams, loadAccount } from "./load-account.ts";
import { decodeCursor, pageLimit, pageQuery, toPage } from "./pagination.ts";
import { notFound } from "./problem.ts";
import { Nullable, Strict, Words } from "./schemas.ts";
import type { ApiDeps, App } from "./types.ts";

const Standing = Words(["kept", "removed", "live"]);

const Effect = Type.Object(
  {
    messageId: Type.String(),
    placementId: Type.String(),
    mailboxId: Nullable(
      Type.String({
        description:
          "Where it is; of what would be `live`: where on the server it would be put back. null: a mailbox would be made for it.",
      }),
    ),
    now: Standing,
    wouldBe: Standing,
    reason: Type.String({ description: "What its absence would count as, e.g. `pop3_drain`." }),
    rule: Type.String(),
    confidence: Nullable(Type.Number()),
  },
  { title: "PolicyEffect" },
);

const formatMailbox = (id: MailboxId | null): string | null => (id === null ? null : formatId("mbx", id));

/** What is put back is `live` in the mailbox that it is put into. */
const shownAs = (standing: PolicyStanding) => (standing === "restored" ? "live" : standing);

const showEffect = (effect: PolicyEffect, restoreTo: MailboxId | null): Static<typeof Effect> => ({
  messageId: formatId("msg", effect.messageId),
  placementId: formatId("plc", effect.placementId),
  mailboxId: formatMailbox(effect.wouldBe === "restored" ? restoreTo : effect.mailboxId),
  now: shownAs(effect.now),
  wouldBe: shownAs(effect.wouldBe),
  reason: effect.reason,
  rule: effect.rule,
  confidence: effect.confidence,
});

const CursorShape = Type.Tuple([Type.String({ pattern: "^plc_[0-9a-f]{32}$" })]);

export const registerPolicy = (app: App, deps: ApiDeps): void => {
  app.post(
    "/v1/accounts/:accountId/policy/simulate",
    {
      config: requireScope("accounts", "mail:read"),
      schema: {
        tags: ["accounts"],
        summary: "The messages that would stand elsewhere under another policy; nothing is changed",
        description:
          "Decided again from what was seen when each message vanished upstream. Setting the policy then does exactly this. `pop3Seen`, `serverCopy` and `retentionDays` decide about what comes only.",
        params: AccountParams,
        querystring: Strict(pageQuery),
        body: PolicyInput,
        response: {
          200: Type.Object({
            policy: PolicyFields,
            total: Type.Integer(),
            items: Type.Array(Effect),
            nextCursor: Nullable(Type.String()),
            state: State,
          }),
        },
      },
    },
    async (request) => {
      const account = await loadAccount(deps, request);
      const policy = { ...defaultPolicy, ...account.policy, ...request.body };
      const limit = pageLimit(request.query);
      const position = decodeCursor(request.query.cursor, CursorShape);
      const after = position === null ? null : parseId<PlacementId>("plc", position[0]);
      const { tenantId } = callerOf(request);
      const wanted = { tenantId, accountId: account.id, policy, after, limit: limit + 1 };
      const simulated = await deps.db.transaction((tx) => deps.policies.simulate(tx, wanted));
      if (simulated === null) throw notFound("account");
      const { effects, total, state, restoreTo } = simulated;
      const page = toPage([...effects], limit, {
        positionOf: ({ placementId }) => [formatId("plc", placementId)],
        toItem: (effect) => showEffect(effect, restoreTo),
      });
      return { policy, total, ...page, state: formatState(state.epoch, state.seq) };
    },
  );
};
