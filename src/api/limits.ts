/** How much a key and a tenant may ask for in a minute, and how often an address may try a wrong key. Counted in this process; another daemon counts for itself. */
import rateLimit from "@fastify/rate-limit";
import type { FastifyRequest, RouteShorthandOptions } from "fastify";
import ipaddr from "ipaddr.js";
import { wrongKeys } from "../telemetry/metrics.ts";
import { ProblemError } from "./problem.ts";
import type { ApiConfig, App } from "./types.ts";

const defaultRequestsPerMinute = 6_000;
const defaultNewAccountsPerMinute = 600;
const defaultProbesPerMinute = 30;
const defaultWrongKeysPerMinute = 60;
/** A tenant with many keys gets no more than this many keys' share. */
const keysOfTenant = 5;

/** The operator's own tools and load tests are not held to a customer's share. */
const operatorsFactor = 20;

const shareOf = (request: FastifyRequest): number => (request.caller?.kind === "operator" ? operatorsFactor : 1);

/** Whoever has one IPv6 address has 2^64 of them (RFC 6177): they count as one. */
const addressOf = ({ ip }: Pick<FastifyRequest, "ip">): string => {
  if (!ipaddr.isValid(ip)) return ip;
  const address = ipaddr.process(ip);
  return address.kind() === "ipv4" ? address.toString() : address.toNormalizedString().split(":", 4).join(":");
};

/** Who is counted: the key; where none is needed, the address. */
const countedAs = (request: FastifyRequest): string =>
  request.caller === null ? addressOf(request) : (request.caller.keyId ?? "operator");

const tooMany = (what: string, seconds: number): ProblemError =>
  new ProblemError("rate_limited", `${what} Try again in ${seconds} s.`, { headers: { "retry-after": String(seconds) } });

export interface Limits {
  /** A request of a known caller. @throws ProblemError `rate_limited` when the tenant's keys together ask for too much. */
  readonly countCaller: (request: FastifyRequest) => Promise<void>;
  /** A request with a key that is none. @throws ProblemError `rate_limited` when its address tries too many. */
  readonly countWrongKey: (request: FastifyRequest) => Promise<void>;
  /**
   * Looks a key up: for an address that tried too many wrong ones, one at a time, so that guessing costs next to nothing while right
   * keys from there (behind a proxy, everybody's) still work. @throws ProblemError `rate_limited`.
   */
  readonly lookUpKey: <Found>(request: FastifyRequest, lookUp: () => Promise<Found>) => Promise<Found>;
}

/** To be registered before the routes. */
export const registerLimits = async (app: App, config: ApiConfig): Promise<Limits> => {
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
  const ofTenant = app.createRateLimit({
    timeWindow: 60_000,
    max: (request) => perMinute * keysOfTenant * shareOf(request),
    keyGenerator: (request) => `tenant ${request.caller?.kind} ${request.caller?.tenantId}`,
  });
  const ofAddress = app.createRateLimit({
    timeWindow: 60_000,
    max: config.wrongKeysPerMinute ?? defaultWrongKeysPerMinute,
    keyGenerator: (request) => `wrong keys ${addressOf(request)}`,
  });
  const suspects = new Set<string>();
  return {
    countCaller: async (request) => {
      const limit = await ofTenant(request);
      if (!limit.isAllowed && limit.isExceeded) throw tooMany("The tenant's limit is reached.", limit.ttlInSeconds);
    },
    countWrongKey: async (request) => {
      wrongKeys.inc();
      const limit = await ofAddress(request);
      if (!limit.isAllowed && limit.isExceeded) throw tooMany("Too many wrong keys.", limit.ttlInSeconds);
    },
    lookUpKey: async (request, lookUp) => {
      const limit = await ofAddress(request, { increment: false });
      if (limit.isAllowed || limit.remaining > 0) return lookUp();
      const address = addressOf(request);
      if (suspects.has(address)) throw tooMany("Too many wrong keys.", limit.ttlInSeconds);
      suspects.add(address);
      return lookUp().finally(() => suspects.delete(address));
    },
  };
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
