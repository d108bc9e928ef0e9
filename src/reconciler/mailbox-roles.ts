/** Which mailbox plays which role (semantics D10). */
import type { Role, RoleSource } from "../model/mail.ts";
import type { SurveyedMailbox } from "../model/survey.ts";
import type { MailboxView } from "./state.ts";

export interface RoleBearer {
  readonly before: MailboxView | null;
  role: Role | null;
  roleSource: RoleSource | null;
}

interface Claim {
  readonly role: Role;
  readonly source: RoleSource;
  readonly holder: boolean;
  readonly path: string;
  readonly bearer: RoleBearer;
}

const strength: Record<RoleSource, number> = { api: 0, special_use: 1, xlist: 2, name: 3 };

const claimOf = (bearer: RoleBearer, path: string, box: SurveyedMailbox | null): Claim | null => {
  const { before } = bearer;
  if (before?.roleSource === "api") {
    const { role } = before;
    return role === null ? null : { role, source: "api", holder: true, path, bearer };
  }
  if (box !== null)
    return box.role === null || box.roleSource === null
      ? null
      : { role: box.role, source: box.roleSource, holder: before?.role === box.role, path, bearer };
  if (before === null || before.role === null || before.roleSource === null) return null;
  return { role: before.role, source: before.roleSource, holder: true, path, bearer };
};

/**
 * D10: at most one mailbox per role; strongest claim first, then the one that has it, then the first path. What is listed stands
 * before what the account has for itself only (`path` is then its name).
 */
export const assignRoles = (
  bearers: readonly { readonly bearer: RoleBearer; readonly path: string; readonly box: SurveyedMailbox | null }[],
): void => {
  const claims = bearers.flatMap(({ bearer, path, box }) => claimOf(bearer, path, box) ?? []);
  claims.sort(
    (a, b) => strength[a.source] - strength[b.source] || Number(b.holder) - Number(a.holder) || (a.path < b.path ? -1 : 1),
  );
  for (const { bearer } of bearers) {
    bearer.role = null;
    bearer.roleSource = bearer.before?.roleSource === "api" ? "api" : null;
  }
  const given = new Set<Role>();
  for (const { role, source, bearer } of claims) {
    if (given.has(role) || bearer.role !== null) continue;
    given.add(role);
    bearer.role = role;
    bearer.roleSource = source;
  }
};
