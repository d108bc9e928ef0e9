/** The mailbox tree: what a complete survey means for canonical mailboxes (semantics D1, D2, D5, D10–D12). */
import type { DecidedChange } from "../model/change.ts";
import type { EndpointId, MailboxId } from "../model/ids.ts";
import type { Role, RoleSource } from "../model/mail.ts";
import type { SurveyedMailbox } from "../model/survey.ts";
import type { MailboxView } from "./state.ts";

export interface SurveyInput {
  readonly endpointId: EndpointId;
  readonly complete: boolean;
  readonly surveyed: readonly SurveyedMailbox[];
  readonly known: readonly MailboxView[];
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

export interface UpstreamWrite {
  readonly mailboxId: MailboxId;
  readonly path: string;
  readonly delimiter: string | null;
  readonly selectable: boolean;
  readonly objectId: string | null;
  readonly absentSince: number | null;
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

interface Node {
  id: MailboxId;
  name: string;
  parentId: MailboxId | null;
  role: Role | null;
  roleSource: RoleSource | null;
  subscribed: boolean;
  created: boolean;
  before: MailboxView | null;
  /** No listing shows it, or not for now. */
  unlisted?: true;
}

const segments = (box: SurveyedMailbox): string[] =>
  box.delimiter === null ? [box.path] : box.path.split(box.delimiter).filter((part, index) => part !== "" || index === 0);

/** Surveyed mailboxes by path, without duplicates and absurd names; a duplicate keeps the line that can be selected. */
const usable = (surveyed: readonly SurveyedMailbox[]): Map<string, SurveyedMailbox> => {
  const byPath = new Map<string, SurveyedMailbox>();
  for (const box of surveyed) {
    if (box.path === "" || box.path.length > longestPath) continue;
    const path = box.path.toUpperCase() === "INBOX" ? "INBOX" : box.path;
    if (byPath.get(path)?.selectable !== true) byPath.set(path, { ...box, path });
  }
  return byPath;
};

/** D1: known mailboxes that a listed path continues, although the path is new: same object id, or same epoch and no other claim. */
const findRenames = (boxes: ReadonlyMap<string, SurveyedMailbox>, known: readonly MailboxView[]): Map<string, MailboxView> => {
  const lost = known.filter((view) => view.upstream !== null && !boxes.has(view.upstream.path));
  const knownPaths = new Set(known.flatMap((view) => view.upstream?.path ?? []));
  const fresh = [...boxes.values()].filter((box) => !knownPaths.has(box.path));
  const claims = new Map<number, number>();
  for (const box of boxes.values())
    if (box.status !== null) claims.set(box.status.uidValidity, (claims.get(box.status.uidValidity) ?? 0) + 1);
  const renames = new Map<string, MailboxView>();
  const used = new Set<MailboxId>();
  for (const box of fresh) {
    const match = lost.find((view) => {
      if (view.upstream === null || used.has(view.id)) return false;
      if (box.objectId !== null || view.upstream.objectId !== null) return box.objectId === view.upstream.objectId;
      const { uidValidity, uidNext } = view.upstream;
      if (box.status === null || uidValidity === null || uidNext === null) return false;
      // An empty mailbox carries nothing worth following, and a shared UIDVALIDITY proves nothing.
      return (
        uidNext > 1 && box.status.uidValidity === uidValidity && box.status.uidNext >= uidNext && claims.get(uidValidity) === 1
      );
    });
    if (match === undefined) continue;
    used.add(match.id);
    renames.set(box.path, match);
  }
  return renames;
};

const cleanName = (name: string): string => name.replaceAll("\u0000", "").slice(0, 255) || "unnamed";

/** Builds the wanted tree top down; a parent that nobody listed becomes a container. */
class Tree {
  readonly nodes = new Map<string, Node>();
  private readonly known: readonly MailboxView[];
  private readonly freshIds: string[];

  constructor(known: readonly MailboxView[], freshIds: readonly string[]) {
    this.known = known;
    this.freshIds = [...freshIds];
  }

