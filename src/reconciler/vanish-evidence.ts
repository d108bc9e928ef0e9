/** Evidence about items that vanished together (semantics 4.3). Instants are milliseconds since 1970. */

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

export interface ModseqBudget {
  /** Learned from our own commands on this endpoint; `unknown` proves nothing. */
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
