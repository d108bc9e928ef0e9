/**
 * Which hosts an account may name. This is the early and friendly refusal: the wall itself stands where the daemon
 * connects, which vets the address it really uses.
 */
import { Resolver } from "node:dns/promises";
import { isIP } from "node:net";
import { domainToASCII } from "node:url";
import ipaddr from "ipaddr.js";
import { ProblemError } from "./problem.ts";

const lookupDeadlineMs = 2_000;

/** Names that lead to this machine or into a private network by their meaning (RFC 6761, RFC 6762, RFC 8375, ICANN's `internal`). */
const privateNames = /(^|\.)(localhost|local|internal|home\.arpa|localdomain)$/;

export const isPrivateName = (name: string): boolean => privateNames.test(name);

/** Of IPv6 only this is given out as global unicast (IANA). */
const globalUnicast6: [ipaddr.IPv6, number] = [ipaddr.IPv6.parse("2000::"), 3];

const metadata = new Set(["168.63.129.16", "192.0.0.192"]);

/** Is this an address of the public Internet? v4-mapped, NAT64 and 6to4 forms never are: no mail server needs one. */
const isPublic = (text: string): boolean => {
  if (!ipaddr.isValid(text)) return false;
  const address = ipaddr.parse(text);
  if (address.range() !== "unicast" || metadata.has(address.toString())) return false;
  return address.kind() === "ipv4" || (address as ipaddr.IPv6).match(globalUnicast6);
};

/**
 * The one spelling of a host: ASCII, lower case, no brackets, no root dot; null for what is no host name.
 * Odd spellings of an address (`0x7f.1`, `2130706433`) become the address.
 */
export const normalizeHost = (host: string): string | null => {
  const bare = host.startsWith("[") && host.endsWith("]") ? host.slice(1, -1) : host;
  if (isIP(bare) === 6) return ipaddr.parse(bare).toString();
  // domainToASCII drops white space within a name in silence, and takes "/" and the like for the name's end.
  if (!/^[\p{L}\p{M}\p{N}._-]+$/u.test(bare)) return null;
  const name = domainToASCII(bare).replace(/\.$/, "");
  return name === "" || name.length > 253 || name.split(".").some((label) => label === "" || label.length > 63) ? null : name;
};

const lookup = async (name: string): Promise<string[]> => {
  const resolver = new Resolver({ timeout: lookupDeadlineMs, tries: 1 });
  const timer = setTimeout(() => resolver.cancel(), lookupDeadlineMs);
  try {
    const answers = await Promise.allSettled([resolver.resolve4(name), resolver.resolve6(name)]);
    return answers.flatMap((answer) => (answer.status === "fulfilled" ? answer.value : []));
  } finally {
    clearTimeout(timer);
  }
};

/**
 * @param host as `normalizeHost` spells it; `resolve` answers a name's addresses, none when it has none or nobody says.
 * @throws ProblemError `host_not_allowed` at `pointer`.
 */
export const vetHost = async (
  host: string,
  pointer: string,
  resolve: (name: string) => Promise<string[]> = lookup,
): Promise<void> => {
  const addresses = isIP(host) === 0 ? (isPrivateName(host) ? [""] : await resolve(host)) : [host];
  if (addresses.every(isPublic)) return;
  const detail = "is not on the public Internet; ask the operator of this service to allow private hosts";
  throw new ProblemError("host_not_allowed", "The host is not on the public Internet.", {
    errors: [{ in: "body", pointer, detail }],
  });
};
