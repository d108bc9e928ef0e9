/**
 * Where the daemon may connect to. A tenant names the host, so a name must never lead into the operator's own network:
 * names are looked up here, every answer is vetted, and the caller connects to the vetted address (with SNI and
 * certificate check on the name), so that a second answer of the DNS cannot lead elsewhere.
 */
import { domainToASCII } from "node:url";
import { isIP } from "node:net";
import ipaddr from "ipaddr.js";
import { SyncError } from "../model/failure.ts";
import { withDeadline } from "./deadline.ts";
import { hasCode, lookUp } from "./lookup.ts";

export interface VettedAddress {
  readonly address: string;
  readonly family: 4 | 6;
}

export interface EgressRules {
  /** True where the operator lets tenants reach private networks and this machine itself. */
  readonly allowPrivateHosts: boolean;
}

const lookupDeadlineMs = 15_000;

/** Of all IPv6 space only this is given out as global unicast (IANA); `::/96` and the rest are not (RFC 4291 §2.4). */
const globalUnicast6: [ipaddr.IPv6, number] = [ipaddr.IPv6.parse("2000::"), 3];

/** Answer instance metadata and secrets in clouds: AWS (both families), Alibaba, Oracle, Azure's wire server. */
const metadata: ReadonlySet<string> = new Set([
  "169.254.169.254",
  "fd00:ec2::254",
  "100.100.100.200",
  "192.0.0.192",
  "168.63.129.16",
]);

/** No server has such an address, whatever the operator allows. */
const neverHosts: ReadonlySet<string> = new Set(["unspecified", "broadcast", "multicast"]);

type Address = ipaddr.IPv4 | ipaddr.IPv6;

const embedded = (bytes: readonly number[], at: number): ipaddr.IPv4 => new ipaddr.IPv4(bytes.slice(at, at + 4));

/** The IPv4 address a packet really goes to: v4-mapped (RFC 4291), NAT64 (RFC 6052), 6to4 (RFC 3056); else the address. */
const destination = (address: Address): Address => {
  if (address.kind() === "ipv4") return address;
  const bytes = address.toByteArray();
  switch (address.range()) {
    case "ipv4Mapped":
      return embedded(bytes, 12);
    case "rfc6052":
      // 64:ff9b:1::/48 (RFC 8215) is for local use: where it leads cannot be told from the address.
      return bytes[4] === 0 && bytes[5] === 0 ? embedded(bytes, 12) : address;
    case "6to4":
      return embedded(bytes, 2);
    default:
      return address;
  }
};

/** May the daemon connect to this address (as the resolver spells it)? False for what is not an address at all. */
export const addressAllowed = (text: string, rules: EgressRules): boolean => {
  if (!ipaddr.isValid(text)) return false;
  const address = destination(ipaddr.parse(text));
  const range = address.range();
  // toString() spells an address in one way only; a zone would make two of one.
  if (neverHosts.has(range) || metadata.has(address.toString().replace(/%.*$/, ""))) return false;
  if (rules.allowPrivateHosts) return true;
  return range === "unicast" && (address.kind() === "ipv4" || (address as ipaddr.IPv6).match(globalUnicast6));
};

const notAllowed = (host: string): SyncError =>
  new SyncError("config", "endpoint", {
    code: "host_not_allowed",
    message: `Connections to ${host} are not allowed: it is not an address on the public Internet.`,
    action: "Give the public name of the mail server, or ask the operator of Samebox to allow private hosts.",
  });

const notAName = (): SyncError =>
  new SyncError("config", "endpoint", {
    code: "host_not_allowed",
    message: "The host of the mail server is not a host name.",
    action: "Give the name of the mail server, e.g. imap.example.com.",
  });

const notFound = (host: string, cause: unknown): SyncError =>
  new SyncError("transient", "endpoint", {
    code: "endpoint_unreachable",
    message: `There is no host named ${host}.`,
    action: "Check the spelling of the host. If it is right, nothing has to be done: it is looked up again.",
    cause,
  });

const lookupFailed = (host: string, cause: unknown): SyncError =>
  new SyncError("transient", "endpoint", {
    code: "endpoint_unreachable",
    message: `The address of ${host} could not be looked up just now.`,
    action: "Nothing has to be done: it is tried again. If it lasts, check the name service of the server that runs Samebox.",
    cause,
  });

const translated = (error: unknown, host: string): SyncError => {
  if (error instanceof SyncError) return error.code === "endpoint_timeout" ? lookupFailed(host, error) : error;
  return hasCode(error, "ENOTFOUND") || hasCode(error, "ENODATA") ? notFound(host, error) : lookupFailed(host, error);
};

/** The first answer, when all are allowed. One bad answer refuses the host: which one is used is not ours to choose later. */
export const vetAnswers = (
  host: string,
  answers: readonly { readonly address: string; readonly family: number }[],
  rules: EgressRules,
): VettedAddress => {
  const [first] = answers;
  if (first === undefined) throw notFound(host, undefined);
  if (!answers.every((answer) => addressAllowed(answer.address, rules))) throw notAllowed(host);
  return { address: first.address, family: first.family === 6 ? 6 : 4 };
};

/**
 * The address to connect to for `host`, a name or an address in any spelling (`[::1]`, `0x7f.1`, `2130706433`).
 * @throws SyncError `config`/endpoint `host_not_allowed`; `transient`/endpoint `endpoint_unreachable` when the name does
 * not exist or cannot be looked up now.
 */
export const resolveHost = async (host: string, rules: EgressRules, signal: AbortSignal): Promise<VettedAddress> => {
  const bare = host.startsWith("[") && host.endsWith("]") ? host.slice(1, -1) : host;
  // domainToASCII drops white space from within a name in silence.
  if (/[\p{Cc}\s]/u.test(bare)) throw notAName();
  // The ASCII form is also the one spelling of an odd IPv4 literal, and empty for what no name may contain.
  const name = isIP(bare) === 0 ? domainToASCII(bare) : bare;
  const family = isIP(name);
  if (name === "" || name.length > 253) throw notAName();
  if (family !== 0) return vetAnswers(bare, [{ address: name, family }], rules);
  const late = new AbortController();
  try {
    const answers = await withDeadline(
      () => lookUp(name, AbortSignal.any([signal, late.signal])),
      lookupDeadlineMs,
      signal,
      () => late.abort(),
    );
    return vetAnswers(bare, answers, rules);
  } catch (error) {
    throw translated(error, bare);
  }
};
