/** The mailbox tree: what a complete survey means for canonical mailboxes (semantics D1–D5, D8–D12). */
import type { DecidedChange } from "../model/change.ts";
import type { EndpointId, MailboxId } from "../model/ids.ts";
import type { Role, RoleSource } from "../model/mail.ts";
import type { SurveyedMailbox } from "../model/survey.ts";
import { findOwn, findRenames } from "./mailbox-claims.ts";
import { segmentsOf } from "./mailbox-names.ts";
import { assignRoles } from "./mailbox-roles.ts";
import { type Conflict, type Node, Tree } from "./mailbox-tree.ts";
import type { MailboxAddress, MailboxView } from "./state.ts";

export interface SurveyInput {
  readonly endpointId: EndpointId;
  readonly complete: boolean;
  readonly surveyed: readonly SurveyedMailbox[];
  readonly known: readonly MailboxView[];
  /** Those of them that were compared with what has their name now, and are not that (D9). */
  readonly replaced: readonly MailboxId[];
  /** Paths at which mail was seen that tells which mailbox it is (D1). */
  readonly proven: readonly string[];
  /** Paths that are not listed, and that the server does not say to be gone (D2). */
  readonly answering: readonly string[];
  /** Unused ids; two per surveyed mailbox are enough (itself and a parent nobody listed). */
  readonly freshIds: readonly string[];
  /** Time of the survey in ms since 1970. */
  readonly at: number;
}

/** The whole new value of a mailbox; `created` when it is new. */
export interface MailboxWrite {
  readonly id: MailboxId;
  readonly created: boolean;
  readonly name: string;
  readonly parentId: MailboxId | null;
  readonly role: Role | null;
  readonly roleSource: RoleSource | null;
  readonly subscribed: boolean;
  readonly lifecycle: "live" | "removed";
  readonly change: number | null;
}

export interface UpstreamWrite extends Omit<MailboxAddress, "uidValidity" | "uidNext"> {
  readonly mailboxId: MailboxId;
}

export interface MailboxDecision {
  readonly changes: readonly DecidedChange[];
  readonly mailboxes: readonly MailboxWrite[];
  readonly upstream: readonly UpstreamWrite[];
  /** Mailboxes that are gone for good: their bindings close and their placements become candidates. */
  readonly gone: readonly MailboxId[];
}

/** Longest upstream name that is followed, in characters; index rows hold no longer ones. */
const longestPath = 1000;
const absentForMs = 60_000;

/** Surveyed mailboxes by path, without duplicates and absurd names; a duplicate keeps the line that can be selected. */
export const usable = (surveyed: readonly SurveyedMailbox[]): Map<string, SurveyedMailbox> => {
  const byPath = new Map<string, SurveyedMailbox>();
  for (const box of surveyed) {
    if (box.path === "" || box.path.length > longestPath) continue;
    const path = box.path.toUpperCase() === "INBOX" ? "INBOX" : box.path;
    if (byPath.get(path)?.selectable !== true) byPath.set(path, { ...box, path });
  }
  return byPath;
};

export const describeMailbox = (node: { name: string; parentId: string | null; role: string | null }) => ({
  name: node.name,
  parentId: node.parentId,
  role: node.role,
});

type Why = Pick<DecidedChange, "kind" | "before" | "after" | "reason" | "rule"> & Partial<DecidedChange>;

const mailboxChange = (endpointId: EndpointId, mailboxId: MailboxId, rest: Why): DecidedChange => ({
  messageId: null,
  placementId: null,
  source: "imap",
  deviceId: null,
  confidence: null,
  evidence: [],
  endpointId,
  mailboxId,
  ...rest,
});

const reasons = { D4: "concurrent_rename", D5: "name_taken", D6: "concurrent_rename", D11: "same_to_server" } as const;

