/** From what a caller writes about an endpoint to settings that may be stored: defaults, transport rules, host rules. */
import { X509Certificate } from "node:crypto";
import type { EndpointSettings, Protocol, Security } from "../model/endpoint.ts";
import type { EndpointInput } from "./account-schemas.ts";
import { normalizeHost, vetHost } from "./host-policy.ts";
import { invalid, ProblemError } from "./problem.ts";
import type { ApiConfig } from "./types.ts";

/** RFC 8314 §3: implicit TLS where nothing is said. */
const defaultPort: Record<Protocol, Record<Security, number>> = {
  imap: { tls: 993, starttls: 143, none: 143 },
  pop3: { tls: 995, starttls: 110, none: 110 },
};

const checkCertificate = (pem: string | null, pointer: string): void => {
  if (pem === null) return;
  try {
    void new X509Certificate(pem);
  } catch {
    throw invalid("body", pointer, "is not a certificate in PEM");
  }
};

const checkTransport = (settings: EndpointSettings, config: ApiConfig, pointer: string): void => {
  checkCertificate(settings.tls.caPem, `${pointer}/tls/caPem`);
  if (config.allowCleartext) return;
  const refuse = (at: string, detail: string): ProblemError =>
    new ProblemError("cleartext_not_allowed", detail, { errors: [{ in: "body", pointer: at, detail }] });
  if (settings.security === "none") throw refuse(`${pointer}/security`, "Connections without TLS are not allowed here.");
  if (!settings.tls.rejectUnauthorized)
    throw refuse(
      `${pointer}/tls/rejectUnauthorized`,
      "Unverified certificates are not allowed here; give a private authority as tls.caPem.",
    );
};

/** A port that was only the usual one moves with the transport; one that was chosen stays. */
const settlePort = (given: Given, known: EndpointSettings | null, security: Security): number => {
  if (given.port !== undefined) return given.port;
  if (known !== null && (known.security === security || known.port !== defaultPort[known.protocol][known.security]))
    return known.port;
  return defaultPort[given.protocol][security];
};

type Given = Partial<Omit<EndpointInput, "auth">> & { readonly protocol: Protocol };

/**
 * The settings that `given` makes of `known` (null: of nothing), fit to be stored.
 * @throws ProblemError `invalid_request`, `cleartext_not_allowed`, `host_not_allowed`, each naming the field below `pointer`.
 */
export const settleEndpoint = async (
  given: Given,
  known: EndpointSettings | null,
  config: ApiConfig,
  pointer: string,
): Promise<EndpointSettings> => {
  const security = given.security ?? known?.security ?? "tls";
  const wanted = given.host ?? known?.host;
  const host = wanted === undefined ? null : normalizeHost(wanted);
  if (host === null) throw invalid("body", `${pointer}/host`, "is not a host name or an address");
  const settings: EndpointSettings = {
    protocol: given.protocol,
    host,
    port: settlePort(given, known, security),
    security,
    tls: {
      caPem: given.tls?.caPem === undefined ? (known?.tls.caPem ?? null) : given.tls.caPem,
      rejectUnauthorized: given.tls?.rejectUnauthorized ?? known?.tls.rejectUnauthorized ?? true,
    },
  };
  checkTransport(settings, config, pointer);
  if (!config.allowPrivateHosts) await vetHost(host, `${pointer}/host`);
  return settings;
};
