/** What can be found out about the mail servers behind an address before anybody logs in. */
import type { Protocol } from "./endpoint.ts";

export interface LikelyEndpoint {
  readonly protocol: Protocol;
  readonly host: string;
  readonly port: number;
  /** What goes in the clear is never proposed. */
  readonly security: "tls" | "starttls";
  readonly auth: "password" | "oauth2";
  /** `provider`: a table of large ones. `srv`: the domain's DNS (RFC 6186). `autoconfig`: the domain's web server. */
  readonly source: "provider" | "srv" | "autoconfig";
  /** From 0 to 1: a guess at how sure that is, to choose by. */
  readonly confidence: number;
}

export interface Discovery {
  /** Surest first; none: nobody says anything. */
  readonly items: readonly LikelyEndpoint[];
  /** What the owner has to know of the provider, in plain words. */
  readonly advice: readonly string[];
}

export interface Discoverer {
  /** @param domain in lower case and ASCII. Never rejects; null: too many look-ups are under way. */
  discover(domain: string): Promise<Discovery | null>;
}
