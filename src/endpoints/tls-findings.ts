/** What a protected connection shows of its protection, whether or not its certificate is good. */
import { isIP } from "node:net";
import { checkServerIdentity, type DetailedPeerCertificate, type TLSSocket } from "node:tls";
import type { CertificateFindings, CertificateProblem, TlsFindings } from "../model/diagnosis.ts";

/** As OpenSSL and Node name them. */
const problems: Readonly<Record<string, CertificateProblem>> = {
  CERT_HAS_EXPIRED: "expired",
  CERT_NOT_YET_VALID: "not_yet_valid",
  ERR_TLS_CERT_ALTNAME_INVALID: "name_mismatch",
  HOSTNAME_MISMATCH: "name_mismatch",
  DEPTH_ZERO_SELF_SIGNED_CERT: "self_signed",
  SELF_SIGNED_CERT_IN_CHAIN: "unknown_authority",
  UNABLE_TO_GET_ISSUER_CERT: "incomplete_chain",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "incomplete_chain",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "incomplete_chain",
};

const mostNames = 20;

/** A name from a stranger's certificate, fit to be shown. */
const shown = (text: string | readonly string[] | undefined): string | null => {
  const first = typeof text === "string" ? text : text?.[0];
  // oxlint-disable-next-line no-control-regex -- taking them out is the point
  const clean = first?.replaceAll(/[\x00-\x1f\x7f-\x9f]/g, "").slice(0, 255) ?? "";
  return clean === "" ? null : clean;
};

const namesOf = ({ subjectaltname = "" }: DetailedPeerCertificate): string[] =>
  subjectaltname
    .split(", ")
    .flatMap((entry) => shown(/^(?:DNS|IP Address):(.+)$/.exec(entry)?.[1]) ?? [])
    .slice(0, mostNames);

const dateOf = (text: string | undefined): Date | null => {
  const date = new Date(text ?? "");
  return Number.isNaN(date.getTime()) ? null : date;
};

/** OpenSSL names the first fault it meets; an expired certificate is of more use to know about than a missing chain. */
const problemOf = (code: string, certificate: DetailedPeerCertificate, host: string): CertificateProblem => {
  const expires = dateOf(certificate.valid_to);
  if (expires !== null && expires.getTime() < Date.now()) return "expired";
  const named = problems[code];
  if (named === "incomplete_chain" && checkServerIdentity(host, certificate) !== undefined) return "name_mismatch";
  return named ?? "other";
};

const certificateOf = (socket: TLSSocket, host: string): CertificateFindings | null => {
  const certificate = socket.getPeerCertificate(true);
  if (certificate.valid_to === undefined) return null;
  // Typed as an Error, and set to its code.
  const code = String(socket.authorizationError ?? "");
  return {
    valid: socket.authorized,
    problem: socket.authorized ? null : problemOf(code, certificate, host),
    subject: shown(certificate.subject.CN),
    names: namesOf(certificate),
    issuer: shown(certificate.issuer.O) ?? shown(certificate.issuer.CN),
    expiresAt: dateOf(certificate.valid_to),
  };
};

/** `host`: the name that the certificate has to be good for. */
export const tlsFindingsOf = (socket: TLSSocket, mode: TlsFindings["mode"], host: string): TlsFindings => {
  const version = socket.getProtocol();
  const { standardName } = socket.getCipher();
  const bare = host.replaceAll(/^\[|\]$/g, "");
  return {
    mode,
    version,
    cipher: standardName ?? null,
    forwardSecrecy: version === "TLSv1.3" || /^TLS_(?:EC)?DHE_/.test(standardName ?? ""),
    certificate: certificateOf(socket, isIP(bare) === 0 ? host : bare),
  };
};
