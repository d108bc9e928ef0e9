/** What to do about how a server is reached and protected, whatever is spoken over it. */
import type { Advice, CertificateFindings, Diagnosis, ServerKind } from "../model/diagnosis.ts";
import type { EndpointSettings } from "../model/endpoint.ts";
import { SyncError } from "../model/failure.ts";

type Findings = Omit<Diagnosis, "advice">;

const dayMs = 86_400_000;
/** Short-lived certificates are renewed two thirds through their 90 days; later than that something may be stuck. */
const soonDays = 21;

const dateOf = (date: Date | null): string => date?.toISOString().slice(0, 10) ?? "an unknown day";

/** What a certificate lacks, and what to do about it; the sentences end without the name of the host. */
const certificateWords = (host: string, { problem, names, expiresAt }: CertificateFindings): readonly [string, string] => {
  switch (problem) {
    case "expired":
      return [`The certificate of ${host} ran out on ${dateOf(expiresAt)}.`, "Ask whoever runs the server to renew it."];
    case "not_yet_valid":
      return [`The certificate of ${host} is not valid yet.`, "Check the clocks of the mail server and of Samebox's machine."];
    case "name_mismatch": {
      const good = names.length === 0 ? "another name" : names.slice(0, 3).join(", ");
      return [
        `The certificate of ${host} is good for ${good}, not for this name.`,
        "Use a name that the certificate is good for as host.",
      ];
    }
    case "self_signed":
      return [
        `The certificate of ${host} is signed by nobody but itself.`,
        "If it is your own server, give the certificate as tls.caPem; else ask for a proper one.",
      ];
    case "unknown_authority":
      return [
        `The certificate of ${host} is signed by an authority that is not known here.`,
        "If you trust that authority, give its certificate as tls.caPem.",
      ];
    case "incomplete_chain":
      return [
        `The certificate of ${host} leads to no authority that is known here.`,
        "Ask whoever runs the server to send the whole chain, or give a private authority as tls.caPem.",
      ];
    default:
      return [`The certificate of ${host} could not be verified.`, "Ask whoever runs the server to check its certificate."];
  }
};

/** `null`: the server showed none. */
export const certificateRefused = (host: string, certificate: CertificateFindings | null): SyncError => {
  const nothing: CertificateFindings = {
    valid: false,
    problem: "other",
    subject: null,
    names: [],
    issuer: null,
    expiresAt: null,
  };
  const [message, action] = certificateWords(host, certificate ?? nothing);
  return new SyncError("tls", "endpoint", { code: "endpoint_tls_failed", message, action });
};

/** How OpenSSL says that there is no version of TLS that both sides speak; the code is all that is kept of such an error. */
const noCommonVersion = /ERR_SSL_(?:TLSV1_ALERT_PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL|VERSION_TOO_LOW)/;

/** The failure in words that say more, where there are any. */
export const explained = (failure: SyncError, host: string): SyncError => {
  const { cause } = failure;
  if (failure.kind !== "tls" || !(cause instanceof Error) || !noCommonVersion.test(cause.message)) return failure;
  return new SyncError("tls", "endpoint", {
    code: failure.code,
    message: `${host} speaks no version of TLS that is still safe.`,
    action: "Ask whoever runs the server to offer TLS 1.2 or 1.3.",
    cause,
  });
};

const onCertificate = ({ host, tls }: EndpointSettings, certificate: CertificateFindings | null): Advice[] => {
  if (certificate === null) return [];
  const { valid, problem, expiresAt } = certificate;
  if (!valid) {
    const [message, action] = certificateWords(host, certificate);
    const unchecked = tls.rejectUnauthorized ? action : `${action} Until then anybody on the way can read along.`;
    return [{ code: `certificate_${problem ?? "other"}`, severity: "problem", message, action: unchecked }];
  }
  const days = expiresAt === null ? Number.POSITIVE_INFINITY : (expiresAt.getTime() - Date.now()) / dayMs;
  if (days > soonDays) return [];
  const message = `The certificate of ${host} runs out on ${dateOf(expiresAt)}.`;
  return [{ code: "certificate_expires_soon", severity: "warning", message, action: "See to it that it is renewed in time." }];
};

const onProtection = (settings: EndpointSettings, { tls, reachable, capabilities }: Findings): Advice[] => {
  const { host, security } = settings;
  if (security === "none" && reachable) {
    const offered = capabilities.beforeLogin?.some((name) => name === "STARTTLS" || name === "STLS") === true;
    const action = offered
      ? "The server offers better: set security to starttls."
      : "Set security to tls, and the port that goes with it.";
    return [{ code: "cleartext", severity: "problem", message: `Passwords and mail travel to ${host} unprotected.`, action }];
  }
  if (tls === null || tls.forwardSecrecy) return [];
  const message = `Who gets the key of ${host} one day can read what was recorded before.`;
  const action = "Ask whoever runs the server to offer ciphers with ECDHE, or TLS 1.3.";
  return [{ code: "no_forward_secrecy", severity: "warning", message, action }];
};

const implicitPorts = new Set([993, 995]);
const plainPorts = new Set([143, 110]);

const onPort = ({ port, security }: EndpointSettings, { reachable, failed }: Findings): Advice[] => {
  if (reachable || failed === null) return [];
  if (security !== "tls" && implicitPorts.has(port)) {
    const message = `Port ${port} is meant for TLS from the first octet.`;
    return [{ code: "port_wants_tls", severity: "problem", message, action: "Set security to tls." }];
  }
  if (security !== "tls" || !plainPorts.has(port)) return [];
  const message = `Port ${port} is meant for connections that begin without TLS.`;
  return [
    { code: "port_wants_starttls", severity: "problem", message, action: "Set security to starttls, or use the port for TLS." },
  ];
};

/** Who wants something else than the password of the web page. */
const passwordsOf: Partial<Record<ServerKind, string>> = {
  gmail: "Make an app password in the Google account, or connect with oauth2.",
  exchange: "Connect with oauth2: Microsoft 365 takes no passwords over IMAP and POP3 any more.",
  yahoo: "Make an app password on the account security page.",
  icloud: "Make an app-specific password at account.apple.com.",
  proton_bridge: "Use the password that Proton Mail Bridge shows for this account.",
};

const onLogin = ({ host }: EndpointSettings, { login, server, failed }: Findings): Advice[] => {
  if (login !== "refused" || failed === null) return [];
  const special = passwordsOf[server.kind];
  if (special === undefined)
    return [{ code: "login_refused", severity: "problem", message: failed.message, action: failed.action }];
  const message = `${host} refused the login; it may ask for another secret than the usual password.`;
  return [{ code: "login_wants_other_secret", severity: "problem", message, action: special }];
};

export const adviceOnConnection = (settings: EndpointSettings, findings: Findings): readonly Advice[] => [
  ...onPort(settings, findings),
  ...onProtection(settings, findings),
  ...onCertificate(settings, findings.tls?.certificate ?? null),
  ...onLogin(settings, findings),
];
