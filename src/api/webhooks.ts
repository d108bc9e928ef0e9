/** Webhooks: where the changes of a tenant's accounts are pushed to. Workers do the pushing; here is what their owner says and sees. */
import type { FastifyRequest } from "fastify";
import { Type } from "typebox";
import { parseState } from "../model/change.ts";
import { type AccountId, formatId, parseId, type WebhookId } from "../model/ids.ts";
import type { Webhook } from "../model/webhook.ts";
import { findAccount } from "../store/accounts.ts";
import type { Queryable, Tx } from "../store/database.ts";
import {
  askForTest,
  countWebhooks,
  createWebhook,
  deleteWebhook,
  findWebhook,
  listDeliveries,
  listWebhooks,
  patchWebhook,
  replayFrom,
  rotateSecret,
  type WebhookOwner,
  type WebhookPatch,
} from "../store/webhooks.ts";
import { authorize, callerOf, maySee, requireScope } from "./auth.ts";
import { answerOnce } from "./idempotency.ts";
import { decodeCursor, pageLimit, pageQuery, toPage } from "./pagination.ts";
import { invalid, notFound, ProblemError } from "./problem.ts";
import { Empty, PageOf, Strict } from "./schemas.ts";
import type { ApiDeps, App, Caller } from "./types.ts";
import {
  DeliveryAnswer,
  ReplayInput,
  RotationInput,
  showDelivery,
  showWebhook,
  WebhookAnswer,
  WebhookInput,
  WebhookPatchInput,
  WebhookWithSecret,
} from "./webhook-schemas.ts";
import { settleWebhookUrl } from "./webhook-url.ts";

const tags = ["webhooks"];
const config = requireScope("accounts");
/** Of a tenant: each is weighed against each of its accounts, again and again. */
const mostWebhooks = 100;

const WebhookParams = Type.Object({ webhookId: Type.String() });

type WebhookRequest = FastifyRequest<{ Params: { webhookId: string } }>;

/** A key that is limited to some accounts knows of no webhook that is told of others. */
const ownerOf = ({ tenantId, accountIds }: Caller): WebhookOwner => ({
  tenantId,
  among: accountIds === null ? null : [...accountIds],
});

const idOf = (request: WebhookRequest): WebhookId => {
  const id = parseId<WebhookId>("whk", request.params.webhookId);
  if (id === null) throw notFound("webhook");
  return id;
};

const load = async (db: Queryable, request: WebhookRequest, lock: "lock" | null = null): Promise<Webhook> => {
  const webhook = await findWebhook(db, ownerOf(callerOf(request)), idOf(request), lock);
  if (webhook === null) throw notFound("webhook");
  return webhook;
};

/** Whoever is sent changes reads mail. */
const readerOf = (request: FastifyRequest): Caller => {
  const caller = callerOf(request);
  authorize(caller, ["mail:read"]);
  return caller;
};

const settleAccounts = async (deps: ApiDeps, caller: Caller, shown: readonly string[] | null): Promise<AccountId[] | null> => {
  if (shown === null) {
    if (caller.accountIds === null) return null;
    throw new ProblemError("forbidden", "A key that is limited to some accounts can only make webhooks for those.");
  }
  const ids: AccountId[] = [];
  for (const [index, text] of shown.entries()) {
    const id = parseId<AccountId>("acc", text);
    if (id === null || !maySee(caller, id) || (await findAccount(deps.db, caller.tenantId, id)) === null)
      throw invalid("body", `/accountIds/${index}`, "is not an account of the tenant");
    ids.push(id);
  }
  return ids;
};

const registerCollection = (app: App, deps: ApiDeps): void => {
  app.post(
    "/v1/webhooks",
    {
      config,
      schema: {
        tags,
        summary: "Make a webhook; its secret is shown this once",
        body: WebhookInput,
        response: { 201: WebhookWithSecret },
      },
    },
    async (request, reply) => {
      const caller = readerOf(request);
      const url = await settleWebhookUrl(request.body.url, deps.config);
      const accountIds = await settleAccounts(deps, caller, request.body.accountIds ?? null);
      const { kinds = null } = request.body;
      const body = await answerOnce(deps, { request, reply, keep: "sealed" }, async (tx) => {
        if ((await countWebhooks(tx, caller.tenantId)) >= mostWebhooks)
          throw new ProblemError("conflict", `A tenant has at most ${mostWebhooks} webhooks.`);
        const { webhook, secret } = await createWebhook(tx, deps.sealer, { tenantId: caller.tenantId, url, accountIds, kinds });
        return { status: 201, body: { ...showWebhook(webhook), secret } };
      });
      reply.header("location", `/v1/webhooks/${body.id}`);
      return body;
    },
  );
  const CursorShape = Type.Tuple([Type.String({ pattern: "^whk_[0-9a-f]{32}$" })]);
  app.get(
    "/v1/webhooks",
    {
      config,
      schema: {
        tags,
        summary: "List webhooks, newest first",
        querystring: Strict(pageQuery),
        response: { 200: PageOf(WebhookAnswer) },
      },
    },
    async (request) => {
      const limit = pageLimit(request.query);
      const position = decodeCursor(request.query.cursor, CursorShape);
      const after = position === null ? null : parseId<WebhookId>("whk", position[0]);
      const webhooks = await listWebhooks(deps.db, ownerOf(callerOf(request)), { after, limit: limit + 1 });
      return toPage(webhooks, limit, { positionOf: ({ id }) => [formatId("whk", id)], toItem: showWebhook });
    },
  );
};

