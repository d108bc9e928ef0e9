/** Evidence about items that vanished together (semantics 4.3). Instants are milliseconds since 1970. */
import type { ModseqArithmetic } from "../model/endpoint.ts";

export interface VanishedItem {
  readonly uid: number;
  readonly receivedAt: number;
  /** `\Seen` was set, and not only by a POP3 device's reading (Z rules). */
  readonly stronglySeen: boolean;
}

export interface Batch {
  /** All items that are absent from INBOX in one cut. */
  readonly vanished: readonly VanishedItem[];
  /** Number of items absent from other mailboxes in the same cut. */
  readonly elsewhere: number;
  /** Highest UID that INBOX showed when the items were last seen and still shows; 0 when it shows none of those. */
  readonly highestPresent: number;
  /** UIDs between the lowest and the highest of the batch that INBOX still shows. */
  readonly leftBetween: number;
  /** When the items were found absent. */
  readonly at: number;
}

const day = 86_400_000;
/** Of fewer items any ages lie within two days of each other by chance. */
const ageEvidence = 3;

/** "Remove from the server after N days": all are of one age, give or take a day, and at least a day old. */
const sameAge = ({ vanished, at }: Batch): boolean => {
  if (vanished.length < ageEvidence) return false;
  let youngest = Infinity;
  let oldest = -Infinity;
  for (const { receivedAt } of vanished) {
    youngest = Math.min(youngest, at - receivedAt);
    oldest = Math.max(oldest, at - receivedAt);
  }
  return youngest >= day && oldest - youngest <= 2 * day;
};

/**
 * Do the items look like what a POP3 device takes? INBOX only, none read by a person, and either an unbroken run that ends with
 * the newest item, or all of one age.
 */
export const hasBatchShape = (batch: Batch): boolean => {
  if (batch.vanished.length === 0 || batch.elsewhere > 0 || batch.vanished.some((item) => item.stronglySeen)) return false;
  const endsWithNewest = batch.vanished.every((item) => item.uid > batch.highestPresent);
  return (endsWithNewest && batch.leftBetween === 0) || sameAge(batch);
};

/** What an absence leaves behind beside itself, noted in the read that missed the item and kept until the cut that decides. */
export interface AbsenceTrace {
  /** UIDNEXT at the read before: items below it could be seen then. */
  readonly newBelow: number;
  readonly storeExcluded: boolean;
}

/** What two reads of one mailbox, one after the other, say about its mod-sequences. */
export interface ModseqStep {
  /** HIGHESTMODSEQ at the two reads; null where the server gives none. */
  readonly before: bigint | null;
  readonly after: bigint | null;
  /** Items that arrived between them. */
  readonly arrived: number;
  /** Items whose flags changed. */
  readonly changed: readonly { readonly modseq: bigint | null; readonly flags: readonly string[] }[];
  /** Items that vanished, and how many of them were marked as deleted when they were last seen. */
  readonly vanished: number;
  readonly vanishedMarked: number;
}

export const isDeleted = (flag: string): boolean => flag.toLowerCase() === "\\deleted";

/** Mod-sequences between the two reads that an item still shows: a transaction each. */
const stepsShown = ({ before, after, changed }: ModseqStep): number =>
  before === null || after === null
    ? 0
    : new Set(changed.flatMap(({ modseq }) => (modseq !== null && modseq > before && modseq <= after ? [modseq] : []))).size;

export const learnArithmetic = (known: ModseqArithmetic, step: ModseqStep): ModseqArithmetic => {
  const { before, after, arrived, vanished, vanishedMarked } = step;
  // Backwards: a new life of the mailbox, which says nothing of the steps (G5).
  if (before === null || after === null || after < before || arrived > 0 || known.refuted === true) return known;
  const taken = Number(after - before);
  const shown = stepsShown(step);
  if (taken < shown + Math.min(vanished, 1)) return { ...known, refuted: true };
  if (vanished === 0 && shown > 0 && taken === shown) return known.store === true ? known : { ...known, store: true };
  if (vanished > 0 && vanished === vanishedMarked && shown === 0 && taken === 1)
    return known.expunge === true ? known : { ...known, expunge: true };
  return known;
};

/** Does this step leave no room for a STORE of `\\Deleted` on what vanished in it? */
export const excludesStoreIn = (known: ModseqArithmetic, step: ModseqStep): boolean => {
  const isLearned = known.store === true && known.expunge === true && known.refuted !== true;
  // Of arrivals only the least number of transactions is known; and what is still there marked as deleted may have been marked
  // together with what is not.
  const settled = { ...step, changed: step.changed.filter(({ flags }) => !flags.some(isDeleted)) };
  return (
    step.arrived === 0 &&
    excludesStore({
      arithmetic: isLearned ? "per_transaction" : "unknown",
      before: step.before,
      after: step.after,
      explained: stepsShown(settled),
    })
  );
};

export interface ModseqBudget {
  /** Learned on this endpoint; `unknown` proves nothing. */
  readonly arithmetic: "unknown" | "per_transaction";
  /** HIGHESTMODSEQ at the two reads; null where the server gives none. */
  readonly before: bigint | null;
  readonly after: bigint | null;
  /** The least number of transactions that explain everything else that was observed. */
  readonly explained: number;
}

/** Deleting over IMAP takes a STORE and an EXPUNGE, two steps of MODSEQ; POP3 and MOVE take one (measured on Dovecot 2.3.19). */
export const excludesStore = ({ arithmetic, before, after, explained }: ModseqBudget): boolean => {
  if (arithmetic === "unknown" || before === null || after === null) return false;
  const left = after - before - BigInt(explained);
  // Nothing left, or less: the reads do not belong together, or the explanation is wrong.
  return left === 1n;
};
