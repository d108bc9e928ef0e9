/**
 * What is to be said to the server about one mailbox, drawn from the canonical tree and the shadow each time it is looked at
 * (semantics 1.6, D4–D8); never a list of what was asked for. Pure; the lane says it and comes back with the next survey.
 */
import type { OpenStatus } from "../model/command.ts";
import type { MailboxId } from "../model/ids.ts";
import type { MailboxFence, MailboxPlan } from "../model/mailbox-command.ts";
import { type Ending, end, mostTries, type Waiting, wait } from "./commands.ts";
import { foldCase, freeName, placeKey, segmentsOf } from "./mailbox-names.ts";
import type { MailboxView } from "./state.ts";

/** Another command goes first; its end wakes those that wait for it. */
const turnMs = 1000;

export interface MailboxCommandView {
  readonly mailboxId: MailboxId;
  readonly verb: "place" | "remove";
  readonly status: OpenStatus;
  readonly attempts: number;
  readonly fence: MailboxFence | null;
  readonly args: Pick<MailboxPlan, "moveTo">;
}

export interface MailboxWorld {
  /** Live, as they are now. */
  readonly known: readonly MailboxView[];
  /** What the path of a mailbox without a parent begins with. */
  readonly prefix: string;
  /** Live placements that the canonical mailbox holds. */
  readonly holds: number;
  /** Commands that still take something out of it, or write to what is in it. */
  readonly busy: boolean;
}

/** A mailbox that devices are shown, by its paths before and after. */
export interface ShownMove {
  readonly from: string | null;
  readonly to: string;
}

export type MailboxStep =
  | Ending
  | Waiting
  | { readonly kind: "create"; readonly path: string }
  | { readonly kind: "rename"; readonly from: string; readonly path: string; readonly uidValidity: number | null }
  | { readonly kind: "remove"; readonly path: string; readonly delimiter: string | null; readonly uidValidity: number | null }
  /** What came into it goes where the rest went. */
  | { readonly kind: "empty"; readonly to: MailboxId }
  /** It is where it shall be; devices are to be shown it there, and it is done. */
  | { readonly kind: "show"; readonly moves: readonly ShownMove[] }
  /** The name is another one's: this one's canonical name changes (D5). */
  | { readonly kind: "number"; readonly name: string }
  /** The server has this mailbox under a name that it takes for the same: that is its canonical name (D11). */
  | { readonly kind: "adopt"; readonly name: string }
  /** The server takes it for one that it has: it is that one, with all that is in it (D11). */
  | { readonly kind: "merge"; readonly into: MailboxView }
  /** Upstream never had it: it is gone with that. */
  | { readonly kind: "drop" };

const tried = (next: MailboxStep, { attempts }: MailboxCommandView, spent = "no_effect"): MailboxStep =>
  attempts >= mostTries ? end("failed", spent) : next;

/** Where it would lie, below a parent that is there; null: the server has no levels. */
const pathIn = (parent: MailboxView | null, { known, prefix }: MailboxWorld, name: string): string | null => {
  if (parent === null) return `${prefix}${name}`;
  const delimiter = parent.upstream?.delimiter ?? known.find((view) => view.upstream?.delimiter != null)?.upstream?.delimiter;
  return delimiter == null ? null : `${parent.upstream?.path}${delimiter}${name}`;
};

const delimiterOf = ({ known }: MailboxWorld): string | null =>
  known.find((view) => view.upstream?.delimiter != null)?.upstream?.delimiter ?? null;

/** Whoever waits for whom to make room; a circle of them is opened by the first of it. */
const roomStep = (view: MailboxView, holder: MailboxView, path: string, world: MailboxWorld): MailboxStep => {
  const circle: MailboxId[] = [view.id];
  for (let at: MailboxView | undefined = holder; at?.pending?.verb === "place" && !circle.includes(at.id);) {
    circle.push(at.id);
    const parent = world.known.find(({ id }) => id === at?.parentId) ?? null;
    const wanted = pathIn(parent, world, at.name);
    if (wanted === path || wanted === at.upstream?.path) break;
    if (wanted === view.upstream?.path && view.upstream !== null) {
      if (circle.some((id) => id < view.id)) return wait(turnMs, "name_in_use");
      const { uidValidity, path: from } = view.upstream;
      return { kind: "rename", from, path: `${from}~${view.id.slice(-8)}`, uidValidity };
    }
    at = world.known.find(({ upstream }) => upstream?.path === wanted);
  }
  return wait(turnMs, "name_in_use");
};

