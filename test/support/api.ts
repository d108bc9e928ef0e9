/** The API over real HTTP, on a database of its own. The bell only notes who rings; the rest is what the daemon runs with. */
import { randomBytes } from "node:crypto";
import { tmpdir } from "node:os";
import { startApi } from "../../src/api/server.ts";
import type { ApiConfig, ApiDeps, ApiParts } from "../../src/api/types.ts";
import type { Hint } from "../../src/queue/bell.ts";
import { openChangeListener } from "../../src/store/change-listener.ts";
import { type Database, openDatabase } from "../../src/store/database.ts";
import { createSealer, type Sealer } from "../../src/store/sealing.ts";
import { IntentWrites } from "../../src/workers/intents.ts";
import { AccountPolicies } from "../../src/workers/policies.ts";
import { MailboxIntentWrites } from "../../src/workers/mailbox-intents.ts";
import { createLogger } from "../../src/telemetry/log.ts";
import { type ApiDocument, breachOf } from "./contract.ts";
import { freshDatabase } from "./postgres.ts";

export const adminKey = "sbx_admin_for_tests_only_0123456789";

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The parsed JSON; undefined when the body is not JSON. */
  // oxlint-disable-next-line typescript/no-explicit-any -- what a JSON answer holds is compared, not trusted
  readonly body: any;
}

export interface Request {
  readonly method?: string;
  /** null sends none; default: the operator's. */
  readonly key?: string | null;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly json?: unknown;
  /** Sent as it is. */
  readonly raw?: string | Uint8Array<ArrayBuffer>;
}

export interface TestApi extends AsyncDisposable {
  readonly url: string;
  readonly metricsUrl: string | null;
  readonly db: Database;
  readonly databaseUrl: string;
  readonly sealer: Sealer;
  readonly rings: { readonly shard: number; readonly hint: Hint }[];
  /** Every line the server logged, at level trace. */
  readonly log: string[];
  /** Makes /readyz say that the process is stopping. */
  drain(): void;
  /** @throws Error when the answer is not as /openapi.json says. */
  request(path: string, request?: Request): Promise<Reply>;
  close(): Promise<void>;
}

export interface TestApiOptions {
  readonly config?: Partial<ApiConfig>;
  readonly deps?: Partial<ApiParts>;
}

const methodOf = ({ method, json, raw }: Request): string => method ?? (json === undefined && raw === undefined ? "GET" : "POST");

const send = async (base: string, path: string, request: Request): Promise<Reply> => {
  const { key = adminKey, json, raw, headers } = request;
  const response = await fetch(`${base}${path}`, {
    method: methodOf(request),
    redirect: "manual",
    headers: {
      ...(key !== null && { authorization: `Bearer ${key}` }),
      ...(json !== undefined && { "content-type": "application/json" }),
      ...headers,
    },
    ...(json !== undefined ? { body: JSON.stringify(json) } : raw !== undefined ? { body: raw } : {}),
  });
  const text = await response.text();
  const isJson = /json/.test(response.headers.get("content-type") ?? "");
  return { status: response.status, headers: response.headers, text, body: isJson && text !== "" ? JSON.parse(text) : undefined };
};

const noParser: ApiDeps["parser"] = new Proxy({} as ApiDeps["parser"], {
  get: (_target, name) => () => Promise.reject(new Error(`this test has no parser, but ${String(name)} was called`)),
});

export const openTestApi = async (options: TestApiOptions = {}): Promise<TestApi> => {
  const fresh = await freshDatabase();
  const log: string[] = [];
  const logger = createLogger({ level: "trace", destination: { write: (line) => void log.push(line) } });
  const db = openDatabase({ url: fresh.url, max: 8, log: logger });
  const changes = openChangeListener({ url: fresh.url, log: logger });
  await changes.listening;
  const sealer = createSealer(randomBytes(32));
  const rings: { shard: number; hint: Hint }[] = [];
  let draining = false;
  const api = await startApi({
    db,
    sealer,
    changes,
    bell: {
      ring: async (shard, hint) => void rings.push({ shard, hint }),
      depth: async () => ({ waiting: 0, active: 0, delayed: 0 }),
    },
    shardOf: (virtualShard) => virtualShard % 4,
    parser: noParser,
    prober: { probe: () => Promise.resolve(null) },
    discoverer: { discover: () => Promise.resolve(null) },
    writes: new IntentWrites({ maxMessageBytes: 4 * 1024 * 1024, spoolDir: tmpdir() }),
    policies: new AccountPolicies(),
    mailboxWrites: new MailboxIntentWrites(),
    onUnparsed: () => undefined,
    log: logger,
    draining: () => draining,
    ...options.deps,
    config: {
      host: "127.0.0.1",
      port: 0,
      metricsPort: null,
      adminKey,
      allowPrivateHosts: true,
      allowCleartext: true,
      version: "0.0.0-test",
      ...options.config,
    },
  });
  const close = async (): Promise<void> => {
    await api.close();
    await changes.close();
    await db.close();
    await fresh.drop();
  };
  const drain = (): void => {
    draining = true;
  };
  let document: Promise<ApiDocument> | undefined;
  const request = async (path: string, one: Request = {}): Promise<Reply> => {
    document ??= send(api.url, "/openapi.json", { key: null }).then(({ body }) => body as ApiDocument);
    const reply = await send(api.url, path, one);
    const exchange = { method: methodOf(one), path, contentType: reply.headers.get("content-type"), ...reply };
    const breach = breachOf(await document, exchange);
    if (breach !== null)
      throw new Error(`${exchange.method} ${path}: ${reply.status} ${reply.text.slice(0, 2000)}\nis not as described: ${breach}`);
    return reply;
  };
  return {
    url: api.url,
    metricsUrl: api.metricsUrl,
    db,
    databaseUrl: fresh.url,
    sealer,
    rings,
    log,
    drain,
    request,
    close,
    [Symbol.asyncDispose]: close,
  };
};

/** The body of a POST that makes an account; nobody connects to its server. */
export const accountInput = (overrides: Readonly<Record<string, unknown>> = {}): Record<string, unknown> => ({
  name: "Ana",
  email: "ana@example.test",
  endpoints: [
    {
      protocol: "imap",
      host: "mail.example.test",
      port: 993,
      security: "tls",
      auth: { type: "password", user: "ana", password: "canary-secret-7391" },
    },
  ],
  ...overrides,
});
