/**
 * How a socket to a mail server is opened, whatever is spoken over it: to the vetted address, with the certificate checked
 * against the name, and without protection only where the operator allows it.
 */
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls, type ConnectionOptions } from "node:tls";
import type { EndpointSettings } from "../model/endpoint.ts";
import { SyncError } from "../model/failure.ts";
import type { EndpointLimits } from "./endpoint.ts";

const tcpKeepAliveMs = 60_000;

const cleartextRefused = (host: string): SyncError =>
  new SyncError("config", "endpoint", {
    code: "endpoint_cleartext_refused",
    message: `This installation does not connect to ${host} without protection.`,
    action: "Set the endpoint's security to tls or starttls, and let the server's certificate be checked.",
  });

/** May these settings be used at all? Also what a second connection must ask. @throws SyncError `config`/endpoint */
export const refuseCleartext = (settings: EndpointSettings, limits: EndpointLimits): void => {
  const unprotected = settings.security === "none" || !settings.tls.rejectUnauthorized;
  if (unprotected && !limits.allowCleartext) throw cleartextRefused(settings.host);
};

const tlsOptions = ({ host, tls }: EndpointSettings): ConnectionOptions => {
  const bare = host.replaceAll(/^\[|\]$/g, "");
  return {
    // An address has no SNI; its certificate is checked against `host` of the connection.
    ...(isIP(bare) === 0 && { servername: bare }),
    ...(tls.caPem !== null && { ca: tls.caPem }),
    rejectUnauthorized: tls.rejectUnauthorized,
    minVersion: "TLSv1.2",
  };
};

export interface Dial {
  readonly settings: EndpointSettings;
  /** The vetted address of `settings.host`. */
  readonly address: string;
}

/** Begins to open a socket: over TLS from its first octet where the settings say `tls`, else in the clear. */
export const dial = ({ settings, address }: Dial): Socket => {
  const to = { host: address, port: settings.port, noDelay: true, keepAlive: true, keepAliveInitialDelay: tcpKeepAliveMs };
  return settings.security === "tls" ? connectTls({ ...to, ...tlsOptions(settings) }) : connectTcp(to);
};

/** Begins to lay TLS over a socket in the clear, of which nothing may be unread. */
export const protect = (plain: Socket, { settings, address }: Dial): Socket =>
  connectTls({ socket: plain, host: address, ...tlsOptions(settings) });

/**
 * Settles when a socket begun here may be used. From here on its errors end nothing but itself.
 * @throws Error with the `code` of the kernel or of TLS; `EConnectionClosed` when it was closed before.
 */
export const opened = (socket: Socket, protectedFrom: "connect" | "secureConnect"): Promise<void> => {
  // Stays: an error nobody listens for would end the process.
  socket.on("error", () => undefined);
  return new Promise((resolve, reject) => {
    socket.once(protectedFrom, resolve);
    socket.once("error", reject);
    socket.once("close", () => reject(Object.assign(new Error("closed while connecting"), { code: "EConnectionClosed" })));
  });
};
