/** Breaker B1, halved by B2: too much vanished to be believed without a second thought (semantics 4.4). */
import type { Role } from "../model/mail.ts";

/** What vanished in one cut and shortly before it, and what was there before that. */
export interface VanishCounts {
  readonly candidates: number;
  readonly live: number;
}

/** So long a removal counts with those that follow it, in ms. */
export const breakerWindowMs = 600_000;
/** An account of which less vanished is well, however small it is and even where something was not well. */
export const accountLeast = 25;

/** Rules of removals that count: nobody was seen to want them. V9 saw it, V10 and V11 are of mailboxes from which mail goes. */
export const countedRules = ["V0", "V8", "V12", "V13", "V14", "V15", "V16", "V17"] as const;

/** B1 leaves alone what we removed, what was seen marked as deleted, and mailboxes from which mail is expected to go. */
export const isGuarded = (candidate: {
  readonly ownCommand: boolean;
  readonly markedDeleted: boolean;
  readonly role: Role | null;
}): boolean => !candidate.ownCommand && !candidate.markedDeleted && candidate.role !== "trash" && candidate.role !== "junk";

const factor = (unwell: boolean): number => (unwell ? 0.5 : 1);

/** Too much of one mailbox. */
export const vanishBreakerTrips = ({ candidates, live }: VanishCounts, unwell: boolean): boolean => {
  const part = factor(unwell);
  if (candidates >= 1000 * part) return true;
  if (candidates >= 20 * part && candidates >= 0.3 * part * live) return true;
  return candidates >= 10 * part && candidates === live;
};

/** Too much of the account, though perhaps of no mailbox. */
export const accountBreakerTrips = ({ candidates, live }: VanishCounts, unwell: boolean): boolean => {
  const part = factor(unwell);
  return candidates >= 1000 * part || (candidates >= 2 * accountLeast * part && candidates >= 0.1 * part * live);
};
