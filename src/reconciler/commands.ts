/**
 * What becomes of a planned command: derived anew each time from canonical state and shadow, never replayed (semantics 1.6). Pure;
 * the lane sends what is to be sent and comes back with what was read back.
 */
import type { CommandReason, EndStatus, OpenStatus } from "../model/command.ts";
import { flagOfKeyword, keepsFlag, keywordsOfFlags, type Role } from "../model/mail.ts";
import { preserved } from "./preserve-ahead.ts";
import type { PlacementView } from "./state.ts";

/** Sent so often and not confirmed, it has failed: every intent ends (I16). */
export const mostTries = 10;
/** From then on a store is sent without its condition (W3). */
const conditionalTries = 6;
/** Room in a mailbox comes back when somebody makes it. */
const quotaWaitMs = 3_600_000;
const retryMostMs = 15 * 60_000;
/** The next looks at the mailbox tell more. */
export const lookAgainMs = 60_000;

export interface CommandView {
  readonly reason: CommandReason;
  readonly status: OpenStatus;
  /** How often it was sent. */
  readonly attempts: number;
  /** Of the last try. */
  readonly outcome: string | null;
  /** null: it is there no more. */
  readonly placement: PlacementView | null;
}

export interface Ending {
  readonly kind: "end";
  readonly status: EndStatus;
  readonly outcome: string;
  /** What was confirmed all the same, where something else is masked. */
  readonly applied?: true;
}
/** Looked at again `afterMs` later; 0: at once. */
export interface Waiting {
  readonly kind: "wait";
  readonly afterMs: number;
  readonly outcome: string | null;
  /** Nobody knows whether it was done. */
  readonly unsettled: boolean;
  /** A part was done, so that the tries begin anew. */
  readonly progress?: true;
  /** Nothing was sent, and it counts as a try all the same. */
  readonly tried?: true;
}

export const end = (status: EndStatus, outcome: string): Ending => ({ kind: "end", status, outcome });
export const wait = (afterMs: number, outcome: string | null = null): Waiting => ({
  kind: "wait",
  afterMs,
  outcome,
  unsettled: false,
});
export const unsettled = (afterMs: number, outcome: string): Waiting => ({ kind: "wait", afterMs, outcome, unsettled: true });

/** Outcome of what waits for an item; it is looked at again as soon as there is one. */
export const unbound = "unbound";

/** Full backoff without jitter: a lane sends one command at a time. */
const retryAfterMs = (attempts: number, firstMs: number): number => Math.min(retryMostMs, firstMs * 2 ** Math.min(attempts, 20));

/** What a server said no with (C5), or that nothing is known of the answer (C9). */
export type Setback =
  | "epoch"
  | "no_mailbox"
  | "no_permission"
  | "over_quota"
  | "try_later"
  | "unsupported"
  | "no_answer"
  | "no_effect";

/** C5: some refusals are for ever, some until there is room, and the rest are tried again a bounded number of times. */
export const afterSetback = (setback: Setback, attempts: number, firstMs: number): Ending | Waiting => {
  if (setback === "no_permission" || setback === "unsupported") return end("masked", setback);
  if (setback === "over_quota") return wait(quotaWaitMs, setback);
  if (attempts >= mostTries) return end("failed", setback);
  const afterMs = retryAfterMs(attempts, firstMs);
  return setback === "no_answer" ? unsettled(afterMs, setback) : wait(afterMs, setback);
};

/** Mail came into what is to be removed: at once the first time, then each time later, for the moves out of it take a while. */
export const afterEmptying = (attempts: number, firstMs: number): Waiting => ({
  ...wait(attempts === 0 ? 0 : retryAfterMs(attempts, firstMs), "not_empty_yet"),
  tried: true,
});

/** Tried often enough; a try that found no room says nothing of the next one. */
export const isSpent = ({ attempts, outcome }: Pick<CommandView, "attempts" | "outcome">): boolean =>
  attempts >= mostTries && outcome !== "over_quota";

export interface StoreView extends CommandView {
  /** By a rule: only these are taken away. null: whatever differs is written. */
  readonly remove: readonly string[] | null;
  /** Of the shadow; null where the server has none. */
  readonly modseq: bigint | null;
  /** What the mailbox keeps; null: not known. */
  readonly permanentFlags: readonly string[] | null;
}

/** Where it would be sent is not to be had now. */
export const outOfReach = (): Waiting => wait(lookAgainMs, "no_mailbox");

/** Where it would be sent is nothing that takes mail, and nothing is on its way there: somebody has to do something about that. */
export const awaitsMailbox = (): Waiting => wait(lookAgainMs, "mailbox_refused");

