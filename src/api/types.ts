/** What every resource of the API is built with: the application, what it may use, and who is calling. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import type { FastifyInstance, RawServerDefault } from "fastify";
import type { Parser } from "../mime/parser.ts";
import type { Scope } from "../model/access.ts";
import type { Prober } from "../model/diagnosis.ts";
import type { Discoverer } from "../model/discovery.ts";
import type { Policies } from "../model/policy-effects.ts";
import type { Writes } from "../model/writes.ts";
import type { AccountId, KeyId, TenantId } from "../model/ids.ts";
import type { MailboxWrites } from "../model/mailbox-intent.ts";
import type { Bell } from "../queue/bell.ts";
import type { ChangeListener } from "../store/change-listener.ts";
import type { Database, Transactor, Tx } from "../store/database.ts";
import type { Sealer } from "../store/sealing.ts";
import type { Logger } from "../telemetry/log.ts";

export interface ApiConfig {
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  /** A port of its own for /metrics, without authentication; null serves it beside the API. */
  readonly metricsPort: number | null;
  readonly adminKey: string;
  readonly allowPrivateHosts: boolean;
  readonly allowCleartext: boolean;
  readonly version: string;
  /** Addresses and networks whose X-Forwarded-For tells where a request comes from; default: none. */
  readonly trustedProxies?: readonly string[];
  /** Requests a key may make in a minute, per process; default 6000. */
  readonly requestsPerMinute?: number;
  /** Wrong keys an address may send in a minute, per process, until it is told to wait; default 60. */
  readonly wrongKeysPerMinute?: number;
  /** Accounts a key may create in a minute, per process; default 600. */
  readonly newAccountsPerMinute?: number;
  /** Probes a key may ask for in a minute, per process; default 30. */
  readonly probesPerMinute?: number;
}

export interface ApiDeps {
  readonly config: ApiConfig;
  /** As the tenant of the request sees it: tenant-scope.ts. */
  readonly db: Transactor;
  /** Rows of every tenant: for finding out who is calling, and for the operator. */
  readonly everyTenant: Database;
  readonly sealer: Sealer;
  readonly bell: Pick<Bell, "ring" | "depth">;
  /** The shard that works on this virtual shard's accounts. */
  readonly shardOf: (virtualShard: number) => number;
  readonly parser: Parser;
  readonly changes: ChangeListener;
  /** Who looks at mail servers for the API, which never speaks to one itself. */
  readonly prober: Prober;
  /** Who finds out what a domain says of its mail servers. */
  readonly discoverer: Discoverer;
  readonly writes: Writes<Tx>;
  readonly policies: Policies<Tx>;
  readonly mailboxWrites: MailboxWrites<Tx>;
  /** An account has mail that was not parsed yet. */
  readonly onUnparsed: (account: { readonly id: AccountId; readonly tenantId: TenantId }) => void;
  readonly log: Logger;
  /** True from the first moment of stopping: /readyz says so, event streams end. */
  readonly draining: () => boolean;
}

/** What the API is started with. */
export type ApiParts = Omit<ApiDeps, "db" | "everyTenant"> & { readonly db: Database };

export type App = FastifyInstance<RawServerDefault, IncomingMessage, ServerResponse, Logger, TypeBoxTypeProvider>;

/** Who is calling, as the key says. The tenant never comes from anywhere else. */
export interface Caller {
  readonly kind: "operator" | "key";
  readonly tenantId: TenantId;
  /** null for the operator. */
  readonly keyId: KeyId | null;
  readonly scopes: ReadonlySet<Scope>;
  /** The only accounts this key may see; null: all of its tenant. */
  readonly accountIds: ReadonlySet<AccountId> | null;
  /** Which device speaks: `X-Device-Id`, else the key's own id. */
  readonly deviceId: string;
}

declare module "fastify" {
  interface FastifyRequest {
    caller: Caller | null;
    /** What it did is in the audit log. */
    audited: boolean;
  }
  interface FastifyContextConfig {
    /** One of these scopes opens the route; `public` needs no key, `operator` needs the operator's. Every route must say. */
    access?: readonly Scope[] | "public" | "operator";
  }
}
