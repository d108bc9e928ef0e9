/** Where a webhook may lead. This is the early and friendly refusal: the worker that sends vets the address it connects to. */
import { normalizeHost, vetHost } from "./host-policy.ts";
import { invalid, ProblemError } from "./problem.ts";
import type { ApiConfig } from "./types.ts";

/** @returns the URL in its one spelling. @throws ProblemError `invalid_request`, `cleartext_not_allowed`, `host_not_allowed` */
export const settleWebhookUrl = async (text: string, config: ApiConfig): Promise<string> => {
  const pointer = "/url";
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || (url.protocol !== "https:" && url.protocol !== "http:"))
    throw invalid("body", pointer, "is not an https URL");
  if (url.username !== "" || url.password !== "" || url.hash !== "")
    throw invalid("body", pointer, "must have no user, password or fragment; requests are signed instead");
  const detail = "Webhooks without TLS are not allowed here.";
  if (url.protocol === "http:" && !config.allowCleartext)
    throw new ProblemError("cleartext_not_allowed", detail, { errors: [{ in: "body", pointer, detail }] });
  const host = normalizeHost(url.hostname);
  if (host === null) throw invalid("body", pointer, "has no host name or address");
  if (!config.allowPrivateHosts) {
    if (url.port !== "") throw invalid("body", pointer, "must be at the usual port");
    await vetHost(host, pointer);
  }
  return url.href;
};
