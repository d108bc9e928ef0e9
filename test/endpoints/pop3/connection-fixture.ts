/** Opens POP3 connections for tests. */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import type { EndpointLimits } from "../../../src/endpoints/endpoint.ts";
import { openToRemove, type Pop3Request, type RemovingConnection } from "../../../src/endpoints/pop3/connection.ts";
import type { Credentials, EndpointSettings } from "../../../src/model/endpoint.ts";
import { SyncError } from "../../../src/model/failure.ts";
import type { Octets } from "../../../src/model/octets.ts";
import type { Dovecot } from "../../support/dovecot.ts";

export const limits: EndpointLimits = {
  allowPrivateHosts: true,
  allowCleartext: true,
  maxMessageBytes: 80_000_000,
  spoolDir: mkdtempSync(join(tmpdir(), "samebox-spool-")),
};

/** A signal that never aborts. */
export const forever = new AbortController().signal;

export const someone: Credentials = { type: "password", user: "ana", password: "secret-of-ana" };

export interface ConnectionWishes extends Partial<Omit<Pop3Request, "settings" | "limits">> {
  readonly settings?: Partial<EndpointSettings>;
  readonly limits?: Partial<EndpointLimits>;
  readonly signal?: AbortSignal;
}

/** Opens a connection in cleartext at a port of this machine. */
export const openAt = (
  server: { readonly host: string; readonly port: number },
  wishes: ConnectionWishes = {},
): Promise<RemovingConnection> => {
  const { credentials = someone, signal = forever, settings, limits: own, ...rest } = wishes;
  const base = { protocol: "pop3", security: "none", tls: { caPem: null, rejectUnauthorized: true } } as const;
  const request = { ...rest, credentials, settings: { ...base, ...server, ...settings }, limits: { ...limits, ...own } };
  return openToRemove(request, signal);
};

/** Opens a connection for account `n` of a Dovecot, over TLS. */
export const openDovecot = (dovecot: Dovecot, n: number, wishes: ConnectionWishes = {}): Promise<RemovingConnection> =>
  openAt(
    { host: "localhost", port: dovecot.pop3sPort },
    {
      credentials: { type: "password", ...dovecot.account(n) },
      ...wishes,
      settings: { security: "tls", tls: { caPem: dovecot.caPem, rejectUnauthorized: true }, ...wishes.settings },
    },
  );

/** The octets whole; they are disposed. */
export const wholeOf = async (octets: Octets): Promise<Buffer> => {
  const parts: Buffer[] = [];
  for await (const part of octets.parts()) parts.push(part);
  await octets.dispose();
  return Buffer.concat(parts);
};

export const failureOf = async (work: Promise<unknown>): Promise<SyncError> => {
  const error = await work.then(
    () => null,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(SyncError);
  return error as SyncError;
};