  /** The canonical mailbox for `path`, made when needed. */
  place(parts: readonly string[], delimiter: string, match: MailboxView | null, box: SurveyedMailbox | null): Node {
    const path = parts.join(delimiter);
    const existing = this.nodes.get(path);
    if (existing !== undefined) return existing;
    const parent =
      parts.length > 1 ? this.place(parts.slice(0, -1), delimiter, this.at(parts.slice(0, -1).join(delimiter)), null) : null;
    const name = cleanName(parts.at(-1) ?? path);
    const parentId = parent?.id ?? null;
    const before =
      match ?? this.known.find((view) => view.upstream === null && view.name === name && view.parentId === parentId) ?? null;
    const node: Node = {
      id: before?.id ?? (this.freshIds.pop() as MailboxId),
      name: this.freeName(name, parentId, before?.id ?? null),
      parentId,
      role: before?.role ?? null,
      roleSource: before?.roleSource ?? null,
      subscribed: box?.subscribed ?? before?.subscribed ?? true,
      created: before === null,
      before,
    };
    this.nodes.set(path, node);
    return node;
  }

  private at(path: string): MailboxView | null {
    return this.known.find((view) => view.upstream?.path === path) ?? null;
  }

  /** D5: the one that stands keeps its name; the other gets " (2)", " (3)" … */
  private freeName(name: string, parentId: MailboxId | null, self: MailboxId | null): string {
    const taken = new Set<string>();
    for (const node of this.nodes.values()) if (node.parentId === parentId && node.id !== self) taken.add(node.name);
    if (!taken.has(name)) return name;
    for (let n = 2; ; n += 1) if (!taken.has(`${name} (${n})`)) return `${name} (${n})`;
  }
}

const strength: Record<RoleSource, number> = { api: 0, special_use: 1, xlist: 2, name: 3 };

/** D10: at most one mailbox per role; strongest claim first, then the one that has it, then the first path. */
const assignRoles = (boxes: ReadonlyMap<string, SurveyedMailbox>, nodes: ReadonlyMap<string, Node>): void => {
  const claims: { role: Role; source: RoleSource; holder: boolean; path: string; node: Node }[] = [];
  for (const [path, node] of nodes) {
    const box = boxes.get(path);
    const before = node.before;
    if (before?.roleSource === "api" && before.role !== null)
      claims.push({ role: before.role, source: "api", holder: true, path, node });
    else if (box?.role != null && box.roleSource !== null)
      claims.push({ role: box.role, source: box.roleSource, holder: before?.role === box.role, path, node });
    // What is not listed gives way to a stronger claim only: it may be back at the next look.
    else if (node.unlisted === true && before?.role != null && before.roleSource !== null)
      claims.push({ role: before.role, source: before.roleSource, holder: true, path, node });
    node.role = null;
    node.roleSource = null;
  }
  claims.sort(
    (a, b) => strength[a.source] - strength[b.source] || Number(b.holder) - Number(a.holder) || (a.path < b.path ? -1 : 1),
  );
  const given = new Set<Role>();
  for (const claim of claims) {
    if (given.has(claim.role) || claim.node.role !== null) continue;
    given.add(claim.role);
    claim.node.role = claim.role;
    claim.node.roleSource = claim.source;
  }
};

const describe = (node: { name: string; parentId: string | null; role: string | null }) => ({
  name: node.name,
  parentId: node.parentId,
  role: node.role,
});

const mailboxChange = (
  endpointId: EndpointId,
  mailboxId: MailboxId,
  rest: Pick<DecidedChange, "kind" | "before" | "after" | "reason" | "rule">,
): DecidedChange => ({
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

const writeNode = (endpointId: EndpointId, node: Node, changes: DecidedChange[]): MailboxWrite | null => {
  const { before } = node;
  const after = describe(node);
  let change: number | null = null;
  if (before === null)
    change =
      changes.push(
        mailboxChange(endpointId, node.id, {
          kind: "mailbox.created",
          before: null,
          after,
          reason: "upstream_created",
          rule: "D1",
        }),
      ) - 1;
  else if (before.name !== node.name || before.parentId !== node.parentId || before.role !== node.role)
    change =
      changes.push(
        mailboxChange(endpointId, node.id, {
          kind: "mailbox.renamed",
          before: describe(before),
          after,
          reason: "upstream_renamed",
          rule: "D1",
        }),
      ) - 1;
  else if (before.subscribed === node.subscribed && before.roleSource === node.roleSource) return null;
  const { id, created, name, parentId, role, roleSource, subscribed } = node;
  return { id, created, name, parentId, role, roleSource, subscribed, lifecycle: "live", change };
};

/** D2: gone only after two complete listings 60 s apart lack it; never INBOX; never when half of all is missing at once. */
const absences = (input: SurveyInput, present: ReadonlySet<MailboxId>): { waiting: UpstreamWrite[]; gone: MailboxView[] } => {
  const missing = input.known.filter((view) => view.upstream !== null && !present.has(view.id) && view.upstream.path !== "INBOX");
  const total = input.known.filter((view) => view.upstream !== null).length;
  if (!input.complete || (missing.length >= 5 && missing.length * 2 > total)) return { waiting: [], gone: [] };
  const waiting: UpstreamWrite[] = [];
  const gone: MailboxView[] = [];
  for (const view of missing) {
    if (view.upstream === null) continue;
    if (view.upstream.absentSince !== null && input.at - view.upstream.absentSince >= absentForMs) gone.push(view);
    else if (view.upstream.absentSince === null)
      waiting.push({
        mailboxId: view.id,
        path: view.upstream.path,
        delimiter: null,
        selectable: false,
        objectId: view.upstream.objectId,
        absentSince: input.at,
      });
  }
  return { waiting, gone };
};

const removal = (endpointId: SurveyInput["endpointId"], view: MailboxView, changes: DecidedChange[]): MailboxWrite => {
  const change =
    changes.push(
      mailboxChange(endpointId, view.id, {
        kind: "mailbox.removed",
        before: describe(view),
        after: null,
        reason: "upstream_deleted",
        rule: "D2",
      }),
    ) - 1;
  const { id, name, parentId, subscribed } = view;
  return { id, created: false, name, parentId, role: null, roleSource: null, subscribed, lifecycle: "removed", change };
};

/** What a survey changes. A quiet survey answers with nothing at all. */
export const reconcileSurvey = (input: SurveyInput): MailboxDecision => {
  const boxes = usable(input.surveyed);
  const renames = findRenames(boxes, input.known);
  const byPath = new Map(input.known.flatMap((view) => (view.upstream === null ? [] : [[view.upstream.path, view] as const])));
  const tree = new Tree(input.known, input.freshIds);
  const ordered = [...boxes.values()].toSorted((a, b) => segments(a).length - segments(b).length || (a.path < b.path ? -1 : 1));
  const upstream: UpstreamWrite[] = [];
  const present = new Set<MailboxId>();
  for (const box of ordered) {
    const match = byPath.get(box.path) ?? renames.get(box.path) ?? null;
    const node = tree.place(segments(box), box.delimiter ?? "\u0000", match, box);
    if (present.has(node.id)) continue;
    present.add(node.id);
    const old = node.before?.upstream ?? null;
    if (
      old === null ||
      old.path !== box.path ||
      old.absentSince !== null ||
      (box.objectId !== null && old.objectId !== box.objectId)
    )
      upstream.push({
        mailboxId: node.id,
        path: box.path,
        delimiter: box.delimiter,
        selectable: box.selectable,
        objectId: box.objectId,
        absentSince: null,
      });
  }
  for (const node of tree.nodes.values()) present.add(node.id);
  const { waiting, gone } = absences(input, present);
  for (const before of input.known)
    if (!present.has(before.id) && !gone.includes(before))
      tree.nodes.set(`\u0000${before.id}`, { ...before, created: false, before, unlisted: true });
  assignRoles(boxes, tree.nodes);
  const changes: DecidedChange[] = [];
  const mailboxes: MailboxWrite[] = [];
  for (const node of tree.nodes.values()) {
    const write = writeNode(input.endpointId, node, changes);
    if (write !== null) mailboxes.push(write);
  }
  for (const view of gone) mailboxes.push(removal(input.endpointId, view, changes));
  return { changes, mailboxes, upstream: [...upstream, ...waiting], gone: gone.map((view) => view.id) };
};
