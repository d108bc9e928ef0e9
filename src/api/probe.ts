/** The doctor: what is to be known of an endpoint before it becomes part of an account. Nothing is stored. */
import type { ProbeRequest } from "../model/diagnosis.ts";
import { EndpointInput } from "./account-schemas.ts";
import { callerOf, requireScope } from "./auth.ts";
import { settleEndpoint } from "./endpoint-settings.ts";
import { probeLimit } from "./limits.ts";
import { Probe, showProbe } from "./probe-schemas.ts";
import { ProblemError } from "./problem.ts";
import type { ApiDeps, App } from "./types.ts";

const retryAfter = { headers: { "retry-after": "10" } };

export const registerProbe = (app: App, { config, prober }: ApiDeps): void => {
  app.post(
    "/v1/probe",
    {
      config: { ...requireScope("accounts"), ...probeLimit(config) },
      schema: {
        tags: ["accounts"],
        summary: "Look at one endpoint: what it can do, and what to set on the devices that use it",
        description:
          "Connects, logs in, looks and leaves, within a minute. Nothing is stored, and nothing is marked, changed or removed at the mail server. What a mail server refuses or fails to do is part of the answer (`failed`), not an error.",
        body: EndpointInput,
        response: { 200: Probe },
      },
    },
    async (call) => {
      const { auth, ...given } = call.body;
      const request: ProbeRequest = { settings: await settleEndpoint(given, null, config, ""), credentials: auth };
      const diagnosis = await prober.probe(request, callerOf(call).tenantId);
      if (diagnosis === null) throw new ProblemError("unavailable", "Too many probes are under way.", retryAfter);
      return showProbe(request, diagnosis);
    },
  );
};
