/** What becomes of an intent (semantics 3.7). Canonical state first: what upstream is owed follows from it. */
import type { MailboxId } from "../model/ids.ts";
import type { DeleteOp, IntentResult, PatchOp, PurgeOp, RestoreOp, UndoOp } from "../model/intent.ts";
import { namedSource } from "./dots.ts";
import { keywordFault, mergeSaid } from "./intent-keywords.ts";
import { copy, drainWarning, homeOf, type Outcome, relocate } from "./intent-location.ts";
import {
  historyOf,
  type Intent,
  type IntentDraft,
  type IntentPlacement,
  type IntentSlice,
  drafted,
  isLive,
  knowsAll,
  mailboxOfRole,
  noteChange,
  result,
  roleIn,
  writePlacement,
} from "./intent-slice.ts";
import { sameKeywords } from "./keywords.ts";
import { placeBefore, placeFor, rankOf, rankOfMove } from "./location.ts";
import { inverseOf } from "./undo.ts";

/** The placements that a message's keywords are set on (Q5); of a message that is gone those that can come back (F8). */
const keyworded = (placements: readonly IntentPlacement[]): readonly IntentPlacement[] => {
  const live = placements.filter(isLive);
  return live.length > 0 ? live : placements;
};

/** Keywords of one placement: one outcome for each register that the patch speaks of. */
const patchPlacement = (
  draft: IntentDraft,
  intent: Intent,
  { placement, patch }: { readonly placement: IntentPlacement; readonly patch: PatchOp["keywords"] },
  slice: IntentSlice,
): Outcome[] => {
  const speaker = { deviceId: intent.deviceId, base: intent.base, seq: slice.head + 1n };
  const { keywords, lost, said, outvoted } = mergeSaid(placement.keywords, patch, speaker, historyOf(slice, placement));
  const changed = !sameKeywords(keywords, placement.keywords);
  if (changed) {
    const before = { keywords: placement.keywords };
    const note = { kind: "message.keywords", before, after: { keywords }, reason: "api_keywords", rule: "F2" } as const;
    writePlacement(draft, placement, { keywords, change: noteChange(draft, intent, placement, note) });
  }
  for (const { keyword, loser, source, growOnly } of lost)
    noteChange(draft, intent, placement, {
      kind: "conflict.resolved",
      before: null,
      after: { keywords },
      reason: growOnly ? "grow_only" : "concurrent_keywords",
      rule: "F4",
      evidence: [{ keyword, loser, ...namedSource(source) }],
    });
  return Array.from({ length: said }, (_, index) => (index < outvoted ? "outranked" : changed ? "changed" : "unchanged"));
};

interface Moves {
  readonly sources: readonly IntentPlacement[];
  /** Parallel to the sources; null: it is to go. */
  readonly targets: readonly (MailboxId | null)[];
  readonly copies: readonly MailboxId[];
}

/** Which placements a patch of mailboxes means: those that were there when its sender looked. */
const movesOf = ({ deviceId }: Intent, patch: PatchOp["mailboxIds"], slice: IntentSlice): Moves => {
  const { placements } = slice;
  const named = Object.entries(patch) as [MailboxId, boolean][];
  const left = named.flatMap(([id, wanted]) => (wanted ? [] : [id]));
  const sources = left.map((mailboxId) => {
    const views = [
      placements.filter((one) => placeFor(deviceId, historyOf(slice, one), one) === mailboxId),
      placements.filter((one) => placeBefore(historyOf(slice, one), one) === mailboxId),
      placements.filter((one) => isLive(one) && one.mailboxId === mailboxId),
    ];
    return views.find((found) => found.length > 0) ?? [];
  });
  const taken = new Set(sources.flat());
  const isThere = (id: MailboxId): boolean => placements.some((one) => isLive(one) && one.mailboxId === id && !taken.has(one));
  const wanted = named.flatMap(([id, is]) => (is && !isThere(id) ? [id] : []));
  const groups = sources.filter((group) => group.length > 0);
  const targets = groups.flatMap((group, index) => group.map(() => wanted[Math.min(index, wanted.length - 1)] ?? null));
  return { sources: groups.flat(), targets, copies: wanted.slice(groups.length) };
};

/** Why the mailboxes cannot be patched so; null: they can. */
const faultOf = (patch: PatchOp["mailboxIds"], { sources, targets }: Moves, slice: IntentSlice): string | null => {
  const unknown = Object.entries(patch).some(([id, wanted]) => wanted && !slice.mailboxes.has(id as MailboxId));
  if (unknown) return "mailbox_not_found";
  const stays = slice.placements.some((one) => isLive(one) && !sources.includes(one));
  return targets.includes(null) && !stays ? "no_mailbox_left" : null;
};

