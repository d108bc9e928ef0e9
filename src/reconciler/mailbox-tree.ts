/** The wanted tree of a survey, built top down: each listed mailbox with its name and its parent (semantics D4, D5). */
import type { MailboxId } from "../model/ids.ts";
import type { Role, RoleSource } from "../model/mail.ts";
import type { SurveyedMailbox } from "../model/survey.ts";
import { holdersOf } from "./mailbox-claims.ts";
import { cleanName, foldCase, freeName, mergeField, placeKey, segmentsOf } from "./mailbox-names.ts";
import type { MailboxView } from "./state.ts";

export interface Node {
  readonly id: MailboxId;
  name: string;
  parentId: MailboxId | null;
  /** Where the server has it. */
  readonly listedParentId: MailboxId | null;
  role: Role | null;
  roleSource: RoleSource | null;
  readonly subscribed: boolean;
  readonly created: boolean;
  readonly before: MailboxView | null;
  /** Null: a parent that nobody lists, or a mailbox that is not in the listing. */
  readonly box: SurveyedMailbox | null;
  readonly path: string;
  readonly delimiter: string | null;
}

/** Two wanted different things; one of them did not count. */
export interface Conflict {
  readonly rule: "D4" | "D5" | "D6" | "D11";
  readonly node: Node;
  /** What did not count, and whose it was. */
  readonly loser: Readonly<Record<string, unknown>>;
  readonly source: "api" | "imap";
}

export interface TreeInput {
  readonly known: readonly MailboxView[];
  /** Known mailboxes whose path is another one than before. */
  readonly moved: ReadonlyMap<string, MailboxView>;
  /** Those that have another mailbox in their place. */
  readonly replaced: ReadonlySet<MailboxId>;
  /** Those of them, and new ones, that commands of ours explain. */
  readonly own: ReadonlyMap<string, MailboxView>;
  readonly freshIds: readonly string[];
  readonly at: number;
}

interface Place {
  readonly name: string;
  readonly parentId: MailboxId | null;
}

interface MergedPlace extends Place {
  readonly lost: readonly (Pick<Conflict, "loser" | "source"> & Partial<Pick<Conflict, "rule">>)[];
}

export class Tree {
  readonly nodes = new Map<string, Node>();
  readonly conflicts: Conflict[] = [];
  readonly #input: TreeInput;
  readonly #freshIds: string[];
  readonly #byPath: ReadonlyMap<string, MailboxView>;
  readonly #byId: ReadonlyMap<MailboxId, MailboxView>;
  /** They are not where they were: where a command of ours or somebody else put them stands before that. */
  readonly #awayIds: ReadonlySet<MailboxId>;
  readonly #used = new Set<MailboxId>();

  constructor(input: TreeInput) {
    const { known } = input;
    this.#input = input;
    this.#freshIds = [...input.freshIds];
    this.#byPath = holdersOf(known);
    this.#awayIds = new Set([...[...input.own.values(), ...input.moved.values()].map(({ id }) => id), ...input.replaced]);
    this.#byId = new Map(known.map((view) => [view.id, view]));
  }

  add(box: SurveyedMailbox): void {
    this.#place(segmentsOf(box), box.delimiter, box.path, box);
  }

  /** A mailbox that is not listed, and holds its name and its role all the same. */
  addUnlisted(before: MailboxView): void {
    const { id, name, parentId, role, roleSource, subscribed } = before;
    const path = `\u0000${id}`;
    const kept = { id, name, parentId, role, roleSource, subscribed };
    this.nodes.set(path, { ...kept, listedParentId: parentId, created: false, before, box: null, path, delimiter: null });
  }

  /**
   * D6: what an app put into a mailbox that a device has meanwhile put into it stays where the server has it: there is no circle
   * there, so that each circle has one in it that is elsewhere.
   */
  untangle(): void {
    for (const node of this.nodes.values()) {
      const { parentId, listedParentId } = node;
      if (parentId === listedParentId || !this.#isCircle(node)) continue;
      node.parentId = listedParentId;
      this.conflicts.push({ rule: "D6", node, loser: { parentId }, source: "api" });
    }
  }

  /** D5: of those that want one place the one that stands there upstream keeps it; the others are numbered. */
  number(): void {
    const groups = new Map<string, Node[]>();
    for (const node of this.nodes.values()) {
      const key = placeKey(node.parentId, node.name);
      groups.set(key, [...(groups.get(key) ?? []), node]);
    }
    const taken = new Set(groups.keys());
    for (const group of groups.values()) {
      if (group.length === 1) continue;
      const [, ...losers] = group.toSorted(
        (a, b) => this.#claim(a) - this.#claim(b) || Number(a.created) - Number(b.created) || (a.id < b.id ? -1 : 1),
      );
      for (const node of losers) {
        const { name } = node;
        node.name = freeName(name, (tried) => taken.has(placeKey(node.parentId, tried)));
        taken.add(placeKey(node.parentId, node.name));
        if (!node.created) this.conflicts.push({ rule: "D5", node, loser: { name }, source: "api" });
      }
    }
  }

  /** 0: its name is what the server calls it; 1: it is listed; 2: the account has it for itself. */
  #claim({ box, name, path, delimiter }: Node): number {
    if (box === null) return 2;
    return cleanName(segmentsOf({ path, delimiter }).at(-1) ?? path) === name ? 0 : 1;
  }

