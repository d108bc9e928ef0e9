/**
 * Addresses of names that tenants give. The system's own look-up does two at once (libuv gives such work half of its four threads)
 * and cannot be told to stop: two names whose servers never answer would keep every other from being found. So the hosts file is
 * read and the DNS asked here, any number of names at once; the system is left what only it knows (LDAP, mDNS, search domains).
 */
import { lookup, Resolver } from "node:dns/promises";
import { readFile } from "node:fs/promises";
import { isIP } from "node:net";
import { networkInterfaces } from "node:os";
import pLimit from "p-limit";

export interface Found {
  readonly address: string;
  readonly family: number;
}

export const hasCode = (error: unknown, code: string): boolean =>
  error instanceof Error && "code" in error && error.code === code;

const inHostsFile = async (name: string): Promise<readonly Found[]> => {
  // Where there is none (Windows has it elsewhere), the system knows what is in it.
  const text = await readFile("/etc/hosts", "utf8").catch(() => "");
  return text.split("\n").flatMap((line) => {
    const [address = "", ...names] = line.replace(/#.*/, "").trim().toLowerCase().split(/\s+/);
    const family = isIP(address);
    return family !== 0 && names.includes(name) ? [{ address, family }] : [];
  });
};

/** How long the DNS may take for an answer, in ms, and how often it is asked. */
const queryMs = 3_000;
const tries = 2;

/** IPv4 first, which reaches everybody, but where this machine has no such address. */
const byFamily = (): readonly (4 | 6)[] =>
  Object.values(networkInterfaces()).some((all) => all?.some(({ internal, family }) => !internal && family === "IPv4"))
    ? [4, 6]
    : [6, 4];

/** Nobody else is asked then: it would take as long once more. */
const isUnanswered = (error: unknown): boolean => hasCode(error, "ETIMEOUT") || hasCode(error, "ECANCELLED");

/**
 * Of the first family that there is. @returns nothing for what the DNS does not know, or refuses to look for: the system may
 * have search domains for it.
 * @throws the error of a query that was not answered.
 */
const inDns = async (name: string, signal: AbortSignal): Promise<readonly Found[]> => {
  const resolver = new Resolver({ timeout: queryMs, tries });
  const cancel = (): void => resolver.cancel();
  signal.addEventListener("abort", cancel);
  const queries = byFamily().map(async (family) => {
    const addresses = await (family === 4 ? resolver.resolve4(name) : resolver.resolve6(name)).catch((error: unknown) => {
      if (isUnanswered(error)) throw error;
      return [];
    });
    return addresses.map((address) => ({ address, family }));
  });
  const settled = Promise.allSettled(queries);
  try {
    const [first] = queries;
    const found = (await first?.catch(() => [])) ?? [];
    if (found.length > 0) return found;
    const answers = await settled;
    const failed = answers.find((answer) => answer.status === "rejected");
    const others = answers.flatMap((answer) => (answer.status === "fulfilled" ? answer.value : []));
    if (others.length === 0 && failed?.status === "rejected") throw failed.reason;
    return others;
  } finally {
    signal.removeEventListener("abort", cancel);
    cancel();
  }
};

/** Of the system's two threads one is for names without a dot: no tenant's name server is ever asked about those. */
const shortTurn = pLimit(1);
const otherTurn = pLimit(1);

/** @param name in ASCII. @throws Error whose `code` is `ENOTFOUND` or `ENODATA` when there is no such name; any other: it is not known. */
export const lookUp = async (name: string, signal: AbortSignal): Promise<readonly Found[]> => {
  const isShort = !name.includes(".");
  const found = await inHostsFile(name);
  if (found.length > 0) return found;
  const answers = isShort ? [] : await inDns(name, signal);
  if (answers.length > 0) return answers;
  return (isShort ? shortTurn : otherTurn)(() => {
    signal.throwIfAborted();
    return lookup(name, { all: true });
  });
};
