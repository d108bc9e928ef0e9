/**
 * Which mailbox plays which role (semantics D10): SPECIAL-USE (RFC 6154), then XLIST, then its name. The names come from
 * imapflow's table, which knows them in some 70 languages. At most one mailbox per role, and one role per mailbox.
 */
import { specialUse } from "imapflow/lib/special-use.js";
import type { Role, RoleSource } from "../../model/mail.ts";

export interface RoleCandidate {
  readonly path: string;
  readonly delimiter: string | null;
  /** LIST or XLIST attributes as the server wrote them. */
  readonly attributes: readonly string[];
  readonly selectable: boolean;
}

export interface AssignedRole {
  readonly role: Role;
  readonly source: RoleSource;
}

const roleOfAttribute: Readonly<Record<string, Role>> = {
  "\\archive": "archive",
  "\\drafts": "drafts",
  "\\sent": "sent",
  "\\junk": "junk",
  "\\trash": "trash",
};
/** XLIST spells two of them differently (Gmail before 2012, some Russian and Japanese providers). */
const roleOfXlist: Readonly<Record<string, Role>> = { ...roleOfAttribute, "\\inbox": "inbox", "\\spam": "junk" };

interface Claim {
  readonly path: string;
  readonly role: Role;
  readonly source: RoleSource;
  /** Lower wins. */
  readonly rank: number;
  readonly depth: number;
}

const lastPart = (path: string, delimiter: string | null): string =>
  delimiter === null || delimiter === "" ? path : (path.split(delimiter).at(-1) ?? path);

const claimsOf = (candidate: RoleCandidate, xlist: boolean): Claim[] => {
  const { path, delimiter } = candidate;
  const depth = delimiter === null || delimiter === "" ? 0 : path.split(delimiter).length - 1;
  if (path === "INBOX") return [{ path, role: "inbox", source: "special_use", rank: 0, depth }];
  if (!candidate.selectable) return [];
  const claims: Claim[] = [];
  for (const attribute of candidate.attributes) {
    const role = (xlist ? roleOfXlist : roleOfAttribute)[attribute.toLowerCase()];
    if (role !== undefined) claims.push({ path, role, source: xlist ? "xlist" : "special_use", rank: xlist ? 2 : 1, depth });
  }
  const named = specialUse(false, { flags: new Set(), name: lastPart(path, delimiter) });
  const role = named.flag === null ? undefined : roleOfAttribute[named.flag.toLowerCase()];
  if (role !== undefined) claims.push({ path, role, source: "name", rank: named.source === "name" ? 3 : 4, depth });
  return claims;
};

/**
 * Roles by path. Among equals the shallower mailbox wins, then the one first in code point order, so that the answer does
 * not depend on the order of the listing.
 */
export const assignRoles = (candidates: readonly RoleCandidate[], xlist: boolean): ReadonlyMap<string, AssignedRole> => {
  const claims = candidates.flatMap((candidate) => claimsOf(candidate, xlist));
  claims.sort((a, b) => a.rank - b.rank || a.depth - b.depth || (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
  const assigned = new Map<string, AssignedRole>();
  const taken = new Set<Role>();
  for (const { path, role, source } of claims) {
    if (taken.has(role) || assigned.has(path)) continue;
    taken.add(role);
    assigned.set(path, { role, source });
  }
  return assigned;
};