  #place(parts: readonly string[], delimiter: string | null, path: string, box: SurveyedMailbox | null): Node {
    const existing = this.nodes.get(path);
    if (existing !== undefined) return existing;
    const above = parts.slice(0, -1);
    const parent = above.length === 0 ? null : this.#place(above, delimiter, above.join(delimiter ?? ""), null);
    const name = cleanName(parts.at(-1) ?? path);
    const observed = { name, parentId: parent?.id ?? null };
    const before = this.#find(path, observed);
    const place: MergedPlace = before === null ? { ...observed, lost: [] } : this.#merge(before, observed, path, delimiter);
    const node: Node = {
      id: before?.id ?? (this.#freshIds.pop() as MailboxId),
      name: place.name,
      parentId: place.parentId,
      listedParentId: observed.parentId,
      role: before?.role ?? null,
      roleSource: before?.roleSource ?? null,
      subscribed: this.#isShown(before, box),
      created: before === null,
      before,
      box,
      path,
      delimiter,
    };
    this.#used.add(node.id);
    for (const lost of place.lost) this.conflicts.push({ rule: "D4", node, ...lost });
    this.nodes.set(path, node);
    return node;
  }

  /** Known by its path, moved there, or canonical and of that name (D11). */
  #find(path: string, { name, parentId }: Place): MailboxView | null {
    const { own, moved, known } = this.#input;
    const there = this.#byPath.get(path);
    const stayed = there !== undefined && this.#awayIds.has(there.id) ? undefined : there;
    const found = own.get(path) ?? moved.get(path) ?? stayed;
    if (found !== undefined) return this.#used.has(found.id) ? null : found;
    const isSame = (view: MailboxView): boolean =>
      view.upstream === null && view.name === name && view.parentId === parentId && !this.#used.has(view.id);
    return known.find(isSame) ?? null;
  }

  /** Three legs: where the shadow has it, where it is listed, where the canonical tree wants it. */
  #merge(before: MailboxView, observed: Place, path: string, delimiter: string | null): MergedPlace {
    const { name, parentId, upstream, pending } = before;
    // The server has it under a name that it takes for the same (D11).
    const isOther = upstream === null && pending?.fence?.exists === true && pending.fence.path !== path;
    if (isOther && name !== observed.name && foldCase(name) === foldCase(observed.name))
      return { name: observed.name, parentId, lost: [{ rule: "D11", loser: { name }, source: "api" }] };
    if (upstream === null || this.#input.own.get(path) === before) return { name, parentId, lost: [] };
    const old = segmentsOf({ path: upstream.path, delimiter });
    const oldParent = old.length > 1 ? (this.#byPath.get(old.slice(0, -1).join(delimiter ?? ""))?.id ?? null) : null;
    const isWanted = pending?.verb === "place";
    const isLater = isWanted && pending.at > this.#input.at;
    const canonical = { name, parentId };
    const shadow = { name: cleanName(old.at(-1) ?? path), parentId: oldParent };
    const names = mergeField({ shadow: shadow.name, observed: observed.name, canonical: name }, isLater);
    const parents = mergeField({ shadow: shadow.parentId, observed: observed.parentId, canonical: parentId }, isLater);
    const place = { name: names.value, parentId: parents.value };
    if (!isWanted) return { ...place, lost: [] };
    const lost = [
      ...(names.lost === null ? [] : [{ field: "name" as const, lost: names.lost }]),
      ...(parents.lost === null ? [] : [{ field: "parentId" as const, lost: parents.lost }]),
    ].map(({ field, lost: loser }) => ({
      loser: { [field]: (loser === "canonical" ? canonical : observed)[field] },
      source: loser === "canonical" ? ("api" as const) : ("imap" as const),
    }));
    return { ...place, lost };
  }

  /** Does it lie below itself? */
  #isCircle({ id, parentId }: Node): boolean {
    const placed = new Map([...this.nodes.values()].map((node) => [node.id, node.parentId]));
    const above = new Set<MailboxId>();
    for (let at = parentId; at !== null && !above.has(at); at = placed.get(at) ?? null) above.add(at);
    return above.has(id);
  }

  /** What is being moved is shown to devices again when that is done. */
  #isShown(before: MailboxView | null, box: SurveyedMailbox | null): boolean {
    if (before !== null && this.#isPending(before)) return before.subscribed;
    return box?.subscribed ?? before?.subscribed ?? true;
  }

  #isPending(view: MailboxView): boolean {
    const seen = new Set<MailboxId>();
    for (let at: MailboxView | undefined = view; at !== undefined && !seen.has(at.id);) {
      if (at.pending !== null) return true;
      seen.add(at.id);
      at = at.parentId === null ? undefined : this.#byId.get(at.parentId);
    }
    return false;
  }
}
