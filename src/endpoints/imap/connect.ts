/**
 * The only place where an ImapFlow is made. A connection leaves here logged in, over TLS unless the operator and the
 * account both want it otherwise, and without the password in it.
 */
import { ImapFlow, type ImapFlowOptions } from "imapflow";
import { isIP } from "node:net";
import { SyncError } from "../../model/failure.ts";
import type { Credentials, EndpointSettings } from "../../model/endpoint.ts";
import { withDeadline } from "../deadline.ts";
import { refuseCleartext } from "../dial.ts";
import type { VettedAddress } from "../egress.ts";
import type { EndpointLimits } from "../endpoint.ts";
import { Wire } from "./wire.ts";

/** 30 s to connect, 30 s to log in; a server that drips bytes gets no more than both together. */
const connectMs = 30_000;
const loginMs = 30_000;
/** imapflow's own inactivity watchdog; our probes and deadlines come first. */
const silenceMs = 10 * 60_000;
const tcpKeepAliveMs = 60_000;

const maxLineBytes = 16 * 1024 * 1024;
const leastLiteralBytes = 64 * 1024 * 1024;
const literalSlack = 16 * 1024 * 1024;
const maxTokens = 200_000;

const nobodyAsked = (host: string): SyncError =>
  new SyncError("config", "endpoint", {
    code: "endpoint_refused",
    message: `${host} let us in without asking who we are, so whose mail it shows is not known.`,
    action: "Check host and port of the endpoint.",
  });

const authOf = (credentials: Credentials): NonNullable<ImapFlowOptions["auth"]> =>
  credentials.type === "password"
    ? { user: credentials.user, pass: credentials.password }
    : { user: credentials.user, accessToken: credentials.accessToken };

const tlsOf = ({ tls }: EndpointSettings): NonNullable<ImapFlowOptions["tls"]> => ({
  minVersion: "TLSv1.2",
  rejectUnauthorized: tls.rejectUnauthorized,
  ...(tls.caPem !== null && { ca: tls.caPem }),
});

export interface ConnectRequest {
  readonly settings: EndpointSettings;
  readonly credentials: Credentials;
  readonly address: VettedAddress;
  readonly limits: EndpointLimits;
}

/** An address in a URL's brackets is an address too: there is no name to check the certificate against. */
const isAddress = (host: string): boolean => isIP(host.replaceAll(/^\[|\]$/g, "")) !== 0;

const optionsOf = ({ settings, credentials, address, limits }: ConnectRequest): ImapFlowOptions => {
  const maxLiteralSize = Math.max(leastLiteralBytes, limits.maxMessageBytes);
  return {
    // The vetted address, so that no second look-up can lead elsewhere; the certificate is checked against the name.
    host: address.address,
    port: settings.port,
    ...(!isAddress(settings.host) && { servername: settings.host }),
    secure: settings.security === "tls",
    // False, not absent, where cleartext is wanted; required where STARTTLS is: never "if offered" (RFC 8314 3).
    ...(settings.security !== "tls" && { doSTARTTLS: settings.security === "starttls" }),
    tls: tlsOf(settings),
    auth: authOf(credentials),
    clientInfo: { name: "Samebox", version: "", vendor: "Samebox", "support-url": "" },
    qresync: true,
    disableIMAP4rev2: true,
    disableCompression: true,
    disableAutoIdle: true,
    logger: false,
    connectionTimeout: connectMs,
    greetingTimeout: connectMs,
    socketTimeout: silenceMs,
    maxLineLength: maxLineBytes,
    maxLiteralSize,
    maxResponseSize: maxLiteralSize + literalSlack,
    maxResponseTokens: maxTokens,
  };
};

/**
 * Connects and logs in.
 * @throws SyncError `config` where cleartext is refused; else what imapflow throws, to be classified as a login.
 */
export const connect = async (request: ConnectRequest, signal: AbortSignal): Promise<Wire> => {
  refuseCleartext(request.settings, request.limits);
  const client = new ImapFlow(optionsOf(request));
  // Without a listener an error of an idle connection ends the process.
  client.on("error", () => undefined);
  const wire = new Wire(client);
  try {
    await withDeadline(
      () => client.connect(),
      connectMs + loginMs,
      signal,
      () => client.close(),
    );
    if (!wire.hasLoggedIn) throw nobodyAsked(request.settings.host);
  } catch (error) {
    client.close();
    throw error;
  } finally {
    // Nothing of the library needs it again: it never reconnects.
    delete client.options.auth;
  }
  wire.begin(tcpKeepAliveMs);
  return wire;
};
