/** One more connection at a login: within its budget, to a vetted address, and counted. */
import { SyncError } from "../../model/failure.ts";
import { connectDuration, connects, serverResponses } from "../../telemetry/metrics.ts";
import { budgetKey, connectionBudget, defaultConnections, type Lease } from "../budget.ts";
import { stoppedBy } from "../deadline.ts";
import { resolveHost, type VettedAddress } from "../egress.ts";
import type { EndpointLimits, OpenRequest } from "../endpoint.ts";
import { classify } from "./classify.ts";

/** A place in the budget is waited for this long: the session before may still be saying goodbye. */
const placeMs = 5_000;

const noPlace = (host: string): SyncError =>
  new SyncError("throttle", "endpoint", {
    code: "endpoint_throttled",
    message: `All connections that ${host} allows this login are in use.`,
    action: "Nothing; it is tried again by itself.",
  });

/** Labels of `samebox_connects_total`. */
const resultOf = (error: SyncError): string => {
  if (error.kind === "throttle") return "throttled";
  if (error.kind === "tls") return "tls";
  if (error.code === "endpoint_timeout") return "timeout";
  if (error.kind === "credential") return "auth";
  return error.code === "host_not_allowed" || error.code === "endpoint_cleartext_refused" ? "blocked" : "refused";
};

/**
 * Lets `enter` connect and log in. The lease is its own from then on; it is released here when `enter` throws.
 * @throws SyncError/endpoint of every kind.
 */
export const admit = async <T>(
  { request, limits }: { readonly request: OpenRequest; readonly limits: EndpointLimits },
  signal: AbortSignal,
  enter: (address: VettedAddress, lease: Lease) => Promise<T>,
): Promise<T> => {
  const { settings, credentials } = request;
  const key = budgetKey(settings.host, credentials.user);
  const max = request.profile.connectionBudget ?? defaultConnections;
  const lease = await connectionBudget.acquire(key, max, { ms: placeMs, signal });
  if (lease === null) throw signal.aborted ? stoppedBy(signal) : noPlace(settings.host);
  const stopTimer = connectDuration.startTimer({ proto: "imap" });
  try {
    const entered = await enter(await resolveHost(settings.host, limits, signal), lease);
    connects.inc({ proto: "imap", result: "ok" });
    stopTimer();
    return entered;
  } catch (error) {
    lease.release();
    const translated = classify(error, { during: "login", host: settings.host, user: credentials.user });
    if (translated.kind === "throttle") connectionBudget.lower(key, max);
    if (translated.kind !== "stopped") {
      connects.inc({ proto: "imap", result: resultOf(translated) });
      serverResponses.inc({ proto: "imap", class: translated.kind });
    }
    throw translated;
  }
};