/** One direction of a difference between what is wanted and what is shown. */
interface StoreHalf {
  readonly change: "add" | "remove";
  readonly keywords: readonly string[];
}

export type StoreStep =
  | Ending
  | Waiting
  | (StoreHalf & { readonly kind: "send"; readonly uid: number; readonly unchangedSince: bigint | null });

/** W2: what must not be written over what somebody did meanwhile. */
const isDelicate = ({ change, keywords }: StoreHalf): boolean =>
  keywords.some((keyword) => keyword === "$junk" || keyword === "$notjunk" || (change === "remove" && keyword === "$seen"));

/** What the daemon has no business with: the server's own words, and system flags that nobody knows (semantics 3.1). */
const isServersOwn = (keyword: string): boolean =>
  keyword.startsWith("\\") || keyword === "$submitpending" || keyword === "$submitted";

/** What is left to write, additions first, and what the mailbox would not keep. */
export const differenceOf = (
  { keywords, binding }: PlacementView,
  { shown, remove, permanentFlags }: Pick<StoreView, "remove" | "permanentFlags"> & { readonly shown: readonly string[] },
): { readonly halves: readonly StoreHalf[]; readonly masked: readonly string[] } => {
  const added = remove === null ? keywords.filter((keyword) => !shown.includes(keyword)) : [];
  const removed = (remove ?? shown).filter((keyword) => shown.includes(keyword) && !keywords.includes(keyword));
  const spellings = binding?.shadowFlags;
  const isKept = (keyword: string): boolean => keepsFlag(permanentFlags, flagOfKeyword(keyword, spellings));
  const ours = (of: readonly string[]): readonly string[] => of.filter((keyword) => !isServersOwn(keyword));
  const halves = (
    [
      { change: "add", keywords: ours(added).filter(isKept) },
      { change: "remove", keywords: ours(removed).filter(isKept) },
    ] as const
  ).filter((half) => half.keywords.length > 0);
  return { halves, masked: [...ours(added), ...ours(removed)].filter((keyword) => !isKept(keyword)) };
};

/** A mailbox that keeps no flag at all is not ours to write to. */
const maskedBecause = (permanentFlags: readonly string[] | null): string =>
  permanentFlags?.some((flag) => flag.startsWith("\\") && flag !== "\\*") === true ? "unsupported_flag" : "no_permission";

/** W1: is it still wanted, and is it not so already? One direction at a time, so that each can have its condition. */
export const reviewStore = (command: StoreView): StoreStep => {
  const { placement, status, attempts, permanentFlags } = command;
  if (placement === null || placement.lifecycle !== "live" || placement.kept) return end("superseded", "gone");
  const { binding } = placement;
  // It is missing and not decided, or waits to be found in a new epoch (ID-8).
  if (binding?.active !== true) return wait(lookAgainMs, unbound);
  const shown = keywordsOfFlags(binding.shadowFlags);
  const { halves, masked } = differenceOf(placement, { ...command, shown });
  const [half] = halves;
  if (half !== undefined) {
    const unchangedSince = isDelicate(half) && attempts < conditionalTries ? command.modseq : null;
    return { kind: "send", ...half, uid: binding.uid, unchangedSince };
  }
  if (masked.length > 0) return end("masked", maskedBecause(permanentFlags));
  if (command.remove?.every((keyword) => placement.keywords.includes(keyword)) === true) return end("superseded", "overtaken");
  return status === "planned" ? end("superseded", "already_so") : end("confirmed", command.reason);
};

/** C1: what the item shows now, and nothing else, says whether it was done. `shown` null: it is there no more. */
export const afterStore = (
  sent: StoreView & { readonly sent: StoreHalf },
  { shown, conflict }: { readonly shown: readonly string[] | null; readonly conflict: boolean },
  firstMs: number,
): Ending | Waiting => {
  const { placement, attempts, permanentFlags } = sent;
  if (shown === null || placement === null) return wait(lookAgainMs, "gone");
  const { halves, masked } = differenceOf(placement, { ...sent, shown });
  const left = halves.find(({ change }) => change === sent.sent.change)?.keywords ?? [];
  if (left.some((keyword) => sent.sent.keywords.includes(keyword)))
    return conflict ? wait(0, "conflict") : afterSetback("no_effect", attempts, firstMs);
  if (halves.length > 0) return { ...wait(0, "more"), progress: true };
  if (masked.length === 0) return end("confirmed", sent.reason);
  const wasSaid = sent.sent.keywords.some((keyword) => !masked.includes(keyword));
  return { ...end("masked", maskedBecause(permanentFlags)), ...(wasSaid && { applied: true as const }) };
};

