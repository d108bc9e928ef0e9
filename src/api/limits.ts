/** How much a key may ask for in a minute. Counted in this process; another daemon counts for itself. */
import rateLimit from "@fastify/rate-limit";
import type { FastifyRequest, RouteShorthandOptions } from "fastify";
import { ProblemError } from "./problem.ts";
import type { ApiConfig, App } from "./types.ts";

const defaultRequestsPerMinute = 6_000;
const defaultNewAccountsPerMinute = 600;
const defaultProbesPerMinute = 30;

/** The operator's own tools and load tests are not held to a customer's share. */
const operatorsFactor = 20;

const shareOf = (request: FastifyRequest): number => (request.caller?.kind === "operator" ? operatorsFactor : 1);

/** Who is counted: the key; where none is needed, the address. */
const countedAs = (request: FastifyRequest): string =>
  request.caller === null ? request.ip : (request.caller.keyId ?? "operator");

/** To be registered before the routes, after the hook that finds out who is calling. */
export const registerLimits = async (app: App, config: ApiConfig): Promise<void> => {
  const perMinute = config.requestsPerMinute ?? defaultRequestsPerMinute;
  await app.register(rateLimit, {
    // The first hook after the caller is known: what is refused is not even read.
    hook: "preParsing",
    enableDraftSpec: true,
    timeWindow: 60_000,
    max: (request) => perMinute * shareOf(request),
    keyGenerator: countedAs,
    errorResponseBuilder: (_request, context) =>
      new ProblemError(
        "rate_limited",
        `The limit is ${context.max} requests a minute. Try again in ${Math.ceil(context.ttl / 1000)} s.`,
      ),
  });
};

const limitTo = (perMinute: number): NonNullable<RouteShorthandOptions["config"]> => ({
  rateLimit: { timeWindow: 60_000, max: (request) => perMinute * shareOf(request) },
});

/** For routes that reach out to other people's servers. */
export const accountCreationLimit = (config: ApiConfig): NonNullable<RouteShorthandOptions["config"]> =>
  limitTo(config.newAccountsPerMinute ?? defaultNewAccountsPerMinute);

/** Whoever may ask at once what answers at a host and a port could ask about all of them. */
export const probeLimit = (config: ApiConfig): NonNullable<RouteShorthandOptions["config"]> =>
  limitTo(config.probesPerMinute ?? defaultProbesPerMinute);