const moveAll = (draft: IntentDraft, intent: Intent, { sources, targets, copies }: Moves, slice: IntentSlice): Outcome[] => {
  const role = roleIn(slice);
  const outcomes = sources.map((source, index) => {
    const placement = drafted(draft, source);
    const mailboxId = targets[index] ?? null;
    const from = placeFor(intent.deviceId, historyOf(slice, source), source);
    const rank = mailboxId === null ? rankOf.removal : rankOfMove(role(from), role(mailboxId));
    return relocate(draft, intent, { placement, mailboxId, rank, reason: mailboxId === null ? "api_remove" : "api_move" }, slice);
  });
  const [template] = keyworded(slice.placements);
  for (const [index, mailboxId] of copies.entries()) {
    if (template === undefined) break;
    copy(draft, intent, { placement: drafted(draft, template), mailboxId, id: slice.freshIds[index] as string });
  }
  return [...outcomes, ...copies.map(() => "changed" as const)];
};

/** Of several outcomes: it is superseded when nothing that was wanted stands. */
const sumUp = (intent: Intent, outcomes: readonly Outcome[], lost: string, warnings: readonly string[] = []): IntentResult => {
  const { messageId } = intent.op;
  if (outcomes.length > 0 && outcomes.every((outcome) => outcome === "outranked")) return result("superseded", lost, messageId);
  return result("applied", outcomes.includes("changed") ? "updated" : "unchanged", messageId, warnings);
};

const patch = (draft: IntentDraft, intent: Intent, op: PatchOp, slice: IntentSlice): IntentResult => {
  const set = Object.entries(op.keywords).flatMap(([keyword, is]) => (is ? [keyword] : []));
  const unfit = keywordFault(Object.keys(op.keywords), set);
  if (unfit !== null) return result("rejected", unfit, op.messageId);
  const moves = movesOf(intent, op.mailboxIds, slice);
  const fault = faultOf(op.mailboxIds, moves, slice);
  if (fault !== null) return result("rejected", fault, op.messageId);
  // Keywords first: what moves or is copied takes them along.
  const said = keyworded(slice.placements).flatMap((placement) =>
    patchPlacement(draft, intent, { placement, patch: op.keywords }, slice),
  );
  const moved = moveAll(draft, intent, moves, slice);
  const warnings = moves.sources.flatMap((source, index) => {
    const mailboxId = moves.targets[index] ?? null;
    return mailboxId === null || moved[index] !== "changed" ? [] : drainWarning(slice, source, mailboxId);
  });
  const lost = moved.length > 0 ? "concurrent_location" : "concurrent_keywords";
  return sumUp(intent, [...said, ...moved], lost, [...new Set(warnings)]);
};

/** To Trash: what is live, and what was when its sender looked (3.3: agreement on removal). */
const trash = (draft: IntentDraft, intent: Intent, _: DeleteOp, slice: IntentSlice): IntentResult => {
  const { messageId } = intent.op;
  const mailboxId = mailboxOfRole(slice, "trash");
  if (mailboxId === null) return result("rejected", "mailbox_not_found", messageId);
  const meant = slice.placements.filter((one) => isLive(one) || placeFor(intent.deviceId, historyOf(slice, one), one) !== null);
  if (meant.length === 0) return result("applied", "unchanged", messageId);
  const outcomes = meant.map((placement) =>
    relocate(draft, intent, { placement, mailboxId, rank: rankOf.trash, reason: "api_trash" }, slice),
  );
  return sumUp(intent, outcomes, "concurrent_location");
};

/** It lost its number with an epoch, and may be found by its octets only (ID-8). */
const isSought = ({ binding }: IntentPlacement, { renumbered }: IntentSlice): boolean =>
  binding?.closedReason === "epoch" && renumbered.has(binding.mailboxId);

/** For good. The octets go with the last placement (I2). */
const purge = (draft: IntentDraft, intent: Intent, _: PurgeOp, slice: IntentSlice): IntentResult => {
  const { messageId } = intent.op;
  if (!knowsAll(intent, slice)) return result("rejected", "state_mismatch", messageId);
  if (slice.placements.some(({ mailboxId }) => slice.held.has(mailboxId))) return result("rejected", "mailbox_held", messageId);
  if (slice.placements.some((one) => isSought(one, slice))) return result("rejected", "mailbox_renumbered", messageId);
  // Nobody could tell what was destroyed.
  if (slice.placements.some(({ durable }) => !durable)) return result("rejected", "not_durable", messageId);
  for (const placement of slice.placements) {
    const { mailboxId, keywords } = placement;
    const before = { mailboxId, keywords };
    const reason = "api_purge";
    const change = noteChange(draft, intent, placement, { kind: "message.purged", before, after: null, reason, rule: "P10" });
    writePlacement(draft, placement, { lifecycle: "purged", kept: false, absent: false, reason, change });
  }
  return result("applied", "purged", messageId);
};

