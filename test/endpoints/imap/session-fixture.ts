/** Opens IMAP sessions for tests, with times short enough to wait for. */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EndpointLimits, OpenRequest, Session, WatchListener } from "../../../src/endpoints/endpoint.ts";
import { imapDriver, type SessionTiming } from "../../../src/endpoints/imap/session.ts";
import type { Credentials, EndpointProfile, EndpointSettings } from "../../../src/model/endpoint.ts";
import type { FetchedItem, FetchRequest, SurveyedMailbox, UidRange } from "../../../src/model/observation.ts";
import { createLogger } from "../../../src/telemetry/log.ts";
import type { Dovecot } from "../../support/dovecot.ts";
import { eventually } from "../../support/eventually.ts";

export const limits: EndpointLimits = {
  allowPrivateHosts: true,
  allowCleartext: true,
  maxMessageBytes: 50_000_000,
  spoolDir: mkdtempSync(join(tmpdir(), "samebox-spool-")),
};

/** A signal that never aborts. */
export const forever = new AbortController().signal;

export const quietLog = createLogger({ level: "silent" });

export interface SessionWishes {
  readonly credentials?: Credentials;
  readonly settings?: Partial<EndpointSettings>;
  readonly profile?: EndpointProfile;
  readonly limits?: Partial<EndpointLimits>;
  readonly timing?: Partial<SessionTiming>;
  readonly signal?: AbortSignal;
}

export const someone: Credentials = { type: "password", user: "ana", password: "secret-of-ana" };

/** Opens a session in cleartext at a port of this machine. */
export const openAt = (
  server: { readonly host: string; readonly port: number },
  wishes: SessionWishes = {},
): Promise<Session> => {
  const { credentials = someone, profile = {}, timing = {}, signal = forever } = wishes;
  const tls = { caPem: null, rejectUnauthorized: true };
  const settings: EndpointSettings = {
    protocol: "imap",
    host: server.host,
    port: server.port,
    security: "none",
    tls,
    ...wishes.settings,
  };
  const request: OpenRequest = { settings, credentials, profile, log: quietLog };
  return imapDriver({ ...limits, ...wishes.limits }, timing).open(request, signal);
};

/** Opens a session for account `n` of a Dovecot, over TLS. */
export const openDovecot = (dovecot: Dovecot, n: number, wishes: SessionWishes = {}): Promise<Session> =>
  openAt(
    { host: "localhost", port: dovecot.imapsPort },
    {
      credentials: { type: "password", ...dovecot.account(n) },
      ...wishes,
      settings: { security: "tls", tls: { caPem: dovecot.caPem, rejectUnauthorized: true }, ...wishes.settings },
    },
  );

/** News in the order they came, and the loss. */
export class Heard implements WatchListener {
  readonly news: { readonly path: string | null; readonly at: number }[] = [];
  readonly lost: Error[] = [];

  onNews(path: string | null): void {
    this.news.push({ path, at: performance.now() });
  }

  onLost(error: Error): void {
    this.lost.push(error);
  }

  /** Waits for news of a mailbox that came after the first `from` ones. */
  of(path: string | null, from = 0): Promise<{ readonly path: string | null; readonly at: number }> {
    return eventually(`news of ${path}`, () => this.news.slice(from).find((one) => one.path === path), { everyMs: 2 });
  }
}

export const byPath = (mailboxes: readonly SurveyedMailbox[], path: string): SurveyedMailbox => {
  const found = mailboxes.find((mailbox) => mailbox.path === path);
  if (found === undefined) throw new Error(`no mailbox ${path}`);
  return found;
};

/** All items of a fetch, with their octets read whole. */
export const fetchAll = async (
  session: Session,
  request: FetchRequest,
  signal = forever,
): Promise<{
  readonly items: (FetchedItem & { readonly raw: Buffer | null })[];
  readonly rangesDone: string[];
  readonly early: number[];
}> => {
  const items: (FetchedItem & { readonly raw: Buffer | null })[] = [];
  const rangesDone: string[] = [];
  /** UIDs that came after their range was said to be done. */
  const early: number[] = [];
  const done: UidRange[] = [];
  for await (const batch of session.fetch(request, signal)) {
    for (const item of batch.items) {
      if (done.some(({ from, to }) => item.uid >= from && item.uid <= to)) early.push(item.uid);
      const parts: Buffer[] = [];
      if (item.octets !== null) for await (const part of item.octets.parts()) parts.push(part);
      items.push({ ...item, raw: item.octets === null ? null : Buffer.concat(parts) });
      await item.octets?.dispose();
    }
    if (batch.rangeDone === null) continue;
    done.push(batch.rangeDone);
    rangesDone.push(`${batch.rangeDone.from}:${batch.rangeDone.to}`);
  }
  return { items, rangesDone, early };
};