const writeNode = (
  endpointId: EndpointId,
  node: Node,
  conflicts: readonly Conflict[],
  changes: DecidedChange[],
): MailboxWrite[] => {
  const { before } = node;
  const after = describeMailbox(node);
  const say = (rest: Why): number => changes.push(mailboxChange(endpointId, node.id, rest)) - 1;
  let change: number | null = null;
  const isNumbered = conflicts.some(({ rule }) => rule === "D5");
  const folded = conflicts.some(({ rule }) => rule === "D11") ? { reason: reasons.D11, rule: "D11" } : null;
  if (before === null) change = say({ kind: "mailbox.created", before: null, after, reason: "upstream_created", rule: "D1" });
  else if (before.name !== node.name || before.parentId !== node.parentId || before.role !== node.role) {
    const why = isNumbered ? { reason: "name_taken", rule: "D5" } : (folded ?? { reason: "upstream_renamed", rule: "D1" });
    change = say({ kind: "mailbox.renamed", before: describeMailbox(before), after, ...why });
  }
  for (const { rule, loser, source } of conflicts) {
    const reason = reasons[rule];
    const deviceId = source === "api" ? (before?.pending?.deviceId ?? null) : null;
    say({ kind: "conflict.resolved", before: null, after, reason, rule, evidence: [{ loser, source, deviceId }] });
  }
  if (change === null && before?.subscribed === node.subscribed && before.roleSource === node.roleSource) return [];
  const { id, created, name, parentId, role, roleSource, subscribed } = node;
  return [{ id, created, name, parentId, role, roleSource, subscribed, lifecycle: "live", change }];
};

/** So many are never gone at once: the server is another one then, or has not all of it yet. */
const areMost = (lost: number, listed: number): boolean => lost >= 5 && lost * 2 > listed;

/**
 * Is it not single mailboxes that were replaced (D9), but nearly everything? `ids`: by which the server knows now what has the place
 * of each; none: it tells of nothing there.
 */
export const isRebuilt = (known: readonly MailboxView[], ids: ReadonlyMap<MailboxId, string | null>): boolean => {
  const listed = known.filter(({ upstream }) => upstream !== null);
  const others = listed.filter(({ id, upstream }) => {
    const objectId = upstream?.objectId ?? null;
    return objectId !== null && upstream?.path !== "INBOX" && (ids.get(id) ?? null) !== objectId;
  });
  return areMost(others.length, listed.length);
};

/** Why it is over, without any more listings that lack it; null: it takes those. */
const endOf = (view: MailboxView, replaced: readonly MailboxId[]): "own" | "replaced" | null => {
  if (isOwnRemoval(view)) return "own";
  return replaced.includes(view.id) ? "replaced" : null;
};

const isOwnRemoval = ({ pending }: MailboxView): boolean => pending?.fence?.step === "remove";

/** Missing for so long that it is gone if the server says so, too (D2). */
export const isOverdue = ({ upstream }: MailboxView, at: number): boolean =>
  upstream?.absentSince != null && at - upstream.absentSince >= absentForMs;

/**
 * D2: gone only after two complete listings 60 s apart lack it, and the server says so when it is asked; never INBOX; never when half of all is missing at once. What we
 * asked the server to remove is gone when it is not listed, and so is what another mailbox has replaced (D9).
 */
const absences = (input: SurveyInput, present: ReadonlySet<MailboxId>): { waiting: UpstreamWrite[]; gone: MailboxView[] } => {
  const listed = input.known.filter(({ upstream }) => upstream !== null);
  const missing = listed.filter((view) => !present.has(view.id) && view.upstream?.path !== "INBOX");
  if (!input.complete) return { waiting: [], gone: [] };
  const gone = missing.filter((view) => endOf(view, input.replaced) !== null);
  const lost = missing.filter((view) => endOf(view, input.replaced) === null);
  const replaced = gone.filter((view) => endOf(view, input.replaced) === "replaced");
  if (areMost(lost.length + replaced.length, listed.length)) return { waiting: [], gone };
  const waiting: UpstreamWrite[] = [];
  for (const view of lost) {
    const { id, upstream } = view;
    if (upstream === null) continue;
    const { path, objectId, showsAll = false, absentSince } = upstream;
    if (absentSince === null)
      waiting.push({ mailboxId: id, path, delimiter: null, selectable: false, objectId, showsAll, absentSince: input.at });
    else if (isOverdue(view, input.at) && !input.answering.includes(path)) gone.push(view);
  }
  return { waiting, gone };
};

