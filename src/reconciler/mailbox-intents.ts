/** What becomes of an intent about mailboxes (semantics 3.5, 3.7): canonical state first; what upstream is owed follows. */
import type { DecidedChange } from "../model/change.ts";
import type { MailboxId } from "../model/ids.ts";
import type { MailboxPlan } from "../model/mailbox-command.ts";
import type { MailboxOp, MailboxPatch, MailboxRejection, MailboxResult } from "../model/mailbox-intent.ts";
import { freeName, segmentsOf } from "./mailbox-names.ts";
import { describeMailbox, type MailboxDecision, type MailboxWrite, removeMailbox } from "./mailboxes.ts";
import type { MailboxView } from "./state.ts";

export interface MailboxIntentInput {
  readonly op: MailboxOp;
  readonly deviceId: string;
  /** The last change that its sender had seen. */
  readonly base: bigint;
  /** All live mailboxes, as they are at the endpoint that is written to. */
  readonly known: readonly MailboxView[];
  /** Is there an endpoint that mailboxes are written to? Where there is none the account has them for itself (K2). */
  readonly writable: boolean;
  /** Of the mailbox that is to be removed: its live placements, and their last change. */
  readonly contents: { readonly live: number; readonly changedSeq: bigint };
  readonly freshId: MailboxId;
}

export interface MailboxIntentDecision extends Pick<MailboxDecision, "changes" | "mailboxes"> {
  readonly result: MailboxResult;
  /** What the endpoint is to be told. */
  readonly plans: readonly MailboxPlan[];
  /** Where the live placements of the removed mailbox go; null: nowhere. */
  readonly moveTo: MailboxId | null;
}

interface Draft {
  readonly input: MailboxIntentInput;
  readonly changes: DecidedChange[];
  readonly mailboxes: MailboxWrite[];
}

const nothing = { changes: [], mailboxes: [], plans: [], moveTo: null } as const;

const rejected = (reason: MailboxRejection, mailboxId: MailboxId | null): MailboxIntentDecision => ({
  ...nothing,
  result: { status: "rejected", reason, mailboxId },
});

type Why = Pick<DecidedChange, "kind" | "before" | "after" | "reason" | "rule"> & Partial<DecidedChange>;

const say = ({ input, changes }: Draft, mailboxId: MailboxId, why: Why): number =>
  changes.push({
    messageId: null,
    placementId: null,
    source: "api",
    endpointId: null,
    deviceId: input.deviceId,
    confidence: null,
    evidence: [],
    mailboxId,
    ...why,
  }) - 1;

/** D12: RFC 9051 §5.1 gives INBOX its name and its place. */
const isInbox = ({ role, upstream, name, parentId }: MailboxView): boolean =>
  role === "inbox" || upstream?.path === "INBOX" || (parentId === null && name.toUpperCase() === "INBOX");

/** D6: would it lie below itself? */
const isCircle = (id: MailboxId, parentId: MailboxId | null, known: readonly MailboxView[]): boolean => {
  const parents = new Map(known.map((view) => [view.id, view.parentId]));
  const seen = new Set<MailboxId>();
  for (let at = parentId; at !== null && !seen.has(at); at = parents.get(at) ?? null) {
    if (at === id) return true;
    seen.add(at);
  }
  return false;
};

/** The delimiter of the server's levels cannot be in a name. */
const hasDelimiter = (name: string, known: readonly MailboxView[]): boolean =>
  known.some(({ upstream }) => upstream?.delimiter != null && upstream.delimiter !== "" && name.includes(upstream.delimiter));

type Named = { readonly ok: true; readonly name: string; readonly loser: string | null } | MailboxRejection;

/** D5: who has seen that the name is taken is told so; who could not know gets the next one. */
const nameFor = (
  { known, base, writable }: MailboxIntentInput,
  wanted: { readonly id: MailboxId; readonly name: string; readonly parentId: MailboxId | null },
): Named => {
  const { id, name, parentId } = wanted;
  if (writable && hasDelimiter(name, known)) return "name_has_delimiter";
  const beside = known.filter((view) => view.id !== id && view.parentId === parentId);
  if (parentId === null && name.toUpperCase() === "INBOX") return "mailbox_exists";
  const holder = beside.find((view) => view.name === name);
  if (holder === undefined) return { ok: true, name, loser: null };
  if (holder.changedSeq <= base) return "mailbox_exists";
  return { ok: true, name: freeName(name, (one) => beside.some((view) => view.name === one)), loser: name };
};