/** Our own octets are not to be had: no server can mend that. */
export const octetsMissing = (): Ending => end("failed", "octets_missing");

/** Complete looks that must not have shown the item before it is sent again (C3). */
const looksBeforeRepeat = 2;

export type AppendStep = Ending | Waiting | { readonly kind: "send" } | { readonly kind: "look" };

/**
 * Is it still wanted, and is it known that it was not done? `wanted`: by the account's present policy. `awaited`: its octets are not
 * stored, and an item is shown that may give them.
 */
export const reviewAppend = (
  command: CommandView,
  { wanted, awaited }: { readonly wanted: boolean; readonly awaited: boolean },
): AppendStep => {
  const { placement, status, reason } = command;
  if (reason === preserved.reason) return reviewCopy(command, wanted);
  if (reason !== "restored_after_drain") return reviewPlacing(command, awaited);
  if (placement === null || placement.lifecycle !== "live") return end("superseded", "gone");
  // It is shown again, wherever that is.
  if (!placement.kept) return end("superseded", "reappeared");
  if (status !== "planned") return { kind: "look" };
  return whileWanted(command, wanted);
};

/** Of what a policy asks for. */
const whileWanted = (command: CommandView, wanted: boolean): AppendStep => {
  if (!wanted) return end("superseded", "not_wanted");
  return isSpent(command) ? end("failed", "no_effect") : { kind: "send" };
};

/** Of what is to be there a second time: what a device took and is kept here, too (V21). What is missing may have been moved. */
const reviewCopy = (command: CommandView, wanted: boolean): AppendStep => {
  const { placement, status } = command;
  if (status !== "planned") return { kind: "look" };
  if (placement === null || placement.lifecycle !== "live") return end("superseded", "gone");
  return wanted && placement.absent ? wait(lookAgainMs, unbound) : whileWanted(command, wanted);
};

/** Of what is to become an item in its own mailbox. */
const reviewPlacing = (command: CommandView, awaited: boolean): AppendStep => {
  const { placement, status, reason } = command;
  if (placement === null) return end("superseded", "gone");
  if (placement.binding?.active === true)
    return status === "planned" ? end("superseded", "reappeared") : end("confirmed", reason);
  if (status !== "planned") return { kind: "look" };
  if (placement.lifecycle !== "live" || placement.kept) return end("superseded", "gone");
  if (placement.absent || placement.binding?.closedReason === "epoch") return wait(lookAgainMs, unbound);
  if (awaited) return wait(lookAgainMs, "not_durable");
  return isSpent(command) ? end("failed", "no_effect") : { kind: "send" };
};

/**
 * C3, never blind: it is sent again when so many complete looks at the mailbox have not shown it, and never after the server said
 * that it was done: who accepts mail and shows it with other octets, or elsewhere, would be sent one copy after the other.
 * `looks` null: the mailbox was not looked at up to its end.
 */
export const afterLook = (looks: number | null, answered: boolean, firstMs: number): Ending | Waiting => {
  if (looks === null) return unsettled(lookAgainMs, "not_found");
  if (looks < looksBeforeRepeat) return unsettled(firstMs, "not_found");
  return answered ? end("failed", "not_found") : wait(0, "not_found");
};

/** Rules that name no mailbox: it goes to the restore place, also what is kept here and outside of the projection (V18, V21). */
export const goesAside = (reason: CommandReason): boolean => reason === "restored_after_drain" || reason === preserved.reason;

/** Where mail is put back: never into INBOX, which is all that a POP3 device sees (V18). */
export interface RestorePlace {
  readonly path: string;
  readonly role: Role | null;
  readonly selectable: boolean;
}

/** Name of the mailbox that is made where there is no archive. */
export const restoreMailboxName = "Kept from POP3";

const isNamedForIt = (path: string): boolean =>
  path === restoreMailboxName ||
  (path.endsWith(restoreMailboxName) && /[^\p{L}\p{N} ]$/u.test(path.slice(0, -restoreMailboxName.length)));

/** The archive, else the mailbox made for it; null: there is neither. */
export const restorePlace = <T extends RestorePlace>(mailboxes: readonly T[]): T | null => {
  const open = mailboxes.filter(({ path, role, selectable }) => selectable && role !== "inbox" && path.toUpperCase() !== "INBOX");
  return open.find(({ role }) => role === "archive") ?? open.find(({ path }) => isNamedForIt(path)) ?? null;
};