/** What is to come back: what lies in Trash, else what was removed, of each place the last. */
const returning = (
  slice: IntentSlice,
  chosen: MailboxId | null,
): { placement: IntentPlacement; mailboxId: MailboxId | null }[] => {
  const live = slice.placements.filter(isLive);
  const trashed = live.filter(({ mailboxId }) => slice.mailboxes.get(mailboxId) === "trash");
  if (trashed.length > 0) return trashed.map((placement) => ({ placement, mailboxId: chosen ?? homeOf(slice, placement) }));
  if (live.length > 0) return [];
  const latest = slice.placements
    .toSorted((a, b) => (a.changedSeq > b.changedSeq ? -1 : 1))
    .filter(({ recoverable }) => recoverable);
  const byPlace = new Map<MailboxId | null, IntentPlacement>();
  for (const placement of latest) {
    const mailboxId = chosen ?? homeOf(slice, placement);
    if (!byPlace.has(mailboxId)) byPlace.set(mailboxId, placement);
  }
  return [...byPlace].map(([mailboxId, placement]) => ({ placement, mailboxId }));
};

const restore = (draft: IntentDraft, intent: Intent, op: RestoreOp, slice: IntentSlice): IntentResult => {
  const { messageId } = op;
  if (op.mailboxId !== null && !slice.mailboxes.has(op.mailboxId)) return result("rejected", "mailbox_not_found", messageId);
  const back = returning(slice, op.mailboxId);
  if (back.length === 0) {
    const live = slice.placements.some(isLive);
    return live ? result("applied", "unchanged", messageId) : result("rejected", "not_recoverable", messageId);
  }
  if (back.some(({ mailboxId }) => mailboxId === null)) return result("rejected", "mailbox_not_found", messageId);
  const warnings = back.flatMap(({ placement, mailboxId }) => drainWarning(slice, placement, mailboxId));
  const outcomes = back.map(({ placement, mailboxId }) =>
    relocate(draft, intent, { placement, mailboxId, rank: rankOf.restore, reason: "api_restore" }, slice),
  );
  return sumUp(intent, outcomes, "concurrent_location", [...new Set(warnings)]);
};

const cannotUndo = "cannot_undo";

const undo = (draft: IntentDraft, intent: Intent, { messageId }: UndoOp, slice: IntentSlice): IntentResult => {
  const { undone } = slice;
  const inverse = undone === null ? null : inverseOf(undone);
  const placement = slice.placements.find(({ id }) => id === undone?.placementId);
  if (inverse === null || placement === undefined) return result("rejected", cannotUndo, messageId);
  const patchBack = (): Outcome[] =>
    inverse.kind === "remove" ? [] : patchPlacement(draft, intent, { placement, patch: inverse.keywords }, slice);
  if (inverse.kind === "keywords") return sumUp(intent, patchBack(), "concurrent_keywords");
  const old = inverse.kind === "remove" ? null : placeOf(slice, inverse.mailboxId);
  const mailboxId = inverse.kind === "remove" ? null : (old ?? homeOf(slice, placement));
  if (inverse.kind === "place" && (mailboxId === null || !(isLive(placement) || placement.recoverable)))
    return result("rejected", cannotUndo, messageId);
  const rank = inverse.kind === "remove" ? rankOf.removal : rankOf.restore;
  // As in a patch: what moves takes its keywords along.
  const said = patchBack();
  const moved = { placement: drafted(draft, placement), mailboxId, rank, reason: "api_undo" };
  const outcome = relocate(draft, intent, moved, slice);
  return sumUp(intent, [...said, outcome], "concurrent_location", [
    ...drainWarning(slice, placement, mailboxId),
    // It has to be somewhere, and is not where it was.
    ...(inverse.kind === "place" && inverse.mailboxId !== null && old === null ? ["mailbox_gone"] : []),
  ]);
};

/** The mailbox, or the one that was made again in its place. */
const placeOf = ({ mailboxes, standIns }: IntentSlice, id: MailboxId | null): MailboxId | null =>
  id === null ? null : mailboxes.has(id) ? id : (standIns.get(id) ?? null);

/** Decides one intent into `draft`; what it answers stands for what the draft says. */
export const reconcileIntent = (draft: IntentDraft, intent: Intent, slice: IntentSlice): IntentResult => {
  const { op } = intent;
  if (slice.placements.length === 0) return result("rejected", op.op === "undo" ? cannotUndo : "not_found", op.messageId);
  if (intent.destructive && !knowsAll(intent, slice)) return result("rejected", "state_mismatch", op.messageId);
  switch (op.op) {
    case "patch":
      return patch(draft, intent, op, slice);
    case "delete":
      return trash(draft, intent, op, slice);
    case "purge":
      return purge(draft, intent, op, slice);
    case "restore":
      return restore(draft, intent, op, slice);
    case "undo":
      return undo(draft, intent, op, slice);
  }
};
