/** Likely settings for an address, before anybody has to know what a port is. */
import { Type } from "typebox";
import { requireScope } from "./auth.ts";
import { isPrivateName, normalizeHost } from "./host-policy.ts";
import { probeLimit } from "./limits.ts";
import { invalid, ProblemError } from "./problem.ts";
import { Words } from "./schemas.ts";
import type { ApiDeps, App } from "./types.ts";

const Likely = Type.Object({
  protocol: Words(["imap", "pop3"]),
  host: Type.String(),
  port: Type.Integer({ minimum: 1, maximum: 65_535 }),
  security: Words(["tls", "starttls"]),
  auth: Words(["password", "oauth2"]),
  source: Words(["provider", "srv", "autoconfig"], {
    description: "A table of large providers, the domain's DNS (RFC 6186), or the autoconfig file of its own web server.",
  }),
  confidence: Type.Number({ minimum: 0, maximum: 1, description: "How sure that is, to choose by." }),
});

const Discovered = Type.Object(
  {
    items: Type.Array(Likely, { description: "Surest first; none: nobody says anything." }),
    advice: Type.Array(Type.String(), { description: "What the owner has to know of the provider, in plain words." }),
  },
  { title: "Discovery" },
);

const Query = Type.Object(
  { email: Type.String({ minLength: 3, maxLength: 320, pattern: String.raw`^[^@\s]+@[^@\s]+$` }) },
  { additionalProperties: false },
);

const retryAfter = { headers: { "retry-after": "10" } };

/** @throws ProblemError `invalid_request`, or `host_not_allowed` for names of a private network. */
const domainOf = (email: string, allowPrivateHosts: boolean): string => {
  const domain = normalizeHost(email.slice(email.lastIndexOf("@") + 1))?.toLowerCase() ?? "";
  if (!domain.includes(".") || /^[\d.]+$|:/.test(domain)) throw invalid("query", "/email", "must have a domain after its @");
  if (!allowPrivateHosts && isPrivateName(domain))
    throw new ProblemError("host_not_allowed", "The domain is not on the public Internet.");
  return domain;
};

export const registerDiscover = (app: App, { config, discoverer }: ApiDeps): void => {
  app.get(
    "/v1/discover",
    {
      config: { ...requireScope("accounts"), ...probeLimit(config) },
      schema: {
        tags: ["accounts"],
        summary: "Likely settings for an address",
        description:
          "From a table of large providers, and from what the domain publishes itself, within ten seconds. Only the domain is told to anybody; nothing is stored, and nobody logs in. What is found may be wrong: probe it.",
        querystring: Query,
        response: { 200: Discovered },
      },
    },
    async (call) => {
      const found = await discoverer.discover(domainOf(call.query.email, config.allowPrivateHosts));
      if (found === null) throw new ProblemError("unavailable", "Too many look-ups are under way.", retryAfter);
      return { items: [...found.items], advice: [...found.advice] };
    },
  );
};