const registerOne = (app: App, deps: ApiDeps): void => {
  const path = "/v1/webhooks/:webhookId";
  app.get(
    path,
    { config, schema: { tags, summary: "One webhook", params: WebhookParams, response: { 200: WebhookAnswer } } },
    async (request) => showWebhook(await load(deps.db, request)),
  );
  app.patch(
    path,
    {
      config,
      schema: {
        tags,
        summary: "Change it, disable it or enable it",
        params: WebhookParams,
        body: WebhookPatchInput,
        response: { 200: WebhookAnswer },
      },
    },
    async (request, reply) => {
      const caller = readerOf(request);
      const { url, accountIds, ...rest } = request.body;
      await load(deps.db, request);
      const patch: WebhookPatch = {
        ...rest,
        ...(url !== undefined && { url: await settleWebhookUrl(url, deps.config) }),
        ...(accountIds !== undefined && { accountIds: await settleAccounts(deps, caller, accountIds) }),
      };
      return answerOnce(deps, { request, reply }, async (tx) => ({
        status: 200,
        body: showWebhook(await patchWebhook(tx, await load(tx, request, "lock"), patch)),
      }));
    },
  );
  app.delete(
    path,
    {
      config,
      schema: { tags, summary: "Delete it; nothing more is sent", params: WebhookParams, response: { 204: Type.Null() } },
    },
    async (request, reply) => {
      await answerOnce(deps, { request, reply }, async (tx) => {
        if (!(await deleteWebhook(tx, ownerOf(callerOf(request)), idOf(request)))) throw notFound("webhook");
        return { status: 204, body: null };
      });
      return reply.send(null);
    },
  );
};

/** Where a replay begins, in an account that the webhook is told of. */
const settleReplay = async (
  tx: Tx,
  caller: Caller,
  webhook: Webhook,
  body: { readonly accountId: string; readonly since: string },
) => {
  const accountId = parseId<AccountId>("acc", body.accountId);
  const told = accountId !== null && maySee(caller, accountId) && (webhook.accountIds?.includes(accountId) ?? true);
  const account = told ? await findAccount(tx, caller.tenantId, accountId) : null;
  if (account === null) throw invalid("body", "/accountId", "is not an account that the webhook is told of");
  const since = parseState(body.since);
  if (since === null) throw invalid("body", "/since", `This is not a state: a state reads like "0.42".`);
  if (since.epoch !== account.stateEpoch || since.seq > account.headSeq)
    throw invalid("body", "/since", "is not a state of the account");
  return { accountId: account.id, seq: since.seq };
};

const registerSecret = (app: App, deps: ApiDeps): void => {
  app.post(
    "/v1/webhooks/:webhookId/secret",
    {
      config,
      schema: {
        tags,
        summary: "A new secret, shown this once; the one before signs, too, for a while",
        params: WebhookParams,
        body: RotationInput,
        response: { 200: WebhookWithSecret },
      },
    },
    async (request, reply) =>
      answerOnce(deps, { request, reply, keep: "sealed" }, async (tx) => {
        const before = await load(tx, request, "lock");
        const { webhook, secret } = await rotateSecret(tx, deps.sealer, before, request.body.overlapHours ?? 24);
        return { status: 200, body: { ...showWebhook(webhook), secret } };
      }),
  );
};

const registerActions = (app: App, deps: ApiDeps): void => {
  app.post(
    "/v1/webhooks/:webhookId/test",
    {
      config,
      schema: {
        tags,
        summary: "Send an event `webhook.test`, once, also where it is disabled",
        params: WebhookParams,
        response: {
          202: Type.Object({ deliveryId: Type.String({ description: "Listed with the deliveries once it was tried." }) }),
        },
      },
    },
    async (request, reply) =>
      answerOnce(deps, { request, reply }, async (tx) => ({
        status: 202,
        body: { deliveryId: formatId("dlv", await askForTest(tx, await load(tx, request, "lock"))) },
      })),
  );
  app.post(
    "/v1/webhooks/:webhookId/replay",
    {
      config,
      schema: {
        tags,
        summary: "Send an account's changes from any state on",
        params: WebhookParams,
        body: ReplayInput,
        response: { 202: Empty },
      },
    },
    async (request, reply) => {
      const caller = readerOf(request);
      return answerOnce(deps, { request, reply }, async (tx) => {
        const webhook = await load(tx, request, "lock");
        await replayFrom(tx, webhook, await settleReplay(tx, caller, webhook, request.body));
        return { status: 202, body: {} };
      });
    },
  );
};

const registerDeliveries = (app: App, deps: ApiDeps): void => {
  const CursorShape = Type.Tuple([Type.String({ pattern: "^dlv_[0-9a-f]{32}$" })]);
  app.get(
    "/v1/webhooks/:webhookId/deliveries",
    {
      config,
      schema: {
        tags,
        summary: "What was sent in the last seven days and what became of it, newest first",
        params: WebhookParams,
        querystring: Strict(pageQuery),
        response: { 200: PageOf(DeliveryAnswer) },
      },
    },
    async (request) => {
      const webhook = await load(deps.db, request);
      const limit = pageLimit(request.query);
      const position = decodeCursor(request.query.cursor, CursorShape);
      const after = position === null ? null : parseId<string>("dlv", position[0]);
      const deliveries = await listDeliveries(deps.db, webhook, { after, limit: limit + 1 });
      return toPage(deliveries, limit, { positionOf: ({ id }) => [formatId("dlv", id)], toItem: showDelivery });
    },
  );
};

export const registerWebhooks = (app: App, deps: ApiDeps): void => {
  registerCollection(app, deps);
  registerOne(app, deps);
  registerSecret(app, deps);
  registerActions(app, deps);
  registerDeliveries(app, deps);
};