const logNumbered = (draft: Draft, id: MailboxId, loser: string | null): void => {
  if (loser === null) return;
  const evidence = [{ loser: { name: loser }, source: "api", deviceId: draft.input.deviceId }];
  say(draft, id, { kind: "conflict.resolved", before: null, after: null, reason: "name_taken", rule: "D5", evidence });
};

/** D10: what the owner says stands before what the server says; another mailbox that had the role has none then. */
const takeRole = (draft: Draft, id: MailboxId, role: MailboxPatch["role"]): void => {
  const holder = role == null ? undefined : draft.input.known.find((view) => view.id !== id && view.role === role);
  if (holder === undefined) return;
  const { name, parentId, subscribed } = holder;
  const after = { name, parentId, role: null };
  const why = { kind: "mailbox.renamed", before: describeMailbox(holder), after, reason: "role_taken", rule: "D10" } as const;
  const change = say(draft, holder.id, why);
  draft.mailboxes.push({ ...after, id: holder.id, created: false, roleSource: null, subscribed, lifecycle: "live", change });
};

/** Upstream is told of the mailbox, and of the parents that it does not have yet. */
const plansFor = ({ known, writable }: MailboxIntentInput, mailboxId: MailboxId, parentId: MailboxId | null): MailboxPlan[] => {
  if (!writable) return [];
  const plans: MailboxPlan[] = [{ mailboxId, verb: "place" }];
  const byId = new Map(known.map((view) => [view.id, view]));
  for (let at = byId.get(parentId ?? mailboxId); at !== undefined && at.id !== mailboxId && at.upstream === null;) {
    if (at.pending === null) plans.push({ mailboxId: at.id, verb: "place" });
    at = at.parentId === null ? undefined : byId.get(at.parentId);
  }
  return plans;
};

const create = (draft: Draft, op: Extract<MailboxOp, { op: "mailbox.create" }>): MailboxIntentDecision => {
  const { input, changes, mailboxes } = draft;
  const { known, freshId: id } = input;
  const { parentId = null, role = null } = op;
  if (role === "inbox") return rejected("inbox_fixed", null);
  if (parentId !== null && !known.some((view) => view.id === parentId)) return rejected("parent_not_found", null);
  const named = nameFor(input, { id, name: op.name, parentId });
  if (typeof named === "string") return rejected(named, null);
  const { name } = named;
  takeRole(draft, id, role);
  const after = { name, parentId, role };
  const change = say(draft, id, { kind: "mailbox.created", before: null, after, reason: "api_created", rule: "Q4" });
  const roleSource = role === null ? null : "api";
  mailboxes.push({ ...after, id, created: true, roleSource, subscribed: true, lifecycle: "live", change });
  logNumbered(draft, id, named.loser);
  const result = { status: "applied", reason: "created", mailboxId: id } as const;
  return { changes, mailboxes, result, plans: plansFor(input, id, parentId), moveTo: null };
};

/** P5: of two devices the one that comes later is followed; what it could not know of is told. */
const logOvertaken = ({ input, ...draft }: Draft, view: MailboxView, patch: MailboxPatch): void => {
  if (view.changedSeq <= input.base) return;
  const lost = {
    ...(patch.name !== undefined && patch.name !== view.name && { name: view.name }),
    ...(patch.parentId !== undefined && patch.parentId !== view.parentId && { parentId: view.parentId }),
    ...(patch.role !== undefined && patch.role !== view.role && { role: view.role }),
  };
  if (Object.keys(lost).length === 0) return;
  const evidence = [{ loser: lost, changedSeq: Number(view.changedSeq), base: Number(input.base) }];
  const why = {
    kind: "conflict.resolved",
    before: null,
    after: null,
    reason: "concurrent_rename",
    rule: "D4",
    evidence,
  } as const;
  say({ input, ...draft }, view.id, why);
};

/** Does the server have it under its name? */
const isNamedSo = ({ name, upstream }: MailboxView): boolean => upstream !== null && segmentsOf(upstream).at(-1) === name;

type Update = Extract<MailboxOp, { op: "mailbox.update" }>;

