/** Settings from the environment: read once, checked whole, all faults reported together. The only reader of process.env. */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { isIP } from "node:net";

export type RunRole = "api" | "worker";

export interface Config {
  readonly host: string;
  readonly port: number;
  /** Own port for health and metrics; null: on the API's port. */
  readonly metricsPort: number | null;
  /** null: an embedded PostgreSQL in the data directory. */
  readonly databaseUrl: string | null;
  /** null: queues on the database. */
  readonly redisUrl: string | null;
  readonly dataDir: string;
  /** null: made at first start and kept in the data directory. */
  readonly adminKey: string | null;
  /** 32 bytes that seal credentials; null: made at first start and kept in the data directory. */
  readonly secretKey: Buffer | null;
  /** Keys that what is stored may still, or already, be sealed under: they only open. */
  readonly otherSecretKeys: readonly Buffer[];
  readonly roles: ReadonlySet<RunRole>;
  readonly allowPrivateHosts: boolean;
  readonly allowCleartext: boolean;
  readonly pollSeconds: number;
  /** Lease groups of a new installation; null: 64 with Redis, 4 without. Later starts take what the database says. */
  readonly shards: number | null;
  readonly leaseSeconds: number;
  /** Days that inputs are kept. */
  readonly inputDays: number;
  /** Days that the audit log is kept. */
  readonly auditDays: number;
  /** Addresses and networks whose X-Forwarded-For is believed. */
  readonly trustedProxies: readonly string[];
  readonly maxMessageBytes: number;
  readonly logLevel: string;
  /** For crash tests: the process kills itself at this step. */
  readonly failpoint: number | null;
  readonly version: string;
}

/** Every fault of the settings, one line each. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly faults: readonly string[];

  constructor(faults: readonly string[]) {
    super(
      `The settings have ${faults.length} fault${faults.length === 1 ? "" : "s"}:\n${faults.map((fault) => `  - ${fault}`).join("\n")}`,
    );
    this.faults = faults;
  }
}

type Env = Readonly<Record<string, string | undefined>>;

/** An address, with or without the length of a prefix. */
const isNetwork = (text: string): boolean => {
  const [address = "", bits = "0", ...more] = text.split("/");
  const family = isIP(address);
  return family !== 0 && more.length === 0 && /^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128);
};

/** Reads single settings and gathers their faults; an empty value counts as unset. */
class Reader {
  readonly faults: string[] = [];
  private readonly env: Env;
  private readonly names = new Set<string>();

  constructor(env: Env) {
    this.env = env;
  }

  text(name: string): string | null {
    this.names.add(name);
    const value = this.env[name];
    return value === undefined || value === "" ? null : value;
  }

  private fault(name: string, wants: string): void {
    this.faults.push(`${name} must be ${wants}.`);
  }

  integer(name: string, range: { readonly from: number; readonly to: number }): number | null {
    const value = this.text(name);
    if (value === null) return null;
    const number = /^\d{1,15}$/.test(value) ? Number(value) : Number.NaN;
    if (number >= range.from && number <= range.to) return number;
    this.fault(name, `a whole number from ${range.from} to ${range.to}`);
    return null;
  }

  flag(name: string): boolean {
    const value = this.text(name);
    if (value === null || value === "false" || value === "0") return false;
    if (value === "true" || value === "1") return true;
    this.fault(name, `"true" or "false"`);
    return false;
  }