/** What lies below it, by canonical parents. */
const subtree = (view: MailboxView, known: readonly MailboxView[]): MailboxView[] => {
  const found = [view];
  for (const at of found)
    found.push(...known.filter(({ parentId, id }) => parentId === at.id && !found.some((one) => one.id === id)));
  return found;
};

/** Subscriptions do not follow a mailbox to its new name (RFC 9051 §6.3.6): what devices were shown they are shown again. */
const shownMoves = (view: MailboxView, fence: MailboxFence | null, known: readonly MailboxView[]): ShownMove[] =>
  subtree(view, known).flatMap(({ upstream, subscribed }) => {
    if (upstream === null || !subscribed) return [];
    const { path } = upstream;
    const from = fence?.from != null && path.startsWith(fence.path) ? `${fence.from}${path.slice(fence.path.length)}` : null;
    return [{ from, to: path }];
  });

const numbered = ({ id, name, parentId }: MailboxView, known: readonly MailboxView[]): MailboxStep => {
  const taken = new Set(known.filter((view) => view.id !== id).map((view) => foldCase(placeKey(view.parentId, view.name))));
  const others = freeName(name, (one) => one === name || taken.has(foldCase(placeKey(parentId, one))));
  return { kind: "number", name: others };
};

/**
 * D11: the server says that it has one of that name. It is the one that is listed in another case: a mailbox that is nowhere else
 * was never another one, and what is listed so already stays so. Two that are there stay two.
 */
const sameStep = (command: MailboxCommandView, view: MailboxView, path: string, { known }: MailboxWorld): MailboxStep => {
  const there = known.find(
    ({ upstream }) => upstream?.absentSince === null && upstream.selectable && foldCase(upstream.path) === foldCase(path),
  );
  if (there?.upstream == null) return numbered(view, known);
  if (there.id === view.id) return { kind: "adopt", name: segmentsOf(there.upstream).at(-1) ?? view.name };
  if (view.upstream !== null) return numbered(view, known);
  return there.pending === null ? { kind: "merge", into: there } : tried(wait(turnMs, "name_in_use"), command);
};

const placeStep = (command: MailboxCommandView, view: MailboxView, world: MailboxWorld): MailboxStep => {
  const { known } = world;
  const { status, fence } = command;
  const { upstream } = view;
  const parent = known.find(({ id }) => id === view.parentId) ?? null;
  if (parent !== null && parent.upstream === null)
    return parent.pending === null ? end("masked", "no_parent") : wait(turnMs, "no_mailbox");
  const delimiter = delimiterOf(world);
  if (delimiter !== null && view.name.includes(delimiter)) return end("masked", "name_has_delimiter");
  const path = pathIn(parent, world, view.name);
  if (path === null) return end("masked", "unsupported");
  if (upstream?.path === path) {
    if (status === "planned" && fence === null) return end("superseded", "already_so");
    return { kind: "show", moves: shownMoves(view, fence, known) };
  }
  const holder = known.find(
    (other) => other.id !== view.id && other.upstream?.path === path && other.upstream.absentSince === null,
  );
  if (holder !== undefined)
    return holder.pending === null ? numbered(view, known) : tried(roomStep(view, holder, path, world), command);
  if (fence?.exists === true && fence.path === path) return sameStep(command, view, path, world);
  if (upstream === null) return tried({ kind: "create", path }, command);
  return tried({ kind: "rename", from: upstream.path, path, uidValidity: upstream.uidValidity }, command);
};

/** Each time that something has come into it is a try: into a mailbox that is in use mail comes without end. */
const removeStep = (command: MailboxCommandView, view: MailboxView, { known, holds, busy }: MailboxWorld): MailboxStep => {
  const { upstream } = view;
  if (known.some(({ parentId }) => parentId === view.id)) return end("failed", "mailbox_has_children");
  const to = known.find(({ id }) => id === command.args.moveTo)?.id;
  if (holds > 0)
    return to === undefined ? end("failed", "mailbox_not_empty") : tried({ kind: "empty", to }, command, "mailbox_not_empty");
  if (upstream === null) return { kind: "drop" };
  if (busy) return wait(turnMs, "not_empty_yet");
  const { path, delimiter, uidValidity } = upstream;
  return tried({ kind: "remove", path, delimiter, uidValidity }, command);
};

/** What comes next for one mailbox. Whoever calls has surveyed the server since the last try. */
export const nextMailboxStep = (command: MailboxCommandView, world: MailboxWorld): MailboxStep => {
  const view = world.known.find(({ id }) => id === command.mailboxId);
  if (view === undefined)
    return command.fence?.step === "remove" ? end("confirmed", "api_write") : end("superseded", "mailbox_removed");
  return command.verb === "remove" ? removeStep(command, view, world) : placeStep(command, view, world);
};