/** What it shall be, or why it cannot. */
const wantedOf = ({ known, ...input }: MailboxIntentInput, view: MailboxView, op: Update) => {
  const { name: asked = view.name, parentId = view.parentId, role = view.role } = op;
  const isMoved = asked !== view.name || parentId !== view.parentId;
  const isRecast = role !== view.role;
  if ((isInbox(view) && (isMoved || isRecast)) || (isRecast && role === "inbox")) return "inbox_fixed";
  if (parentId !== null && !known.some((one) => one.id === parentId)) return "parent_not_found";
  if (isCircle(view.id, parentId, known)) return "mailbox_cycle";
  const kept: Named = { ok: true, name: asked, loser: null };
  const named = isMoved ? nameFor({ known, ...input }, { id: view.id, name: asked, parentId }) : kept;
  if (typeof named === "string") return named;
  const { name, loser } = named;
  return { after: { name, parentId, role }, loser, isMoved, isRecast };
};

const update = (draft: Draft, op: Update): MailboxIntentDecision => {
  const { input, changes, mailboxes } = draft;
  const { mailboxId: id } = op;
  const view = input.known.find((one) => one.id === id);
  if (view === undefined) return rejected("not_found", id);
  const wanted = wantedOf(input, view, op);
  if (typeof wanted === "string") return rejected(wanted, id);
  const { after, loser, isMoved, isRecast } = wanted;
  const roleSource = op.role === undefined ? view.roleSource : "api";
  let change: number | null = null;
  if (isMoved || isRecast) {
    if (isRecast) takeRole(draft, id, after.role);
    const why = { kind: "mailbox.renamed", before: describeMailbox(view), after, reason: "api_renamed", rule: "D4" } as const;
    change = say(draft, id, why);
    logOvertaken(draft, view, op);
    logNumbered(draft, id, loser);
  }
  const { subscribed } = view;
  if (change !== null || roleSource !== view.roleSource)
    mailboxes.push({ ...after, id, created: false, roleSource, subscribed, lifecycle: "live", change });
  const result = { status: "applied", reason: change === null ? "unchanged" : "updated", mailboxId: id } as const;
  // Whoever changes a mailbox that is to be removed wants it to stay; whoever repeats what the server refused wants it tried again.
  const again = op.name !== undefined && view.pending === null && !isNamedSo(view);
  const plans = isMoved || again || view.pending?.verb === "remove" ? plansFor(input, id, after.parentId) : [];
  return { changes, mailboxes, result, plans, moveTo: null };
};

const remove = (draft: Draft, op: Extract<MailboxOp, { op: "mailbox.remove" }>): MailboxIntentDecision => {
  const { input, changes, mailboxes } = draft;
  const { known, base, contents, writable } = input;
  const { mailboxId: id, moveMessagesTo: moveTo } = op;
  const view = known.find((one) => one.id === id);
  if (view === undefined) return rejected("not_found", id);
  if (isInbox(view)) return rejected("inbox_fixed", id);
  // Q3: who removes has to know what.
  if (view.changedSeq > base || contents.changedSeq > base) return rejected("state_mismatch", id);
  if (moveTo !== null && (moveTo === id || !known.some((one) => one.id === moveTo))) return rejected("target_not_found", id);
  if (known.some((one) => one.parentId === id)) return rejected("mailbox_has_children", id);
  if (contents.live > 0 && moveTo === null) return rejected("mailbox_not_empty", id);
  if (writable && (view.upstream !== null || view.pending?.fence != null)) {
    const result = { status: "pending", reason: "awaits_upstream", mailboxId: id } as const;
    return { changes, mailboxes, result, plans: [{ mailboxId: id, verb: "remove", ...(moveTo !== null && { moveTo }) }], moveTo };
  }
  const before = describeMailbox(view);
  const change = say(draft, id, { kind: "mailbox.removed", before, after: null, reason: "api_removed", rule: "D8" });
  mailboxes.push(removeMailbox(view, change));
  return { changes, mailboxes, result: { status: "applied", reason: "removed", mailboxId: id }, plans: [], moveTo };
};

export const reconcileMailboxIntent = (input: MailboxIntentInput): MailboxIntentDecision => {
  const draft: Draft = { input, changes: [], mailboxes: [] };
  const { op } = input;
  if (op.op === "mailbox.create") return create(draft, op);
  return op.op === "mailbox.update" ? update(draft, op) : remove(draft, op);
};