  url(name: string, schemes: readonly string[]): string | null {
    const value = this.text(name);
    if (value === null) return null;
    if (URL.canParse(value) && schemes.includes(new URL(value).protocol)) return value;
    this.fault(name, `a URL that begins with ${schemes.map((scheme) => `${scheme}//`).join(" or ")}`);
    return null;
  }

  choice(name: string, choices: readonly string[]): string | null {
    const value = this.text(name);
    if (value === null || choices.includes(value)) return value;
    this.fault(name, `one of ${choices.join(", ")}`);
    return null;
  }

  roles(name: string): Set<RunRole> {
    const given = (this.text(name) ?? "api,worker").split(",").map((role) => role.trim());
    const roles = new Set<RunRole>();
    for (const role of given) {
      if (role === "api" || role === "worker") roles.add(role);
      else this.fault(name, `"api", "worker" or both with a comma between`);
    }
    return roles;
  }

  key(name: string): Buffer | null {
    const value = this.text(name);
    if (value === null) return null;
    const bytes = Buffer.from(value, "base64");
    if (bytes.length === 32) return bytes;
    this.fault(name, "32 bytes in base64; make one with: openssl rand -base64 32");
    return null;
  }

  keys(name: string): readonly Buffer[] {
    const keys = (this.text(name)?.split(",") ?? []).map((text) => Buffer.from(text, "base64"));
    if (keys.some((key) => key.length !== 32)) this.fault(name, "keys of 32 bytes in base64, with commas between them");
    return keys;
  }

  networks(name: string): readonly string[] {
    const networks =
      this.text(name)
        ?.split(",")
        .map((text) => text.trim()) ?? [];
    if (!networks.every(isNetwork)) this.fault(name, "addresses or networks (10.0.0.0/8), with commas between them");
    return networks;
  }

  /** A name that looks like ours and is none is a typing error that would otherwise pass in silence. */
  unknown(prefix: string): void {
    for (const name of Object.keys(this.env))
      if (name.startsWith(prefix) && !this.names.has(name))
        this.faults.push(`${name} is not a setting. Settings: ${[...this.names].join(", ")}.`);
  }
}

const packageVersion = (): string =>
  (JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string }).version;

/** @throws ConfigError with every fault at once. */
export const readConfig = (env: Env = process.env): Config => {
  const read = new Reader(env);
  const config: Config = {
    host: read.text("HOST") ?? "127.0.0.1",
    port: read.integer("PORT", { from: 0, to: 65_535 }) ?? 8080,
    metricsPort: read.integer("METRICS_PORT", { from: 0, to: 65_535 }),
    databaseUrl: read.url("DATABASE_URL", ["postgres:", "postgresql:"]),
    redisUrl: read.url("REDIS_URL", ["redis:", "rediss:"]),
    dataDir: resolve(read.text("SAMEBOX_DATA_DIR") ?? "data"),
    adminKey: read.text("SAMEBOX_ADMIN_KEY"),
    secretKey: read.key("SAMEBOX_SECRET_KEY"),
    otherSecretKeys: read.keys("SAMEBOX_OTHER_SECRET_KEYS"),
    roles: read.roles("SAMEBOX_ROLES"),
    allowPrivateHosts: read.flag("SAMEBOX_ALLOW_PRIVATE_HOSTS"),
    allowCleartext: read.flag("SAMEBOX_ALLOW_CLEARTEXT"),
    pollSeconds: read.integer("SAMEBOX_POLL_SECONDS", { from: 1, to: 86_400 }) ?? 60,
    shards: read.integer("SAMEBOX_SHARDS", { from: 1, to: 1024 }),
    leaseSeconds: read.integer("SAMEBOX_LEASE_SECONDS", { from: 2, to: 600 }) ?? 30,
    inputDays: read.integer("SAMEBOX_INPUT_DAYS", { from: 1, to: 36_500 }) ?? 30,
    auditDays: read.integer("SAMEBOX_AUDIT_DAYS", { from: 1, to: 36_500 }) ?? 400,
    trustedProxies: read.networks("SAMEBOX_TRUSTED_PROXIES"),
    maxMessageBytes: read.integer("SAMEBOX_MAX_MESSAGE_BYTES", { from: 1024, to: 2_000_000_000 }) ?? 128 * 1024 * 1024,
    logLevel: read.choice("LOG_LEVEL", ["fatal", "error", "warn", "info", "debug", "trace", "silent"]) ?? "info",
    failpoint: read.integer("SAMEBOX_FAILPOINT", { from: 1, to: 1_000_000 }),
    version: packageVersion(),
  };
  if (config.adminKey !== null && config.adminKey.length < 16)
    read.faults.push("SAMEBOX_ADMIN_KEY must be at least 16 characters long.");
  if (config.databaseUrl !== null && env["SAMEBOX_SECRET_KEY"] === undefined)
    read.faults.push(
      "SAMEBOX_SECRET_KEY is needed beside DATABASE_URL: every daemon must seal with the same key; make one with: openssl rand -base64 32.",
    );
  if (config.databaseUrl === null && config.roles.size === 1)
    read.faults.push("SAMEBOX_ROLES with one role needs DATABASE_URL: the embedded PostgreSQL serves one process.");
  read.unknown("SAMEBOX_");
  if (read.faults.length > 0) throw new ConfigError(read.faults);
  return config;
};
