/** How long a server leaves mail in Trash and Junk, learned from what it removes there (V10). Instants are milliseconds since 1970. */
import type { Role } from "../model/mail.ts";

const day = 86_400_000;
/** Of fewer items ages lie within a day of each other by chance. */
const ageEvidence = 3;

/** An item that is gone from Trash or Junk, and when it came there; null: it was there before anybody looked. */
export interface TrashedItem {
  readonly role: Role | null;
  readonly markedDeleted: boolean;
  readonly ownCommand: boolean;
  readonly mailboxGone: boolean;
  readonly cameAt: number | null;
}

export const isTrashed = ({ role }: Pick<TrashedItem, "role">): boolean => role === "trash" || role === "junk";

/**
 * The instant before which all that one mailbox lost in one cut came there, if it looks like the server's retention: all of one age,
 * within a day, which is at least a day, and nobody had marked any of it. null: it does not. What the mailbox still has must not be
 * older.
 */
export const retentionShape = (lost: readonly TrashedItem[], at: number): number | null => {
  const items = lost.filter(({ ownCommand }) => !ownCommand);
  if (items.length < ageEvidence || !items.every(isTrashed)) return null;
  let first = Infinity;
  let last = -Infinity;
  for (const { cameAt, markedDeleted, mailboxGone } of items) {
    if (cameAt === null || markedDeleted || mailboxGone) return null;
    first = Math.min(first, cameAt);
    last = Math.max(last, cameAt);
  }
  return at - last >= day && last - first <= day ? last : null;
};

/** Whole days that what came last was left there. */
export const retentionDaysOf = (cameLast: number, at: number): number => Math.floor((at - cameLast) / day);

/** Has it been there for as long as the server is known to leave it, give or take a day? */
export const isAtRetentionAge = ({ cameAt }: Pick<TrashedItem, "cameAt">, days: number | null, at: number): boolean =>
  days !== null && cameAt !== null && at - cameAt >= (days - 1) * day;
