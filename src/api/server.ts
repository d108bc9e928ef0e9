/**
 * The HTTP server. What holds for every route is arranged here, once: who is calling, how much, what may come in, how
 * errors look, what is counted; the resources only say what they answer.
 */
import { randomUUID } from "node:crypto";
import type { AddressInfo } from "node:net";
import helmet from "@fastify/helmet";
import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import Fastify, { type FastifyReply, type FastifyRequest, LogController, type RouteOptions } from "fastify";
import { openReadinessProbe, type ReadinessProbe } from "../store/readiness.ts";
import { forgetOldAnswers } from "../store/idempotency.ts";
import { httpDuration, httpRequests } from "../telemetry/metrics.ts";
import { registerAccountActions } from "./account-actions.ts";
import { registerAccountStatus } from "./account-status.ts";
import { registerAccounts } from "./accounts.ts";
import { noteTheRest, registerAudit } from "./audit.ts";
import { authorize, identify } from "./auth.ts";
import { registerChanges } from "./changes.ts";
import { registerDiscover } from "./discover.ts";
import { registerDocs, registerOpenApi } from "./docs.ts";
import { answerBrokenRequest, answerError } from "./errors.ts";
import { registerEvents } from "./events.ts";
import { registerFleet } from "./fleet.ts";
import { registerEndpoints } from "./endpoints.ts";
import { registerHolds } from "./holds.ts";
import { registerPolicy } from "./policy.ts";
import { registerHealth, registerMetrics } from "./health.ts";
import { registerImport } from "./imports.ts";
import { registerKeys } from "./keys.ts";
import { lazySchemas } from "./lazy-schemas.ts";
import { type Limits, registerLimits } from "./limits.ts";
import { registerMailboxes } from "./mailboxes.ts";
import { registerMessageContent } from "./message-content.ts";
import { registerMailboxWrites } from "./mailbox-writes.ts";
import { registerMessageWrites } from "./message-writes.ts";
import { registerMessages } from "./messages.ts";
import { registerProbe } from "./probe.ts";
import { invalid, Problem, ProblemError } from "./problem.ts";
import { RouteTable } from "./route-table.ts";
import { operationIds } from "./operation-ids.ts";
import { ajvOptions, closeSchemas, convertQuery } from "./strict-input.ts";
import { enterTenant, scopeToTenants } from "./tenant-scope.ts";
import { registerTenants } from "./tenants.ts";
import type { ApiDeps, ApiParts, App } from "./types.ts";
import { registerWebhooks } from "./webhooks.ts";

const bodyLimit = 1024 * 1024;
const requestTimeoutMs = 120_000;
const closeDeadlineMs = 5_000;
const forgetEveryMs = 15 * 60_000;

/** A caller's own id is kept, so that its log and ours can be read side by side. */
const readRequestId = (request: { readonly headers: Readonly<Record<string, unknown>> }): string => {
  const given = request.headers["x-request-id"];
  return typeof given === "string" && /^[\w.:/+=-]{1,128}$/.test(given) ? given : randomUUID();
};

const createApp = ({ log, config: { trustedProxies = [] } }: Pick<ApiDeps, "log" | "config">): App => {
  const table = new RouteTable();
  const app: App = Fastify({
    loggerInstance: log,
    trustProxy: trustedProxies.length > 0 ? [...trustedProxies] : false,
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: "request" }),
    genReqId: readRequestId,
    bodyLimit,
    requestTimeout: requestTimeoutMs,
    ajv: { customOptions: ajvOptions },
    schemaController: { compilersFactory: lazySchemas },
    // A request that still comes while stopping is answered; /readyz has said already that no more should.
    return503OnClosing: false,
    clientErrorHandler: (error, socket) => answerBrokenRequest(error, socket),
    frameworkErrors: (error, request, reply) => {
      reply.header("x-request-id", request.id);
      answerError(error, request, reply);
    },
  }).withTypeProvider<TypeBoxTypeProvider>();
  app.decorateRequest("caller", null);
  app.decorateRequest("audited", false);
  app.setErrorHandler(answerError);
  app.addHook("onRoute", (route) => table.add(route));
  app.addHook("onRequest", async (request, reply) => {
    reply.header("x-request-id", request.id).header("cache-control", "no-store");
  });
  app.setNotFoundHandler((request) => {
    throw table.refuse(request.url.split("?", 1)[0] ?? "/");
  });
  app.addHook("onResponse", async (request, reply) => count(request, reply));
  return app;
};

const count = (request: FastifyRequest, reply: FastifyReply): void => {
  const route = request.routeOptions.url ?? "none";
  const { method } = request;
  httpRequests.inc({ method, route, status: reply.statusCode });
  httpDuration.observe({ method, route }, reply.elapsedTime / 1000);
  request.log.debug({ method, route, status: reply.statusCode, durationMs: Math.round(reply.elapsedTime) }, "request answered");
};

/** JSON only, and an empty body is no body: clients that set the type on every request are not to be punished for it. */
const acceptJson = (app: App): void => {
  app.removeAllContentTypeParsers();
  const parse = app.getDefaultJsonParser("error", "error");
  // RFC 8259 §8.1: in UTF-8. What is not would be stored with its letters replaced.
  const utf8 = new TextDecoder("utf-8", { fatal: true });
  app.addContentTypeParser(["application/json", "application/merge-patch+json"], { parseAs: "buffer" }, (request, body, done) => {
    if (body.length === 0) return done(null, undefined);
    let text: string;
    try {
      text = utf8.decode(body as Buffer);
    } catch {
      return done(invalid("body", "", "The body is not valid UTF-8."));
    }
    return void parse(request, text, done);
  });
};

