/**
 * Likely settings for a domain, from what it publishes itself: SRV records (RFC 6186), an autoconfig file on its own web server, and
 * its mail exchangers, which tell a large provider. Only the domain is told to anybody, never the address before it.
 */
import { Resolver } from "node:dns/promises";
import type { Discoverer, Discovery, LikelyEndpoint } from "../../model/discovery.ts";
import { isHostName, readAutoconfig } from "./autoconfig.ts";
import { type PageRules, readPage } from "./page.ts";
import { endpointsOf, providerOfDomain, providerOfExchangers } from "./providers.ts";

/** For all of it, in ms. */
const deadlineMs = 8_000;
const lookupMs = 2_000;
/** More would be a way to keep the process busy. */
const mostAtOnce = 16;

const services = [
  { service: "_imaps", protocol: "imap", security: "tls" },
  { service: "_imap", protocol: "imap", security: "starttls" },
  { service: "_pop3s", protocol: "pop3", security: "tls" },
] as const;

export interface DiscoveryOptions extends PageRules {
  /** Name servers as `address:port`; absent: those of the machine. */
  readonly dnsServers?: readonly string[];
  /** Where the web server of a name listens; absent: at the usual port. */
  readonly webPort?: number;
}

/** Every domain may point to servers of another one, but DNS does not prove who wrote it there. */
const confidenceOfTarget = (host: string, domain: string): number => (host === domain || host.endsWith(`.${domain}`) ? 0.9 : 0.7);

const fromSrv = async (resolver: Resolver, domain: string): Promise<LikelyEndpoint[]> => {
  const found = await Promise.allSettled(
    services.map(async ({ service, protocol, security }) => {
      const records = await resolver.resolveSrv(`${service}._tcp.${domain}`);
      const [best] = records.toSorted((a, b) => a.priority - b.priority || b.weight - a.weight);
      const host = best?.name.toLowerCase().replace(/\.$/, "") ?? "";
      // A root alone says that there is no such service.
      if (best === undefined || !isHostName(host)) return [];
      const confidence = confidenceOfTarget(host, domain);
      return [{ protocol, host, port: best.port, security, auth: "password", source: "srv", confidence } as const];
    }),
  );
  return found.flatMap((one) => (one.status === "fulfilled" ? one.value : []));
};

const fromPage = async (url: string, domain: string, rules: PageRules, signal: AbortSignal): Promise<LikelyEndpoint[]> => {
  const xml = await readPage(url, rules, signal);
  const servers = xml === null ? [] : readAutoconfig(xml, domain);
  return servers.map((server) => ({ ...server, source: "autoconfig", confidence: 0.85 }));
};

const fromExchangers = async (resolver: Resolver, domain: string): Promise<Discovery> => {
  const exchangers = await resolver.resolveMx(domain);
  const provider = providerOfExchangers(exchangers.map(({ exchange }) => exchange));
  return provider === null ? { items: [], advice: [] } : { items: endpointsOf(provider, 0.95), advice: [provider.advice] };
};

const byConfidence = (a: LikelyEndpoint, b: LikelyEndpoint): number => b.confidence - a.confidence;

/** Each server once, by whoever is surest of it. */
const merge = (items: readonly LikelyEndpoint[]): LikelyEndpoint[] => {
  const found = new Map<string, LikelyEndpoint>();
  for (const item of items.toSorted(byConfidence)) {
    const key = `${item.protocol} ${item.host} ${item.port}`;
    if (!found.has(key)) found.set(key, item);
  }
  return [...found.values()];
};

export class DomainDiscoverer implements Discoverer {
  readonly #options: DiscoveryOptions;
  #running = 0;

  constructor(options: DiscoveryOptions) {
    this.#options = options;
  }

  async discover(domain: string): Promise<Discovery | null> {
    const provider = providerOfDomain(domain);
    if (provider !== null) return { items: endpointsOf(provider, 0.99), advice: [provider.advice] };
    if (this.#running >= mostAtOnce) return null;
    this.#running += 1;
    const signal = AbortSignal.timeout(deadlineMs);
    const resolver = new Resolver({ timeout: lookupMs, tries: 2 });
    try {
      return await this.#ask(domain, resolver, signal);
    } finally {
      resolver.cancel();
      this.#running -= 1;
    }
  }

  async #ask(domain: string, resolver: Resolver, signal: AbortSignal): Promise<Discovery> {
    const { dnsServers, webPort, ...rules } = this.#options;
    if (dnsServers !== undefined) resolver.setServers(dnsServers);
    const port = webPort === undefined ? "" : `:${webPort}`;
    const pages = [
      `https://autoconfig.${domain}${port}/mail/config-v1.1.xml`,
      `https://${domain}${port}/.well-known/autoconfig/mail/config-v1.1.xml`,
    ];
    const [served, ...told] = await Promise.all([
      fromExchangers(resolver, domain).catch((): Discovery => ({ items: [], advice: [] })),
      fromSrv(resolver, domain),
      ...pages.map((url) => fromPage(url, domain, rules, signal).catch((): LikelyEndpoint[] => [])),
    ]);
    return { items: merge([...served.items, ...told.flat()]), advice: served.advice };
  }
}