/** The end of a mailbox, as the log and the store have it. */
export const removeMailbox = (view: MailboxView, change: number): MailboxWrite => {
  const { id, name, parentId, subscribed } = view;
  return { id, created: false, name, parentId, role: null, roleSource: null, subscribed, lifecycle: "removed", change };
};

const removal = ({ endpointId, replaced }: SurveyInput, view: MailboxView, changes: DecidedChange[]): MailboxWrite => {
  const end = endOf(view, replaced);
  const why =
    end === "own"
      ? { reason: "api_removed", rule: "D8", source: "api" as const, deviceId: view.pending?.deviceId ?? null }
      : { reason: "upstream_deleted", rule: end === null ? "D2" : "D9" };
  const before = describeMailbox(view);
  const change = mailboxChange(endpointId, view.id, { kind: "mailbox.removed", before, after: null, ...why });
  return removeMailbox(view, changes.push(change) - 1);
};

/** Where it is listed now, where that is news. */
const addressOf = ({ id, before, box, path, delimiter }: Node): UpstreamWrite[] => {
  const old = before?.upstream ?? null;
  const now = {
    path,
    delimiter,
    selectable: box?.selectable ?? false,
    // Another id is that of another mailbox, until what is in it says that it is the same (ID-8).
    objectId: old?.objectId ?? box?.objectId ?? null,
    showsAll: box?.showsAll ?? false,
    absentSince: null,
  };
  const isNews =
    old === null ||
    old.path !== now.path ||
    old.absentSince !== null ||
    old.selectable !== now.selectable ||
    (old.showsAll ?? false) !== now.showsAll ||
    old.objectId !== now.objectId;
  return isNews ? [{ mailboxId: id, ...now }] : [];
};

/** What a survey changes. A quiet survey answers with nothing at all. */
export const reconcileSurvey = (input: SurveyInput): MailboxDecision => {
  const { endpointId, known, at, freshIds } = input;
  const boxes = usable(input.surveyed);
  const own = findOwn(boxes, known);
  // A listing that was cut short may lack the place where it is now.
  const replaced = new Set(input.complete ? input.replaced : []);
  const moved = findRenames(boxes, known, { replaced, proven: new Set(input.proven) });
  const tree = new Tree({ known, own, moved, replaced, freshIds, at });
  for (const box of [...boxes.values()].toSorted(
    (a, b) => segmentsOf(a).length - segmentsOf(b).length || (a.path < b.path ? -1 : 1),
  ))
    tree.add(box);
  const listed = [...tree.nodes.values()];
  const present = new Set(listed.map(({ id }) => id));
  const { waiting, gone } = absences(input, present);
  for (const view of known) if (!present.has(view.id) && !gone.includes(view)) tree.addUnlisted(view);
  tree.untangle();
  tree.number();
  const nodes = [...tree.nodes.values()];
  assignRoles(nodes.map((bearer) => ({ bearer, path: bearer.path, box: bearer.box })));
  const changes: DecidedChange[] = [];
  const mailboxes = nodes.flatMap((node) => {
    const conflicts = tree.conflicts.filter((conflict) => conflict.node === node);
    return writeNode(endpointId, node, conflicts, changes);
  });
  for (const view of gone) mailboxes.push(removal(input, view, changes));
  const upstream = [...listed.flatMap(addressOf), ...waiting];
  return { changes, mailboxes, upstream, gone: gone.map(({ id }) => id) };
};