/** RFC 9110 §8.4: a body that is packed would be taken for what it is not. */
const refusePacked = (app: App): void => {
  app.addHook("preParsing", async (request) => {
    const coding = request.headers["content-encoding"] ?? "identity";
    if (coding.toLowerCase() !== "identity")
      throw new ProblemError("unsupported_media_type", "Send the body as it is, without a Content-Encoding.", {
        headers: { "accept-encoding": "identity" },
      });
  });
};

const problemAnswer = {
  description: "What went wrong (RFC 9457).",
  content: { "application/problem+json": { schema: Problem } },
};
const problemAnswers = { "4xx": problemAnswer, "5xx": problemAnswer };

/** A route that does not say who may call it does not start. */
const finishRoute = (route: RouteOptions): void => {
  const access = route.config?.access;
  if (access === undefined) throw new Error(`${String(route.method)} ${route.url} does not say who may call it`);
  closeSchemas(route);
  const { response = {}, ...schema } = route.schema as { response?: object };
  const shown = access === "public" ? { security: [] } : { "x-scopes": [access].flat() };
  const operationId = operationIds[`${String(route.method)} ${route.url}`];
  const called = operationId === undefined ? {} : { operationId };
  route.schema = { ...schema, ...called, response: { ...problemAnswers, ...response }, ...shown };
};

const guard = (app: App, deps: ApiDeps, limits: Limits): void => {
  app.addHook("onRoute", finishRoute);
  app.addHook("onRequest", async (request) => {
    const { access } = request.routeOptions.config;
    if (access === "public" || access === undefined) return;
    request.caller = await identify(deps, request, limits).catch(async (error: unknown) => {
      const wrong = error instanceof ProblemError && error.code === "unauthorized" && request.headers.authorization !== undefined;
      if (wrong) await limits.countWrongKey(request);
      throw error;
    });
    await limits.countCaller(request);
    authorize(request.caller, access);
  });
  app.addHook("preValidation", (request, _reply, done) => enterTenant(request, done));
  app.addHook("preValidation", async (request) => convertQuery(request));
  noteTheRest(app, deps);
};

const registerResources = (app: App, deps: ApiDeps): void => {
  registerAccounts(app, deps);
  registerAccountStatus(app, deps);
  registerAccountActions(app, deps);
  registerHolds(app, deps);
  registerPolicy(app, deps);
  registerEndpoints(app, deps);
  registerProbe(app, deps);
  registerDiscover(app, deps);
  registerMailboxes(app, deps);
  registerMailboxWrites(app, deps);
  registerMessages(app, deps);
  registerMessageContent(app, deps);
  registerMessageWrites(app, deps);
  registerImport(app, deps);
  registerChanges(app, deps);
  registerEvents(app, deps);
  registerWebhooks(app, deps);
  registerKeys(app, deps);
  registerTenants(app, deps);
  registerFleet(app, deps);
  registerAudit(app, deps);
};

const buildApi = async (deps: ApiDeps, probe: ReadinessProbe): Promise<App> => {
  const app = createApp(deps);
  const { version, metricsPort } = deps.config;
  await app.register(helmet, {
    contentSecurityPolicy: { useDefaults: false, directives: { "default-src": ["'none'"], "frame-ancestors": ["'none'"] } },
  });
  await registerOpenApi(app, version);
  guard(app, deps, await registerLimits(app, deps.config));
  refusePacked(app);
  acceptJson(app);
  registerHealth(app, deps, probe);
  if (metricsPort === null) registerMetrics(app);
  registerResources(app, deps);
  registerDocs(app);
  return app;
};

/** Health and figures on a port of their own, for a network that callers do not reach. */
const buildMetrics = (deps: ApiDeps, probe: ReadinessProbe): App => {
  const app = createApp(deps);
  registerHealth(app, deps, probe);
  registerMetrics(app);
  return app;
};

const listen = async (app: App, host: string, port: number): Promise<string> => {
  await app.listen({ host, port });
  const { address, family, port: taken } = app.server.address() as AddressInfo;
  return `http://${family === "IPv6" ? `[${address}]` : address}:${taken}`;
};

/** Open streams and slow uploads get `closeDeadlineMs` to end; then their connections are cut. */
const closeApp = async (app: App): Promise<void> => {
  const timer = setTimeout(() => app.server.closeAllConnections(), closeDeadlineMs);
  try {
    await app.close();
  } finally {
    clearTimeout(timer);
  }
};

export interface RunningApi {
  readonly url: string;
  /** null: the figures are served beside the API. */
  readonly metricsUrl: string | null;
  /** Stops taking requests and ends the running ones. Harmless when called twice. */
  close(): Promise<void>;
}

/** Resolves when both ports listen. @throws Error when one is taken. */
export const startApi = async (parts: ApiParts): Promise<RunningApi> => {
  const deps: ApiDeps = { ...parts, db: scopeToTenants(parts.db), everyTenant: parts.db };
  const probe = openReadinessProbe(parts.db.url);
  const apps: App[] = [];
  const timer = setInterval(() => {
    forgetOldAnswers(parts.db).catch((err: unknown) => deps.log.warn({ err }, "old answers not forgotten"));
  }, forgetEveryMs).unref();
  const close = async (): Promise<void> => {
    clearInterval(timer);
    await Promise.all(apps.map(closeApp));
    await probe.close();
  };
  try {
    const { host, port, metricsPort } = deps.config;
    const api = await buildApi(deps, probe);
    apps.push(api);
    const url = await listen(api, host, port);
    if (metricsPort === null) return { url, metricsUrl: null, close };
    const metrics = buildMetrics(deps, probe);
    apps.push(metrics);
    return { url, metricsUrl: await listen(metrics, host, metricsPort), close };
  } catch (error) {
    await close();
    throw error;
  }
};
